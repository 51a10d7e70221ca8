"""Which fields of an export are hidden. A hidden field leaves its commitment in place, so that the pack still verifies.

A rule is `by` or `body.note` (that field of every record), or `EvidenceKept.source` (that field of one kind of record).
The rules stand in the EvidenceExported record: what a pack hides is checked against what the log says that it hides.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import Final

from bot.domain.journal import KINDS
from bot.domain.leaf import ENVELOPE
from bot.errors import Invalid

NEEDED: Final[Mapping[str, frozenset[str]]] = {
    "EvidenceKept": frozenset({"body.item", "body.sha256", "body.size"}),
    "EvidenceExported": frozenset({"body.records", "body.items", "body.withheld", "body.redacted"}),
    "EvidenceSealed": frozenset({"body.exported", "body.manifest"}),
    "EvidenceExpired": frozenset({"body.item", "body.sha256"}),
}
"""Fields without which a record of that kind, or the pack, cannot be checked: never redacted."""

_RULE: Final = re.compile(r"by|(body|[A-Z][A-Za-z0-9]*)\.([a-z][a-z0-9_]*)", re.ASCII)
_KNOWN: Final = {kind: frozenset({"by"} | {f"body.{f.name}" for f in fields(cls)}) for kind, cls in KINDS.items()}


@dataclass(frozen=True, slots=True)
class Redaction:
    """The rules of one export, as written."""

    rules: tuple[str, ...] = ()

    @classmethod
    def parse(cls, rules: Iterable[str]) -> "Redaction":
        """Return the rules that a person gave, each once, sorted.

        Raises:
            Invalid: a rule that no record can meet, or that hides what a pack cannot be checked without.
        """
        given = tuple(sorted({rule.strip() for rule in rules}))
        for rule in given:
            _check(rule)
        return cls(given)

    @classmethod
    def read(cls, rules: object) -> "Redaction":
        """Return the rules that a record names, of whatever version they are; raises Invalid for what is no rule."""
        if not isinstance(rules, list | tuple):
            raise Invalid("the rules of redaction are no list")
        for rule in rules:
            if not isinstance(rule, str) or not _RULE.fullmatch(rule):
                raise Invalid(f"{str(rule)[:80]!r} is no rule of redaction")
        return cls(tuple(rules))

    def of(self, kind: str, names: Collection[str]) -> frozenset[str]:
        """Return which of a record's flat `names` (`by`, `body.note`) are hidden."""
        hidden = {_field(rule) for rule in self.rules if _kind(rule) in (None, kind)}
        return frozenset(hidden & set(names)) - NEEDED.get(kind, frozenset())


def _kind(rule: str) -> str | None:
    """Return the kind of record that a rule is about, None for all."""
    kind = rule.partition(".")[0]
    return None if kind in ("by", "body") else kind


def _field(rule: str) -> str:
    """Return the flat name of the field that a rule hides."""
    name = rule.rpartition(".")[2]
    return "by" if name == "by" and not rule.startswith("body.") else f"body.{name}"


def _check(rule: str) -> None:
    if rule in ENVELOPE - {"by"}:
        raise Invalid(f"{rule} can never be redacted: the order of the records hangs on it", where=rule)
    if not _RULE.fullmatch(rule):
        raise Invalid(f"{rule[:80]!r} is no rule: write by, body.FIELD or KIND.FIELD (EvidenceKept.source)", where=rule)
    kind, name = _kind(rule), _field(rule)
    if kind is not None and kind not in KINDS:
        raise Invalid(f"{rule}: there is no kind of record {kind}{_meant(kind, KINDS)}", where=rule)
    short = name.removeprefix("body.")
    if kind is not None and name.removeprefix("body.") in ENVELOPE - {"by"} and name not in _KNOWN[kind]:
        raise Invalid(f"{rule}: {short} can never be redacted: the order of the records hangs on it", where=rule)
    having = [one for one, known in _KNOWN.items() if name in known and kind in (None, one)]
    if not having:
        known = {one.removeprefix("body.") for each in ([kind] if kind else _KNOWN) for one in _KNOWN[each]}
        about = f"a record of kind {kind}" if kind else "any kind of record"
        raise Invalid(f"{rule}: {about} has no field {short}{_meant(short, known)}", where=rule)
    if kind is not None and name in NEEDED.get(kind, frozenset()):
        raise Invalid(f"{rule} can never be redacted: without it the pack cannot be checked", where=rule)
    if all(name in NEEDED.get(one, frozenset()) for one in having):
        raise Invalid(f"{rule} can never be redacted: without it the pack cannot be checked", where=rule)


def _meant(word: str, known: Iterable[str]) -> str:
    close = get_close_matches(word, sorted(known), 1)
    return f"; is it {close[0]}?" if close else ""
