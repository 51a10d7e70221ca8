"""When a status is owed."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import holidays

from bot.domain.policy import Cadence


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One point of a clock: `after` the start, owed at `due`."""

    after: timedelta
    due: datetime


def marks(cadence: Cadence, since: datetime) -> Iterator[Mark]:
    """Yield the points of a cadence from `since` on, without end: the listed ones, then every `every`."""
    last = timedelta()
    for after in sorted(cadence.at):
        last = after
        yield Mark(after=after, due=since + after)
    while True:
        last += cadence.every
        yield Mark(after=last, due=since + last)


def owed(cadence: Cadence, since: datetime, after: datetime, now: datetime) -> tuple[tuple[Mark, ...], Mark]:
    """Return the marks that fell due after `after` and until `now`, and the next one to come.

    Several overdue marks are asked about once, by whoever calls this.
    """
    due: list[Mark] = []
    for mark in marks(cadence, since):
        if mark.due > now:
            return tuple(due), mark
        if mark.due > after:
            due.append(mark)
    raise AssertionError("a cadence never ends")


def clock_text(after: timedelta) -> str:
    """Return a mark for people: `15 min`, `1 h`, `30 s`."""
    seconds = round(after.total_seconds())
    if seconds % 3600 == 0:
        return f"{seconds // 3600} h"
    return f"{seconds // 60} min" if seconds % 60 == 0 else f"{seconds} s"


def business_days_after(day: date, count: int, country: str | None) -> date:
    """Return the day `count` business days after `day`; weekends and the country's public holidays do not count."""
    calendar = holidays.country_holidays(country) if country else holidays.HolidayBase()
    return calendar.get_nth_working_day(day, count)
