"""conversations.history and conversations.replies: reading back what was said."""

from bot.practice.workspace.arguments import flag, page, text
from bot.practice.workspace.methods import finding
from bot.practice.workspace.office import Office
from bot.practice.workspace.refusals import Json, Refusal
from bot.practice.workspace.shown import message_object, replies_to
from bot.practice.workspace.state import BOT_USER, Channel, Message


def history(office: Office, args: Json) -> Json:
    """Return a channel's messages, the newest first, without replies in threads."""
    channel = _readable(office, args)
    rows = [m for m in channel.messages.values() if not m.ephemeral_to and (m.broadcast or m.thread_ts in (None, m.ts))]
    return _answer(office, args, _between(rows, args)[::-1])


def replies(office: Office, args: Json) -> Json:
    """Return a thread: its root, then the replies, the oldest first."""
    channel = _readable(office, args)
    root = finding.message(channel, text(args, "ts"), error="thread_not_found")
    root = channel.messages.get(root.thread_ts or root.ts, root)
    return _answer(office, args, _between([root, *replies_to(root.ts, channel)], args))


def _readable(office: Office, args: Json) -> Channel:
    channel = finding.channel(office, args)
    if BOT_USER not in channel.members:
        raise Refusal("not_in_channel")
    return channel


def _between(rows: list[Message], args: Json) -> list[Message]:
    oldest, latest = _ts(args, "oldest", 0.0), _ts(args, "latest", float("inf"))
    if flag(args, "inclusive"):
        return [row for row in rows if oldest <= float(row.ts) <= latest]
    return [row for row in rows if oldest < float(row.ts) < latest]


def _ts(args: Json, key: str, default: float) -> float:
    value = text(args, key)
    try:
        return float(value) if value else default
    except ValueError as exc:
        raise Refusal(f"invalid_ts_{key}") from exc


def _answer(office: Office, args: Json, rows: list[Message]) -> Json:
    shown, cursor = page(rows, args, default=100, most=999)
    metadata = flag(args, "include_all_metadata")
    answer: Json = {
        "messages": [message_object(row, office.world, metadata=metadata) for row in shown],
        "has_more": bool(cursor),
    }
    return answer | ({"response_metadata": {"next_cursor": cursor}} if cursor else {})


METHODS = {"conversations.history": history, "conversations.replies": replies}
