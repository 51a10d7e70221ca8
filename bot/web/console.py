"""The read-only console: pages that follow their incident by themselves."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Depends
from fastapi.responses import FileResponse, HTMLResponse, Response
from sse_starlette import EventSourceResponse, ServerSentEvent

from bot.domain.incident import Incident
from bot.domain.journal import Written
from bot.domain.watch import Watch
from bot.ledger import Ledger
from bot.ports import Rows
from bot.render import console
from bot.render.backlog import UNCONNECTED, behind
from bot.render.console import login_page
from bot.web.live import Live

__all__ = ["HEADERS", "login_page", "router"]

STATIC = Path(__file__).parent / "static"
FILES = {
    "console.css": "text/css; charset=utf-8",
    "console.js": "text/javascript; charset=utf-8",
    "stopsign.svg": "image/svg+xml",
}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
MOST_LISTED = 200
PING = 15
SEND_WITHIN = 10
RETRY = 3000
"""Milliseconds after which a browser connects again."""


def router(ledger: Ledger, *, live: Live, allowed: Callable[..., Any], connected: bool = True) -> APIRouter:
    """Return the console's routes. `allowed` is the dependency that lets a reader in; styles and scripts need none.

    `connected` tells whether there is a Slack to talk to.
    """
    pages = APIRouter(dependencies=[Depends(allowed)], include_in_schema=False)

    def slack(rows: Rows) -> str:
        now = ledger.clock.now()
        return behind(rows.backlog(now), now) if connected else UNCONNECTED

    @pages.get("/console")
    async def incidents(fragment: bool = False) -> Response:
        """Show all incidents, open ones first."""
        (found, watch), told = await ledger.read(lambda rows: (_all(rows), slack(rows)))
        config, now = ledger.world.config, ledger.clock.now()
        page = console.list_page
        return _html(await asyncio.to_thread(page, found, watch, config, now, slack=told, fragment=fragment))

    @pages.get("/console/live")
    async def follow_all() -> Response:
        """Tell when the list has changed."""
        return _stream(_stamps(ledger, live, lambda rows: (*_all(rows), slack(rows))))

    @pages.get("/console/inc-{number:int}")
    async def incident(number: int, fragment: bool = False) -> Response:
        """Show one incident."""
        (found, entries, watch), told = await ledger.read(lambda rows: (_one(rows, number), slack(rows)))
        if found is None:
            return _html(console.message_page("Not found", f"There is no incident inc-{number}."), status=404)
        config, now = ledger.world.config, ledger.clock.now()
        page = console.incident_page
        return _html(await asyncio.to_thread(page, found, entries, watch, config, now, slack=told, fragment=fragment))

    @pages.get("/console/inc-{number:int}/live")
    async def follow(number: int) -> Response:
        """Tell when the incident's page has changed."""

        def one(rows: Rows) -> tuple[Sequence[Incident], Watch, str]:
            found = rows.incident(number)
            return ((found,) if found else ()), rows.watch(), slack(rows)

        return _stream(_stamps(ledger, live, one))

    routes = APIRouter(include_in_schema=False)

    @routes.get("/console/static/{name}")
    async def static(name: str) -> Response:
        """Serve one of our own files, and no other."""
        if name not in FILES:
            return Response(status_code=404, headers=HEADERS)
        return FileResponse(STATIC / name, media_type=FILES[name], headers={**HEADERS, "Cache-Control": "no-cache"})

    routes.include_router(pages)
    return routes


def _all(rows: Rows) -> tuple[Sequence[Incident], Watch]:
    return rows.incidents(live_only=False, limit=MOST_LISTED), rows.watch()


def _one(rows: Rows, number: int) -> tuple[Incident | None, Sequence[Written], Watch]:
    found = rows.incident(number)
    return found, rows.entries(number) if found else (), rows.watch()


async def _stamps(
    ledger: Ledger, live: Live, reading: Callable[[Rows], tuple[Sequence[Incident], Watch, str]]
) -> AsyncIterator[ServerSentEvent]:
    """Yield the page's stamp at once, so that nothing between page and stream is missed, and whenever it is another."""
    last = ""
    ticks = live.ticks()
    try:
        async for _ in ticks:
            stamp = console.stamp(*await ledger.read(reading))
            if stamp != last:
                yield ServerSentEvent(event="changed", data=stamp, retry=RETRY)
                last = stamp
    finally:
        await ticks.aclose()


def _stream(events: AsyncIterator[ServerSentEvent]) -> Response:
    return EventSourceResponse(events, headers=HEADERS, ping=PING, send_timeout=SEND_WITHIN)


def _html(text: str, status: int = 200) -> Response:
    return HTMLResponse(text, status_code=status, headers=HEADERS)
