"""Targets in a message: a line for each while they are few, counts and the troubled ones by name when they are many."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from bot.chat import kit
from bot.chat.kit import Json
from bot.chat.words import clean
from bot.domain.incident import Incident
from bot.domain.playbook import Verb
from bot.domain.target import State, Track


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is told: `few` targets get a line each, of more `named` troubled ones; `why` characters of reasons."""

    few: int
    named: int
    why: int


SIZES = (Size(few=12, named=15, why=120), Size(few=12, named=8, why=40), Size(few=0, named=4, why=0))
ICONS: Mapping[State, str] = {
    State.HELD: "✋",
    State.REQUESTED: "📨",
    State.ACKNOWLEDGED: "⏳",
    State.VERIFIED: "✅",
    State.ALREADY: "✅",
    State.REFUSED: "🚫",
    State.FAILED: "⛔",
    State.UNKNOWN: "❓",
    State.WAIVED: "➖",
}
WORDS: Mapping[State, str] = {
    State.HELD: "held, a person decides",
    State.REQUESTED: "requested",
    State.ACKNOWLEDGED: "acknowledged, not proven",
    State.VERIFIED: "verified",
    State.ALREADY: "was so already, verified",
    State.REFUSED: "refused",
    State.FAILED: "failed",
    State.UNKNOWN: "unknown",
    State.WAIVED: "waived",
}
_SIGNING = {State.UNKNOWN: "unknown: treat as signing", State.FAILED: "failed: not in force"}
_ORDER = (
    State.FAILED,
    State.UNKNOWN,
    State.REFUSED,
    State.HELD,
    State.REQUESTED,
    State.ACKNOWLEDGED,
    State.VERIFIED,
    State.ALREADY,
    State.WAIVED,
)
_TROUBLED = _ORDER[:4]


def word(verb: Verb, state: State) -> str:
    """Return where a target stands, in words: an unproven freeze reads as what it is."""
    return _SIGNING.get(state, WORDS[state]) if verb is Verb.FREEZE else WORDS[state]


def names(nodes: tuple[str, ...], most: int = 5) -> str:
    """Return `seq-01, seq-02 and 3 more`, cleaned."""
    shown = ", ".join(clean(node, 60) for node in nodes[:most])
    return shown + (f" and {len(nodes) - most} more" if len(nodes) > most else "")


def held(incident: Incident) -> dict[Verb, tuple[str, ...]]:
    """Return what waits for a person's word, by verb: held, not begun since, and not asked of a second person."""
    asked = {(a.verb, node) for a in incident.approvals.values() if a.pending for node in a.targets}
    found = {
        verb: tuple(
            node
            for node, track in tracks.items()
            if track.state is State.HELD and (verb, node) not in asked and not incident.waiting_for(node, verb)
        )
        for verb, tracks in incident.tracks.items()
    }
    return {verb: nodes for verb, nodes in found.items() if nodes}


def counted(incident: Incident) -> str:
    """Return the targets in one plain sentence: `Freeze: 2 verified, 1 unknown.`"""
    parts = []
    for verb, tracks in incident.tracks.items():
        if tracks:
            counts = Counter(track.state for track in tracks.values())
            parts.append(f"{verb.capitalize()}: " + ", ".join(f"{counts[s]} {s}" for s in _ORDER if counts[s]))
    untouched = sum(not _tracks(incident, node) for node in incident.suspects)
    if untouched:
        parts.append(f"{untouched} suspects untouched")
    return (". ".join(parts) + ".") if parts else "No targets yet."


def blocks(incident: Incident, size: Size = SIZES[0]) -> list[Json]:
    """Return the targets' part of the header: nothing, a list, or a summary."""
    nodes = tuple(dict.fromkeys([*incident.suspects, *(n for tracks in incident.tracks.values() for n in tracks)]))
    nodes = tuple(node for node in nodes if node)
    made = []
    if nodes:
        every = len(nodes) <= size.few
        lines = [_line(incident, node, size) for node in nodes] if every else _summary(incident, nodes, size)
        made.append(kit.rich([kit.bold(f"Targets ({len(nodes)})")], *lines))
    if incident.unresolved:
        some = "; ".join(clean(text, 120) for text in incident.unresolved[:5])
        more = f" and {len(incident.unresolved) - 5} more" if len(incident.unresolved) > 5 else ""
        made.append(kit.rich(["⚠️ ", kit.bold("Not found in the inventory"), f": {some}{more}"]))
    return made


def _line(incident: Incident, node: str, size: Size) -> list[kit.Part]:
    tracks = _tracks(incident, node)
    if not tracks:
        return ["⚪ ", kit.bold(node, 60), " suspect, nothing was asked of it yet"]
    worst = min(tracks.values(), key=lambda track: _ORDER.index(track.state))
    icon = ICONS[tracks.get(Verb.FREEZE, worst).state]
    said = " · ".join(f"{verb} {word(verb, track.state)}" for verb, track in tracks.items())
    why = f" ({clean(worst.detail, size.why)})" if size.why and worst.state in _TROUBLED and worst.detail else ""
    return [f"{icon} ", kit.bold(node, 60), f" {said}{why}"]


def _summary(incident: Incident, nodes: tuple[str, ...], size: Size) -> list[list[kit.Part]]:
    lines: list[list[kit.Part]] = []
    for verb, tracks in incident.tracks.items():
        counts = Counter(track.state for track in tracks.values())
        if counts:
            told = " · ".join(f"{ICONS[s]} {counts[s]:,} {word(verb, s)}" for s in _ORDER if counts[s])
            lines.append([kit.bold(verb.value), f" {told}"])
    untouched = sum(not _tracks(incident, node) for node in nodes)
    if untouched:
        lines.append([f"⚪ {untouched:,} suspects untouched"])
    troubled = [node for node in nodes if any(t.state in _TROUBLED for t in _tracks(incident, node).values())]
    lines += [_line(incident, node, size) for node in troubled[: size.named]]
    if len(troubled) > size.named:
        lines.append([f"and {len(troubled) - size.named:,} more in trouble; `show` and the console name them all"])
    return lines


def _tracks(incident: Incident, node: str) -> dict[Verb, Track]:
    return {verb: tracks[node] for verb, tracks in incident.tracks.items() if node in tracks}
