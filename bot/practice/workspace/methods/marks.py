"""pins.*, reactions.*: what is put on messages."""

import re

from bot.practice.workspace import events
from bot.practice.workspace.arguments import text
from bot.practice.workspace.methods import finding
from bot.practice.workspace.office import Office
from bot.practice.workspace.refusals import Json, Refusal
from bot.practice.workspace.shown import message_object, reactions
from bot.practice.workspace.state import BOT_USER, Channel, Message

PINS_MAX = 100
EMOJI_MAX = 23
_EMOJI = re.compile(r"[a-z0-9_+'-]{1,100}(::skin-tone-[2-6])?")


def add_pin(office: Office, args: Json) -> Json:
    """Pin a message to its channel."""
    channel, message = _pinnable(office, args)
    if message.ts in channel.pins:
        raise Refusal("already_pinned")
    if len(channel.pins) >= PINS_MAX:
        raise Refusal("too_many_pins")
    channel.pins.append(message.ts)
    office.world.changed()
    office.tell(channel.id, events.pinned("pin_added", channel, message, BOT_USER, office.world))
    return {}


def remove_pin(office: Office, args: Json) -> Json:
    """Take a pin off a message."""
    channel, message = _pinnable(office, args)
    if message.ts not in channel.pins:
        raise Refusal("no_pin")
    channel.pins.remove(message.ts)
    office.world.changed()
    office.tell(channel.id, events.pinned("pin_removed", channel, message, BOT_USER, office.world))
    return {}


def list_pins(office: Office, args: Json) -> Json:
    """Return a channel's pinned messages, the newest pin first."""
    channel = finding.channel(office, args)
    items = [
        {
            "type": "message",
            "channel": channel.id,
            "created": int(float(ts)),
            "created_by": BOT_USER,
            "message": message_object(channel.messages[ts], office.world),
        }
        for ts in reversed(channel.pins)
    ]
    return {"items": items}


def _pinnable(office: Office, args: Json) -> tuple[Channel, Message]:
    channel = finding.joined(office, args)
    ts = text(args, "timestamp")
    if not ts:
        raise Refusal("no_item_specified")
    if not re.fullmatch(r"\d+\.\d{6}", ts):
        raise Refusal("bad_timestamp")
    return channel, finding.message(channel, ts)


def add_reaction(office: Office, args: Json) -> Json:
    """Put the bot's reaction on a message."""
    message, name = _reactable(office, args)
    react(office, message, BOT_USER, name)
    return {}


def react(office: Office, message: Message, user: str, name: str) -> None:
    """Put anybody's reaction on a message and tell the bot; raises Refusal."""
    if not _EMOJI.fullmatch(name):
        raise Refusal("invalid_name")
    if user in message.reactions.get(name, []):
        raise Refusal("already_reacted")
    if name not in message.reactions and len(message.reactions) >= EMOJI_MAX:
        raise Refusal("too_many_emoji")
    message.reactions.setdefault(name, []).append(user)
    office.reacted("reaction_added", message, user, name)


def remove_reaction(office: Office, args: Json) -> Json:
    """Take the bot's reaction off a message."""
    message, name = _reactable(office, args)
    unreact(office, message, BOT_USER, name)
    return {}


def unreact(office: Office, message: Message, user: str, name: str) -> None:
    """Take anybody's reaction off a message and tell the bot; raises Refusal."""
    if user not in message.reactions.get(name, []):
        raise Refusal("no_reaction")
    message.reactions[name].remove(user)
    if not message.reactions[name]:
        del message.reactions[name]
    office.reacted("reaction_removed", message, user, name)


def get_reactions(office: Office, args: Json) -> Json:
    """Return a message with its reactions."""
    channel = finding.channel(office, args)
    message = finding.message(channel, text(args, "timestamp"))
    shown = message_object(message, office.world) | {"reactions": reactions(message)}
    return {"type": "message", "channel": channel.id, "message": shown}


def _reactable(office: Office, args: Json) -> tuple[Message, str]:
    channel = finding.joined(office, args)
    if not text(args, "timestamp"):
        raise Refusal("no_item_specified")
    return finding.message(channel, text(args, "timestamp")), text(args, "name").strip(":")


METHODS = {
    "pins.add": add_pin,
    "pins.remove": remove_pin,
    "pins.list": list_pins,
    "reactions.add": add_reaction,
    "reactions.remove": remove_reaction,
    "reactions.get": get_reactions,
}
