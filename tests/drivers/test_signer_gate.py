"""The signer_gate driver at a real HAProxy and a real Envoy, before a signer whose own counters are the truth."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest
import yaml

from bot.domain.inventory import Endpoint, Node
from bot.domain.target import Answer, Proof, State, prove
from bot.errors import Misconfigured, NodeBroken, NodeRefused
from bot.nodes import envoy as envoy_module
from bot.nodes import haproxy as haproxy_module
from bot.nodes import signer_gate as driver_module
from bot.nodes.way import Way
from tests.drivers.contract import SystemClock
from tests.drivers.gates import driving, guide
from tests.drivers.gates.envoy import Envoy, envoy
from tests.drivers.gates.haproxy import Haproxy, haproxy
from tests.drivers.gates.signer import KEYS, PATH, PERIOD, StubSigner, ask, stub_signer, validator
from tests.drivers.wired import unused

HOW = {"incident": "inc-7", "request": "r1"}
SUSPECTS, HEALTHY = KEYS[:2], KEYS[2:]
at_haproxy = pytest.mark.peer("haproxy")
at_envoy = pytest.mark.peer("envoy")
HAPROXY_RULES = {
    "    http-request deny deny_status 403 if sign denied\n": "",
    "    http-response deny deny_status 403 if": "    http-response add-header X-Denied no if",
}


@asynccontextmanager
async def before_haproxy(**more: Any) -> AsyncIterator[tuple[StubSigner, Haproxy, dict[str, str]]]:
    async with stub_signer() as stub, haproxy(stub.port, **more) as it:
        yield stub, it, {"map": it.denied, "metrics": stub.metrics, "counters": "stub_signed_total"}


@asynccontextmanager
async def before_envoy(**more: Any) -> AsyncIterator[tuple[StubSigner, Envoy, dict[str, str]]]:
    async with stub_signer() as stub, envoy(stub.port, **more) as it:
        options = {"program": "envoy", "file": str(it.denied), "filter": "stopsign"}
        yield stub, it, options | {"metrics": stub.metrics, "counters": "stub_signed_total"}


def signer(url: str, options: dict[str, str], keys: Sequence[str] = KEYS) -> Any:
    return driving(driver_module, url, options, keys=keys)


async def proof(driver: Any, keys: Sequence[str] = SUSPECTS) -> Proof:
    """Take two samples over a few duties and judge them."""
    first = await driver.sample(keys)
    await asyncio.sleep(PERIOD * 4)
    return prove(first, await driver.sample(keys), tuple(keys), period=timedelta(seconds=PERIOD), windows=2)


@at_haproxy
@pytest.mark.parametrize("url", ["admin", "tcp"])
async def test_two_keys_are_stopped_at_haproxy_and_the_two_others_sign_on(url: str) -> None:
    async with before_haproxy() as (stub, it, options):
        await _two_of_four(stub, it.signer, getattr(it, url), options)


@at_envoy
async def test_two_keys_are_stopped_at_envoy_and_the_two_others_sign_on() -> None:
    async with before_envoy() as (stub, it, options):
        await _two_of_four(stub, it.signer, it.admin, options)


async def _two_of_four(stub: StubSigner, asked: str, url: str, options: dict[str, str]) -> None:
    """Freeze, prove, thaw, on connections that the validator keeps open all the time."""
    async with validator(asked, KEYS) as client, signer(url, options) as driver:
        assert (await proof(driver)).state is State.FAILED
        reply = await driver.freeze(SUSPECTS, **HOW)
        assert (reply.answer, reply.detail[:6]) == (Answer.ACKNOWLEDGED, "2 keys")
        assert await stub.flat(SUSPECTS)
        assert not await stub.flat(HEALTHY)
        proven = await proof(driver)
        assert (proven.state, proven.ready) == (State.VERIFIED, True), proven
        assert (await proof(driver, HEALTHY)).state is State.FAILED
        assert (await proof(driver, KEYS)).state is State.FAILED
        assert client.got[403] > 4
        assert client.got[0] == 0, "no connection was cut: each request was judged by itself"
        assert (await driver.freeze(SUSPECTS, **HOW)).answer is Answer.ALREADY
        assert (await driver.freeze([KEYS[0].upper().replace("X", "x"), KEYS[2]], **HOW)).answer is Answer.ACKNOWLEDGED
        assert (await driver.unfreeze([KEYS[2]], **HOW)).answer is Answer.ACKNOWLEDGED
        assert await stub.flat(SUSPECTS)
        assert (await driver.unfreeze(SUSPECTS, **HOW)).answer is Answer.ACKNOWLEDGED
        assert (await driver.unfreeze(SUSPECTS, **HOW)).answer is Answer.ALREADY
        assert not await stub.flat(SUSPECTS)
        assert (await proof(driver)).state is State.FAILED
        with pytest.raises(NodeRefused, match="ask the signer"):
            await driver.slashing_protection()


@at_haproxy
async def test_a_signature_that_was_under_way_is_held_back_by_haproxy() -> None:
    async with before_haproxy() as (stub, it, options), aiohttp.ClientSession() as session:
        stub.slow = 0.5
        running = [asyncio.create_task(ask(session, it.signer, key)) for key in (SUSPECTS[0], HEALTHY[0])]
        while stub.asked < 2:
            await asyncio.sleep(0.01)
        async with signer(it.admin, options) as driver:
            assert (await driver.freeze(SUSPECTS, **HOW)).answer is Answer.ACKNOWLEDGED
            assert not any(task.done() for task in running)
        assert await asyncio.gather(*running) == [403, 200]


@at_envoy
async def test_a_signature_that_was_under_way_is_still_given_out_by_envoy_and_the_next_is_not() -> None:
    """What docs/gates.md says of Envoy; the route's timeout is the limit."""
    async with before_envoy() as (stub, it, options), aiohttp.ClientSession() as session:
        stub.slow = 0.5
        running = asyncio.create_task(ask(session, it.signer, SUSPECTS[0]))
        while stub.asked < 1:
            await asyncio.sleep(0.01)
        async with signer(it.admin, options) as driver:
            assert (await driver.freeze(SUSPECTS, **HOW)).answer is Answer.ACKNOWLEDGED
            assert await running == 200, "Envoy held it back: docs/gates.md is out of date"
            assert await ask(session, it.signer, SUSPECTS[0]) == 403
            assert (await proof(driver, SUSPECTS[:1])).state is State.VERIFIED


