"""Anchors: who is to take the newest checkpoint, and when one stopped taking them and began again."""

from collections.abc import Mapping
from dataclasses import dataclass

from bot.domain import journal as j
from bot.domain.watch import Watch
from bot.domain.work import Todo
from bot.flows.book import Book, Command

LONGEST_REASON = 500
PRIORITY = 9
"""Nobody waits for an anchor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask(Command):
    """Anchors are due; `anchored` is how many leaves each has under its newest checkpoint, by name."""

    anchored: Mapping[str, int]


def ask(book: Book, command: Ask) -> tuple[str, ...]:
    """Ask for the work, one row an anchor; return the keys.

    The same advance is the same work, so that an anchor which is down has one row and not one for each tick. Its hour
    is in the key because work can be buried (a database that failed too often), which must not be the end of it.
    """
    rows = tuple(
        Todo(
            key=f"anchor:{name}:{size}:{book.now:%Y%m%dT%H}",
            kind="anchor",
            body={"anchor": name},
            lane=f"anchor:{name}",
            priority=PRIORITY,
        )
        for name, size in sorted(command.anchored.items())
    )
    for row in rows:
        book.todo(row)
    return tuple(row.key for row in rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost(Command):
    """An anchor did not take a checkpoint."""

    anchor: str
    reason: str


def lost(book: Book, command: Lost) -> Watch:
    """Write the beginning of an outage down; that it lasts is no news."""
    watch = book.watch()
    if command.anchor in watch.lost_anchors:
        return watch
    return book.write_watch(j.AnchorLost(anchor=command.anchor, reason=_one_line(command.reason)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Back(Command):
    """An anchor has a checkpoint over all leaves that were signed: `size`."""

    anchor: str
    size: int


def back(book: Book, command: Back) -> Watch:
    """Write the end of an outage down; without one there is nothing to say."""
    watch = book.watch()
    if command.anchor not in watch.lost_anchors:
        return watch
    return book.write_watch(j.AnchorBack(anchor=command.anchor, size=command.size))


def _one_line(reason: str) -> str:
    """Return what the other side said as the journal can hold it: one line, not endless, only what UTF-8 can say."""
    return " ".join(reason.split())[:LONGEST_REASON].encode("utf-8", "replace").decode()
