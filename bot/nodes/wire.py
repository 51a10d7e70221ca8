"""Ask nodes over HTTP, once, and say truthfully what is known afterwards.

aiohttp had to be tamed: it resends GET, PUT and DELETE by itself when the connection drops after they were sent.
It is used without httpx above it, which alone costs more than the bound on a freeze of a thousand nodes allows.
"""

import asyncio
import json
import os
import re
import socket
import ssl
import time
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeAlias, TypeVar
from urllib.parse import quote, urlencode

import aiohttp
import certifi
from aiohttp.abc import AbstractResolver, ResolveResult
from pydantic import TypeAdapter, ValidationError
from yarl import URL

from bot import __version__
from bot.errors import Misconfigured, NoAnswer, NodeBroken, NodeError, NodeRefused, NotReached
from bot.nodes.lookup import allowed

T = TypeVar("T")
NodeClient: TypeAlias = aiohttp.ClientSession
"""What carries requests to nodes; made by `node_client`."""

ANSWER_LIMIT = 4 * 1024 * 1024
"""Bytes of one answer that is read whole."""
STREAM_LIMIT = 256 * 1024 * 1024
"""Bytes of one answer that is passed on as a stream."""
_NEVER_ARRIVED = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL)
_SAFE = "%/:?[]@!$&'()*+,;=~"
_MAY_HAVE_ACTED = {408, 425}
SECRET = re.compile(r"auth|key|token|secret|password|credential|cookie", re.IGNORECASE)
"""What the name of a header that holds a secret looks like."""


async def _sent_once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Turn a lost connection into an error that aiohttp does not answer by sending the request again."""
    try:
        return await handler(request)
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise aiohttp.ClientConnectionError(f"connection lost after sending: {error}") from error


class Within(AbstractResolver):
    """Resolves names, and gives only addresses that lie in the inventory's networks: a name may turn overnight."""

    def __init__(self, networks: Sequence[str]) -> None:
        self._networks = tuple(networks)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the allowed addresses of `host`; raises OSError when there is none."""
        return [
            ResolveResult(
                hostname=host,
                host=one,
                port=port,
                family=socket.AF_INET6 if ":" in one else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for one in await allowed(host, self._networks, family)
        ]

    async def close(self) -> None:
        """Hold nothing, and so release nothing."""


def node_client(
    *,
    networks: Sequence[str] = ("127.0.0.0/8", "::1/128"),
    ca: str | None = None,
    certificate: tuple[str, str] | None = None,
    unix: str | None = None,
) -> NodeClient:
    """Return a client for nodes; `unix` is a socket's path. Needs a running loop; whoever builds it closes it.

    No proxy or credentials from the environment, no redirects, no cookies, no address outside `networks`. TLS is
    verified, against `ca` alone where it is given; `certificate` is (certificate, key). Connections are not reused: one
    that died while idle would turn a request that never arrived into one that may have. Raises Misconfigured.
    """
    try:
        context = ssl.create_default_context(cafile=ca or certifi.where())
        if certificate is not None:
            context.load_cert_chain(*certificate)
    except OSError as error:  # ssl.SSLError is one
        named = ", ".join(filter(None, (ca, *(certificate or ()))))
        raise Misconfigured([f"certificates of a node cannot be read ({named}): {error.strerror or error}"]) from error

    connector: aiohttp.BaseConnector
    if unix is not None:
        connector = aiohttp.UnixConnector(unix, limit=0, force_close=True)
    else:
        connector = aiohttp.TCPConnector(limit=0, force_close=True, ssl=context, resolver=Within(networks))
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        auto_decompress=False,
        middlewares=(_sent_once,),
        skip_auto_headers=("Content-Type",),
        headers={"User-Agent": f"stopsign/{__version__}", "Accept-Encoding": "identity"},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One request that was really made: what was asked, what came of it, and how long that took in seconds."""

    asked: str
    came: str
    took: float


TRACE: ContextVar[list[Exchange] | None] = ContextVar("exchanges with nodes", default=None)
"""Where exchanges are noted while somebody looks; never a body or a header, in which secrets may stand."""


