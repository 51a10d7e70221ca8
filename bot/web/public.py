"""`GET /status`: what the public is told. No log-in, nothing internal, cached for a moment."""

import asyncio

from fastapi import APIRouter
from fastapi.responses import FileResponse, HTMLResponse, Response

from bot.ledger import Ledger
from bot.ports import Rows
from bot.render import public
from bot.web.console import HEADERS, STATIC

FRESH = 5.0
"""Seconds for which a page serves everybody: a crowd of readers costs one look at the database."""
SHOWN = 50
_HEADERS = {**HEADERS, "Cache-Control": "public, max-age=5"}


def router(ledger: Ledger) -> APIRouter:
    """Return the public page's routes."""
    routes = APIRouter(include_in_schema=False)
    cached: tuple[float, str] = (0.0, "")
    turn = asyncio.Lock()

    @routes.get("/status")
    async def status() -> HTMLResponse:
        """Return the page, at most `FRESH` seconds old."""
        nonlocal cached
        async with turn:
            now = ledger.clock.now()
            if not 0 <= now.timestamp() - cached[0] < FRESH or not cached[1]:
                cached = (now.timestamp(), public.status_page(await ledger.read(_notices), now))
        return HTMLResponse(cached[1], headers=_HEADERS)

    @routes.get("/status/status.css")
    async def style() -> Response:
        return FileResponse(STATIC / "status.css", media_type="text/css; charset=utf-8", headers=_HEADERS)

    return routes


def _notices(rows: Rows) -> list[public.Notice]:
    """Read what the newest incidents that told the public anything told it."""
    told = rows.told(public.PUBLIC, limit=SHOWN)
    return [notice for i in told if (notice := public.notice(i, rows.entries(i.number)))]
