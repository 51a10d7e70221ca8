"""The bodies of Events API events, as pure functions, and the subscription under which each is delivered."""

from typing import Any

from bot.practice.workspace.people import HOME_TEAM
from bot.practice.workspace.shown import message_object
from bot.practice.workspace.state import BOT_USER, Channel, File, Message, World

Json = dict[str, Any]

_MESSAGES = {"channel": "message.channels", "group": "message.groups", "im": "message.im", "mpim": "message.mpim"}


def subscription(event: Json) -> str:
    """Return what an app has to subscribe to for this event."""
    return _MESSAGES[event["channel_type"]] if event["type"] == "message" else str(event["type"])


def channel_type(channel: Channel) -> str:
    """Return Slack's word for the kind of conversation in message events."""
    return {"public": "channel", "private": "group", "im": "im", "mpim": "mpim"}[channel.kind]


def said(message: Message, world: World) -> Json:
    """Return the event of a new message."""
    return message_object(message, world) | {
        "channel": message.channel,
        "channel_type": channel_type(world.channels[message.channel]),
        "event_ts": message.ts,
    }


def mentioned(message: Message, world: World) -> Json | None:
    """Return the app_mention event of a message that names the bot, or None."""
    if message.user == BOT_USER or f"<@{BOT_USER}" not in message.text:
        return None
    event = said(message, world) | {"type": "app_mention"}
    event.pop("channel_type")
    return event


def changed(message: Message, before: Json, world: World) -> Json:
    """Return the event of an edited message; `before` is how it was shown."""
    return _hidden(message, "message_changed", world) | {
        "message": message_object(message, world),
        "previous_message": before,
    }


def deleted(message: Message, before: Json, world: World) -> Json:
    """Return the event of a deleted message."""
    return _hidden(message, "message_deleted", world) | {"deleted_ts": message.ts, "previous_message": before}


def _hidden(message: Message, subtype: str, world: World) -> Json:
    ts = world.next_ts()
    return {
        "type": "message",
        "subtype": subtype,
        "hidden": True,
        "channel": message.channel,
        "channel_type": channel_type(world.channels[message.channel]),
        "ts": ts,
        "event_ts": ts,
    }


def joined(channel: Channel, user: str, inviter: str | None, world: World) -> Json:
    """Return the event of a new member."""
    return _member("member_joined_channel", channel, user, world) | ({"inviter": inviter} if inviter else {})


def left(channel: Channel, user: str, world: World) -> Json:
    """Return the event of a member who left."""
    return _member("member_left_channel", channel, user, world)


def _member(kind: str, channel: Channel, user: str, world: World) -> Json:
    return {
        "type": kind,
        "user": user,
        "channel": channel.id,
        "channel_type": {"public": "C", "private": "G"}.get(channel.kind, channel.kind[0].upper()),
        "team": HOME_TEAM,
        "event_ts": world.next_ts(),
    }


def reacted(kind: str, message: Message, user: str, name: str, world: World) -> Json:
    """Return the event of a reaction; `kind` is reaction_added or reaction_removed."""
    return {
        "type": kind,
        "user": user,
        "reaction": name,
        "item": {"type": "message", "channel": message.channel, "ts": message.ts},
        "item_user": message.user,
        "event_ts": world.next_ts(),
    }


def pinned(kind: str, channel: Channel, message: Message, user: str, world: World) -> Json:
    """Return the event of a pin; `kind` is pin_added or pin_removed."""
    return {
        "type": kind,
        "user": user,
        "channel_id": channel.id,
        "item": {
            "type": "message",
            "channel": channel.id,
            "created": int(world.clock()),
            "created_by": user,
            "message": message_object(message, world),
        },
        "event_ts": world.next_ts(),
    }


def shared(file: File, channel: Channel, world: World) -> Json:
    """Return the event of a file that was shared; it names the file only, files.info has the rest."""
    return {
        "type": "file_shared",
        "file_id": file.id,
        "user_id": file.user,
        "file": {"id": file.id},
        "channel_id": channel.id,
        "event_ts": world.next_ts(),
    }


def channel_changed(kind: str, channel: Channel, user: str, world: World) -> Json:
    """Return the event of a channel that was created, renamed, archived or opened again."""
    event: Json = {"type": kind, "event_ts": world.next_ts()}
    if kind in ("channel_rename", "channel_created"):
        creator = {"creator": channel.creator} if kind == "channel_created" else {}
        return event | {
            "channel": {"id": channel.id, "name": channel.name, "created": channel.created, **creator},
        }
    return event | {"channel": channel.id, "user": user}
