"""Throttle, isolate and roll back: an acknowledgement counts only when it reads back."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bot.domain.inventory import Capability, Endpoint, Node
from bot.domain.playbook import Verb
from bot.domain.target import Answer, Reply, State
from bot.errors import NoAnswer
from bot.flows import respond
from bot.steps.isolate import Isolator
from bot.steps.throttle import Throttler
from tests.fakes import SIDECAR, Room, alert, config, node, person, room, with_nodes


class Switch:
    """A router and throttle that does what it says, or only says it."""

    traits = SIDECAR

    def __init__(self, *, honest: bool = True, answer: Answer = Answer.ACKNOWLEDGED) -> None:
        self.on = False
        self.honest = honest
        self.answer = answer

    async def _set(self, *, incident: str, request: str) -> Reply:
        if self.answer is Answer.UNKNOWN:
            raise NoAnswer("no answer within 5 s")
        self.on = self.on or self.honest
        return Reply(answer=self.answer, detail="done, it says")

    async def _read(self) -> bool:
        return self.on

    async def restore(self, *, incident: str, request: str) -> Reply:
        """Turn off."""
        self.on = False
        return Reply(answer=Answer.ACKNOWLEDGED, detail="serving")

    throttle = isolate = _set
    throttled = isolated = _read


class One:
    """A fleet in which one driver answers for everything."""

    def __init__(self, driver: object) -> None:
        self.driver = driver

    def reach(self, node: Node, capability: Capability) -> object | None:
        """Return it."""
        return self.driver


CASES: list[tuple[dict[str, Any], State]] = [
    ({}, State.VERIFIED),
    ({"answer": Answer.ALREADY}, State.ALREADY),
    ({"honest": False}, State.FAILED),
    ({"answer": Answer.REFUSED}, State.REFUSED),
    ({"answer": Answer.UNKNOWN}, State.UNKNOWN),
]


async def _play(tmp_path: Path, verb: Verb, switch: Switch) -> State | None:
    reach = {c: Endpoint(driver="sidecar", url="http://127.0.0.1:9000") for c in Capability}
    async with room(tmp_path, with_nodes(config(), {"s01": node("s01", reach=reach)})) as spine:
        await spine.receive(alert("AVSDeadlineMissRateHigh", signer="s01"))
        request = respond.Request(by=person("cyn"), incident=1, verb=verb, targets=("s01",))
        await spine.decide(respond.request, request)
        handlers: dict[Verb, Callable[[Room], Any]] = {
            Verb.THROTTLE: lambda s: Throttler(s.ledger, One(switch)).step,
            Verb.ISOLATE: lambda s: Isolator(s.ledger, One(switch)).isolate,
        }
        (work,) = await spine.due(f"step.{verb}")
        await handlers[verb](spine)(work)
        return (await spine.incident()).state(verb, "s01")


@pytest.mark.parametrize("verb", [Verb.THROTTLE, Verb.ISOLATE])
@pytest.mark.parametrize(("how", "state"), CASES)
async def test_what_is_said_is_what_reads_back(tmp_path: Path, verb: Verb, how: dict[str, Any], state: State) -> None:
    assert await _play(tmp_path, verb, Switch(**how)) is state


async def test_a_sev2_holds_the_throttle_for_one_person(tmp_path: Path) -> None:
    reach = {c: Endpoint(driver="sidecar", url="http://127.0.0.1:9000") for c in Capability}
    async with room(tmp_path, with_nodes(config(), {"s01": node("s01", reach=reach)})) as spine:
        await spine.receive(alert("AVSDeadlineMissRateHigh", signer="s01"))
        incident = await spine.incident()
        assert incident.state(Verb.THROTTLE, "s01") is State.HELD
        assert not any(step.verb is Verb.FREEZE for step in incident.steps.values())
