"""Ask nodes over gRPC, once, and say truthfully what is known afterwards.

gRPC repeats calls by itself, takes proxies from the environment, resolves names anew, believes service configurations
out of DNS and shares connections between channels: all of that is off here. A connection is made for one driver call;
until it stands, no request can have been sent.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import certifi
import grpc
from google.protobuf.message import DecodeError, Message
from grpc import aio
from yarl import URL

from bot import __version__
from bot.errors import Misconfigured, NoAnswer, NodeBroken, NodeError, NodeRefused, NotReached
from bot.nodes.lookup import allowed
from bot.nodes.way import Way
from bot.nodes.wire import ANSWER_LIMIT, without_userinfo

M = TypeVar("M", bound=Message)

METADATA_LIMIT = 16 * 1024
_REFUSALS = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.UNIMPLEMENTED: 501,
}
"""Statuses that say no, with the HTTP statuses that mean the same (google/rpc/code.proto)."""
_SILENCES = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED}


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpcWire:
    """The way to one node's gRPC server; `timeout` is the time within which a whole driver call ends."""

    node: str
    host: str
    port: int
    tls: bool
    timeout: timedelta
    networks: tuple[str, ...]
    token: str | None = field(default=None, repr=False)
    ca: str | None = None
    certificate: tuple[str, str] | None = None

    def deadline(self) -> float:
        """Return when a driver call that begins now must have ended, by the event loop's clock."""
        return asyncio.get_running_loop().time() + self.timeout.total_seconds()

    @asynccontextmanager
    async def call(self, *, until: float | None = None) -> AsyncIterator["GrpcCall"]:
        """Connect, and yield what asks over that connection until `until`; raises NotReached."""
        until = until or self.deadline()
        left = until - asyncio.get_running_loop().time()
        channel: aio.Channel | None = None
        try:
            try:
                # A connect that ends a little before the deadline is known not to have arrived.
                async with asyncio.timeout(max(left, 0) * 0.9):
                    channel = await self._channel()
                    await _connected(channel, self.node)
            except TimeoutError:
                raise NotReached(f"{self.node} took no gRPC connection within {max(left, 0) * 0.9:.2g} s") from None
            yield GrpcCall(channel, node=self.node, until=until, token=self.token)
        finally:
            if channel is not None:
                await channel.close()

    async def _channel(self) -> aio.Channel:
        address = await self._address()
        target = f"ipv6:[{address}]:{self.port}" if ":" in address else f"ipv4:{address}:{self.port}"
        authority = f"[{self.host}]" if ":" in self.host else self.host
        options: list[tuple[str, str | int]] = [
            ("grpc.enable_http_proxy", 0),
            ("grpc.enable_retries", 0),  # also those that gRPC calls transparent
            ("grpc.service_config_disable_resolution", 1),
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.max_receive_message_length", ANSWER_LIMIT),
            ("grpc.absolute_max_metadata_size", METADATA_LIMIT),
            # Also the name that the certificate must bear: the inventory's, not the address it stands for.
            ("grpc.default_authority", f"{authority}:{self.port}"),
            ("grpc.primary_user_agent", f"stopsign/{__version__}"),
        ]
        if not self.tls:
            return aio.insecure_channel(target, options=options)
        credentials = await asyncio.to_thread(self._credentials)
        return aio.secure_channel(target, credentials, options=options)

    async def _address(self) -> str:
        """Return an address of the node that lies in the inventory's networks; raises NotReached."""
        try:
            return (await allowed(self.host, self.networks))[0]
        except OSError as error:
            raise NotReached(f"{self.node} could not be reached: {error.strerror or self.host}") from error

    def _credentials(self) -> grpc.ChannelCredentials:
        """Read the certificates, anew for each call, so that rotated ones are used at once; raises Misconfigured."""
        try:
            roots = Path(self.ca).read_bytes() if self.ca else _trusted()
            if self.certificate is None:
                return grpc.ssl_channel_credentials(root_certificates=roots)
            chain, key = (Path(path).read_bytes() for path in self.certificate)
        except OSError as error:
            raise Misconfigured([f"node {self.node}: {error.filename} cannot be read: {error.strerror}"]) from error
        return grpc.ssl_channel_credentials(root_certificates=roots, private_key=key, certificate_chain=chain)


