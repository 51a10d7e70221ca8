"""conversations.*: opening channels, and who is in them."""

from collections.abc import Callable

from bot.practice.workspace import events, limits
from bot.practice.workspace.arguments import flag, names, page, text
from bot.practice.workspace.methods import finding
from bot.practice.workspace.office import Office
from bot.practice.workspace.refusals import Json, Refusal
from bot.practice.workspace.shown import channel_object
from bot.practice.workspace.state import BOT_USER, Channel

INVITED_MAX = 100


def create(office: Office, args: Json) -> Json:
    """Open a channel; the bot is its first member."""
    name = text(args, "name")
    if error := limits.name_problem(name):
        raise Refusal(error)
    if office.world.channel_named(name):
        raise Refusal("name_taken")
    kind = "private" if flag(args, "is_private") else "public"
    channel = office.world.add_channel(name, kind=kind, creator=BOT_USER, members=[BOT_USER])
    office.announce(events.channel_changed("channel_created", channel, BOT_USER, office.world))
    office.remark(channel, BOT_USER, "channel_join", "has joined the channel")
    return _shown(office, channel)


def invite(office: Office, args: Json) -> Json:
    """Add people to a channel: all of them, or nobody (but with `force` those who can be)."""
    channel = finding.joined(office, args)
    wanted = names(args, "users")
    if not wanted:
        raise Refusal("no_user")
    if len(wanted) > INVITED_MAX:
        raise Refusal("too_many_users")
    refused = [
        {"ok": False, "error": error, "user": user} for user in wanted if (error := _uninvited(office, channel, user))
    ]
    if refused and not (flag(args, "force") and len(refused) < len(wanted)):
        raise Refusal(str(refused[0]["error"]), extra={"errors": refused})
    bad = {row["user"] for row in refused}
    for user in dict.fromkeys(wanted):
        if user not in bad:
            office.joined(channel, user, inviter=BOT_USER)
    return _shown(office, channel) | ({"errors": refused} if refused else {})


def _uninvited(office: Office, channel: Channel, user: str) -> str | None:
    person = office.world.person(user)
    if person is None:
        return "user_not_found"
    if user == BOT_USER:
        return "cant_invite_self"
    if user in channel.members:
        return "already_in_channel"
    return "cant_invite" if person.deleted else None


def join(office: Office, args: Json) -> Json:
    """Join a public channel."""
    channel = finding.channel(office, args)
    if channel.archived:
        raise Refusal("is_archived")
    if channel.kind != "public":
        raise Refusal("method_not_supported_for_channel_type")
    if BOT_USER in channel.members:
        warning = "already_in_channel"
        return _shown(office, channel) | {"warning": warning, "response_metadata": {"warnings": [warning]}}
    office.joined(channel, BOT_USER)
    return _shown(office, channel)


def leave(office: Office, args: Json) -> Json:
    """Leave a channel."""
    channel = finding.channel(office, args)
    if channel.name == "general":
        raise Refusal("cant_leave_general")
    if BOT_USER not in channel.members:
        return {"not_in_channel": True}
    office.left(channel, BOT_USER)
    return {}


def kick(office: Office, args: Json) -> Json:
    """Take a person out of a channel."""
    channel = finding.joined(office, args)
    user = text(args, "user")
    if office.world.person(user) is None:
        raise Refusal("user_not_found")
    if user == BOT_USER:
        raise Refusal("cant_kick_self")
    if channel.name == "general":
        raise Refusal("cant_kick_from_general")
    if user not in channel.members:
        raise Refusal("not_in_channel")
    office.left(channel, user)
    return {}


def info(office: Office, args: Json) -> Json:
    """Return one conversation; the number of members only on request, as Slack does."""
    channel = finding.channel(office, args)
    shown = channel_object(channel, office.world)
    if flag(args, "include_num_members"):
        shown["num_members"] = len(channel.members)
    else:
        shown.pop("num_members", None)
    return {"channel": shown}


def list_(office: Office, args: Json) -> Json:
    """Return the conversations that the bot can see, a page at a time."""
    rows = _of_types(office, args)
    return _paged(office, args, [row for row in rows if row.kind == "public" or BOT_USER in row.members])


def of_user(office: Office, args: Json) -> Json:
    """Return the conversations of the bot, or of `user` as far as the bot can see them."""
    user = text(args, "user", BOT_USER)
    if office.world.person(user) is None:
        raise Refusal("user_not_found")
    seen = [row for row in _of_types(office, args) if row.kind == "public" or BOT_USER in row.members]
    return _paged(office, args, [row for row in seen if user in row.members])


def _of_types(office: Office, args: Json) -> list[Channel]:
    words = {"public_channel": "public", "private_channel": "private", "im": "im", "mpim": "mpim"}
    wanted = names(args, "types") or ["public_channel"]
    if not set(wanted) <= words.keys():
        raise Refusal("invalid_types")
    kinds = {words[word] for word in wanted}
    open_only = flag(args, "exclude_archived")
    return [row for row in office.world.channels.values() if row.kind in kinds and not (row.archived and open_only)]


def _paged(office: Office, args: Json, rows: list[Channel]) -> Json:
    shown, cursor = page(rows, args, default=100, most=999)
    channels = [channel_object(channel, office.world) for channel in shown]
    return {"channels": channels, "response_metadata": {"next_cursor": cursor}}


def members(office: Office, args: Json) -> Json:
    """Return who is in a conversation, a page at a time."""
    shown, cursor = page(finding.channel(office, args).members, args, default=100, most=999)
    return {"members": shown, "response_metadata": {"next_cursor": cursor}}


def open_(office: Office, args: Json) -> Json:
    """Open, or find, the direct messages with one to eight people."""
    if text(args, "channel"):
        return _shown(office, finding.channel(office, args))
    users = names(args, "users")
    if not users:
        raise Refusal("users_list_not_supplied")
    if len(users) > 8:
        raise Refusal("too_many_users")
    for user in users:
        person = office.world.person(user)
        if person is None:
            raise Refusal("user_not_found")
        if person.deleted:
            raise Refusal("user_disabled")
        if person.is_bot:
            raise Refusal("cannot_dm_bot")
    before = len(office.world.channels)
    channel = office.world.direct_channel(users)
    known = {"no_op": True, "already_open": True} if len(office.world.channels) == before else {}
    shown = channel_object(channel, office.world) if flag(args, "return_im") else {"id": channel.id}
    return {"channel": shown, **known}


def _shown(office: Office, channel: Channel) -> Json:
    return {"channel": channel_object(channel, office.world)}


METHODS: dict[str, Callable[[Office, Json], Json]] = {
    "conversations.create": create,
    "conversations.invite": invite,
    "conversations.join": join,
    "conversations.leave": leave,
    "conversations.kick": kick,
    "conversations.info": info,
    "conversations.list": list_,
    "users.conversations": of_user,
    "conversations.members": members,
    "conversations.open": open_,
}
