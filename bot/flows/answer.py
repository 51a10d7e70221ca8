"""Answers: work that tells one person something and belongs to no entry of the journal. Only the bot enqueues it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bot.domain.work import Todo
from bot.flows.book import Book, Command


@dataclass(frozen=True, slots=True, kw_only=True)
class Say(Command):
    """Something to be said outside: `kind` of work, its `body`, and a `key` under which it happens once."""

    kind: str
    key: str
    body: Mapping[str, Any] = field(default_factory=dict)
    priority: int = 0
    """0: somebody is looking at a screen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SayAll(Command):
    """Several such things, in their own order and lanes."""

    todo: tuple[Todo, ...]


def say_all(book: Book, command: SayAll) -> None:
    """Enqueue them all; what was enqueued before under its key is not enqueued again."""
    for item in command.todo:
        book.todo(item)


def say(book: Book, command: Say) -> None:
    """Enqueue it."""
    book.todo(Todo(key=command.key, kind=command.kind, body=command.body, priority=command.priority))
