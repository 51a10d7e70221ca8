"""What the records of a pack add up to, gathered line by line; and `pack.json`, which is a function of it.

Only what a slashing protection or a release says of itself is read from the items (`readings.py`).
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from bot.domain.leaf import Json
from bot.errors import Invalid
from bot.vault import pack
from bot.vault.readings import INTERCHANGE, RELEASE, Interchange, Reading, Release
from bot.vault.redaction import Redaction

GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "signed_messages": ("signed-messages",),
    "client": ("release", "rollback"),
    "peers": ("peers", "beacon-peers"),
    "network_captures": ("network-capture",),
    "signer_audit": ("signer-audit",),
    "alerts": ("alerts",),
    "metrics": ("metrics",),
    "freeze_proofs": ("freeze-proof",),
    "slashing_protection": ("slashing-protection", "slashing-protection-invalid"),
    "logs": ("logs", "journal", "journal-machine", "rotated-logs"),
    "other": (),
}
"""Groups of items in `pack.json`, with the kinds (`what`, up to a comma) that belong to each."""

_GROUP_OF: Final = {what: group for group, kinds in GROUPS.items() for what in kinds}
_CUSTODY: Final = ("item", "what", "source", "node", "size", "sha256", "media_type", "collector", "tool")
_TAKEN: Final = ("collected_at", "clock", "reason")
_WINDOW: Final = {"from": "window_from", "to": "window_to"}
_EVENTS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "EvidenceMissing": ("missing", ("what", "node", "reason")),
    "EvidenceFound": ("findings", ("finding", "kind", "text", "items", "key")),
    "EvidenceRead": ("access", ("item", "sha256", "reason")),
    pack.EXPORTED: ("access", ("records", "withheld", "rules", "reason")),
    pack.SEALED: ("access", ("exported", "manifest")),
    "EvidenceExpired": ("expired", ("item", "sha256", "reason")),
    "HoldPlaced": ("holds", ("reason",)),
    "HoldLifted": ("holds", ("reason",)),
}
"""By kind of record: the section of `pack.json` that it stands in, and the fields that are told there."""
_BODY: Final = {"rules": "redacted"}
"""Where a field is told under another name than it has: `redacted` names what an entry itself hides."""
_SECTIONS: Final = (*GROUPS, *sorted({section for section, _ in _EVENTS.values()}))
_READERS: Final[Mapping[str, tuple[str, type[Reading]]]] = {
    "slashing_protection": (INTERCHANGE, Interchange),
    "client": (RELEASE, Release),
}


@dataclass(slots=True, kw_only=True)
class Contents:
    """The sum of the records: `items` are hashes, `named` is hash by item id; `ended` is the last export's record."""

    incident: str = ""
    records: int = 0
    first_at: str = ""
    last_at: str = ""
    sections: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: {name: [] for name in _SECTIONS})
    items: set[str] = field(default_factory=set)
    named: dict[str, str] = field(default_factory=dict)
    expired: set[str] = field(default_factory=set)
    withheld: tuple[str, ...] = ()
    redaction: Redaction = field(default_factory=Redaction)
    exported: int = 0
    exported_at: str = ""
    told: dict[tuple[str, str], Mapping[str, Json] | None] = field(default_factory=dict)
    """By hash and field of `pack.json`: what an item says of itself, None until it is read or when it does not."""

    def absent(self) -> frozenset[str]:
        """Return the hashes of items whose content is not in the pack: withheld, or every item of it expired."""
        held = {name for item, name in self.named.items() if item not in self.expired}
        return frozenset(self.withheld) | (self.items - held)

    def readings(self, name: str) -> dict[str, Reading]:
        """Return what is to be read while the item with this hash streams by, by the field of `pack.json`."""
        return {told: reader() for told, reader in _READERS.values() if (name, told) in self.told}

    def tell(self, name: str, readings: Mapping[str, Reading]) -> None:
        """Take what was read out of an item."""
        for told, reading in readings.items():
            self.told[name, told] = reading.result()


