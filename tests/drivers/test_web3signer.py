"""The Web3Signer driver against an imitation of it: what it counts, what it lists, and TLS with client certificates."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from bot.domain.inventory import Capability, Endpoint, Node
from bot.domain.target import Answer, Proof, State, prove
from bot.errors import Misconfigured, NoAnswer, NodeRefused, NotReached
from bot.nodes import web3signer as driver_module
from bot.nodes.reach import Reach
from bot.nodes.web3signer import Web3signer, signatures
from tests.drivers.contract import SystemClock
from tests.drivers.emulated.serving import PERIOD, Mode
from tests.drivers.emulated.web3signer import Web3signerImitation, web3signer

A, B = "0x" + "aa" * 48, "0x" + "bb" * 48


@asynccontextmanager
async def driving(
    it: Web3signerImitation, keys: tuple[str, ...] = (A, B), *, tls: dict[str, Any] | None = None, **options: str
) -> AsyncIterator[Web3signer]:
    options = {"metrics": it.metrics_url} | options
    endpoint = Endpoint(driver="web3signer", url=it.url, timeout=timedelta(seconds=1), options=options, **(tls or {}))
    node = Node(name="n", avs="x", keys=keys, reach={Capability.SIGNER: endpoint})
    async with Reach(drivers={"web3signer": driver_module.connect}, secret=str, clock=SystemClock()) as reach:
        driver = reach.reach(node, Capability.SIGNER)
        assert isinstance(driver, Web3signer)
        yield driver


async def proof(driver: Web3signer, *keys: str) -> Proof:
    before = await driver.sample(keys)
    await asyncio.sleep(PERIOD * 2.5)
    return prove(before, await driver.sample(keys), keys, period=timedelta(seconds=PERIOD))


@pytest.mark.parametrize("slashing_protection", [True, False])
async def test_a_freeze_is_proven_while_the_client_still_asks_and_is_denied(slashing_protection: bool) -> None:
    async with web3signer((A, B), slashing_protection=slashing_protection) as it, driving(it) as driver:
        assert (await proof(driver, A, B)).state is State.FAILED
        reply = await driver.freeze([A, B], incident="inc-7", request="r1")
        requested = it.requested
        found = await proof(driver, A, B)
        assert (reply.answer, it.loaded) == (Answer.ACKNOWLEDGED, set())
        assert (found.state, found.ready) == (State.VERIFIED, True), found
        assert it.requested > requested  # the timer that most would take for the counter rose all along
        assert (await driver.freeze([A, B], incident="inc-7", request="r2")).answer is Answer.ALREADY


async def test_the_slashing_protection_of_a_freeze_comes_back_first() -> None:
    async with web3signer((A,)) as it, driving(it) as driver:
        await asyncio.sleep(PERIOD * 1.5)
        reply = await driver.freeze([A], incident="inc-7", request="r1")
        document = json.loads(reply.artifacts[0].content)
        assert [entry["pubkey"] for entry in document["data"]] == [A]
        assert int(document["data"][0]["signed_blocks"][0]["slot"]) == it.signed[A] > 0


async def test_a_lie_about_both_lists_is_found_by_the_counter() -> None:
    async with web3signer((A, B), mode=Mode.LYING) as it, driving(it) as driver:
        assert (await driver.freeze([A, B], incident="inc-7", request="r1")).answer is Answer.ACKNOWLEDGED
        sample = await driver.sample([A, B])
        assert [reading.signing for reading in sample.keys.values()] == [False, False]
        found = await proof(driver, A, B)
        assert (found.state, it.loaded) == (State.FAILED, {A, B})


async def test_a_read_only_key_is_failed_with_the_signers_own_reason() -> None:
    async with web3signer((A, B), readonly=frozenset({B})) as it, driving(it) as driver:
        reply = await driver.freeze([A, B], incident="inc-7", request="r1")
        assert reply.answer is Answer.FAILED
        assert "1 of 2 keys still listed after 3 deletes" in reply.detail
        assert "Unable to delete readonly key" in reply.detail
        assert (it.loaded, it.deletes) == ({B}, 3)


async def test_a_key_in_one_of_the_two_lists_still_signs() -> None:
    async with web3signer((A,)) as it, driving(it, (A,)) as driver:
        it.keystores_hide = True
        reply = await driver.freeze([A], incident="inc-7", request="r1")
        assert reply.answer is Answer.FAILED
        assert (await driver.sample([A])).keys[A].signing


async def test_nothing_is_said_of_one_key_while_another_is_loaded() -> None:
    async with web3signer((A, B)) as it, driving(it, (A,)) as driver:
        await driver.freeze([A], incident="inc-7", request="r1")
        found = await proof(driver, A)
        assert (found.state, found.why) == (State.UNKNOWN, "no signature counter for key 0xaaaa…aaaa")
        assert it.loaded == {B}


async def test_a_restart_is_seen() -> None:
    async with web3signer((A,)) as it, driving(it, (A,)) as driver:
        await driver.freeze([A], incident="inc-7", request="r1")
        before = await driver.sample([A])
        it.restart()
        assert prove(before, await driver.sample([A]), (A,), period=timedelta()).state is State.UNKNOWN


async def test_without_its_metrics_there_is_no_proof() -> None:
    async with web3signer((A,)) as it, driving(it, (A,), metrics="http://127.0.0.1:9") as driver:
        await driver.freeze([A], incident="inc-7", request="r1")
        assert (await proof(driver, A)).state is State.UNKNOWN


async def test_a_signer_without_its_key_manager_says_what_to_switch_on() -> None:
    async with web3signer((A,), key_manager=False) as it, driving(it) as driver:
        for asked in (driver.freeze([A], incident="inc-7", request="r1"), driver.sample([A])):
            with pytest.raises(NodeRefused, match="--key-manager-api-enabled"):
                await asked
        assert it.loaded == {A}


async def test_it_signs_again_after_an_import_from_the_escrow(tmp_path: Path) -> None:
    (tmp_path / f"{A}.json").write_text(json.dumps({"version": 4, "pubkey": A[2:]}))
    (tmp_path / f"{A}.txt").write_text("password\n")
    async with web3signer((A,)) as it, driving(it, (A,), escrow=str(tmp_path)) as driver:
        refused = await driver.unfreeze([A], incident="inc-7", request="u0")
        assert (refused.answer, it.imported) == (Answer.REFUSED, [])
        await driver.freeze([A], incident="inc-7", request="r1")
        assert (await driver.unfreeze([A], incident="inc-7", request="u1")).answer is Answer.ACKNOWLEDGED
        assert json.loads(it.imported[0]["slashing_protection"])["data"][0]["pubkey"] == A
        assert (await proof(driver, A)).state is State.FAILED


@pytest.mark.parametrize("slashing_protection", [True, False])
async def test_a_signer_that_never_held_the_key_is_failed_and_proves_nothing(slashing_protection: bool) -> None:
    async with web3signer((A,), slashing_protection=slashing_protection) as it, driving(it, (B,)) as driver:
        it.loaded.clear()
        reply = await driver.freeze([B], incident="inc-7", request="r1")
        assert (reply.answer, "does not hold the key" in reply.detail) == (Answer.FAILED, True)
        assert (await proof(driver, B)).state is State.UNKNOWN


async def test_a_key_that_is_not_listed_counts_as_stopped_only_where_the_escrow_says_it_was_deleted(
    tmp_path: Path,
) -> None:
    async with web3signer((A,)) as it:
        async with driving(it, (A,), escrow=str(tmp_path)) as driver:
            await driver.freeze([A], incident="inc-7", request="r1")
        for folder, keys in ((tmp_path, [A]), (tmp_path / "other", [])):
            async with driving(it, (A,), escrow=str(folder)) as driver:
                assert list((await driver.sample([A])).keys) == keys


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@asynccontextmanager
async def guarded(ca: trustme.CA, host: str = "127.0.0.1") -> AsyncIterator[Web3signerImitation]:
    """Run the imitation behind TLS that asks for a client's certificate."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert(host).configure_cert(context)
    ca.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    async with web3signer((A,), tls=context) as it:
        yield it


