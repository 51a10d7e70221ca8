"""What we know of the workspace: ours, who somebody is, which channel has a name. Cached, fail closed."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from bot.chat.client import Slack, SlackRefused
from bot.domain.team import Person, Team
from bot.errors import ChatError, Refused
from bot.ports import Clock

FRESH = timedelta(minutes=10)
PATIENCE = 1.2
"""Seconds that identifying somebody may take; a slash command must be answered within three."""
PAGES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Self:
    """Who we are there."""

    team: str
    user: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """A channel: `created` by Slack's clock."""

    id: str
    name: str
    member: bool
    creator: str
    created: int
    archived: bool


class Flaw(StrEnum):
    """Why an account may do nothing here."""

    GONE = "gone"
    BOT = "bot"
    STRANGER = "stranger"
    GUEST = "guest"


_REFUSALS: Mapping[Flaw | None, str] = {
    Flaw.GONE: "Your account is deactivated.",
    Flaw.BOT: "Bots may not do that.",
    Flaw.STRANGER: "Your account belongs to another workspace: only people of this one may do that.",
    Flaw.GUEST: "Guests may not do that: ask a member of the team.",
}


class Directory:
    """Looks things up in Slack and remembers them for a while."""

    def __init__(self, slack: Slack, clock: Clock) -> None:
        self._slack = slack
        self._clock = clock
        self._self: Self | None = None
        self._standing: dict[str, tuple[datetime, str | None]] = {}
        self._rooms: dict[str, str] = {}
        self._direct: dict[str, str] = {}

    # ---- people

    async def me(self) -> Self:
        """Return who we are; asked once."""
        if self._self is None:
            found = await self._slack.call("auth.test", {})
            self._self = Self(team=str(found["team_id"]), user=str(found["user_id"]))
        return self._self

    @property
    def known_self(self) -> Self | None:
        """Return who we are if that was asked already."""
        return self._self

    async def person(self, team: Team, user: str, workspace: str) -> Person:
        """Return the person behind a Slack account of `workspace`.

        Raises Refused, with what to do, for anybody who is not in team.yaml, of another workspace, a guest, a bot or
        deactivated; and when none of this can be checked.
        """
        found = team.by_slack(user)
        try:
            async with asyncio.timeout(PATIENCE):
                return await self.checked(team, user, workspace)
        except (TimeoutError, ChatError):
            why = self._remembered(user)
        if why is not None or found is None:
            raise Refused(why or "You are not in team.yaml.")
        return found

    async def checked(self, team: Team, user: str, workspace: str) -> Person:
        """Return the person as `person` does, but wait for Slack: raises what `Slack.call` raises."""
        found = team.by_slack(user)
        if found is None:
            raise Refused(f"You are not in team.yaml: ask a team lead to add you with the Slack id {user[:20]}.")
        why = await self._why_not(user, workspace)
        if why is not None:
            raise Refused(why)
        return found

    async def _why_not(self, user: str, workspace: str) -> str | None:
        me = await self.me()
        if workspace and workspace != me.team:
            return _REFUSALS[Flaw.STRANGER]
        known = self._standing.get(user)
        if known is None or known[0] + FRESH < self._clock.now():
            found = await self._slack.call("users.info", {"user": user})
            self._standing[user] = (self._clock.now(), _REFUSALS.get(flaw(found.get("user") or {}, me.team)))
        return self._standing[user][1]

    def _remembered(self, user: str) -> str | None:
        """Return the last verdict while Slack does not answer; somebody never seen is refused."""
        if user in self._standing:
            return self._standing[user][1]
        return "Slack does not answer, so nobody can tell whether your account is in order. Try again, or use the CLI."

    async def name(self, user: str) -> str:
        """Return what Slack calls somebody, or the id when it does not say."""
        try:
            found = (await self._slack.call("users.info", {"user": user})).get("user") or {}
        except SlackRefused:
            return user
        return str(found.get("real_name") or found.get("name") or user)

    # ---- channels

    async def room_named(self, name: str) -> Room | None:
        """Return the channel of that name, archived ones included, or None."""
        cursor = ""
        for _ in range(PAGES):
            arguments: dict[str, object] = {"types": "public_channel,private_channel", "limit": 999}
            page = await self._slack.call("conversations.list", arguments | ({"cursor": cursor} if cursor else {}))
            for row in page.get("channels", []):
                if row.get("name") == name:
                    return _room(row)
            cursor = str((page.get("response_metadata") or {}).get("next_cursor") or "")
            if not cursor:
                return None
        return None

    async def joined(self, name: str) -> str:
        """Return the id of a channel in which we are a member, joining it if need be; raises SlackRefused."""
        if name not in self._rooms:
            found = await self.room_named(name.removeprefix("#"))
            if found is None:
                raise SlackRefused("conversations.list", "channel_not_found", f"there is no channel #{name}")
            if not found.member:
                await self._slack.call("conversations.join", {"channel": found.id})
            self._rooms[name] = found.id
        return self._rooms[name]

    async def direct(self, user: str) -> str:
        """Return the id of the direct messages with somebody."""
        if user not in self._direct:
            found = await self._slack.call("conversations.open", {"users": user})
            self._direct[user] = str(found["channel"]["id"])
        return self._direct[user]

    def forget(self, channel: str) -> None:
        """Look a channel up again next time."""
        self._rooms = {name: id_ for name, id_ in self._rooms.items() if id_ != channel}
        self._direct = {user: id_ for user, id_ in self._direct.items() if id_ != channel}


def flaw(user: Mapping[str, Any], team: str) -> Flaw | None:
    """Return why an account (as users.info shows it) may do nothing here, or None."""
    homes = {user.get("team_id"), *((user.get("enterprise_user") or {}).get("teams") or [])}
    if user.get("deleted"):
        return Flaw.GONE
    if user.get("is_bot"):
        return Flaw.BOT
    if team not in homes or user.get("is_stranger"):
        return Flaw.STRANGER
    if user.get("is_restricted") or user.get("is_ultra_restricted"):
        return Flaw.GUEST
    return None


def _room(row: Mapping[str, Any]) -> Room:
    return Room(
        id=str(row["id"]),
        name=str(row.get("name", "")),
        member=bool(row.get("is_member")),
        creator=str(row.get("creator", "")),
        created=int(row.get("created") or 0),
        archived=bool(row.get("is_archived")),
    )
