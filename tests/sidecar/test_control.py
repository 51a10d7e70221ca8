"""The control port keeps to docs/node-api.yaml, and the bot's own driver works with it unchanged."""

import asyncio
import errno
import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from openapi_schema_validator import OAS31Validator, oas31_format_checker

from bot.domain.target import Answer, State, prove
from bot.errors import NodeRefused
from bot.sidecar import denials as denials_module
from tests.sidecar.bench import KEYS, TOKEN, Place, attestation, place

SPEC: dict[str, Any] = yaml.safe_load((Path(__file__).parents[2] / "docs" / "node-api.yaml").read_text())
V1 = "/stopsign/v1"
A, B = KEYS[:2]
STRANGE = "0x" + "ab" * 48


def conforms(body: Any, schema: str) -> Any:
    """Return a body after holding it against a schema of the specification."""
    root = {"$ref": f"#/components/schemas/{schema}", "components": SPEC["components"]}
    OAS31Validator(root, format_checker=oas31_format_checker).validate(body)
    return body


def results(told: httpx.Response) -> list[tuple[str, str, str | None]]:
    body = conforms(told.json(), "SetSigningResult")
    return [(one["key"], one["result"], one["state"]) for one in body["results"]]


@pytest.mark.parametrize(
    ("path", "schema"), [("node", "Node"), ("signing", "Signing"), ("release", "Releases"), ("peers", "Peers")]
)
async def test_each_reading_has_the_shape_of_the_specification(it: Place, path: str, schema: str) -> None:
    await it.sign(A, attestation(1))
    await it.put("frozen", B)
    told = await it.call("GET", f"{V1}/{path}")
    assert told.status_code == 200
    conforms(told.json(), schema)


async def test_messages_decisions_and_closed_files_have_the_shape_of_the_specification(it: Place) -> None:
    for number in range(3):
        await it.sign(A, attestation(number))
    await it.put("frozen", A)
    await it.sign(A, attestation(9))
    for one in await it.lines("messages"):
        conforms(one, "SignedMessage")
    audit = [conforms(one, "SignerDecision") for one in await it.lines("audit")]
    assert [(one["decision"], one["reason"]) for one in audit][-1] == ("denied", "frozen for inc-7")
    closed = conforms((await it.call("POST", f"{V1}/logs/rotate")).json(), "RotatedLogs")
    (file,) = closed["files"]
    assert file["sha256"] == "sha256:" + hashlib.sha256((it.data / file["name"]).read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "routing"),
        ("PUT", "routing"),
        ("POST", "release/rollback"),
        ("GET", "slashing-protection"),
        ("GET", "nothing"),
        ("DELETE", "signing"),
    ],
)
async def test_what_a_proxy_cannot_offer_is_404(it: Place, method: str, path: str) -> None:
    told = await it.call(method, f"{V1}/{path}")
    assert told.status_code == 404
    assert told.headers["content-type"].startswith("application/problem+json")
    conforms(told.json(), "Problem")


@pytest.mark.parametrize("header", [None, "", f"Bearer {TOKEN}x", f"bearer {TOKEN}", TOKEN, "Basic eDp5", "Bearer ä"])
async def test_without_the_token_nothing_is_told_or_done(it: Place, header: str | None) -> None:
    headers: Any = {} if header is None else {"Authorization": header.encode()}
    body = {"state": "frozen", "keys": [A], "incident": "i", "request": "r"}
    for method, path in (("GET", "signing"), ("PUT", "signing"), ("GET", "messages"), ("POST", "logs/rotate")):
        told = await it.call(method, f"{V1}/{path}", json=body, headers=headers)
        assert told.status_code == 401
        assert TOKEN not in told.text
    assert (await it.key(A))["state"] == "signing"
    assert (await it.call("GET", "/metrics", headers={})).status_code == 200


async def test_the_token_is_read_again_when_its_file_changes(it: Place) -> None:
    path = it.data.parent / "token"
    path.write_text("another-token-of-the-tests")
    assert (await it.call("GET", f"{V1}/node")).status_code == 401
    headers = {"Authorization": "Bearer another-token-of-the-tests"}
    assert (await it.call("GET", f"{V1}/node", headers=headers)).status_code == 200
    path.unlink()
    told = await it.call("GET", f"{V1}/node", headers=headers)
    assert told.status_code == 503, "401 would say that the caller's token is wrong"
    assert "cannot be read" in told.text


