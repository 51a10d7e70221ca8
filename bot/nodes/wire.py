"""Ask nodes over HTTP, once, and say truthfully what is known afterwards.

Two libraries had to be tamed here: aiohttp resends PUT and DELETE by itself when the connection drops after they were
sent, and httpx-aiohttp then calls that drop a ConnectTimeout, as if nothing had been sent.
"""

import asyncio
import json
import os
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TypeVar

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport
from pydantic import TypeAdapter, ValidationError

from bot import __version__
from bot.errors import Misconfigured, NoAnswer, NodeBroken, NodeError, NodeRefused, NotReached

T = TypeVar("T")

ANSWER_LIMIT = 4 * 1024 * 1024
"""Bytes of one answer that is read whole."""
STREAM_LIMIT = 256 * 1024 * 1024
"""Bytes of one answer that is passed on as a stream."""
_NEVER_ARRIVED = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL)
_NEVER_ARRIVED_HTTPX = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
_MAY_HAVE_ACTED = {408, 425}


async def _sent_once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Turn a lost connection into an error that aiohttp does not answer by sending the request again."""
    try:
        return await handler(request)
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise aiohttp.ClientConnectionError(f"connection lost after sending: {error}") from error


def node_client() -> httpx.AsyncClient:
    """Return the client that all nodes share. Whoever builds it closes it with `aclose`.

    No proxy or credentials from the environment, no redirects, no cookies, TLS verified. Connections are not reused:
    one that died while idle would turn a request that never arrived into one that may have.
    """
    context = httpx.create_ssl_context(trust_env=False)

    def session() -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(limit=0, force_close=True, ssl=context)
        jar = aiohttp.DummyCookieJar()
        return aiohttp.ClientSession(connector=connector, cookie_jar=jar, trust_env=False, middlewares=(_sent_once,))

    return httpx.AsyncClient(
        transport=AiohttpTransport(verify=context, trust_env=False, client=session),
        trust_env=False,
        follow_redirects=False,
        cookies=CookieJar(policy=DefaultCookiePolicy(allowed_domains=())),
        headers={"User-Agent": f"stopsign/{__version__}", "Accept-Encoding": "identity"},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """The way to one node: `base` URL, bearer `token`, and the `timeout` within which a whole driver call ends."""

    client: httpx.AsyncClient = field(repr=False)
    node: str
    base: str
    timeout: timedelta
    token: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Refuse a URL that is not plain http(s) to a host; raises Misconfigured."""
        try:
            url = httpx.URL(self.base)
        except httpx.InvalidURL:
            raise Misconfigured([f"node {self.node}: its URL cannot be read"]) from None
        if url.scheme not in {"http", "https"} or not url.host or url.userinfo or url.query or url.fragment:
            raise Misconfigured([f"node {self.node}: {url.copy_with(userinfo=b'')} is not a plain http(s) URL"])

    def call(self) -> "Call":
        """Begin one driver call: all its requests together have `timeout`."""
        return Call(self, until=asyncio.get_running_loop().time() + self.timeout.total_seconds())


