"""The haproxy driver against a real HAProxy: what its runtime API does, and what it only says."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import aiohttp
import pytest

from bot.domain.inventory import Endpoint, Node
from bot.domain.target import Answer
from bot.errors import Misconfigured, NoAnswer, NodeBroken, NodeError, NodeRefused, NotReached
from bot.nodes import haproxy as driver_module
from bot.nodes.haproxy_runtime import LIMIT, Runtime
from bot.nodes.way import Way
from tests.drivers.contract import Character, SystemClock
from tests.drivers.gates import driving
from tests.drivers.gates.haproxy import Haproxy, bent, haproxy
from tests.drivers.gates.signer import KEYS, StubSigner, ask, stub_signer, validator
from tests.drivers.wired import unused

HOW = {"incident": "inc-7", "request": "r1"}
real = pytest.mark.peer("haproxy")


def way(url: str, options: dict[str, str] | None = None, *, seconds: float = 1.0) -> Way:
    endpoint = Endpoint(driver="haproxy", url=url, timeout=timedelta(seconds=seconds), options=options or {})
    return Way(node=Node(name="n", avs="x", keys=()), endpoint=endpoint, client=unused(), clock=SystemClock())


@asynccontextmanager
async def gate(**more: Any) -> AsyncIterator[tuple[StubSigner, Haproxy]]:
    async with stub_signer() as stub, haproxy(stub.port, **more) as it:
        yield stub, it


@real
@pytest.mark.parametrize("state", ["maint", "drain"])
@pytest.mark.parametrize("over", ["admin", "tcp"])
async def test_isolating_ends_tcp_sessions_that_the_state_alone_leaves_alive(state: str, over: str) -> None:
    async with gate() as (stub, it), aiohttp.ClientSession() as kept:
        assert await ask(kept, it.raw, KEYS[0]) == 200
        await it.runtime(f"set server raw/n1 state {state}")
        assert await ask(kept, it.raw, KEYS[0]) == 200, "the state alone was enough: the trap is gone"
        options = {"server": "raw/n1", "state": state}
        async with driving(driver_module, getattr(it, over), options) as router:
            assert not await router.isolated(), "a session lives on"
            reply = await router.isolate(**HOW)
            assert (reply.answer, "no session" in reply.detail) == (Answer.ACKNOWLEDGED, True)
            assert await router.isolated()
            assert stub.asked == 2
            assert await ask(kept, it.raw, KEYS[0]) == 0
            assert (await router.isolate(**HOW)).answer is Answer.ALREADY
            assert (await router.restore(**HOW)).answer is Answer.ACKNOWLEDGED
            assert (await router.restore(**HOW)).answer is Answer.ALREADY
            assert not await router.isolated()
            assert await ask(kept, it.raw, KEYS[0]) == 200


@real
async def test_what_the_isolated_server_was_answering_is_cut_and_the_others_serve_on() -> None:
    async with gate() as (stub, it), aiohttp.ClientSession() as session:
        stub.slow = 5.0
        running = [asyncio.create_task(ask(session, it.rpc, key)) for key in KEYS]
        while stub.asked < len(KEYS):
            await asyncio.sleep(0.01)
        began = time.monotonic()
        async with driving(driver_module, it.admin, {"server": "rpc/n1"}) as router:
            assert (await router.isolate(**HOW)).answer is Answer.ACKNOWLEDGED
            done, going = await asyncio.wait(running, timeout=1.0)
            assert {task.result() for task in done} == {502}
            assert time.monotonic() - began < 3.0
            assert (len(done), len(going)) == (2, 2), "round robin gave each server half"
            stub.slow = 0.0
            assert [await ask(session, it.rpc, key) for key in KEYS] == [200] * 4
            for task in going:
                task.cancel()
            await asyncio.gather(*going, return_exceptions=True)


@real
async def test_several_servers_are_isolated_together_or_it_failed() -> None:
    async with gate() as (_, it):
        async with driving(driver_module, it.admin, {"server": "rpc/n1, rpc/n2"}) as router:
            await it.runtime("set server rpc/n1 state maint")
            assert not await router.isolated()
            assert (await router.isolate(**HOW)).answer is Answer.ACKNOWLEDGED
            assert "srv_admin_state" in (shown := await it.runtime("show servers state rpc"))
            assert [line.split()[6] for line in shown.splitlines()[2:4]] == ["1", "1"]
        async with driving(driver_module, it.admin, {"server": "rpc/n1,rpc/n9"}) as router:
            with pytest.raises(NodeRefused, match="no server rpc/n9"):
                await router.isolate(**HOW)


@real
async def test_a_reload_undoes_it_and_that_reads_back() -> None:
    async with gate() as (_, it), driving(driver_module, it.admin, {"server": "raw/n1"}) as router:
        await router.isolate(**HOW)
        it.stop()
        await it.start()
        assert not await router.isolated()


@real
async def test_a_server_that_is_out_because_of_another_is_not_called_restored() -> None:
    async with stub_signer() as stub:
        at = f"127.0.0.1:{stub.port}"
        servers = f"    server n1 {at}\n    server n2 {at}"
        spoiled = {servers: f"    server n1 {at} check\n    server n2 {at} track rpc/n1"}
        async with (
            haproxy(stub.port, spoiled=spoiled) as it,
            driving(driver_module, it.admin, {"server": "rpc/n2"}) as router,
        ):
            assert not await router.isolated()
            await it.runtime("set server rpc/n1 state maint")
            assert await router.isolated()
            reply = await router.restore(**HOW)
            assert (reply.answer, "MAINT (via rpc/n1)" in reply.detail) == (Answer.FAILED, True)


@real
async def test_a_socket_without_the_level_refuses_and_a_name_that_is_not_there_is_not_found() -> None:
    async with gate() as (_, it):
        async with driving(driver_module, it.user, {"server": "raw/n1"}) as router:
            assert not await router.isolated()
            with pytest.raises(NodeRefused, match="level admin") as refused:
                await router.isolate(**HOW)
            assert refused.value.status == 403
            assert not await router.isolated()
        for server in ("nope/n1", "raw/nope"):
            async with driving(driver_module, it.admin, {"server": server}) as router:
                with pytest.raises(NodeRefused) as refused:
                    await router.isolated()
                assert refused.value.status == 404


@real
async def test_a_rate_lets_that_many_through_a_second() -> None:
    async with gate() as (stub, it), validator(it.rpc, KEYS) as client:
        options = {"rate": "5", "map": it.limits, "entry": "n1"}
        async with driving(driver_module, it.admin, options) as throttle:
            assert not await throttle.throttled()
            reply = await throttle.throttle(**HOW)
            assert (reply.answer, reply.detail) == (
                Answer.ACKNOWLEDGED,
                "requests a second of n1 5; before: requests a second of n1 1000000",
            )
            await asyncio.sleep(1.2)
            before, refused = stub.asked, client.got[429]
            await asyncio.sleep(2.0)
            assert 4 <= stub.asked - before <= 16, "five a second, give or take a window"
            assert client.got[429] - refused > 60, "80 a second are asked for"
            assert await throttle.throttled()


@real
async def test_a_limit_is_only_ever_lowered_and_the_answer_names_the_old_one() -> None:
    async with gate() as (_, it):
        options = {"rate": "50", "map": it.limits, "entry": "n1", "maxconn": "10", "frontend": "rpc"}
        async with driving(driver_module, it.admin, options) as throttle:
            await it.runtime(f"set map {it.limits} n1 2")
            reply = await throttle.throttle(**HOW)
            assert reply.detail.endswith("before: maxconn of rpc 500, requests a second of n1 2")
            assert (await it.runtime(f"show map {it.limits}")).split()[1:] == ["n1", "2"]
            assert await throttle.throttled()
            await it.runtime(f"set map {it.limits} n1 100")
            assert not await throttle.throttled()
            assert (await throttle.throttle(**HOW)).answer is Answer.ACKNOWLEDGED
            assert (await it.runtime(f"show map {it.limits}")).split()[1:] == ["n1", "50"]
            assert (await throttle.throttle(**HOW)).answer is Answer.ALREADY


@real
async def test_servers_and_the_whole_program_can_be_limited() -> None:
    async with gate() as (_, it):
        for options in ({"maxconn": "7", "server": "rpc/n1,rpc/n2"}, {"rate": "100"}):
            async with driving(driver_module, it.admin, options) as throttle:
                assert not await throttle.throttled()
                assert (await throttle.throttle(**HOW)).answer is Answer.ACKNOWLEDGED
                assert await throttle.throttled()
        assert "SessRateLimit: 100\n" in await it.runtime("show info")
        await it.runtime("set maxconn server rpc/n2 0")
        async with driving(driver_module, it.admin, {"maxconn": "7", "server": "rpc/n1,rpc/n2"}) as throttle:
            assert not await throttle.throttled(), "0 is no limit"


@real
async def test_an_entry_that_is_not_in_the_map_is_told_and_not_made() -> None:
    async with gate() as (_, it):
        options = {"rate": "5", "map": it.limits, "entry": "n-1"}
        async with driving(driver_module, it.admin, options) as throttle:
            for act in (throttle.throttle(**HOW), throttle.throttled()):
                with pytest.raises(NodeRefused, match=r"no entry n-1 in .*, which has n1: correct the option entry"):
                    await act
        assert (await it.runtime(f"show map {it.limits}")).split()[1:] == ["n1", "1000000"]


@real
async def test_what_is_named_wrongly_names_the_option() -> None:
    async with gate() as (_, it):
        wrong = (
            ({"maxconn": "5", "server": "rpc/n9"}, "option server"),
            ({"maxconn": "5", "server": "nobody/n1"}, "option server"),
            ({"maxconn": "5", "frontend": "nobody"}, "option frontend"),
            ({"rate": "5", "map": f"{it.limits}.x", "entry": "n1"}, "option map"),
        )
        for options, told in wrong:
            async with driving(driver_module, it.admin, options) as throttle:
                with pytest.raises(NodeRefused, match=f"correct the {told}"):
                    await throttle.throttled()


async def test_a_socket_that_is_not_there_is_named_with_what_to_do() -> None:
    async with driving(driver_module, "unix:/nowhere/admin.sock", {"server": "rpc/n1"}) as router:
        with pytest.raises(NotReached, match=r"at unix:/nowhere/admin.sock: No such file .*: correct url"):
            await router.isolated()


@real
async def test_one_limit_of_two_is_failed() -> None:
    async with gate() as (_, it), bent(Character.HALF, it.admin) as runtime:
        options = {"rate": "5", "map": it.limits, "entry": "n1", "maxconn": "10", "frontend": "rpc"}
        async with driving(driver_module, runtime.url, options) as throttle:
            reply = await throttle.throttle(**HOW)
            assert (reply.answer, "is not" in reply.detail) == (Answer.FAILED, True)


@real
async def test_haproxy_says_done_to_a_value_that_it_did_not_take() -> None:
    """Why every order is read back."""
    async with gate() as (_, it):
        call = Runtime(way(it.admin)).call()
        await call.order(f"set map {it.limits} n1 many")
        assert await call.map(it.limits) == {"n1": "1000000"}


@real
async def test_even_a_socket_of_level_user_writes_maps() -> None:
    """What docs/gates.md warns of."""
    async with gate() as (_, it):
        call = Runtime(way(it.user)).call()
        await call.add(it.denied, [KEYS[0]], "denied")
        assert list(await call.map(it.denied)) == [KEYS[0]]


@real
async def test_a_thousand_entries_are_written_in_pieces_that_fit() -> None:
    async with gate() as (_, it):
        keys = [f"0x{index:096x}" for index in range(1000)]
        call = Runtime(way(it.admin, seconds=10.0)).call()
        await call.add(it.denied, keys, "denied")
        assert set(await call.map(it.denied)) == set(keys)
        await call.order(*(f"del map {it.denied} {key}" for key in keys))
        assert await call.map(it.denied) == {}


@asynccontextmanager
async def answering(*answers: bytes) -> AsyncIterator[str]:
    """Yield the address of a peer that answers these in turn; it listens no more when it has given the last."""
    left = list(answers)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        answer = left.pop(0)
        if not left:
            server.close()
        writer.write(answer)
        try:
            await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


@pytest.mark.parametrize(
    ("answer", "error", "match"),
    [
        (b"", NoAnswer, "closed the connection"),
        (b"0x1f 0xaa denied\n", NodeBroken, "broke its answer"),
        (b"0x1f 0xaa denied\n0x20", NodeBroken, "broke its answer"),
        (b"something else\n\n", NodeBroken, "unreadably: something else"),
        (b"\xff\xfe\n\n", NodeBroken, "not text"),
        (b"x" * (LIMIT + 1), NodeBroken, "more than"),
        (b"Unknown map identifier. Please use #<id> or <file>.\n\n", NodeRefused, "Unknown map"),
        (b"Permission denied\n\n", NodeRefused, "level admin"),
        (b"Unknown command, but maybe one of the following\n\n", NodeRefused, "2.6"),
    ],
)
async def test_what_is_no_list_is_not_read_as_one(answer: bytes, error: type[NodeError], match: str) -> None:
    async with answering(answer) as url:
        with pytest.raises(error, match=match):
            await Runtime(way(url)).call().map("/m")


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", NoAnswer),
        (b"No such server.\n\nNo such server.\n\n", NodeRefused),
        (b"Permission denied\n\n", NodeRefused),
        (b"No such server.\n\n", NodeBroken),
        (b"No such server.\n\n\n", NodeBroken),
        (b"\n", NodeBroken),
        (b"\nNo such server.\n\n", NodeBroken),
        (b"\n\n\n", NodeBroken),
        (b"done\n\n", NodeBroken),
    ],
    ids=["nothing", "both", "level", "text", "first fails", "one of two", "second fails", "three of two", "words"],
)
async def test_only_an_empty_line_for_each_order_is_success(answer: bytes, error: type[NodeError]) -> None:
    async with answering(answer) as url:
        with pytest.raises(error):
            await Runtime(way(url)).call().order("set server a/b state maint", "shutdown sessions server a/b")
    async with answering(b"\n\n") as url:
        await Runtime(way(url)).call().order("set server a/b state maint", "shutdown sessions server a/b")


@real
async def test_an_order_that_fails_beside_one_that_was_carried_out_is_no_refusal() -> None:
    async with gate() as (_, it):
        await it.runtime(f"add map {it.denied} 0xaa denied")
        orders = (f"del map {it.denied} 0xbb", f"del map {it.denied} 0xaa")
        with pytest.raises(NodeBroken, match="may have been carried out"):
            await Runtime(way(it.admin)).call().order(*orders)
        assert await Runtime(way(it.admin)).call().map(it.denied) == {}
        with pytest.raises(NodeRefused, match="not found"):
            await Runtime(way(it.admin)).call().order(*orders)


async def test_after_an_order_nothing_is_called_refused() -> None:
    async with answering(b"\n", b"Unknown map identifier.\n\n") as url:
        call = Runtime(way(url)).call()
        await call.order("set server a/b state maint")
        with pytest.raises(NodeBroken, match="may have been carried out"):
            await call.map("/m")


@real
async def test_draining_does_not_end_a_maintenance() -> None:
    async with gate() as (_, it), aiohttp.ClientSession() as kept:
        assert await ask(kept, it.raw, KEYS[0]) == 200
        await it.runtime("set server raw/n1 state maint")
        async with driving(driver_module, it.admin, {"server": "raw/n1", "state": "drain"}) as router:
            assert (await router.isolate(**HOW)).answer is Answer.ACKNOWLEDGED
            assert (await Runtime(way(it.admin)).call().server("raw", "n1")).forced


async def test_not_reached_is_only_said_before_the_first_order() -> None:
    async with answering(b"\n", b"\n") as url:
        call = Runtime(way(url)).call()
        assert await call.map("/m") == {}
        await call.order("set server a/b state maint")
        with pytest.raises(NoAnswer):
            await call.map("/m")
        with pytest.raises(NotReached):
            await Runtime(way(url)).call().map("/m")


@pytest.mark.parametrize(
    ("url", "options", "says"),
    [
        ("unix:/s", {}, "server"),
        ("http://127.0.0.1:1", {"server": "a/b"}, "tcp://"),
        ("unix:/s", {"server": "a"}, "server ''"),
        ("unix:/s", {"server": "a/b; shutdown frontend x"}, "HAProxy name"),
        ("unix:/s", {"server": "a/b\nset"}, "HAProxy name"),
        ("unix:/s", {"server": "a/b", "state": "ready"}, "maint or drain"),
        ("unix:/s", {"server": "a/b", "nonsense": "1"}, "no option nonsense"),
        ("unix:/s", {"maxconn": "5"}, "either frontend or server"),
        ("unix:/s", {"maxconn": "0", "frontend": "f"}, "positive"),
        ("unix:/s", {"maxconn": "٣", "frontend": "f"}, "positive"),
        ("unix:/s", {"maxconn": "5", "frontend": "f", "server": "a/b"}, "either"),
        ("unix:/s", {"rate": "5", "frontend": "f"}, "go with maxconn"),
        ("unix:/s", {"rate": "5", "entry": "f"}, "go together"),
        ("unix:/s", {"maxconn": "5", "frontend": "f", "map": "/m"}, "go together"),
        ("unix:/s", {"rate": "5", "map": "/m x"}, "map's file"),
        ("unix:/s", {"rate": "5", "map": "/m", "state": "maint"}, "no option state"),
    ],
)
def test_options_are_checked_before_anything_is_sent(url: str, options: dict[str, str], says: str) -> None:
    with pytest.raises(Misconfigured, match=says):
        driver_module.connect(way(url, options))
