"""The sidecar API of the practice fleet keeps to docs/node-api.yaml."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from openapi_schema_validator import OAS31Validator, oas31_format_checker
from openapi_spec_validator import validate

from bot.practice.fleet import FleetSpec, NodeSpec, RunningFleet, key_of, running_fleet

SPEC: dict[str, Any] = yaml.safe_load((Path(__file__).parents[2] / "docs" / "node-api.yaml").read_text())
V1 = "/stopsign/v1"
PERIOD = 0.1
KEYS = ("0xaa01", "0xaa02", "0xaa03", "0xaa04")


@pytest.fixture
async def fleet() -> AsyncIterator[RunningFleet]:
    nodes = (NodeSpec(name="a", avs="x", keys=KEYS), NodeSpec(name="b", avs="x"), NodeSpec(name="c", avs="y"))
    async with running_fleet(FleetSpec(nodes=nodes, duty_period_seconds=PERIOD)) as running:
        yield running


@pytest.fixture
async def node(fleet: RunningFleet) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {fleet.token}"}
    async with httpx.AsyncClient(base_url=fleet.url("a"), headers=headers, trust_env=False) as client:
        yield client


def conforms(answer: httpx.Response, schema: str) -> dict[str, Any]:
    """Return the body after holding it against a schema of the specification."""
    root = {"$ref": f"#/components/schemas/{schema}", "components": SPEC["components"]}
    body: dict[str, Any] = answer.json()
    OAS31Validator(root, format_checker=oas31_format_checker).validate(body)
    return body


async def put(node: httpx.AsyncClient, state: str, *keys: str, request: str = "r1") -> httpx.Response:
    return await node.put(f"{V1}/signing", json={"state": state, "keys": keys, "incident": "inc-7", "request": request})


async def signing(node: httpx.AsyncClient) -> dict[str, dict[str, Any]]:
    body = conforms(await node.get(f"{V1}/signing"), "Signing")
    return {one["key"]: one for one in body["keys"]}


def test_the_specification_is_valid_openapi_3_1() -> None:
    assert SPEC["openapi"] == "3.1.0"
    validate(SPEC)


@pytest.mark.parametrize(
    ("path", "schema"),
    [
        ("node", "Node"),
        ("signing", "Signing"),
        ("routing", "Routing"),
        ("release", "Releases"),
        ("peers", "Peers"),
        ("slashing-protection", "Interchange"),
    ],
)
async def test_each_reading_has_the_shape_of_the_specification(node: httpx.AsyncClient, path: str, schema: str) -> None:
    await asyncio.sleep(PERIOD * 1.5)
    answer = await node.get(f"{V1}/{path}")
    assert answer.status_code == 200
    assert conforms(answer, schema)


async def test_without_the_token_nothing_is_told_but_metrics(fleet: RunningFleet) -> None:
    async with httpx.AsyncClient(base_url=fleet.url("a"), trust_env=False) as stranger:
        answer = await stranger.get(f"{V1}/node")
        assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")
        assert conforms(answer, "Problem")["title"] == "Unauthorised"
        assert "avs_signatures_total" in (await stranger.get("/metrics")).text


async def test_a_frozen_key_keeps_its_telemetry_and_its_counter_stays_flat_while_the_others_sign(
    node: httpx.AsyncClient,
) -> None:
    body = conforms(await put(node, "frozen", KEYS[0]), "SetSigningResult")
    assert body["results"] == [{"key": KEYS[0], "result": "changed", "state": "frozen"}]
    before = await signing(node)
    await asyncio.sleep(PERIOD * 3)
    after = await signing(node)
    assert after[KEYS[0]]["state"] == "frozen"
    assert after[KEYS[0]]["counter"] == before[KEYS[0]]["counter"]
    assert after[KEYS[1]]["counter"] > before[KEYS[1]]["counter"]
    assert after[KEYS[0]]["next_duty_at"] > before[KEYS[0]]["next_duty_at"]


async def test_freezing_twice_is_freezing_once(node: httpx.AsyncClient) -> None:
    await put(node, "frozen", KEYS[0])
    again = (await put(node, "frozen", KEYS[0])).json()["results"]
    assert again == [{"key": KEYS[0], "result": "unchanged", "state": "frozen"}]


async def test_a_late_duplicate_of_an_unfreeze_starts_nothing(node: httpx.AsyncClient) -> None:
    await put(node, "frozen", KEYS[0], request="f1")
    assert (await put(node, "signing", KEYS[0], request="u1")).json()["results"][0]["state"] == "signing"
    await put(node, "frozen", KEYS[0], request="f2")
    late = (await put(node, "signing", KEYS[0], request="u1")).json()["results"]
    assert late == [{"key": KEYS[0], "result": "unchanged", "state": "frozen"}]


async def test_a_key_that_the_node_does_not_hold_is_not_found_and_the_others_are_still_frozen(
    node: httpx.AsyncClient,
) -> None:
    results = (await put(node, "frozen", "0xdead", KEYS[1])).json()["results"]
    assert [one["result"] for one in results] == ["not_found", "changed"]


@pytest.mark.parametrize("keys", [(), ("*",), ("all",), ("0x",), (KEYS[0], KEYS[0]), ("0xAA01",)])
async def test_no_key_and_any_wildcard_is_refused_and_freezes_nothing(
    node: httpx.AsyncClient, keys: tuple[str, ...]
) -> None:
    answer = await put(node, "frozen", *keys)
    assert answer.status_code == 400
    assert conforms(answer, "Problem")["field"].startswith("keys")
    assert {one["state"] for one in (await signing(node)).values()} == {"signing"}


async def test_isolation_is_set_and_read_back_and_an_isolated_node_is_nobodys_peer(
    fleet: RunningFleet, node: httpx.AsyncClient
) -> None:
    asked = {"state": "isolated", "incident": "inc-7", "request": "i1"}
    assert conforms(await node.put(f"{V1}/routing", json=asked), "Routing")["state"] == "isolated"
    again = conforms(await node.put(f"{V1}/routing", json=asked), "Routing")
    assert again["since"] == (await node.get(f"{V1}/routing")).json()["since"]
    assert (await node.get(f"{V1}/peers")).json()["peers"] == []
    assert fleet.nodes["b"].peers() == []
    await node.put(f"{V1}/routing", json=asked | {"state": "serving"})
    assert (await node.get(f"{V1}/routing")).json()["state"] == "serving"


async def test_a_rollback_restarts_once_a_request_and_thaws_nothing(node: httpx.AsyncClient) -> None:
    await put(node, "frozen", KEYS[0])
    before = (await node.get(f"{V1}/release")).json()
    asked = {"to_build_hash": before["previous"]["build_hash"], "request": "rb1"}
    first = await node.post(f"{V1}/release/rollback", json=asked)
    after = conforms(first, "Releases")
    assert after["current"]["build_hash"] == before["previous"]["build_hash"]
    assert after["previous"]["build_hash"] == before["current"]["build_hash"]
    assert after["instance_id"] != before["instance_id"]
    repeat = await node.post(f"{V1}/release/rollback", json=asked)
    assert (repeat.json(), repeat.headers["idempotent-replayed"]) == (after, "true")
    assert (await node.get(f"{V1}/node")).json()["instance_id"] == after["instance_id"]
    assert (await signing(node))[KEYS[0]]["state"] == "frozen"


async def test_a_rollback_from_or_to_another_build_is_a_conflict_and_changes_nothing(node: httpx.AsyncClient) -> None:
    before = (await node.get(f"{V1}/release")).json()
    to, other = before["previous"]["build_hash"], "sha256:" + "0" * 64
    for asked in (
        {"to_build_hash": other, "request": "1"},
        {"to_build_hash": to, "from_build_hash": other, "request": "2"},
    ):
        answer = await node.post(f"{V1}/release/rollback", json=asked)
        assert answer.status_code == 409
        conforms(answer, "Problem")
    assert (await node.get(f"{V1}/release")).json()["current"] == before["current"]
    await node.post(f"{V1}/release/rollback", json={"to_build_hash": to, "request": "3"})
    mixed = await node.post(f"{V1}/release/rollback", json={"to_build_hash": other, "request": "3"})
    assert mixed.status_code == 409


async def test_messages_are_a_gapless_log_of_the_window(node: httpx.AsyncClient) -> None:
    await asyncio.sleep(PERIOD * 2.5)
    answer = await node.get(f"{V1}/messages")
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    lines = [json.loads(line) for line in answer.text.splitlines()]
    validator = OAS31Validator({"$ref": "#/components/schemas/SignedMessage", "components": SPEC["components"]})
    for one in lines:
        validator.validate(one)
    assert [one["nonce"] for one in lines] == list(range(1, len(lines) + 1))
    middle = lines[len(KEYS)]["at"]
    early = (await node.get(f"{V1}/messages", params={"until": middle})).text.splitlines()
    assert len(early) == len(KEYS)
    late = (await node.get(f"{V1}/messages", params={"since": middle})).text.splitlines()
    assert json.loads(late[0])["nonce"] == len(KEYS) + 1
    assert (await node.get(f"{V1}/messages", params={"since": "yesterday"})).status_code == 400


async def test_the_audit_says_who_was_denied_and_why(node: httpx.AsyncClient) -> None:
    await put(node, "frozen", KEYS[0])
    await asyncio.sleep(PERIOD * 1.5)
    lines = [json.loads(line) for line in (await node.get(f"{V1}/audit")).text.splitlines()]
    denied = [one for one in lines if one["decision"] == "denied"]
    assert {(one["key"], one["reason"]) for one in denied} == {(KEYS[0], "frozen for inc-7")}
    assert "allowed" in {one["decision"] for one in lines}


async def test_a_rotated_log_has_the_hash_that_was_told_and_an_empty_one_is_left_alone(tmp_path: Path) -> None:
    async with running_fleet(
        FleetSpec(nodes=(NodeSpec(name="a", avs="x"),), duty_period_seconds=30), folder=tmp_path
    ) as fleet:
        fleet.nodes["a"].beat()
        headers = {"Authorization": f"Bearer {fleet.token}"}
        async with httpx.AsyncClient(base_url=fleet.url("a"), headers=headers, trust_env=False) as node:
            (closed,) = conforms(await node.post(f"{V1}/logs/rotate"), "RotatedLogs")["files"]
            assert (await node.post(f"{V1}/logs/rotate")).json()["files"] == []
        content = (tmp_path / "a" / closed["name"]).read_bytes()
        assert closed["sha256"] == "sha256:" + hashlib.sha256(content).hexdigest()
        assert closed["size"] == len(content)


async def test_imported_slashing_protection_stops_signing_below_it(node: httpx.AsyncClient) -> None:
    document = (await node.get(f"{V1}/slashing-protection")).json()
    document["data"] = [{"pubkey": KEYS[0], "signed_blocks": [{"slot": str(10**12)}], "signed_attestations": []}]
    answer = conforms(await node.put(f"{V1}/slashing-protection", json=document), "ImportResult")
    assert answer["results"] == [{"key": KEYS[0], "result": "imported"}]
    before = (await signing(node))[KEYS[0]]
    await asyncio.sleep(PERIOD * 2)
    after = (await signing(node))[KEYS[0]]
    assert (after["state"], after["counter"]) == ("signing", before["counter"])
    document["metadata"]["genesis_validators_root"] = "0x" + "0" * 64
    assert (await node.put(f"{V1}/slashing-protection", json=document)).status_code == 409


def test_keys_differ_for_each_node_and_avs_and_are_48_bytes() -> None:
    keys = {key_of(avs, name) for avs in ("x", "y") for name in ("a", "b")}
    assert len(keys) == 4
    assert {len(key) for key in keys} == {98}
