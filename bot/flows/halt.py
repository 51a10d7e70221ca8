"""The kill switch: anybody with the power stops automation; two people start it again."""

from dataclasses import dataclass
from typing import ClassVar

from bot.domain import journal as j
from bot.domain.authority import Power
from bot.domain.severity import Severity
from bot.domain.watch import Watch
from bot.errors import Invalid, Refused
from bot.flows.book import Book, Command
from bot.flows.people import all_hands, page


@dataclass(frozen=True, slots=True, kw_only=True)
class Halt(Command):
    """Stop automation and everything that starts something."""

    needs: ClassVar[Power | None] = Power.HALT
    reason: str


def halt(book: Book, command: Halt) -> Watch:
    """Halt; a second halt changes nothing. Open SEV-1 incidents page all hands: freeze by hand."""
    watch = book.watch()
    if watch.halted and watch.rearm is None:
        return watch
    if not command.reason.strip():
        raise Invalid("Say why: `halt the freeze hits healthy nodes`.", where="reason")
    watch = book.write_watch(j.AutomationHalted(reason=command.reason.strip()))
    for incident in book.live_incidents():
        if incident.severity is Severity.SEV1:
            page(book, incident, all_hands(book), reason="automation halted: freeze by hand")
    return watch


@dataclass(frozen=True, slots=True, kw_only=True)
class Rearm(Command):
    """Start automation again; takes two people."""

    needs: ClassVar[Power | None] = Power.REARM


def rearm(book: Book, command: Rearm) -> Watch:
    """Ask for re-arming, or complete a different person's request.

    What was held while halted is decided anew, never released in a burst: no work is enqueued here.
    """
    watch = book.watch()
    person = command.by.person
    if not watch.halted:
        raise Refused("Automation is not halted.")
    if person is None:
        raise Refused("Re-arming is for people.")
    asked = watch.rearm
    if asked is not None and asked.expires_at > book.now:
        if asked.person == person:
            raise Refused("You asked for this yourself: a different person must agree.")
        if not book.config.team.may(asked.person, Power.REARM):
            raise Refused(f"{asked.person}, who asked, no longer holds the power 'rearm'.")
        return book.write_watch(j.AutomationRearmed(approval=asked.approval, people=(asked.person, person)))
    return book.write_watch(
        j.RearmAsked(approval=book.unguessable(), person=person, expires_at=book.now + book.config.policy.request_lives)
    )
