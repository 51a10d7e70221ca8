"""The cerberus driver: what stops and what does not, the sealed API keys, its telemetry, and gRPC tamed."""

import asyncio
import contextlib
import importlib.util
import io
import ipaddress
import json
import logging
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from grpc import aio

from bot.domain.inventory import Endpoint, Node
from bot.domain.target import Answer, State, prove
from bot.errors import Misconfigured, NoAnswer, NodeBroken, NodeError, NodeRefused, NotReached
from bot.nodes import cerberus, sealed
from bot.nodes.cerberus import Cerberus
from bot.nodes.cerberus_pb import admin_pb2, signer_pb2
from bot.nodes.grpc_wire import GrpcWire, grpc_wire
from bot.nodes.sealed import Sealed, Secret
from bot.nodes.way import Way
from bot.nodes.wire import NodeClient, node_client
from tests.conftest import need
from tests.drivers.cerberus_stub import Stub, running_stub
from tests.drivers.contract import Character, SystemClock

A, B = "0x" + "a3" * 32, "0x" + "b4" * 32
SEAL = Fernet.generate_key().decode()
WHO = {"incident": "inc-7", "request": "r1"}
PERIOD = timedelta(seconds=0.1)


@pytest.fixture
async def client() -> AsyncIterator[NodeClient]:
    async with node_client() as made:
        yield made


@pytest.fixture
async def stub() -> AsyncIterator[Stub]:
    async with running_stub(Stub((A, B))) as running:
        yield running


def driver(
    client: NodeClient,
    stub: Stub,
    folder: Path,
    *,
    keys: tuple[str, ...] = (A, B),
    secret: Callable[[str], str] = lambda _: SEAL,
    **options: str,
) -> Cerberus:
    given = {"metrics": f"http://127.0.0.1:{stub.metrics_port}", "sealed": str(folder), "seal": "env:SEAL", **options}
    url = f"http://127.0.0.1:{stub.admin_port}"
    endpoint = Endpoint(driver="cerberus", url=url, timeout=timedelta(seconds=0.5), options=given)
    node = Node(name="seq-01", avs="x", keys=keys)
    return cerberus.connect(Way(node=node, endpoint=endpoint, client=client, clock=SystemClock(), secret=secret))


def new_key(folder: Path, key: str) -> str:
    return Sealed(folder, lambda: SEAL).open("seq-01", key).api_key


# What stops, and what does not.


async def test_the_lock_alone_stops_nothing_and_is_not_believed(client: NodeClient, stub: Stub, tmp_path: Path) -> None:
    made = driver(client, stub, tmp_path)
    for key in stub.locked:
        stub.locked[key] = True
    before = await made.sample((A, B))
    assert not any(reading.signing for reading in before.keys.values())
    assert not await stub.stopped()
    await asyncio.sleep(0.25)
    proof = prove(before, await made.sample((A, B)), (A, B), period=PERIOD)
    assert (proof.state, "still signing" in proof.why) == (State.FAILED, True)


async def test_a_freeze_voids_the_api_keys_first_and_marks_them_after(
    client: NodeClient, stub: Stub, tmp_path: Path
) -> None:
    reply = await driver(client, stub, tmp_path, keys=(A,)).freeze([A.upper().replace("X", "x")], **WHO)
    assert stub.effects == ["GenerateNewApiKey", "LockKey"]
    assert "the node's own is no longer accepted; sealed for the unfreeze" in reply.detail
    assert stub.locked == {A[2:]: True, B[2:]: False}
    assert reply.answer is Answer.ACKNOWLEDGED
    assert not await stub.signs(A, stub.node_keys[A[2:]])
    assert await stub.signs(B, stub.node_keys[B[2:]])
    assert await stub.signs(A, new_key(tmp_path, A))


async def test_each_freeze_makes_a_new_api_key_and_the_newest_is_the_one_kept(
    client: NodeClient, stub: Stub, tmp_path: Path
) -> None:
    made = driver(client, stub, tmp_path)
    kept = []
    for _ in range(3):
        assert (await made.freeze((A, B), **WHO)).answer is Answer.ACKNOWLEDGED
        kept.append(new_key(tmp_path, A))
    assert len(set(kept)) == 3
    assert [await stub.signs(A, one) for one in kept] == [False, False, True]
    assert len(list(tmp_path.iterdir())) == 2


