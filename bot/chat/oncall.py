"""Who is on call: now, by role, and who comes next."""

from datetime import datetime

from bot.chat import kit
from bot.chat.header import name_of
from bot.chat.kit import Message
from bot.chat.words import said
from bot.domain.config import Config
from bot.domain.roles import Role

AHEAD = 8 * 24
"""Hours in which the next change is looked for: a week and a day."""


def lines(config: Config, now: datetime) -> list[list[kit.Part]]:
    """Return who takes which role now, and the next change, as lines of rich text."""
    told: list[list[kit.Part]] = []
    for role in Role:
        person = config.team.assigned(role, now)
        found = config.team.people.get(person or "")
        who = kit.user(found.slack, name_of(config, person)) if found else kit.bold("nobody")
        told.append([f"{role.title}: ", who])
    for change in config.team.changes(now, AHEAD)[1:2]:
        line = ", ".join(name_of(config, p) for p in config.team.on_call(change)) or "nobody"
        told.append([f"Next: {line} from ", kit.moment(change)])
    return told


def message(config: Config, now: datetime) -> Message:
    """Return the answer to `oncall`."""
    line = config.team.on_call(now)
    who = ", ".join(said(name_of(config, p), 60) for p in line) or "nobody"
    return Message(text=f"On call now: {who}.", blocks=(kit.rich([kit.bold("On call now")], *lines(config, now)),))
