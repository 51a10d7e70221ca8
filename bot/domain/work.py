"""Work: everything that the bot does outside its own database is a row."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Todo:
    """Work that follows from a decision.

    `key` is unique for ever: the same key is the same work. Rows of one `lane` run in order; rows with the same
    `merge` that have not started are one (the newest body wins). `due` None means now. Lower `priority` is sooner.
    """

    key: str
    kind: str
    body: Mapping[str, Any] = field(default_factory=dict)
    incident: int | None = None
    due: datetime | None = None
    lane: str | None = None
    merge: str | None = None
    priority: int = 5


BEHIND = timedelta(seconds=10)
"""What has waited for less than this is on its way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """How much of what people should be told waits: `oldest` is when the first of it was due.

    `why` is what became of the last try of the oldest, empty when it only waits its turn.
    """

    waiting: int = 0
    oldest: datetime | None = None
    why: str = ""

    def age(self, now: datetime) -> timedelta:
        """Return for how long the oldest has waited."""
        return max(timedelta(), now - self.oldest) if self.oldest else timedelta()

    def behind(self, now: datetime) -> bool:
        """Tell whether people should know of it."""
        return self.waiting > 0 and self.age(now) > BEHIND


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A claimed row. `fence` is what its outcome must be recorded under; `attempt` counts from 1."""

    id: int
    key: str
    kind: str
    body: Mapping[str, Any]
    incident: int | None
    fence: int
    attempt: int
    due: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """The work is finished; `note` goes into its row."""

    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """Not finished: run it again at `at`. Not a failure; does not count as an attempt. `body` replaces the row's."""

    at: datetime
    body: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dead:
    """Will never succeed: bury it, journal it, tell people."""

    why: str


Result = Done | Again | Dead
