"""Throttle, isolate and roll back: an acknowledgement counts only when it reads back."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bot.domain import journal as j
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


@pytest.mark.parametrize(
    ("verb", "lost"), [(Verb.ISOLATE, "no longer out of traffic"), (Verb.THROTTLE, "no longer li")]
)
async def test_what_a_reload_undoes_is_noticed_and_paged_and_never_sent_again(
    tmp_path: Path, verb: Verb, lost: str
) -> None:
    reach = {c: Endpoint(driver="sidecar", url="http://127.0.0.1:9000") for c in Capability}
    async with room(tmp_path, with_nodes(config(), {"s01": node("s01", reach=reach)})) as spine:
        switch = Watched()
        made = Throttler(spine.ledger, One(switch)).step if verb is Verb.THROTTLE else None
        handler = made or Isolator(spine.ledger, One(switch)).isolate

        async def turn() -> State | None:
            for work in await spine.due(f"step.{verb}"):
                await spine.claims.finish(work, await handler(work))
            return (await spine.incident()).state(verb, "s01")

        await spine.receive(alert("AVSDeadlineMissRateHigh", signer="s01"))
        await spine.decide(respond.request, respond.Request(by=person("cyn"), incident=1, verb=verb, targets=("s01",)))
        assert await turn() is State.VERIFIED
        entries = len(await spine.journal())
        spine.clock.go(minutes=2)
        assert await turn() is State.VERIFIED
        assert len(await spine.journal()) == entries, "nothing is news"

        switch.on = False
        spine.clock.go(minutes=2)
        assert await turn() is State.FAILED
        assert f"{verb} no longer in force on s01: {lost}" in (await spine.last(j.Paged)).reason
        switch.on = None
        spine.clock.go(minutes=2)
        assert await turn() is State.UNKNOWN
        switch.on = True  # somebody did it again by hand
        spine.clock.go(minutes=2)
        assert await turn() is State.VERIFIED
        assert switch.asked == 1
        pages = [w.entry for w in await spine.journal() if isinstance(w.entry, j.Paged)]
        assert sum("no longer in force" in one.reason for one in pages) == 1

        if verb is Verb.ISOLATE:
            await spine.decide(
                respond.request, respond.Request(by=person("cyn"), incident=1, verb=Verb.RESTORE, targets=("s01",))
            )
            await spine.run(Verb.RESTORE, State.VERIFIED)
            spine.clock.go(minutes=2)
            assert await turn() is None
            assert await spine.due(f"step.{verb}") == ()


class Watched(Switch):
    """A switch that counts what it is asked, and cannot be read while `on` is None."""

    asked = 0
    on: bool | None  # type: ignore[assignment]

    async def _set(self, *, incident: str, request: str) -> Reply:
        self.asked += 1
        return await super()._set(incident=incident, request=request)

    async def _read(self) -> bool:
        if self.on is None:
            raise NoAnswer("no answer within 5 s")
        return self.on

    throttle = isolate = _set
    throttled = isolated = _read
