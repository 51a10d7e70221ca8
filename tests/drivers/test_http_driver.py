"""The declarative driver: what its options may say, what is sent for them, and what answers are taken to mean."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.config.inventory import read_inventory
from bot.config.sheet import Sheet
from bot.domain.inventory import Avs, Capability, Endpoint, Node
from bot.domain.target import Answer, Effect, State, prove
from bot.errors import Misconfigured, NoAnswer, NodeBroken, NodeRefused
from bot.nodes import http as driver_module
from bot.nodes import probe as probing
from bot.nodes.declaration import KNOWN
from bot.nodes.http import Http, traits
from bot.nodes.phrases import Page, expectation, request, value, whole
from bot.nodes.probe import Found, probe
from bot.nodes.reach import Reach
from tests.drivers.contract import SystemClock
from tests.drivers.emulated.custom import OLD, OPTIONS, SECRET, CustomApi, custom
from tests.drivers.emulated.serving import PERIOD
from tests.drivers.wired import OTHER, URL, routes

BASE = URL
A, B = "0x" + "aa" * 48, "0x" + "bb" * 48
HOW = {"incident": "inc-7", "request": "r1"}
READS = {"state": "GET /keys", "state.signing": '$.on[?@ == "{key}"]', "state.stopped": '$.off[?@ == "{key}"]'}
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@asynccontextmanager
async def reached(
    options: dict[str, str],
    url: str = BASE,
    *,
    keys: tuple[str, ...] = (A, B),
    reach_as: tuple[Capability, ...] = (),
    token: str | None = None,
) -> AsyncIterator[Http]:
    endpoint = Endpoint(driver="http", url=url, timeout=timedelta(seconds=0.5), options=options, token=token)
    node = Node(name="n", avs="x", keys=keys, reach=dict.fromkeys(reach_as, endpoint))
    async with Reach(drivers={"http": driver_module.connect}, secret=lambda _: SECRET, clock=SystemClock()) as reach:
        driver = reach.drive(node, endpoint)
        assert isinstance(driver, Http)
        yield driver


@asynccontextmanager
async def running(**changed: str) -> AsyncIterator[tuple[CustomApi, Http]]:
    async with custom((A, B)) as api, reached(OPTIONS | changed, api.url) as driver:
        yield api, driver


async def test_a_freeze_is_proven_and_undone() -> None:
    async with running() as (api, driver):
        assert (await driver.freeze([A], **HOW)).answer is Answer.ACKNOWLEDGED
        before = await driver.sample([A])
        await asyncio.sleep(PERIOD * 2.5)
        proof = prove(before, await driver.sample([A]), (A,), period=timedelta(seconds=PERIOD))
        assert (proof.state, api.active) == (State.VERIFIED, {A: False, B: True})
        assert (await driver.freeze([A], **HOW)).answer is Answer.ALREADY
        assert (await driver.unfreeze([A], **HOW)).answer is Answer.ACKNOWLEDGED
        assert api.active == {A: True, B: True}


async def test_what_is_sent_is_what_the_inventory_says() -> None:
    async with running() as (api, driver):
        await driver.freeze([A.upper().replace("0X", "0x"), B], **HOW)
        assert api.seen == [("POST", "/admin/pause", {"keys": [A, B], "by": "inc-7", "request": "r1"})]
        assert httpx.Headers(api.headers[0])["X-Api-Key"] == SECRET


async def test_a_key_that_the_api_does_not_know_is_failed_by_name() -> None:
    stranger = "0x" + "ee" * 48
    async with running() as (api, driver):
        reply = await driver.freeze([A, stranger], **HOW)
        assert (reply.answer, api.active[A]) == (Answer.FAILED, False)
        assert reply.detail.startswith("0xeeee…eeee the answer is not as expected")
        assert list((await driver.sample([A, stranger])).keys) == [A]


async def test_a_value_cannot_leave_its_place() -> None:
    """Sent to a real server, as it came: a build and a request that would be another path or another member."""
    build, mark = 'x/../../admin/pause?a=1#"', '", "keys": ["0x00"], "z": "'
    async with running() as (api, driver):
        reply = await driver.rollback(build, incident="inc-7", request=mark)
        assert reply.answer is Answer.ACKNOWLEDGED
        assert api.seen == [("POST", "/releases/x%2F..%2F..%2Fadmin%2Fpause%3Fa%3D1%23%22/run", {"request": mark})]
        assert api.build == build
    async with running(throttle="PUT /limit?a={request}&b={incident}") as (api, driver):
        await driver.throttle(incident="%2F+", request="1&b=2#%26 ;x")
        sent = httpx.URL(api.seen[0][1]).params
        assert dict(sent) == {"a": "1&b=2#%26 ;x", "b": "%2F+"}


@settings(deadline=None, max_examples=40)
@given(text=st.text(max_size=60))
def test_no_text_gets_out_of_body_path_or_literal(text: str) -> None:
    asked = request(
        'POST /a/{request}/b?c={request} {"d": "{request}", "e": ["-{request}-"]}',
        methods=("POST",),
        known=frozenset({"request"}),
    )
    path, body = asked.filled({"request": text})
    assert json.loads(json.dumps(body)) == {"d": text, "e": [f"-{text}-"]}
    first, _, last = path.removeprefix("/a/").partition("/b?c=")
    assert unquote(first) == unquote(last) == text
    assert not set(first) & set("/?#&=\"' {}\r\n")
    for quoted in ('$.d == "{request}"', "$.d == '{request}'"):
        expected = expectation(quoted, known=frozenset({"request"}))
        assert expected.holds(Page(json.dumps({"d": text}).encode()), {"request": text})
        assert not expected.holds(Page(json.dumps({"d": text + "x"}).encode()), {"request": text})


async def test_a_status_may_say_that_it_was_so_before() -> None:
    async with running() as (_, driver):
        assert (await driver.isolate(**HOW)).answer is Answer.ACKNOWLEDGED
        assert await driver.isolated()
        again = await driver.isolate(**HOW)
        assert (again.answer, again.detail) == (Answer.ALREADY, "answered 409: was so before the request")
        assert (await driver.restore(**HOW)).answer is Answer.ACKNOWLEDGED
        with pytest.raises(NodeRefused, match="409"):
            await driver.restore(**HOW)


async def test_what_reads_back_as_neither_is_unknown() -> None:
    async with running() as (api, driver):
        api.routing = "draining"
        with pytest.raises(NodeBroken, match="says neither that it is isolated nor that it is not"):
            await driver.isolated()
    async with running(**{"state.stopped": '$.state == "halted"'}) as (_, driver):
        await driver.freeze([A], **HOW)
        assert list((await driver.sample([A, B])).keys) == [B]


async def test_an_answer_that_is_no_json_is_broken() -> None:
    async with reached({"freeze": "POST /stop", "freeze.expect": "$.ok == true"} | READS) as driver:
        with routes() as mock:
            mock.post(f"{BASE}/stop").respond(text="<html>please log in</html>")
            mock.get(f"{BASE}/keys").respond(text="<html>please log in</html>")
            with pytest.raises(NodeBroken, match="the answer is not JSON"):
                await driver.freeze([A, B], **HOW)
            with pytest.raises(NodeBroken, match="the answer is not JSON"):
                await driver.sample([A])


async def test_a_request_for_the_whole_node_is_not_sent_for_some_of_its_keys() -> None:
    async with reached({"freeze": "POST /stop"} | READS) as driver:
        with routes() as mock:
            stop = mock.post(f"{BASE}/stop").respond(204)
            refused = await driver.freeze([A], **HOW)
            assert (refused.answer, stop.called) == (Answer.REFUSED, False)
            assert refused.detail == "the request acts on all 2 keys of the node, and not on some of them"
            assert (await driver.freeze([B, A], **HOW)).answer is Answer.ACKNOWLEDGED


async def test_a_path_that_is_nowhere_is_named() -> None:
    async with reached({"freeze": "POST /stop"} | READS | {"state": "GET /kyes/{key}"}) as driver:
        with routes() as mock:
            mock.get(url__startswith=f"{BASE}/kyes/").respond(404)
            with pytest.raises(
                NodeRefused, match=r"refused GET /kyes/0x.*404.*the path in the option state is another"
            ):
                await driver.sample([A])


PER_KEY = {"freeze": "DELETE /keys/{key_hex}", "freeze.already": "status 404, 410"} | READS


@pytest.mark.parametrize(
    ("first", "second", "answer"),
    [
        (204, 204, Answer.ACKNOWLEDGED),
        (404, 410, Answer.ALREADY),
        (204, 404, Answer.ACKNOWLEDGED),
        (204, 403, Answer.FAILED),
        (204, 500, Answer.UNKNOWN),
        (None, 204, Answer.UNKNOWN),
        (403, 403, NodeRefused),
        (403, 500, NodeBroken),
        (None, 500, NoAnswer),
    ],
)
async def test_one_request_a_key_amounts_to_the_worst(first: int | None, second: int, answer: Any) -> None:
    async def never(_: object) -> None:
        await asyncio.sleep(60)

    async with reached(PER_KEY) as driver:
        with routes(assert_all_called=False) as mock:
            one, other = (mock.delete(f"{BASE}/keys/{key[2:]}") for key in (A, B))
            one.mock(side_effect=never) if first is None else one.respond(first)
            other.respond(second)
            if isinstance(answer, Answer):
                reply = await driver.freeze([A, B], **HOW)
                assert reply.answer is answer
                assert ("1 of 2 keys: " in reply.detail) == (answer in {Answer.FAILED, Answer.UNKNOWN})
            else:
                with pytest.raises(answer):
                    await driver.freeze([A, B], **HOW)


async def test_what_the_inventory_does_not_describe_is_refused_or_misconfigured() -> None:
    async with reached(PER_KEY) as driver:
        assert (await driver.unfreeze([A], **HOW)).detail == "the inventory does not say how to unfreeze: do it by hand"
        assert (await driver.isolate(**HOW)).answer is Answer.REFUSED
        for read in (driver.isolated, driver.throttled, driver.release):
            with pytest.raises(Misconfigured):
                await read()
        with pytest.raises(NodeRefused, match="names no request for slashing protection"):
            await driver.slashing_protection()


async def test_slashing_protection_is_the_apis_own_answer() -> None:
    async with running() as (_, driver):
        assert json.loads(await driver.slashing_protection())["data"] == []
    async with reached(PER_KEY | {"slashing_protection": "GET /x"}) as driver:
        with routes() as mock:
            mock.get(f"{BASE}/x").respond(text="nothing here")
            with pytest.raises(NodeBroken):
                await driver.slashing_protection()


@pytest.mark.parametrize(
    ("option", "answer", "alone", "both"),
    [
        ('total{key="{key}"}', f'total{{key="{A}"}} 3\ntotal{{key="{A.upper()}",x="y"}} 2\n', 5, 5),
        ('total{key="{key}"} + more{key="{key}"}', f'total{{key="{A}"}} 3\nmore{{key="{A}"}} 2\n', 5, 5),
        ('total{key="{key}"} + more{key="{key}"}', f'total{{key="{A}"}} 3\n', None, None),
        ("total", "total 7\n", None, 7),
        ("total", "total NaN\n", None, None),
        ("total", "total 7.5\n", None, None),
        ("total", 'total{x="torn" 7\n', None, None),
        ("total", "totals 7\n", None, None),
        ('$["{key}"].n', json.dumps({A: {"n": 9}}), 9, 9),
        ('$["{key}"].n', json.dumps({A: {"n": "9"}}), 9, 9),
        ('$["{key}"].n', json.dumps({A: {"n": True}}), None, None),
        ('$["{key}"].n', json.dumps({A: {"n": -1}}), None, None),
        ('$["{key}"].n', json.dumps({B: {"n": 9}}), None, None),
        ("$.n", json.dumps({"n": 9}), None, 9),
        ("$.n", "no json", None, None),
    ],
)
async def test_a_counter_is_found_or_there_is_none(
    option: str, answer: str, alone: int | None, both: int | None
) -> None:
    options = PER_KEY | {"counters": "GET /counts", "counter": option, "instance": "$.id"}
    async with reached(options) as driver:
        with routes() as mock:
            mock.get(f"{BASE}/keys").respond(json={"on": [A], "off": [B]})
            mock.get(f"{BASE}/counts").respond(text=answer)
            found = [(await driver.sample(keys)).keys[A] for keys in ([A], [A, B])]
    assert [(one.signing, one.counter) for one in found] == [(True, alone), (True, both)]


async def test_counters_elsewhere_get_no_secret_and_their_loss_is_no_error() -> None:
    options = OPTIONS | {"url.counters": OTHER}
    async with custom((A,)) as api, reached(options, api.url, keys=(A,), token="env:T") as driver:
        with routes() as mock:
            mock.route(host="localhost").respond(text=f'signatures_total{{key="{A}"}} 4\n')
            assert (await driver.sample([A])).keys[A].counter == 4
            sent = mock.calls[0].request.headers
        assert {"authorization", "x-api-key"} & set(sent) == set()
        assert {name.lower() for name in api.headers[0]} >= {"authorization", "x-api-key"}
        assert (await driver.sample([A])).keys[A].counter is None


async def test_a_restart_and_a_clock_that_stands_still_are_seen() -> None:
    async with running() as (api, driver):
        assert (await driver.sample([A])).instance == "5.0"
        api.started = 6.0
        assert (await driver.sample([A])).instance == "6.0"
    options = PER_KEY | {"counters": "GET /c", "counter": "$.n", "instance": "$.id", "time": "$.now"}
    async with reached(options) as driver:
        for now, moment in (("2026-03-01T12:00:00Z", NOON), (NOON.timestamp(), NOON), ("noon", None), (True, None)):
            with routes() as mock:
                mock.get(f"{BASE}/keys").respond(json={"on": [], "off": [A, B]})
                mock.get(f"{BASE}/c").respond(json={"n": 1, "id": "boot-1", "now": now})
                before, after = await driver.sample([A, B]), await driver.sample([A, B])
            assert (before.instance, before.node_time) == ("boot-1", moment)
            if moment:
                assert "clock stands still" in prove(before, after, (A, B), period=timedelta()).why


@pytest.mark.parametrize(
    ("times", "written"),
    [
        (None, "2026-03-01T12%3A00%3A00Z"),
        ("unix", "1772366400"),
        ("unix_ms", "1772366400000"),
        ("unix_ns", "1772366400000000000"),
    ],
)
async def test_a_window_is_written_as_the_api_wants_it(times: str | None, written: str) -> None:
    options = {"capture.audit": "GET /audit?from={since}"} | ({"times": times} if times else {})
    async with reached(options) as driver:
        with routes() as mock:
            mock.get(f"{BASE}/audit").respond(text="x")
            items = [item async for item in driver.capture(NOON, NOON)]
            assert [b"".join([chunk async for chunk in item.chunks]) for item in items] == [b"x"]
            assert mock.calls.last.request.url.raw_path.decode() == f"/audit?from={written}"
    assert (items[0].what, items[0].media_type) == ("audit", "application/octet-stream")
    assert items[0].source == f"n GET {BASE}/audit?from={written}"


async def test_a_capture_shows_no_secret_and_owns_up_to_what_it_changes() -> None:
    options = {
        "capture.logs": "GET /logs?apikey=hunter2&x-hunter2&since={since}&until={until}",
        "capture.rotated": "POST /rotate",
    }
    async with reached(options | {"times": "unix"}) as driver:
        items = [item async for item in driver.capture(NOON, NOON)]
    assert items[0].source == f"n GET {BASE}/logs?apikey&since=1772366400&until=1772366400"
    assert [item.acts for item in items] == [False, True]


async def probed(url: str, options: dict[str, str], *, seconds: float = 0.5) -> tuple[Found, float]:
    endpoint = Endpoint(driver="http", url=url, timeout=timedelta(seconds=seconds), options=options)
    node = Node(name="n", avs="x", keys=(A,), reach={Capability.RECORDER: endpoint})
    began = time.monotonic()
    async with Reach(drivers={"http": driver_module.connect}, secret=lambda _: SECRET, clock=SystemClock()) as reach:
        found = await probe(reach.drive, node, Avs(name="x"), Capability.RECORDER, endpoint, clock=SystemClock())
    return found, time.monotonic() - began


async def test_a_probe_asks_for_nothing_that_changes_something() -> None:
    with routes(assert_all_called=False) as mock:
        mock.get(f"{BASE}/logs").respond(text="x")
        rotate = mock.post(f"{BASE}/rotate").respond(text="x")
        found, _ = await probed(BASE, {"capture.logs": "GET /logs?apikey=hunter2", "capture.rotated": "POST /rotate"})
    assert found.says == ("offers logs, rotated (not asked for: that changes something)",)
    assert not rotate.called
    assert [one.asked for one in found.exchanges] == [f"GET {BASE}/logs?apikey"]


async def test_a_probe_of_a_recorder_that_drips_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    dripping: set[asyncio.Task[None] | None] = set()

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        dripping.add(asyncio.current_task())
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        with suppress(ConnectionError):
            while True:
                writer.write(b"1\r\nx\r\n")
                await writer.drain()
                await asyncio.sleep(0.02)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    monkeypatch.setattr(probing, "PATIENCE", 0.3)
    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        one, took = await probed(url, {"capture.a": "GET /a"}, seconds=0.1)
        assert (one.well, one.says[0], took < 0.6) == (False, "cannot be had: a: took longer than 0.3 s", True)
        many, took = await probed(url, {f"capture.{name}": "GET /" for name in "abcdef"}, seconds=0.1)
        assert (many.well, many.says, took < 0.9) == (False, ("took longer than 0.6 s",), True)
    finally:
        server.close()
        await asyncio.gather(*filter(None, dripping))


async def test_a_header_that_comes_back_is_not_shown() -> None:
    async with reached(READS | {"freeze": "POST /f", "header.X-Org": "env:ORG"}) as driver:
        with routes() as mock:
            mock.post(f"{BASE}/f").respond(403, json={"message": f"{SECRET} may not"})
            with pytest.raises(NodeRefused, match=r"403 \*\*\* may not"):
                await driver.freeze([A, B], **HOW)


async def test_a_release_without_a_build_is_broken() -> None:
    options = {"rollback": "POST /back", "release": "GET /r", "release.version": "$.v", "release.build": "$.b"}
    async with reached(options) as driver:
        with routes() as mock:
            mock.get(f"{BASE}/r").respond(json={"v": "1", "b": OLD})
            assert (await driver.release()).build_hash == OLD
            mock.get(f"{BASE}/r").respond(json={"v": "1"})
            with pytest.raises(NodeBroken, match="does not say what it runs"):
                await driver.release()


async def test_no_secret_is_in_what_the_driver_shows() -> None:
    async with custom((A,)) as api, reached(OPTIONS, api.url, keys=(A,), token="env:T") as driver:
        assert SECRET not in f"{driver!r} {vars(driver)!r} {vars(driver)['_origins']!r}"


GOOD = PER_KEY | {"counters": "GET /c", "counter": "n"}


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"freez": "POST /x"}, "has no option freez (did you mean freeze?); docs/http-driver.md lists them"),
        ({"freeze": "stop it"}, "option freeze is no request: write METHOD /path"),
        ({"freeze": "GET /stop"}, "option freeze asks with GET: it may be POST, PUT, PATCH, DELETE"),
        ({"state": "POST /keys"}, "option state asks with POST: it may be GET"),
        ({"freeze": 'POST /x {"keys": [{keys}]}'}, "option freeze has a body that is not JSON"),
        ({"freeze": "POST /x null"}, "option freeze has the body null"),
        ({"freeze": 'POST /x {"a": "{token}"}'}, "option freeze has the placeholder {token}: here there are"),
        ({"freeze": 'POST /x {"{key}": 1}'}, "placeholder in the name of a member"),
        ({"freeze": 'POST /x {"a": "all {keys}"}'}, "has {keys} inside a longer text"),
        ({"freeze": 'POST /{key} {"a": "{keys}"}'}, "names one key and all keys"),
        ({"freeze": "POST /x " + "[" * 70 + "]" * 70}, "has a body that is nested too deep"),
        ({"freeze": "POST http://127.0.0.1/x"}, "option freeze is no request: write METHOD /path"),
        ({"url.freeze": "http://me:pw@127.0.0.1"}, "option url.freeze carries a user or password"),
        ({"url.counters": "http://169.254.169.254"}, "option url.counters is a link-local"),
        ({"url.counters": "http://8.8.8.8"}, "option url.counters 8.8.8.8 lies outside networks"),
        ({"url.counters": "unix:/run/x.sock"}, "option url.counters is no http(s) URL"),
        ({"url.release": BASE}, "option url.release belongs to the option release, which is missing"),
        ({"url.counter": BASE}, "has no option url.counter"),
        ({"freeze.expect": "status 200"}, "option freeze.expect expects a status: any 2xx is a yes"),
        ({"freeze.expect": "$.a = 1"}, "option freeze.expect is no JSONPath (RFC 9535)"),
        ({"freeze.expect": "$.a == {key}"}, "a placeholder stands in quotes there"),
        ({"freeze.expect": '$.a == "{keys}"'}, "has the placeholder {keys}"),
        ({"state.signing": "$.a == 1 ]"}, "option state.signing is no JSONPath"),
        ({"counter": "$..n"}, "option counter may stand in several places"),
        ({"counter": 'n{key="{key}"'}, "option counter is neither $.a.path nor a metric"),
        ({"counter": "n{key={key}}"}, "option counter is neither"),
        ({"counter": "a b"}, "option counter is neither"),
        ({"unfreeze.expect": "$.a"}, "option unfreeze.expect belongs to the option unfreeze, which is missing"),
        ({"effect": "often"}, "option effect is 'often': it may be set_state, keyed, at_most_once"),
        ({"effect": "keyed"}, "option effect is keyed, but option freeze does not send {request}"),
        ({"times": "iso"}, "option times is 'iso'"),
        ({"header.Host": "x"}, "option header.Host names a header that cannot be set"),
        ({"header.Accept": "a\r\nX-B: c"}, "option header.Accept has a value that is no header's"),
        ({"header.X-Api-Key": "s3cret"}, "option header.X-Api-Key holds a secret: write env:NAME"),
        ({"destructive": "maybe"}, "option destructive is 'maybe': it may be yes, no"),
        ({"header.Authorization": "env:BASIC"}, "option header.Authorization and token both set it"),
        ({"capture.x": "GET /x?since={since}&key={key}"}, "option capture.x has the placeholder {key}"),
        ({"state.stopped": None}, "lacks the option state.stopped, and is the node's signer"),
        ({"counter": None}, "has the option counters without counter"),
    ],
)
async def test_what_is_wrong_is_said_at_connect(changed: dict[str, str | None], problem: str) -> None:
    options = {name: text for name, text in (GOOD | changed).items() if text is not None}
    with pytest.raises(Misconfigured) as wrong:
        async with reached(options, reach_as=(Capability.SIGNER,), token="env:T"):
            pass
    assert any(problem in one for one in wrong.value.problems), wrong.value.problems
    assert all(one.startswith("node n: http ") for one in wrong.value.problems)
    assert SECRET not in str(wrong.value)


async def test_everything_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(Misconfigured) as wrong:
        async with reached({"freeze": "x", "times": "y"}, reach_as=(Capability.SIGNER, Capability.RECORDER)):
            pass
    assert sorted(problem.removeprefix("node n: http ")[:29] for problem in wrong.value.problems) == [
        "lacks a capture.… option, and",
        "lacks the option state, and i",
        "lacks the option state.signin",
        "lacks the option state.stoppe",
        "option freeze is no request: ",
        "option times is 'y': it may b",
    ]


def test_what_it_promises_depends_on_the_options() -> None:
    def of(**options: str) -> Any:
        return traits(Endpoint(driver="http", url=BASE, options=options))

    assert (of().effect, of(effect="often").effect) == (Effect.AT_MOST_ONCE, Effect.AT_MOST_ONCE)
    assert of(effect="keyed").effect is Effect.KEYED
    assert (of(freeze="x").reversible, of(freeze="x", unfreeze="y").reversible) == (False, True)
    assert of(freeze="x", unfreeze="y", rollback="z").reversible is False
    assert of(isolate="x", **{"capture.a": "z"}).capabilities == (Capability.ROUTER, Capability.RECORDER)
    assert (of(freeze="x").destructive, of(freeze="x", destructive="yes").destructive) == (False, True)
    assert of(blast_radius="both validators").blast_radius == "both validators"
    assert {of(freeze="x").tier, traits(Endpoint(driver="http", url=BASE)).tier} == {"emulated"}


@pytest.mark.parametrize(
    ("expected", "met", "unmet"),
    [
        ("$.a == true", b'{"a": true}', b'{"a": 1}'),
        ("$.a == 1 && !$.b", b'{"a": 1.0}', b'{"a": true}'),
        ("!$.failed", b"{}", b'{"failed": null}'),
        ("count($[*]) == 0", b"[]", b"[0]"),
        ("$ == true", b"true", b"1"),
        ("$[?@.on == true]", b'[{"on": false}, {"on": true}]', b'[{"on": false}]'),
        ('match($.state, "paus(ed|ing)")', b'{"state": "pausing"}', b'{"state": "unpaused"}'),
        ("says paused", b"it is paused now", b"Paused"),
    ],
)
def test_what_an_expectation_holds_of(expected: str, met: bytes, unmet: bytes) -> None:
    found = expectation(expected, known=frozenset())
    assert (found.holds(Page(met), {}), found.holds(Page(unmet), {})) == (True, False)


def test_an_answer_that_is_too_deep_is_not_judged() -> None:
    for deep in (b"[" * 200_000, b"[" * 900 + b"]" * 900):
        with pytest.raises(ValueError, match="the answer"):
            expectation("$..x", known=frozenset()).holds(Page(deep), {})


def test_a_thousand_keys_are_judged_in_time() -> None:
    """Time that grows with the square of the keys would be half a minute."""
    keys = [f"0x{index:096x}" for index in range(1000)]
    states = Page(json.dumps({key: {"state": "paused"} for key in keys}).encode())
    counts = Page("".join(f'total{{key="{key}"}} 3\n' for key in keys).encode())
    paused = expectation('$["{key}"].state == "paused"', known=frozenset({"key"}))
    total = value('total{key="{key}"}', known=frozenset({"key"}))
    began = time.perf_counter()
    assert all(paused.holds(states, {"key": key}) and total.of(counts, {"key": key}) == 3 for key in keys)
    assert time.perf_counter() - began < 10


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), 1.5, -1, None, [], "x", "1e3", 2**70, False])
def test_what_is_no_whole_number_is_no_count(odd: object) -> None:
    assert whole(odd) is None
    assert value("$.a", known=frozenset()).of(Page(b'{"b": 1}'), {}) is None


DOCS = (Path(__file__).parents[2] / "docs" / "http-driver.md").read_text()


async def test_the_examples_of_the_docs_are_inventories_and_connect() -> None:
    roles: list[str] = []
    for block in re.findall(r"```yaml\n(.*?)```", DOCS, re.DOTALL):
        sheet = Sheet.of("inventory.yaml", block.encode())
        inventory = read_inventory(sheet)
        assert sheet.problems == []
        async with Reach(
            drivers={"http": driver_module.connect},
            secret=lambda _: SECRET,
            clock=SystemClock(),
            networks=inventory.networks,
        ) as reach:
            for node in inventory.nodes.values():
                for role, endpoint in node.endpoints:
                    driver = reach.drive(node, endpoint)
                    assert isinstance(driver, Http)
                    assert driver.traits.capabilities == (role,)
                    roles.append(role)
    assert sorted(roles) == sorted(Capability)


def test_the_docs_list_every_option() -> None:
    for option in KNOWN:
        assert f"`{option}`" in DOCS or option.endswith((".expect", ".already")), option
