"""Finding the channel or message that a call names, refusing as Slack does when the bot cannot see it."""

from bot.practice.workspace.arguments import text
from bot.practice.workspace.office import Office
from bot.practice.workspace.refusals import Json, Refusal
from bot.practice.workspace.state import BOT_USER, Channel, Message


def channel(office: Office, args: Json, key: str = "channel") -> Channel:
    """Return the conversation with that id; private ones only if the bot is in them, or was until the archiving."""
    found = office.world.channels.get(text(args, key))
    if found is None or (found.kind != "public" and BOT_USER not in (*found.members, *found.former)):
        raise Refusal("channel_not_found")
    return found


def joined(office: Office, args: Json, key: str = "channel") -> Channel:
    """Return a conversation that is not archived and that the bot is a member of."""
    found = channel(office, args, key)
    if found.archived:
        raise Refusal("is_archived")
    if BOT_USER not in found.members:
        raise Refusal("not_in_channel")
    return found


def message(found: Channel, ts: str, *, error: str = "message_not_found") -> Message:
    """Return a message that everybody in the channel sees."""
    row = found.messages.get(ts)
    if row is None or row.ephemeral_to:
        raise Refusal(error)
    return row
