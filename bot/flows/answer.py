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


def say(book: Book, command: Say) -> None:
    """Enqueue it before everything else: somebody is looking at a screen."""
    book.todo(Todo(key=command.key, kind=command.kind, body=command.body, priority=0))