@pytest.mark.parametrize("gate", [pytest.param("haproxy", marks=at_haproxy), pytest.param("envoy", marks=at_envoy)])
async def test_no_other_spelling_gets_past(gate: str) -> None:
    opened: Any = before_haproxy() if gate == "haproxy" else before_envoy()
    async with opened as (stub, it, options), signer(it.admin, options) as driver:
        await driver.freeze([KEYS[0]], **HOW)
        digits = KEYS[0][2:]
        host = httpx.URL(it.signer)
        for path in (
            PATH + "0x" + digits.upper(),
            PATH + "0x" + digits.lower(),
            PATH + "0X" + digits,
            PATH + digits,
            PATH + "/0x" + digits,
            PATH + "./0x" + digits,
            PATH + "x/../0x" + digits,
            PATH + "0x%30" + digits[1:],
            PATH + "%30x" + digits,
            PATH.replace("sign", "s%69gn") + "0x" + digits,
            PATH + "0x" + digits + "/",
            PATH + "0x" + digits + ";x",
            PATH + "0x" + digits + "?x=1",
            f"http://elsewhere{PATH}0x{digits}",
        ):
            reader, writer = await asyncio.open_connection(host.host, host.port)
            writer.write(
                f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}".encode()
            )
            status = (await reader.readline()).split(b" ")[1]
            writer.close()
            assert status in {b"400", b"403", b"404"}, path
        assert stub.asked == 0
        await driver.unfreeze([KEYS[0]], **HOW)
        async with aiohttp.ClientSession() as session:
            assert await ask(session, it.signer, "0x" + digits.upper()) == 200


@at_haproxy
async def test_a_map_that_no_rule_reads_is_acknowledged_and_found_out() -> None:
    """A gate that says done and does nothing: the signer's counters tell."""
    async with before_haproxy(spoiled=HAPROXY_RULES) as (stub, it, options), validator(it.signer, KEYS):
        async with signer(it.admin, options) as driver:
            assert (await driver.freeze(KEYS, **HOW)).answer is Answer.ACKNOWLEDGED
            assert not await stub.flat(KEYS)
            assert (await proof(driver)).state is State.FAILED
        async with signer(it.admin, {"map": it.denied, "table": "signed"}) as driver:
            assert (await proof(driver)).state is State.FAILED


