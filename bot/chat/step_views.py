"""The two modals of a step: which targets, and — after its consequence is shown — yes."""

from collections.abc import Sequence

from bot.chat import actions, kit, limits, targets
from bot.chat.kit import Json
from bot.chat.views import choice, line, modal
from bot.chat.words import clean
from bot.domain.config import Config
from bot.domain.incident import Incident
from bot.domain.playbook import Verb

VERBS = (Verb.FREEZE, Verb.CAPTURE, Verb.ISOLATE, Verb.ROLLBACK, Verb.UNFREEZE, Verb.RESTORE, Verb.THROTTLE)
_WHAT = {
    Verb.FREEZE: "Freeze: stop signing",
    Verb.CAPTURE: "Capture: save evidence",
    Verb.ISOLATE: "Isolate: out of traffic",
    Verb.ROLLBACK: "Roll back to the last good build",
    Verb.UNFREEZE: "Unfreeze: sign again (two people)",
    Verb.RESTORE: "Restore: back into traffic",
    Verb.THROTTLE: "Throttle risky flows",
}
_NAMED = 40


def choose(incident: Incident, config: Config, verb: Verb | None, metadata: str) -> Json:
    """Return the form that asks for the targets, and for the verb unless it is given; suspects are chosen already."""
    blocks: list[Json] = []
    if verb is None:
        options = [kit.option(_WHAT[v], v.value) for v in VERBS]
        blocks.append(choice(actions.VERB, "What shall be done?", options, first=options[0]))
    offered = offer(incident, config)
    options = [kit.option(node, node) for node in offered[: limits.OPTIONS]]
    first = chosen_first(incident, verb)
    blocks.append(_many(options, [o for o in options if o["value"] in first]))
    if len(offered) > limits.OPTIONS:
        rest = f"{len(offered) - limits.OPTIONS:,} more nodes do not fit here: type their names after the command."
        blocks.append(kit.context(rest))
    blocks.append(line(actions.REASON, "Why?", most=200, hint="A few words for the timeline.", optional=True))
    title = f"{verb.capitalize()} on {incident.id}" if verb else f"A step on {incident.id}"
    return modal(actions.CHOOSE, title, "Go on", blocks, metadata)


def offer(incident: Incident, config: Config) -> tuple[str, ...]:
    """Return the nodes that may be chosen: what the incident touches first, then its service's, then the others."""
    nodes = config.inventory.nodes
    near = [*incident.suspects, *(n for tracks in incident.tracks.values() for n in tracks)]
    same = [name for name, node in nodes.items() if node.avs == incident.avs]
    return tuple(name for name in dict.fromkeys([*near, *same, *nodes]) if name in nodes)


def chosen_first(incident: Incident, verb: Verb | None) -> tuple[str, ...]:
    """Return what is probably meant: what is held, else what the verb undoes, else the suspects not yet done."""
    tracks = incident.tracks
    if verb is None:
        return incident.suspects
    if held := targets.held(incident).get(verb):
        return held
    if verb is Verb.UNFREEZE:
        return tuple(tracks.get(Verb.FREEZE, {}))
    if verb is Verb.RESTORE:
        return tuple(tracks.get(Verb.ISOLATE, {}))
    return tuple(n for n in incident.suspects if n not in tracks.get(verb, {}) or not tracks[verb][n].state.proven)


def sure(incident: Incident, verb: Verb, nodes: Sequence[str], told: Sequence[str], people: int, metadata: str) -> Json:
    """Return the question before a step: `told` are its consequences, `people` how many must agree."""
    count = f"{len(nodes)} target{'s' if len(nodes) > 1 else ''}"
    named = ", ".join(clean(node, 60) for node in nodes[:_NAMED])
    more = f" and {len(nodes) - _NAMED} more" if len(nodes) > _NAMED else ""
    lines: list[list[kit.Part]] = [
        [kit.bold(f"{verb.capitalize()} {count}:"), f" {named}{more}"],
    ]
    lines += [[text] for text in told if text]
    if people > 1:
        lines.append(["Nothing happens yet: a second person is asked to agree."])
    submit = "Ask a second person" if people > 1 else f"{verb.capitalize()} {count}"
    return modal(actions.SURE, f"{verb.capitalize()} {len(nodes)}?", submit, [kit.rich(*lines)], metadata)


def _many(options: list[Json], first: list[Json]) -> Json:
    element: Json = {"type": "multi_static_select", "action_id": actions.FIELD, "options": options}
    if first:
        element["initial_options"] = first
    label = kit.text("Which targets?")
    return {"type": "input", "block_id": actions.TARGETS, "label": label, "element": element}
