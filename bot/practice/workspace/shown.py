"""How Slack's API shows rows: message, channel, file and view objects, as pure functions."""

from typing import Any

from bot.practice.workspace.people import HOME_TEAM
from bot.practice.workspace.state import APP_ID, BOT_ID, BOT_USER, Channel, File, Message, View, World

Json = dict[str, Any]


def message_object(message: Message, world: World, *, metadata: bool = False) -> Json:
    """Return a message as history and payloads show it; `metadata` as with include_all_metadata."""
    author = world.person(message.user)
    team = author.team_id if author else HOME_TEAM
    body: Json = {"type": "message", "user": message.user, "ts": message.ts, "text": message.text, "team": team}
    if message.from_bot:
        body |= {"bot_id": BOT_ID, "app_id": APP_ID}
    if message.subtype:
        body["subtype"] = message.subtype
    if message.blocks:
        body["blocks"] = message.blocks
    if message.attachments:
        body["attachments"] = message.attachments
    if message.thread_ts:
        body["thread_ts"] = message.thread_ts
    if message.edited:
        body["edited"] = {"user": message.user, "ts": message.edited}
    if message.files:
        body["files"] = [file_object(world.files[id_], world) for id_ in message.files]
    if message.reactions:
        body["reactions"] = reactions(message)
    if metadata and message.metadata:
        body["metadata"] = message.metadata
    body |= message.extra
    if "username" in body:
        body.pop("user")
    body |= _thread_summary(message, world)
    return body


def reactions(message: Message) -> list[Json]:
    """Return a message's reactions in the order in which they came."""
    return [{"name": name, "users": list(users), "count": len(users)} for name, users in message.reactions.items()]


def _thread_summary(message: Message, world: World) -> Json:
    channel = world.channels[message.channel]
    if message.thread_ts and message.thread_ts != message.ts:
        root = channel.messages.get(message.thread_ts)
        return {"parent_user_id": root.user} if root else {}
    replies = replies_to(message.ts, channel)
    if not replies:
        return {}
    users = list(dict.fromkeys(reply.user for reply in replies))
    return {
        "thread_ts": message.ts,
        "reply_count": len(replies),
        "reply_users": users[:5],
        "reply_users_count": len(users),
        "latest_reply": replies[-1].ts,
        "is_locked": False,
        "subscribed": False,
    }


def replies_to(ts: str, channel: Channel) -> list[Message]:
    """Return the replies in a thread that everybody in the channel sees."""
    return [m for m in channel.messages.values() if m.thread_ts == ts and m.ts != ts and not m.ephemeral_to]


def channel_object(channel: Channel, world: World) -> Json:
    """Return a conversation as conversations.info shows it to the bot."""
    body: Json = {
        "id": channel.id,
        "created": channel.created,
        "creator": channel.creator,
        "is_archived": channel.archived,
        "is_im": channel.kind == "im",
        "is_mpim": channel.kind == "mpim",
        "is_channel": channel.kind == "public",
        "is_group": channel.kind in ("private", "mpim"),
        "is_private": channel.kind != "public",
        "is_general": channel.name == "general",
        "is_member": BOT_USER in channel.members,
        "is_shared": is_shared(channel, world),
        "is_ext_shared": is_shared(channel, world),
        "is_org_shared": False,
        "context_team_id": HOME_TEAM,
        "updated": channel.created * 1000,
    }
    if channel.kind == "im":
        body["user"] = next((member for member in channel.members if member != BOT_USER), BOT_USER)
        return body
    return body | {
        "name": channel.name,
        "name_normalized": channel.name,
        "num_members": len(channel.members),
        "topic": {"value": channel.topic, "creator": BOT_USER if channel.topic else "", "last_set": channel.created},
        "purpose": {"value": channel.purpose, "creator": channel.creator, "last_set": channel.created},
    }


def is_shared(channel: Channel, world: World) -> bool:
    """Return whether somebody of another workspace is in the channel."""
    found = (world.person(member) for member in channel.members)
    return any(person is not None and person.team_id != HOME_TEAM for person in found)


def file_object(file: File, world: World) -> Json:
    """Return a file as files.info shows it; `url_private` needs the bot's token."""
    kind = file.name.rsplit(".", 1)[-1].lower() if "." in file.name else "text"
    return {
        "id": file.id,
        "created": file.created,
        "timestamp": file.created,
        "name": file.name,
        "title": file.title or file.name,
        "mimetype": mimetype(file.name),
        "filetype": kind,
        "pretty_type": kind.upper(),
        "user": file.user,
        "size": len(file.content or b""),
        "mode": "hosted",
        "is_external": False,
        "is_public": any(world.channels[channel].kind == "public" for channel in file.shared),
        "url_private": f"{world.origin}/files/{file.id}/{file.name}",
        "url_private_download": f"{world.origin}/files/{file.id}/download/{file.name}",
        "permalink": f"{world.origin}/files/{file.id}/{file.name}",
        "channels": [channel for channel in file.shared if world.channels[channel].kind == "public"],
        "groups": [channel for channel in file.shared if world.channels[channel].kind in ("private", "mpim")],
        "ims": [channel for channel in file.shared if world.channels[channel].kind == "im"],
        "shares": _shares(file, world),
    }


def _shares(file: File, world: World) -> Json:
    shares: Json = {}
    for channel, stamps in file.shared.items():
        where = "public" if world.channels[channel].kind == "public" else "private"
        shares.setdefault(where, {})[channel] = [{"ts": ts} for ts in stamps]
    return shares


_MIMETYPES = {
    "json": "application/json",
    "jsonl": "application/x-ndjson",
    "pdf": "application/pdf",
    "zip": "application/zip",
    "tar": "application/x-tar",
    "gz": "application/gzip",
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "gif": "image/gif",
    "webp": "image/webp",
}
INLINE = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
_TEXT = ("md", "txt", "log", "yaml", "yml", "csv", "py", "toml", "patch")


def mimetype(name: str) -> str:
    """Return a media type by the file's ending; text that a browser could run is never more than plain."""
    ending = name.rsplit(".", 1)[-1].lower() if "." in name else "txt"
    return "text/plain" if ending in _TEXT else _MIMETYPES.get(ending, "application/octet-stream")


def view_object(view: View) -> Json:
    """Return a view as views.* answers and payloads show it."""
    body = view.body
    return {
        "id": view.id,
        "team_id": HOME_TEAM,
        "type": body["type"],
        "blocks": body["blocks"],
        "private_metadata": body.get("private_metadata", ""),
        "callback_id": body.get("callback_id", ""),
        "state": {"values": view.values},
        "hash": view.hash,
        "title": body.get("title"),
        "clear_on_close": bool(body.get("clear_on_close", False)),
        "notify_on_close": bool(body.get("notify_on_close", False)),
        "close": body.get("close"),
        "submit": body.get("submit"),
        "previous_view_id": view.previous,
        "root_view_id": view.root,
        "app_id": APP_ID,
        "external_id": body.get("external_id", ""),
        "app_installed_team_id": HOME_TEAM,
        "bot_id": BOT_ID,
    }
