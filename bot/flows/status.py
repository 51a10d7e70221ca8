"""Status: asked for by the clocks, given by people, escalated when it does not come."""

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from bot.domain import journal as j
from bot.domain.authority import Power
from bot.domain.cadence import Mark, clock_text, marks, owed
from bot.domain.config import Config
from bot.domain.incident import Incident
from bot.domain.policy import Cadence, Policy
from bot.domain.roles import Role
from bot.domain.severity import Severity
from bot.errors import Invalid
from bot.flows.book import Book, Command
from bot.flows.people import all_hands

INTERNAL = "internal"
STAKEHOLDERS = "stakeholders"
PUBLIC = "public"
AUDIENCES = (INTERNAL, STAKEHOLDERS, PUBLIC)
SPOKEN = {INTERNAL: "internal", STAKEHOLDERS: "stakeholder", PUBLIC: "public"}
"""How each is called before the word status."""


def cadence_of(policy: Policy, severity: Severity, audience: str) -> Cadence | None:
    """Return the cadence that a severity owes an audience, or None."""
    return {INTERNAL: policy.internal, STAKEHOLDERS: policy.stakeholders}.get(audience, {}).get(severity)


def channels(config: Config, incident: Incident) -> tuple[str, ...]:
    """Return the channels of those who depend on what an incident touches; empty when there is none to tell."""
    nodes = [config.inventory.nodes[n] for n in (*incident.suspects, *incident.touched) if n in config.inventory.nodes]
    services = dict.fromkeys([*([incident.avs] if incident.avs else []), *(node.avs for node in nodes)])
    own = [config.inventory.avs[name].channel for name in services if name in config.inventory.avs]
    general = config.policy.stakeholder_channel
    found = [name or general for name in own] or [general]
    return tuple(dict.fromkeys(name for name in found if name))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick(Command):
    """An audience's clock is due. `since` is when the severity began under which the clock was started."""

    incident: int
    audience: str
    since: datetime


def tick(book: Book, command: Tick) -> datetime | None:
    """Ask for the status that is owed; return when the clock is due again, None when it has stopped.

    Several marks that fell due while nobody looked are asked about once.
    """
    incident = book.incident(command.incident)
    if not incident.status.live or incident.severity_since != command.since:
        return None
    cadence = cadence_of(book.config.policy, incident.severity, command.audience)
    if cadence is None:
        return None
    last = incident.told_at.get(f"asked:{command.audience}", command.since)
    due, following = owed(cadence, command.since, max(last, command.since), book.now)
    if due:
        book.write(incident, _prompt(book, incident, command.audience, due))
    return following.due


def _prompt(book: Book, incident: Incident, audience: str, due: tuple[Mark, ...]) -> j.StatusPrompted:
    count = sum(prompt.audience == audience for prompt in incident.prompts.values())
    comms = incident.roles.get(Role.COMMS) or incident.roles.get(Role.IC)
    scale = book.config.policy.scale
    return j.StatusPrompted(
        prompt=f"{audience}-{count + 1}",
        audience=audience,
        marks=tuple(clock_text(mark.after * scale) for mark in due),
        due_at=due[-1].due,
        asked=(comms,) if comms else all_hands(book),
    )


def first_due(incident: Incident, cadence: Cadence) -> datetime | None:
    """Return when a clock that starts now is due for the first time."""
    return next(marks(cadence, incident.severity_since)).due if incident.severity_since else None


@dataclass(frozen=True, slots=True, kw_only=True)
class EscalatePrompt(Command):
    """A prompt's time is up."""

    incident: int
    prompt: str


def escalate_prompt(book: Book, command: EscalatePrompt) -> datetime | None:
    """Ask the IC, then everybody in the incident; return when to look again, None when there is nobody left to ask."""
    incident = book.incident(command.incident)
    prompt = incident.prompts.get(command.prompt)
    if prompt is None or prompt.answered_at or not incident.status.live:
        return None
    newer = [p for p in incident.prompts.values() if p.audience == prompt.audience and p.due_at > prompt.due_at]
    if newer:
        return None
    again = book.now + book.config.policy.prompt_escalates
    ic = incident.roles.get(Role.IC)
    if prompt.level == 0 and ic and ic not in prompt.asked:
        book.write(incident, j.PromptEscalated(prompt=prompt.id, level=1, asked=(ic,)))
        return again
    if prompt.level < 2:
        everybody = tuple(p for p in (incident.people or all_hands(book)) if p not in prompt.asked)
        book.write(incident, j.PromptEscalated(prompt=prompt.id, level=2, asked=everybody))
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveStatus(Command):
    """A person says how things stand."""

    needs: ClassVar[Power | None] = Power.RESPOND
    incident: int
    text: str
    audience: str = INTERNAL
    prompt: str | None = None


def give(book: Book, command: GiveStatus) -> Incident:
    """Store a status; what follows shares it. It answers every open prompt of its audience."""
    incident = book.incident(command.incident)
    if command.audience not in AUDIENCES:
        raise Invalid(f"'{command.audience}' is no audience: write {', '.join(AUDIENCES)}.", where="audience")
    text = command.text.strip()
    if not text:
        raise Invalid("Say what is known, what is being done, and when the next update comes.", where="text")
    if len(text) > 2500:
        raise Invalid(f"A status has at most 2,500 characters; this has {len(text):,}.", where="text")
    told = [w.entry for w in book.journal(incident.number) if isinstance(w.entry, j.StatusGiven)]
    if command.prompt and any(e.prompt == command.prompt and e.text == text for e in told):
        return incident  # the same form, sent twice
    return book.write(
        incident, j.StatusGiven(prompt=command.prompt, audience=command.audience, text=text, person=command.by.person)
    )
