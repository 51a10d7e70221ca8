"""Bolt's listeners: who, what, one decision, one answer. They call no Slack API and acknowledge last."""

import logging
import re
from typing import Any

from slack_bolt.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult
from slack_bolt.response import BoltResponse
from slack_sdk.web.async_client import AsyncWebClient

from bot.chat import actions
from bot.chat.answers import Answer
from bot.chat.directory import Directory
from bot.chat.forms import Forms
from bot.chat.front import Front, act_of
from bot.chat.orders import Orders
from bot.chat.presses import Presses
from bot.errors import StopsignError

log = logging.getLogger(__name__)

ANY = re.compile(".*")
PIN = "pushpin"


def bolt_app(
    *,
    front: Front,
    forms: Forms,
    orders: Orders,
    presses: Presses,
    directory: Directory,
    signing_secret: str,
    command: str,
) -> AsyncApp:
    """Return the Bolt app. Its own client has no token: what is said goes through the work table."""

    async def authorize(enterprise_id: str | None, team_id: str | None) -> AuthorizeResult:
        # Bolt would ask Slack's auth.test here and refuse everybody while Slack is slow; the guard has verified
        # the request, and each listener identifies its person.
        me = directory.known_self
        return AuthorizeResult(
            enterprise_id=enterprise_id,
            team_id=team_id,
            bot_token="",
            bot_user_id=me.user if me else None,
        )

    app = AsyncApp(
        name="stopsign",
        client=AsyncWebClient(retry_handlers=[]),
        signing_secret=signing_secret,
        authorize=authorize,
        process_before_response=True,
        attaching_function_token_enabled=False,
        attaching_conversation_kwargs_enabled=False,
    )
    app.error(failed)
    app.command(command)(_command(front, orders))
    app.action(ANY)(_action(front, presses))
    app.view(ANY)(_view(front, forms))
    app.shortcut(ANY)(_shortcut(front, forms))
    app.event("reaction_added")(_reaction(front))
    app.event("app_home_opened")(_home(front))
    app.event("message")(_message(front))
    app.event(ANY)(_other)
    return app


async def failed(error: Exception) -> BoltResponse:
    """Answer what could not be handled: sent again later if it was not stored, else not Slack's doing."""
    log.error("a request of Slack's failed", exc_info=error)
    return BoltResponse(status=503 if isinstance(error, StopsignError) else 400)


def _command(front: Front, orders: Orders) -> Any:
    async def command(ack: Any, body: dict[str, Any]) -> None:
        act = act_of(body)
        given = await front.in_time(act, lambda caller: orders.typed(caller, str(body.get("text") or "")))
        left = given if given.form is None else await front.tell(act, given)
        if left is None:
            await ack()
        else:
            await ack(**front.outgoing(left))

    return command


def _action(front: Front, presses: Presses) -> Any:
    async def action(ack: Any, body: dict[str, Any], action: dict[str, Any]) -> None:
        act = act_of(body)
        if actions.kind(action["action_id"]) != actions.LINK:
            id_, value = str(action["action_id"]), str(action.get("value") or "")
            await front.tell(act, await front.in_time(act, lambda caller: presses.pressed(caller, id_, value)))
        await ack()

    return action


def _view(front: Front, forms: Forms) -> Any:
    async def submission(ack: Any, body: dict[str, Any], view: dict[str, Any]) -> None:
        act = forms.act_of(body, view)
        given = await front.in_time(act, lambda caller: forms.submitted(caller, view))
        if given.refused and (errors := errors_of(view, given)):
            await ack(response_action="errors", errors=errors)
        elif given.update is not None:
            await ack(response_action="update", view=front.redacted(given.update))
        else:
            await front.tell(act, given)
            await ack()

    return submission


def _shortcut(front: Front, forms: Forms) -> Any:
    async def shortcut(ack: Any, body: dict[str, Any]) -> None:
        act = act_of(body)
        if body.get("callback_id") == actions.ADD_NOTE:
            ts = str((body.get("message") or {}).get("ts") or body.get("message_ts") or "")
            await front.tell(act, await front.in_time(act, lambda caller: front.pin(caller, ts)))
        elif body.get("callback_id") == actions.DECLARE_ANYWHERE:
            await front.tell(act, await front.in_time(act, lambda caller: forms.asked(act)))
        await ack()

    return shortcut


def errors_of(view: dict[str, Any], given: Answer) -> dict[str, str]:
    """Return a refusal as errors under the field that is at fault, or under the last one."""
    inputs = [str(block["block_id"]) for block in view["blocks"] if block["type"] == "input"]
    at = given.wrong if given.wrong in inputs else (inputs[-1] if inputs else None)
    return {at: given.text[:1000]} if at else {}


def _reaction(front: Front) -> Any:
    async def reaction(event: dict[str, Any]) -> None:
        item = event.get("item") or {}
        if event.get("reaction") != PIN or item.get("type") != "message":
            return
        user, team = str(event.get("user") or ""), str(event.get("user_team") or "")
        if front.ledger.world.config.team.by_slack(user) is not None:
            # Whoever it is gets checked when the note is written; not stored means not acknowledged, and sent again.
            await front.pinned(str(item["channel"]), str(item["ts"]), user, team)

    return reaction


def _home(front: Front) -> Any:
    async def opened(event: dict[str, Any]) -> None:
        user = str(event.get("user") or "")
        if user and event.get("tab") == "home":
            when = event.get("event_ts") or front.ledger.clock.now().timestamp()
            await front.enqueue("slack.home", f"home:{user}:{when}", {"user": user})

    return opened


def _message(front: Front) -> Any:
    async def message(event: dict[str, Any]) -> None:
        if event.get("subtype") in {"message_changed", "message_deleted"}:
            await front.edited(event)

    return message


async def _other() -> None:
    """Acknowledge events that nobody needs yet."""
