"""What every method and every hand works with: the rows, the limits, the faults, the line to the bot."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bot.practice.workspace.deliveries import Deliveries
from bot.practice.workspace.failures import Faults
from bot.practice.workspace.people import HOME_TEAM
from bot.practice.workspace.rates import Rates
from bot.practice.workspace.shown import message_object
from bot.practice.workspace.state import BOT_USER, Channel, File, Message, World

Json = dict[str, Any]

CALLS_KEPT = 20_000

SCOPES = (
    "app_mentions:read bookmarks:read bookmarks:write channels:history channels:join channels:manage channels:read "
    "chat:write commands files:read files:write groups:history groups:read groups:write im:history im:read im:write "
    "mpim:write pins:read pins:write reactions:read reactions:write team:read usergroups:read users:read "
    "users:read.email"
)


@dataclass(slots=True)
class Office:
    """One running workspace; `shortcuts` are the bot's message shortcuts, callback_id to name."""

    world: World
    rates: Rates
    faults: Faults
    deliveries: Deliveries
    bot_token: str
    shortcuts: Mapping[str, str] = field(default_factory=dict)
    calls: deque[Json] = field(default_factory=lambda: deque(maxlen=CALLS_KEPT))

    def post(self, message: Message) -> Message:
        """Add a message and tell the bot of it, unless only one person sees it."""
        self.world.add_message(message)
        if message.ephemeral_to is None:
            self.tell(message.channel, self._message_event(message))
        return message

    def tell(self, channel_id: str, event: Json) -> None:
        """Send an event to the bot if it is a member of that channel."""
        if BOT_USER in self.world.channels[channel_id].members:
            self.deliveries.event(event)

    def joined(self, channel: Channel, user: str, *, inviter: str | None = None) -> None:
        """Add a member and tell the bot."""
        channel.members.append(user)
        self.world.changed()
        event: Json = {
            "type": "member_joined_channel",
            "user": user,
            "channel": channel.id,
            "channel_type": channel_type(channel)[0].upper(),
            "team": HOME_TEAM,
            "event_ts": self.world.next_ts(),
        }
        self.tell(channel.id, event | ({"inviter": inviter} if inviter else {}))

    def left(self, channel: Channel, user: str) -> None:
        """Take a member out and tell the bot."""
        channel.members.remove(user)
        self.world.changed()
        event = {"type": "member_left_channel", "user": user, "channel": channel.id, "event_ts": self.world.next_ts()}
        self.tell(channel.id, event)

    def reacted(self, kind: str, message: Message, user: str, name: str) -> None:
        """Tell the bot of a reaction; `kind` is reaction_added or reaction_removed."""
        self.world.changed()
        event = {
            "type": kind,
            "user": user,
            "reaction": name,
            "item": {"type": "message", "channel": message.channel, "ts": message.ts},
            "item_user": message.user,
            "event_ts": self.world.next_ts(),
        }
        self.tell(message.channel, event)

    def edited(self, message: Message, before: Json) -> None:
        """Tell the bot that a message changed; `before` is how it was shown."""
        self.world.changed()
        if message.ephemeral_to is None:
            after = message_object(message, self.world)
            self.tell(
                message.channel,
                self._hidden(message, "message_changed") | {"message": after, "previous_message": before},
            )

    def deleted(self, message: Message) -> None:
        """Remove a message and tell the bot."""
        channel = self.world.channels[message.channel]
        before = message_object(message, self.world)
        del channel.messages[message.ts]
        if message.ts in channel.pins:
            channel.pins.remove(message.ts)
        self.world.changed()
        if message.ephemeral_to is None:
            event = self._hidden(message, "message_deleted") | {"deleted_ts": message.ts, "previous_message": before}
            self.tell(message.channel, event)

    def share(
        self, files: Sequence[File], channel: Channel, *, text: str = "", thread_ts: str | None = None
    ) -> Message:
        """Post one message that shows the files of one uploader, and tell the bot."""
        uploader = files[0].user
        message = Message(
            ts=self.world.next_ts(),
            channel=channel.id,
            user=uploader,
            text=text,
            thread_ts=thread_ts,
            files=[file.id for file in files],
            subtype=None if uploader == BOT_USER else "file_share",
        )
        for file in files:
            file.shared.setdefault(channel.id, []).append(message.ts)
        self.post(message)
        for file in files:
            event = {
                "type": "file_shared",
                "file_id": file.id,
                "user_id": uploader,
                "file": {"id": file.id},
                "channel_id": channel.id,
                "event_ts": self.world.next_ts(),
            }
            self.tell(channel.id, event)
        return message

    def _message_event(self, message: Message) -> Json:
        return message_object(message, self.world) | {
            "channel": message.channel,
            "channel_type": channel_type(self.world.channels[message.channel]),
            "event_ts": message.ts,
        }

    def _hidden(self, message: Message, subtype: str) -> Json:
        ts = self.world.next_ts()
        return {
            "type": "message",
            "subtype": subtype,
            "hidden": True,
            "channel": message.channel,
            "channel_type": channel_type(self.world.channels[message.channel]),
            "ts": ts,
            "event_ts": ts,
        }


def channel_type(channel: Channel) -> str:
    """Return Slack's word for the kind of conversation in message events."""
    return {"public": "channel", "private": "group", "im": "im", "mpim": "mpim"}[channel.kind]
