"""Custody: who reads evidence, takes it out of the house, holds it, lets it expire; each with a reason, in the log."""

from dataclasses import dataclass
from typing import ClassVar

from bot.domain import journal as j
from bot.domain.authority import Power
from bot.domain.incident import Incident
from bot.domain.watch import Watch
from bot.errors import Invalid, NotFound, Refused
from bot.flows.book import Book, Command


@dataclass(frozen=True, slots=True, kw_only=True)
class _Custody(Command):
    """Something that takes the power over evidence, and a reason."""

    needs: ClassVar[Power | None] = Power.EVIDENCE
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Read(_Custody):
    """Look at one item's content."""

    incident: int
    item: str


def read(book: Book, command: Read) -> j.EvidenceKept:
    """Write the reading down and return the item's custody; its content may be given out after the commit."""
    incident = book.incident(command.incident)
    entries = [written.entry for written in book.journal(incident.number)]
    item = _item(incident, entries, command.item)
    for e in entries:
        if isinstance(e, j.EvidenceExpired) and e.item == item.item:
            raise NotFound(f"The content of {item.item} is no longer kept: {e.reason}. Its hash is {item.sha256}.")
    book.write(incident, j.EvidenceRead(item=item.item, sha256=item.sha256, reason=_reason(command)))
    return item


@dataclass(frozen=True, slots=True, kw_only=True)
class Export(_Custody):
    """An incident's evidence leaves the house, but for the content of `withheld` items (ids, or kinds)."""

    incident: int
    withheld: tuple[str, ...] = ()
    redacted: tuple[str, ...] = ()


def export(book: Book, command: Export) -> int:
    """Write the export down as the record that ends it; return that record's number."""
    incident = book.incident(command.incident)
    entries = [w.entry for w in book.journal(incident.number)]
    items = [e for e in entries if isinstance(e, j.EvidenceKept)]
    known = {name for e in items for name in (e.item, e.what)}
    if unknown := [name for name in command.withheld if name not in known]:
        raise NotFound(f"There is no item and no kind {unknown[0]!r} in {incident.id}: `evidence list` shows them.")
    kept_back = {e.sha256 for e in items if {e.item, e.what} & set(command.withheld)}
    entry = j.EvidenceExported(
        records=incident.version + 1,
        items=tuple(e.sha256 for e in items),
        reason=_reason(command),
        withheld=tuple(sorted(kept_back)),
        redacted=command.redacted,
    )
    return book.write(incident, entry).version


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal(Command):
    """The manifest of an export is written; the bot seals it."""

    incident: int
    exported: int
    manifest: str


def seal(book: Book, command: Seal) -> int:
    """Write the manifest's hash into the log; return that record's number."""
    incident = book.incident(command.incident)
    return book.write(incident, j.EvidenceSealed(exported=command.exported, manifest=command.manifest)).version


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold(_Custody):
    """Legal hold: nothing of the incident's evidence expires."""

    incident: int


def hold(book: Book, command: Hold) -> Incident:
    """Place the hold; a second one changes nothing."""
    incident = book.incident(command.incident)
    return incident if incident.hold else book.write(incident, j.HoldPlaced(reason=_reason(command)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Lift(_Custody):
    """The legal hold ends."""

    incident: int


def lift(book: Book, command: Lift) -> Incident:
    """Lift the hold; raises Refused when there is none."""
    incident = book.incident(command.incident)
    if not incident.hold:
        raise Refused(f"{incident.id} is under no legal hold.")
    return book.write(incident, j.HoldLifted(reason=_reason(command)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Expire(_Custody):
    """An item's content shall be removed: the policy's time for it is over."""

    incident: int
    item: str


def expire(book: Book, command: Expire) -> j.EvidenceKept:
    """Write the expiry down, before anything is removed; raises Refused for what is too young or held."""
    incident = book.incident(command.incident)
    written = book.journal(incident.number)
    item = _item(incident, [w.entry for w in written], command.item)
    if incident.hold:
        raise Refused(f"{incident.id} is under legal hold: {incident.hold}. Nothing of it expires.")
    kept_at = max(w.at for w in written if isinstance(w.entry, j.EvidenceKept) and w.entry.sha256 == item.sha256)
    until = kept_at + book.config.policy.evidence.retention
    if book.now < until:
        raise Refused(f"{item.item} is kept until {until:%Y-%m-%d %H:%M} UTC (policy.yaml: evidence.retention).")
    if incident.status.live:
        raise Refused(f"{incident.id} is not resolved: its evidence does not expire.")
    gone = {w.entry.item for w in written if isinstance(w.entry, j.EvidenceExpired)}
    for e in (w.entry for w in written):  # whatever else of the incident has the same content
        if isinstance(e, j.EvidenceKept) and e.sha256 == item.sha256 and e.item not in gone:
            book.write(incident, j.EvidenceExpired(item=e.item, sha256=e.sha256, reason=_reason(command)))
    return item


@dataclass(frozen=True, slots=True, kw_only=True)
class RotateKey(_Custody):
    """The log shall be signed with another key from now on; `was` and `now` are verifier keys."""

    was: str
    now: str


def rotate_key(book: Book, command: RotateKey) -> Watch:
    """Write the rotation down; the next checkpoint, which covers this entry, is signed with both keys."""
    current = book.watch().key
    if current is not None and current != command.was:
        raise Refused("The key was rotated by somebody else meanwhile: look at `stopsign evidence key`.")
    return book.write_watch(j.KeyRotated(was=command.was, now=command.now, reason=_reason(command)))


def _reason(command: _Custody) -> str:
    if not command.reason.strip():
        raise Invalid("Say why: it is part of the chain of custody.", where="reason")
    return command.reason.strip()


def _item(incident: Incident, entries: list[j.Entry], name: str) -> j.EvidenceKept:
    for e in entries:
        if isinstance(e, j.EvidenceKept) and e.item == name:
            return e
    raise NotFound(
        f"There is no item {name!r} in {incident.id}: `evidence list {incident.id}` shows them.", where="item"
    )
