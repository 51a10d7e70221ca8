"""What every method and every hand works with: the rows, the limits, the faults, the line to the bot."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from bot.practice.workspace import events
from bot.practice.workspace.deliveries import Deliveries
from bot.practice.workspace.failures import Faults
from bot.practice.workspace.installation import Installation
from bot.practice.workspace.rates import Rates
from bot.practice.workspace.shown import is_shared, message_object, replies_to
from bot.practice.workspace.state import BOT_USER, SLACKBOT, Channel, File, Message, World

Json = dict[str, Any]

CALLS_KEPT = 20_000
TOMBSTONE = "This message was deleted."


@dataclass(slots=True)
class Office:
    """One running workspace; `installation` is how the app stands in it."""

    world: World
    rates: Rates
    faults: Faults
    deliveries: Deliveries
    bot_token: str
    app_token: str
    installation: Installation
    calls: deque[Json] = field(default_factory=lambda: deque(maxlen=CALLS_KEPT))

    def tell(self, channel_id: str, event: Json) -> None:
        """Send an event to the bot if it is a member of that channel and hears of such events."""
        channel = self.world.channels[channel_id]
        if BOT_USER in channel.members:
            self.announce(event, shared=is_shared(channel, self.world))

    def announce(self, event: Json, *, shared: bool = False) -> None:
        """Send an event to the bot if it hears of such events; `shared` if another workspace shares the channel."""
        if self.installation.hears(events.subscription(event)):
            self.deliveries.event(event, shared=shared)

    def post(self, message: Message) -> Message:
        """Add a message and tell the bot of it, unless only one person sees it."""
        self.world.add_message(message)
        if message.ephemeral_to is None:
            self.tell(message.channel, events.said(message, self.world))
            if mention := events.mentioned(message, self.world):
                self.tell(message.channel, mention)
        return message

    def remark(self, channel: Channel, user: str, subtype: str, text: str, **more: Any) -> Message:
        """Post the line that Slack itself writes into a channel when somebody joins, renames, archives, …"""
        said = Message(
            ts=self.world.next_ts(),
            channel=channel.id,
            user=user,
            text=f"<@{user}> {text}",
            subtype=subtype,
            extra=more,
        )
        return self.post(said)

    def joined(self, channel: Channel, user: str, *, inviter: str | None = None) -> None:
        """Add a member and tell the bot."""
        channel.members.append(user)
        self.world.changed()
        self.tell(channel.id, events.joined(channel, user, inviter, self.world))
        self.remark(
            channel, user, "channel_join", "has joined the channel", **({"inviter": inviter} if inviter else {})
        )

    def left(self, channel: Channel, user: str) -> None:
        """Take a member out and tell the bot."""
        self.remark(channel, user, "channel_leave", "has left the channel")
        channel.members.remove(user)
        self.world.changed()
        self.tell(channel.id, events.left(channel, user, self.world))

    def reacted(self, kind: str, message: Message, user: str, name: str) -> None:
        """Tell the bot of a reaction; `kind` is reaction_added or reaction_removed."""
        self.world.changed()
        self.tell(message.channel, events.reacted(kind, message, user, name, self.world))

    def edited(self, message: Message, before: Json) -> None:
        """Tell the bot that a message changed; `before` is how it was shown."""
        self.world.changed()
        if message.ephemeral_to is None:
            self.tell(message.channel, events.changed(message, before, self.world))

    def deleted(self, message: Message) -> None:
        """Remove a message and tell the bot; a thread's root becomes a tombstone as long as there are replies."""
        channel = self.world.channels[message.channel]
        before = message_object(message, self.world)
        if message.ts in channel.pins:
            channel.pins.remove(message.ts)
        if message.ephemeral_to is None and replies_to(message.ts, channel):
            channel.messages[message.ts] = tomb = Message(
                ts=message.ts,
                channel=channel.id,
                user=SLACKBOT,
                text=TOMBSTONE,
                subtype="tombstone",
                thread_ts=message.ts,
                extra={"hidden": True},
            )
            self.edited(tomb, before)
            return
        del channel.messages[message.ts]
        self.world.changed()
        if message.ephemeral_to is None:
            self.tell(message.channel, events.deleted(message, before, self.world))

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
            extra={"upload": False, "display_as_bot": False},
        )
        for file in files:
            file.shared.setdefault(channel.id, []).append(message.ts)
        self.post(message)
        for file in files:
            self.tell(channel.id, events.shared(file, channel, self.world))
        return message
