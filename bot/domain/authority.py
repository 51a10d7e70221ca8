"""Who may do what: powers belong to persons, not to accounts."""

import hashlib
from dataclasses import dataclass
from enum import StrEnum


class Power(StrEnum):
    """What team.yaml may grant; nobody has a power that is not granted."""

    RESPOND = "respond"  # declare, acknowledge, take roles, note, status
    FREEZE = "freeze"
    ISOLATE = "isolate"
    CAPTURE = "capture"
    THROTTLE = "throttle"
    UNFREEZE = "unfreeze"
    ROLLBACK = "rollback"
    HALT = "halt"
    REARM = "rearm"
    EVIDENCE = "evidence"  # read, export, hold, let expire


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who acts: a person's id from team.yaml, or the bot; `via` is the surface (slack, cli, api, alertmanager, …)."""

    person: str | None
    via: str

    @property
    def is_bot(self) -> bool:
        """Tell whether nobody but the bot itself acts."""
        return self.person is None

    def __str__(self) -> str:
        """Return `ada/slack` or `stopsign/policy`, as the journal writes it."""
        return f"{self.person or _BOT_NAME}/{self.via}"

    @classmethod
    def parse(cls, text: str) -> "Actor":
        """Read what `str` wrote."""
        person, _, via = text.partition("/")
        return cls(person=None if person == _BOT_NAME else person, via=via)


_BOT_NAME = "stopsign"
"""No person may have this id (config checks it)."""

BOT = Actor(person=None, via="policy")


def hashed(token: str) -> str:
    """Return what is stored of a token."""
    return hashlib.sha256(b"stopsign/token/v1\x00" + token.encode()).hexdigest()