def grpc_wire(way: Way) -> GrpcWire:
    """Return the wire to a way's endpoint; raises Misconfigured unless its URL is http(s)://host:port.

    http is plaintext, https is TLS.
    """
    endpoint, name = way.endpoint, way.node.name
    try:
        url = URL(endpoint.url)
        port = url.explicit_port
    except ValueError:
        raise Misconfigured([f"node {name}: its URL cannot be read"]) from None
    plain = not (url.raw_authority.count("@") or url.query_string or url.fragment) and url.path in {"", "/"}
    if url.scheme not in {"http", "https"} or not url.host or not plain or port is None:
        raise Misconfigured(
            [f"node {name}: {without_userinfo(url)} is not a gRPC server's URL: write http(s)://host:port"]
        )
    certificate = (endpoint.client_cert, endpoint.client_key)
    return GrpcWire(
        node=name,
        host=url.host,
        port=port,
        tls=url.scheme == "https",
        timeout=endpoint.timeout,
        networks=way.networks,
        token=way.token,
        ca=endpoint.ca,
        certificate=(certificate[0], certificate[1]) if certificate[0] and certificate[1] else None,
    )


class GrpcCall:
    """The requests of one driver call, over one connection, under one deadline; `until` is by the loop's clock."""

    def __init__(self, channel: aio.Channel, *, node: str, until: float, token: str | None) -> None:
        self._channel = channel
        self._node = node
        self._metadata = (("authorization", f"Bearer {token}"),) if token else ()
        self.until = until

    async def ask(self, method: str, request: Message, answer: type[M]) -> M:
        """Send one unary request and return its answer; `method` is `/package.Service/Method`. Raises a NodeError."""
        name = method.rpartition("/")[2]
        left = self.until - asyncio.get_running_loop().time()
        if left <= 0:
            raise NotReached(f"{self._node} was not asked {name}: no time was left")
        send: aio.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(method)
        try:
            async with asyncio.timeout_at(self.until):
                raw = await send(request.SerializeToString(), timeout=left, metadata=self._metadata)
        except TimeoutError:
            raise NoAnswer(f"{self._node} did not answer {name} in time") from None
        except aio.AioRpcError as error:
            raise _translated(error, node=self._node, request=name) from error
        try:
            return answer.FromString(raw)
        except DecodeError:
            raise NodeBroken(f"{self._node} answered {name} with something that cannot be read") from None


def _translated(error: aio.AioRpcError, *, node: str, request: str) -> NodeError:
    """Return what a status means. Once the connection stood, UNAVAILABLE is silence: the request may have arrived."""
    code = error.code()
    said = " ".join((error.details() or "").split())[:200]
    if code in _REFUSALS:
        return NodeRefused(f"{node} refused {request}: {code.name} {said}".rstrip(), status=_REFUSALS[code])
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return NoAnswer(f"{node} did not answer {request} in time")
    if code in _SILENCES:
        return NoAnswer(f"{node} gave no answer to {request}: {code.name} {said}".rstrip())
    return NodeBroken(f"{node} answered {request} with {code.name} {said}".rstrip())


async def _connected(channel: aio.Channel, node: str) -> None:
    """Return when the connection stands, TLS and HTTP/2 greeted; raises NotReached when the first try fails."""
    state = channel.get_state(try_to_connect=True)
    while state is not grpc.ChannelConnectivity.READY:
        if state in {grpc.ChannelConnectivity.TRANSIENT_FAILURE, grpc.ChannelConnectivity.SHUTDOWN}:
            raise NotReached(f"{node} could not be reached: connection refused, or no gRPC or no trusted TLS there")
        await channel.wait_for_state_change(state)
        state = channel.get_state(try_to_connect=True)


def _trusted() -> bytes:
    """Return the authorities that HTTP calls trust, as PEM: gRPC would look for its own in the environment."""
    return Path(certifi.where()).read_bytes()
