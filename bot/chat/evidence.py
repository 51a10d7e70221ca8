"""What `evidence` answers: what is kept, what it shows, what is missing, and how it leaves the house."""

from collections.abc import Sequence

from bot.chat import kit
from bot.chat.kit import Message, Part
from bot.chat.words import clean, said
from bot.domain import journal as j
from bot.domain.incident import Incident

_MOST = 20


def overview(incident: Incident, entries: Sequence[j.Entry]) -> Message:
    """Return the evidence of an incident at a glance; contents are never shown in Slack."""
    kept = [e for e in entries if isinstance(e, j.EvidenceKept)]
    found = [e for e in entries if isinstance(e, j.EvidenceFound)]
    lost = [e for e in entries if isinstance(e, j.EvidenceMissing)]
    size = sum(e.size for e in kept)
    lines: list[list[Part]] = [[kit.bold(f"Evidence of {incident.id}"), f": {len(kept)} items, {size:,} bytes"]]
    lines += [["⚠ ", clean(e.text, 300)] for e in found[-_MOST:]]
    kinds = dict.fromkeys(e.what for e in kept)
    for what in list(kinds)[:_MOST]:
        mine = [e for e in kept if e.what == what]
        nodes = ", ".join(dict.fromkeys(e.node for e in mine if e.node)) or "the incident"
        lines.append([f"▣ {clean(what, 60)} ", f"({len(mine)}): {clean(nodes, 160)}"])
    if len(kinds) > _MOST:
        lines.append([f"… and {len(kinds) - _MOST} kinds more"])
    lines += [[f"✗ {clean(e.what, 60)} of {clean(e.node or '-', 60)}: {clean(e.reason, 160)}"] for e in lost[-_MOST:]]
    if incident.hold:
        lines.append(["Under legal hold: ", clean(incident.hold, 200)])
    lines.append([f"Take it out: stopsign evidence export {incident.id} --out FOLDER --reason WHY"])
    text = said(f"Evidence of {incident.id}: {len(kept)} items, {len(found)} findings, {len(lost)} missing", 300)
    return Message(text=text, blocks=(kit.rich(*lines),))