@at_haproxy
async def test_a_reload_forgets_the_denials_and_is_found_out() -> None:
    async with (
        before_haproxy() as (stub, it, options),
        validator(it.signer, KEYS),
        signer(it.admin, options) as driver,
    ):
        await driver.freeze(KEYS, **HOW)
        first = await driver.sample(SUSPECTS)
        it.stop()
        await it.start()
        second = await driver.sample(SUSPECTS)
        assert first.instance != second.instance
        assert [second.keys[key].signing for key in SUSPECTS] == [True, True]
        assert prove(first, second, SUSPECTS, period=timedelta(seconds=PERIOD)).state is not State.VERIFIED
        assert (await proof(driver)).state is State.FAILED
        assert (await driver.freeze(KEYS, **HOW)).answer is Answer.ACKNOWLEDGED
        assert (await proof(driver)).state is State.VERIFIED
        assert await stub.flat(KEYS)


@at_envoy
async def test_envoys_denials_outlive_a_restart_that_is_seen() -> None:
    async with before_envoy() as (stub, it, options), signer(it.admin, options) as driver:
        await driver.freeze(KEYS, **HOW)
        first = await driver.sample(KEYS)
        it.stop()
        await it.start()
        async with validator(it.signer, KEYS), signer(it.admin, options) as again:
            second = await again.sample(KEYS)
            assert first.instance != second.instance
            assert not any(reading.signing for reading in second.keys.values())
            assert stub.asked == 0


@at_haproxy
async def test_a_restart_of_the_signer_voids_the_comparison() -> None:
    async with (
        before_haproxy() as (stub, it, options),
        validator(it.signer, KEYS),
        signer(it.admin, options) as driver,
    ):
        await driver.freeze(KEYS, **HOW)
        first = await driver.sample(KEYS)
        stub.started += 1.0
        assert first.instance != (await driver.sample(KEYS)).instance


@pytest.mark.parametrize("gate", [pytest.param("haproxy", marks=at_haproxy), pytest.param("envoy", marks=at_envoy)])
async def test_without_telemetry_nothing_is_proven(gate: str) -> None:
    opened: Any = before_haproxy() if gate == "haproxy" else before_envoy()
    async with opened as (stub, it, options), validator(it.signer, KEYS), signer(it.admin, options) as driver:
        await driver.freeze(KEYS, **HOW)
        stub.mute = True
        sample = await driver.sample(KEYS)
        assert [reading.counter for reading in sample.keys.values()] == [None] * 4
        assert (await proof(driver)).state is State.UNKNOWN
        stub.mute = False
        assert (await proof(driver)).state is State.VERIFIED, "the telemetry stays up behind the gate"


@at_haproxy
async def test_haproxys_own_table_counts_what_it_passed_on_by_key() -> None:
    async with before_haproxy() as (stub, it, _), aiohttp.ClientSession() as session:
        async with signer(it.admin, {"map": it.denied, "table": "signed"}) as driver:
            await driver.freeze([SUSPECTS[0]], **HOW)
            reading = (await driver.sample([SUSPECTS[0]])).keys[SUSPECTS[0]]
            assert (reading.signing, reading.counter) == (False, None), "a key that nobody asked for proves nothing"
            assert (await proof(driver, SUSPECTS[:1])).state is State.UNKNOWN
            assert await ask(session, it.signer, SUSPECTS[0]) == 403
            assert (await driver.sample([SUSPECTS[0]])).keys[SUSPECTS[0]].counter == 0, "asked for, and denied"
            for _ in range(3):
                assert await ask(session, it.signer, SUSPECTS[1]) == 200
            counted = (await driver.sample(SUSPECTS)).keys[SUSPECTS[1]].counter
            assert counted == stub.signed[SUSPECTS[1].lower()] == 3
            async with validator(it.signer, KEYS):
                assert (await proof(driver, SUSPECTS[:1])).state is State.VERIFIED
                assert (await proof(driver, SUSPECTS)).state is State.FAILED
        async with signer(it.admin, {"map": it.denied, "table": "absent"}) as driver:
            with pytest.raises(NodeRefused, match="No such table"):
                await driver.sample(SUSPECTS)


