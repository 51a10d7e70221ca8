"""What the workspace holds: channels, messages, files, views. Plain rows, changed by methods and hands alike.

Nothing here refuses or speaks HTTP; `World.changed` is how whoever watches learns of a change.
"""

import asyncio
import itertools
import random
import secrets
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from bot.practice.workspace.people import HOME_TEAM, Person, find

Json = dict[str, Any]

APP_ID = "A0STOPSIGN"
BOT_USER = "U0STOPSIGN"
BOT_ID = "B0STOPSIGN"
SLACKBOT = "USLACKBOT"
TEAM_DOMAIN = "practice"


@dataclass(slots=True, kw_only=True)
class Message:
    """A message; with `ephemeral_to` only that person sees it, a `broadcast` reply stands in the channel too.

    `extra` are keys that Slack shows on few messages: inviter, topic, old_name, username, icons, …
    """

    ts: str
    channel: str
    user: str
    text: str = ""
    blocks: list[Json] = field(default_factory=list)
    attachments: list[Json] = field(default_factory=list)
    metadata: Json | None = None
    thread_ts: str | None = None
    ephemeral_to: str | None = None
    subtype: str | None = None
    edited: str | None = None
    files: list[str] = field(default_factory=list)
    reactions: dict[str, list[str]] = field(default_factory=dict)
    picked: dict[str, Json] = field(default_factory=dict)
    broadcast: bool = False
    extra: Json = field(default_factory=dict)

    @property
    def from_bot(self) -> bool:
        """Return whether the app posted it."""
        return self.user == BOT_USER


@dataclass(slots=True, kw_only=True)
class Channel:
    """A conversation; `kind` is public, private, im or mpim. `former` are the bots that archiving threw out."""

    id: str
    name: str
    kind: str
    created: int
    creator: str
    members: list[str]
    archived: bool = False
    topic: str = ""
    purpose: str = ""
    messages: dict[str, Message] = field(default_factory=dict)
    pins: list[str] = field(default_factory=list)
    bookmarks: list[Json] = field(default_factory=list)
    former: list[str] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class View:
    """A modal or a home tab as it stands on one person's screen."""

    id: str
    user: str
    body: Json
    hash: str
    root: str
    previous: str | None = None
    values: Json = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class File:
    """An uploaded file; `shared` maps a channel to the messages that show it."""

    id: str
    name: str
    title: str
    user: str
    created: int
    content: bytes | None = None
    length: int = 0
    shared: dict[str, list[str]] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Trigger:
    """What a person's act allows: one `views.open` or `views.push`, within three seconds."""

    user: str
    at: float
    view: str | None = None
    exchanged: bool = False
    opened: str | None = None


@dataclass(slots=True, kw_only=True)
class ResponseUrl:
    """An unguessable address for up to five answers to one act."""

    user: str
    channel: str
    at: float
    message_ts: str | None = None
    thread_ts: str | None = None
    used: int = 0


