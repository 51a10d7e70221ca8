"""Each character of the practice fleet misbehaves as promised, and the control API tells the truth about it."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from bot.practice.fleet import Api, Character, FleetSpec, NodeSpec, RunningFleet, default_fleet, key_of, running_fleet

PERIOD = 0.1
V1 = "/stopsign/v1"
KEYSTORES = "/eth/v1/keystores"


@contextlib.asynccontextmanager
async def one(
    character: Character, *, api: Api = Api.SIDECAR, **more: Any
) -> AsyncIterator[tuple[RunningFleet, httpx.AsyncClient]]:
    """Run a fleet of one node `n` and a client for it."""
    spec = NodeSpec(name="n", avs="x", api=api, character=character, **more)
    async with running_fleet(FleetSpec(nodes=(spec,), duty_period_seconds=PERIOD)) as fleet:
        headers = {"Authorization": f"Bearer {fleet.token}"}
        async with httpx.AsyncClient(base_url=fleet.url("n"), headers=headers, timeout=0.3, trust_env=False) as client:
            yield fleet, client


async def control(fleet: RunningFleet, path: str, body: object = None) -> httpx.Response:
    async with httpx.AsyncClient(base_url=fleet.control_url, trust_env=False) as client:
        return await (client.get(path) if body is None else client.post(path, json=body))


async def truth(fleet: RunningFleet, node: str = "n") -> Any:
    return (await control(fleet, "/truth")).json()["nodes"][node]


async def signs(fleet: RunningFleet, node: str = "n") -> list[bool]:
    """Tell, key by key, whether signatures are produced over two duties."""
    before = (await truth(fleet, node))["keys"]
    await asyncio.sleep(PERIOD * 2.5)
    after = (await truth(fleet, node))["keys"]
    assert [key["signing"] for key in after.values()] == [after[key]["total"] > before[key]["total"] for key in after]
    return [key["signing"] for key in after.values()]


async def freeze(client: httpx.AsyncClient, *keys: str) -> httpx.Response:
    body = {"state": "frozen", "keys": keys or [key_of("x", "n")], "incident": "inc-7", "request": "f1"}
    return await client.put(f"{V1}/signing", json=body)


async def delete(client: httpx.AsyncClient, *keys: str) -> Any:
    answer = await client.request("DELETE", KEYSTORES, json={"pubkeys": keys or [key_of("x", "n")]})
    assert answer.status_code == 200
    return answer.json()


async def listed(client: httpx.AsyncClient) -> list[str]:
    return [one["validating_pubkey"] for one in (await client.get(KEYSTORES)).json()["data"]]


async def test_honest_freezes_and_the_truth_records_the_request() -> None:
    async with one(Character.HONEST) as (fleet, client):
        await freeze(client)
        assert await signs(fleet) == [False]
        request = (await truth(fleet))["requests"][0]
        assert (request["method"], request["path"], request["request"], request["status"]) == (
            "PUT",
            f"{V1}/signing",
            "f1",
            200,
        )


async def test_the_lying_keymanager_lies_once_removes_at_the_second_and_is_not_active_at_the_third() -> None:
    async with one(Character.LYING, api=Api.KEYMANAGER) as (fleet, client):
        key = key_of("x", "n")
        await asyncio.sleep(PERIOD)
        first = await delete(client)
        assert [status["status"] for status in first["data"]] == ["deleted"]
        assert isinstance(first["slashing_protection"], str)
        assert json.loads(first["slashing_protection"])["data"][0]["pubkey"] == key
        assert await listed(client) == [key]
        assert await signs(fleet) == [True]
        assert (await delete(client))["data"][0]["status"] == "deleted"
        assert await listed(client) == []
        assert await signs(fleet) == [False]
        assert (await delete(client))["data"][0]["status"] == "not_active"
        assert (await delete(client, "0x" + "ab" * 48))["data"][0]["status"] == "not_found"


async def test_an_import_restores_a_deleted_key_under_its_slashing_protection() -> None:
    async with one(Character.HONEST, api=Api.KEYMANAGER) as (fleet, client):
        protection = (await delete(client))["slashing_protection"]
        keystore = json.dumps({"version": 4, "pubkey": key_of("x", "n")[2:]})
        body = {"keystores": [keystore], "passwords": ["secret"], "slashing_protection": protection}
        assert (await client.post(KEYSTORES, json=body)).json()["data"] == [{"status": "imported", "message": ""}]
        assert await signs(fleet) == [True]
        assert (await client.post(KEYSTORES, json=body)).json()["data"][0]["status"] == "duplicate"
        assert (await client.post(KEYSTORES, json=body | {"passwords": [""]})).json()["data"][0]["status"] == "error"
        assert (await client.post(KEYSTORES, json=body | {"passwords": []})).status_code == 400


async def test_remote_keys_are_read_only_keystores_and_have_a_door_of_their_own() -> None:
    remote = key_of("x", "n", 1)
    async with one(Character.HONEST, api=Api.KEYMANAGER, remote_keys=(remote,)) as (fleet, client):
        data = (await client.get(KEYSTORES)).json()["data"]
        assert [one["readonly"] for one in data] == [False, True]
        assert (await delete(client, remote))["data"][0]["status"] == "error"
        answer = await client.request("DELETE", "/eth/v1/remotekeys", json={"pubkeys": [remote]})
        assert answer.json() == {"data": [{"status": "deleted", "message": ""}]}
        assert (await client.get("/eth/v1/remotekeys")).json()["data"] == []
        assert await signs(fleet) == [True, False]
        body = {"remote_keys": [{"pubkey": remote, "url": "http://127.0.0.1:9000"}]}
        assert (await client.post("/eth/v1/remotekeys", json=body)).json()["data"][0]["status"] == "imported"
        assert await signs(fleet) == [True, True]


async def test_a_keymanager_counts_signatures_in_its_metrics_also_after_the_delete() -> None:
    async with one(Character.HONEST, api=Api.KEYMANAGER) as (_, client):
        await delete(client)
        text = (await client.get("/metrics")).text
        assert f'vc_published_attestations_total{{pubkey="{key_of("x", "n")}"}}' in text
        assert "vc_signers_count 0" in text
        assert (await client.get(f"{V1}/signing")).status_code == 404


async def test_silent_accepts_never_answers_and_goes_on_signing() -> None:
    async with one(Character.SILENT) as (fleet, client):
        with pytest.raises(httpx.ReadTimeout):
            await freeze(client)
        assert (await truth(fleet))["requests"][0]["status"] is None
        assert await signs(fleet) == [True]


async def test_down_refuses_connections_and_signs_nothing() -> None:
    async with one(Character.DOWN) as (fleet, client):
        with pytest.raises(httpx.ConnectError):
            await client.get(f"{V1}/node")
        assert await signs(fleet) == [False]
        assert 'avs_node_up{avs="x",signer="n"} 0' in (await control(fleet, "/metrics")).text


async def test_slow_acts_at_once_and_answers_late() -> None:
    async with one(Character.SLOW, delay_seconds=0.5) as (fleet, client):
        with pytest.raises(httpx.ReadTimeout):
            await freeze(client)
        assert await signs(fleet) == [False]
        assert (await client.get(f"{V1}/node", timeout=2)).status_code == 200


@pytest.mark.parametrize(("character", "status"), [(Character.ERRORING, 500), (Character.UNAUTHORISED, 401)])
async def test_erroring_and_unauthorised_do_nothing(character: Character, status: int) -> None:
    async with one(character) as (fleet, client):
        assert (await freeze(client)).status_code == status
        assert await signs(fleet) == [True]


@pytest.mark.parametrize("api", Api)
async def test_half_applies_to_the_first_half_and_hides_the_rest_in_a_200(api: Api) -> None:
    keys = tuple(key_of("x", "n", index) for index in range(4))
    async with one(Character.HALF, api=api, keys=keys) as (fleet, client):
        if api is Api.SIDECAR:
            results = [one["result"] for one in (await freeze(client, *keys)).json()["results"]]
            assert results == ["changed", "changed", "error", "error"]
        else:
            statuses = [one["status"] for one in (await delete(client, *keys))["data"]]
            assert statuses == ["deleted", "deleted", "error", "error"]
            assert await listed(client) == list(keys[2:])
        assert await signs(fleet) == [False, False, True, True]


@pytest.mark.parametrize("api", Api)
async def test_deaf_reads_back_as_frozen_while_its_counter_rises(api: Api) -> None:
    async with one(Character.DEAF, api=api) as (fleet, client):
        if api is Api.SIDECAR:
            assert (await freeze(client)).json()["results"][0]["state"] == "frozen"
            assert (await client.get(f"{V1}/signing")).json()["keys"][0]["state"] == "frozen"
        else:
            assert (await delete(client))["data"][0]["status"] == "deleted"
            assert await listed(client) == []
        assert await signs(fleet) == [True]


async def test_restarting_is_another_instance_with_counters_from_zero_and_stays_frozen() -> None:
    async with one(Character.RESTARTING) as (fleet, client):
        await asyncio.sleep(PERIOD * 1.5)
        before = (await client.get(f"{V1}/signing")).json()
        await freeze(client)
        await asyncio.sleep(PERIOD * 1.5)
        after = (await client.get(f"{V1}/signing")).json()
        assert after["instance_id"] != before["instance_id"]
        assert (before["keys"][0]["counter"] > 0, after["keys"][0]["counter"]) == (True, 0)
        assert await signs(fleet) == [False]


async def test_a_character_changes_live_and_healing_thaws_nothing() -> None:
    async with one(Character.HONEST) as (fleet, client):
        await freeze(client)
        await control(fleet, "/character", {"node": "n", "character": "down"})
        with pytest.raises(httpx.TransportError):
            await client.get(f"{V1}/node")
        instance = (await truth(fleet))["instance_id"]
        assert (await control(fleet, "/heal", {})).json() == {"healed": ["n"]}
        node = (await client.get(f"{V1}/node")).json()
        assert node["instance_id"] != instance
        assert await signs(fleet) == [False]


async def test_healing_a_deaf_node_makes_it_tell_the_truth() -> None:
    async with one(Character.DEAF) as (fleet, client):
        await freeze(client)
        await control(fleet, "/heal", {"nodes": ["n"]})
        assert (await client.get(f"{V1}/signing")).json()["keys"][0]["state"] == "signing"


async def test_an_equivocation_is_seen_in_the_metrics_and_kept_as_a_pair_of_digests() -> None:
    async with one(Character.HONEST) as (fleet, client):
        assert (await control(fleet, "/equivocate", {"nodes": ["n"]})).json() == {"signed": {"n": True}}
        assert 'avs_conflicting_signatures_seen_total{avs="x",signer="n"} 1' in (await control(fleet, "/metrics")).text
        messages = [json.loads(line) for line in (await client.get(f"{V1}/messages")).text.splitlines()]
        slots = [(one["key"], one["slot"]) for one in messages]
        (slot,) = {slot for slot in slots if slots.count(slot) == 2}
        assert len({one["digest"] for one in messages if (one["key"], one["slot"]) == slot}) == 2
        await freeze(client)
        assert (await control(fleet, "/equivocate", {"nodes": ["n"]})).json() == {"signed": {"n": False}}


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/equivocate", {"nodes": ["m"]}, 404),
        ("/equivocate", {"nodes": []}, 400),
        ("/character", {"node": "m", "character": "down"}, 404),
        ("/character", {"node": "n", "character": "angry"}, 400),
        ("/heal", {"nodes": ["m"]}, 404),
        ("/heal", {"node": "n"}, 400),
    ],
)
async def test_the_control_api_refuses_what_it_does_not_know(path: str, body: object, status: int) -> None:
    async with one(Character.HONEST) as (fleet, _):
        assert (await control(fleet, path, body)).status_code == status


async def test_the_default_fleet_has_sixteen_nodes_of_two_avss_with_a_key_each() -> None:
    spec = default_fleet(duty_period_seconds=0.2)
    keys = [key for node in spec.nodes for key in node.all_keys]
    assert len(set(keys)) == 16
    async with running_fleet(spec) as fleet:
        await asyncio.sleep(0.5)
        signing = {
            name: any(key["signing"] for key in node["keys"].values()) for name, node in fleet.truth()["nodes"].items()
        }
        assert [name for name, really in signing.items() if not really] == ["seq-04"]