async def test_no_api_key_is_ever_told_or_logged(
    client: NodeClient, stub: Stub, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    made = driver(client, stub, tmp_path)
    replies = [await made.freeze((A, B), **WHO), await made.unfreeze((A, B), **WHO)]
    told = [*replies, await made.sample((A, B))]
    secret = Sealed(tmp_path, lambda: SEAL).open("seq-01", A)
    said = repr(told) + caplog.text + repr(secret) + repr(made)
    on_disk = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert len(stub.given_out) == 2
    for one in stub.given_out:
        assert one not in said
        assert one.encode() not in on_disk
    assert [reply.artifacts for reply in replies] == [(), ()]


async def test_after_an_unfreeze_the_node_signs_only_with_the_new_api_key(
    client: NodeClient, stub: Stub, tmp_path: Path
) -> None:
    made = driver(client, stub, tmp_path)
    await made.freeze((A, B), **WHO)
    reply = await made.unfreeze((A, B), **WHO)
    assert reply.answer is Answer.ACKNOWLEDGED
    assert f"signs only once you give it the new API key: open {tmp_path}/seq-01.{A}.sealed" in reply.detail
    assert not any(stub.locked.values())
    assert await stub.stopped()
    stub.node_keys = {key[2:]: new_key(tmp_path, key) for key in (A, B)}
    before = await made.sample((A, B))
    await asyncio.sleep(0.25)
    assert prove(before, await made.sample((A, B)), (A, B), period=PERIOD).state is State.FAILED


async def test_an_unfreeze_that_would_help_nobody_is_refused_and_sends_nothing(
    client: NodeClient, stub: Stub, tmp_path: Path
) -> None:
    made = driver(client, stub, tmp_path)
    await made.freeze((A,), **WHO)
    reply = await made.unfreeze((A, B), **WHO)
    assert (reply.answer, "nothing is sealed for key 0xb4b4…b4b4 of seq-01" in reply.detail) == (Answer.REFUSED, True)
    other = driver(client, stub, tmp_path, secret=lambda _: Fernet.generate_key().decode())
    reply = await other.unfreeze((A,), **WHO)
    assert (reply.answer, "sealed with another seal" in reply.detail) == (Answer.REFUSED, True)
    assert "UnlockKey" not in stub.effects


def _lost(reference: str) -> str:
    raise Misconfigured([f"{reference} is not set"])


@pytest.mark.parametrize(
    ("secret", "reason"),
    [(_lost, "env:SEAL is not set"), (lambda _: "hunter2", "the seal is not a Fernet key"), (None, "not a directory")],
    ids=["no seal", "no Fernet key", "no folder"],
)
async def test_what_cannot_be_sealed_stops_no_freeze_and_is_told(
    client: NodeClient, stub: Stub, tmp_path: Path, secret: Callable[[str], str] | None, reason: str
) -> None:
    folder = tmp_path / "file"
    folder.write_text("in the way")
    where = folder / "sealed" if secret is None else tmp_path / "sealed"
    made = driver(client, stub, where, secret=secret or (lambda _: SEAL))
    reply = await made.freeze((A, B), **WHO)
    assert reply.answer is Answer.ACKNOWLEDGED
    assert "is lost, freeze again to make another" in reply.detail
    assert "sealed for" not in reply.detail
    assert reason in reply.detail
    assert "hunter2" not in reply.detail
    assert await stub.stopped()


async def test_a_key_that_cerberus_lacks_is_refused_and_not_marked(
    client: NodeClient, stub: Stub, tmp_path: Path
) -> None:
    stranger = "0x" + "cc" * 32
    made = driver(client, stub, tmp_path, keys=(A, stranger))
    with pytest.raises(NodeRefused, match="does not hold the key"):
        await made.freeze((stranger,), **WHO)
    assert stub.effects == ["GenerateNewApiKey"]
    reply = await made.freeze((A, stranger), **WHO)
    assert (reply.answer, "done for 1 of 2 keys" in reply.detail) == (Answer.FAILED, True)
    assert list((await made.sample((A, stranger))).keys) == [A]


async def test_half_a_freeze_says_which_half_is_open(client: NodeClient, tmp_path: Path) -> None:
    async with running_stub(Stub((A, B), Character.HALF)) as stub:
        reply = await driver(client, stub, tmp_path).freeze((A, B), **WHO)
        assert reply.answer is Answer.UNKNOWN
        assert "done for 1 of 2 keys; 0xb4b4…b4b4: seq-01 answered GenerateNewApiKey with INTERNAL" in reply.detail
        assert await stub.signs(A, new_key(tmp_path, A))


async def test_half_an_unfreeze_is_not_done(client: NodeClient, stub: Stub, tmp_path: Path) -> None:
    made = driver(client, stub, tmp_path)
    await made.freeze((A, B), **WHO)
    stub.character = Character.HALF
    reply = await made.unfreeze((A, B), **WHO)
    assert (reply.answer, "done for 1 of 2 keys" in reply.detail) == (Answer.UNKNOWN, True)
    stub.character = Character.ERRORING
    with pytest.raises(NodeBroken, match="answered UnlockKey with INTERNAL"):
        await made.unfreeze((A, B), **WHO)


async def test_a_slow_seal_does_not_hold_the_answer_up(client: NodeClient, stub: Stub, tmp_path: Path) -> None:
    def slow(reference: str) -> str:
        time.sleep(0.8)
        return SEAL

    made = driver(client, stub, tmp_path, keys=(A,), secret=slow)
    began = asyncio.get_running_loop().time()
    reply = await made.freeze((A,), **WHO)
    assert asyncio.get_running_loop().time() - began < 0.7
    assert "could not be sealed in time" in reply.detail
    assert "the mark is missing: seq-01 was not asked LockKey" in reply.detail
    assert (reply.answer, await stub.signs(A, stub.node_keys[A[2:]])) == (Answer.ACKNOWLEDGED, False)


async def test_a_missing_mark_is_told_and_found_by_the_read_back(
    client: NodeClient, stub: Stub, tmp_path: Path
) -> None:
    stub.fails = {"LockKey"}
    made = driver(client, stub, tmp_path)
    reply = await made.freeze((A, B), **WHO)
    assert (reply.answer, "the mark is missing" in reply.detail) == (Answer.ACKNOWLEDGED, True)
    assert await stub.stopped()
    assert (await made.sample((A, B))).keys[A].signing


@pytest.mark.parametrize("trouble", ["no answer", "broken", "unsealed", "refused"])
async def test_a_sealed_api_key_that_may_be_void_is_not_handed_out(
    client: NodeClient, stub: Stub, tmp_path: Path, trouble: str
) -> None:
    made = driver(client, stub, tmp_path)
    await made.freeze((A, B), **WHO)
    if trouble == "no answer":
        stub.character = Character.SLOW
    elif trouble == "unsealed":
        made = driver(client, stub, tmp_path, secret=_lost)
    else:
        stub.character = Character.ERRORING if trouble == "broken" else Character.UNAUTHORISED
    with contextlib.suppress(NodeError):
        await made.freeze((A, B), **WHO)
    stub.character = Character.HONEST
    reply = await driver(client, stub, tmp_path).unfreeze((A, B), **WHO)
    if trouble == "refused":
        assert reply.answer is Answer.ACKNOWLEDGED
        assert await stub.signs(A, new_key(tmp_path, A))
    else:
        assert (reply.answer, "nothing is sealed" in reply.detail) == (Answer.REFUSED, True)
    assert await stub.stopped()


@pytest.mark.parametrize(
    "answer",
    [
        admin_pb2.GenerateNewApiKeyResponse(public_key_g1=A[2:]),
        admin_pb2.GenerateNewApiKeyResponse(public_key_g1=B[2:], api_key="k"),
        None,
    ],
    ids=["empty", "of another key", "no message"],
)
async def test_an_answer_without_an_api_key_of_this_key_is_broken(
    client: NodeClient, stub: Stub, tmp_path: Path, answer: Any
) -> None:
    stub.says = answer.SerializeToString() if answer else b"\xff\xff"
    with pytest.raises(NodeBroken, match="answered GenerateNewApiKey with"):
        await driver(client, stub, tmp_path).freeze((A,), **WHO)
    assert list(tmp_path.iterdir()) == []


# Telemetry.


async def test_only_answered_sign_calls_are_counted(client: NodeClient, stub: Stub, tmp_path: Path) -> None:
    made = driver(client, stub, tmp_path)
    await asyncio.sleep(0.15)
    await made.freeze((A, B), **WHO)
    first = await made.sample((A, B))
    denied = stub.counts["/signer.v1.Signer/SignGeneric", "Unauthenticated"]
    await asyncio.sleep(0.25)
    second = await made.sample((A, B))
    assert stub.counts["/signer.v1.Signer/SignGeneric", "Unauthenticated"] > denied
    signed = stub.counts["/signer.v1.Signer/SignGeneric", "OK"]
    assert signed > 0
    assert {reading.counter for one in (first, second) for reading in one.keys.values()} == {signed}
    assert prove(first, second, (A, B), period=PERIOD).state is State.VERIFIED


async def test_nothing_signed_yet_is_nought_and_not_unknown(client: NodeClient, tmp_path: Path) -> None:
    idle = Stub((A, B), started=7.0)
    idle.node_keys.clear()
    async with running_stub(idle):
        sample = await driver(client, idle, tmp_path).sample((A, B))
    assert ({reading.counter for reading in sample.keys.values()}, sample.instance) == ({0}, "7.0")


LINE = 'cerberus_rpc_server_request_total{method="%s",code="OK"} %d\n'


@pytest.mark.parametrize(
    ("page", "why"),
    [
        (f"process_start_time_seconds 7\n{LINE % ('/signer.v1.Signer/SignG1', 9)}", "stale"),
        (LINE % ("/admin.v1.Admin/ListAllKeys", 9), "no process"),
        ("process_start_time_seconds {torn\n", "torn"),
        ("process_start_time_seconds NaN\n", "nan"),
        ("", "empty"),
    ],
)
async def test_telemetry_that_does_not_count_our_own_call_counts_nothing(
    client: NodeClient, stub: Stub, tmp_path: Path, page: str, why: str
) -> None:
    stub.stale = page
    sample = await driver(client, stub, tmp_path).sample((A, B))
    assert (sample.instance, [reading.counter for reading in sample.keys.values()]) == ("", [None, None])


async def test_telemetry_of_another_cerberus_counts_nothing(client: NodeClient, stub: Stub, tmp_path: Path) -> None:
    async with running_stub(Stub((A, B))) as other:
        made = driver(client, stub, tmp_path, metrics=f"http://127.0.0.1:{other.metrics_port}")
        assert {reading.counter for reading in (await made.sample((A, B))).keys.values()} == {None}


async def test_silent_telemetry_leaves_time_for_the_read_back(client: NodeClient, stub: Stub, tmp_path: Path) -> None:
    async with listening(lambda reader, writer: asyncio.Event().wait()) as port:
        began = asyncio.get_running_loop().time()
        made = driver(client, stub, tmp_path, metrics=f"http://127.0.0.1:{port}")
        assert (await made.sample((A, B))).keys[A].signing
        assert asyncio.get_running_loop().time() - began < 0.5


async def test_a_counter_over_other_keys_too_says_nothing_of_one(
    client: NodeClient, stub: Stub, tmp_path: Path
) -> None:
    made = driver(client, stub, tmp_path, keys=(A,))
    assert (await made.sample((A,))).keys[A].counter is None
    del stub.locked[B[2:]]
    assert (await made.sample((A,))).keys[A].counter is not None


async def test_keys_are_read_back_in_the_spelling_of_the_inventory(
    client: NodeClient, stub: Stub, tmp_path: Path
) -> None:
    shouted = "0x" + A[2:].upper()
    assert set((await driver(client, stub, tmp_path).sample((shouted, B))).keys) == {shouted, B}


async def test_there_is_no_slashing_protection(client: NodeClient, stub: Stub, tmp_path: Path) -> None:
    with pytest.raises(NodeRefused, match="keeps no slashing protection"):
        await driver(client, stub, tmp_path).slashing_protection()


# The inventory.

FULL = {"metrics": "http://127.0.0.1:9091", "sealed": "/var/lib/sealed", "seal": "file:/etc/seal"}


@pytest.mark.parametrize(
    ("url", "options", "problem"),
    [
        ("http://127.0.0.1:50052", {}, "needs the option metrics"),
        ("http://127.0.0.1:50052", {**FULL, "seal": SEAL}, "seal must be a reference"),
        ("http://127.0.0.1:50052", {**FULL, "sealed": "here"}, "sealed must be an absolute path"),
        ("http://127.0.0.1:50052", {**FULL, "token": "x"}, "has no option token"),
        ("http://127.0.0.1:50052", {**FULL, "metrics": "ftp://x"}, "is not a node's URL"),
        ("http://127.0.0.1", FULL, "is not a gRPC server's URL"),
        ("tcp://127.0.0.1:50052", FULL, "is not a gRPC server's URL"),
        ("http://127.0.0.1:50052/path", FULL, "is not a gRPC server's URL"),
        ("http://me:secret@127.0.0.1:50052", FULL, "is not a gRPC server's URL"),
        ("http://[::1", FULL, "its URL cannot be read"),
    ],
)
async def test_a_wrong_inventory_is_misconfigured(
    client: NodeClient, url: str, options: dict[str, str], problem: str
) -> None:
    endpoint = Endpoint(driver="cerberus", url=url, options=options)
    way = Way(node=Node(name="n", avs="x", keys=(A,)), endpoint=endpoint, client=client, clock=SystemClock())
    with pytest.raises(Misconfigured, match=problem) as raised:
        cerberus.connect(way)
    assert SEAL not in str(raised.value)
    assert "secret" not in str(raised.value)


# gRPC, tamed.

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[Any]]


