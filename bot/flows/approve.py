"""Approvals: agreement of persons, bound to what would be done, for a short time, once."""

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from bot.domain import journal as j
from bot.domain.authority import Power
from bot.domain.incident import Approval, Incident
from bot.domain.playbook import Needs, Verb
from bot.domain.target import State
from bot.errors import NotFound, Refused
from bot.flows.book import Book, Command, authorise
from bot.flows.people import must_be_live
from bot.flows.respond import Request, plan, request
from bot.flows.rules import AFTERWARDS, POWER, digest_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Approve(Command):
    """A person agrees to (or rejects) what waits for agreement; `approval` None means the only one that waits."""

    needs: ClassVar[Power | None] = Power.RESPOND
    incident: int
    approval: str | None = None
    verb: Verb | None = None
    """Which one is meant when several wait and no `approval` is named."""
    reject: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Approved:
    """What agreement led to."""

    incident: Incident
    text: str


def approve(book: Book, command: Approve) -> Approved:
    """Count a person's agreement; with enough persons the step is planned.

    Raises Refused for the requester, for people without the verb's power, for expired, used or changed requests.
    """
    incident = book.incident(command.incident)
    found = _find(book, incident, command)
    if isinstance(found, Request):
        authorise(found, book.config)
        done = request(book, found)
        return Approved(incident=done.incident, text=done.text)
    check(book, incident, found, command)
    person = command.by.person or ""
    if command.reject:
        reason = command.reason.strip() or f"rejected by {person}"
        incident = book.write(incident, j.ApprovalEnded(approval=found.id, how="rejected", reason=reason))
        return Approved(incident=incident, text=f"Rejected: {found.verb} of {', '.join(found.targets)}.")
    given = {*found.given, person}
    complete = len(given) >= found.needs.people
    until = book.now + book.config.policy.approval_lives
    incident = book.write(incident, j.ApprovalGiven(approval=found.id, person=person, complete=complete, until=until))
    if not complete:
        return Approved(incident=incident, text="Your agreement is counted; it takes one more person.")
    who = " and ".join(book.config.team.people[p].name for p in incident.approvals[found.id].given)
    incident = plan(
        book,
        incident,
        found.verb,
        found.targets,
        needs=Needs.TWO,
        automatic=False,
        reason=f"agreed by {who}",
        approval=found.id,
    )
    return Approved(
        incident=incident, text=f"{found.verb.capitalize()} of {', '.join(found.targets)} begins: agreed by {who}."
    )


def _find(book: Book, incident: Incident, command: Approve) -> Approval | Request:
    """Return the approval that is meant, or the request that agreeing to a held step amounts to."""
    if command.approval is not None:
        if command.approval not in incident.approvals:
            raise Refused(f"{incident.id} has no such request: it belongs to another incident, or to none.")
        return incident.approvals[command.approval]
    meant = {command.verb} if command.verb else set(Verb)
    pending = [a for a in incident.approvals.values() if a.pending and a.expires_at > book.now and a.verb in meant]
    held = {v: held_now(incident, v) for v in incident.tracks if v in meant}
    waiting = [v for v, nodes in held.items() if nodes]
    if len(pending) == 1 and not waiting:
        return pending[0]
    if not pending and len(waiting) == 1 and not command.reject:
        return Request(
            by=command.by, incident=incident.number, verb=waiting[0], targets=held[waiting[0]], reason=command.reason
        )
    if not pending and not waiting:
        raise NotFound(f"Nothing in {incident.id} waits for agreement.")
    what = ", ".join(
        [*(f"{a.verb} of {', '.join(a.targets)}" for a in pending), *(f"{v} of {', '.join(held[v])}" for v in waiting)]
    )
    raise Refused(
        f"Several things wait for agreement ({what}): press the button of the one you mean, or `approve rollback`."
    )


def held_now(incident: Incident, verb: Verb) -> tuple[str, ...]:
    """Return the targets for which nothing of `verb` is sent until a person decides."""
    return tuple(n for n, t in incident.tracks.get(verb, {}).items() if t.state is State.HELD)


def check(book: Book, incident: Incident, approval: Approval, command: Command) -> None:
    """Raise Refused unless `command`'s person may agree to (or reject) this request now."""
    team = book.config.team
    if approval.verb not in AFTERWARDS:
        must_be_live(incident)
    if approval.ended is not None or approval.granted_until is not None:
        raise Refused(f"That request is over: {approval.ended or 'it has been agreed to already'}.")
    rejecting = isinstance(command, Approve) and command.reject
    if approval.expires_at <= book.now and not rejecting:
        raise Refused("That request has expired: ask for it again.")
    if rejecting and approval.broken_by is not None:
        return  # whoever may respond may stop one person who goes on alone
    if not team.may(command.by.person, POWER[approval.verb]):
        able = ", ".join(team.people[p].name for p in team.holders(POWER[approval.verb]))
        raise Refused(f"Agreeing to this takes the power '{POWER[approval.verb]}'. Who holds it: {able}.")
    if isinstance(command, Approve) and not command.reject and command.by.person in approval.given:
        raise Refused("You asked for this yourself: a different person must agree.")
    if digest_of(book, incident.id, approval.verb, approval.targets, approval.parameters) != approval.digest:
        raise Refused("The targets have changed in the inventory since this was asked for: ask for it again.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Expire(Command):
    """A request's time is over."""

    incident: int
    approval: str


def expire(book: Book, command: Expire) -> datetime | None:
    """End a request that nobody completed in time; return when to look again while it still has time."""
    incident = book.incident(command.incident)
    approval = incident.approvals.get(command.approval)
    if approval is None or not approval.pending:
        return None
    if approval.expires_at > book.now:
        return approval.expires_at
    book.write(incident, j.ApprovalEnded(approval=approval.id, how="expired", reason="nobody agreed in time"))
    return None
