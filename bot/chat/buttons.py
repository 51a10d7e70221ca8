"""Buttons that do something, each with a sealed value. Destructive ones ask first and say what they would do."""

from bot.chat import actions, kit, targets
from bot.chat.kit import Json
from bot.chat.seals import Seals, set_of
from bot.domain.config import Config
from bot.domain.incident import Approval, Incident
from bot.domain.playbook import Verb
from bot.flows.stakes import stakes

NAMED = 1_200
"""So many characters of target names go into a button's value, of 2,000 once sealed."""


def plain(action_id: str, label: str, seals: Seals, *words: str, style: str | None = None) -> Json:
    """Return a button without a question; its value is bound to its kind of action."""
    return kit.button(action_id, label, seals.seal(actions.kind(action_id), *words), style=style)


def held(incident: Incident, verb: Verb, nodes: tuple[str, ...], why: str, config: Config, seals: Seals) -> Json:
    """Return the button by which one person lets a held step happen, bound to exactly these targets."""
    count = len(nodes)
    label = f"Freeze the {count} held" if verb is Verb.FREEZE else f"Approve {verb} of {count}"
    text = _consequence(incident, verb, nodes, config, why)
    # Exactly these are agreed to: by name while they fit into a button's value, else by the name of the whole set.
    shown = nodes if sum(len(node) + 3 for node in nodes) <= NAMED else (set_of(nodes),)
    value = seals.seal(actions.HELD, str(incident.number), verb.value, *shown)
    ask = kit.confirm(f"{verb.capitalize()} {count} on {incident.id}?", text, verb.capitalize())
    return kit.button(f"{actions.HELD}:{verb}", label, value, style="danger", confirm=ask)


def _consequence(incident: Incident, verb: Verb, nodes: tuple[str, ...], config: Config, why: str) -> str:
    """Return what a confirmation asks: the consequence first, then the names, then the reason."""
    return f"{stakes(config.inventory, verb, nodes, incident.stopping)} {targets.names(nodes, 6)}. {why}"


def form(verb: Verb | None, incident: Incident, seals: Seals) -> Json:
    """Return the button that opens the form of a step; the form asks before anything happens."""
    label = "Freeze…" if verb is Verb.FREEZE else "Other step…"
    value = seals.seal(actions.STEP_FORM, str(incident.number), verb.value if verb else "")
    action = f"{actions.STEP_FORM}:{verb}" if verb else actions.STEP_FORM
    return kit.button(action, label, value, style="danger" if verb is Verb.FREEZE else None)


def close(incident: Incident, seals: Seals) -> Json:
    """Return the button that closes a resolved incident."""
    text = "Its channel is archived after a while. Open actions stay open."
    ask = kit.confirm(f"Close {incident.id}?", text, "Close", danger=False)
    return kit.button(actions.CLOSE, "Close", seals.seal(actions.CLOSE, str(incident.number)), confirm=ask)


def rearm(entry: int, seals: Seals, *, asked: bool = False) -> Json:
    """Return the button that starts automation again, in two presses of two people."""
    question = "Automation starts again: what is held is decided anew, nothing is released by itself."
    label = "Agree to re-arm" if asked else "Ask to re-arm (two people)"
    ask = kit.confirm("Re-arm automation?", question, "Re-arm")
    return kit.button(actions.REARM, label, seals.seal(actions.REARM, str(entry)), confirm=ask)


def approval(incident: Incident, asked: Approval, config: Config, seals: Seals, *, place: str = "") -> tuple[Json, ...]:
    """Return Approve and Reject for one request, and the way to go alone where policy has one.

    `place` keeps them apart in a message with several.
    """
    number, what = str(incident.number), f"{asked.verb} of {targets.names(asked.targets, 8)}"
    tail = f":{place}" if place else ""
    text = _consequence(incident, asked.verb, asked.targets, config, asked.reason)
    alone = plain(f"{actions.GLASS_FORM}{tail}", "Go on alone…", seals, number, asked.id)
    may = config.policy.break_glass_after is not None and asked.broken_by is None
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
        *((alone,) if may else ()),
    )