@asynccontextmanager
async def listening(serve: Serve) -> AsyncIterator[int]:
    """Listen on a free port; every connection is cut at the end."""
    tasks: set[asyncio.Task[Any]] = set()

    async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with contextlib.suppress(asyncio.CancelledError, ConnectionError, asyncio.IncompleteReadError):
            await serve(reader, writer)
        writer.close()

    server = await asyncio.start_server(guarded, "127.0.0.1", 0)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def wire(client: NodeClient, url: str, *, token: str | None = None, **more: Any) -> GrpcWire:
    endpoint = Endpoint(driver="cerberus", url=url, timeout=timedelta(seconds=0.5), **more)
    node = Node(name="seq-01", avs="x", keys=(A,))
    return grpc_wire(Way(node=node, endpoint=endpoint, client=client, clock=SystemClock(), token=token))


async def listed(made: GrpcWire) -> list[str]:
    async with made.call() as call:
        answer = await call.ask(
            "/admin.v1.Admin/ListAllKeys", admin_pb2.ListAllKeysRequest(), admin_pb2.ListAllKeysResponse
        )
    return [one.public_key_g1 for one in answer.keys]


async def generated(made: GrpcWire) -> Any:
    async with made.call() as call:
        return await call.ask(
            "/admin.v1.Admin/GenerateNewApiKey",
            admin_pb2.GenerateNewApiKeyRequest(public_key_g1=A[2:]),
            admin_pb2.GenerateNewApiKeyResponse,
        )


