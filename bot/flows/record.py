"""Records: what adapters did that later decisions, readers and the evidence log must know."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime

from bot.domain import journal as j
from bot.domain.cadence import business_days_after
from bot.domain.incident import Incident
from bot.domain.roles import Role
from bot.flows.book import Book, Command


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep(Command):
    """A blob is durably in the vault."""

    incident: int
    sha256: str
    size: int
    media_type: str
    what: str
    node: str | None
    source: str
    tool: str
    collected_at: datetime
    window_from: datetime | None = None
    window_to: datetime | None = None
    reason: str = ""
    marks: Mapping[str, str] = field(default_factory=dict)


def keep(book: Book, command: Keep) -> str:
    """Enter an item into custody; return its id (`ev-7-3`). The same content from the same place is one item."""
    incident = book.incident(command.incident)
    for e in book.kept(incident.number, command.sha256):
        if (e.what, e.node) == (command.what, command.node) and not _expired(book, incident, e):
            return e.item
    item = f"ev-{incident.number}-{incident.items + 1}"
    evidence_lead = incident.roles.get(Role.EVIDENCE)
    book.write(
        incident,
        j.EvidenceKept(
            item=item,
            sha256=command.sha256,
            size=command.size,
            media_type=command.media_type,
            what=command.what,
            node=command.node,
            source=command.source,
            collector=f"stopsign, for {evidence_lead or 'nobody'} (Evidence Lead)",
            tool=command.tool,
            collected_at=command.collected_at,
            clock="system clock, UTC",
            window_from=command.window_from,
            window_to=command.window_to,
            reason=command.reason or f"{incident.id} {incident.severity}",
            marks=command.marks,
        ),
    )
    return item


def _expired(book: Book, incident: Incident, kept: j.EvidenceKept) -> bool:
    """Tell whether the content of an item was let go: kept again it is another item."""
    entries = (w.entry for w in book.journal(incident.number))
    return any(isinstance(e, j.EvidenceExpired) and e.item == kept.item for e in entries)


@dataclass(frozen=True, slots=True, kw_only=True)
class Note(Command):
    """One entry that adapters owe the journal: a channel opened, a header posted, a postmortem drafted, work buried."""

    incident: int
    entry: j.Entry


def note(book: Book, command: Note) -> Incident:
    """Write the entry, once: the same entry again changes nothing."""
    incident = book.incident(command.incident)
    e = command.entry
    known = (isinstance(e, j.ChannelOpened) and incident.channel == e.channel) or (
        isinstance(e, j.HeaderPosted) and incident.header == e.ts
    )
    return incident if known else book.write(incident, e)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drafted(Command):
    """The postmortem's draft is in the vault."""

    incident: int
    item: str
    sha256: str


def due_on(book: Book, incident: Incident) -> str:
    """Return when the postmortem is due: business days after the resolution."""
    start: date = (incident.resolved_at or book.now).date()
    policy = book.config.policy
    return business_days_after(start, policy.postmortem_days, policy.country).isoformat()


def drafted(book: Book, command: Drafted) -> Incident:
    """Write down that the draft exists and when the postmortem is due."""
    incident = book.incident(command.incident)
    return book.write(
        incident, j.PostmortemDrafted(item=command.item, sha256=command.sha256, due_on=due_on(book, incident))
    )
