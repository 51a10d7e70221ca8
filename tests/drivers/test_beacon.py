"""The beacon driver against an imitation: what is asked for, what an answer must be, and what is never asked."""

import json
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from bot.domain.inventory import Endpoint, Node
from bot.errors import Misconfigured, NodeBroken, NodeRefused
from bot.nodes import beacon
from bot.nodes.beacon import AT_ONCE, HEALTH
from bot.nodes.recording import NOTES
from bot.nodes.way import Way
from bot.nodes.wire import node_client
from tests.drivers.captures import KEYS, Taken, cut, pointed, taken
from tests.drivers.contract import SystemClock
from tests.drivers.stands.beacon import DATA, imitated

VALIDATORS = "/eth/v1/beacon/states/head/validators"
EVERY = [
    *("beacon-head", "beacon-finality", "beacon-spec", "beacon-validators", "beacon-syncing"),
    *("beacon-duties", "beacon-duties", "beacon-health"),
    *("peers", "beacon-peer-count", "beacon-identity", "beacon-version"),
]


async def captured_with(url: str, *keys: str) -> list[Taken]:
    """Capture for a node that holds `keys`."""
    node = Node(name="n-1", avs="x", keys=keys)
    endpoint = Endpoint(driver="beacon", url=url)
    async with node_client() as client:
        way = Way(node=node, endpoint=endpoint, client=client, clock=SystemClock())
        return await taken(beacon.connect(way))


def notes(items: list[Taken]) -> list[str]:
    """Return what was noted."""
    return [json.loads(line)["says"] for one in items if one.what == NOTES for line in one.content.splitlines()]


async def test_everything_is_kept_as_it_was_said_each_with_its_origin() -> None:
    async with imitated() as (url, imitation), pointed(beacon, url) as driver:
        items = await taken(driver)
    assert [one.what for one in items] == EVERY
    said = {one.source.split()[2].removeprefix(url): json.loads(one.whole) for one in items}
    assert {path: said[path]["data"] for path in DATA} == DATA
    assert said[HEALTH] == {"path": HEALTH, "status": 200, "means": "ready"}
    assert [one["index"] for one in said[VALIDATORS]["data"]] == ["7", "8"]
    assert said["/eth/v1/validator/duties/attester/7"]["data"][0] == {"validator_index": "7", "slot": "59"}
    attester = "/eth/v1/validator/duties/attester/7"
    assert [one.source for one in items if "POST" in one.source] == [f"n-1 POST {url}{attester}"]
    assert [one for one in imitation.asked if one[0] != "GET"] == [("POST", attester, ["7", "8"])]


@pytest.mark.parametrize(("status", "means"), [(200, "ready"), (206, "syncing"), (503, "not initialised")])
async def test_every_health_is_an_answer(status: int, means: str) -> None:
    async with imitated(health=status) as (url, _), pointed(beacon, url) as driver:
        (health,) = [one for one in await taken(driver) if one.what == "beacon-health"]
    told = json.loads(health.whole)
    assert (told["status"], told["means"].startswith(means)) == (status, True)


@pytest.mark.parametrize(("status", "error"), [(404, NodeRefused), (500, NodeBroken), (302, NodeBroken)])
async def test_another_status_is_no_health(status: int, error: type[Exception]) -> None:
    async with imitated(health=status) as (url, _), pointed(beacon, url) as driver:
        (health,) = [one for one in await taken(driver) if one.what == "beacon-health"]
    assert isinstance(health.error, error)


async def test_what_the_node_does_not_offer_costs_only_its_own_item() -> None:
    missing = {"/eth/v1/node/peer_count": 404, "/eth/v1/beacon/headers/head": 503}
    async with imitated(status=missing) as (url, _), pointed(beacon, url) as driver:
        items = await taken(driver)
    assert [one.what for one in items] == EVERY
    lost = {one.what: type(one.error) for one in items if one.error}
    assert lost == {"beacon-peer-count": NodeRefused, "beacon-head": NodeBroken}


@pytest.mark.parametrize("said", [None, [], "", {"SLOTS_PER_EPOCH": "0"}, {"SLOTS_PER_EPOCH": "eight"}])
async def test_without_an_epoch_no_duties_are_asked_for_and_that_is_told(said: Any) -> None:
    spec = {"data": {"/eth/v1/config/spec": said}} if said is not None else {"status": {"/eth/v1/config/spec": 404}}
    async with imitated(**spec) as (url, imitation), pointed(beacon, url) as driver:
        items = await taken(driver)
    assert "beacon-duties" not in [one.what for one in items]
    assert notes(items) == ["not asked for: the epoch, or the validators' numbers, were not told"]
    assert not any("duties" in path for _, path, _ in imitation.asked)


async def test_many_keys_are_asked_for_by_name_in_several_requests() -> None:
    keys = tuple(f"0x{n:096x}" for n in range(AT_ONCE + 3))
    async with imitated(keys=keys) as (url, imitation):
        items = await captured_with(url, *keys)
    asked = [parse_qsl(urlsplit(path).query) for _, path, _ in imitation.asked if path.startswith(VALIDATORS)]
    assert [len(one) for one in asked] == [AT_ONCE, 3]
    assert [key for one in asked for _, key in one] == list(keys)
    assert [len(body) for method, _, body in imitation.asked if method == "POST"] == [len(keys)]
    assert "id=" not in "".join(one.source for one in items)


async def test_without_a_validators_key_nobodys_validators_are_asked_for() -> None:
    async with imitated() as (url, imitation):
        items = await captured_with(url, "0x" + "ab" * 20)
    assert not any("validator" in path for _, path, _ in imitation.asked)
    assert notes(items) == ["key 0xabab…abab is no validator's: not asked for"]


async def test_a_key_that_the_chain_does_not_know_is_told() -> None:
    async with imitated(keys=KEYS[:1]) as (url, _), pointed(beacon, url) as driver:
        items = await taken(driver)
    assert notes(items) == ["it knows no validator of key 0xbbbb…bbbb"]


async def test_half_an_answer_is_not_kept_as_a_whole_one() -> None:
    async with imitated() as (url, _), cut(url) as front, pointed(beacon, front) as driver:
        items = await taken(driver)
    assert all(one.error for one in items if one.what not in {"beacon-health", NOTES})


async def test_json_of_another_kind_is_broken() -> None:
    async with imitated(status={"/eth/v1/node/version": 200}) as (url, _), pointed(beacon, url) as driver:
        (version,) = [one for one in await taken(driver) if one.what == "beacon-version"]
    assert isinstance(version.error, NodeBroken)
    assert "no answer of a beacon node" in str(version.error)


def test_an_option_is_misconfigured() -> None:
    node = Node(name="n-1", avs="x", keys=KEYS, reach={})
    endpoint = Endpoint(driver="beacon", url="http://127.0.0.1:1", options={"state": "head"})
    with pytest.raises(Misconfigured, match="no option state"):
        beacon.connect(Way(node=node, endpoint=endpoint, client=None, clock=SystemClock()))  # type: ignore[arg-type]