async def test_a_token_that_cannot_be_opened_for_want_of_files_is_the_last_known(
    it: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    (it.data.parent / "token").write_text("another-token-of-the-tests")
    real = Path.read_text

    def none_left(self: Path, *args: Any, **more: Any) -> str:
        if self.name == "token":
            raise OSError(errno.EMFILE, "Too many open files")
        return real(self, *args, **more)

    monkeypatch.setattr(Path, "read_text", none_left)
    assert (await it.put("frozen", A)).status_code == 200
    monkeypatch.undo()
    assert (await it.put("frozen", A)).status_code == 401


GOOD: dict[str, Any] = {"state": "frozen", "keys": [A], "incident": "i", "request": "r"}


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"state": "stopped"}, "state"),
        ({"state": None}, "state"),
        ({"keys": []}, "keys"),
        ({"keys": "*"}, "keys"),
        ({"keys": ["*"]}, "keys.0"),
        ({"keys": [A, "all"]}, "keys.1"),
        ({"keys": [A, A]}, "keys"),
        ({"keys": [A, "0xzz"]}, "keys.1"),
        ({"keys": A}, "keys"),
        ({"keys": [7]}, "keys.0"),
        ({"keys": [f"0x{n:04x}" for n in range(10_001)]}, "keys"),
        ({"incident": ""}, "incident"),
        ({"request": ""}, "request"),
        ({"request": "x" * 201}, "request"),
        ({"request": 7}, "request"),
    ],
)
async def test_a_malformed_request_does_nothing_and_names_the_member(it: Place, wrong: Any, field: str) -> None:
    told = await it.call("PUT", f"{V1}/signing", json=GOOD | wrong)
    assert (told.status_code, conforms(told.json(), "Problem")["field"]) == (400, field)
    assert (await it.key(A))["state"] == "signing"
    for content in (b"", b"[]", b"{", b"\xff"):
        assert (await it.call("PUT", f"{V1}/signing", content=content)).status_code == 400


async def test_a_window_that_is_no_time_is_refused(it: Place) -> None:
    assert (await it.call("GET", f"{V1}/messages", params={"since": "yesterday"})).status_code == 400


async def test_a_window_is_told_as_asked(it: Place) -> None:
    for number in range(4):
        await it.sign(A, attestation(number))
    at = [one["at"] for one in await it.lines("messages")]
    assert [one["slot"] for one in await it.lines("messages", since=at[1], until=at[3])] == [32, 64]
    assert [one["slot"] for one in await it.lines("messages", since=at[3])] == [96]
    assert await it.lines("messages", until=at[0]) == []


# ---- freezing


async def test_frozen_acts_each_time_and_signing_once_for_each_request(tmp_path: Path) -> None:
    async with place(tmp_path) as it:
        assert results(await it.put("frozen", A, B, request="f1")) == [
            (A, "changed", "frozen"),
            (B, "changed", "frozen"),
        ]
        assert results(await it.put("frozen", A, request="f1")) == [(A, "unchanged", "frozen")]
        assert results(await it.put("signing", A, request="s1")) == [(A, "changed", "signing")]
        assert results(await it.put("frozen", A, request="f1")) == [(A, "changed", "frozen")]
        assert results(await it.put("signing", A, request="s1")) == [(A, "unchanged", "frozen")]
    async with place(tmp_path) as it:
        assert results(await it.put("signing", A, request="s1")) == [(A, "unchanged", "frozen")]
        assert (await it.sign(A, attestation(1))).status == 412
        assert results(await it.put("signing", A, request="s2")) == [(A, "changed", "signing")]
        assert (await it.sign(A, attestation(1))).status == 200
        assert (await it.sign(B, attestation(1))).status == 412


async def test_a_key_that_the_signer_does_not_list_is_not_found_and_denied_all_the_same(it: Place) -> None:
    assert results(await it.put("frozen", A, STRANGE)) == [(A, "changed", "frozen"), (STRANGE, "not_found", None)]
    body = (await it.call("GET", f"{V1}/signing")).json()
    assert STRANGE not in {one["key"] for one in body["keys"]}
    assert body["denied_not_held"] == [STRANGE]
    assert (await it.sign(STRANGE, attestation(1))).status == 412
    assert it.signer.asked == 0


async def test_a_key_that_came_since_the_list_was_read_is_found(it: Place) -> None:
    it.signer.keys[STRANGE] = it.signer.keys[A]
    assert results(await it.put("frozen", STRANGE)) == [(STRANGE, "changed", "frozen")]


async def test_while_the_signer_is_away_a_key_counts_as_held(tmp_path: Path) -> None:
    async with place(tmp_path, upstream="http://127.0.0.1:9") as it:
        assert results(await it.put("frozen", A)) == [(A, "changed", "frozen")]
        assert (await it.key(A))["state"] == "frozen"


async def test_the_list_of_keys_outlives_a_restart_while_the_signer_is_away(tmp_path: Path) -> None:
    async with place(tmp_path) as it:
        assert (await it.key(A))["state"] == "signing"
    async with place(tmp_path, upstream="http://127.0.0.1:9") as it:
        assert (await it.key(A))["state"] == "signing"


