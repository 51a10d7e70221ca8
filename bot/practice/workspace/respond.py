"""`/respond/<key>`: the response_url of an act, good for five answers within thirty minutes."""

import json

from starlette.requests import Request
from starlette.responses import JSONResponse

from bot.practice.workspace.methods import finding
from bot.practice.workspace.methods.chat import Content, rewrite
from bot.practice.workspace.office import Office
from bot.practice.workspace.refusals import Json, Refusal
from bot.practice.workspace.shown import message_object
from bot.practice.workspace.state import BOT_USER, Message, ResponseUrl

USES_MAX = 5
LIFE_SECONDS = 30 * 60


async def answer(office: Office, request: Request) -> JSONResponse:
    """Take one answer of the bot."""
    try:
        body = json.loads(await request.body() or b"{}")
        if not isinstance(body, dict):
            raise Refusal("invalid_payload")
        where = _usable(office, request.path_params["key"])
        _carry_out(office, where, body)
        result: Json = {"ok": True}
    except ValueError:
        result = {"ok": False, "error": "invalid_payload"}
        body = {}
    except Refusal as refusal:
        result = refusal.body()
    office.calls.append({"method": "response_url", "args": body, "result": result, "at": office.world.clock()})
    return JSONResponse(result, status_code=200 if result["ok"] else 404)


def _usable(office: Office, key: str) -> ResponseUrl:
    found = office.world.response_urls.get(key)
    if found is None:
        raise Refusal("invalid_url")
    if office.world.clock() - found.at > LIFE_SECONDS:
        raise Refusal("expired_url")
    if found.used >= USES_MAX:
        raise Refusal("used_url")
    return found


def _carry_out(office: Office, where: ResponseUrl, body: Json) -> None:
    channel = office.world.channels[where.channel]
    source = channel.messages.get(where.message_ts or "")
    if body.get("delete_original") in (True, "true"):
        if source is None:
            raise Refusal("message_not_found")
        office.deleted(source)
        where.used += 1
        return
    content = Content(body)
    if body.get("replace_original") in (True, "true") and source is not None:
        before = message_object(source, office.world)
        rewrite(office, source, content)
        office.edited(source, before)
    else:
        office.post(_message(office, where, body, content))
    where.used += 1


def _message(office: Office, where: ResponseUrl, body: Json, content: Content) -> Message:
    channel = office.world.channels[where.channel]
    thread_ts = body.get("thread_ts")
    if thread_ts:
        finding.message(channel, str(thread_ts), error="thread_not_found")
    return Message(
        ts=office.world.next_ts(),
        channel=where.channel,
        user=BOT_USER,
        text=content.text,
        blocks=content.blocks,
        attachments=content.attachments,
        thread_ts=thread_ts,
        ephemeral_to=None if body.get("response_type") == "in_channel" else where.user,
    )
