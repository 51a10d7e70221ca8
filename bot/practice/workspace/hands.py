"""What people do that the bot must answer: commands, presses, shortcuts, menus. Each act tells what it answered.

An act that the person could not do in Slack either (not a member, no such button) raises Refusal and reaches nobody.
"""

import asyncio
from collections.abc import Mapping
from typing import Any

from bot.practice.workspace import payloads, reading
from bot.practice.workspace import values as states
from bot.practice.workspace.acks import Ack
from bot.practice.workspace.forms import filed
from bot.practice.workspace.methods import finding
from bot.practice.workspace.methods.chat import Content
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
        person, room = self.at_open(user, channel)
        if not text.strip().startswith("/"):
            raise Refusal("not_a_command")
        known, word = self.office.installation.commands, text.split()[0]
        if known is not None and word not in known:
            seen = self.notice(person, room, f"`{word}` is not a valid command.")
            return {"ok": False, "ack": None, "saw": [reading.message_row(seen, room)], "view": None}
        trigger = self.world.new_trigger(person.id)
        form = payloads.slash_command(
            person,
            room,
            text,
            trigger_id=trigger,
            response_url=self.world.new_response_url(person.id, room.id),
        )
        ack = await self.office.deliveries.command(form)
        answered = self._command_answer(ack, person, room, form["command"])
        return await self.told(ack, trigger=trigger, wait_view=wait_view, saw=[answered] if answered else [])

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
        values: Mapping[str, Any] | None = None,
        wait_view: bool = False,
    ) -> Json:
        """Press a button or pick from a menu, in a message or (with `view_id`) in a modal or home tab.

        `values` is what stands in the view's other fields at that moment.
        """
        if view_id:
            return await self._press_in_view(user, view_id, action_id, block_id, given, values or {}, wait_view)
        person, room, message = self.seen(user, channel, ts)
        blocks = self.offered(user, message.ts, blocks_of(message))
        block, element = find_element(blocks, action_id, block_id)
        action = states.action_of(block, element, given, self.world.next_ts())
        picked = message.picked.setdefault(person.id, {})
        if element["type"] not in ("button", "overflow"):
            picked.setdefault(block["block_id"], {})[element["action_id"]] = states.state_of(element, given)
        trigger = self.world.new_trigger(person.id)
        payload = payloads.message_actions(
            person,
            room,
            message,
            action,
            world=self.world,
            state=states.merged(states.initial_states(blocks), picked),
            trigger_id=trigger,
            response_url=self.world.new_response_url(
                person.id, room.id, message_ts=message.ts, thread_ts=message.thread_ts
            ),
        )
        ack = await self.office.deliveries.interaction(payload)
        saw = [] if ack.ok else [self.notice(person, room, f'The button failed with the error "{ack.error}"')]
        return await self.told(ack, trigger=trigger, wait_view=wait_view, saw=saw)

    async def _press_in_view(
        self,
        user: str,
        view_id: str,
        action_id: str,
        block_id: str | None,
        given: Any,
        beside: Mapping[str, Any],
        wait_view: bool,
    ) -> Json:
        person, view = self.person(user), self.view_of(user, view_id)
        blocks = self.offered(user, view.id, view.body["blocks"])
        block, element = find_element(blocks, action_id, block_id)
        action = states.action_of(block, element, given, self.world.next_ts())
        picked = view.values | states.filled_in(blocks, filed(self.office, user, blocks, beside))
        if element["type"] not in ("button", "overflow"):
            state = states.state_of(element, given)
            picked[block["block_id"]] = picked.get(block["block_id"], {}) | {element["action_id"]: state}
        view.values = states.merged(states.initial_states(blocks), picked)
        in_modal = view in self.world.stacks.get(user, [])
        trigger = self.world.new_trigger(person.id, view=view.id if in_modal else None)
        ack = await self.office.deliveries.interaction(payloads.view_actions(person, view, action, trigger_id=trigger))
        return await self.told(ack, trigger=trigger, wait_view=wait_view)

    async def suggest(
        self,
        user: str,
        action_id: str,
        *,
        channel: str = "",
        ts: str = "",
        view_id: str = "",
        block_id: str | None = None,
        value: str = "",
    ) -> Json:
        """Type into an external menu and return the bot's options (and groups of them)."""
        person = self.person(user)
        if view_id:
            view = self.view_of(user, view_id)
            place, blocks, container = view.id, view.body["blocks"], {"type": "view", "view_id": view.id}
            where: Json = {"view": view_object(view)}
        else:
            person, room, message = self.seen(user, channel, ts)
            place, blocks, container = message.ts, blocks_of(message), payloads.message_container(room, message)
            where = {"channel": payloads.named(room), "message": message_object(message, self.world)}
        block, element = find_element(blocks, action_id, block_id)
        if element["type"] not in states.EXTERNAL or len(value) < element.get("min_query_length", 3):
            raise Refusal("no_query")
        ack = await self.office.deliveries.interaction(
            payloads.suggestion(person, container, block, element, value, **where)
        )
        options = states.suggested(ack.body) if ack.ok else None
        if options is not None:
            self.world.suggested[f"{user} {place}", block["block_id"], element["action_id"]] = options
        groups = ack.body.get("option_groups") if isinstance(ack.body, dict) else None
        return {"ok": options is not None, "ack": ack.row(), "options": options or [], "option_groups": groups}

    def offered(self, user: str, place: str, blocks: list[Json]) -> list[Json]:
        """Return the blocks with the options that external menus last showed to the person."""
        return states.with_options(
            blocks, lambda block, action: self.world.suggested.get((f"{user} {place}", block, action), [])
        )

    async def global_shortcut(self, user: str, callback_id: str, *, wait_view: bool = False) -> Json:
        """Use a shortcut of the app, wherever one is."""
        person = self.person(user)
        if callback_id not in self.office.installation.global_shortcuts:
            raise Refusal("shortcut_not_found", extra={"shortcuts": list(self.office.installation.global_shortcuts)})
        trigger = self.world.new_trigger(person.id)
        payload = payloads.global_shortcut(person, callback_id, world=self.world, trigger_id=trigger)
        ack = await self.office.deliveries.interaction(payload)
        return await self.told(ack, trigger=trigger, wait_view=wait_view)

    async def shortcut(self, user: str, channel: str, ts: str, callback_id: str, *, wait_view: bool = False) -> Json:
        """Use a message shortcut on a message."""
        if callback_id not in self.office.installation.message_shortcuts:
            raise Refusal("shortcut_not_found", extra={"shortcuts": list(self.office.installation.message_shortcuts)})
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

    def at_open(self, user: str, channel: str) -> tuple[Person, Channel]:
        """Return the person and the channel, which must not be archived."""
        person, room = self.at(user, channel)
        if room.archived:
            raise Refusal("is_archived")
        return person, room

    def seen(self, user: str, channel: str, ts: str) -> tuple[Person, Channel, Message]:
        """Return also a message that the person sees there."""
        person, room = self.at(user, channel)
        message = room.messages.get(ts)
        if message is None or message.ephemeral_to not in (None, person.id):
            raise Refusal("message_not_found")
        return person, room, message

    def view_of(self, user: str, view_id: str) -> View:
        """Return a person's own open modal or home tab."""
        view = self.world.view(view_id)
        if view is None or view.user != user:
            raise Refusal("view_not_found")
        return view


def blocks_of(message: Message) -> list[Json]:
    """Return all blocks of a message, those in attachments too."""
    return [*message.blocks, *(block for item in message.attachments for block in item.get("blocks", []))]


def find_element(blocks: list[Json], action_id: str, block_id: str | None) -> tuple[Json, Json]:
    """Return the block and element with that action_id (in that block); raises Refusal naming what there is."""
    known: list[str] = []
    for block in blocks:
        for element in elements_of(block):
            known.append(str(element.get("action_id")))
            if element.get("action_id") == action_id and block_id in (None, block["block_id"]):
                return block, element
    raise Refusal("action_not_found", extra={"actions": known})