async def test_a_freeze_that_cannot_be_written_holds_and_says_so(it: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(denials_module, "_replace", fails)
    async with it.driver() as driver:
        reply = await driver.freeze([A], incident="inc-7", request="r0")
        assert (reply.answer, "not after a restart" in reply.detail) == (Answer.FAILED, True)
    told = await it.put("frozen", A)
    assert results(told) == [(A, "error", "frozen")]
    assert "not after a restart" in told.json()["results"][0]["detail"]
    assert (await it.sign(A, attestation(1))).status == 412
    assert results(await it.put("signing", A, request="s")) == [(A, "error", "frozen")]
    monkeypatch.undo()
    assert results(await it.put("frozen", A)) == [(A, "unchanged", "frozen")]


# ---- the bot's own driver


async def test_the_driver_freezes_proves_and_thaws(it: Place) -> None:
    period = timedelta(seconds=0.1)

    async def duties(keys: Sequence[str]) -> None:
        for number in range(10_000):
            for key in keys:
                await it.sign(key, attestation(number))
            await asyncio.sleep(0.02)

    client = asyncio.create_task(duties(KEYS))
    try:
        async with it.driver() as driver:

            async def proof() -> State:
                before = await driver.sample([A, B])
                await asyncio.sleep(0.3)
                return prove(before, await driver.sample([A, B]), (A, B), period=period).state

            assert await proof() is State.FAILED
            reply = await driver.freeze([A, B], incident="inc-7", request="f1")
            assert reply.answer is Answer.ACKNOWLEDGED
            assert await proof() is State.VERIFIED
            assert (await driver.freeze([A, B], incident="inc-7", request="f2")).answer is Answer.ALREADY
            assert (await driver.sample(KEYS[2:])).keys[KEYS[2]].counter
            assert (await driver.unfreeze([A], incident="inc-7", request="s1")).answer is Answer.ACKNOWLEDGED
            before = (await it.key(A))["counter"]
            await asyncio.sleep(0.3)
            assert (await it.key(A))["counter"] > before
            reply = await driver.freeze([A, STRANGE], incident="inc-7", request="f3")
            assert reply.answer is Answer.FAILED
            assert "not held" in reply.detail
    finally:
        client.cancel()


async def test_the_driver_captures_what_there_is(it: Place) -> None:
    for number in range(3):
        await it.sign(A, attestation(number))
    now, got, missing = datetime.now(UTC), {}, {}
    async with it.driver() as driver:
        async for item in driver.capture(now - timedelta(minutes=15), now + timedelta(minutes=1)):
            try:
                got[item.what] = b"".join([chunk async for chunk in item.chunks])
            except NodeRefused as refused:
                missing[item.what] = str(refused)
    assert got["signed-messages"].count(b"\n") == 3
    assert got["signer-audit"].count(b"\n") == 3
    assert {"signing-state", "node", "release", "peers", "metrics", "rotated-logs"} <= set(got)
    assert list(missing) == ["slashing-protection"]
    assert "does not export it" in missing["slashing-protection"]


async def test_metrics_count_what_happened(it: Place) -> None:
    await it.sign(A, attestation(1))
    await it.put("frozen", B)
    await it.sign(B, attestation(1))
    it.signer.status = 412
    await it.sign(A, attestation(2))
    text = (await it.call("GET", "/metrics", headers={})).text
    base = 'avs="ethereum",signer="n"'
    for line in (
        f'avs_signatures_total{{{base},key="{A}"}} 1',
        f'stopsign_sidecar_requests_total{{{base},key="{A}",result="signed"}} 1',
        f'stopsign_sidecar_requests_total{{{base},key="{A}",result="failed"}} 1',
        f'stopsign_sidecar_requests_total{{{base},key="{B}",result="denied"}} 1',
        f'avs_signer_frozen{{{base},key="{A}"}} 0',
        f'avs_signer_frozen{{{base},key="{B}"}} 1',
        f'avs_signer_denied_total{{{base},reason="frozen"}} 1',
        f'avs_signer_denied_total{{{base},reason="slashing-protection"}} 1',
        f"avs_required_attestations_total{{{base}}} 3",
        f"avs_missed_deadlines_total{{{base}}} 2",
        f"avs_node_up{{{base}}} 1",
    ):
        assert line in text.splitlines()
    assert "process_start_time_seconds 1" in text
    assert "stopsign_sidecar_queue " in text
    assert "stopsign_sidecar_disk_free_bytes " in text


async def test_capitals_in_a_key_mean_the_same_and_a_text_is_no_list(it: Place) -> None:
    told = await it.put("frozen", "0x" + A[2:].upper())
    assert results(told) == [(A, "changed", "frozen")]
    assert (await it.sign(A, attestation(1))).status == 412
    body = {"state": "frozen", "keys": A, "incident": "i", "request": "r"}
    wrong = await it.call("PUT", f"{V1}/signing", json=body)
    assert wrong.json()["detail"] == 'must be a list, also for one key: write ["0x…"]'
    wrong = await it.put("frozen", "0xq1")
    assert wrong.json()["detail"] == '"0xq1" is not a key: write it as 0x and hexadecimal digits'


async def test_the_remembered_keys_are_read_by_nobody_else(it: Place) -> None:
    assert (it.data / "keys.json").stat().st_mode & 0o777 == 0o600
