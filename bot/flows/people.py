"""People: roles, paging, acknowledgement, severity by hand."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from bot.domain import journal as j
from bot.domain.authority import Power
from bot.domain.incident import Incident
from bot.domain.playbook import Pages, Verb
from bot.domain.roles import Role
from bot.domain.severity import Severity
from bot.errors import Invalid, NotFound, Refused
from bot.flows.book import Book, Command

NOTE = 4_000
"""Characters of a note that are kept."""


def gather(book: Book, incident: Incident, *, reason: str) -> Incident:
    """Assign unfilled roles from on-call and page whom the playbook pages: all hands, the primary, or nobody."""
    team = book.config.team
    if incident.severity is not Severity.SEV3:
        for role in Role:
            if role in incident.roles:
                continue
            person = team.assigned(role, book.now)
            if person:
                incident = book.write(incident, j.RoleTaken(role=role, person=person, how="assigned"))
            else:
                incident = book.write(incident, j.RoleAsked(role=role, reason="nobody is on call for it"))
    playbook = book.config.playbooks.get(incident.playbook)
    pages = playbook.page if playbook else Pages.ALL_HANDS
    if pages is Pages.ALL_HANDS:
        halted = " Automation is halted: freeze by hand." if book.watch().halted else ""
        return page(book, incident, all_hands(book), reason=reason + halted)
    if pages is Pages.PRIMARY:
        return page(book, incident, all_hands(book)[:1], reason=reason)
    return incident


def all_hands(book: Book) -> tuple[str, ...]:
    """Return everybody who may respond, in the order in which a page moves on: on-call people first."""
    return tuple(dict.fromkeys([*book.config.team.on_call(book.now), *book.config.team.holders(Power.RESPOND)]))


def page(
    book: Book,
    incident: Incident,
    people: tuple[str, ...],
    *,
    reason: str,
    level: int = 0,
    approval: str | None = None,
    cause: str = "",
    nodes: tuple[str, ...] = (),
) -> Incident:
    """Page people; the page moves on until somebody acknowledges."""
    if not people:
        return book.write(incident, j.PagingExhausted(reason="nobody in team.yaml may respond: nobody was paged"))
    paged = j.Paged(
        page=book.unguessable(),
        people=people,
        level=level,
        reason=reason,
        approval=approval,
        cause=cause,
        nodes=nodes,
    )
    return book.write(incident, paged)


@dataclass(frozen=True, slots=True, kw_only=True)
class Escalate(Command):
    """A page's time is up."""

    incident: int
    page: str


