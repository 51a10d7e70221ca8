"""What a pack holds for reading: the timeline and the custody report, made of nothing but what the pack itself shows.

The records prove; these pages repeat them for people, so that a panel sees at a glance what it may then check. They
open offline, run no script, and show a redacted field as redacted.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bot.domain import journal as j
from bot.domain.config import Config
from bot.domain.journal import Written
from bot.render.environment import render
from bot.render.timeline import line, worth_reading

HIDDEN = "▒ redacted"
_CUSTODY = (
    ("source", "Source"),
    ("node", "Node"),
    ("collector", "Collected by"),
    ("tool", "Tool"),
    ("collected_at", "Collected at"),
    ("clock", "Clock"),
    ("window_from", "Window from"),
    ("window_to", "Window to"),
    ("media_type", "Media type"),
    ("reason", "Reason"),
)
_MOMENTS: Mapping[str, str] = {
    "IncidentOpened": "opened",
    "Acknowledged": "acknowledged",
    "Contained": "contained",
    "Reopened": "reopened",
    "Resolved": "resolved",
    "Closed": "closed",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One record as the pack shows it: `values` by flat name (`body.item`), and the names that are `hidden`."""

    values: Mapping[str, Any]
    hidden: frozenset[str]
    leaf: int

    def body(self, name: str) -> Any:
        """Return a field of the body, HIDDEN when it is redacted, None when the record has none."""
        flat = f"body.{name}"
        return HIDDEN if flat in self.hidden else self.values.get(flat)

    @property
    def by(self) -> str:
        """Return who wrote it."""
        return HIDDEN if "by" in self.hidden else str(self.values["by"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A mark on the line above the timeline: `share` of the width, 0 to 1."""

    name: str
    at: datetime
    share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A line of the timeline."""

    n: int
    leaf: int
    at: datetime
    after: str
    icon: str
    text: str
    by: str
    kind: str
    detail: tuple[str, ...]


def documents(
    shown: Sequence[Shown], *, config: Config, entry: Callable[[Shown], Written | None], origin: str, size: int
) -> Mapping[str, bytes]:
    """Return `timeline.html`, `custody.html` and `custody.txt` of the records that a pack shows.

    `entry` turns a record into a journal entry, None where too much of it is redacted. `origin` and `size` name the
    log and the checkpoint that the pack leads to.
    """
    first, last = _at(shown[0]), _at(shown[-1])
    values = {
        "incident": str(shown[0].values["incident"]),
        "first": first,
        "last": last,
        "origin": origin,
        "size": size,
        "records": len(shown),
        "hidden": sum(len(one.hidden) for one in shown),
        "findings": _of(shown, "EvidenceFound"),
        "items": [_item(one) for one in _of(shown, "EvidenceKept")],
        "withheld": frozenset(shown[-1].body("withheld") or ()),
        "missing": _of(shown, "EvidenceMissing"),
        "accesses": _of(shown, "EvidenceRead", "EvidenceExported", "HoldPlaced", "HoldLifted", "EvidenceExpired"),
        "moments": _moments(shown, first, last),
        "timeline": [told for one in shown if (told := _told(one, config, entry, first)) is not None],
    }
    names = ("timeline.html", "custody.html", "custody.txt")
    return {name: render(f"pack/{name}.j2", **values).encode() for name in names}


def _at(one: Shown) -> datetime:
    return datetime.fromisoformat(one.values["at"])


def _of(shown: Sequence[Shown], *kinds: str) -> list[Shown]:
    return [one for one in shown if one.values["kind"] in kinds]


def _item(one: Shown) -> dict[str, Any]:
    rows = [(label, one.body(name)) for name, label in _CUSTODY if one.body(name) not in (None, "")]
    return {
        "item": one.body("item"),
        "what": one.body("what"),
        "sha256": one.body("sha256"),
        "size": one.body("size"),
        "rows": rows,
        "record": one.values["n"],
        "leaf": one.leaf,
        "at": _at(one),
    }


def _moments(shown: Sequence[Shown], first: datetime, last: datetime) -> list[Moment]:
    span = (last - first).total_seconds() or 1.0
    found = [(_MOMENTS[one.values["kind"]], _at(one)) for one in shown if one.values["kind"] in _MOMENTS]
    frozen = next((_at(one) for one in shown if _froze(one)), None)
    if frozen is not None:
        found.append(("freeze proven", frozen))
    return [
        Moment(name=n, at=at, share=(at - first).total_seconds() / span) for n, at in sorted(found, key=lambda m: m[1])
    ]


def _froze(one: Shown) -> bool:
    if one.values["kind"] != "TargetsReported" or one.body("verb") != "freeze":
        return False
    reports = one.body("reports")
    return isinstance(reports, list) and any(isinstance(r, dict) and r.get("state") == "verified" for r in reports)


def _told(one: Shown, config: Config, entry: Callable[[Shown], Written | None], first: datetime) -> Told | None:
    written = entry(one)
    at = _at(one)
    common = {"n": one.values["n"], "leaf": one.leaf, "at": at, "after": _after(at, first), "kind": one.values["kind"]}
    if written is None:
        names = ", ".join(sorted(name.removeprefix("body.") for name in one.hidden))
        return Told(**common, icon="▒", text=f"{one.values['kind']}: redacted: {names}", by=one.by, detail=())
    if not worth_reading(written) and not isinstance(written.entry, j.EvidenceKept):
        return None
    said = line(written, config)
    by = HIDDEN if "by" in one.hidden else said.by
    return Told(**common, icon=said.icon, text=said.text, by=by, detail=tuple(said.detail.splitlines()))


def _after(at: datetime, first: datetime) -> str:
    """Return `+00:14:05`."""
    seconds = int((at - first).total_seconds())
    return f"+{seconds // 3600:02}:{seconds % 3600 // 60:02}:{seconds % 60:02}"