@at_haproxy
async def test_a_table_that_counts_something_else_is_no_telemetry() -> None:
    spoiled = {"nopurge store gpc0,gpc1": "nopurge store gpc1"}
    async with (
        before_haproxy(spoiled=spoiled) as (_, it, _),
        aiohttp.ClientSession() as session,
        signer(it.admin, {"map": it.denied, "table": "signed"}) as driver,
    ):
        assert await ask(session, it.signer, KEYS[0]) == 200
        with pytest.raises(NodeBroken, match="holds no gpc0"):
            await driver.sample(KEYS)


@at_haproxy
async def test_a_whole_signer_behind_tcp_is_cut_off_with_what_was_under_way() -> None:
    async with before_haproxy() as (stub, it, options), aiohttp.ClientSession() as session:
        whole = {"server": "raw/n1"} | {name: options[name] for name in ("metrics", "counters")}
        stub.slow = 5.0
        running = asyncio.create_task(ask(session, it.raw, KEYS[0]))
        while stub.asked < 1:
            await asyncio.sleep(0.01)
        stub.slow = 0.0
        async with validator(it.raw, KEYS), signer(it.admin, whole) as driver:
            reply = await driver.freeze(SUSPECTS, **HOW)
            assert (reply.answer, "whole signer" in reply.detail) == (Answer.REFUSED, True)
            assert not await stub.flat(SUSPECTS)
            assert (await driver.freeze(KEYS, **HOW)).answer is Answer.ACKNOWLEDGED
            assert await asyncio.wait_for(running, 1.0) == 0
            assert await stub.flat(KEYS)
            assert (await proof(driver, KEYS)).state is State.VERIFIED
            assert (await driver.unfreeze(SUSPECTS, **HOW)).answer is Answer.REFUSED
            assert (await driver.unfreeze(KEYS, **HOW)).answer is Answer.ACKNOWLEDGED
            assert not await stub.flat(KEYS)
        async with signer(it.admin, whole, keys=()) as driver:
            assert (await driver.freeze(KEYS, **HOW)).answer is Answer.REFUSED, "nobody knows all keys of the node"
        async with signer(it.admin, {"server": "raw/n1"}) as driver:
            sample = await driver.sample(KEYS)
            assert [reading.counter for reading in sample.keys.values()] == [None] * 4, "a TCP session may sign often"


@at_haproxy
async def test_a_whole_signer_in_http_mode_is_counted_by_haproxy_itself() -> None:
    async with (
        before_haproxy() as (stub, it, _),
        validator(it.signer, KEYS),
        signer(it.admin, {"server": "signer/n1"}) as driver,
    ):
        assert (await proof(driver, KEYS)).state is State.FAILED
        assert (await driver.freeze(KEYS, **HOW)).answer is Answer.ACKNOWLEDGED
        assert (await proof(driver, KEYS)).state is State.VERIFIED
        assert (await proof(driver, SUSPECTS)).state is State.UNKNOWN, "nothing is known of one key"
        assert await stub.flat(KEYS)
        await it.runtime("set server signer/n1 state ready")
        assert (await proof(driver, KEYS)).state is State.FAILED


@at_envoy
async def test_a_whole_signer_is_drained_at_envoy_and_counted_by_the_bytes_it_is_sent() -> None:
    async with before_envoy() as (stub, it, _):
        endpoint = f"127.0.0.1:{stub.port}"
        options = {"program": "envoy", "file": str(it.eds), "cluster": "signer", "endpoint": endpoint}
        async with validator(it.signer, KEYS), signer(it.admin, options) as driver:
            assert (await proof(driver, KEYS)).state is State.FAILED
            assert (await driver.freeze(SUSPECTS, **HOW)).answer is Answer.REFUSED
            assert (await driver.freeze(KEYS, **HOW)).answer is Answer.ACKNOWLEDGED
            assert await stub.flat(KEYS)
            assert (await proof(driver, KEYS)).state is State.VERIFIED
            assert (await driver.unfreeze(KEYS, **HOW)).answer is Answer.ACKNOWLEDGED
            assert not await stub.flat(KEYS)
        async with validator(it.raw, KEYS), signer(it.admin, options) as driver:
            assert (await driver.freeze(KEYS, **HOW)).answer is Answer.FAILED
            assert not await stub.flat(KEYS), "Envoy cuts TCP sessions: docs/gates.md is out of date"
            assert (await proof(driver, KEYS)).state is State.FAILED
            await driver.unfreeze(KEYS, **HOW)
        by_key = {"program": "envoy", "file": str(it.denied), "filter": "stopsign", "cluster": "signer"}
        async with validator(it.signer, KEYS), signer(it.admin, by_key) as driver:
            await driver.freeze(KEYS, **HOW)
            assert (await proof(driver, KEYS)).state is State.VERIFIED
            assert (await proof(driver, SUSPECTS)).state is State.UNKNOWN


