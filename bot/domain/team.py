"""The people, what they may do and when they are on call (team.yaml)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from bot.domain.authority import Power
from bot.domain.roles import Role

HOURS_A_WEEK = 168
_MENTION = re.compile(r"<@([A-Z0-9]+)(?:\|[^<>]*)?>")


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """One human being, whatever accounts they use."""

    id: str
    name: str
    slack: str | None = None
    login: str | None = None
    powers: frozenset[Power] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """Who is on call in some hours of each week, first the primary.

    `start` and `end` are hours of the week, 0 is Monday 00:00 in the team's zone; an `end` at or before `start`
    wraps over Sunday night, equal values mean the whole week.
    """

    start: int
    end: int
    people: tuple[str, ...]
    roles: Mapping[Role, str] = field(default_factory=dict)

    def covers(self, hour: int) -> bool:
        """Tell whether hour-of-week `hour` (0-167) lies in this shift."""
        if self.start == self.end:
            return True
        if self.start < self.end:
            return self.start <= hour < self.end
        return hour >= self.start or hour < self.end


@dataclass(frozen=True, slots=True, kw_only=True)
class Team:
    """Everybody, and the week's shifts in order of precedence."""

    people: Mapping[str, Person]
    shifts: tuple[Shift, ...] = ()
    timezone: str = "UTC"

    def may(self, person: str | None, power: Power) -> bool:
        """Tell whether `person` holds `power`; unknown people hold none."""
        found = self.people.get(person) if person else None
        return found is not None and power in found.powers

    def holders(self, power: Power) -> tuple[str, ...]:
        """Return the ids of all people who hold `power`, in file order."""
        return tuple(person.id for person in self.people.values() if power in person.powers)

    def by_slack(self, user: str) -> Person | None:
        """Return the person behind a Slack user id, or None."""
        return next((person for person in self.people.values() if person.slack == user), None)

    def by_login(self, login: str) -> Person | None:
        """Return the person behind an operating-system login, or None."""
        return next((person for person in self.people.values() if person.login == login), None)

    def named(self, text: str) -> Person | None:
        """Return the person whom `text` names by id, name, Slack id or Slack mention; None if nobody or several."""
        mention = _MENTION.fullmatch(text.strip())
        word = mention[1] if mention else text.strip().removeprefix("@")
        found = [p for p in self.people.values() if word in {p.id, p.slack} or p.name.casefold() == word.casefold()]
        return found[0] if len(found) == 1 else None

    def on_call(self, at: datetime) -> tuple[str, ...]:
        """Return who is on call at `at`, primary first, nobody twice."""
        hour = self.hour_of_week(at)
        names = [name for shift in self.shifts if shift.covers(hour) for name in shift.people]
        return tuple(dict.fromkeys(names))

    def assigned(self, role: Role, at: datetime) -> str | None:
        """Return who takes `role` for an incident that opens at `at`: the shift's choice, else the next on call."""
        hour = self.hour_of_week(at)
        for shift in self.shifts:
            if shift.covers(hour) and role in shift.roles:
                return shift.roles[role]
        line = self.on_call(at)
        place = list(Role).index(role)
        return line[place % len(line)] if line else None

    def changes(self, at: datetime, hours: int) -> tuple[datetime, ...]:
        """Return `at` and each full hour of the next `hours` from which other people are on call."""
        found, line = [at], self.on_call(at)
        hour = at.replace(minute=0, second=0, microsecond=0)
        for _ in range(hours):
            hour += timedelta(hours=1)
            if (now := self.on_call(hour)) != line:
                found.append(hour)
                line = now
        return tuple(found)

    def hour_of_week(self, at: datetime) -> int:
        """Return 0-167 for `at` (aware) in the team's zone."""
        local = at.astimezone(ZoneInfo(self.timezone))
        return local.weekday() * 24 + local.hour

    def thin_hours(self, power: Power, at_least: int = 2) -> tuple[int, ...]:
        """Return the hours of the week in which fewer than `at_least` on-call people hold `power`."""
        return tuple(
            hour
            for hour in range(HOURS_A_WEEK)
            if len({p for s in self.shifts if s.covers(hour) for p in s.people if self.may(p, power)}) < at_least
        )
