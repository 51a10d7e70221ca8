"""The guard in front of Bolt: nothing that Slack did not sign gets in, nothing gets in twice, nothing makes a 500.

Signature per Slack's `v0` scheme: HMAC-SHA256 of `v0:<timestamp>:<raw body>`, the timestamp within five minutes.
"""

import asyncio
import hashlib
import hmac
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from slack_bolt.async_app import AsyncApp
from slack_bolt.request.async_request import AsyncBoltRequest

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]

BODY_MAX = 1024 * 1024
SKEW = 300
PATH = "/events"
"""The only path that is served; whoever mounts us says what stands before it."""
_TIMESTAMP = re.compile(rb"[0-9]{1,12}")
_SIGNATURE = re.compile(rb"v0=[0-9a-f]{64}")


class Replays:
    """The signatures of the last ten minutes with the status that each was answered; bounded in number, too."""

    def __init__(self, *, keep: timedelta = timedelta(minutes=10), most: int = 20_000) -> None:
        self._keep = keep
        self._most = most
        self._seen: OrderedDict[bytes, tuple[datetime, asyncio.Future[int]]] = OrderedDict()

    def first(self, signature: bytes, now: datetime) -> "asyncio.Future[int] | None":
        """Return None for a signature never seen, which is seen from now on; else the future of its first status."""
        while self._seen:
            oldest, (at, _) = next(iter(self._seen.items()))
            if at + self._keep > now and len(self._seen) < self._most:
                break
            del self._seen[oldest]
        if signature in self._seen:
            return self._seen[signature][1]
        self._seen[signature] = (now, asyncio.get_running_loop().create_future())
        return None

    def answered(self, signature: bytes, status: int) -> None:
        """Remember how it was answered; a server error is forgotten, so that Slack may try again."""
        if signature not in self._seen:
            return
        _, future = self._seen[signature]
        if not future.done():
            future.set_result(status)
        if status >= 500:
            del self._seen[signature]


class SlackGuard:
    """ASGI application in front of `app`. `now` tells the time; `app` sees only fresh, signed, complete requests."""

    def __init__(self, app: AsgiApp, secret: str, now: Callable[[], datetime]) -> None:
        self._app = app
        self._secret = secret.encode()
        self._now = now
        self._replays = Replays()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return None
        if not str(scope.get("path", "")).endswith(PATH):
            return await _refuse(send, 404, "not here")
        if scope["method"] != "POST":
            return await _refuse(send, 405, "only POST")
        signed = _headers(scope, b"x-slack-signature"), _headers(scope, b"x-slack-request-timestamp")
        if not self._well_formed(*signed):
            return await _refuse(send, 401, "not signed by Slack")
        length = _headers(scope, b"content-length")
        if length and length[0].isdigit() and int(length[0][:12]) > BODY_MAX:
            return await _refuse(send, 413, "too large")
        body = await _read(receive)
        if body is None:
            return await _refuse(send, 413, "too large")
        signature, timestamp = signed[0][0], signed[1][0]
        if not hmac.compare_digest(signature, self._signature(timestamp, body)):
            return await _refuse(send, 401, "not signed by Slack")
        return await self._once(signature, scope, body, send)

    def _well_formed(self, signatures: list[bytes], timestamps: list[bytes]) -> bool:
        if len(signatures) != 1 or len(timestamps) != 1:
            return False
        if not _SIGNATURE.fullmatch(signatures[0]) or not _TIMESTAMP.fullmatch(timestamps[0]):
            return False
        return abs(self._now().timestamp() - int(timestamps[0])) <= SKEW

    def _signature(self, timestamp: bytes, body: bytes) -> bytes:
        return b"v0=" + hmac.new(self._secret, b"v0:" + timestamp + b":" + body, hashlib.sha256).hexdigest().encode()

    async def _once(self, signature: bytes, scope: Scope, body: bytes, send: Send) -> None:
        """Hand a request on, or answer a replay with the first answer's status and no effect."""
        first = self._replays.first(signature, self._now())
        if first is not None:
            return await _refuse(send, await asyncio.shield(first), "")
        status = 500

        async def watched(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = int(message["status"])
            await send(message)

        try:
            await self._app(scope, _replay_of(body), watched)
        finally:
            self._replays.answered(signature, status)
        return None


def bolt_endpoint(app: AsyncApp) -> AsgiApp:
    """Return an ASGI application that hands a complete request to Bolt."""

    async def endpoint(scope: Scope, receive: Receive, send: Send) -> None:
        raw = (await receive())["body"]
        try:
            body = raw.decode()
        except UnicodeDecodeError:
            return await _refuse(send, 400, "not text")
        headers: dict[str, str | Sequence[str]] = {
            name.decode("latin-1"): [value.decode("latin-1")] for name, value in scope["headers"]
        }
        query = scope.get("query_string", b"").decode("latin-1")
        try:
            request = AsyncBoltRequest(body=body, query=query, headers=headers)
        except (ValueError, TypeError, AttributeError):
            return await _refuse(send, 400, "not a request of Slack's")
        answer = await app.async_dispatch(request)
        found = [
            (name.encode("latin-1"), value.encode("latin-1"))
            for name, values in answer.headers.items()
            for value in ([values] if isinstance(values, str) else values)
        ]
        return await _answer(send, answer.status, (answer.body or "").encode(), found)

    return endpoint


def asgi(app: AsyncApp, *, secret: str, now: Callable[[], datetime]) -> SlackGuard:
    """Return what the web room mounts at `/slack`: it answers `POST /slack/events`."""
    return SlackGuard(bolt_endpoint(app), secret, now)


def _headers(scope: Scope, name: bytes) -> list[bytes]:
    return [value for key, value in scope["headers"] if key.lower() == name]


async def _read(receive: Receive) -> bytes | None:
    """Return the whole body, or None once it is too large or its sender is gone."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message.get("body", b"")
        if len(body) > BODY_MAX:
            return None
        if not message.get("more_body", False):
            return bytes(body)


def _replay_of(body: bytes) -> Receive:
    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


async def _refuse(send: Send, status: int, why: str) -> None:
    await _answer(send, status, why.encode(), [(b"content-type", b"text/plain; charset=utf-8")])


async def _answer(send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    kept = [(name, value) for name, value in headers if name.lower() != b"content-length"]
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*kept, length]})
    await send({"type": "http.response.body", "body": body})
