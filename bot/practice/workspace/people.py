"""The people of the workspace: who they are, and how Slack shows them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

HOME_TEAM = "T0PRACTICE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """An account that can act here; another `team_id` than the workspace's own is a Slack Connect outsider."""

    id: str
    name: str
    real_name: str = ""
    tz: str = "Etc/UTC"
    is_bot: bool = False
    is_restricted: bool = False
    deleted: bool = False
    team_id: str = HOME_TEAM

    @property
    def local(self) -> bool:
        """Return whether the person is a full, active member of this workspace."""
        return self.team_id == HOME_TEAM and not (self.deleted or self.is_restricted or self.is_bot)


def parse_people(text: str) -> list[Person]:
    """Return the people of a JSON array of objects; raises TypeError or ValueError on any other shape."""
    rows = json.loads(text)
    if not isinstance(rows, list):
        raise ValueError("people: a JSON array of objects is expected")
    return [Person(**row) for row in rows]


def load_people(path: Path) -> list[Person]:
    """Return the people of a JSON file."""
    return parse_people(path.read_text(encoding="utf-8"))


def user_object(person: Person, *, now: float) -> dict[str, Any]:
    """Return Slack's user object; e-mail is `<name>@practice.example`."""
    zone = ZoneInfo(person.tz)
    return {
        "id": person.id,
        "team_id": person.team_id,
        "name": person.name,
        "deleted": person.deleted,
        "real_name": person.real_name or person.name,
        "tz": person.tz,
        "tz_label": person.tz,
        "tz_offset": _offset(zone, now),
        "profile": {
            "real_name": person.real_name or person.name,
            "display_name": person.name,
            "email": email(person),
            "team": person.team_id,
        },
        "is_admin": False,
        "is_owner": False,
        "is_primary_owner": False,
        "is_restricted": person.is_restricted,
        "is_ultra_restricted": False,
        "is_bot": person.is_bot,
        "is_app_user": False,
        "is_stranger": person.team_id != HOME_TEAM,
        "updated": int(now),
    }


def email(person: Person) -> str:
    """Return the person's practice address."""
    return f"{person.name}@practice.example"


def find(people: Sequence[Person], id_: str) -> Person | None:
    """Return the person with that id, or None."""
    return next((person for person in people if person.id == id_), None)


def _offset(zone: ZoneInfo, now: float) -> int:
    offset = datetime.fromtimestamp(now, zone).utcoffset()
    return int(offset.total_seconds()) if offset else 0
