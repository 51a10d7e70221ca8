"""`/practice/…`: people's hands and a look behind the scenes, as JSON; and the change notices."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from bot.practice.workspace import reading
from bot.practice.workspace.hands import Hands
from bot.practice.workspace.methods import users
from bot.practice.workspace.modals import Modals
from bot.practice.workspace.office import Office
from bot.practice.workspace.refusals import Json, Refusal

KEEPALIVE_SECONDS = 15.0
_PICKED = ("value", "selected_option", "selected_user", "selected_options", "selected_users", "selected_date")
_PICKED_MORE = ("selected_time", "selected_date_time", "selected_channel", "selected_conversation")

Act = Callable[[Json], Awaitable[Json]]


class PracticeApi:
    """The routes of one office."""

    def __init__(self, office: Office) -> None:
        """Serve this office."""
        self._office = office
        self._hands = Hands(office)
        self._modals = Modals(self._hands)

    def routes(self) -> list[Route]:
        """Return all routes under /practice."""
        acts: dict[str, Act] = {
            "command": self._command,
            "press": self._press,
            "submit": self._submit,
            "close": self._close,
            "shortcut": self._shortcut,
            "say": _now(lambda body: self._hands.say(**_only(body, "user channel text thread_ts"))),
            "edit": _now(lambda body: self._hands.edit(**_only(body, "user channel ts text"))),
            "delete": _now(lambda body: self._hands.delete(**_only(body, "user channel ts"))),
            "react": _now(lambda body: self._hands.react(**_only(body, "user channel ts name remove"))),
            "join": _now(lambda body: self._hands.join(**_only(body, "user channel"))),
            "home": _now(lambda body: self._hands.look_at_home(**_only(body, "user"))),
            "upload": _now(self._upload),
            "usergroup": _now(self._usergroup),
            "fail": _now(self._fail),
        }
        return [
            Route("/practice/state", self._state, methods=["GET"]),
            Route("/practice/channels/{id}/messages", self._messages, methods=["GET"]),
            Route("/practice/calls", self._calls, methods=["GET"]),
            Route("/practice/deliveries", self._deliveries, methods=["GET"]),
            Route("/practice/events", self._events, methods=["GET"]),
            *(Route(f"/practice/{name}", _endpoint(act), methods=["POST"]) for name, act in acts.items()),
        ]

    async def _state(self, request: Request) -> Response:
        return JSONResponse(reading.state(self._office, only_channel=request.query_params.get("channel")))

    async def _messages(self, request: Request) -> Response:
        try:
            channel = self._hands.room(request.path_params["id"])
        except Refusal as refusal:
            return JSONResponse(refusal.body(), status_code=404)
        return JSONResponse({"messages": reading.messages(channel)})

    async def _calls(self, request: Request) -> Response:
        wanted = request.query_params.get("method")
        rows = [row for row in self._office.calls if wanted in (None, row["method"])]
        return JSONResponse({"calls": rows})

    async def _deliveries(self, request: Request) -> Response:
        return JSONResponse({"deliveries": list(self._office.deliveries.log)})

    async def _events(self, request: Request) -> Response:
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        return StreamingResponse(self._notices(), media_type="text/event-stream", headers=headers)

    async def _notices(self) -> AsyncIterator[str]:
        world, seen = self._office.world, -1
        while not world.closed:
            try:
                async with asyncio.timeout(KEEPALIVE_SECONDS):
                    seen = await world.next_change(seen)
                yield f"event: change\nid: {seen}\ndata: {json.dumps({'seq': seen})}\n\n"
            except TimeoutError:
                yield ": still here\n\n"

    async def _command(self, body: Json) -> Json:
        return await self._hands.command(**_only(body, "user channel text wait_view"))

    async def _press(self, body: Json) -> Json:
        given = next((body[key] for key in (*_PICKED, *_PICKED_MORE) if body.get(key) is not None), None)
        wanted = _only(body, "user channel ts view_id action_id block_id wait_view")
        return await self._hands.press(given=given, **wanted)

    async def _submit(self, body: Json) -> Json:
        return await self._modals.submit(given=body.get("values") or {}, **_only(body, "user view_id wait_view"))

    async def _close(self, body: Json) -> Json:
        return await self._modals.close(**_only(body, "user view_id everything"))

    async def _shortcut(self, body: Json) -> Json:
        return await self._hands.shortcut(**_only(body, "user channel ts callback_id wait_view"))

    def _upload(self, body: Json) -> Json:
        binary = body.get("base64")
        content = base64.b64decode(binary) if binary else str(body.get("content", "")).encode()
        return self._hands.upload(content=content, **_only(body, "user channel filename text"))

    def _usergroup(self, body: Json) -> Json:
        group = users.new_group(self._office, body)
        self._office.world.usergroups.append(group)
        return {"usergroup": group}

    def _fail(self, body: Json) -> Json:
        rules = body.get("rules", [body] if body else [])
        try:
            self._office.faults.replace(rules)
        except TypeError as exc:
            raise Refusal("unknown_failure", extra={"detail": str(exc)}) from exc
        self._office.world.changed()
        return {"failures": self._office.faults.rows()}


def _only(body: Json, keys: str) -> dict[str, Any]:
    """Return the arguments of an act that were given; null counts as not given."""
    return {key: body[key] for key in keys.split() if body.get(key) is not None}


def _now(act: Callable[[Json], Json]) -> Act:
    async def run(body: Json) -> Json:
        return act(body)

    return run


def _endpoint(act: Act) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        if "json" not in request.headers.get("content-type", ""):
            return JSONResponse({"ok": False, "error": "json_expected"}, status_code=415)
        try:
            body = json.loads(await request.body() or b"{}")
            return JSONResponse({"ok": True, **await act(body)})
        except Refusal as refusal:
            return JSONResponse(refusal.body(), status_code=409)
        except (TypeError, ValueError) as exc:
            return JSONResponse({"ok": False, "error": "bad_request", "detail": str(exc)}, status_code=400)

    return endpoint