SETTINGS = b"\0\0\0\x04\0\0\0\0\0"
REFUSED_STREAM = b"\0\0\x04\x03\0" + b"%b" + b"\0\0\0\x07"
GOAWAY = b"\0\0\x08\x07\0\0\0\0\0" + bytes(8)


@pytest.mark.parametrize("how", ["refuses the stream", "goes away", "cuts the connection"])
async def test_a_call_that_was_sent_is_never_sent_again(client: NodeClient, how: str) -> None:
    sent: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(24)  # the preface of HTTP/2
        writer.write(SETTINGS)
        while True:
            head = await reader.readexactly(9)
            await reader.readexactly(int.from_bytes(head[:3]))
            if head[3] == 1:  # HEADERS: a call
                sent.append(how)
                if how == "refuses the stream":
                    writer.write(REFUSED_STREAM % head[5:9])
                elif how == "goes away":
                    writer.write(GOAWAY)
                else:
                    return

    async with listening(serve) as port:
        with pytest.raises(NoAnswer):
            await generated(wire(client, f"http://127.0.0.1:{port}"))
        await asyncio.sleep(0.1)
    assert len(sent) == 1


@pytest.mark.parametrize(
    ("serve", "what"),
    [
        (lambda reader, writer: asyncio.Event().wait(), "took no gRPC connection within"),
        (lambda reader, writer: asyncio.sleep(0), "could not be reached"),
    ],
    ids=["silent", "hangs up"],
)
async def test_what_never_speaks_grpc_was_not_reached_in_time(client: NodeClient, serve: Any, what: str) -> None:
    async with listening(serve) as port:
        began = asyncio.get_running_loop().time()
        with pytest.raises(NotReached, match=what):
            await generated(wire(client, f"http://127.0.0.1:{port}"))
        assert asyncio.get_running_loop().time() - began < 0.6