@at_haproxy
@pytest.mark.parametrize("first", ["freeze", "isolate"])
@pytest.mark.parametrize("state", ["maint", "drain"])
async def test_a_restore_does_not_thaw_what_haproxy_denies(first: str, state: str) -> None:
    options = {"server": "signer/n1"}
    async with (
        before_haproxy() as (stub, it, _),
        validator(it.signer, KEYS),
        signer(it.admin, options) as driver,
        driving(haproxy_module, it.admin, options | {"state": state}) as router,
    ):
        await _stopped(driver, router, first)
        reply = await router.restore(**HOW)
        assert (reply.answer, "signer/n1 is frozen" in reply.detail) == (Answer.REFUSED, True)
        assert await stub.flat(KEYS)
        assert (await proof(driver, KEYS)).state is State.VERIFIED
        await it.runtime("set server signer/n1 state ready")
        assert await stub.flat(KEYS), "ready by hand, and yet of weight 0"
        assert (await driver.freeze(KEYS, **HOW)).answer is Answer.ACKNOWLEDGED
        assert (await driver.unfreeze(KEYS, **HOW)).answer is Answer.ACKNOWLEDGED
        assert (await driver.unfreeze(KEYS, **HOW)).answer is Answer.ALREADY
        assert not await stub.flat(KEYS)
        assert (await router.restore(**HOW)).answer is Answer.ALREADY


@at_envoy
@pytest.mark.parametrize("first", ["freeze", "isolate"])
async def test_a_restore_does_not_thaw_what_envoy_denies(first: str) -> None:
    async with before_envoy() as (stub, it, _):
        options = {"file": str(it.eds), "cluster": "signer", "endpoint": f"127.0.0.1:{stub.port}"}
        async with (
            validator(it.signer, KEYS),
            signer(it.admin, options | {"program": "envoy"}) as driver,
            driving(envoy_module, it.admin, options) as router,
        ):
            await _stopped(driver, router, first)
            with pytest.raises(NodeRefused, match="is frozen"):
                await router.restore(**HOW)
            assert await stub.flat(KEYS)
            assert (await proof(driver, KEYS)).state is State.VERIFIED
            assert (await driver.unfreeze(KEYS, **HOW)).answer is Answer.ACKNOWLEDGED
            assert not await stub.flat(KEYS)
            assert (await router.restore(**HOW)).answer is Answer.ALREADY


async def _stopped(driver: Any, router: Any, first: str) -> None:
    """Freeze and isolate, in either order."""
    if first == "isolate":
        assert (await router.isolate(**HOW)).answer is Answer.ACKNOWLEDGED
    assert (await driver.freeze(KEYS, **HOW)).answer is Answer.ACKNOWLEDGED, "isolated is not frozen"
    assert (await router.isolate(**HOW)).answer is Answer.ALREADY
    assert (await driver.freeze(KEYS, **HOW)).answer is Answer.ALREADY


@at_envoy
async def test_rules_that_are_not_stopsigns_are_left_alone() -> None:
    async with before_envoy() as (_, it, options):
        ours = it.denied.read_text()
        foreign = json.loads(ours)
        rules = foreign["resources"][0]["typed_config"]["rules"]
        rules["policies"] = {"theirs": {"permissions": [{"any": True}], "principals": [{"any": True}]}}
        foreign["version_info"] = "foreign"
        other = it.folder / "other.json"
        for content, says in ((json.dumps(foreign), "not Stopsign's alone"), ("{}", "no file of resources")):
            other.write_text(content)
            async with signer(it.admin, options | {"file": str(other)}) as driver:
                with pytest.raises(NodeRefused, match=says):
                    await driver.freeze(KEYS, **HOW)
            assert other.read_text() == content
        async with signer(it.admin, options) as driver:
            assert (await driver.freeze(["0x1234"], **HOW)).answer is Answer.REFUSED
            assert it.denied.read_text() == ours
            _renamed(other, json.dumps(foreign), it.denied)
            await _until_broken(driver)
        async with signer(it.admin, options | {"filter": "absent"}) as driver:
            with pytest.raises(NodeRefused, match="no filter absent"):
                await driver.sample(KEYS)