def files(folder: Path, ca: trustme.CA, client: trustme.CA | None = None) -> dict[str, str]:
    """Write what an endpoint names; the client's certificate is issued by `client`."""
    found = {"ca": str(folder / "ca.pem")}
    ca.cert_pem.write_to_path(found["ca"])
    if client is not None:
        found |= {"client_cert": str(folder / "client.pem"), "client_key": str(folder / "client.key")}
        leaf = client.issue_cert("stopsign@example.org")
        leaf.cert_chain_pems[0].write_to_path(found["client_cert"])
        leaf.private_key_pem.write_to_path(found["client_key"])
    return found


async def test_a_freeze_over_mutual_tls(ca: trustme.CA, tmp_path: Path) -> None:
    async with guarded(ca) as it, driving(it, (A,), tls=files(tmp_path, ca, ca)) as driver:
        assert (await driver.freeze([A], incident="inc-7", request="r1")).answer is Answer.ACKNOWLEDGED
        assert (await proof(driver, A)).state is State.VERIFIED


@pytest.mark.parametrize("strange", ["no certificate", "a stranger's certificate"])
async def test_without_the_right_client_certificate_nothing_is_frozen(
    ca: trustme.CA, tmp_path: Path, strange: str
) -> None:
    """TLS 1.3 tells the client only after it has sent: that is no answer, and a read-back decides."""
    client = trustme.CA() if strange.startswith("a") else None
    async with guarded(ca) as it, driving(it, (A,), tls=files(tmp_path, ca, client)) as driver:
        with pytest.raises((NoAnswer, NotReached)):
            await driver.freeze([A], incident="inc-7", request="r1")
        assert (it.loaded, it.deletes) == ({A}, 0)


