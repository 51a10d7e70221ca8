"""chat.*: posting, updating and deleting messages."""

from bot.practice.workspace import limits
from bot.practice.workspace.arguments import flag, parsed, text
from bot.practice.workspace.methods import finding
from bot.practice.workspace.office import Office
from bot.practice.workspace.refusals import Json, Refusal
from bot.practice.workspace.shown import message_object
from bot.practice.workspace.state import BOT_USER, Channel, Message


def post_message(office: Office, args: Json) -> Json:
    """Post to a channel, given by id or name, or to a person's direct messages."""
    channel = _addressee(office, args)
    content = Content(args)
    message = Message(
        ts=office.world.next_ts(),
        channel=channel.id,
        user=BOT_USER,
        text=content.text[: limits.MESSAGE_TEXT_CUT],
        blocks=content.blocks,
        attachments=content.attachments,
        metadata=content.metadata,
        thread_ts=_thread(channel, args),
        extra=_authorship(office, args),
    )
    _broadcast(message, args)
    office.post(message)
    answer: Json = {
        "channel": channel.id,
        "ts": message.ts,
        "message": message_object(message, office.world, metadata=True),
    }
    if len(content.text) > limits.MESSAGE_TEXT_CUT:
        answer |= {"warning": "message_truncated", "response_metadata": {"warnings": ["message_truncated"]}}
    return answer


def _authorship(office: Office, args: Json) -> Json:
    """Return another name and icon; without chat:write.customize Slack passes over them without a word."""
    name, emoji, url = (text(args, key) for key in ("username", "icon_emoji", "icon_url"))
    if not (name or emoji or url) or "chat:write.customize" not in office.installation.scopes:
        return {}
    icons = {"emoji": emoji} if emoji else {"image_48": url} if url else {}
    return {"username": name or "stopsign", "subtype": "bot_message"} | ({"icons": icons} if icons else {})


def _broadcast(message: Message, args: Json) -> None:
    if message.thread_ts and flag(args, "reply_broadcast"):
        message.broadcast, message.subtype = True, "thread_broadcast"


def post_ephemeral(office: Office, args: Json) -> Json:
    """Show a message to one member of a channel."""
    channel = finding.joined(office, args)
    person = office.world.person(text(args, "user"))
    if person is None or person.id not in channel.members:
        raise Refusal("user_not_in_channel")
    content = Content(args)
    message = Message(
        ts=office.world.next_ts(),
        channel=channel.id,
        user=BOT_USER,
        text=content.text,
        blocks=content.blocks,
        attachments=content.attachments,
        thread_ts=_thread(channel, args),
        ephemeral_to=person.id,
    )
    office.post(message)
    return {"message_ts": message.ts}


def update(office: Office, args: Json) -> Json:
    """Change one of the bot's own messages; text without blocks removes the blocks."""
    channel = finding.channel(office, args)
    if channel.archived:
        raise Refusal("is_archived")
    message = finding.message(channel, text(args, "ts"))
    if not message.from_bot or message.subtype in limits.REMARKS:
        raise Refusal("cant_update_message")
    content = Content(args)
    if len(content.text) > limits.UPDATE_TEXT_MAX:
        raise Refusal("msg_too_long")
    before = message_object(message, office.world)
    rewrite(office, message, content)
    office.edited(message, before)
    shown = message_object(message, office.world, metadata=True)
    return {"channel": channel.id, "ts": message.ts, "text": message.text, "message": shown}


def delete(office: Office, args: Json) -> Json:
    """Delete one of the bot's own messages."""
    channel = finding.channel(office, args)
    message = finding.message(channel, text(args, "ts"))
    if channel.archived:
        raise Refusal("is_archived")
    if not message.from_bot or message.subtype in limits.REMARKS:
        raise Refusal("cant_delete_message")
    office.deleted(message)
    return {"channel": channel.id, "ts": message.ts}


