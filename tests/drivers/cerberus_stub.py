"""A stand-in for Cerberus, after its published interface and the source of its server: not Cerberus itself.

What it reproduces: a lock that is stored and read by nothing that signs; the API key, checked at each sign call against
one hash for each key; an administration that asks nobody who he is, answers LockKey for keys it does not hold, and says
UNKNOWN where it means not found; /metrics with each call by method and code. Beside it an AVS node signs at its period.
"""

import asyncio
import contextlib
import hashlib
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from grpc import aio

from bot.nodes.cerberus_pb import admin_pb2 as admin
from bot.nodes.cerberus_pb import signer_pb2 as signer
from tests.drivers.contract import Character

CODES = {
    grpc.StatusCode.OK: "OK",
    grpc.StatusCode.UNAUTHENTICATED: "Unauthenticated",
    grpc.StatusCode.UNKNOWN: "Unknown",
    grpc.StatusCode.INTERNAL: "Internal",
    grpc.StatusCode.PERMISSION_DENIED: "PermissionDenied",
}


class StatusError(Exception):
    """A call ends with a status that is not OK."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(details)
        self.code, self.details = code, details


def hash_of(api_key: str) -> str:
    """Return what is stored of an API key."""
    return hashlib.sha256(api_key.encode()).hexdigest()


@dataclass
class Stub:
    """One stand-in. Keys are 0x-hex, as in the inventory; inside they are bare, as Cerberus has them."""

    keys: tuple[str, ...]
    character: Character = Character.HONEST
    period: float = 0.1
    late: float = 1.5
    hashes: dict[str, str] = field(default_factory=dict)
    locked: dict[str, bool] = field(default_factory=dict)
    node_keys: dict[str, str] = field(default_factory=dict)
    """The API keys in the AVS node's configuration."""
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    effects: list[str] = field(default_factory=list)
    metadata: list[dict[str, str]] = field(default_factory=list)
    given_out: list[str] = field(default_factory=list)
    started: float = field(default_factory=time.time)
    fails: set[str] = field(default_factory=set)
    """Methods of the administration that end in an error."""
    says: bytes | None = None
    """What the administration answers instead of a message."""
    stale: str | None = None
    """What /metrics says instead of the truth."""
    admin_port: int = 0
    signer_port: int = 0
    metrics_port: int = 0

    def __post_init__(self) -> None:
        for key in self.keys:
            bare = key.lower().removeprefix("0x")
            self.node_keys[bare] = str(uuid.uuid4())
            self.hashes[bare] = hash_of(self.node_keys[bare])
            self.locked[bare] = False

    async def signs(self, key: str, api_key: str) -> bool:
        """Ask for a signature, over gRPC, as an AVS node does."""
        async with aio.insecure_channel(
            f"127.0.0.1:{self.signer_port}", options=[("grpc.enable_http_proxy", 0)]
        ) as channel:
            return await self._signed(channel, key.lower().removeprefix("0x"), api_key)

    async def stopped(self) -> bool:
        """Return whether the node's own API keys are of no use any more, tried out."""
        return not any([await self.signs(key, self.node_keys[key]) for key in self.node_keys])

    async def _signed(self, channel: aio.Channel, key: str, api_key: str) -> bool:
        send: Any = channel.unary_unary("/signer.v1.Signer/SignGeneric")
        request = signer.SignGenericRequest(public_key_g1=key, data=b"\x01" * 32)
        try:
            raw = await send(request.SerializeToString(), timeout=5, metadata=(("authorization", api_key),))
        except aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNAUTHENTICATED:
                raise
            return False
        return bool(signer.SignGenericResponse.FromString(raw).signature)

    async def node(self) -> None:
        """Be the AVS node: sign with each key at each period, whatever the answer."""
        async with aio.insecure_channel(
            f"127.0.0.1:{self.signer_port}", options=[("grpc.enable_http_proxy", 0)]
        ) as channel:
            while True:
                for key, api_key in self.node_keys.items():
                    await self._signed(channel, key, api_key)
                await asyncio.sleep(self.period)

    async def sign_generic(self, request: Any, given: dict[str, str]) -> Any:
        stored = self.hashes.get(request.public_key_g1)
        if stored is None or stored != hash_of(given.get("authorization", "")):
            raise StatusError(grpc.StatusCode.UNAUTHENTICATED, "invalid token")
        return signer.SignGenericResponse(signature=hashlib.sha256(request.data).digest())

    async def generate(self, request: Any, given: dict[str, str]) -> Any:
        key = request.public_key_g1
        if key not in self.hashes:
            raise StatusError(grpc.StatusCode.UNKNOWN, "key not found")
        self._half(key)
        self.given_out.append(str(uuid.uuid4()))
        if self.character is not Character.LYING:
            self.hashes[key] = hash_of(self.given_out[-1])
        await self._late()
        return admin.GenerateNewApiKeyResponse(public_key_g1=key, api_key=self.given_out[-1])

    async def lock(self, request: Any, given: dict[str, str]) -> Any:
        self._half(request.public_key_g1)
        if request.public_key_g1 in self.locked:
            self.locked[request.public_key_g1] = True
        return admin.LockKeyResponse()

    async def unlock(self, request: Any, given: dict[str, str]) -> Any:
        self._half(request.public_key_g1)
        if request.public_key_g1 in self.locked:
            self.locked[request.public_key_g1] = False
        return admin.UnlockKeyResponse()

    async def list_all(self, request: Any, given: dict[str, str]) -> Any:
        keys = [
            admin.KeyMetadata(public_key_g1=key, public_key_g2="00", locked=locked, created_at="2026-11-20T03:00:00Z")
            for key, locked in self.locked.items()
        ]
        return admin.ListAllKeysResponse(keys=keys)

    def _half(self, key: str) -> None:
        if self.character is Character.HALF and key in list(self.hashes)[len(self.hashes) // 2 :]:
            raise StatusError(grpc.StatusCode.INTERNAL, "the database is read-only")

    async def _late(self) -> None:
        if self.character is Character.SLOW:
            await asyncio.sleep(self.late)

    def _moody(self, method: str) -> StatusError | None:
        if self.character is Character.ERRORING or method.rpartition("/")[2] in self.fails:
            return StatusError(grpc.StatusCode.INTERNAL, "out of order")
        if self.character is Character.UNAUTHORISED:  # Cerberus never says so here: a proxy in front of it does
            return StatusError(grpc.StatusCode.PERMISSION_DENIED, "not you")
        return None

    def counted(self, method: str, act: Callable[[Any, dict[str, str]], Awaitable[Any]]) -> Callable[..., Any]:
        """Return a handler that counts each call by method and code, before the answer leaves."""
        administration = method.startswith("/admin.")

        async def handler(request: Any, context: Any) -> Any:
            given = dict(context.invocation_metadata() or ())
            if administration:
                self.metadata.append(given)
                if "List" not in method:
                    self.effects.append(method.rpartition("/")[2])
                if self.character is Character.SILENT:
                    await asyncio.Event().wait()
            try:
                if administration and (trouble := self._moody(method)):
                    raise trouble
                answer = await act(request, given)
            except StatusError as error:
                self.counts[method, CODES[error.code]] += 1
                await context.abort(error.code, error.details)
            self.counts[method, "OK"] += 1
            return answer.SerializeToString() if self.says is None or not administration else self.says

        return handler

    def text(self) -> str:
        """Return /metrics: no line for what never happened."""
        lines = [f"process_start_time_seconds {self.started!r}", "# TYPE cerberus_rpc_server_request_total counter"]
        lines += [
            f'cerberus_rpc_server_request_total{{code="{code}",method="{method}"}} {count}'
            for (method, code), count in self.counts.items()
        ]
        return "\n".join(lines) + "\n"

    async def metrics(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one GET of /metrics."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            body = (self.stale if self.stale is not None else self.text()).encode()
            known = head.startswith(b"GET /metrics ")
            status = b"200 OK" if known else b"404 Not Found"
            writer.write(b"HTTP/1.1 %b\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % (status, len(body)) + body)
            await writer.drain()
        writer.close()


def _handlers(stub: Stub, service: str, methods: dict[str, tuple[Any, Any]]) -> Any:
    table: dict[str, Any] = {
        name: grpc.unary_unary_rpc_method_handler(
            stub.counted(f"/{service}/{name}", act),
            request_deserializer=request.FromString,
        )
        for name, (act, request) in methods.items()
    }
    return grpc.method_handlers_generic_handler(service, table)


@asynccontextmanager
async def running_stub(stub: Stub, credentials: grpc.ServerCredentials | None = None) -> AsyncIterator[Stub]:
    """Run the stand-in with its AVS node on ports of its own; when it is `down`, its administration does not listen."""
    options = [("grpc.so_reuseport", 0)]
    signing, administration = aio.server(options=options), aio.server(options=options)
    signing.add_generic_rpc_handlers(
        (_handlers(stub, "signer.v1.Signer", {"SignGeneric": (stub.sign_generic, signer.SignGenericRequest)}),)
    )
    methods = {
        "GenerateNewApiKey": (stub.generate, admin.GenerateNewApiKeyRequest),
        "LockKey": (stub.lock, admin.LockKeyRequest),
        "UnlockKey": (stub.unlock, admin.UnlockKeyRequest),
        "ListAllKeys": (stub.list_all, admin.ListAllKeysRequest),
    }
    administration.add_generic_rpc_handlers((_handlers(stub, "admin.v1.Admin", methods),))
    stub.signer_port = signing.add_insecure_port("127.0.0.1:0")
    if credentials is None:
        stub.admin_port = administration.add_insecure_port("127.0.0.1:0")
    else:
        stub.admin_port = administration.add_secure_port("127.0.0.1:0", credentials)
    metrics = await asyncio.start_server(stub.metrics, "127.0.0.1", 0)
    stub.metrics_port = int(metrics.sockets[0].getsockname()[1])
    await signing.start()
    await administration.start()
    if stub.character is Character.DOWN:
        await administration.stop(None)
    node = asyncio.create_task(stub.node())
    try:
        yield stub
    finally:
        node.cancel()
        await asyncio.gather(node, return_exceptions=True)
        await administration.stop(None)
        await signing.stop(None)
        metrics.close()
        await metrics.wait_closed()
