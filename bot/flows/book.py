"""The book: one transaction as a flow sees it. Entries written here change incidents; nothing else does."""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from bot.domain import incident as incidents
from bot.domain import watch as watches
from bot.domain.authority import Actor, Power
from bot.domain.config import Config
from bot.domain.incident import Incident
from bot.domain.inventory import Endpoint
from bot.domain.journal import Entry, EvidenceKept, Written
from bot.domain.watch import Watch
from bot.domain.work import Todo
from bot.errors import NotFound, Refused
from bot.ports import Episode, Rows, Traits


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """Something that somebody wants. `needs` is the power it takes; None means: only the bot itself may.

    Denied is the default: a command that names no power can be given by nobody.
    """

    by: Actor
    needs: ClassVar[Power | None] = None
    soon: ClassVar[bool] = False
    """True when it overtakes what nobody waits for even though the bot itself gives it."""

    def power(self) -> Power | None:
        """Return the power that giving this very command takes."""
        return type(self).needs


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What every decision may look at besides the tables: the operator's files and the drivers' promises."""

    config: Config
    traits: Callable[[Endpoint], Traits | None]
    """What the driver of an endpoint promises there; None: there is no such driver."""


Consequences = Callable[[Incident | None, Written, World], Sequence[Todo]]


class Book:
    """Reads through, remembers what it read, collects what is written until `close`."""

    def __init__(self, rows: Rows, *, world: World, now: datetime, by: Actor) -> None:
        self._rows = rows
        self.world = world
        self.config = world.config
        self.now = now
        self.by = by
        self._incidents: dict[int, Incident] = {}
        self._changed: set[int] = set()
        self._watch: Watch | None = None
        self._watch_changed = False
        self._entries: list[tuple[Written, Incident | None]] = []
        self._todo: list[Todo] = []

    # ---- reading

    def incident(self, number: int) -> Incident:
        """Return an incident as it stands in this transaction; raises NotFound."""
        if number not in self._incidents:
            found = self._rows.incident(number)
            if found is None:
                raise NotFound(f"There is no incident inc-{number}: `list` shows the open ones.")
            self._incidents[number] = found
        return self._incidents[number]

    def live(self, key: str) -> Incident | None:
        """Return the open or contained incident with a correlation key, as it stands in this transaction."""
        for known in self._incidents.values():
            if known.key == key and known.status.live:
                return known
        return self._remember(self._rows.live(key))

    def latest(self, key: str) -> Incident | None:
        """Return the newest incident with a correlation key."""
        return self._remember(self._rows.latest(key))

    def holding(self) -> tuple[Incident, ...]:
        """Return all incidents that hold a target stopped, resolved ones too."""
        return tuple(self._incidents.setdefault(i.number, i) for i in self._rows.holding())

    def live_incidents(self) -> tuple[Incident, ...]:
        """Return all open and contained incidents, newest first."""
        return tuple(self._incidents.setdefault(i.number, i) for i in self._rows.incidents(live_only=True, limit=1000))

    def episodes(self, wanted: Sequence[tuple[str, str]]) -> Mapping[tuple[str, str], Episode]:
        """Return what is stored of alert episodes."""
        return self._rows.episodes(wanted)

    def watch(self) -> Watch:
        """Return the watch as it stands in this transaction."""
        if self._watch is None:
            self._watch = self._rows.watch()
        return self._watch

    def journal(self, number: int) -> tuple[Written, ...]:
        """Return an incident's journal as committed before this transaction."""
        return self._rows.entries(number)

    def kept(self, number: int, sha256: str) -> tuple[EvidenceKept, ...]:
        """Return an incident's evidence items with this content, as committed before this transaction."""
        return self._rows.kept(number, sha256)

    def unguessable(self) -> str:
        """Return a fresh id that nobody can guess."""
        return secrets.token_urlsafe(12)

    # ---- writing

    def open(self, entry: Entry) -> Incident:
        """Write the first entry of a new incident and return it."""
        number = max([self._rows.new_number() - 1, *self._incidents], default=0) + 1
        self._incidents[number] = Incident(number=number)
        return self.write(self._incidents[number], entry)

    def write(self, incident: Incident, entry: Entry) -> Incident:
        """Write an entry down; return the incident after it (and never use the one before it again)."""
        now = self._incidents[incident.number]
        written = Written(incident=now.number, n=now.version + 1, at=self.now, by=self.by, entry=entry)
        after = incidents.evolve(now, written)
        self._incidents[after.number] = after
        self._changed.add(after.number)
        self._entries.append((written, after))
        return after

    def write_watch(self, entry: Entry) -> Watch:
        """Write an entry into the watch's stream."""
        now = self.watch()
        written = Written(incident=None, n=now.version + 1, at=self.now, by=self.by, entry=entry)
        self._watch = watches.evolve(now, written)
        self._watch_changed = True
        self._entries.append((written, None))
        return self._watch

    def todo(self, item: Todo) -> None:
        """Ask for work that follows from the command itself rather than from an entry."""
        self._todo.append(item)

    def close(self, consequences: Consequences) -> int:
        """Store it all, with the work that follows; return how many entries were written.

        Consequences see each entry with the incident as it stands at the end of the transaction.
        """
        todo = list(self._todo)
        for written, _ in self._entries:
            final = self._incidents[written.incident] if written.incident else None
            todo.extend(consequences(final, written, self.world))
        self._rows.save(
            [self._incidents[n] for n in sorted(self._changed)],
            self._watch if self._watch_changed else None,
            [written for written, _ in self._entries],
            todo,
        )
        return len(self._entries)

    def _remember(self, found: Incident | None) -> Incident | None:
        return self._incidents.setdefault(found.number, found) if found else None


def authorise(command: Command, config: Config) -> None:
    """Raise Refused unless the actor may give this command. The bot may do anything that a flow lets it do."""
    if command.by.is_bot:
        return
    power = command.power()
    person = command.by.person
    if power is None:
        raise Refused("Only the bot itself does that.")
    if person not in config.team.people:
        raise Refused("You are not in team.yaml: ask a team lead to add you with your account.")
    if not config.team.may(person, power):
        able = ", ".join(config.team.people[p].name for p in config.team.holders(power)) or "nobody, so far"
        raise Refused(f"This takes the power '{power}', which you do not hold. Who does: {able}.")
