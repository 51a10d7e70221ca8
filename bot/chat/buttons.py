"""Buttons that do something, each with a sealed value. Destructive ones ask first and say what they would do."""

from bot.chat import actions, kit, targets
from bot.chat.kit import Json
from bot.chat.seals import Seals, set_of
from bot.domain.incident import Approval, Incident
from bot.domain.playbook import Verb

NAMED = 1_200
"""So many characters of target names go into a button's value, of 2,000 once sealed."""


def plain(action_id: str, label: str, seals: Seals, *words: str, style: str | None = None) -> Json:
    """Return a button without a question; its value is bound to its kind of action."""
    return kit.button(action_id, label, seals.seal(actions.kind(action_id), *words), style=style)


def held(incident: Incident, verb: Verb, nodes: tuple[str, ...], why: str, seals: Seals) -> Json:
    """Return the button by which one person lets a held step happen, bound to exactly these targets."""
    count = len(nodes)
    label = f"Freeze the {count} held" if verb is Verb.FREEZE else f"Approve {verb} of {count}"
    text = f"{_CONSEQUENCE.get(verb, '')}{count} target{'s' if count > 1 else ''}: {targets.names(nodes, 8)}. {why}"
    # Exactly these are agreed to: by name while they fit into a button's value, else by the name of the whole set.
    shown = nodes if sum(len(node) + 3 for node in nodes) <= NAMED else (set_of(nodes),)
    value = seals.seal(actions.HELD, str(incident.number), verb.value, *shown)
    ask = kit.confirm(f"{verb.capitalize()} {count} on {incident.id}?", text, verb.capitalize())
    return kit.button(f"{actions.HELD}:{verb}", label, value, style="danger", confirm=ask)


_CONSEQUENCE = {
    Verb.FREEZE: "Stops signing; duties of these are missed until two people unfreeze. ",
    Verb.ISOLATE: "Takes out of traffic. ",
    Verb.ROLLBACK: "Replaces what runs by the last good build. ",
}


def approval(incident: Incident, asked: Approval, seals: Seals, *, place: str = "") -> tuple[Json, Json]:
    """Return Approve and Reject for one request; `place` keeps them apart in a message with several."""
    number, what = str(incident.number), f"{asked.verb} of {targets.names(asked.targets, 8)}"
    tail = f":{place}" if place else ""
    text = f"{_CONSEQUENCE.get(asked.verb, '')}{len(asked.targets)}: {targets.names(asked.targets, 8)}. {asked.reason}"
    return (
        kit.button(
            actions.APPROVE + tail,
            "Approve",
            seals.seal(actions.APPROVE, number, asked.id),
            style="primary",
            confirm=kit.confirm(f"Agree to {asked.verb} on {incident.id}?", text, "Approve", danger=False),
        ),
        kit.button(
            actions.REJECT + tail,
            "Reject",
            seals.seal(actions.REJECT, number, asked.id),
            style="danger",
            confirm=kit.confirm(f"Reject on {incident.id}?", f"{what} will not happen.", "Reject"),
        ),
    )
