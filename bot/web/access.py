"""Who may read: people by bearer token, or by the console's cookie that holds one. Default: nobody."""

from collections.abc import Awaitable, Callable

from fastapi import Request
from starlette.exceptions import HTTPException

from bot.domain.authority import hashed

COOKIE = "stopsign_token"
PersonOf = Callable[[str], Awaitable[str | None]]


class Access:
    """A FastAPI dependency: returns the person's id, or raises 401. `open_to_all` is for the demo on loopback."""

    def __init__(self, person_of: PersonOf, *, open_to_all: bool = False) -> None:
        self._person_of = person_of
        self._open = open_to_all

    async def __call__(self, request: Request) -> str | None:
        """Return who asks."""
        scheme, _, value = request.headers.get("authorization", "").partition(" ")
        token = value.strip() if scheme.lower() == "bearer" else request.cookies.get(COOKIE, "")
        person = await self._person_of(hashed(token)) if token else None
        if person is None and not self._open and "text/html" in request.headers.get("accept", ""):
            raise HTTPException(303, "Sign in first.", headers={"Location": "/login"})
        if person is None and not self._open:
            raise HTTPException(
                401,
                "This needs a token: `stopsign token issue PERSON`, then send it as Authorization: Bearer.",
                headers={"WWW-Authenticate": 'Bearer realm="stopsign"'},
            )
        return person
