"""The console's pages: values in, HTML out. Everything is escaped by the environment's autoescape."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from zlib import crc32

from bot.domain import journal as j
from bot.domain.config import Config
from bot.domain.incident import Incident
from bot.domain.journal import Written
from bot.domain.roles import Role
from bot.domain.watch import Watch
from bot.render import board
from bot.render.environment import render
from bot.render.incident_sentences import AUDIENCES
from bot.render.review import of_kind
from bot.render.step_sentences import NOUNS
from bot.render.timeline import line, worth_reading
from bot.render.times import metrics_of
from bot.render.words import count, lines, names, who

MOST_LINES = 250


@dataclass(frozen=True, slots=True, kw_only=True)
class Seat:
    """A role and who holds it, or nobody."""

    title: str
    duty: str
    holder: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A status that somebody gave."""

    n: int
    at: datetime
    audience: str
    by: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One incident of the list."""

    incident: Incident
    seats: str
    targets: str
    tone: str


def incident_page(
    incident: Incident,
    entries: Sequence[Written],
    watch: Watch,
    config: Config,
    now: datetime,
    *,
    slack: str = "",
    fragment: bool = False,
) -> str:
    """Return the page of one incident, or only the part that changes; `slack` is what is wrong with Slack, if so."""
    told = [(written, line(written, config)) for written in reversed(entries) if worth_reading(written)]
    alarms, more_alarms = board.alarms(entries)
    return render(
        "console/incident_parts.html.j2" if fragment else "console/incident.html.j2",
        stamp=stamp((incident,), watch, slack),
        slack=slack,
        now=now,
        watch=watch,
        halted_by=who(watch.halted_by, config),
        incident=incident,
        recurrence=f"inc-{incident.recurrence_of}" if incident.recurrence_of else None,
        times=metrics_of(incident, entries),
        seats=seats(incident, config),
        acknowledged_by=who(incident.acknowledged_by, config),
        clocks=board.clocks(incident, config, now),
        wanted=board.wanted(incident, config),
        verbs=[NOUNS[verb] for verb in board.columns(incident)],
        targets=board.targets(incident, config),
        more_targets=max(0, len(board.nodes_of(incident)) - board.MOST_TARGETS),
        tally=board.tally(incident),
        alarms=alarms,
        more_alarms=more_alarms,
        statuses=told_statuses(entries, config),
        evidence=[written.entry for written in reversed(of_kind(entries, j.EvidenceKept))],
        missing=of_kind(entries, j.EvidenceMissing),
        timeline=told[:MOST_LINES],
        more_lines=max(0, len(told) - MOST_LINES),
    )


def list_page(
    incidents: Sequence[Incident],
    watch: Watch,
    config: Config,
    now: datetime,
    *,
    slack: str = "",
    fragment: bool = False,
) -> str:
    """Return the list of incidents (newest first), open ones by severity, or only the part that changes."""
    rows = [_row(incident, config) for incident in incidents]
    return render(
        "console/list_parts.html.j2" if fragment else "console/list.html.j2",
        stamp=stamp(incidents, watch, slack),
        slack=slack,
        now=now,
        watch=watch,
        halted_by=who(watch.halted_by, config),
        live=sorted((row for row in rows if row.incident.status.live), key=lambda row: row.incident.severity),
        past=[row for row in rows if not row.incident.status.live],
    )


def message_page(title: str, text: str) -> str:
    """Return a page that only says something."""
    return render("console/message.html.j2", title=title, text=text)


def login_page(message: str = "") -> str:
    """Return the form that takes a token; `message` says why the last one was not taken."""
    return render("console/login.html.j2", message=message)


def stamp(incidents: Sequence[Incident], watch: Watch, slack: str = "") -> str:
    """Return what differs whenever a page over these incidents would."""
    versions = sum(incident.version for incident in incidents)
    return f"{len(incidents)}.{versions}.{watch.version}.{crc32(slack.encode()):x}"


def seats(incident: Incident, config: Config) -> list[Seat]:
    """Return all four roles in their order."""
    return [
        Seat(
            title=role.title,
            duty=role.duty,
            holder=who(person, config) if (person := incident.roles.get(role)) else None,
        )
        for role in Role
    ]


def told_statuses(entries: Sequence[Written], config: Config) -> list[Told]:
    """Return the statuses that were given, newest first."""
    return [
        Told(
            n=written.n,
            at=written.at,
            audience=AUDIENCES.get(e.audience, e.audience),
            by=who(e.person, config),
            lines=lines(e.text),
        )
        for written in reversed(entries)
        if isinstance(e := written.entry, j.StatusGiven)
    ]


def _row(incident: Incident, config: Config) -> Row:
    taken = [f"{seat.title}: {seat.holder}" for seat in seats(incident, config) if seat.holder]
    told, tone = _stopped(incident)
    return Row(incident=incident, seats="; ".join(taken[:2]) or "nobody", targets=told, tone=tone)


def _stopped(incident: Incident) -> tuple[str, str]:
    """Say how many suspects are stopped and by what, and in which tone; out of traffic is not yet stopped signing."""
    suspects = incident.suspects or incident.touched
    if not suspects:
        return "no target named", "calm"
    frozen = [node for node in suspects if node in incident.frozen]
    moved = [node for node in suspects if node not in frozen and incident.stopped(node)]
    left = [node for node in suspects if not incident.stopped(node)]
    told = f"{len(frozen)} of {count(len(suspects), 'target')} proven stopped"
    told += f"; {len(moved)} only out of traffic" if moved else ""
    if not incident.status.live:
        return told, "calm"
    told += f"; open: {names(left, 3)}" if left else ""
    return told, "bad" if left else "wait" if moved else "good"