@contextmanager
def noted(asked: str) -> Iterator[list[str]]:
    """Note an exchange for who looks; the yielded list takes what came of it. A NodeError is noted and goes on."""
    came: list[str] = []
    began = time.monotonic()
    try:
        yield came
    except (NodeError, asyncio.CancelledError) as error:
        came.append(str(error) or "no answer in time")
        raise
    finally:
        if (trace := TRACE.get()) is not None:
            trace.append(Exchange(asked=asked, came="; ".join(came) or "done", took=time.monotonic() - began))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """One request; `accept` are statuses besides 2xx that are an answer."""

    method: str
    path: str
    body: object
    params: Mapping[str, str] | None
    headers: Mapping[str, str]
    accept: Collection[int]

    @property
    def name(self) -> str:
        """Return the request for people: method and path, never a query, in which secrets may stand."""
        return f"{self.method} {self.path.partition('?')[0]}"

    def url(self, base: str) -> URL:
        """Return the URL at `base`; what the driver has escaped stays as it is, everything else unsafe is escaped."""
        query = f"{'&' if '?' in self.path else '?'}{urlencode(self.params)}" if self.params else ""
        return URL(f"{str(URL(base)).rstrip('/')}{quote(self.path, safe=_SAFE)}{query}", encoded=True)

    def shown(self, base: str) -> str:
        """Return the request at `base` for people, with the names of a query's parameters and no value."""
        path, _, query = self.path.partition("?")
        found = [pair.partition("=")[0] for pair in query.split("&") if "=" in pair]
        names = "&".join(dict.fromkeys([*found, *(self.params or {})]))
        return f"{self.method} {base.rstrip('/')}{path}{'?' if names else ''}{names}"

    def secrets(self) -> Iterator[str]:
        """Yield what must not be shown of the headers: such a value, and what follows its scheme in it."""
        for name, text in self.headers.items():
            if SECRET.search(name):
                yield text
                yield text.rpartition(" ")[2]


