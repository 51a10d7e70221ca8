"""How long things took, computed from the journal and nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bot.domain import journal as j
from bot.domain.incident import Incident
from bot.domain.journal import Written
from bot.render.words import parsed


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Durations of one incident; None where the thing did not happen, or nobody can tell.

    Detection runs from the first alert's own beginning to the opening (negative when the clocks differ; None when
    people declared it); all others from the opening. `freeze` ends when the first request may have left, `contain`
    when the containment began that still held at the end.
    """

    time_to_detect: timedelta | None = None
    time_to_acknowledge: timedelta | None = None
    time_to_freeze: timedelta | None = None
    time_to_contain: timedelta | None = None
    time_to_resolve: timedelta | None = None


def metrics_of(incident: Incident, entries: Sequence[Written]) -> Times:
    """Return the times of an incident whose whole journal is `entries`."""
    opened = incident.opened_at
    if opened is None:
        return Times()
    first = None if incident.declared else first_sign(entries)

    def since_opening(at: datetime | None) -> timedelta | None:
        return at - opened if at else None

    return Times(
        time_to_detect=opened - first if first else None,
        time_to_acknowledge=since_opening(incident.acknowledged_at),
        time_to_freeze=since_opening(incident.first_freeze_at),
        time_to_contain=since_opening(incident.contained_at),
        time_to_resolve=since_opening(incident.resolved_at),
    )


def first_sign(entries: Sequence[Written]) -> datetime | None:
    """Return when the earliest alert began that our own freeze did not cause, by the sender's clock."""
    starts = [
        at
        for written in entries
        if isinstance(written.entry, j.AlertsJoined)
        for alert in written.entry.alerts
        if alert.change != "resolved" and not alert.own_effect and (at := parsed(alert.starts_at))
    ]
    return min(starts, default=None)
