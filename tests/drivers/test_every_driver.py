"""The contract: each capability of each driver against an honest, a lying, a silent, a slow … peer.

Whatever the API, one thing must never happen: that something which goes on is called stopped.
"""

import asyncio
import contextlib
import importlib
import pkgutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bot import nodes
from bot.domain.inventory import Capability
from bot.domain.target import Answer, Reply, State, prove
from bot.errors import NoAnswer, NodeBroken, NodeError, NodeRefused, NotReached
from bot.ports import Deployer, Recorder, Router, Signer, Throttle
from tests.drivers.contract import Character, Stand, Subject, every

PORTS: dict[Capability, type] = {
    Capability.SIGNER: Signer,
    Capability.ROUTER: Router,
    Capability.DEPLOYER: Deployer,
    Capability.RECORDER: Recorder,
    Capability.THROTTLE: Throttle,
}
DONE = {Answer.ACKNOWLEDGED, Answer.ALREADY}
UNTIL = datetime(2026, 11, 20, 3, 0, tzinfo=UTC)


def against(*characters: Character, acts: bool = False) -> Callable[[Any], Any]:
    """Run a test against peers of these characters, for each stand that has them; `acts`: not for recorders."""
    cases = [
        pytest.param(stand, one, id=f"{stand.name}-{stand.capability}-{one}", marks=_marks(stand))
        for stand in every()
        for one in characters
        if one in stand.characters and not (acts and stand.capability is Capability.RECORDER)
    ]
    return pytest.mark.parametrize(("stand", "character"), cases)


def _marks(stand: Stand) -> list[pytest.MarkDecorator]:
    return [pytest.mark.peer(stand.peer)] if stand.peer else []


async def act(stand: Stand, it: Subject, request: str = "r1") -> Reply:
    """Ask for what the capability is there for; a recorder is asked for everything that it has."""
    driver, how = it.driver, {"incident": "inc-7", "request": request}
    match stand.capability:
        case Capability.SIGNER:
            reply = await driver.freeze(it.keys, **how)
        case Capability.ROUTER:
            reply = await driver.isolate(**how)
        case Capability.THROTTLE:
            reply = await driver.throttle(**how)
        case Capability.DEPLOYER:
            reply = await driver.rollback(stand.to_build, **how)
        case Capability.RECORDER:
            reply = await _captured(driver)
    assert isinstance(reply, Reply)
    assert reply.detail
    return reply


async def _captured(driver: Recorder) -> Reply:
    kept, errors = 0, list[NodeError]()
    async for item in driver.capture(datetime.now(UTC) - timedelta(minutes=15), datetime.now(UTC)):
        try:
            content = b"".join([chunk async for chunk in item.chunks])
        except NodeError as error:
            errors.append(error)
            continue
        assert item.what
        assert item.tool
        kept += bool(content)
    if errors:
        raise errors[0]
    return Reply(answer=Answer.ACKNOWLEDGED if kept else Answer.FAILED, detail=f"{kept} items")


async def judged(stand: Stand, it: Subject) -> bool:
    """Say whether what the driver reads back makes the bot believe that it is done."""
    driver = it.driver
    match stand.capability:
        case Capability.SIGNER:
            before = await driver.sample(it.keys)
            await asyncio.sleep(stand.period * 2.5)
            proof = prove(before, await driver.sample(it.keys), it.keys, period=timedelta(seconds=stand.period))
            return proof.state is State.VERIFIED
        case Capability.ROUTER:
            return bool(await driver.isolated())
        case Capability.THROTTLE:
            return bool(await driver.throttled())
        case Capability.DEPLOYER:
            return bool((await driver.release()).build_hash == stand.to_build)
    return True


async def look(stand: Stand, it: Subject) -> None:
    """Only read."""
    match stand.capability:
        case Capability.SIGNER:
            await it.driver.sample(it.keys)
        case Capability.RECORDER:
            await _captured(it.driver)
        case _:
            await judged(stand, it)


@against(Character.HONEST)
async def test_an_honest_peer_does_it_and_is_believed(stand: Stand, character: Character) -> None:
    async with stand.open(character) as it:
        traits = it.driver.traits
        assert isinstance(it.driver, PORTS[stand.capability])
        assert stand.capability in traits.capabilities
        assert all((traits.proves_by, traits.needs, traits.cannot_know, traits.blast_radius, traits.tested))
        if stand.capability is not Capability.RECORDER:
            assert not await it.stopped()
            assert not await judged(stand, it)
        assert (await act(stand, it)).answer is Answer.ACKNOWLEDGED
        assert await it.stopped()
        assert await judged(stand, it)


