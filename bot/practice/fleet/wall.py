"""The outside of a practice node: what a caller meets before any route does.

Records each request, then lets the node's character speak: never answer, answer 401 or 500, or answer late.
"""

import asyncio
import json
from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bot.practice.fleet.node import PracticeNode, Received
from bot.practice.fleet.spec import Character

_BODY_LIMIT = 4 * 1024 * 1024


def problem(status: int, title: str, detail: str = "", **more: str) -> JSONResponse:
    """Return an RFC 9457 problem."""
    body: Mapping[str, object] = {"type": "about:blank", "title": title, "status": status, "detail": detail, **more}
    return JSONResponse(body, status, media_type="application/problem+json")


class Wall:
    """An ASGI app around a node's routes."""

    def __init__(self, node: PracticeNode, inside: ASGIApp, *, token: str) -> None:
        self._node = node
        self._inside = inside
        self._authorization = f"Bearer {token}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take one request."""
        request = Request(scope, receive)
        body = await _body(request)
        entry = Received(
            at=self._node.now(), method=request.method, path=request.url.path, request=_request_key(request, body)
        )
        self._node.requests.append(entry)
        if self._node.character is Character.SILENT:
            await _until_gone(receive)
            return

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                if self._node.character is Character.SLOW:
                    await asyncio.sleep(self._node.spec.delay_seconds)
                entry.status = message["status"]
            await send(message)

        app = self._refusal(request, body) or self._inside
        await app(scope, _replay(body, receive), answer)

    def _refusal(self, request: Request, body: bytes | None) -> Response | None:
        """Return what is answered instead of the route, if anything."""
        if self._node.character is Character.ERRORING:
            return problem(500, "Internal error", "the node failed")
        if request.url.path == "/metrics":
            return None
        known = request.headers.get("authorization") == self._authorization
        if self._node.character is Character.UNAUTHORISED or not known:
            return problem(401, "Unauthorised", "the bearer token is missing or not known")
        if body is None:
            return problem(413, "Too large", "the body is larger than 4 MiB")
        return None


async def _body(request: Request) -> bytes | None:
    """Read the whole body, or return None when it is too large."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _BODY_LIMIT:
            return None
    return body


async def _until_gone(receive: Receive) -> None:
    """Wait until the caller hangs up."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _replay(body: bytes | None, receive: Receive) -> Receive:
    """Return a `receive` that gives the body that was read, and then what comes."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body or b"", "more_body": False}

    return again


def _request_key(request: Request, body: bytes | None) -> str | None:
    """Return the idempotency key: the body's `request`, or the header."""
    try:
        tree = json.loads(body or b"null")
    except ValueError:
        tree = None
    key = tree.get("request") if isinstance(tree, dict) else None
    return key if isinstance(key, str) else request.headers.get("idempotency-key")
