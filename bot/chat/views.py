"""Modals, as pure functions. What they carry is sealed; every input's block is named after what it asks for."""

from dataclasses import dataclass
from typing import Any

from bot.chat import actions, kit, limits, targets
from bot.chat.kit import Json
from bot.chat.words import clean
from bot.domain.authority import Power
from bot.domain.config import Config
from bot.domain.incident import Approval, Incident
from bot.domain.roles import Role
from bot.domain.severity import Severity
from bot.domain.target import State
from bot.flows import status

_MEANING = {
    Severity.SEV1: "SEV-1: a slash is likely in minutes",
    Severity.SEV2: "SEV-2: a slash is possible in hours",
    Severity.SEV3: "SEV-3: no way to a slash yet",
}
_AUDIENCE = {
    "internal": "Internal: this incident's people",
    "stakeholders": "Stakeholders: the AVS channel",
    "public": "Public: everybody, on the status page",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """What somebody put into a modal, by what it asked for; what was left empty is absent."""

    values: dict[str, str]

    def __getitem__(self, name: str) -> str:
        """Return a field's text, empty when it was left so."""
        return self.values.get(name, "")


def filled(view: Json) -> Filled:
    """Read a view_submission's state."""
    found: dict[str, str] = {}
    for block, given in view.get("state", {}).get("values", {}).items():
        for value in given.values():
            text = _given(value)
            if text:
                found[block] = text
    return Filled(values=found)


def _given(value: dict[str, Any]) -> str:
    if chosen := value.get("selected_option"):
        return str(chosen["value"])
    if several := value.get("selected_options"):
        return "\n".join(str(option["value"]) for option in several)
    return str(value.get("value") or "")


def declare(config: Config, metadata: str) -> Json:
    """Return the form that opens an incident."""
    severities = [kit.option(_MEANING[sev], str(sev)) for sev in Severity]
    names = list(config.inventory.avs)[: limits.OPTIONS]
    blocks = [choice(actions.SEVERITY, "How bad is it?", severities, first=severities[1])]
    if names:
        options = [kit.option(name, name) for name in names]
        blocks.append(choice(actions.AVS, "Which service?", options, optional=True))
    blocks.append(
        line(
            actions.SUMMARY,
            "What is wrong?",
            most=200,
            hint="A few words; people are paged with them. Outside, nobody reads them.",
        )
    )
    return modal(actions.DECLARE, "Declare an incident", "Declare", blocks, metadata)


def give_status(incident: Incident, audience: str, metadata: str, draft: str = "") -> Json:
    """Return the form for a status; `draft` stands in it to be corrected."""
    options = [kit.option(_AUDIENCE[name], name) for name in status.AUDIENCES]
    first = options[status.AUDIENCES.index(audience)]
    hint = "Facts only: what is known, what is being done, when the next update comes."
    share = {"internal": "Share with the team", "stakeholders": "Tell stakeholders", "public": "Publish"}[audience]
    blocks = [
        choice(actions.AUDIENCE, "For whom?", options, first=first),
        line(actions.TEXT, "How does it stand?", most=2500, many=True, hint=hint, initial=draft),
    ]
    return modal(actions.STATUS, f"Status of {incident.id}", share, blocks, metadata)


def unfinished(incident: Incident) -> str:
    """Return what still goes on in an incident that somebody wants to end, in a sentence; empty when nothing does."""
    waiting = sum(a.pending for a in incident.approvals.values())
    parts = [f"{incident.firing} alert{'s' if incident.firing > 1 else ''} still firing"] if incident.firing else []
    parts += [f"{waiting} request{'s' if waiting > 1 else ''} still waiting for agreement"] if waiting else []
    return (" and ".join(parts) + ".") if parts else ""


def resolve(incident: Incident, left: dict[str, State], config: Config, metadata: str) -> Json:
    """Return the form that ends an incident: what is left behind is named, and somebody owns it."""
    blocks: list[Json] = []
    if warn := unfinished(incident):
        blocks.append(kit.rich(["⚠️ ", kit.bold(warn)]))
    if left:
        lines = [[f"• {clean(node, 60)}: {state.left}"] for node, state in list(left.items())[:20]]
        more = [[f"and {len(left) - 20} more"]] if len(left) > 20 else []
        blocks.append(kit.rich([kit.bold("These stay behind, stopped or unknown:")], *lines, *more))
        people = list(config.team.people.values())[: limits.OPTIONS]
        options = [kit.option(person.name, person.id) for person in people]
        ops = incident.roles.get(Role.OPS)
        first = next((o for o in options if o["value"] == ops), None)
        blocks.append(choice(actions.OWNER, "Who owns them?", options, first=first, optional=True))
    blocks.append(line(actions.SUMMARY, "How did it end?", most=1000, many=True, hint="It opens the postmortem."))
    return modal(actions.RESOLVE, f"Resolve {incident.id}", "Resolve", blocks, metadata)


def hand_over(incident: Incident, config: Config, metadata: str, me: str | None = None) -> Json:
    """Return the form that puts a person into a role; who holds each now is in the choices.

    It is filled in for what is done in the greatest hurry: whoever opened it (`me`) becomes Incident Commander.
    """
    roles = []
    for role in Role:
        holder = config.team.people.get(incident.roles.get(role, ""))
        roles.append(kit.option(f"{role.title}, now {holder.name if holder else 'nobody'}", role.value))
    able = [p for p in config.team.people.values() if config.team.may(p.id, Power.RESPOND)][: limits.OPTIONS]
    blocks = [choice(actions.WHICH, "Which role?", roles, first=roles[0])]
    if able:
        people = [kit.option(p.name, p.id) for p in able]
        first = next((option for option in people if option["value"] == me), None)
        blocks.append(choice(actions.PERSON, "Who takes it?", people, first=first))
    return modal(actions.ROLES, f"Roles of {incident.id}", "Put into the role", blocks, metadata)


def halt(metadata: str) -> Json:
    """Return the form of the kill switch."""
    text = "Stops automation and everything that starts something. Paging, prompts and freezing by hand go on."
    why = line(actions.REASON, "Why?", most=500, hint="Starting again takes two people.")
    return modal(actions.HALT, "Halt automation", "Halt", [kit.section(text), why], metadata)


def severity(incident: Incident, metadata: str) -> Json:
    """Return the form that raises or lowers the severity."""
    options = [kit.option(_MEANING[sev], str(sev)) for sev in Severity]
    first = next(option for option in options if option["value"] == str(incident.severity))
    hint = "Anybody may raise it. Lowering is for the Incident Commander, and needs a reason."
    blocks = [
        choice(actions.SEVERITY, "How bad is it?", options, first=first),
        line(actions.REASON, "Why?", most=500, hint=hint, optional=True),
    ]
    return modal(actions.SEV, f"Severity of {incident.id}", "Change", blocks, metadata)


def reopen(incident: Incident, metadata: str) -> Json:
    """Return the form that opens an incident again."""
    why = line(actions.REASON, "Why is it not over?", most=500, hint="Its clocks start again and people are called.")
    return modal(actions.REOPEN, f"Reopen {incident.id}", "Reopen", [why], metadata)


def go_alone(asked: Approval, delay: str, metadata: str) -> Json:
    """Return the form of a break-glass: what it means, and why it must be."""
    what = f"{asked.verb.capitalize()} of {targets.names(asked.targets, 12)}"
    text = f"{what} begins in {delay} with your word alone. Everybody is paged now, and anyone who may can reject it."
    why = line(actions.REASON, "Why can nobody else agree?", most=500, hint="It stands in the record.")
    return modal(actions.GLASS, "Go on alone?", "Break the glass", [kit.rich([text]), why], metadata)


def modal(callback: str, title: str, submit: str, blocks: list[Json], metadata: str) -> Json:
    """Return a modal; its title is cut to what Slack takes."""
    return {
        "type": "modal",
        "callback_id": callback,
        "title": kit.text(limits.cut(title, limits.TITLE)),
        "submit": kit.text(limits.cut(submit, limits.TITLE)),
        "close": kit.text("Cancel"),
        "private_metadata": metadata,
        "blocks": blocks,
    }


def choice(block: str, label: str, options: list[Json], *, first: Json | None = None, optional: bool = False) -> Json:
    """Return a menu of one choice, named after what it asks for."""
    element: Json = {"type": "static_select", "action_id": actions.FIELD, "options": options}
    if first:
        element["initial_option"] = first
    return {"type": "input", "block_id": block, "label": kit.text(label), "element": element, "optional": optional}


def line(
    block: str, label: str, *, most: int, hint: str, many: bool = False, initial: str = "", optional: bool = False
) -> Json:
    """Return a field for text, of `many` lines or one."""
    element: Json = {
        "type": "plain_text_input",
        "action_id": actions.FIELD,
        "multiline": many,
        "min_length": 0 if optional else 1,
        "max_length": most,
        "focus_on_load": not optional,
    }
    if initial:
        element["initial_value"] = limits.cut(initial, most)
    made: Json = {"type": "input", "block_id": block, "label": kit.text(label), "hint": kit.text(hint)}
    return made | {"element": element, "optional": optional}