def without_userinfo(url: URL) -> str:
    """Return a URL for people: without user, password and query, in which secrets may stand."""
    return str((url.with_user(None) if url.host else url).with_query(None))


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """The way to one node: `base` URL, bearer `token`, and the `timeout` within which a whole driver call ends.

    `secrets` are further values that nothing may show, were the node to send them back.
    """

    client: NodeClient = field(repr=False)
    node: str
    base: str
    timeout: timedelta
    token: str | None = field(default=None, repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        """Refuse a URL that is not plain http(s) to a host; raises Misconfigured."""
        try:
            url = URL(self.base)
        except ValueError:
            raise Misconfigured([f"node {self.node}: its URL cannot be read"]) from None
        plain = not ("@" in url.raw_authority or url.query_string or url.fragment)
        if url.scheme not in {"http", "https"} or not url.host or not plain:
            raise Misconfigured([f"node {self.node}: {without_userinfo(url)} is not a plain http(s) URL"])

    def hidden(self, text: str, *others: str) -> str:
        """Return `text` with `***` for the token, the secrets and `others`, the longest first."""
        for secret in sorted({self.token or "", *self.secrets, *others} - {""}, key=len, reverse=True):
            text = text.replace(secret, "***")
        return text

    def call(self) -> "Call":
        """Begin one driver call: all its requests together have `timeout`."""
        return Call(self, until=asyncio.get_running_loop().time() + self.timeout.total_seconds())


class Call:
    """The requests of one driver call, under one deadline."""

    def __init__(self, wire: Wire, *, until: float) -> None:
        self._wire = wire
        self._until = until

    async def json(self, shape: TypeAdapter[T], method: str, path: str, *, body: object = None, **how: Any) -> T:
        """Send one request and return its JSON answer as `shape`; takes what `content` takes; raises a NodeError."""
        content = await self.content(method, path, body=body, **how)
        try:
            return shape.validate_json(content)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            asked = f"{method} {path.partition('?')[0]}"
            said = self._wire.hidden(f"{where} {first['msg']}")
            raise NodeBroken(f"{self._wire.node} answered {asked} unreadably: {said}") from None

    async def content(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        accept: Collection[int] = (),
    ) -> bytes:
        """Send one request and return its answer's body, at most ANSWER_LIMIT bytes; raises a NodeError.

        `body` is sent as JSON, bytes as they are. `accept` are statuses besides 2xx that are an answer.
        """
        _, content = await self.answer(method, path, body=body, params=params, headers=headers, accept=accept)
        return content

    async def answer(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        accept: Collection[int] = (),
    ) -> tuple[int, bytes]:
        """Send one request as `content` does, and return its status too."""
        sent = _Request(method=method, path=path, body=body, params=params, headers=headers or {}, accept=accept)
        async with self._deadline(sent), self._sent(sent) as response:
            content = b"".join([chunk async for chunk in _bounded(response, ANSWER_LIMIT, self._wire.node)])
            return response.status, content

    async def stream(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        accept: Collection[int] = (),
    ) -> AsyncIterator[bytes]:
        """Send one request and yield its answer's body; the deadline holds for each chunk anew."""
        sent = _Request(method=method, path=path, body=body, params=params, headers=headers or {}, accept=accept)
        chunks = self._chunks(sent)
        try:
            while True:
                self._until = asyncio.get_running_loop().time() + self._wire.timeout.total_seconds()
                async with self._deadline(sent):
                    chunk = await anext(chunks, None)
                if chunk is None:
                    return
                yield chunk
        finally:
            await chunks.aclose()

    async def _chunks(self, sent: _Request) -> AsyncGenerator[bytes, None]:
        async with self._sent(sent) as response:
            async for chunk in _bounded(response, STREAM_LIMIT, self._wire.node):
                yield chunk

    @asynccontextmanager
    async def _deadline(self, sent: _Request) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout_at(self._until):
                yield
        except TimeoutError:
            raise NoAnswer(
                f"{self._wire.node} did not answer {sent.name} within {self._wire.timeout.total_seconds():g} s"
            ) from None

    @asynccontextmanager
    async def _sent(self, sent: _Request) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send the request and yield a response whose status is an answer; raises a NodeError otherwise."""
        wire = self._wire
        headers = dict(sent.headers)
        if wire.token:
            headers["Authorization"] = f"Bearer {wire.token}"
        content = sent.body if isinstance(sent.body, bytes) else None
        if sent.body is not None and content is None:
            headers.setdefault("Content-Type", "application/json")
            content = json.dumps(sent.body).encode()
        with noted(sent.shown(wire.base)) as came:
            async with self._answered(sent, headers, content) as response:
                reason = wire.hidden(response.reason or "", *sent.secrets())
                came.append(f"{response.status} {reason}")
                yield response

    @asynccontextmanager
    async def _answered(
        self, sent: _Request, headers: Mapping[str, str], content: bytes | None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        wire = self._wire
        remaining = max(self._until - asyncio.get_running_loop().time(), 0.001)
        try:
            async with wire.client.request(
                sent.method,
                sent.url(wire.base),
                headers=headers,
                data=content,
                allow_redirects=False,
                # A connect that ends a little before the deadline is known not to have arrived.
                timeout=aiohttp.ClientTimeout(total=None, connect=remaining * 0.9),
            ) as response:
                await _accepted(response, wire, sent)
                yield response
        except (aiohttp.ClientError, OSError) as error:
            if isinstance(error, TimeoutError) and not isinstance(error, _NEVER_ARRIVED):
                raise
            raise _translated(error, node=wire.node, request=sent.name) from error


def _translated(error: Exception, *, node: str, request: str) -> NodeError:
    """Return what a transport failure means: NotReached, NoAnswer or NodeBroken."""
    if isinstance(error, _NEVER_ARRIVED):
        return NotReached(f"{node} could not be reached for {request}: {_sentence(error)}")
    if isinstance(error, aiohttp.ClientResponseError):
        return NodeBroken(f"{node} answered {request} with something that is not HTTP")
    return NoAnswer(f"{node} gave no answer to {request}: {_sentence(error)}")


def _sentence(error: Exception) -> str:
    if isinstance(error, aiohttp.InvalidURL):
        return "that is no URL"
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return "no connection in time"
    if isinstance(error, aiohttp.ClientConnectorError):
        number, said = error.os_error.errno, error.os_error.strerror  # which names addresses where a number is told
        return os.strerror(number).lower() if number and number > 0 else str(said or error.os_error)
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__


async def _accepted(response: aiohttp.ClientResponse, wire: Wire, sent: _Request) -> None:
    """Return for an answer; raises NodeRefused for a 4xx, NodeBroken for anything else."""
    node, status, request = wire.node, response.status, sent.name
    if response.headers.get("content-encoding", "identity") != "identity":
        raise NodeBroken(f"{node} answered {request} in an encoding that was not asked for")
    if 200 <= status < 300 or status in sent.accept:
        return
    said = wire.hidden(await _said(response, node), *sent.secrets())[:200].rstrip()
    if 400 <= status < 500 and status not in _MAY_HAVE_ACTED:
        raise NodeRefused(f"{node} refused {request}: {status} {said}".rstrip(), status=status)
    raise NodeBroken(f"{node} answered {request} with {status} {said}".rstrip())


async def _said(response: aiohttp.ClientResponse, node: str) -> str:
    """Return what an error answer says for people, on one line, or nothing when it cannot be read."""
    try:
        content = b"".join([chunk async for chunk in _bounded(response, 16 * 1024, node)])
        if response.content_type == "text/plain":
            first = next((line for line in content.decode().splitlines() if line.strip()), "")
            return " ".join("".join(one for one in first if one.isprintable()).split())
        body = json.loads(content)
    except (ValueError, RecursionError, NodeBroken):
        return ""
    if not isinstance(body, dict):
        return ""
    parts = [body.get(member) for member in ("title", "detail", "message", "error")]
    return " ".join(" ".join(part.split()) for part in parts if isinstance(part, str) and part)


async def _bounded(response: aiohttp.ClientResponse, limit: int, node: str) -> AsyncIterator[bytes]:
    size = 0
    async for chunk in response.content.iter_any():
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
