"""Findings: what the comparison of signed messages showed is written down, each once, the grave ones first."""

from collections.abc import Sequence
from dataclasses import dataclass

from bot.domain.findings import GRAVE, MORE, Finding
from bot.domain.journal import EvidenceFound
from bot.flows.book import Book, Command

MOST = 20
"""Findings that an incident's journal names one by one."""
OTHERS = 10
"""How many of them may be of kinds that no slashing condition knows: the others never find all places taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found(Command):
    """Messages were compared; `total` counts all that was found, of which `findings` are the first of each kind."""

    incident: int
    findings: Sequence[Finding]
    total: int


def found(book: Book, command: Found) -> int:
    """Write down what was not known; return how many findings are new. What has no place is counted, once."""
    incident = book.incident(command.incident)
    told = [one for one in incident.findings if one != MORE]
    grave = sum(one.split(":", 1)[0] in GRAVE for one in told)
    others = len(told) - grave
    fresh = {one.id: one for one in command.findings if one.id not in set(incident.findings)}
    new = 0
    for one in sorted(fresh.values(), key=lambda one: one.kind not in GRAVE):
        if grave + others >= MOST or (one.kind not in GRAVE and others >= OTHERS):
            continue
        grave, others, new = grave + (one.kind in GRAVE), others + (one.kind not in GRAVE), new + 1
        entry = EvidenceFound(finding=one.id, kind=one.kind, text=one.text, items=tuple(one.items), key=one.key)
        incident = book.write(incident, entry)
    if command.total > grave + others and MORE not in incident.findings:
        book.write(incident, _more(command, command.total - grave - others))
    return new


def _more(command: Found, count: int) -> EvidenceFound:
    at_least = "at least " if count >= 10_000 else ""
    things = "1 more thing was" if count == 1 else f"{at_least}{count} more things were"
    items = tuple(sorted({item for one in command.findings for item in one.items}))
    text = f"{things} found than the timeline names; the items have them all"
    return EvidenceFound(finding=MORE, kind=MORE, text=text, items=items[:MOST])
