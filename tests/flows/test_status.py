"""Clocks, prompts and pages: asked in time, once, of more people when nobody answers, and not when it is over."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from bot.domain import journal as j
from bot.domain.authority import BOT
from bot.domain.playbook import Verb
from bot.domain.roles import Role
from bot.domain.severity import Severity
from bot.domain.target import State
from bot.errors import Invalid, Refused
from bot.flows import people, resolve, status
from bot.steps.timers import Timers
from tests.fakes import START, Room, alert, config, person, room


async def tick(spine: Room, audience: str = status.INTERNAL) -> timedelta | None:
    """Let a clock tick; return how long after the opening it is due again."""
    since = (await spine.incident()).severity_since
    assert since is not None
    again = await spine.decide(status.tick, status.Tick(by=BOT, incident=1, audience=audience, since=since))
    return again - START if again else None


def minutes(*values: int) -> list[timedelta]:
    """Return durations."""
    return [timedelta(minutes=value) for value in values]


@pytest.mark.parametrize(
    ("name", "audience", "due"),
    [
        ("EquivocationRiskSpike", "internal", minutes(15, 30, 45, 60, 75)),
        ("EquivocationRiskSpike", "stakeholders", minutes(15, 30, 60, 120, 180)),
        ("AVSDeadlineMissRateHigh", "internal", minutes(30, 60, 90)),
        ("PreconfirmationLatencySLO", "internal", minutes(60, 120)),
    ],
)
async def test_each_severity_has_its_cadence(spine: Room, name: str, audience: str, due: list[timedelta]) -> None:
    await spine.receive(alert(name, signer="s01"))
    found = []
    for _ in due:
        found.append(await tick(spine, audience))
        spine.clock.at = START + (found[-1] or timedelta())
    assert found == due


async def test_the_clocks_are_work_from_the_opening_on_and_survive_a_restart(spine: Room) -> None:
    await spine.receive(alert(signer="s01"))
    spine.clock.go(minutes=15)
    timers = Timers(spine.ledger)
    for work in await spine.due("clock"):
        await spine.claims.finish(work, await timers.clock(work))
    assert sorted(p.audience for p in (await spine.incident()).prompts.values()) == ["internal", "stakeholders"]
    spine.clock.go(minutes=15)
    assert len(await spine.due("clock")) == 2


async def test_overdue_prompts_collapse_into_one(spine: Room) -> None:
    await spine.receive(alert(signer="s01"))
    spine.clock.go(minutes=50)
    await tick(spine, status.STAKEHOLDERS)
    prompt = (await spine.incident()).prompts["stakeholders-1"]
    assert prompt.marks == ("15 min", "30 min")
    assert await tick(spine, status.STAKEHOLDERS) == timedelta(minutes=60)
    assert len((await spine.incident()).prompts) == 1


async def test_a_prompt_goes_to_comms_then_to_the_ic_then_to_everybody(spine: Room) -> None:
    await spine.receive(alert(signer="s01"))
    spine.clock.go(minutes=15)
    await tick(spine)
    assert (await spine.last(j.StatusPrompted)).asked == ("bo",)
    asked = []
    command = status.EscalatePrompt(by=BOT, incident=1, prompt="internal-1")
    for again in (True, False):
        spine.clock.go(minutes=5)
        assert (await spine.decide(status.escalate_prompt, command) is not None) is again
        asked.append((await spine.last(j.PromptEscalated)).asked)
    assert asked == [("ada",), ("cyn", "dan")]


async def test_an_answer_is_stored_and_ends_the_escalation(spine: Room) -> None:
    await spine.receive(alert(signer="s01"))
    spine.clock.go(minutes=15)
    await tick(spine)
    give = status.GiveStatus(by=person("bo"), incident=1, text=" four signers stopped ", prompt="internal-1")
    await spine.decide(status.give, give)
    await spine.decide(status.give, give)
    assert [w.entry.text for w in await spine.journal() if isinstance(w.entry, j.StatusGiven)] == [
        "four signers stopped"
    ]
    spine.clock.go(minutes=5)
    assert (
        await spine.decide(status.escalate_prompt, status.EscalatePrompt(by=BOT, incident=1, prompt="internal-1"))
        is None
    )
    assert "PromptEscalated" not in await spine.kinds()


@pytest.mark.parametrize(("text", "audience"), [(" ", "internal"), ("x" * 2501, "internal"), ("fine", "everybody")])
async def test_a_status_that_says_nothing_or_goes_nowhere_is_refused(spine: Room, text: str, audience: str) -> None:
    await spine.receive(alert(signer="s01"))
    with pytest.raises(Invalid):
        await spine.decide(status.give, status.GiveStatus(by=person("bo"), incident=1, text=text, audience=audience))


async def test_a_raised_severity_starts_its_own_clock_and_ends_the_old_one(spine: Room) -> None:
    await spine.receive(alert("AVSDeadlineMissRateHigh", signer="s01"))
    old = (await spine.incident()).severity_since
    assert old is not None
    spine.clock.go(minutes=10)
    await spine.receive(alert(signer="s02"))
    assert await spine.decide(status.tick, status.Tick(by=BOT, incident=1, audience="internal", since=old)) is None
    assert await tick(spine) == timedelta(minutes=25)


async def test_a_resolved_incident_asks_for_nothing(spine: Room) -> None:
    await spine.receive(alert(signer="s01"))
    await spine.run(Verb.FREEZE, State.VERIFIED)
    await spine.decide(resolve.resolve, resolve.Resolve(by=person("ada"), incident=1, summary="reverted"))
    spine.clock.go(minutes=15)
    assert await tick(spine) is None


async def test_an_unfilled_role_is_asked_for_again(tmp_path: Path) -> None:
    base = config()
    async with room(tmp_path, replace(base, team=replace(base.team, shifts=()))) as spine:
        await spine.receive(alert(signer="s01"))
        assert (await spine.kinds()).count("RoleAsked") == 4
        spine.clock.go(minutes=5)
        timers = Timers(spine.ledger)
        for work in await spine.due("role.remind"):
            await timers.role(work)
        assert (await spine.kinds()).count("RoleAsked") == 8
        await spine.decide(people.take_role, people.TakeRole(by=person("cyn"), incident=1, role=Role.IC))
        await spine.decide(people.remind_role, people.RemindRole(by=BOT, incident=1, role=Role.IC))
        assert (await spine.kinds()).count("RoleAsked") == 8


async def test_a_sev2_page_moves_along_the_line_until_somebody_acknowledges(spine: Room) -> None:
    await spine.receive(alert("AVSDeadlineMissRateHigh", signer="s01"))
    asked = []
    for _ in range(3):
        page = await spine.last(j.Paged)
        asked.append(page.people)
        spine.clock.go(minutes=5)
        await spine.decide(people.escalate, people.Escalate(by=BOT, incident=1, page=page.page))
    assert asked == [("ada",), ("bo",), ("cyn",)]
    await spine.decide(people.acknowledge, people.Acknowledge(by=person("eve"), incident=1))
    page = await spine.last(j.Paged)
    await spine.decide(people.escalate, people.Escalate(by=BOT, incident=1, page=page.page))
    assert (await spine.last(j.Paged)).page == page.page


async def test_resolving_is_the_ics_and_names_what_is_left_with_an_owner(spine: Room) -> None:
    await spine.receive(alert(signer="s01"))
    await spine.run(Verb.FREEZE, State.UNKNOWN)
    command = resolve.Resolve(by=person("cyn"), incident=1, summary="bad build reverted")
    with pytest.raises(Refused, match="Only the Incident Commander"):
        await spine.decide(resolve.resolve, command)
    await spine.decide(resolve.resolve, replace(command, by=person("ada")))
    incident = await spine.incident()
    assert [(r.node, r.state, r.owner) for r in incident.remaining] == [("s01", State.UNKNOWN, "cyn")]
    assert [a.owner for a in incident.actions.values()] == ["cyn"]
    assert len(await spine.due("postmortem")) == 1
    assert incident.peak is Severity.SEV1


async def test_each_service_s_own_channel_hears_of_it_and_else_the_general_one(tmp_path: Path) -> None:
    base = config()
    avs = {**base.inventory.avs, "oracle": replace(base.inventory.avs["oracle"], channel="oracle-people")}
    inventory = replace(base.inventory, avs=avs)
    policy = replace(base.policy, stakeholder_channel="avs-operators")
    async with room(tmp_path, replace(base, inventory=inventory, policy=policy)) as spine:
        await spine.receive(alert(signer="s01"))
        await spine.receive(alert(avs="oracle", signer="o1"))
        for number in (1, 2):
            command = status.GiveStatus(by=person("bo"), incident=number, text="soon", audience="stakeholders")
            await spine.decide(status.give, command)
        shared = {w.incident: w.body["to"] for w in await spine.due("slack.share")}
        assert shared == {1: "avs-operators", 2: "oracle-people"}
