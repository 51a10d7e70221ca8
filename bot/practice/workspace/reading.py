"""What `/practice/state` shows: every row of the workspace, for scenario, tests and page."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from bot.practice.workspace.office import Office
from bot.practice.workspace.people import HOME_TEAM
from bot.practice.workspace.shown import file_object, is_shared, view_object
from bot.practice.workspace.state import APP_ID, BOT_ID, BOT_USER, Channel, Message, World

Json = dict[str, Any]


def state(office: Office, *, only_channel: str | None = None) -> Json:
    """Return everything; with `only_channel` the messages of the others are left out."""
    world = office.world
    return {
        "seq": world.seq,
        "team": {"id": HOME_TEAM, "name": "Practice"},
        "bot": {"user_id": BOT_USER, "bot_id": BOT_ID, "app_id": APP_ID, "name": "stopsign"},
        "people": [asdict(person) | {"real_name": person.real_name or person.name} for person in world.people],
        "channels": [
            channel_row(channel, world) | {"messages": messages(channel) if only_channel in (None, channel.id) else []}
            for channel in world.channels.values()
        ],
        "views": {user: [view_object(view) for view in stack] for user, stack in world.stacks.items() if stack},
        "notices": _notices(world),
        "homes": {user: view_object(view) for user, view in world.homes.items()},
        "files": {id_: file_object(file, world) for id_, file in world.files.items() if file.content is not None},
        "usergroups": world.usergroups,
        "shortcuts": _shortcuts(office.installation.message_shortcuts),
        "global_shortcuts": _shortcuts(office.installation.global_shortcuts),
        "app": office.installation.row(),
        "sockets": office.deliveries.sockets.rows(),
        "failures": office.faults.rows(),
        "rate_limits": office.rates.on,
    }


def _shortcuts(shortcuts: Mapping[str, str]) -> list[Json]:
    return [{"callback_id": id_, "name": name} for id_, name in shortcuts.items()]


def messages(channel: Channel) -> list[Json]:
    """Return all messages of a channel, the oldest first, threads and ephemeral ones among them."""
    return [message_row(message, channel) for message in channel.messages.values()]


def message_row(message: Message, channel: Channel) -> Json:
    """Return one message with everything that is known of it."""
    return {
        "ts": message.ts,
        "channel": message.channel,
        "user": message.user,
        "text": message.text,
        "blocks": message.blocks,
        "attachments": message.attachments,
        "metadata": message.metadata,
        "thread_ts": message.thread_ts,
        "ephemeral_to": message.ephemeral_to,
        "subtype": message.subtype,
        "edited": message.edited,
        "files": message.files,
        "reactions": message.reactions,
        "picked": message.picked,
        "broadcast": message.broadcast,
        "username": message.extra.get("username"),
        "icons": message.extra.get("icons", {}),
        "pinned": message.ts in channel.pins,
    }


def channel_row(channel: Channel, world: World) -> Json:
    """Return one channel without its messages."""
    last = next((m.ts for m in reversed(channel.messages.values()) if m.ephemeral_to is None), None)
    return {
        "id": channel.id,
        "name": channel.name,
        "kind": channel.kind,
        "archived": channel.archived,
        "shared": is_shared(channel, world),
        "members": channel.members,
        "topic": channel.topic,
        "purpose": channel.purpose,
        "bookmarks": channel.bookmarks,
        "pins": channel.pins,
        "last_ts": last,
    }


def _notices(world: World) -> dict[str, list[Json]]:
    found: dict[str, list[Json]] = {}
    for channel in world.channels.values():
        for message in channel.messages.values():
            if message.ephemeral_to:
                found.setdefault(message.ephemeral_to, []).append(message_row(message, channel))
    return found
