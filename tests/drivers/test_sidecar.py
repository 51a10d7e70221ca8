"""The sidecar driver: exact requests (respx), routing, rollback and capture against a practice node (real HTTP)."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

import pytest
import respx

from bot.domain.inventory import Capability, Endpoint, Node
from bot.domain.target import Answer
from bot.errors import Misconfigured, NoAnswer, NodeBroken, NodeRefused, NotReached
from bot.nodes import sidecar
from bot.nodes.sidecar import Sidecar
from bot.nodes.way import Way
from bot.nodes.wire import NodeClient, node_client
from bot.ports import Deployer, Recorder, Router, Signer
from bot.practice.fleet import Character, FleetSpec, NodeSpec, RunningFleet, build_hash, key_of, running_fleet
from tests.drivers.wired import URL, routes, unused

BASE = URL
KEY = "0xaa01"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class FrozenClock:
    """Stands at noon."""

    def now(self) -> datetime:
        return NOON


def driver(
    client: NodeClient,
    url: str = BASE,
    token: str | None = "s3cret",
    options: Mapping[str, str] = MappingProxyType({}),
) -> Sidecar:
    endpoint = Endpoint(driver="sidecar", url=url, token="env:T", timeout=timedelta(seconds=0.5), options=options)
    node = Node(name="n", avs="x", keys=(KEY,), reach={Capability.SIGNER: endpoint})
    return sidecar.connect(Way(node=node, endpoint=endpoint, client=client, clock=FrozenClock(), token=token))


@pytest.fixture
async def client() -> AsyncIterator[NodeClient]:
    async with node_client() as made:
        yield made


@pytest.fixture
async def fleet() -> AsyncIterator[RunningFleet]:
    nodes = (NodeSpec(name="n", avs="x"), NodeSpec(name="m", avs="x"))
    async with running_fleet(FleetSpec(nodes=nodes, duty_period_seconds=0.1)) as running:
        yield running


def results(*rows: tuple[str, str, str | None]) -> dict[str, Any]:
    told = [{"key": key, "result": result, "state": state} for key, result, state in rows]
    return {"instance_id": "i1", "now": "2026-03-01T12:00:00Z", "results": told}


def asked(route: respx.Route) -> tuple[str, str, Any]:
    request = route.calls.last.request
    return request.method, request.headers["authorization"], json.loads(request.content)


def test_the_driver_offers_four_capabilities() -> None:
    made = driver(unused())
    assert isinstance(made, Signer)
    assert isinstance(made, Router)
    assert isinstance(made, Deployer)
    assert isinstance(made, Recorder)


@pytest.mark.parametrize(("verb", "state"), [("freeze", "frozen"), ("unfreeze", "signing")])
async def test_freeze_and_unfreeze_put_the_state_of_the_named_keys(client: NodeClient, verb: str, state: str) -> None:
    with routes() as mock:
        route = mock.put(f"{BASE}/stopsign/v1/signing").respond(json=results((KEY, "changed", state)))
        reply = await getattr(driver(client), verb)([KEY], incident="inc-7", request="r1")
    assert reply.answer is Answer.ACKNOWLEDGED
    body = {"state": state, "keys": [KEY], "incident": "inc-7", "request": "r1"}
    assert asked(route) == ("PUT", "Bearer s3cret", body)


@pytest.mark.parametrize(
    ("rows", "answer"),
    [
        ([("0xaa01", "changed", "frozen"), ("0xaa02", "changed", "frozen")], Answer.ACKNOWLEDGED),
        ([("0xAA01", "unchanged", "frozen"), ("0xaa02", "changed", "frozen")], Answer.ACKNOWLEDGED),
        ([("0xaa01", "unchanged", "frozen"), ("0xaa02", "unchanged", "frozen")], Answer.ALREADY),
        ([("0xaa01", "changed", "frozen"), ("0xaa02", "unchanged", "signing")], Answer.FAILED),
        ([("0xaa01", "changed", "frozen"), ("0xaa02", "not_found", None)], Answer.FAILED),
        ([("0xaa01", "changed", "frozen"), ("0xaa02", "error", "signing")], Answer.FAILED),
        ([("0xaa01", "changed", "frozen"), ("0xaa02", "error", None)], Answer.UNKNOWN),
        ([("0xaa01", "changed", "frozen"), ("0xaa02", "error", "frozen")], Answer.FAILED),
        ([("0xaa01", "unchanged", "frozen"), ("0xaa02", "error", "frozen")], Answer.FAILED),
        ([("0xaa01", "changed", "frozen")], Answer.UNKNOWN),
        ([], Answer.UNKNOWN),
    ],
)
async def test_the_worst_key_is_the_answer(client: NodeClient, rows: list[Any], answer: Answer) -> None:
    with routes() as mock:
        mock.put(f"{BASE}/stopsign/v1/signing").respond(json=results(*rows))
        assert (await driver(client).freeze(["0xaa01", "0xaa02"], incident="i", request="r")).answer is answer


async def test_a_freeze_that_does_not_last_is_failed_and_says_why(client: NodeClient) -> None:
    told = results((KEY, "error", "frozen"))
    told["results"][0]["detail"] = "denied now, but not after a restart"
    with routes() as mock:
        mock.put(f"{BASE}/stopsign/v1/signing").respond(json=told)
        reply = await driver(client).freeze([KEY], incident="i", request="r")
    assert reply.answer is Answer.FAILED
    assert reply.detail == "key 0xaa01 is frozen now, with an error: denied now, but not after a restart"


@pytest.mark.parametrize("body", [{}, [], {"results": [{"key": KEY, "result": "maybe", "state": "frozen"}]}, None])
async def test_an_answer_of_another_shape_is_broken(client: NodeClient, body: Any) -> None:
    with routes() as mock:
        mock.put(f"{BASE}/stopsign/v1/signing").respond(json=body)
        with pytest.raises(NodeBroken, match="unreadably"):
            await driver(client).freeze([KEY], incident="i", request="r")


async def test_a_sample_holds_the_asked_keys_the_instance_and_both_clocks(client: NodeClient) -> None:
    told = {
        "instance_id": "i1",
        "now": "2026-03-01T12:00:01Z",
        "keys": [
            {
                "key": KEY,
                "state": "frozen",
                "counter": 7,
                "last_signed_at": None,
                "next_duty_at": "2026-03-01T12:00:02Z",
            },
            {"key": "0xbb", "state": "signing", "counter": 1, "last_signed_at": None, "next_duty_at": None},
        ],
        "a later version": "adds this",
    }
    with routes() as mock:
        mock.get(f"{BASE}/stopsign/v1/signing").respond(json=told)
        sample = await driver(client).sample([KEY, "0xcc"])
    assert (sample.at, sample.instance, sample.node_time) == (NOON, "i1", NOON + timedelta(seconds=1))
    assert list(sample.keys) == [KEY]
    reading = sample.keys[KEY]
    assert (reading.signing, reading.counter, reading.next_duty_at) == (False, 7, NOON + timedelta(seconds=2))


async def test_a_time_without_zone_is_broken(client: NodeClient) -> None:
    with routes() as mock:
        mock.get(f"{BASE}/stopsign/v1/signing").respond(
            json={"instance_id": "i", "now": "2026-03-01T12:00:01", "keys": []}
        )
        with pytest.raises(NodeBroken):
            await driver(client).sample([KEY])


async def test_without_a_token_none_is_sent(client: NodeClient) -> None:
    with routes() as mock:
        route = mock.get(f"{BASE}/stopsign/v1/routing").respond(json={"state": "serving"})
        assert await driver(client, token=None).isolated() is False
    assert "authorization" not in route.calls.last.request.headers


async def test_isolation_is_set_read_back_and_lifted(client: NodeClient, fleet: RunningFleet) -> None:
    router = driver(client, fleet.url("n"), fleet.token)
    assert (await router.isolate(incident="inc-7", request="i1")).answer is Answer.ACKNOWLEDGED
    assert await router.isolated()
    assert fleet.nodes["n"].isolated
    assert (await router.restore(incident="inc-7", request="i2")).answer is Answer.ACKNOWLEDGED
    assert not await router.isolated()


async def test_a_node_that_answers_another_routing_state_failed(client: NodeClient) -> None:
    with routes() as mock:
        mock.put(f"{BASE}/stopsign/v1/routing").respond(json={"state": "serving"})
        assert (await driver(client).isolate(incident="i", request="r")).answer is Answer.FAILED


async def test_a_rollback_acts_once_and_another_request_finds_it_done(client: NodeClient, fleet: RunningFleet) -> None:
    deployer = driver(client, fleet.url("n"), fleet.token)
    before = await deployer.release()
    good = build_hash("sequin", "2.3.1")
    assert (before.version, before.previous_build) == ("2.4.0", good)
    assert (await deployer.rollback(good, incident="inc-7", request="r1")).answer is Answer.ACKNOWLEDGED
    after = await deployer.release()
    assert (after.version, after.build_hash, after.previous_build) == ("2.3.1", good, before.build_hash)
    assert after.config_checksum != before.config_checksum
    assert after.instance != before.instance
    assert (await deployer.rollback(good, incident="inc-7", request="r1")).answer is Answer.ACKNOWLEDGED
    assert (await deployer.rollback(good, incident="inc-7", request="r2")).answer is Answer.ALREADY
    assert (await deployer.release()).instance == after.instance


async def test_a_rollback_to_a_build_that_is_not_the_previous_one_is_refused(
    client: NodeClient, fleet: RunningFleet
) -> None:
    with pytest.raises(NodeRefused) as refusal:
        await driver(client, fleet.url("n"), fleet.token).rollback("sha256:" + "0" * 64, incident="i", request="r")
    assert refusal.value.status == 409


async def test_a_rollback_that_runs_another_build_afterwards_failed(client: NodeClient) -> None:
    release = {"version": "9", "build_hash": "sha256:9", "config_checksum": "sha256:c"}
    with routes() as mock:
        told = {"instance_id": "i", "current": release, "previous": None}
        mock.post(f"{BASE}/stopsign/v1/release/rollback").respond(json=told)
        assert (await driver(client).rollback("sha256:8", incident="i", request="r")).answer is Answer.FAILED


async def test_slashing_protection_is_the_nodes_own_bytes(client: NodeClient, fleet: RunningFleet) -> None:
    content = await driver(client, fleet.url("n"), fleet.token).slashing_protection()
    assert json.loads(content)["metadata"]["interchange_format_version"] == "5"


async def test_capture_yields_every_item_with_the_messages_of_the_window(
    client: NodeClient, fleet: RunningFleet
) -> None:
    since = datetime.now(UTC)
    await asyncio.sleep(0.35)
    until = datetime.now(UTC)
    recorder = driver(client, fleet.url("n"), fleet.token)
    items = {
        item.what: (item, b"".join([c async for c in item.chunks])) async for item in recorder.capture(since, until)
    }
    assert list(items) == [
        "signed-messages",
        "signer-audit",
        "signing-state",
        "node",
        "release",
        "peers",
        "slashing-protection",
        "metrics",
        "rotated-logs",
    ]
    item, content = items["signed-messages"]
    messages = [json.loads(line) for line in content.splitlines()]
    assert len(messages) >= 2
    assert {one["key"] for one in messages} == {key_of("x", "n")}
    assert all(since <= datetime.fromisoformat(one["at"]) < until for one in messages)
    assert item.media_type == "application/x-ndjson"
    assert item.source.startswith("n GET http://127.0.0.1:")
    assert json.loads(items["rotated-logs"][1])["files"][0]["sha256"].startswith("sha256:")


async def test_packets_are_asked_for_only_where_the_inventory_says_so(client: NodeClient) -> None:
    packets = bytes.fromhex("d4c3b2a1") + bytes(20)
    with routes(assert_all_called=False) as mock:
        route = mock.get(f"{BASE}/stopsign/v1/network-capture").respond(content=packets)
        mock.route().respond(json={})
        for options in ({}, {"network_capture": "off"}):
            assert "network-capture" not in await captured(driver(client, options=options))
        assert not route.called
        recorder = driver(client, options={"network_capture": "on"})
        items = [item async for item in recorder.capture(NOON, NOON + timedelta(minutes=15))]
        (item,) = (item for item in items if item.what == "network-capture")
        assert b"".join([chunk async for chunk in item.chunks]) == packets
    assert [one.what for one in items].index("network-capture") == 3
    assert (item.media_type, item.acts) == ("application/vnd.tcpdump.pcap", False)
    window = dict(route.calls.last.request.url.params)
    assert window == {"since": "2026-03-01T12:00:00Z", "until": "2026-03-01T12:15:00Z"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"network_capture": "yes"}, "network_capture must be on or off, not 'yes'"),
        ({"pcap": "on"}, "no option pcap; it knows network_capture"),
    ],
)
def test_an_option_that_is_wrong_is_said(options: Mapping[str, str], said: str) -> None:
    with pytest.raises(Misconfigured, match=said):
        driver(unused(), options=options)


async def test_an_item_that_is_refused_does_not_cost_the_others(client: NodeClient) -> None:
    with routes(assert_all_called=False) as mock:
        mock.get(f"{BASE}/stopsign/v1/messages").respond(404)
        mock.route().respond(json={})
        outcome = await captured(driver(client))
    assert [kind for kind in outcome.values() if kind is not bytes] == [NodeRefused]


@pytest.mark.parametrize(("character", "error"), [(Character.SILENT, NoAnswer), (Character.DOWN, NotReached)])
async def test_a_node_that_does_not_answer_is_waited_for_once(
    client: NodeClient, character: Character, error: type[Exception]
) -> None:
    spec = FleetSpec(nodes=(NodeSpec(name="n", avs="x", character=character),), duty_period_seconds=0.1)
    async with running_fleet(spec) as fleet:
        began = asyncio.get_running_loop().time()
        outcome = await captured(driver(client, fleet.url("n"), fleet.token))
        assert set(outcome.values()) == {error}
        assert asyncio.get_running_loop().time() - began < 1
        assert len(fleet.nodes["n"].requests) <= 1


async def captured(recorder: Sidecar) -> dict[str, type]:
    """Capture, and return for each item `bytes` or the class of its error."""
    outcome: dict[str, type] = {}
    async for item in recorder.capture(NOON, NOON + timedelta(minutes=15)):
        try:
            outcome[item.what] = type(b"".join([chunk async for chunk in item.chunks]))
        except (NoAnswer, NotReached, NodeRefused) as error:
            outcome[item.what] = type(error)
    return outcome