def get_permalink(office: Office, args: Json) -> Json:
    """Return an address of a message; here it opens the workspace's page."""
    channel = finding.channel(office, args)
    message = finding.message(channel, text(args, "message_ts"))
    link = f"{office.world.origin}/archives/{channel.id}/p{message.ts.replace('.', '')}"
    return {"channel": channel.id, "permalink": link}


class Content:
    """What a message says: text, blocks, attachments, metadata; `given` are the arguments that were sent."""

    __slots__ = ("attachments", "blocks", "given", "metadata", "text")

    def __init__(self, args: Json) -> None:
        """Read and check the arguments; raises Refusal."""
        self.given = {key for key in ("text", "blocks", "attachments", "metadata") if args.get(key) is not None}
        self.text = text(args, "text")
        self.blocks: list[Json] = parsed(args, "blocks", "invalid_blocks_format") or []
        if text(args, "markdown_text"):
            self._take_markdown(text(args, "markdown_text"))
        self.attachments: list[Json] = parsed(args, "attachments", "invalid_attachments") or []
        self.metadata: Json | None = parsed(args, "metadata", "invalid_metadata_format")
        self._check()

    def _take_markdown(self, markdown: str) -> None:
        if self.given & {"text", "blocks"}:
            raise Refusal("markdown_text_conflict")
        if len(markdown) > limits.MARKDOWN_MAX:
            raise Refusal("msg_too_long")
        self.given |= {"text", "blocks"}
        self.text, self.blocks = markdown, [{"type": "markdown", "text": markdown}]

    def _check(self) -> None:
        if not isinstance(self.attachments, list) or not all(isinstance(item, dict) for item in self.attachments):
            raise Refusal("invalid_attachments")
        if len(self.attachments) > 100:
            raise Refusal("too_many_attachments")
        if not (self.text.strip() or self.blocks or self.attachments):
            raise Refusal("no_text")
        found = limits.block_problems(self.blocks, surface="message")
        for index, attachment in enumerate(self.attachments):
            at = f"/attachments/{index}/blocks"
            found += limits.block_problems(attachment.get("blocks", []), surface="message", at=at)
        if found:
            raise Refusal("invalid_blocks", messages=[str(problem) for problem in found])
        if limits.text_length(self.blocks) > limits.BLOCKS_TEXT_MAX:
            raise Refusal("msg_blocks_too_long")
        if self.metadata is not None and (error := limits.metadata_problem(self.metadata)):
            raise Refusal(error)


def rewrite(office: Office, message: Message, content: Content) -> None:
    """Put new content into a message; what is not given stays, but blocks go when only text is given."""
    if "text" in content.given:
        message.text = content.text
    if content.given & {"text", "blocks"}:
        message.blocks = content.blocks
        office.world.fill_ids(message.blocks)
    if "attachments" in content.given:
        message.attachments = content.attachments
    if "metadata" in content.given:
        message.metadata = content.metadata
    if "blocks" not in content.given:
        message.edited = office.world.next_ts()


def _addressee(office: Office, args: Json) -> Channel:
    wanted = text(args, "channel")
    world = office.world
    if person := world.person(wanted):
        if person.deleted:
            raise Refusal("channel_not_found")
        return world.direct_channel([person.id])
    named = world.channel_named(wanted.removeprefix("#"))
    found = finding.channel(office, {"channel": named.id if named else wanted})
    if found.kind == "public" and not found.archived and "chat:write.public" in office.installation.scopes:
        return found
    return finding.joined(office, {"channel": found.id})


def _thread(channel: Channel, args: Json) -> str | None:
    ts = text(args, "thread_ts")
    if not ts:
        return None
    root = finding.message(channel, ts, error="thread_not_found")
    if root.subtype in limits.REMARKS:
        raise Refusal("cannot_reply_to_message")
    return root.thread_ts or root.ts


METHODS = {
    "chat.postMessage": post_message,
    "chat.postEphemeral": post_ephemeral,
    "chat.update": update,
    "chat.delete": delete,
    "chat.getPermalink": get_permalink,
}
