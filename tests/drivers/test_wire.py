"""What is known after a request went wrong: raw servers that hang up, trickle, flood, redirect or talk nonsense."""

import asyncio
import contextlib
import gzip
import json
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from pydantic import TypeAdapter

from bot.domain.inventory import Endpoint, Node
from bot.errors import Misconfigured, NoAnswer, NodeBroken, NodeRefused, NotReached
from bot.nodes import lookup
from bot.nodes import wire as lines
from bot.nodes.way import Way
from bot.nodes.wire import TRACE, Exchange, NodeClient, Wire, node_client
from tests.fakes import FrozenClock

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]
JSON: TypeAdapter[Any] = TypeAdapter(Any)
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def says(content: bytes) -> Answer:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(content)
        await writer.drain()

    return answer


def answered(body: bytes, headers: bytes = b"") -> Answer:
    return says(OK + headers + b"Content-Length: %d\r\n\r\n" % len(body) + body)


@contextlib.asynccontextmanager
async def server(answer: Answer) -> AsyncIterator[tuple[Wire, list[bytes]]]:
    """Run a server that reads a request's head, answers and hangs up; yields a wire to it and the heads received."""
    heads: list[bytes] = []
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        serving.add(task)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            await answer(writer)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    async with node_client() as client:
        listening = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=1024)
        yield wire(client, f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"), heads
        listening.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving)


def wire(client: NodeClient, base: str) -> Wire:
    return Wire(client=client, node="n", base=base, timeout=timedelta(seconds=0.4), token="s3cret")


@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "DELETE"])
async def test_a_connection_lost_after_sending_may_have_acted_and_is_sent_once(method: str) -> None:
    async with server(says(b"")) as (to, heads):
        with pytest.raises(NoAnswer):
            await to.call().json(JSON, method, "/x", body={"a": 1})
        await asyncio.sleep(0.05)
        assert len(heads) == 1


async def test_a_refused_connection_was_not_reached() -> None:
    async with server(says(b"")) as (to, _):
        pass
    async with node_client() as client:
        with pytest.raises(NotReached):
            await wire(client, to.base).call().content("GET", "/")


async def test_a_name_that_does_not_resolve_was_not_reached() -> None:
    async with node_client() as client:
        with pytest.raises(NotReached):
            await wire(client, "http://nowhere.invalid:1").call().content("GET", "/")


async def test_bytes_that_trickle_do_not_stretch_the_deadline() -> None:
    async def trickle(writer: asyncio.StreamWriter) -> None:
        writer.write(OK + b"Content-Length: 1000\r\n\r\n")
        for _ in range(40):
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.05)

    async with server(trickle) as (to, _):
        began = asyncio.get_running_loop().time()
        with pytest.raises(NoAnswer, match=r"within 0.4 s"):
            await to.call().json(JSON, "GET", "/x")
        assert asyncio.get_running_loop().time() - began < 0.7


async def test_all_requests_of_one_call_share_the_deadline() -> None:
    async def late(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.25)
        await answered(b"{}")(writer)

    async with server(late) as (to, _):
        call = to.call()
        assert await call.json(JSON, "GET", "/1") == {}
        with pytest.raises(NoAnswer):
            await call.json(JSON, "GET", "/2")


async def test_a_body_that_ends_early_is_no_answer() -> None:
    async with server(says(OK + b'Content-Length: 100\r\n\r\n{"a":')) as (to, _):
        with pytest.raises(NoAnswer):
            await to.call().json(JSON, "GET", "/x")


async def test_a_flood_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "ANSWER_LIMIT", 1000)
    async with server(answered(b"[" + b"1," * 5000 + b"1]")) as (to, _):
        with pytest.raises(NodeBroken, match="more than 1000 bytes"):
            await to.call().json(JSON, "GET", "/x")