class World:
    """Everything in the workspace, and the source of its ids and times."""

    def __init__(self, people: Sequence[Person], *, clock: Callable[[], float], channels: Sequence[str]) -> None:
        """Set up the team with its bot and the channels that stand from the start."""
        self.clock = clock
        self.people = [
            *(person for person in people if person.id != BOT_USER),
            Person(id=BOT_USER, name="stopsign", real_name="Stopsign", is_bot=True),
        ]
        self.channels: dict[str, Channel] = {}
        self.files: dict[str, File] = {}
        self.stacks: dict[str, list[View]] = {}
        self.homes: dict[str, View] = {}
        self.triggers: dict[str, Trigger] = {}
        self.response_urls: dict[str, ResponseUrl] = {}
        self.usergroups: list[Json] = []
        self.suggested: dict[tuple[str, str, str], list[Json]] = {}
        self.origin = "http://127.0.0.1"
        self.seq = 0
        self.closed = False
        self._changed = asyncio.Event()
        self._last_ts = 0
        self._serial = itertools.count(1)
        self._random = random.Random()  # ids of rows only; secrets come from `secrets`
        for name in channels:
            self._first_channel(name)

    def _first_channel(self, name: str) -> None:
        guests = name != "general"
        members = [p.id for p in self.people if p.local or p.id == BOT_USER or (guests and not p.deleted)]
        self.add_channel(name, kind="public", creator=SLACKBOT, members=members)

    def changed(self) -> None:
        """Tell whoever watches that something is different now."""
        self.seq += 1
        self._changed.set()
        self._changed = asyncio.Event()

    async def next_change(self, after: int) -> int:
        """Return the newest change number once it is above `after`, or the workspace has closed."""
        while self.seq <= after and not self.closed:
            await self._changed.wait()
        return self.seq

    def close(self) -> None:
        """Let go of whoever waits for changes."""
        self.closed = True
        self.changed()

    def next_ts(self) -> str:
        """Return a message time stamp that no other message of this workspace has."""
        self._last_ts = max(self._last_ts + 1, int(self.clock() * 1_000_000))
        return f"{self._last_ts // 1_000_000}.{self._last_ts % 1_000_000:06d}"

    def new_id(self, prefix: str) -> str:
        """Return an id in Slack's manner: the kind's letter and ten characters, rising."""
        return f"{prefix}0{_base36(next(self._serial)).rjust(6, '0')}{self._letters(3)}"

    def short_id(self) -> str:
        """Return what Slack puts in for a missing block_id or action_id."""
        return self._letters(5)

    def _letters(self, count: int) -> str:
        return "".join(self._random.choices(string.ascii_uppercase + string.digits, k=count))

    def person(self, id_: str) -> Person | None:
        """Return the person with that id, or None."""
        return find(self.people, id_)

    def add_channel(self, name: str, *, kind: str, creator: str, members: Sequence[str]) -> Channel:
        """Open a conversation and return it."""
        prefix = {"im": "D", "private": "C", "public": "C", "mpim": "C"}[kind]
        channel = Channel(
            id=self.new_id(prefix),
            name=name,
            kind=kind,
            created=int(self.clock()),
            creator=creator,
            members=list(members),
        )
        self.channels[channel.id] = channel
        self.changed()
        return channel

    def channel_named(self, name: str) -> Channel | None:
        """Return the channel of that name (archived ones keep theirs), or None."""
        return next((c for c in self.channels.values() if c.name == name and c.kind in ("public", "private")), None)

    def direct_channel(self, members: Sequence[str]) -> Channel:
        """Return the direct message channel of the bot with these people, opened if need be."""
        wanted = sorted({BOT_USER, *members})
        for channel in self.channels.values():
            if channel.kind in ("im", "mpim") and sorted(channel.members) == wanted:
                return channel
        kind = "im" if len(wanted) == 2 else "mpim"
        name = "" if kind == "im" else "mpdm-" + "--".join(m.lower() for m in wanted)
        return self.add_channel(name, kind=kind, creator=BOT_USER, members=wanted)

    def add_message(self, message: Message) -> Message:
        """Put a message into its channel, with the ids that Slack fills in, and return it."""
        self.fill_ids(message.blocks)
        for attachment in message.attachments:
            self.fill_ids(attachment.get("blocks") or [])
        self.channels[message.channel].messages[message.ts] = message
        self.changed()
        return message

    def fill_ids(self, blocks: Sequence[Json]) -> None:
        """Give blocks and their elements the ids that they lack."""
        for block in blocks:
            block["block_id"] = block.get("block_id") or self.short_id()
            for element in elements_of(block):
                if element.get("type") != "image":
                    element["action_id"] = element.get("action_id") or self.short_id()

    def new_trigger(self, user: str, view: str | None = None) -> str:
        """Return a trigger id that lives three seconds from now."""
        id_ = f"{self.new_id('')}.{secrets.token_hex(16)}"
        self.triggers[id_] = Trigger(user=user, at=self.clock(), view=view)
        return id_

    def new_response_url(
        self, user: str, channel: str, *, message_ts: str | None = None, thread_ts: str | None = None
    ) -> str:
        """Return an address under `/respond/` for answers to what this person just did."""
        key = secrets.token_urlsafe(24)
        self.response_urls[key] = ResponseUrl(
            user=user, channel=channel, at=self.clock(), message_ts=message_ts, thread_ts=thread_ts
        )
        return f"{self.origin}/respond/{key}"

    def view(self, view_id: str) -> View | None:
        """Return the open modal or home tab with that id, or None."""
        everywhere = itertools.chain(self.homes.values(), *self.stacks.values())
        return next((view for view in everywhere if view.id == view_id), None)


def elements_of(block: Json) -> list[Json]:
    """Return the interactive elements of a block, in order."""
    found = [element for element in block.get("elements") or [] if block.get("type") == "actions"]
    return found + [block[key] for key in ("accessory", "element") if isinstance(block.get(key), dict)]


def _base36(number: int) -> str:
    digits = string.digits + string.ascii_uppercase
    text = ""
    while number:
        number, rest = divmod(number, 36)
        text = digits[rest] + text
    return text or "0"


__all__ = ["HOME_TEAM", "Channel", "File", "Message", "ResponseUrl", "Trigger", "View", "World", "elements_of"]