def count(contents: Contents, values: Mapping[str, Any], hidden: Collection[str], leaf: int) -> list[str]:
    """Add one record to the contents; return what is wrong with it as a count or custody record."""
    contents.records += 1
    contents.first_at = contents.first_at or values["at"]
    contents.last_at = values["at"]
    kind = values["kind"]
    if kind == pack.KEPT:
        return _kept(contents, values, hidden, leaf)
    if kind in _EVENTS:
        section, names = _EVENTS[kind]
        contents.sections[section].append(_entry(values, names, hidden, leaf) | {"entry": kind})
    if kind == "EvidenceExpired":
        contents.expired.add(str(values.get("body.item")))
    return _exported(contents, values) if kind == pack.EXPORTED else []


def _entry(values: Mapping[str, Any], names: Iterable[str], hidden: Collection[str], leaf: int) -> dict[str, Any]:
    """Return the told fields of a record and its place in the log; what is redacted is null and named."""
    entry = {name: values.get(f"body.{_BODY.get(name, name)}") for name in names}
    redacted = [name for name in hidden if name.removeprefix("body.") in (*names, "by")]
    entry |= {"record": values["n"], "leaf": leaf, "at": values["at"], "by": values.get("by")}
    return entry | {"redacted": sorted(name.removeprefix("body.") for name in redacted)}


def _kept(contents: Contents, values: Mapping[str, Any], hidden: Collection[str], leaf: int) -> list[str]:
    try:
        item, name, _ = pack.custody_of(values)
    except Invalid as error:
        return [str(error)]
    entry = _entry(values, (*_CUSTODY, *_TAKEN, *_WINDOW.values()), hidden, leaf)
    entry["window"] = {end: entry.pop(where) for end, where in _WINDOW.items()}
    what = entry["what"] if isinstance(entry["what"], str) else ""
    group = _GROUP_OF.get(what.partition(",")[0], "other")
    contents.sections[group].append(entry)
    if group in _READERS:
        contents.told[name, _READERS[group][0]] = None
    contents.items.add(name)
    contents.expired.discard(item)
    return [f"the item {item} stands for two contents"] if contents.named.setdefault(item, name) != name else []


def _exported(contents: Contents, values: Mapping[str, Any]) -> list[str]:
    wrong = []
    if values.get("body.records") != values["n"]:
        wrong.append(f"it counts {values.get('body.records')!r} records, itself included, but is record {values['n']}")
    listed = _hashes(values.get("body.items"))
    if listed != contents.items:
        absent, extra = sorted(listed - contents.items), sorted(contents.items - listed)
        wrong.append(f"the items it lists are not those kept before it (not kept: {absent}, not listed: {extra})")
    withheld = _hashes(values.get("body.withheld", []))
    if stranger := sorted(withheld - contents.items):
        wrong.append(f"it withholds {stranger[0]}, which was not kept before it")
    try:
        contents.redaction = Redaction.read(values.get("body.redacted", []))
    except Invalid as error:
        wrong.append(str(error))
    contents.withheld = tuple(sorted(withheld))
    contents.exported, contents.exported_at = values["n"], values["at"]
    return wrong


def _hashes(value: object) -> set[str]:
    return {str(name) for name in value} if isinstance(value, list | tuple) else {repr(value)}


def pack_json(contents: Contents) -> str:
    """Return `pack.json` (docs/evidence-pack-1.schema.json)."""
    gone = contents.absent()
    sections: dict[str, Json] = dict(contents.sections)
    for group in GROUPS:
        sections[group] = [_shown(contents, group, entry, gone) for entry in contents.sections[group]]
    whole: dict[str, Json] = {
        "schema": pack.FORMAT,
        "incident": contents.incident,
        "records": {"count": contents.records, "first_at": contents.first_at, "last_at": contents.last_at},
        "withheld": contents.withheld,
        "redactions": contents.redaction.rules,
    }
    return pack.pretty(whole | sections)


def _shown(contents: Contents, group: str, entry: Mapping[str, Any], gone: Collection[str]) -> dict[str, Json]:
    """Return an item's entry with where its content is, and what was read out of it."""
    name = entry["sha256"]
    content = "withheld" if name in contents.withheld else "expired" if name in gone else "here"
    read: dict[str, Json] = {}
    if group in _READERS:
        told = _READERS[group][0]
        read = {told: contents.told[name, told]}
    return {**entry, "content": content, **read}