async def test_two_calls_share_no_connection(client: NodeClient) -> None:
    opened: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opened.append(1)
        await asyncio.Event().wait()

    async with listening(serve) as port:
        made = wire(client, f"http://127.0.0.1:{port}")
        failed = await asyncio.gather(generated(made), generated(made), return_exceptions=True)
    assert [type(one) for one in failed] == [NotReached, NotReached]
    assert len(opened) == 2


async def test_no_proxy_of_the_environment_is_used(
    client: NodeClient, stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached: list[int] = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reached.append(1)

    async with listening(proxy) as port:
        for name in ("http_proxy", "https_proxy", "grpc_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
        assert await listed(wire(client, f"http://127.0.0.1:{stub.admin_port}")) == [A[2:], B[2:]]
    assert not reached


@pytest.mark.parametrize("networks", [("10.0.0.0/8",), ()])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_an_address_outside_the_networks_is_not_called(
    client: NodeClient, stub: Stub, networks: tuple[str, ...], host: str
) -> None:
    url = f"http://{host}:{stub.admin_port}"
    node = Node(name="seq-01", avs="x", keys=(A,))
    endpoint = Endpoint(driver="cerberus", url=url)
    way = Way(node=node, endpoint=endpoint, client=client, clock=SystemClock(), networks=networks)
    with pytest.raises(NotReached, match="no address in the inventory's networks"):
        await generated(grpc_wire(way))
    assert stub.effects == []


async def test_a_name_that_does_not_resolve_was_not_reached(
    client: NodeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing(*_: Any, **__: Any) -> Any:
        raise OSError(-2, "Name or service not known")

    monkeypatch.setattr("socket.getaddrinfo", nothing)
    with pytest.raises(NotReached, match="Name or service not known"):
        await generated(wire(client, "http://cerberus:50052"))


async def test_a_token_is_for_a_proxy_in_front_and_goes_as_bearer(client: NodeClient, stub: Stub) -> None:
    made = wire(client, f"http://127.0.0.1:{stub.admin_port}", token="t0ken")
    await listed(made)
    assert stub.metadata[-1]["authorization"] == "Bearer t0ken"
    assert "t0ken" not in repr(made)
    await listed(wire(client, f"http://127.0.0.1:{stub.admin_port}"))
    assert "authorization" not in stub.metadata[-1]


async def test_an_answer_beyond_bounds_is_broken(client: NodeClient, stub: Stub) -> None:
    stub.says = bytes(5 * 1024 * 1024)
    with pytest.raises(NodeBroken, match="RESOURCE_EXHAUSTED"):
        await listed(wire(client, f"http://127.0.0.1:{stub.admin_port}"))


MEANINGS: dict[grpc.StatusCode, type[NodeError]] = {
    **dict.fromkeys(grpc.StatusCode, NodeBroken),
    grpc.StatusCode.CANCELLED: NoAnswer,
    grpc.StatusCode.DEADLINE_EXCEEDED: NoAnswer,
    grpc.StatusCode.UNAVAILABLE: NoAnswer,
    grpc.StatusCode.INVALID_ARGUMENT: NodeRefused,
    grpc.StatusCode.NOT_FOUND: NodeRefused,
    grpc.StatusCode.ALREADY_EXISTS: NodeRefused,
    grpc.StatusCode.PERMISSION_DENIED: NodeRefused,
    grpc.StatusCode.UNAUTHENTICATED: NodeRefused,
    grpc.StatusCode.FAILED_PRECONDITION: NodeRefused,
    grpc.StatusCode.OUT_OF_RANGE: NodeRefused,
    grpc.StatusCode.UNIMPLEMENTED: NodeRefused,
}


async def test_each_status_has_one_meaning_and_is_quoted_in_bounds(client: NodeClient) -> None:
    codes = iter([code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
    meant: dict[grpc.StatusCode, type[NodeError]] = {}

    async def act(request: bytes, context: Any) -> bytes:
        await context.abort(code, "why\nnot " + "x" * 500)
        return b""

    server = aio.server(options=[("grpc.so_reuseport", 0)])
    handlers: dict[str, Any] = {"GenerateNewApiKey": grpc.unary_unary_rpc_method_handler(act)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("admin.v1.Admin", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    for code in codes:
        with pytest.raises(NodeError) as raised:
            await generated(wire(client, f"http://127.0.0.1:{port}"))
        meant[code] = type(raised.value)
        assert len(str(raised.value)) < 300
        assert "\n" not in str(raised.value)
    await server.stop(None)
    assert meant == {code: kind for code, kind in MEANINGS.items() if code is not grpc.StatusCode.OK}


# TLS.


class Authority:
    """A certificate authority of this test, and what it signed, as PEM files."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.ca = self._kept("ca", self._certificate(self._key, self._issuer, None))

    def signed(self, host: str) -> tuple[str, str]:
        """Return certificate and key for a host, as paths."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return self._kept(host, self._certificate(key, subject, host)), self._kept(f"{host}.key", secret)

    def _certificate(self, key: ec.EllipticCurvePrivateKey, subject: x509.Name, host: str | None) -> bytes:
        now = datetime.now(UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=host is None, path_length=None), critical=True)
        )
        if host is not None:
            number = host.replace(".", "").isdigit()
            name = x509.IPAddress(ipaddress.ip_address(host)) if number else x509.DNSName(host)
            made = made.add_extension(x509.SubjectAlternativeName([name]), critical=False)
        return made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def _kept(self, name: str, content: bytes) -> str:
        path = self._folder / f"{self._name}-{name}.pem"
        path.write_bytes(content)
        return str(path)


@asynccontextmanager
async def tls_stub(ours: Authority, host: str, *, clients: bool = False) -> AsyncIterator[Stub]:
    chain, key = (Path(path).read_bytes() for path in ours.signed(host))
    roots = Path(ours.ca).read_bytes()
    credentials = grpc.ssl_server_credentials([(key, chain)], roots, clients)
    async with running_stub(Stub((A, B)), credentials) as stub:
        yield stub


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
async def test_tls_is_verified_by_the_name_in_the_inventory(
    client: NodeClient, tmp_path: Path, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = Authority(tmp_path, "ours")
    monkeypatch.setenv("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", ours.ca)
    async with tls_stub(ours, host) as stub:
        assert await listed(wire(client, f"https://{host}:{stub.admin_port}", ca=ours.ca)) == [A[2:], B[2:]]
        other = "127.0.0.1" if host == "localhost" else "localhost"
        theirs = Authority(tmp_path, "theirs")
        for url, ca in (
            (f"https://{other}:{stub.admin_port}", ours.ca),  # a certificate of another name
            (f"https://{host}:{stub.admin_port}", theirs.ca),  # of another authority
            (f"https://{host}:{stub.admin_port}", None),  # of none that the system trusts
            (f"http://{host}:{stub.admin_port}", None),  # no TLS
        ):
            with pytest.raises(NotReached):
                await generated(wire(client, url, ca=ca))
        assert stub.effects == []


async def test_a_client_certificate_is_shown(client: NodeClient, tmp_path: Path) -> None:
    ours = Authority(tmp_path, "ours")
    certificate, key = ours.signed("bot")
    async with tls_stub(ours, "localhost", clients=True) as stub:
        url = f"https://localhost:{stub.admin_port}"
        assert await listed(wire(client, url, ca=ours.ca, client_cert=certificate, client_key=key))
        with pytest.raises(NodeError):
            await generated(wire(client, url, ca=ours.ca))
        assert stub.effects == []
        with pytest.raises(Misconfigured, match="cannot be read"):
            await generated(wire(client, url, ca=ours.ca, client_cert=certificate, client_key=f"{key}.gone"))


# The sealed store.


def secret_of(key: str, api_key: str, node: str = "seq-01") -> Secret:
    return Secret(node=node, key=key, api_key=api_key, incident="inc-7", at="2026-11-20T03:00:00+00:00")


def test_a_secret_is_readable_by_its_owner_alone_and_only_the_newest_is_left(tmp_path: Path) -> None:
    store = Sealed(tmp_path / "made" / "here", lambda: SEAL)
    for one in ("first", "second"):
        path = store.keep(secret_of(A, one))
    assert [stat.S_IMODE(p.stat().st_mode) for p in (path, path.parent)] == [0o600, 0o700]
    assert list(path.parent.iterdir()) == [path]
    assert store.open("seq-01", A).api_key == "second"


def test_a_write_that_fails_leaves_the_old_secret_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Sealed(tmp_path, lambda: SEAL)
    store.keep(secret_of(A, "first"))

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ValueError, match="no space left on device"):
        store.keep(secret_of(A, "second"))
    assert len(list(tmp_path.iterdir())) == 1
    assert store.open("seq-01", A).api_key == "first"


def test_a_file_is_not_believed_to_be_of_another_key_or_node(tmp_path: Path) -> None:
    store = Sealed(tmp_path, lambda: SEAL)
    store.keep(secret_of(A, "a")).rename(store.path("seq-01", B))
    with pytest.raises(ValueError, match="sealed for another key"):
        store.open("seq-01", B)
    store.path("seq-01", B).rename(store.path("../x", A))
    assert store.path("../x", A).parent == tmp_path
    with pytest.raises(ValueError, match="another key or node"):
        store.open("../x", A)


def test_a_rotated_seal_still_opens_what_the_old_one_sealed(tmp_path: Path) -> None:
    Sealed(tmp_path, lambda: SEAL).keep(secret_of(A, "a"))
    newer = Fernet.generate_key().decode()
    assert Sealed(tmp_path, lambda: f"{newer}\n{SEAL}\n").open("seq-01", A).api_key == "a"
    with pytest.raises(ValueError, match="another seal, or altered"):
        Sealed(tmp_path, lambda: newer).open("seq-01", A)


@pytest.mark.parametrize(
    "seal", ["", "hunter2", "é" * 44, SEAL[:-4], "A" * 64], ids=["empty", "short", "letters", "cut", "long"]
)
def test_what_is_no_fernet_key_seals_nothing_and_is_not_quoted(tmp_path: Path, seal: str) -> None:
    with pytest.raises(ValueError, match="the seal is not a Fernet key") as raised:
        Sealed(tmp_path, lambda: seal).keep(secret_of(A, "a"))
    assert not seal or seal not in str(raised.value)


def test_a_person_opens_it_with_the_seal(tmp_path: Path) -> None:
    path = Sealed(tmp_path, lambda: SEAL).keep(secret_of(A, "new-api-key"))
    command = [sys.executable, "-m", "bot.nodes.sealed", str(path)]
    done = subprocess.run(command, input=f"{SEAL}\n", capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["api_key"] == "new-api-key"


@pytest.mark.parametrize(("arguments", "code"), [((), 2), (("gone",), 1)])
def test_opening_says_what_is_wrong(arguments: tuple[str, ...], code: int) -> None:
    out = io.StringIO()
    assert sealed.main(list(arguments), io.StringIO(SEAL), out) == code
    assert out.getvalue()


# The interface.

PUBLISHED = {
    "LockKeyRequest": ["public_key_g1 1 string"],
    "LockKeyResponse": [],
    "UnlockKeyRequest": ["public_key_g1 1 string"],
    "UnlockKeyResponse": [],
    "GenerateNewApiKeyRequest": ["public_key_g1 1 string"],
    "GenerateNewApiKeyResponse": ["public_key_g1 1 string", "api_key 2 string"],
    "KeyMetadata": [
        "public_key_g1 1 string",
        "public_key_g2 2 string",
        "locked 3 bool",
        "created_at 4 string",
        "updated_at 5 string",
    ],
    "ListAllKeysRequest": [],
    "ListAllKeysResponse": ["keys 1 message"],
    "SignGenericRequest": ["public_key_g1 1 string", "data 2 bytes", "password 3 string"],
    "SignGenericResponse": ["signature 1 bytes"],
    "SignG1Request": ["public_key_g1 1 string", "data 2 bytes", "password 3 string"],
    "SignG1Response": ["signature 1 bytes"],
}
TYPES = {8: "bool", 9: "string", 11: "message", 12: "bytes"}


def test_the_messages_are_those_that_cerberus_api_publishes() -> None:
    files: tuple[Any, ...] = (admin_pb2.DESCRIPTOR, signer_pb2.DESCRIPTOR)
    assert {
        name: [f"{field.name} {field.number} {TYPES[field.type]}" for field in message.fields]
        for file in files
        for name, message in file.message_types_by_name.items()
    } == PUBLISHED
    services = {service.full_name for file in files for service in file.services_by_name.values()}
    assert services == {"admin.v1.Admin", "signer.v1.Signer"}


def test_what_is_generated_is_of_the_files_beside_it(tmp_path: Path) -> None:
    need(importlib.util.find_spec("grpc_tools") is None, "grpcio-tools")
    home = Path(cerberus.__file__).parent.parent.parent
    files = [f"bot/nodes/cerberus_pb/{name}.proto" for name in ("admin", "signer")]
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I.", f"--python_out={tmp_path}", *files]
    subprocess.run(command, cwd=home, check=True, timeout=60, capture_output=True)
    for file in files:
        made = file.replace(".proto", "_pb2.py")
        assert _described(tmp_path / made) == _described(home / made)


def _described(path: Path) -> str:
    """Return the one line of a generated module that says what the messages are; the others change with protoc."""
    return next(line for line in path.read_text().splitlines() if line.startswith("DESCRIPTOR = "))
