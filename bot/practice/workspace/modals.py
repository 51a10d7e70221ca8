"""What people do with an open modal: submit it, close it; and what the bot's answer does to the stack."""

from collections.abc import Mapping
from typing import Any

from bot.practice.workspace import payloads, values
from bot.practice.workspace.acks import Ack
from bot.practice.workspace.forms import filed
from bot.practice.workspace.hands import Hands
from bot.practice.workspace.methods.views import STACK_MAX, checked_view, new_view, replace_body
from bot.practice.workspace.refusals import Json, Refusal
from bot.practice.workspace.shown import view_object
from bot.practice.workspace.state import View, World

TROUBLE = "We had some trouble connecting. Try again?"


class Modals:
    """Modals in people's hands."""

    def __init__(self, hands: Hands) -> None:
        """Use these hands."""
        self._hands = hands
        self._world = hands.world

    async def submit(self, user: str, given: Mapping[str, Any], *, view_id: str = "", wait_view: bool = False) -> Json:
        """Submit the top modal (or the one named) with what the person put in.

        The answer has `errors` (block_id to sentence) when the client or the bot refused the input, and `open`: the
        modals that are on the screen afterwards, the top one last.
        """
        person, view = self._hands.person(user), self._top(user, view_id)
        if not view.body.get("submit"):
            raise Refusal("no_submit_button")
        blocks = self._hands.offered(user, view.id, view.body["blocks"])
        picked = view.values | values.filled_in(blocks, filed(self._hands.office, user, blocks, given))
        view.values = values.merged(values.initial_states(blocks), picked)
        if errors := values.complaints(blocks, view.values):
            return {"ok": False, "ack": None, "saw": [], "view": None, "errors": errors, "open": self._open(user)}
        trigger = self._world.new_trigger(person.id, view=view.id)
        urls = self._response_urls(user, view)
        payload = payloads.view_submission(person, view, trigger_id=trigger, response_urls=urls)
        ack = await self._hands.office.deliveries.interaction(payload)
        errors = self._settle(view, ack)
        answer = await self._hands.told(ack, trigger=trigger, wait_view=wait_view and not errors)
        return answer | {"ok": ack.ok and not errors, "errors": errors, "open": self._open(user)}

    async def close(self, user: str, *, view_id: str = "", everything: bool = False) -> Json:
        """Close the top modal, or all; the bot hears of it where the modal asked for that."""
        person, view = self._hands.person(user), self._top(user, view_id)
        stack = self._world.stacks[user]
        cleared = everything or bool(view.body.get("clear_on_close"))
        gone = list(reversed(stack)) if cleared else [view]
        self._world.stacks[user] = [left for left in stack if left not in gone]
        self._world.changed()
        for one in gone:
            if one.body.get("notify_on_close"):
                await self._hands.office.deliveries.interaction(payloads.view_closed(person, one, cleared=cleared))
        return {"open": self._open(user)}

    def _top(self, user: str, view_id: str) -> View:
        stack = self._world.stacks.get(user, [])
        if not stack or (view_id and stack[-1].id != view_id):
            raise Refusal("view_not_found")
        return stack[-1]

    def _response_urls(self, user: str, view: View) -> list[Json]:
        """Return an address for each conversation picked in a menu that has `response_url_enabled`."""
        rows: list[Json] = []
        for block in view.body["blocks"]:
            element = block.get("element", {})
            state = view.values.get(block["block_id"], {}).get(element.get("action_id"), {})
            picked = state.get("selected_conversation") or state.get("selected_channel")
            if element.get("response_url_enabled") and picked in self._world.channels:
                url = self._world.new_response_url(user, picked)
                ids = {"block_id": block["block_id"], "action_id": element["action_id"]}
                rows.append(ids | {"channel_id": picked, "response_url": url})
        return rows

    def _open(self, user: str) -> list[Json]:
        return [view_object(view) for view in self._world.stacks.get(user, [])]

    def _settle(self, view: View, ack: Ack) -> dict[str, str]:
        """Do to the stack what the answer says; return the errors to show, the key "" being the modal's own."""
        if not ack.ok:
            return {"": TROUBLE}
        stack = self._world.stacks[view.user]
        if ack.body in (None, "", {}):
            stack.remove(view)
            self._world.changed()
            return {}
        try:
            return respond(self._world, view, ack.body)
        except Refusal as refusal:
            row = {"method": "ack", "args": ack.body, "result": refusal.body(), "at": self._world.clock()}
            self._hands.office.calls.append(row)
            return {"": TROUBLE}


def respond(world: World, view: View, body: Any) -> dict[str, str]:
    """Carry out a response_action; return its errors; raises Refusal for one that Slack would not take."""
    if not isinstance(body, dict):
        raise Refusal("invalid_response_action")
    action = body.get("response_action")
    stack = world.stacks[view.user]
    if action == "errors":
        return _errors(view, body.get("errors"))
    if action == "clear":
        stack.clear()
    elif action == "update":
        replace_body(world, view, checked_view(world, body.get("view"), ("modal",)))
    elif action == "push":
        if len(stack) >= STACK_MAX:
            raise Refusal("push_limit_reached")
        stack.append(new_view(world, view.user, checked_view(world, body.get("view"), ("modal",)), on=view))
    else:
        raise Refusal("invalid_response_action")
    world.changed()
    return {}


def _errors(view: View, errors: Any) -> dict[str, str]:
    inputs = {block["block_id"] for block in view.body["blocks"] if block["type"] == "input"}
    if not isinstance(errors, dict) or not errors or not set(errors) <= inputs:
        raise Refusal("invalid_response_action")
    return {str(block_id): str(sentence) for block_id, sentence in errors.items()}