@pytest.mark.parametrize(
    "answer",
    [
        says(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
        says(b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000 + b"\r\n\r\n"),
        answered(b"<html>"),
        answered(b"[" * 100_000),
        answered(b"\xff\xfe"),
        answered(gzip.compress(b"0" * 1_000_000), b"Content-Encoding: gzip\r\n"),
        says(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"),
        says(b"HTTP/1.1 408 Late\r\nContent-Length: 0\r\n\r\n"),
    ],
    ids=["ssh", "long header", "html", "deep", "not utf-8", "gzip", "503", "408"],
)
async def test_nonsense_is_broken(answer: Answer) -> None:
    async with server(answer) as (to, _):
        with pytest.raises(NodeBroken):
            await to.call().json(JSON, "GET", "/x")


async def test_a_redirect_is_not_followed() -> None:
    async with server(answered(b"{}")) as (stranger, asked):
        location = f"HTTP/1.1 307 Go\r\nLocation: {stranger.base}\r\nContent-Length: 0\r\n\r\n".encode()
        async with server(says(location)) as (to, _):
            with pytest.raises(NodeBroken, match="307"):
                await to.call().json(JSON, "PUT", "/x", body={})
        assert asked == []


async def test_a_refusal_says_the_nodes_reason_on_one_short_line() -> None:
    body = b'{"title": "No", "detail": "because\\n' + b"x" * 1000 + b'"}'
    async with server(says(b"HTTP/1.1 400 Bad\r\nContent-Length: %d\r\n\r\n" % len(body) + body)) as (to, _):
        with pytest.raises(NodeRefused, match=r"400 No because x+$") as refusal:
            await to.call().json(JSON, "PUT", "/x", body={})
        assert (refusal.value.status, len(str(refusal.value)) < 300) == (400, True)


async def test_the_environments_proxy_and_the_nodes_cookies_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    async with server(answered(b"{}", b"Set-Cookie: a=b\r\n")) as (to, heads):
        await to.call().json(JSON, "GET", "/1")
        await to.call().json(JSON, "GET", "/2")
        assert all(b"ookie" not in head for head in heads)
        assert all(b"authorization: bearer s3cret" in head.lower() for head in heads)


async def test_a_stream_that_stops_in_the_middle_is_no_answer_after_what_came() -> None:
    async def stops(writer: asyncio.StreamWriter) -> None:
        writer.write(OK + b"Transfer-Encoding: chunked\r\n\r\n4\r\nline\r\n")
        await writer.drain()
        await asyncio.sleep(1)

    async with server(stops) as (to, _):
        chunks = to.call().stream("GET", "/x")
        assert await anext(chunks) == b"line"
        with pytest.raises(NoAnswer):
            await anext(chunks)


async def test_a_stream_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "STREAM_LIMIT", 100)
    async with server(answered(b"x" * 101)) as (to, _):
        with pytest.raises(NodeBroken, match="more than 100 bytes"):
            _ = [chunk async for chunk in to.call().stream("GET", "/x")]


@pytest.mark.parametrize(
    "base",
    ["ftp://h", "http://user:pw@h", "http://", "file:///etc/passwd", "http://h/?x=1", "http://h/#f", "http://h:port"],
)
async def test_a_url_that_is_not_plain_http_to_a_host_is_misconfigured(base: str) -> None:
    async with node_client() as client:
        with pytest.raises(Misconfigured) as error:
            wire(client, base)
        assert "pw" not in str(error.value)


async def test_many_requests_at_once_do_not_queue() -> None:
    async def late(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.02)
        await answered(b"{}")(writer)

    async with server(late) as (to, _):
        patient = Wire(client=to.client, node="n", base=to.base, timeout=timedelta(seconds=20))
        began = asyncio.get_running_loop().time()
        await asyncio.gather(*(patient.call().json(JSON, "PUT", "/x", body={}) for _ in range(300)))
        assert asyncio.get_running_loop().time() - began < 5


async def test_a_name_that_leads_out_of_the_networks_is_not_reached() -> None:
    async with server(answered(b"{}")) as (to, heads), node_client(networks=("10.0.0.0/8",)) as strict:
        port = httpx.URL(to.base).port
        with pytest.raises(NotReached, match="no address in the inventory's networks"):
            await wire(strict, f"http://localhost:{port}").call().content("GET", "/")
    assert heads == []


async def test_another_base_is_held_to_the_networks_and_never_goes_through_a_socket() -> None:
    async with (
        server(answered(b"{}")) as (to, heads),
        node_client(unix="/nonexistent/s") as bound,
        node_client() as plain,
    ):
        endpoint = Endpoint(driver="x", url="unix:/nonexistent/s", timeout=timedelta(seconds=2))
        node = Node(name="n", avs="x", keys=("0x1",))
        way = Way(node=node, endpoint=endpoint, client=bound, plain=plain, clock=FrozenClock())
        with pytest.raises(NotReached):
            await way.wire().call().content("GET", "/")
        assert await way.wire(to.base).call().content("GET", "/") == b"{}"
        assert len(heads) == 1
        for outside in ("http://169.254.169.254", "http://8.8.8.8", "http://u:p@127.0.0.1:1"):
            with pytest.raises(Misconfigured):
                way.wire(outside)


async def test_another_socket_is_not_taken_for_this_machine() -> None:
    async with node_client() as client, node_client() as plain:
        node = Node(name="n", avs="x", keys=("0x1",))
        for url in ("http://127.0.0.1:1", "unix:/run/a.sock"):
            way = Way(
                node=node, endpoint=Endpoint(driver="x", url=url), client=client, plain=plain, clock=FrozenClock()
            )
            with pytest.raises(Misconfigured, match="another socket"):
                way.wire("unix:/run/metrics.sock", token=None)
        assert way.wire("unix:/run/a.sock").client is client, "its own socket"


@contextlib.contextmanager
def silent_names(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Let names that begin with `dead` wait for servers that are silent, and all others be this machine."""
    real, released, asked = socket.getaddrinfo, threading.Event(), list[str]()

    def look(host: str, *more: Any, **others: Any) -> Any:
        asked.append(host)
        if host.startswith("dead"):
            released.wait(10)
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return real("127.0.0.1", *more, **others)

    monkeypatch.setattr(socket, "getaddrinfo", look)
    try:
        yield asked
    finally:
        released.set()


async def test_names_that_nobody_answers_for_do_not_hold_up_others(monkeypatch: pytest.MonkeyPatch) -> None:
    async with server(answered(b"{}")) as (to, _):
        port = httpx.URL(to.base).port
        node = Node(name="n", avs="x", keys=("0x1",))

        async def dialled(host: str) -> None:
            endpoint = Endpoint(driver="x", url=f"tcp://{host}:{port}")
            way = Way(node=node, endpoint=endpoint, client=to.client, clock=FrozenClock())
            async with asyncio.timeout(0.4):
                _, writer = await way.dial()
                writer.close()

        async def asked(host: str) -> bytes:
            return await wire(to.client, f"http://{host}:{port}").call().content("GET", "/")

        with silent_names(monkeypatch) as names:
            dead = [asyncio.create_task(asked(f"dead{i}.example")) for i in range(40)]
            dead += [asyncio.create_task(asked("dead0.example")) for _ in range(5)]
            stuck = [asyncio.create_task(dialled(f"dead{i}.example")) for i in range(40)]
            await asyncio.sleep(0.02)
            began = asyncio.get_running_loop().time()
            await asyncio.gather(asked("live0.example"), asked("live1.example"), dialled("live2.example"))
            assert asyncio.get_running_loop().time() - began < 0.3
            assert await asyncio.to_thread(lambda: True), "the loop's own threads are free"
            outcomes = await asyncio.gather(*dead, return_exceptions=True)
            assert {type(one) for one in outcomes} == {NotReached}
            assert {type(one) for one in await asyncio.gather(*stuck, return_exceptions=True)} == {TimeoutError}
            assert sum(name.startswith("dead") for name in names) == 40, "one thread a name"


async def test_who_gives_up_on_a_name_leaves_it_to_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    began = threading.Event()

    def look(host: str, *_: Any, **__: Any) -> Any:
        began.wait(5)
        return [(socket.AF_INET, 1, 6, "", ("127.0.0.1", 0))] * 2

    monkeypatch.setattr(socket, "getaddrinfo", look)
    impatient, patient = (asyncio.create_task(lookup.addresses("slow.example")) for _ in range(2))
    await asyncio.sleep(0.01)
    impatient.cancel()
    await asyncio.gather(impatient, return_exceptions=True)
    began.set()
    assert await patient == ("127.0.0.1",)
    monkeypatch.setattr(lookup, "SECONDS", 0.05)
    began.clear()
    with pytest.raises(OSError, match=r"slow.example could not be looked up within 0.05 s"):
        await lookup.addresses("slow.example")
    monkeypatch.setattr(lookup, "MOST", 1)
    with pytest.raises(OSError, match="other names"):
        await lookup.addresses("other.example")
    began.set()


@contextlib.contextmanager
def looking() -> Iterator[list[Exchange]]:
    trace: list[Exchange] = []
    token = TRACE.set(trace)
    try:
        yield trace
    finally:
        TRACE.reset(token)


async def test_a_node_that_sends_secrets_back_does_not_get_them_shown() -> None:
    said = "x" * 190 + " s3cret, header-secret, k3y and " + "y" * 20
    body = json.dumps({"message": said}).encode()
    head = b"HTTP/1.1 401 No\r\nContent-Length: %d\r\n\r\n"
    async with server(says(head % len(body) + body)) as (to, _):
        more = Wire(
            **{name: getattr(to, name) for name in ("client", "node", "base", "timeout", "token")}, secrets=("k3y",)
        )
        with looking() as trace, pytest.raises(NodeRefused) as refused:
            await more.call().content("GET", "/x", headers={"X-Api-Key": "Key header-secret"})
        shown = f"{refused.value} {trace}"
        assert "xxx ***, ***," in shown
        assert not any(part in shown for part in ("s3cr", "header-s", "k3y"))
    async with server(says(b"HTTP/1.1 200 s3cret\r\nContent-Length: 0\r\n\r\n")) as (to, _):
        with looking() as trace:
            await to.call().content("GET", "/x")
        assert trace[0].came == "200 ***"
    told = json.dumps({"message": "s3cret, header-secret and k3y"}).encode()
    async with server(says(b"HTTP/1.1 500 No\r\nContent-Length: %d\r\n\r\n" % len(told) + told)) as (to, _):
        with pytest.raises(NodeBroken, match=r"500 \*\*\*, \*\*\* and k3y"):
            await to.call().content("GET", "/x", headers={"Authorization": "Basic header-secret"})


async def test_of_a_query_only_the_names_are_shown() -> None:
    async with server(answered(b"no json")) as (to, _):
        with looking() as trace, pytest.raises(NodeBroken) as broken:
            await to.call().json(JSON, "GET", "/logs?apikey=hunter2&bare-hunter2&a=1&a=2", params={"since": "hunter2"})
        assert "hunter2" not in f"{broken.value} {trace}"
        assert trace[0].asked == f"GET {to.base}/logs?apikey&a&since"


async def test_a_refusal_in_plain_text_is_quoted() -> None:
    body = b"\n  not   from this address (s3cret)\nmore"
    head = b"HTTP/1.1 403 No\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % len(body)
    async with server(says(head + body)) as (to, _):
        with pytest.raises(NodeRefused, match=r"refused GET /x: 403 not from this address \(\*\*\*\)$"):
            await to.call().content("GET", "/x")
