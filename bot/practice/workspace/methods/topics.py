"""conversations.archive, unarchive, rename, setTopic, setPurpose: what a channel is called and whether it is open.

The acts are shared with people's hands, so that a channel tells the same whoever did it.
"""

from collections.abc import Callable

from bot.practice.workspace import events, limits
from bot.practice.workspace.arguments import text
from bot.practice.workspace.methods import finding
from bot.practice.workspace.office import Office
from bot.practice.workspace.refusals import Json, Refusal
from bot.practice.workspace.shown import channel_object
from bot.practice.workspace.state import BOT_USER, Channel

TOPIC_MAX = 250


def archive(office: Office, args: Json) -> Json:
    """Close a channel to new messages; the bot is thrown out of it and cannot come back by itself."""
    channel = finding.channel(office, args)
    if BOT_USER not in channel.members and not channel.archived:
        raise Refusal("not_in_channel")
    close(office, channel, BOT_USER)
    return {}


def close(office: Office, channel: Channel, user: str) -> None:
    """Archive a channel for anybody; raises Refusal."""
    if channel.archived:
        raise Refusal("already_archived")
    if channel.kind in ("im", "mpim"):
        raise Refusal("method_not_supported_for_channel_type")
    if channel.name == "general":
        raise Refusal("cant_archive_general")
    office.remark(channel, user, "channel_archive", "archived the channel", members=list(channel.members))
    office.tell(channel.id, events.channel_changed("channel_archive", channel, user, office.world))
    channel.archived = True
    if BOT_USER in channel.members:
        channel.members.remove(BOT_USER)
        channel.former.append(BOT_USER)
    office.world.changed()


def unarchive(office: Office, args: Json) -> Json:
    """Refuse: the bot is no member of an archived channel, so its token cannot open it (a bug that Slack documents)."""
    channel = finding.channel(office, args)
    if not channel.archived:
        raise Refusal("not_archived")
    raise Refusal("not_in_channel")


def reopen(office: Office, channel: Channel, user: str) -> None:
    """Unarchive a channel for a person; a bot that was in it stays outside until it is let in; raises Refusal."""
    if not channel.archived:
        raise Refusal("not_archived")
    channel.archived = False
    channel.former.clear()
    office.remark(channel, user, "channel_unarchive", "un-archived the channel")
    office.announce(events.channel_changed("channel_unarchive", channel, user, office.world))


def rename(office: Office, args: Json) -> Json:
    """Give a channel another name."""
    channel = finding.joined(office, args)
    call(office, channel, BOT_USER, text(args, "name"))
    return {"channel": channel_object(channel, office.world)}


def call(office: Office, channel: Channel, user: str, name: str) -> None:
    """Rename a channel for anybody; raises Refusal."""
    if error := limits.name_problem(name):
        raise Refusal(error)
    if office.world.channel_named(name):
        raise Refusal("name_taken")
    old, channel.name = channel.name, name
    said = f'has renamed the channel from "{old}" to "{name}"'
    office.remark(channel, user, "channel_name", said, old_name=old, name=name)
    office.tell(channel.id, events.channel_changed("channel_rename", channel, user, office.world))


def set_topic(office: Office, args: Json) -> Json:
    """Set a channel's topic, up to 250 characters."""
    channel = finding.joined(office, args)
    say_topic(office, channel, BOT_USER, text(args, "topic"))
    return {"channel": channel_object(channel, office.world)}


def say_topic(office: Office, channel: Channel, user: str, topic: str) -> None:
    """Set the topic for anybody; the same topic again says nothing; raises Refusal."""
    if len(topic) > TOPIC_MAX:
        raise Refusal("too_long")
    if topic == channel.topic:
        return
    channel.topic = topic
    said = f"set the channel topic: {topic}" if topic else "cleared the channel topic"
    office.remark(channel, user, "channel_topic", said, topic=topic)


def set_purpose(office: Office, args: Json) -> Json:
    """Set a channel's purpose, up to 250 characters."""
    channel = finding.joined(office, args)
    purpose = text(args, "purpose")
    if len(purpose) > TOPIC_MAX:
        raise Refusal("too_long")
    if purpose != channel.purpose:
        channel.purpose = purpose
        said = f"set the channel description: {purpose}" if purpose else "cleared the channel description"
        office.remark(channel, BOT_USER, "channel_purpose", said, purpose=purpose)
    return {"purpose": purpose}


METHODS: dict[str, Callable[[Office, Json], Json]] = {
    "conversations.archive": archive,
    "conversations.unarchive": unarchive,
    "conversations.rename": rename,
    "conversations.setTopic": set_topic,
    "conversations.setPurpose": set_purpose,
}
