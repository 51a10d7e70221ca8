"""The public status page: only what people gave to the public, and nothing of the inside."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bot.domain import journal as j
from bot.domain.incident import Incident, Status
from bot.domain.journal import Written
from bot.render.environment import render
from bot.render.redact import Redactor
from bot.render.words import lines

PUBLIC = "public"
_SECRETS = Redactor([])
KEPT = timedelta(days=14)
"""So long an incident that is over stays on the page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """One word to the public."""

    at: datetime
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One incident as the public may know it: which service, whether it goes on, what was said, newest first."""

    service: str
    over: bool
    began: datetime
    updates: tuple[Update, ...]


def notice(incident: Incident, entries: Sequence[Written]) -> Notice | None:
    """Return what the public may know of an incident; None when nobody told it anything."""
    told = [
        Update(at=w.at, lines=lines(_SECRETS.text(w.entry.text)))
        for w in entries
        if isinstance(w.entry, j.StatusGiven) and w.entry.audience == PUBLIC
    ]
    if not told:
        return None
    over = incident.status in {Status.RESOLVED, Status.CLOSED}
    return Notice(
        service=incident.avs or "Which services: being established",
        over=over,
        began=told[0].at,
        updates=tuple(reversed(told)),
    )


def status_page(notices: Iterable[Notice], now: datetime) -> str:
    """Return the page: what goes on first, then what is over, the newest first in each."""
    found = sorted(notices, key=lambda n: n.updates[0].at, reverse=True)
    return render(
        "public/status.html.j2",
        ongoing=[n for n in found if not n.over],
        over=[n for n in found if n.over and n.updates[0].at > now - KEPT],
        now=now,
    )