@against(Character.HONEST, acts=True)
async def test_a_repeat_changes_nothing_and_is_no_failure(stand: Stand, character: Character) -> None:
    async with stand.open(character) as it:
        await act(stand, it, "r1")
        again = await act(stand, it, "r2")
        assert again.answer in DONE
        assert await it.stopped()
        assert await judged(stand, it)


@against(Character.LYING, Character.HALF, acts=True)
async def test_what_goes_on_is_never_believed_to_have_stopped(stand: Stand, character: Character) -> None:
    async with stand.open(character) as it:
        try:
            answer = (await act(stand, it)).answer
        except NodeError:
            answer = Answer.UNKNOWN
        assert not await it.stopped()
        with contextlib.suppress(NodeError):
            assert not await judged(stand, it)
        if character is Character.HALF:
            assert answer not in DONE, "half is not done"


@against(Character.LYING, Character.HALF)
async def test_half_an_answer_is_no_answer(stand: Stand, character: Character) -> None:
    if stand.capability is not Capability.RECORDER:
        return
    async with stand.open(character) as it:
        lost = 0
        async for item in it.driver.capture(datetime.now(UTC) - timedelta(minutes=15), datetime.now(UTC)):
            try:
                _ = [chunk async for chunk in item.chunks]
            except NodeError:
                lost += 1
        assert lost


@against(Character.SILENT)
async def test_silence_is_no_answer_within_the_time_limit(stand: Stand, character: Character) -> None:
    async with stand.open(character) as it:
        began = asyncio.get_running_loop().time()
        with pytest.raises(NoAnswer):
            await act(stand, it)
        assert asyncio.get_running_loop().time() - began < 10.0  # a hang, not a figure
        if stand.capability is not Capability.RECORDER:
            assert not await it.stopped()
        with pytest.raises(NoAnswer):
            await look(stand, it)


@against(Character.SLOW)
async def test_a_late_answer_is_no_answer_whatever_was_done(stand: Stand, character: Character) -> None:
    async with stand.open(character) as it:
        with pytest.raises(NoAnswer):
            await act(stand, it)


@against(Character.ERRORING)
async def test_an_error_of_the_peer_is_broken(stand: Stand, character: Character) -> None:
    async with stand.open(character) as it:
        with pytest.raises(NodeBroken):
            await act(stand, it)
        with pytest.raises(NodeBroken):
            await look(stand, it)
        if stand.capability is not Capability.RECORDER:
            assert not await it.stopped()


@against(Character.UNAUTHORISED)
async def test_unauthorised_is_refused_and_nothing_happened(stand: Stand, character: Character) -> None:
    async with stand.open(character) as it:
        with pytest.raises(NodeRefused) as refused:
            await act(stand, it)
        assert refused.value.status in {401, 403}
        if stand.capability is not Capability.RECORDER:
            assert not await it.stopped()


@against(Character.DOWN)
async def test_a_closed_port_was_not_reached(stand: Stand, character: Character) -> None:
    async with stand.open(character) as it:
        with pytest.raises(NotReached):
            await act(stand, it)
        with pytest.raises(NotReached):
            await look(stand, it)


@against(Character.HONEST, acts=True)
async def test_no_key_and_no_wildcard_is_ever_sent(stand: Stand, character: Character) -> None:
    if stand.capability is not Capability.SIGNER:
        return
    async with stand.open(character) as it:
        before = await it.calls()
        for keys in ((), ("*",), ("all",), ("0x",), (*it.keys[:1], "")):
            for verb in (it.driver.freeze, it.driver.unfreeze):
                with pytest.raises(ValueError, match="key"):
                    await verb(keys, incident="inc-7", request="r1")
        assert await it.calls() == before
        assert not await it.stopped()


def test_every_driver_has_a_stand_for_each_of_its_capabilities() -> None:
    there = {(stand.name, stand.capability) for stand in every()}
    for module in pkgutil.iter_modules(nodes.__path__):
        found = importlib.import_module(f"bot.nodes.{module.name}")
        if hasattr(found, "connect"):
            for capability in found.TRAITS.capabilities:
                assert (module.name, capability) in there, f"{module.name} has no stand for {capability}"
