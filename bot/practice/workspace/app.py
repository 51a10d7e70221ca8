"""The workspace as one ASGI application: Web API, response addresses, files, practice API and page."""

import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from bot.practice.workspace import downloads, respond, web_api
from bot.practice.workspace.deliveries import REDELIVERY_SECONDS, Deliveries
from bot.practice.workspace.failures import Dropped, Faults, cut
from bot.practice.workspace.http_line import HttpLine
from bot.practice.workspace.installation import Installation, granted, subscribed
from bot.practice.workspace.methods.files import FILE_MAX
from bot.practice.workspace.office import Office
from bot.practice.workspace.people import Person
from bot.practice.workspace.practice_api import PracticeApi
from bot.practice.workspace.rates import Rates
from bot.practice.workspace.sockets import Sockets
from bot.practice.workspace.state import World

CHANNELS = ("general", "incidents", "avs-operators")
SHORTCUTS = {"add_to_timeline": "Add to timeline"}
APP_TOKEN = "xapp-practice"  # noqa: S105 - of a simulated app
_NONE: Mapping[str, str] = {}
PAGE = Path(__file__).parent / "page"
_CONTENT_SECURITY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data: https:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PAGE_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}


def build(
    *,
    bot_url: str | None,
    signing_secret: str,
    bot_token: str,
    people: Sequence[Person],
    channels: Sequence[str] = CHANNELS,
    shortcuts: Mapping[str, str] = SHORTCUTS,
    global_shortcuts: Mapping[str, str] = _NONE,
    commands: Iterable[str] | None = None,
    scopes: Iterable[str] | None = None,
    events: Iterable[str] | None = None,
    app_token: str = APP_TOKEN,
    rate_limits: bool = True,
    redelivery: Sequence[float] = REDELIVERY_SECONDS,
    clock: Callable[[], float] = time.time,
) -> Starlette:
    """Return a workspace that delivers to `bot_url`; serve it with uvicorn on loopback.

    Deliveries go to `bot_url` (None: nowhere) unless the app has a socket open, for which it needs `app_token`.
    `channels` stand from the start; `shortcuts` are the bot's message shortcuts and `global_shortcuts` its others,
    callback_id to name; `commands` its slash commands, such as "/incident" (None: any). `scopes` are granted to
    `bot_token` (None: all but chat:write.public), `events` are subscribed (None: installation.DEFAULT_EVENTS).
    `redelivery` are the seconds before each repeat of an event that was not acknowledged. Its own address, for
    response and upload addresses, is what its callers call it (the Host header). `app.state.office` is the inside.
    """
    faults = Faults()
    office = Office(
        world=World(people, clock=clock, channels=channels),
        rates=Rates(clock=clock, on=rate_limits),
        faults=faults,
        deliveries=Deliveries(
            http=HttpLine(bot_url=bot_url, signing_secret=signing_secret, clock=clock),
            sockets=Sockets(),
            clock=clock,
            faults=faults,
            redelivery=redelivery,
        ),
        bot_token=bot_token,
        app_token=app_token,
        installation=Installation(
            scopes=granted(scopes),
            events=subscribed(events),
            commands=None if commands is None else frozenset(commands),
            message_shortcuts=dict(shortcuts),
            global_shortcuts=dict(global_shortcuts),
        ),
    )

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with office.deliveries:
            yield

    app = _Workspace(routes=_routes(office), lifespan=lifespan, middleware=[Middleware(_Door, office=office)])
    app.state.office = office
    return app


class _Workspace(Starlette):
    """Starlette that lets the innermost reach the server's own `send`, which its middleware wraps."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        await super().__call__({**scope, "practice.send": send}, receive, send)

    def going_down(self) -> None:
        """End the streams of change notices; the server is about to stop."""
        self.state.office.world.close()


class _Door:
    """Learns the workspace's address from each request, and cuts connections that have to drop."""

    def __init__(self, app: ASGIApp, *, office: Office) -> None:
        """Stand before `app`."""
        self._app = app
        self._office = office

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        host = Request(scope).headers.get("host")
        if host:
            self._office.world.origin = f"{scope['scheme']}://{host}"
        try:
            await self._app(scope, receive, send)
        except Dropped:
            await cut(receive, scope["practice.send"])


def _routes(office: Office) -> list[BaseRoute]:
    async def api(request: Request) -> Response:
        return await web_api.call(office, request)

    async def response_url(request: Request) -> Response:
        return await respond.answer(office, request)

    async def upload(request: Request) -> Response:
        file = office.world.files.get(request.path_params["id"])
        if file is None or file.content is not None:
            return PlainTextResponse("no such upload", status_code=404)
        content = await request.body()
        if len(content) > FILE_MAX:
            return PlainTextResponse("too large", status_code=413)
        file.content = content
        return PlainTextResponse(f"OK - {len(content)}")

    async def download(request: Request) -> Response:
        return downloads.answer(office, request)

    async def socket(websocket: WebSocket) -> None:
        await office.deliveries.sockets.serve(websocket)

    return [
        Route("/api/{method}", api, methods=["GET", "POST"]),
        Route("/respond/{key}", response_url, methods=["POST"]),
        Route("/upload/v1/{id}", upload, methods=["POST", "PUT"]),
        Route("/files/{id}/{rest:path}", download, methods=["GET"]),
        WebSocketRoute("/link/", socket),
        *PracticeApi(office).routes(),
        Route("/archives/{channel}/{message}", _archive, methods=["GET"]),
        Route("/", _page, methods=["GET"]),
        Route("/page/{name}", _page, methods=["GET"]),
    ]


async def _archive(request: Request) -> Response:
    return RedirectResponse(f"/#{request.path_params['channel']}", status_code=302)


async def _page(request: Request) -> Response:
    name = request.path_params.get("name", "index.html")
    path = PAGE / name
    if path.parent != PAGE or not path.is_file() or path.suffix not in _PAGE_TYPES:
        return PlainTextResponse("not found", status_code=404)
    headers = {
        "content-security-policy": _CONTENT_SECURITY,
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cache-control": "no-cache",
    }
    return FileResponse(path, media_type=_PAGE_TYPES[path.suffix], headers=headers)