def _renamed(beside: Path, content: str, path: Path) -> None:
    beside.write_text(content)
    beside.rename(path)


async def _until_broken(driver: Any) -> None:
    for _ in range(200):
        try:
            await driver.sample(KEYS)
        except NodeBroken:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("foreign rules were read as Stopsign's")


@at_haproxy
async def test_a_thousand_keys_are_denied_in_one_call() -> None:
    keys = [f"0x{index:096x}" for index in range(1000)]
    async with before_haproxy() as (_, it, options), signer(it.admin, options, keys) as driver:
        began = time.monotonic()
        assert (await driver.freeze(keys, **HOW)).answer is Answer.ACKNOWLEDGED
        assert time.monotonic() - began < 2.0
        assert not any(reading.signing for reading in (await driver.sample(keys)).keys.values())
        assert (await driver.unfreeze(keys, **HOW)).answer is Answer.ACKNOWLEDGED


BASE = {"metrics": "http://127.0.0.1:1", "counters": "c"}
EDS = {"program": "envoy", "file": "/e.json", "cluster": "c", "endpoint": "10.0.0.7:1"}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "needs the option server"),
        ({"program": "nginx", "map": "/m"}, "haproxy or envoy"),
        ({"map": "/m", "server": "a/b"}, "no option server"),
        ({"map": "/m\nset"}, "map's file"),
        ({"map": "/m", "table": "a b"}, "HAProxy name"),
        ({"map": "/m", "table": "t"} | BASE, "not both"),
        ({"map": "/m", "metrics": "http://127.0.0.1:1"}, "needs counters"),
        ({"map": "/m", "counters": "c"}, "go with metrics"),
        ({"map": "/m", "metrics": "http://user:pw@127.0.0.1:1", "counters": "c"}, "user or password"),
        ({"map": "/m", "metrics": "http://169.254.169.254", "counters": "c"}, "metadata address"),
        ({"server": "a"}, "HAProxy name"),
        ({"program": "envoy", "filter": "stopsign"}, "needs the option file"),
        ({"program": "envoy", "filter": "a b", "file": "/d.json"}, "plain name"),
        ({"program": "envoy", "file": "/e.json"}, "cluster, endpoint"),
        (EDS | {"endpoint": "x"}, "address:port"),
        (EDS | {"table": "t"}, "no option table"),
    ],
)
def test_options_are_checked_before_anything_is_sent(options: dict[str, str], says: str) -> None:
    url = "http://127.0.0.1:1" if options.get("program") == "envoy" else "unix:/run/x.sock"
    endpoint = Endpoint(driver="signer_gate", url=url, options=options)
    node = Node(name="n", avs="x", keys=KEYS)
    with pytest.raises(Misconfigured, match=says):
        driver_module.connect(Way(node=node, endpoint=endpoint, client=unused(), clock=SystemClock()))


def test_the_inventory_entries_of_the_guide_are_taken() -> None:
    entries = guide("yaml").split("signer:\n")[1:]
    for entry in entries:
        written = yaml.safe_load(entry)
        endpoint = Endpoint(driver=written["driver"], url=written["url"], options=written["options"])
        node, networks = Node(name="n", avs="x", keys=KEYS), ("10.0.0.0/8",)
        way = Way(node=node, endpoint=endpoint, client=unused(), clock=SystemClock(), networks=networks)
        assert driver_module.connect(way).traits.blast_radius == "the named keys, at that gate"
    assert len(entries) == 2


def test_what_a_freeze_hits_follows_from_the_options() -> None:
    for options, says in (
        ({"map": "/m"}, "the named keys, at that gate"),
        ({"program": "envoy", "filter": "f"}, "the named keys, at that gate"),
        ({"server": "a/b"}, "all keys of the signer, and the requests that it was answering"),
        (EDS, "all keys of the signer"),
    ):
        assert driver_module.traits(Endpoint(driver="signer_gate", url="", options=options)).blast_radius == says
