"""Break-glass: off unless policy turns it on; late, loud, and stopped by anybody who may reject."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from bot.domain import journal as j
from bot.domain.authority import BOT
from bot.domain.playbook import Verb
from bot.domain.severity import Severity
from bot.domain.target import State
from bot.errors import Invalid, Refused
from bot.flows import approve, glass, halt, intake, people, resolve, respond
from tests.fakes import Room, config, person, room

DELAY = timedelta(minutes=10)


@pytest.fixture
async def alone(tmp_path: Path) -> AsyncIterator[Room]:
    base = config()
    allowed = replace(base, policy=replace(base.policy, break_glass_after=DELAY))
    async with room(tmp_path, allowed) as spine:
        await frozen(spine)
        yield spine


async def frozen(spine: Room) -> None:
    await spine.decide(intake.declare, intake.Declare(by=person("ada"), severity=Severity.SEV1, summary="x"))
    command = respond.Request(by=person("ada"), incident=1, verb=Verb.FREEZE, targets=("s01",))
    await spine.decide(respond.request, command)
    await spine.run(Verb.FREEZE, State.VERIFIED)
    ask = respond.Request(by=person("ada"), incident=1, verb=Verb.UNFREEZE, targets=("s01",))
    await spine.decide(respond.request, ask)


def breaking(who: str = "ada", reason: str = "nobody answers, the quorum is gone") -> glass.BreakGlass:
    return glass.BreakGlass(by=person(who), incident=1, reason=reason)


async def due(spine: Room) -> None:
    for work in await spine.due("glass"):
        command = glass.GlassDue(by=BOT, incident=1, approval=work.body["approval"])
        await spine.decide(glass.glass_due, command)


async def begin(spine: Room) -> respond.Go:
    go: respond.Go = await spine.decide(respond.begin, respond.Begin(by=BOT, incident=1, step="unfreeze-1"))
    return go


async def test_without_the_policy_nobody_goes_on_alone(spine: Room) -> None:
    await frozen(spine)
    with pytest.raises(Refused, match="break_glass_after"):
        await spine.decide(glass.break_glass, breaking())


async def test_it_pages_everybody_waits_and_then_one_person_is_enough(alone: Room) -> None:
    await alone.decide(glass.break_glass, breaking())
    paged = await alone.last(j.Paged)
    assert paged.people == ("ada", "bo", "cyn", "dan", "eve")
    assert "BREAK-GLASS: Ada" in paged.reason
    alone.clock.go(seconds=DELAY.total_seconds() - 1)
    await due(alone)
    assert "unfreeze-1" not in (await alone.incident()).steps
    alone.clock.go(seconds=2)
    await due(alone)
    go = await begin(alone)
    assert (go.targets, go.off) == (("s01",), None)


async def test_breaking_it_twice_is_breaking_it_once(alone: Room) -> None:
    await alone.decide(glass.break_glass, breaking())
    await alone.decide(glass.break_glass, breaking())
    assert (await alone.kinds()).count("GlassBroken") == 1


async def test_a_rejection_within_the_delay_ends_it(alone: Room) -> None:
    await alone.decide(glass.break_glass, breaking())
    (asked,) = (await alone.incident()).approvals
    await alone.decide(approve.approve, approve.Approve(by=person("bo"), incident=1, approval=asked, reject=True))
    alone.clock.go(minutes=11)
    await due(alone)
    assert "unfreeze-1" not in (await alone.incident()).steps


async def test_a_second_person_makes_it_an_ordinary_agreement(alone: Room) -> None:
    await alone.decide(glass.break_glass, breaking())
    (asked,) = (await alone.incident()).approvals
    await alone.decide(approve.approve, approve.Approve(by=person("bo"), incident=1, approval=asked))
    alone.clock.go(minutes=4)
    assert (await begin(alone)).targets == ("s01",)
    alone.clock.go(minutes=7)
    await due(alone)
    assert list((await alone.incident()).steps) == ["freeze-1", "unfreeze-1"]


@pytest.mark.parametrize(
    ("command", "why"),
    [
        (breaking("bo"), "Ask for the step first"),
        (breaking("eve"), "Ask for the step first"),
        (breaking(reason=" "), "Say why"),
    ],
    ids=["another person", "somebody without the power", "no reason"],
)
async def test_who_may_not_break_it(alone: Room, command: glass.BreakGlass, why: str) -> None:
    with pytest.raises((Refused, Invalid), match=why):
        await alone.decide(glass.break_glass, command)
    assert "GlassBroken" not in await alone.kinds()


async def test_somebody_elses_request_cannot_be_broken_by_its_id(alone: Room) -> None:
    (asked,) = (await alone.incident()).approvals
    with pytest.raises(Refused, match="somebody else's request"):
        await alone.decide(glass.break_glass, replace(breaking("bo"), approval=asked))


async def test_under_halt_nothing_starts_this_way_either(alone: Room) -> None:
    await alone.decide(halt.halt, halt.Halt(by=person("bo"), reason="stop"))
    with pytest.raises(Refused, match="halted"):
        await alone.decide(glass.break_glass, breaking())


async def test_its_request_outlives_the_delay_and_expires_afterwards(alone: Room) -> None:
    alone.clock.go(minutes=25)
    await alone.decide(glass.break_glass, breaking())
    alone.clock.go(minutes=6)
    (work,) = await alone.due("approval.expire")
    command = approve.Expire(by=BOT, incident=1, approval=work.body["approval"])
    again = await alone.decide(approve.expire, command)
    assert again is not None
    assert again > alone.clock.now()
    alone.clock.go(hours=2)
    assert await alone.decide(approve.expire, command) is None
    assert (await alone.last(j.ApprovalEnded)).how == "expired"


async def test_nobody_silences_the_alarm_about_themselves(alone: Room) -> None:
    await alone.decide(glass.break_glass, breaking())
    await alone.decide(people.acknowledge, people.Acknowledge(by=person("ada"), incident=1))
    incident = await alone.incident()
    [alarm] = [p for p in incident.pages.values() if p.approval]
    assert incident.calls(alarm)
    await alone.decide(people.acknowledge, people.Acknowledge(by=person("bo"), incident=1))
    incident = await alone.incident()
    assert not incident.calls(incident.pages[alarm.id])


async def test_it_is_not_hidden_behind_a_resolution(alone: Room) -> None:
    await alone.decide(glass.break_glass, breaking())
    with pytest.raises(Refused, match="go on alone"):
        await alone.decide(resolve.resolve, resolve.Resolve(by=person("ada"), incident=1, summary="over"))


async def test_on_an_incident_that_is_over_people_are_called_all_the_same(alone: Room) -> None:
    await alone.decide(resolve.resolve, resolve.Resolve(by=person("ada"), incident=1, summary="over"))
    alone.clock.go(seconds=1)
    await alone.decide(glass.break_glass, breaking())
    incident = await alone.incident()
    assert [p.people for p in incident.pages.values() if incident.calls(p) and p.approval] == [
        ("ada", "bo", "cyn", "dan", "eve")
    ]


async def test_whoever_may_respond_may_stop_it(alone: Room) -> None:
    await alone.decide(glass.break_glass, breaking())
    (asked,) = (await alone.incident()).approvals
    stop = approve.Approve(by=person("eve"), incident=1, approval=asked, reject=True)
    await alone.decide(approve.approve, stop)
    alone.clock.go(minutes=11)
    await due(alone)
    assert "unfreeze-1" not in (await alone.incident()).steps


async def test_hours_later_nothing_happens_any_more(alone: Room) -> None:
    await alone.decide(glass.break_glass, breaking())
    alone.clock.go(hours=12)
    await due(alone)
    assert "unfreeze-1" not in (await alone.incident()).steps
