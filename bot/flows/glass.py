"""Break-glass: one person goes on alone where two are needed, if policy allows it: late, loudly, unless rejected."""

from dataclasses import dataclass
from typing import ClassVar

from bot.domain import journal as j
from bot.domain.authority import Power
from bot.domain.playbook import Needs
from bot.errors import Invalid, Refused
from bot.flows.approve import Approved, check
from bot.flows.book import Book, Command
from bot.flows.people import all_hands, page
from bot.flows.respond import plan
from bot.flows.rules import check_halt, names


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakGlass(Command):
    """One person goes on alone with what they asked for, because nobody else can be reached."""

    needs: ClassVar[Power | None] = Power.RESPOND
    incident: int
    approval: str | None = None
    reason: str = ""


def break_glass(book: Book, command: BreakGlass) -> Approved:
    """Start the delay after which a request needs no second person; all hands are paged and anyone may reject.

    Raises Refused unless policy.yaml allows it (`break_glass_after`), and as agreeing does.
    """
    incident = book.incident(command.incident)
    delay = book.config.policy.break_glass_after
    if delay is None:
        raise Refused("policy.yaml lets nobody go on alone: `break_glass_after` is not set. Two people must agree.")
    person = command.by.person or ""
    live = [a for a in incident.approvals.values() if a.pending and a.requester == person and a.expires_at > book.now]
    found = incident.approvals.get(command.approval or "") or (live[0] if len(live) == 1 else None)
    if found is None and live:
        which = " or ".join(f"{a.verb} of {names(a.targets)}" for a in live)
        raise Refused(f"You asked for several things: {which}. Press the button on the one you mean, or name its id.")
    if found is None:
        raise Refused("Ask for the step first; then, when nobody comes, break the glass on your own request.")
    if person not in found.given:
        raise Refused("That is somebody else's request: agree to it, and it has two people.")
    if not command.reason.strip():
        raise Invalid("Say why nobody else can agree: `breakglass Ben is on a plane and the quorum is gone`.")
    check(book, incident, found, command)
    check_halt(book, found.verb, automatic=False)
    if found.broken_by is None:
        name = book.config.team.people[person].name
        acts_at = book.now + delay
        entry = j.GlassBroken(approval=found.id, person=person, reason=command.reason.strip(), acts_at=acts_at)
        incident = book.write(incident, entry)
        why = f"BREAK-GLASS: {name} goes on alone with {found.verb} of {names(found.targets)}"
        incident = page(
            book,
            incident,
            all_hands(book),
            reason=f"{why} unless somebody rejects it: {entry.reason}",
            approval=found.id,
        )
    at = incident.approvals[found.id].acts_at
    return Approved(incident=incident, text=f"Everybody is paged. It begins at {at:%H:%M:%S} UTC unless rejected.")


@dataclass(frozen=True, slots=True, kw_only=True)
class GlassDue(Command):
    """The delay of a break-glass is over."""

    incident: int
    approval: str


def glass_due(book: Book, command: GlassDue) -> None:
    """Let the step begin with one person's word, if nobody rejected it and everything still holds."""
    incident = book.incident(command.incident)
    found = incident.approvals.get(command.approval)
    if found is None or not found.pending or found.broken_by is None:
        return
    if found.expires_at <= book.now or (found.acts_at or book.now) > book.now:
        return  # nobody may act on it any more, or not yet
    name = book.config.team.people[found.broken_by].name if found.broken_by in book.config.team.people else "nobody"
    until = book.now + book.config.policy.approval_lives
    given = j.ApprovalGiven(approval=found.id, person=found.broken_by, complete=True, until=until)
    incident = book.write(incident, given)
    reason = f"break-glass: {name} alone, and nobody rejected it in time"
    plan(book, incident, found.verb, found.targets, needs=Needs.TWO, automatic=False, reason=reason, approval=found.id)
