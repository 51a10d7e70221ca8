"""What people do: commands, presses, shortcuts, messages, reactions. Each act tells what the bot answered.

An act that the person could not do in Slack either (not a member, no such button) raises Refusal and reaches nobody.
"""

import asyncio
from typing import Any

from bot.practice.workspace import payloads, reading, values
from bot.practice.workspace.deliveries import Ack
from bot.practice.workspace.methods import finding, marks
from bot.practice.workspace.methods.chat import Content
from bot.practice.workspace.methods.files import new_file
from bot.practice.workspace.office import Office
from bot.practice.workspace.people import Person
from bot.practice.workspace.refusals import Json, Refusal
from bot.practice.workspace.shown import message_object, view_object
from bot.practice.workspace.state import BOT_USER, SLACKBOT, Channel, Message, View, elements_of

VIEW_WAIT_SECONDS = 3.0


class Hands:
    """The hands of all people; `office` is where they are."""

    def __init__(self, office: Office) -> None:
        """Work in this office."""
        self.office = office
        self.world = office.world

    async def command(self, user: str, channel: str, text: str, *, wait_view: bool = False) -> Json:
        """Type a slash command and return what the person sees."""
        person, room = self.at(user, channel)
        if not text.strip().startswith("/"):
            raise Refusal("not_a_command")
        trigger = self.world.new_trigger(person.id)
        form = payloads.slash_command(
            person,
            room,
            text,
            trigger_id=trigger,
            response_url=self.world.new_response_url(person.id, room.id),
        )
        ack = await self.office.deliveries.command(form)
        seen = self._command_answer(ack, person, room, form["command"])
        return await self.told(ack, trigger=trigger, wait_view=wait_view, saw=[seen] if seen else [])

    def _command_answer(self, ack: Ack, person: Person, room: Channel, command: str) -> Message | None:
        if not ack.ok:
            return self.notice(person, room, f'{command} failed with the error "{ack.error}"')
        if not ack.body:
            return None
        body = ack.body if isinstance(ack.body, dict) else {"text": str(ack.body)}
        try:
            content = Content(body)
        except Refusal as refusal:
            self.office.calls.append(
                {"method": "ack", "args": body, "result": refusal.body(), "at": self.world.clock()}
            )
            return self.notice(person, room, f'{command} failed with the error "invalid_command_response"')
        shown_to_all = body.get("response_type") == "in_channel"
        return self.office.post(
            Message(
                ts=self.world.next_ts(),
                channel=room.id,
                user=BOT_USER,
                text=content.text,
                blocks=content.blocks,
                attachments=content.attachments,
                ephemeral_to=None if shown_to_all else person.id,
            )
        )

    async def press(
        self,
        user: str,
        action_id: str,
        *,
        channel: str = "",
        ts: str = "",
        view_id: str = "",
        block_id: str | None = None,
        given: Any = None,
        wait_view: bool = False,
    ) -> Json:
        """Press a button or pick from a menu, in a message or (with `view_id`) in a modal or home tab."""
        if view_id:
            return await self._press_in_view(user, view_id, action_id, block_id, given, wait_view=wait_view)
        person, room = self.at(user, channel)
        message = room.messages.get(ts)
        if message is None or message.ephemeral_to not in (None, person.id):
            raise Refusal("message_not_found")
        blocks = [*message.blocks, *(b for a in message.attachments for b in a.get("blocks", []))]
        block, element = find_element(blocks, action_id, block_id)
        action = values.action_of(block, element, given, self.world.next_ts())
        picked = message.picked.setdefault(person.id, {})
        if element["type"] not in ("button", "overflow"):
            picked.setdefault(block["block_id"], {})[element["action_id"]] = values.state_of(element, given)
        trigger = self.world.new_trigger(person.id)
        payload = payloads.message_actions(
            person,
            room,
            message,
            action,
            world=self.world,
            state=values.merged(values.initial_states(blocks), picked),
            trigger_id=trigger,
            response_url=self.world.new_response_url(
                person.id, room.id, message_ts=message.ts, thread_ts=message.thread_ts
            ),
        )
        ack = await self.office.deliveries.interaction(payload)
        saw = [] if ack.ok else [self.notice(person, room, f'The button failed with the error "{ack.error}"')]
        return await self.told(ack, trigger=trigger, wait_view=wait_view, saw=saw)

    async def _press_in_view(
        self, user: str, view_id: str, action_id: str, block_id: str | None, given: Any, *, wait_view: bool
    ) -> Json:
        person, view = self.person(user), self.view_of(user, view_id)
        block, element = find_element(view.body["blocks"], action_id, block_id)
        action = values.action_of(block, element, given, self.world.next_ts())
        if element["type"] not in ("button", "overflow"):
            state = values.state_of(element, given)
            view.values.setdefault(block["block_id"], {})[element["action_id"]] = state
        trigger = self.world.new_trigger(person.id, view=view.id)
        ack = await self.office.deliveries.interaction(payloads.view_actions(person, view, action, trigger_id=trigger))
        return await self.told(ack, trigger=trigger, wait_view=wait_view)

    async def shortcut(self, user: str, channel: str, ts: str, callback_id: str, *, wait_view: bool = False) -> Json:
        """Use a message shortcut on a message."""
        person, room = self.at(user, channel)
        message = finding.message(room, ts)
        trigger = self.world.new_trigger(person.id)
        url = self.world.new_response_url(person.id, room.id, message_ts=ts)
        payload = payloads.message_shortcut(
            person, message, room, callback_id, world=self.world, trigger_id=trigger, url=url
        )
        ack = await self.office.deliveries.interaction(payload)
        saw = [] if ack.ok else [self.notice(person, room, f'The shortcut failed with the error "{ack.error}"')]
        return await self.told(ack, trigger=trigger, wait_view=wait_view, saw=saw)

    def say(self, user: str, channel: str, text: str, *, thread_ts: str | None = None) -> Json:
        """Write a message."""
        person, room = self.at(user, channel)
        if room.archived:
            raise Refusal("is_archived")
        if not text.strip():
            raise Refusal("no_text")
        if thread_ts:
            thread_ts = finding.message(room, thread_ts, error="thread_not_found").thread_ts or thread_ts
        message = Message(ts=self.world.next_ts(), channel=room.id, user=person.id, text=text, thread_ts=thread_ts)
        return {"message": reading.message_row(self.office.post(message), room)}

    def edit(self, user: str, channel: str, ts: str, text: str) -> Json:
        """Edit one's own message."""
        message = self._own(user, channel, ts)
        before = message_object(message, self.world)
        message.text, message.edited = text, self.world.next_ts()
        self.office.edited(message, before)
        return {}

    def delete(self, user: str, channel: str, ts: str) -> Json:
        """Delete one's own message."""
        self.office.deleted(self._own(user, channel, ts))
        return {}

    def react(self, user: str, channel: str, ts: str, name: str, *, remove: bool = False) -> Json:
        """Put a reaction on a message, or take it off."""
        person, room = self.at(user, channel)
        act = marks.unreact if remove else marks.react
        act(self.office, finding.message(room, ts), person.id, name.strip(":"))
        return {}

    def upload(self, user: str, channel: str, filename: str, content: bytes, *, text: str = "") -> Json:
        """Post a file."""
        person, room = self.at(user, channel)
        file = new_file(self.office, filename, user=person.id, content=content)
        message = self.office.share([file], room, text=text)
        return {"file": file.id, "message": reading.message_row(message, room)}

    def join(self, user: str, channel: str) -> Json:
        """Join a channel (an outsider: be let into it)."""
        person, room = self.person(user), self.room(channel)
        if person.id not in room.members:
            self.office.joined(room, person.id)
        return {}

    def look_at_home(self, user: str) -> Json:
        """Open the app's home tab."""
        person = self.person(user)
        view = self.world.homes.get(person.id)
        room = self.world.direct_channel([person.id])
        event: Json = {
            "type": "app_home_opened",
            "user": person.id,
            "channel": room.id,
            "tab": "home",
            "event_ts": self.world.next_ts(),
        }
        self.office.deliveries.event(event | ({"view": view_object(view)} if view else {}))
        return {"channel": room.id}

    async def told(
        self, ack: Ack, *, trigger: str, wait_view: bool, saw: list[Message] | None = None, **more: Any
    ) -> Json:
        """Return the answer to an act; with `wait_view` once the trigger opened a view, or after three seconds."""
        if wait_view and ack.ok:
            await self._until_opened(trigger)
        opened = self.world.triggers[trigger].opened
        view = self.world.view(opened) if opened else None
        rows = [reading.message_row(message, self.world.channels[message.channel]) for message in saw or []]
        return {"ok": ack.ok, "ack": ack.row(), "saw": rows, "view": view_object(view) if view else None, **more}

    async def _until_opened(self, trigger: str) -> None:
        try:
            async with asyncio.timeout(VIEW_WAIT_SECONDS):
                while self.world.triggers[trigger].opened is None and not self.world.closed:
                    await self.world.next_change(self.world.seq)
        except TimeoutError:
            return

    def notice(self, person: Person, room: Channel, text: str) -> Message:
        """Show a person what Slack itself says."""
        message = Message(ts=self.world.next_ts(), channel=room.id, user=SLACKBOT, text=text, ephemeral_to=person.id)
        return self.office.post(message)

    def person(self, user: str) -> Person:
        """Return who acts; the bot's own account has no hands."""
        found = self.world.person(user)
        if found is None or found.id == BOT_USER:
            raise Refusal("person_not_found")
        return found

    def room(self, channel: str) -> Channel:
        """Return a channel by id or name."""
        found = self.world.channels.get(channel) or self.world.channel_named(channel.removeprefix("#"))
        if found is None:
            raise Refusal("channel_not_found")
        return found

    def at(self, user: str, channel: str) -> tuple[Person, Channel]:
        """Return the person and the channel, of which the person must be a member."""
        person, room = self.person(user), self.room(channel)
        if person.id not in room.members:
            raise Refusal("not_in_channel")
        return person, room

    def view_of(self, user: str, view_id: str) -> View:
        """Return a person's own open modal or home tab."""
        view = self.world.view(view_id)
        if view is None or view.user != user:
            raise Refusal("view_not_found")
        return view

    def _own(self, user: str, channel: str, ts: str) -> Message:
        person, room = self.at(user, channel)
        message = finding.message(room, ts)
        if message.user != person.id:
            raise Refusal("not_your_message")
        return message


def find_element(blocks: list[Json], action_id: str, block_id: str | None) -> tuple[Json, Json]:
    """Return the block and element with that action_id (in that block); raises Refusal naming what there is."""
    known: list[str] = []
    for block in blocks:
        for element in elements_of(block):
            known.append(str(element.get("action_id")))
            if element.get("action_id") == action_id and block_id in (None, block["block_id"]):
                return block, element
    raise Refusal("action_not_found", extra={"actions": known})
