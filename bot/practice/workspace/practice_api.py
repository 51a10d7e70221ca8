"""`/practice/…`: people's hands and a look behind the scenes, as JSON; and the change notices."""

import asyncio
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
from bot.practice.workspace.rooms import Rooms
from bot.practice.workspace.writing import Writing

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
        self._writing = Writing(self._hands)
        self._rooms = Rooms(self._hands)

    def routes(self) -> list[Route]:
        """Return all routes under /practice."""
        acts = {**self._asked(), **self._done(), **self._behind()}
        return [
            Route("/practice/state", self._state, methods=["GET"]),
            Route("/practice/channels/{id}/messages", self._messages, methods=["GET"]),
            Route("/practice/calls", self._calls, methods=["GET"]),
            Route("/practice/deliveries", self._deliveries, methods=["GET"]),
            Route("/practice/events", self._events, methods=["GET"]),
            *(Route(f"/practice/{name}", _endpoint(act), methods=["POST"]) for name, act in acts.items()),
        ]

    def _asked(self) -> dict[str, Act]:
        """Return the acts that wait for the bot's answer."""
        hands, modals = self._hands, self._modals
        return {
            "command": lambda body: hands.command(**_only(body, "user channel text wait_view")),
            "press": self._press,
            "options": lambda body: hands.suggest(**_only(body, "user channel ts view_id action_id block_id value")),
            "submit": self._submit,
            "close": lambda body: modals.close(**_only(body, "user view_id everything")),
            "shortcut": self._shortcut,
        }

    def _done(self) -> dict[str, Act]:
        """Return the acts that the bot hears of by events."""
        writing, rooms = self._writing, self._rooms
        return {
            "say": _now(writing.say, "user channel text thread_ts broadcast"),
            "edit": _now(writing.edit, "user channel ts text"),
            "delete": _now(writing.delete, "user channel ts"),
            "react": _now(writing.react, "user channel ts name remove"),
            "upload": _now(self._upload, "user channel text thread_ts files filename title content base64"),
            "create": _now(rooms.create, "user name is_private"),
            "join": _now(rooms.join, "user channel"),
            "leave": _now(rooms.leave, "user channel"),
            "invite": _now(rooms.invite, "user channel who"),
            "change": _now(rooms.change, "user channel topic name"),
            "archive": _now(rooms.archive, "user channel undo"),
            "home": _now(rooms.home, "user tab"),
        }

    def _behind(self) -> dict[str, Act]:
        """Return what nobody in the workspace does: how it is set up, and what goes wrong in it."""

        async def fail(body: Json) -> Json:
            return self._fail(body)

        async def group(body: Json) -> Json:
            return self._usergroup(body)

        async def app(body: Json) -> Json:
            self._office.installation = self._office.installation.with_(body)
            self._office.world.changed()
            return {"app": self._office.installation.row()}

        async def socket(body: Json) -> Json:
            told = await self._office.deliveries.sockets.disconnect(
                str(body.get("disconnect", "")), body.get("connection")
            )
            return {"told": told, "sockets": self._office.deliveries.sockets.rows()}

        return {"usergroup": group, "fail": fail, "app": app, "socket": socket}

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

    async def _press(self, body: Json) -> Json:
        given = next((body[key] for key in (*_PICKED, *_PICKED_MORE) if body.get(key) is not None), None)
        wanted = _only(body, "user channel ts view_id action_id block_id values wait_view")
        return await self._hands.press(given=given, **wanted)

    async def _submit(self, body: Json) -> Json:
        return await self._modals.submit(given=body.get("values") or {}, **_only(body, "user view_id wait_view"))

    async def _shortcut(self, body: Json) -> Json:
        if not body.get("ts"):
            return await self._hands.global_shortcut(**_only(body, "user callback_id wait_view"))
        return await self._hands.shortcut(**_only(body, "user channel ts callback_id wait_view"))

    def _upload(self, **body: Any) -> Json:
        files = body.get("files") or [_only(body, "filename title content base64")]
        return self._writing.upload(files=files, **_only(body, "user channel text thread_ts"))

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


def _now(act: Callable[..., Json], keys: str) -> Act:
    async def run(body: Json) -> Json:
        return act(**_only(body, keys))

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