@pytest.mark.parametrize("host", ["127.0.0.1", "signer.example.org"])
async def test_a_signer_that_is_not_who_it_should_be_is_told_nothing(ca: trustme.CA, tmp_path: Path, host: str) -> None:
    trusted = trustme.CA() if host == "127.0.0.1" else ca
    async with guarded(ca, host) as it, driving(it, (A,), tls=files(tmp_path, trusted, ca)) as driver:
        with pytest.raises(NotReached):
            await driver.freeze([A], incident="inc-7", request="r1")
        assert (it.loaded, it.deletes) == ({A}, 0)


@pytest.mark.parametrize(
    ("lines", "total"),
    [
        (["signing_bls_signing_duration_count 9", "signing_bls_missing_identifier_count_total 4.0"], 5),
        (["signing_bls_signing_duration_count 9", "signing_bls_missing_identifier_count 4.0"], 5),
        (["signing_bls_signing_duration_count 9", "eth2_slashingprotection_permitted_signings_total 3.0"], 3),
        (["signing_bls_signing_duration_count 9", "eth2_slashingprotection_permitted_signings_total 0.0"], 9),
        (["eth2_slashingprotection_permitted_signings_total 0.0"], None),
        (["signing_secp256k1_signing_duration_count 9"], None),
        ([], None),
    ],
    ids=["denied", "old names", "permitted", "no slashing protection", "nothing counted", "eth1", "empty"],
)
def test_what_counts_as_a_signature(lines: list[str], total: int | None) -> None:
    found = signatures("\n".join([*lines, "process_start_time_seconds 7"]).encode())
    assert (found.total, found.instance) == (total, "7.0")


@pytest.mark.parametrize(
    ("counters", "there"),
    [("signing_bls_signing_duration_count", True), ("signing_bls_signing_duration_count,signing_gone_total", False)],
)
async def test_a_named_counter_that_is_missing_is_none(counters: str, there: bool) -> None:
    async with web3signer((A,)) as it, driving(it, (A,), counters=counters) as driver:
        assert ((await driver.sample([A])).keys[A].counter is not None) is there


async def test_other_counters_may_be_named(tmp_path: Path) -> None:
    async with web3signer((A,)) as it, driving(it, (A,), counters="signing_bls_signing_duration_count") as driver:
        await driver.freeze([A], incident="inc-7", request="r1")
        assert (await proof(driver, A)).state is State.FAILED


async def test_an_unknown_option_is_misconfigured() -> None:
    endpoint = Endpoint(driver="web3signer", url="http://127.0.0.1:9", options={"key_label": "pubkey"})
    node: Any = Node(name="n", avs="x", keys=(A,), reach={Capability.SIGNER: endpoint})
    async with Reach(drivers={"web3signer": driver_module.connect}, secret=str, clock=SystemClock()) as reach:
        with pytest.raises(Misconfigured, match="web3signer has no option key_label"):
            reach.reach(node, Capability.SIGNER)
