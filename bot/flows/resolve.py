"""The end: what is still frozen or unknown is named, each with an owner; then the postmortem is owed. And back."""

from dataclasses import dataclass
from typing import ClassVar

from bot.domain import journal as j
from bot.domain.authority import Power
from bot.domain.incident import Incident, Status
from bot.domain.playbook import Verb
from bot.domain.roles import Role
from bot.domain.severity import Severity
from bot.domain.target import State
from bot.errors import Invalid, Refused
from bot.flows.book import Book, Command
from bot.flows.people import gather, must_be_ic


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolve(Command):
    """The IC ends the incident."""

    needs: ClassVar[Power | None] = Power.RESPOND
    incident: int
    summary: str
    owner: str | None = None
    """Who owns what is left; None: the Ops Lead."""


def resolve(book: Book, command: Resolve) -> Incident:
    """Resolve the incident; resolving it again changes nothing."""
    incident = book.incident(command.incident)
    if incident.status in {Status.RESOLVED, Status.CLOSED}:
        if command.summary.strip() not in {"", incident.resolution}:
            raise Refused(f"{incident.id} is {incident.status} already: `note` adds to it, `reopen` opens it again.")
        return incident
    must_be_ic(incident, command, book, what="resolve the incident")
    if not command.summary.strip():
        raise Invalid("Say in a sentence how it ended: `resolve bad build reverted on seq-01`.", where="summary")
    if incident.alone:
        who = book.config.team.people[incident.alone[0].broken_by or ""].name
        raise Refused(f"{who} is about to go on alone with {incident.alone[0].verb}: reject that, or wait for it.")
    running = [s.id for s in incident.steps.values() if s.state.live and s.verb is not Verb.COMMUNICATE]
    if running:
        raise Refused(f"{', '.join(running)} is still under way: wait for it, then resolve.")
    owner = command.owner or incident.roles.get(Role.OPS) or command.by.person or ""
    if owner not in book.config.team.people:
        raise Invalid(f"'{owner}' is nobody in team.yaml: name who owns what is left.", where="owner")
    remaining = tuple(j.Remaining(node=n, state=s, owner=owner) for n, s in still_stopped(incident).items())
    for number, left in enumerate(remaining, start=len(incident.actions) + 1):
        text = f"{left.node} ({left.state.left}): bring it back or take it out for good"
        incident = book.write(
            incident, j.ActionAdded(action=f"act-{number}", text=text, owner=left.owner, origin="resolve")
        )
    return book.write(incident, j.Resolved(summary=command.summary.strip(), remaining=remaining))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reopen(Command):
    """It was not over."""

    needs: ClassVar[Power | None] = Power.RESPOND
    incident: int
    reason: str


def reopen(book: Book, command: Reopen) -> Incident:
    """Open a resolved or closed incident again; its clocks start anew and people are called as if it had just opened.

    Raises Refused while another open incident holds its correlation key: alerts can join only one.
    """
    incident = book.incident(command.incident)
    if incident.status.live:
        return incident
    reason = command.reason.strip()
    if not reason:
        raise Invalid("Say why: `reopen the second signer is back`.", where="reason")
    other = book.live(incident.key)
    if other is not None:
        raise Refused(f"{other.id} is open for the same cause: go on there, and `note` what you know.")
    incident = book.write(incident, j.Reopened(reason=reason, was=incident.status.value))
    return gather(book, incident, reason=f"reopened: {reason}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Close(Command):
    """Nothing is left to do in the incident but its actions."""

    needs: ClassVar[Power | None] = Power.RESPOND
    incident: int
    reason: str = ""


def close(book: Book, command: Close) -> Incident:
    """Close a resolved incident; closing it again changes nothing. At SEV-1 and SEV-2 the draft must exist."""
    incident = book.incident(command.incident)
    if incident.status is Status.CLOSED:
        return incident
    if incident.status is not Status.RESOLVED:
        raise Refused(f"{incident.id} is {incident.status}: `resolve` it first.")
    if incident.peak is not Severity.SEV3 and incident.postmortem_due is None:
        raise Refused("The postmortem's draft is not written yet: close it when people have read it.")
    return book.write(incident, j.Closed(reason=command.reason.strip() or "the postmortem is done"))


def still_stopped(incident: Incident) -> dict[str, State]:
    """Return the targets that are frozen, isolated, failed or unknown, with the state that matters most."""
    left: dict[str, State] = {}
    for verb in (Verb.ISOLATE, Verb.FREEZE):
        for node, track in incident.tracks.get(verb, {}).items():
            if track.state is not State.WAIVED:
                left[node] = track.state
    for node, track in incident.tracks.get(Verb.UNFREEZE, {}).items():
        if track.state is State.UNKNOWN:
            left[node] = State.UNKNOWN
    return left