class Call:
    """The requests of one driver call, under one deadline."""

    def __init__(self, wire: Wire, *, until: float) -> None:
        self._wire = wire
        self._until = until

    async def json(self, shape: TypeAdapter[T], method: str, path: str, *, body: object = None) -> T:
        """Send one request and return its JSON answer as `shape`; raises a NodeError."""
        content = await self.content(method, path, body=body)
        try:
            return shape.validate_json(content)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise NodeBroken(f"{self._wire.node} answered {method} {path} unreadably: {where} {first['msg']}") from None

    async def content(self, method: str, path: str, *, body: object = None) -> bytes:
        """Send one request and return its answer's body, at most ANSWER_LIMIT bytes; raises a NodeError."""
        async with self._deadline(method, path), self._sent(method, path, body=body, params=None) as response:
            return b"".join([chunk async for chunk in _bounded(response, ANSWER_LIMIT, self._wire.node)])

    async def stream(self, method: str, path: str, *, params: Mapping[str, str] | None = None) -> AsyncIterator[bytes]:
        """Send one request and yield its answer's body; the deadline holds for each chunk anew."""
        chunks = self._chunks(method, path, params)
        try:
            while True:
                self._until = asyncio.get_running_loop().time() + self._wire.timeout.total_seconds()
                async with self._deadline(method, path):
                    chunk = await anext(chunks, None)
                if chunk is None:
                    return
                yield chunk
        finally:
            await chunks.aclose()

    async def _chunks(self, method: str, path: str, params: Mapping[str, str] | None) -> AsyncGenerator[bytes, None]:
        async with self._sent(method, path, body=None, params=params) as response:
            async for chunk in _bounded(response, STREAM_LIMIT, self._wire.node):
                yield chunk

    @asynccontextmanager
    async def _deadline(self, method: str, path: str) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout_at(self._until):
                yield
        except TimeoutError:
            raise NoAnswer(
                f"{self._wire.node} did not answer {method} {path} within {self._wire.timeout.total_seconds():g} s"
            ) from None

    @asynccontextmanager
    async def _sent(
        self, method: str, path: str, *, body: object, params: Mapping[str, str] | None
    ) -> AsyncIterator[httpx.Response]:
        """Send the request and yield a response whose status is 2xx; raises a NodeError otherwise."""
        wire = self._wire
        headers = {"Authorization": f"Bearer {wire.token}"} if wire.token else {}
        content = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            content = json.dumps(body).encode()
        remaining = max(self._until - asyncio.get_running_loop().time(), 0.001)
        try:
            async with wire.client.stream(
                method,
                wire.base.rstrip("/") + path,
                headers=headers,
                content=content,
                params=params,
                # A connect that ends a little before the deadline is known not to have arrived.
                timeout=httpx.Timeout(remaining, connect=remaining * 0.9, pool=remaining * 0.9),
            ) as response:
                await _accepted(response, wire.node, f"{method} {path}")
                yield response
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, aiohttp.ClientError, OSError) as error:
            if isinstance(error, TimeoutError):
                raise
            raise translated(error, node=wire.node, request=f"{method} {path}") from error


def translated(error: Exception, *, node: str, request: str) -> NodeError:
    """Return what a transport failure means: NotReached, NoAnswer or NodeBroken.

    Only the cause is believed: httpx-aiohttp names a connection that was lost after sending ConnectTimeout.
    """
    cause = error.__cause__ if isinstance(error.__cause__, aiohttp.ClientError) else error
    if isinstance(cause, (*_NEVER_ARRIVED, httpx.InvalidURL)) or (
        cause is error and isinstance(error, _NEVER_ARRIVED_HTTPX)
    ):
        return NotReached(f"{node} could not be reached for {request}: {_sentence(cause)}")
    if isinstance(cause, (aiohttp.ClientResponseError, httpx.RemoteProtocolError, httpx.DecodingError)):
        return NodeBroken(f"{node} answered {request} with something that is not HTTP")
    return NoAnswer(f"{node} gave no answer to {request}: {_sentence(cause)}")


def _sentence(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorError) and error.os_error.errno:
        return os.strerror(error.os_error.errno).lower()
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__


async def _accepted(response: httpx.Response, node: str, request: str) -> None:
    """Return for a plain 2xx; raises NodeRefused for a 4xx, NodeBroken for anything else."""
    status = response.status_code
    if response.headers.get("content-encoding", "identity") != "identity":
        raise NodeBroken(f"{node} answered {request} in an encoding that was not asked for")
    if response.is_success:
        return
    said = await _said(response, node)
    if response.is_client_error and status not in _MAY_HAVE_ACTED:
        raise NodeRefused(f"{node} refused {request}: {status} {said}".rstrip(), status=status)
    raise NodeBroken(f"{node} answered {request} with {status} {said}".rstrip())


async def _said(response: httpx.Response, node: str) -> str:
    """Return what an error answer says for people, at most 200 characters, or nothing when it cannot be read."""
    try:
        body = json.loads(b"".join([chunk async for chunk in _bounded(response, 16 * 1024, node)]))
    except (ValueError, RecursionError, NodeBroken):
        return ""
    if not isinstance(body, dict):
        return ""
    parts = [body.get(member) for member in ("title", "detail", "message")]
    return " ".join(" ".join(part.split()) for part in parts if isinstance(part, str) and part)[:200]


async def _bounded(response: httpx.Response, limit: int, node: str) -> AsyncIterator[bytes]:
    size = 0
    async for chunk in response.aiter_bytes():
        size += len(chunk)
        if size > limit:
            raise NodeBroken(f"{node} sent more than {limit} bytes")
        yield chunk


def named(keys: Sequence[str]) -> list[str]:
    """Return `keys` as a list; raises ValueError when there is none, or one that is not a 0x-hex string."""
    if not keys:
        raise ValueError("no key is named; an empty set is never everything")
    for key in keys:
        digits = key[2:] if key.startswith("0x") else ""
        if not digits or any(digit not in "0123456789abcdefABCDEF" for digit in digits):
            raise ValueError(f"{key!r} is not a key")
    return list(keys)
