"""Routes of respx behind a real HTTP server: what a driver sends crosses a socket before a test looks at it."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import httpx
import respx
from aiohttp import web

from bot.nodes.wire import NodeClient

_UNSENT = {"content-length", "transfer-encoding"}


class _Server:
    """One server for all tests of a process, on a thread of its own; without routes it hangs up."""

    def __init__(self) -> None:
        self.router: respx.MockRouter | None = None
        self.slips: list[Exception] = []
        self.port = 0
        ready = threading.Event()
        threading.Thread(target=lambda: asyncio.run(self._serve(ready)), daemon=True).start()
        ready.wait()

    async def _serve(self, ready: threading.Event) -> None:
        runner = web.ServerRunner(web.Server(self._answer))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.port = runner.addresses[0][1]
        ready.set()
        await asyncio.Event().wait()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        url = f"http://{request.headers['Host']}{request.raw_path}"
        asked = httpx.Request(request.method, url, headers=list(request.headers.items()), content=await request.read())
        try:
            assert self.router is not None, f"nobody waits for {request.method} {url}"
            told: httpx.Response = await self.router.async_handler(asked)
        except (AssertionError, httpx.HTTPError) as error:
            if isinstance(error, AssertionError):
                self.slips.append(error)
            if request.transport is not None:
                request.transport.abort()
            return web.Response()
        headers = {name: value for name, value in told.headers.items() if name.lower() not in _UNSENT}
        return web.Response(status=told.status_code, reason=told.reason_phrase, body=told.content, headers=headers)


_SERVER = _Server()
URL = f"http://127.0.0.1:{_SERVER.port}"
OTHER = f"http://localhost:{_SERVER.port}"
"""Another origin, which ends at the same server."""


def unused() -> NodeClient:
    """Return a client for tests in which nothing is asked."""
    return cast("NodeClient", type("Unused", (), {})())


@contextmanager
def routes(*, assert_all_called: bool = True) -> Iterator[respx.MockRouter]:
    """Answer at URL and OTHER by the routes that the test adds; a request without a route fails the test."""
    with respx.MockRouter(using=None, assert_all_called=assert_all_called) as router:
        _SERVER.router, _SERVER.slips = router, []
        try:
            yield router
        finally:
            _SERVER.router = None
    for slip in _SERVER.slips:
        raise slip