def escalate(book: Book, command: Escalate) -> None:
    """Page the next person of the line (all hands at SEV-1) unless somebody has acknowledged."""
    incident = book.incident(command.incident)
    open_page = incident.pages.get(command.page)
    if open_page is None or not incident.calls(open_page):
        return
    frozen = incident.tracks.get(Verb.FREEZE, {})
    if open_page.nodes and not any(node in frozen for node in open_page.nodes):
        return  # people have let go since of what could not be held
    later = (p for p in incident.pages.values() if p.reason == open_page.reason and p.at >= open_page.at)
    if any(p.level > open_page.level and not p.acknowledged for p in later):
        return
    everybody = all_hands(book)
    level = open_page.level + 1
    rounds = book.config.policy.paging.rounds
    lap = level if incident.severity is Severity.SEV1 else level // max(len(everybody), 1)
    if lap >= rounds:
        book.write(incident, j.PagingExhausted(reason=f"nobody acknowledged after {rounds} rounds: {open_page.reason}"))
        return
    people = everybody if incident.severity is Severity.SEV1 else (everybody[level % len(everybody)],)
    again = open_page
    page(
        book,
        incident,
        people,
        reason=again.reason,
        level=level,
        approval=again.approval,
        cause=again.cause,
        nodes=again.nodes,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledge(Command):
    """A person says: I am on it."""

    needs: ClassVar[Power | None] = Power.RESPOND
    incident: int


def acknowledge(book: Book, command: Acknowledge) -> Incident:
    """Stop all pages of the incident. A second acknowledgement changes nothing."""
    incident = book.incident(command.incident)
    waiting = [p for p in incident.pages.values() if not p.acknowledged]
    if incident.acknowledged_at and not waiting:
        return incident
    return book.write(incident, j.Acknowledged(person=_person(command)))


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeRole(Command):
    """A person takes a role, or gives it to another."""

    needs: ClassVar[Power | None] = Power.RESPOND
    incident: int
    role: Role
    person: str | None = None
    """Who shall hold it; None: whoever asks."""


def take_role(book: Book, command: TakeRole) -> Incident:
    """Put a person into a role; taking it again changes nothing."""
    incident = book.incident(command.incident)
    person = command.person or _person(command)
    if person not in book.config.team.people:
        raise NotFound(f"There is nobody called '{person}' in team.yaml.", where="person")
    if not book.config.team.may(person, Power.RESPOND):
        raise Refused(f"{book.config.team.people[person].name} does not hold the power 'respond' in team.yaml.")
    was = incident.roles.get(command.role)
    if was == person:
        return incident
    how = "taken" if person == command.by.person else "handed over"
    return book.write(incident, j.RoleTaken(role=command.role, person=person, how=how, was=was))


@dataclass(frozen=True, slots=True, kw_only=True)
class RemindRole(Command):
    """An unfilled role's reminder is due."""

    incident: int
    role: Role


def remind_role(book: Book, command: RemindRole) -> None:
    """Ask again for a role that nobody holds."""
    incident = book.incident(command.incident)
    if command.role not in incident.roles and incident.status.live:
        book.write(incident, j.RoleAsked(role=command.role, reason="still nobody holds it"))


@dataclass(frozen=True, slots=True, kw_only=True)
class SetSeverity(Command):
    """A person raises or lowers the severity."""

    needs: ClassVar[Power | None] = Power.RESPOND
    incident: int
    severity: Severity
    reason: str = ""


def set_severity(book: Book, command: SetSeverity) -> Incident:
    """Raise (anyone) or lower (the IC, with a reason) the severity."""
    incident = book.incident(command.incident)
    must_be_live(incident)
    if command.severity is incident.severity:
        return incident
    if command.severity.worse_than(incident.severity):
        incident = book.write(
            incident,
            j.SeverityChanged(
                was=incident.severity,
                now=command.severity,
                reason=command.reason or f"raised by {command.by.person}",
                playbook=f"sev{command.severity.value}",
            ),
        )
        return gather(book, incident, reason=f"raised to {incident.severity}: {incident.summary}")
    must_be_ic(incident, command, book, what="lower the severity")
    if not command.reason.strip():
        raise Invalid("Lowering needs a reason: `sev SEV-2 the second signer was a scrape artefact`.", where="reason")
    return book.write(incident, j.SeverityChanged(was=incident.severity, now=command.severity, reason=command.reason))


@dataclass(frozen=True, slots=True, kw_only=True)
class AddNote(Command):
    """Something for the timeline."""

    needs: ClassVar[Power | None] = Power.RESPOND
    incident: int
    text: str
    source: str
    author: str | None = None


def add_note(book: Book, command: AddNote) -> Incident:
    """Write a note into the timeline; the same source (a pinned message) is written once."""
    incident = book.incident(command.incident)
    if not command.text.strip():
        raise Invalid("The note is empty: `note the gateway restarted at 03:12`.", where="text")
    if command.source != "note" and noted(book.journal(incident.number), command.source):
        return incident
    return book.write(
        incident, j.NoteAdded(text=command.text.strip()[:NOTE], source=command.source, author=command.author)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeNote(Command):
    """The message behind a note was edited, or deleted (`text` None)."""

    incident: int
    source: str
    text: str | None


def change_note(book: Book, command: ChangeNote) -> bool:
    """Write the change down when a note was taken from that message and says something else; tell whether it did."""
    incident = book.incident(command.incident)
    text = command.text.strip()[:NOTE] if command.text is not None else None
    stands = noted(book.journal(incident.number), command.source)
    if stands is None or stands[0] == text:
        return False
    book.write(incident, j.NoteChanged(source=command.source, text=text))
    return True


def noted(entries: Iterable[j.Written], source: str) -> tuple[str | None] | None:
    """Return what a noted message says as far as is known, in a tuple, or None when it was never noted."""
    found: tuple[str | None] | None = None
    for written in entries:
        if isinstance(written.entry, j.NoteAdded | j.NoteChanged) and written.entry.source == source:
            found = (written.entry.text,)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class HandOver(Command):
    """A person gives all their roles to another: the end of a shift."""

    needs: ClassVar[Power | None] = Power.RESPOND
    incident: int
    person: str
    text: str = ""


def hand_over(book: Book, command: HandOver) -> Incident:
    """Put another person into every role that the asker holds; what they should know becomes a note."""
    incident = book.incident(command.incident)
    me = _person(command)
    mine = [role for role in Role if incident.roles.get(role) == me]
    if command.person == me:
        raise Invalid("Hand over to somebody else: `handover @ben what they should know`.", where="person")
    if not mine:
        raise Refused(f"You hold no role in {incident.id}. `role @ben ic` puts somebody into one.")
    for role in mine:
        take = TakeRole(by=command.by, incident=incident.number, role=role, person=command.person)
        incident = take_role(book, take)
    if command.text.strip():
        incident = book.write(incident, j.NoteAdded(text=command.text.strip()[:NOTE], source="handover"))
    return incident


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnAway(Command):
    """Somebody without standing tried something: an outsider, a guest, a bot, a deactivated account."""

    incident: int | None
    account: str
    command: str
    reason: str


def turn_away(book: Book, command: TurnAway) -> None:
    """Write the refusal into the incident's journal, or the watch's when it was about none."""
    refused = j.CommandRefused(command=command.command[:80], reason=command.reason, account=command.account[:40])
    if command.incident is None:
        book.write_watch(refused)
    else:
        book.write(book.incident(command.incident), refused)


def must_be_live(incident: Incident) -> None:
    """Raise Refused when the incident is over."""
    if not incident.status.live:
        raise Refused(f"{incident.id} is {incident.status}: declare a new incident instead.")


def must_be_ic(incident: Incident, command: Command, book: Book, *, what: str) -> None:
    """Raise Refused unless the actor is the incident's IC."""
    ic = incident.roles.get(Role.IC)
    if command.by.person is None or command.by.person != ic:
        holder = book.config.team.people.get(ic or "")
        who = holder.name if holder else "nobody yet"
        raise Refused(f"Only the Incident Commander may {what}; that is {who}. Take the role first: `role ic`.")


def _person(command: Command) -> str:
    if command.by.person is None:
        raise Refused("This is for people.")
    return command.by.person
