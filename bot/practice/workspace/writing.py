"""What people write: messages, their edits and deletions, reactions, files. The bot hears of it by events alone."""

import secrets
import uuid
from collections.abc import Sequence

from bot.practice.workspace import limits, reading
from bot.practice.workspace.hands import Hands
from bot.practice.workspace.methods import finding, marks
from bot.practice.workspace.methods.files import content_of, new_file
from bot.practice.workspace.refusals import Json, Refusal
from bot.practice.workspace.shown import message_object
from bot.practice.workspace.state import Channel, Message

FILES_MAX = 10


class Writing:
    """The pens of all people."""

    def __init__(self, hands: Hands) -> None:
        """Use these hands."""
        self._hands = hands
        self._office = hands.office
        self._world = hands.world

    def say(self, user: str, channel: str, text: str, *, thread_ts: str | None = None, broadcast: bool = False) -> Json:
        """Write a message, encoded as Slack does: `<@U1>` for mentions, `&amp;`, `&lt;` and `&gt;`."""
        person, room = self._hands.at_open(user, channel)
        if not text.strip():
            raise Refusal("no_text")
        thread_ts = _thread(room, thread_ts)
        message = Message(
            ts=self._world.next_ts(),
            channel=room.id,
            user=person.id,
            text=text,
            thread_ts=thread_ts,
            subtype="thread_broadcast" if thread_ts and broadcast else None,
            broadcast=bool(thread_ts and broadcast),
            extra={"client_msg_id": str(uuid.UUID(bytes=secrets.token_bytes(16), version=4))},
        )
        return {"message": reading.message_row(self._office.post(message), room)}

    def edit(self, user: str, channel: str, ts: str, text: str) -> Json:
        """Edit one's own message; the same text again changes nothing."""
        message = self._own(user, channel, ts)
        if not text.strip() and not message.files:
            raise Refusal("no_text")
        if text == message.text:
            return {"changed": False}
        before = message_object(message, self._world)
        message.text, message.edited = text, self._world.next_ts()
        self._office.edited(message, before)
        return {"changed": True}

    def delete(self, user: str, channel: str, ts: str) -> Json:
        """Delete one's own message."""
        self._office.deleted(self._own(user, channel, ts))
        return {}

    def react(self, user: str, channel: str, ts: str, name: str, *, remove: bool = False) -> Json:
        """Put a reaction on a message, or take it off."""
        person, room = self._hands.at_open(user, channel)
        act = marks.unreact if remove else marks.react
        act(self._office, finding.message(room, ts), person.id, name.strip(":"))
        return {}

    def upload(
        self, user: str, channel: str, files: Sequence[Json], *, text: str = "", thread_ts: str | None = None
    ) -> Json:
        """Post up to ten files in one message; each is {filename, title?, content or base64}."""
        person, room = self._hands.at_open(user, channel)
        if not 1 <= len(files) <= FILES_MAX:
            raise Refusal("invalid_arguments", messages=["1 to 10 files are expected"])
        made = [
            new_file(self._office, str(row["filename"]), user=person.id, content=content_of(row))
            for row in files
            if row.get("filename")
        ]
        if len(made) != len(files):
            raise Refusal("invalid_arguments", messages=["missing required field: filename"])
        for file, row in zip(made, files, strict=True):
            file.title = str(row.get("title") or file.name)
        message = self._office.share(made, room, text=text, thread_ts=_thread(room, thread_ts))
        ids = [file.id for file in made]
        return {"file": ids[0], "files": ids, "message": reading.message_row(message, room)}

    def _own(self, user: str, channel: str, ts: str) -> Message:
        person, room = self._hands.at_open(user, channel)
        message = finding.message(room, ts)
        if message.user != person.id or message.subtype in limits.REMARKS:
            raise Refusal("not_your_message")
        return message


def _thread(room: Channel, thread_ts: str | None) -> str | None:
    if not thread_ts:
        return None
    return finding.message(room, thread_ts, error="thread_not_found").thread_ts or thread_ts
