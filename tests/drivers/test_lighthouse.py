"""The Lighthouse driver against an imitation of its validator client: one key a request, lists before and after."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import httpx
import pytest

from bot.domain.inventory import Capability, Endpoint, Node
from bot.domain.target import Answer, Proof, State, prove
from bot.errors import Misconfigured, NoAnswer, NodeRefused
from bot.nodes import lighthouse as driver_module
from bot.nodes.lighthouse import Lighthouse
from bot.nodes.reach import Reach
from tests.drivers.contract import Character, SystemClock
from tests.drivers.crooked import crooked
from tests.drivers.emulated.lighthouse import TOKEN, LighthouseImitation, lighthouse
from tests.drivers.emulated.serving import PERIOD, Mode
from tests.drivers.wired import URL, routes

A, B, C = ("0x" + pair * 48 for pair in ("aa", "bb", "cc"))
HOW = {"incident": "inc-7", "request": "r1"}


@asynccontextmanager
async def reached(url: str, keys: tuple[str, ...], seconds: str = "0.5", **options: str) -> AsyncIterator[Lighthouse]:
    limit = timedelta(seconds=float(seconds))
    endpoint = Endpoint(driver="lighthouse", url=url, token="file:/t", timeout=limit, options=options)
    node = Node(name="n", avs="x", keys=keys, reach={Capability.SIGNER: endpoint})
    drivers = {"lighthouse": driver_module.connect}
    async with Reach(drivers=drivers, secret=lambda _: TOKEN, clock=SystemClock()) as reach:
        driver = reach.reach(node, Capability.SIGNER)
        assert isinstance(driver, Lighthouse)
        yield driver


@asynccontextmanager
async def running(*keys: str, mode: Mode = Mode.HONEST) -> AsyncIterator[tuple[LighthouseImitation, Lighthouse]]:
    async with lighthouse(keys, mode=mode) as it, reached(it.url, keys, **it.options) as driver:
        yield it, driver


async def proof(driver: Lighthouse, *keys: str) -> Proof:
    before = await driver.sample(keys)
    await asyncio.sleep(PERIOD * 2.5)
    return prove(before, await driver.sample(keys), keys, period=timedelta(seconds=PERIOD))


async def test_a_freeze_is_proven_and_undone_by_one_call() -> None:
    async with running(A, B) as (it, driver):
        assert (await proof(driver, A, B)).state is State.FAILED
        assert (await driver.freeze([A, B], **HOW)).answer is Answer.ACKNOWLEDGED
        assert (await proof(driver, A, B)).state is State.VERIFIED
        assert (await driver.freeze([A, B], **HOW)).answer is Answer.ALREADY
        assert (await driver.unfreeze([A, B], **HOW)).answer is Answer.ACKNOWLEDGED
        assert it.enabled == {A: True, B: True}
        assert (await proof(driver, A, B)).state is State.FAILED
        assert (await driver.unfreeze([A, B], **HOW)).answer is Answer.ALREADY


async def test_each_failed_key_is_named_with_the_clients_reason() -> None:
    async with running(A, B, C, mode=Mode.HALF) as (it, driver):
        reply = await driver.freeze([A, B, C], **HOW)
        assert reply.answer is Answer.UNKNOWN
        assert reply.detail.startswith("1 of 3 keys are not disabled: 0xcccc…cccc n answered PATCH")
        assert "500 UNHANDLED_ERROR: unable to set validator status" in reply.detail
        assert it.enabled == {A: False, B: False, C: True}


async def test_a_key_that_the_client_does_not_hold_is_failed_and_the_others_are_stopped() -> None:
    async with running(A) as (it, driver):
        reply = await driver.freeze([A, B], **HOW)
        assert (reply.answer, it.enabled) == (Answer.FAILED, {A: False})
        assert "404 NOT_FOUND: no validator for 0xbbbb" in reply.detail
        alone = await driver.freeze([B], **HOW)
        assert (alone.answer, "1 of 1 keys" in alone.detail) == (Answer.FAILED, True)
        assert list((await driver.sample([A, B])).keys) == [A]


async def test_a_lie_in_the_list_is_found_by_the_counter() -> None:
    async with running(A, mode=Mode.LYING) as (_, driver):
        assert (await driver.freeze([A], **HOW)).answer is Answer.ACKNOWLEDGED
        assert not (await driver.sample([A])).keys[A].signing
        assert (await proof(driver, A)).state is State.FAILED


async def test_nothing_is_said_of_one_key_while_another_is_enabled() -> None:
    async with running(A, B) as (_, driver):
        await driver.freeze([A], **HOW)
        found = await proof(driver, A)
        assert (found.state, found.why) == (State.UNKNOWN, "no signature counter for key 0xaaaa…aaaa")
        await driver.freeze([B], **HOW)
        assert (await proof(driver, A)).state is State.VERIFIED


async def test_a_restart_is_seen_by_the_number_of_the_process() -> None:
    async with running(A) as (it, driver):
        await driver.freeze([A], **HOW)
        before = await driver.sample([A])
        it.restart()
        found = prove(before, await driver.sample([A]), (A,), period=timedelta())
        assert (found.state, found.why) == (
            State.UNKNOWN,
            "the signer restarted between the samples: counters cannot be compared",
        )


async def test_a_client_that_never_signed_has_no_counter_and_so_no_proof() -> None:
    async with running(A) as (it, driver):
        await driver.freeze([A], **HOW)
        it.restart()
        assert (await proof(driver, A)).state is State.UNKNOWN


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("metrics", "http://127.0.0.1:9"),
        ("counters", "vc_no_such_total"),
        ("counters", "vc_signing_times_seconds_count,vc_no_such_total"),
    ],
)
async def test_without_the_counter_there_is_no_proof(option: str, value: str) -> None:
    async with lighthouse((A,)) as it, reached(it.url, (A,), **(it.options | {option: value})) as driver:
        await driver.freeze([A], **HOW)
        assert (await proof(driver, A)).state is State.UNKNOWN


async def test_a_list_that_hangs_does_not_cost_the_freeze() -> None:
    """The list answers never, the changes at once: they are sent, and the reply says what was not read back."""
    base = URL

    async def never(_: object) -> None:
        await asyncio.sleep(60)

    async with reached(base, (A, B)) as driver:
        with routes(assert_all_called=False) as mock:
            mock.get(f"{base}/lighthouse/validators").mock(side_effect=never)
            patch = mock.patch(url__startswith=f"{base}/lighthouse/validators/0x").respond(json=None)
            began = asyncio.get_running_loop().time()
            reply = await driver.freeze([A, B], **HOW)
            assert asyncio.get_running_loop().time() - began < 0.7
    assert [call.request.content for call in patch.calls] == [b'{"enabled": false}'] * 2
    assert {call.request.url.path.rsplit("/")[-1] for call in patch.calls} == {A, B}
    assert {call.request.headers["authorization"] for call in patch.calls} == {f"Bearer {TOKEN}"}
    assert reply.answer is Answer.ACKNOWLEDGED
    assert "could not be read back" in reply.detail


async def test_what_answers_late_was_asked_for_in_time() -> None:
    async with lighthouse((A, B)) as it:
        slow = crooked(Character.SLOW, "127.0.0.1", httpx.URL(it.url).port or 0, delay=5.0)
        async with slow as port, reached(f"http://127.0.0.1:{port}", (A, B), "2.0") as driver:
            with pytest.raises(NoAnswer):
                await driver.freeze([A, B], **HOW)
        assert it.enabled == {A: False, B: False}


async def test_a_key_that_failed_is_told_when_the_list_cannot_be_read_back() -> None:
    base = URL
    async with reached(base, (A, B)) as driver:
        with routes() as mock:
            mock.get(f"{base}/lighthouse/validators").respond(503)
            mock.patch(f"{base}/lighthouse/validators/{A}").respond(json=None)
            mock.patch(f"{base}/lighthouse/validators/{B}").respond(400)
            reply = await driver.freeze([A, B], **HOW)
    assert reply.answer is Answer.FAILED
    assert reply.detail.startswith("0xbbbb…bbbb n refused PATCH")
    assert "nor could the list be read back" in reply.detail


async def test_a_client_that_does_not_tell_its_process_still_gives_a_sample() -> None:
    base = URL
    async with reached(base, (A,)) as driver:
        with routes() as mock:
            mock.get(f"{base}/lighthouse/validators").respond(json={"data": [{"enabled": True, "voting_pubkey": A}]})
            mock.get(f"{base}/metrics").respond(text='vc_signing_times_seconds_count{type="x"} 3\n')
            mock.get(f"{base}/lighthouse/health").respond(400)
            sample = await driver.sample([A])
    assert (sample.instance, sample.keys[A].counter) == ("", 3)


async def test_when_nothing_answers_the_worst_is_told() -> None:
    base = URL

    async def never(_: object) -> None:
        await asyncio.sleep(60)

    async with reached(base, (A, B)) as driver:
        with routes(assert_all_called=False) as mock:
            mock.get(f"{base}/lighthouse/validators").respond(json={"data": []})
            mock.patch(f"{base}/lighthouse/validators/{A}").respond(400)
            mock.patch(f"{base}/lighthouse/validators/{B}").mock(side_effect=never)
            with pytest.raises(NoAnswer):
                await driver.freeze([A, B], **HOW)


async def test_a_wrong_token_is_refused_before_anything_is_asked_for() -> None:
    async with lighthouse((A,)) as it, reached(it.url, (A,)) as driver:
        it.token = "another"
        with pytest.raises(NodeRefused, match="403 FORBIDDEN: Invalid Authorization token"):
            await driver.freeze([A], **HOW)
        assert it.patches == []


async def test_slashing_protection_is_not_to_be_had_over_http() -> None:
    async with reached(URL, (A,)) as driver:
        with pytest.raises(NodeRefused, match="slashing-protection export"):
            await driver.slashing_protection()


async def test_an_unknown_option_is_misconfigured() -> None:
    with pytest.raises(Misconfigured, match="lighthouse has no option escrow"):
        async with reached(URL, (A,), escrow="/e"):
            pass
