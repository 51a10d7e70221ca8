"""Look at one endpoint of a node, and say which calls that took and what they prove. Changes nothing there."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from datetime import timedelta

from bot.domain.inventory import Avs, Capability, Endpoint, Node, told_apart
from bot.domain.target import Proof, Sample, prove, window
from bot.errors import Misconfigured, NodeError, NodeRefused
from bot.nodes.introduction import Introduces, differences, some
from bot.nodes.wire import TRACE, Exchange
from bot.ports import Clock, Deployer, Recorder, Router, Signer, Throttle

RECORDED = timedelta(minutes=1)
"""How much of the past a recorder is asked for."""
LONGEST_WAIT = timedelta(minutes=2)
NOT_FOUND = 404
PATIENCE = 5.0
"""Seconds that an item of a recorder may take at least; else three time limits of its endpoint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What one endpoint showed, in sentences, the weightiest first.

    `well` when a step could rely on it; None when the driver offers nothing here.
    """

    capability: Capability
    endpoint: Endpoint
    well: bool | None
    says: tuple[str, ...]
    exchanges: tuple[Exchange, ...]
    refused: int | None = None
    """The status with which the node said no, where it did."""


async def probe(
    drive: Callable[[Node, Endpoint], object],
    node: Node,
    avs: Avs,
    capability: Capability,
    endpoint: Endpoint,
    *,
    clock: Clock,
    wait: bool = True,
    others: Collection[str] = (),
) -> Found:
    """Read what `capability` shows at `endpoint`; raises nothing that a node does.

    With `wait`, a signer is sampled twice over a due duty, as the proof of a freeze would be taken. The whole look ends
    after twice an item's time, and that wait. `others` are keys of other nodes, which the same signer may hold.
    """
    patience = max(endpoint.timeout.total_seconds() * 3, PATIENCE)
    longest = patience * 2 + (LONGEST_WAIT.total_seconds() if wait and capability is Capability.SIGNER else 0)
    trace: list[Exchange] = []
    token = TRACE.set(trace)
    well: bool | None = False
    refused: int | None = None
    try:
        async with asyncio.timeout(longest) as limit:
            well, says = await _look(drive(node, endpoint), capability, node, avs, clock, patience, others, wait=wait)
    except NodeError as error:
        says, refused = (str(error),), error.status if isinstance(error, NodeRefused) else None
    except Misconfigured as error:
        says = error.problems
    except TimeoutError as error:
        says = (f"took longer than {longest:g} s" if limit.expired() else f"the driver failed: {error!r}",)
    except Exception as error:  # noqa: BLE001 - a driver's slip is a finding here, and no traceback
        says = (f"the driver failed: {type(error).__name__}: {error}",)
    finally:
        TRACE.reset(token)
    return Found(
        capability=capability, endpoint=endpoint, well=well, says=says, exchanges=tuple(trace), refused=refused
    )


async def _look(
    driver: object,
    capability: Capability,
    node: Node,
    avs: Avs,
    clock: Clock,
    patience: float,
    others: Collection[str],
    *,
    wait: bool,
) -> tuple[bool | None, tuple[str, ...]]:
    match capability, driver:
        case Capability.SIGNER, Signer():
            return await _signer(driver, node, avs, others, wait=wait)
        case Capability.RECORDER, Recorder():
            return await _recorder(driver, clock, patience)
        case Capability.ROUTER, Router():
            away = await driver.isolated()
            return True, ("out of traffic" if away else "serving",)
        case Capability.DEPLOYER, Deployer():
            now = await driver.release()
            config = f", configuration {now.config_checksum[:19]}" if now.config_checksum else ""
            return bool(now.build_hash), (f"runs {now.version or '?'}, build {now.build_hash[:19] or '?'}{config}",)
        case Capability.THROTTLE, Throttle():
            return True, ("limited" if await driver.throttled() else "not limited",)
    return None, ("not offered by this driver",)


async def _signer(
    signer: Signer, node: Node, avs: Avs, others: Collection[str], *, wait: bool
) -> tuple[bool, tuple[str, ...]]:
    wrong = list(differences(await signer.introduce(), node, others)) if isinstance(signer, Introduces) else []
    first = await signer.sample(node.keys)
    uncounted = [k for k, r in first.keys.items() if r.counter is None]
    shown = told_apart(node.keys)
    notes = tuple(_reading(first, key, name) for key, name in zip(node.keys, shown, strict=True))
    missing = [key for key in node.keys if key not in first.keys]
    if missing and not wrong:
        wrong.append(f"does not hold {some(missing, node.keys)}")
    if uncounted:
        wrong.append(f"no counter for {some(uncounted, node.keys)}: a freeze could never be proven")
    if wrong:
        return False, ("; ".join(wrong), *notes)
    if not wait:
        return True, (*notes, "counted: a freeze can be proven")
    due = window(first, node.keys, avs.duty_period, 1)
    await asyncio.sleep(max(timedelta(), min(LONGEST_WAIT, due - first.at)).total_seconds() + 0.01)
    proof = prove(first, await signer.sample(node.keys), node.keys, period=avs.duty_period)
    rose = [k for k, (a, b) in proof.counters.items() if a is not None and b is not None and b > a]
    return bool(rose) or proof.state.proven, (_meaning(proof, len(rose), len(node.keys)), *notes)


def _meaning(proof: Proof, rose: int, of: int) -> str:
    if proof.state.proven:
        return f"stopped, proven: {proof.why}"
    if rose:
        keys = f"{rose} of {of} keys" if of > 1 else "it"
        return f"telemetry is alive: {keys} signed between two samples, so that a freeze can be proven"
    return f"nothing was signed over a due duty, which proves nothing yet: {proof.why}"


def _reading(sample: Sample, key: str, shown: str) -> str:
    reading = sample.keys.get(key)
    if reading is None:
        return f"{shown}: not there"
    count = "no counter" if reading.counter is None else f"{reading.counter} signatures"
    last = f", the last at {reading.last_signed_at:%H:%M:%S} UTC" if reading.last_signed_at else ""
    return f"{shown}: {'signing' if reading.signing else 'stopped'}, {count}{last}"


async def _recorder(recorder: Recorder, clock: Clock, patience: float) -> tuple[bool, tuple[str, ...]]:
    now = clock.now()
    had: list[str] = []
    lost: list[str] = []
    lacking: list[str] = []
    async for item in recorder.capture(now - RECORDED, now):
        if item.acts:
            had.append(f"{item.what} (not asked for: that changes something)")
            continue
        try:
            async with asyncio.timeout(patience) as limit:
                async for _ in item.chunks:
                    pass
            had.append(item.what)
        except TimeoutError:
            if not limit.expired():
                raise
            lost.append(f"{item.what}: took longer than {patience:g} s")
        except NodeRefused as error:
            absent = error.status == NOT_FOUND and item.what in getattr(recorder, "may_lack", ())
            (lacking if absent else lost).append(f"{item.what}: {error}")
        except NodeError as error:
            lost.append(f"{item.what}: {error}")
    offers = f"offers {', '.join(dict.fromkeys(had))}" if had else "offers nothing"
    return bool(had) and not lost, (
        *(f"cannot be had: {one}" for one in lost),
        offers,
        *(f"not offered here, as documented: {one}" for one in lacking),
    )


def longest(avs: Avs) -> float:
    """Return about how many seconds it takes to sample a signer twice over a duty."""
    return min(LONGEST_WAIT.total_seconds(), avs.duty_period.total_seconds() * 1.1)


async def all_of(
    drive: Callable[[Node, Endpoint], object],
    node: Node,
    avs: Avs,
    *,
    clock: Clock,
    wait: bool = True,
    others: Collection[str] = (),
) -> list[Found]:
    """Probe all endpoints of a node at once, in the order of the inventory."""
    looks: list[Awaitable[Found]] = [
        probe(drive, node, avs, capability, endpoint, clock=clock, wait=wait, others=others)
        for capability, endpoint in node.endpoints
    ]
    return list(await asyncio.gather(*(asyncio.ensure_future(look) for look in looks)))
