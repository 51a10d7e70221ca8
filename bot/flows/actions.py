"""Actions: what somebody promised to do, with an owner; done is said by a person."""

from dataclasses import dataclass
from datetime import date
from typing import ClassVar

from bot.domain import journal as j
from bot.domain.authority import Power
from bot.domain.incident import Incident
from bot.errors import Invalid, NotFound, Refused
from bot.flows.book import Book, Command


@dataclass(frozen=True, slots=True, kw_only=True)
class AddAction(Command):
    """Somebody shall do something; `owner` None: whoever asks."""

    needs: ClassVar[Power | None] = Power.RESPOND
    incident: int
    text: str
    owner: str | None = None
    due_on: date | None = None


def add(book: Book, command: AddAction) -> Incident:
    """Write an action down; the same text for the same owner, not done yet, is the same action."""
    incident = book.incident(command.incident)
    text = command.text.strip()
    owner = command.owner or command.by.person or ""
    if not text:
        raise Invalid("Say what is to be done: `action add @ben rotate the key by 2026-12-01`.", where="text")
    if len(text) > 500:
        raise Invalid(f"An action has at most 500 characters; this has {len(text):,}.", where="text")
    if owner not in book.config.team.people:
        raise NotFound(f"There is nobody called '{owner}' in team.yaml.", where="owner")
    if command.due_on is not None and command.due_on < book.now.date():
        raise Invalid(f"{command.due_on} is over: name a day that is to come.", where="due")
    if any(a.text == text and a.owner == owner and a.done_at is None for a in incident.actions.values()):
        return incident
    due = command.due_on.isoformat() if command.due_on else None
    name = f"act-{len(incident.actions) + 1}"
    return book.write(incident, j.ActionAdded(action=name, text=text, owner=owner, due_on=due))


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishAction(Command):
    """An action is done."""

    needs: ClassVar[Power | None] = Power.RESPOND
    incident: int
    action: str
    note: str = ""


def finish(book: Book, command: FinishAction) -> Incident:
    """Mark an action done; doing it again changes nothing."""
    incident = book.incident(command.incident)
    found = incident.actions.get(command.action)
    if found is None:
        known = ", ".join(incident.actions) or "none so far"
        raise NotFound(f"{incident.id} has no action '{command.action}'. There are: {known}.", where="action")
    if found.done_at is not None:
        return incident
    if command.by.person is None:
        raise Refused("An action is done when a person says so.")
    return book.write(incident, j.ActionDone(action=found.id, note=command.note.strip()[:500]))
