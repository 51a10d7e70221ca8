"""What every imitation needs: a port of its own, and time that passes."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from enum import StrEnum

from aiohttp import web

PERIOD = 0.1
"""Seconds between two duties of a key."""


class Mode(StrEnum):
    """How an imitation treats what it is asked for."""

    HONEST = "honest"
    LYING = "lying"  # says done, lists as done, and signs on
    HALF = "half"  # does it for the first half of the keys and fails for the others


@contextlib.asynccontextmanager
async def serving(app: web.Application, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Serve `app` on a free port of 127.0.0.1; yields its base URL."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        port = runner.addresses[0][1]
        yield f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def ticking(duty: Callable[[], None]) -> AsyncIterator[None]:
    """Let a duty fall due every PERIOD."""

    async def forever() -> None:
        while True:
            duty()
            await asyncio.sleep(PERIOD)

    task = asyncio.create_task(forever())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
