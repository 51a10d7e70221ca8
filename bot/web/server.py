"""The HTTP server's app: routes of this room, and what chat exports, mounted."""

import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from urllib.parse import parse_qs

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from bot import __version__
from bot.domain.authority import hashed
from bot.ledger import Ledger
from bot.ports import Tokens
from bot.settings import Settings
from bot.web import api, console, problems, public
from bot.web.access import COOKIE, Access
from bot.web.alertmanager import Credentials, Webhook
from bot.web.live import Live

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def build(
    *,
    ledger: Ledger,
    tokens: Tokens,
    live: Live,
    settings: Settings,
    slack: ASGIApp | None,
    connected: bool,
    open_to_all: bool,
    lifespan: Lifespan,
) -> FastAPI:
    """Return the ASGI app. `slack` answers `POST /slack/events`; None when Slack does not call us.

    `connected` tells whether there is a Slack at all.
    """
    web = FastAPI(title="Stopsign", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None)
    problems.install(web)
    web.router.routes.append(
        Route("/v1/alertmanager", Webhook(ledger, credentials_of(settings)).receive, methods=["POST"])
    )

    async def person_of(token: str) -> str | None:
        person = await tokens.person_of(token, time.time())
        return person if person in ledger.world.config.team.people else None  # who left has no access any more

    access = Access(person_of, open_to_all=open_to_all)
    web.include_router(api.router(ledger, access, tokens.stats, connected=connected))
    web.include_router(console.router(ledger, live=live, allowed=access, connected=connected))
    web.include_router(public.router(ledger))
    _login(web, tokens)
    if slack is not None:
        web.mount("/slack", slack)
    return web


def credentials_of(settings: Settings) -> Credentials:
    """Return what the webhook accepts."""
    token, password = settings.webhook_token, settings.webhook_password
    return Credentials(
        token=token.get_secret_value() if token else None,
        user=settings.webhook_user,
        password=password.get_secret_value() if password else None,
    )


def _login(web: FastAPI, tokens: Tokens) -> None:
    @web.get("/", include_in_schema=False)
    async def front() -> RedirectResponse:
        return RedirectResponse("/console", status_code=303)

    @web.get("/login", include_in_schema=False)
    async def form() -> HTMLResponse:
        return HTMLResponse(console.login_page())

    @web.post("/login", include_in_schema=False)
    async def login(request: Request) -> Response:
        fields = parse_qs((await request.body())[:2000].decode("ascii", "replace"))
        token = fields.get("token", [""])[0]
        person = await tokens.person_of(hashed(token.strip()), time.time())
        if person is None:
            return HTMLResponse(console.login_page("That token is unknown, expired or revoked."), status_code=401)
        answer = RedirectResponse("/console", status_code=303)
        secure = request.url.scheme == "https"
        answer.set_cookie(COOKIE, token.strip(), httponly=True, samesite="strict", secure=secure, max_age=12 * 3600)
        return answer
