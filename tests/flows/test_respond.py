"""Freezing, holding, approving, unfreezing, halting: who may, when, and what it means."""

from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from bot.domain import journal as j
from bot.domain.authority import BOT, Actor
from bot.domain.config import Config
from bot.domain.incident import Incident, Status
from bot.domain.inventory import Capability, RollbackContract
from bot.domain.journal import TargetReport
from bot.domain.playbook import OnFailure, Pages, Verb
from bot.domain.policy import FreezeBudget, Policy
from bot.domain.severity import Severity
from bot.domain.target import State
from bot.errors import Halted, Invalid, NotFound, Refused
from bot.flows import approve, halt, intake, outcomes, people, respond
from tests.fakes import Room, alert, config, node, person, room, with_nodes


def ask(who: str, verb: Verb, *targets: str) -> respond.Request:
    """Return a person's request."""
    return respond.Request(by=person(who), incident=1, verb=verb, targets=targets)


async def opened(spine: Room, *signers: str) -> Incident:
    """Open an equivocation incident on some signers and let the playbook begin."""
    await spine.receive(*(alert(signer=s) for s in signers))
    await spine.advance()
    return await spine.incident()


async def test_the_bot_freezes_up_to_its_budget_and_holds_the_rest_with_the_quorum_named(spine: Room) -> None:
    incident = await opened(spine, "s01", "s02", "s03")
    assert incident.steps["freeze-1"].targets == ("s01",)
    held = await spine.last(j.TargetsHeld)
    assert held.targets == ("s02", "s03")
    assert held.reason == "the freeze budget of 1 of 20 is used; freezing these leaves 17 of 20 signing, quorum 14"
    assert "wait for one person's freeze" in (await spine.last(j.Paged)).reason


async def test_the_budget_is_rolling_and_counts_across_incidents(spine: Room) -> None:
    await opened(spine, "s01")
    await spine.receive(
        replace(
            alert("SignerMisbehaviour", signer="s02"),
            labels={
                "alertname": "SignerMisbehaviour",
                "avs": "sequencer",
                "signer": "s02",
                "severity": "page",
                "epoch": "x",
            },
        )
    )
    await spine.advance()
    assert (await spine.incident()).state(Verb.FREEZE, "s02") is State.HELD
    spine.clock.go(minutes=61)
    await spine.receive(alert(signer="s05"))
    await spine.advance()
    assert (await spine.incident()).steps["freeze-2"].targets == ("s05",)


async def test_one_person_freezes_what_is_held(spine: Room) -> None:
    await opened(spine, "s01", "s02", "s03")
    done = await spine.decide(respond.request, ask("cyn", Verb.FREEZE))
    assert done.targets == ("s02", "s03")
    go = await spine.decide(respond.begin, respond.Begin(by=BOT, incident=1, step=done.step))
    assert go.targets == ("s02", "s03")


@pytest.mark.parametrize("word", ["*", "all", "ALL", "fleet"])
async def test_wildcards_are_refused(spine: Room, word: str) -> None:
    await opened(spine, "s01")
    with pytest.raises(Invalid, match="name each node"):
        await spine.decide(respond.request, ask("cyn", Verb.FREEZE, word))


async def test_an_empty_target_set_is_never_all(spine: Room) -> None:
    await spine.decide(intake.declare, intake.Declare(by=person("ada"), severity=Severity.SEV1, summary="odd"))
    with pytest.raises(Invalid, match="Name the targets"):
        await spine.decide(respond.request, ask("cyn", Verb.FREEZE))


@pytest.mark.parametrize(
    ("by", "error"),
    [(person("eve"), "power 'freeze'"), (Actor(person="mallory", via="slack"), "not in team.yaml")],
)
async def test_who_may_not_freeze_is_refused_and_journalled(spine: Room, by: Actor, error: str) -> None:
    await opened(spine, "s01")
    with pytest.raises(Refused, match=error):
        await spine.decide(respond.request, replace(ask("cyn", Verb.FREEZE, "s02"), by=by))
    assert (await spine.last(j.CommandRefused)).command == "Request"


async def test_an_unknown_node_is_named(spine: Room) -> None:
    await opened(spine, "s01")
    with pytest.raises(NotFound, match="no node 's99'"):
        await spine.decide(respond.request, ask("cyn", Verb.FREEZE, "s99"))


@pytest.mark.parametrize(
    "name", ["AVSDeadlineMissRateCritical", "PreconfirmationLatencySLO", "DAPostingLag", "ExporterBlackhole"]
)
async def test_only_safety_runbooks_freeze_automatically(spine: Room, name: str) -> None:
    await spine.receive(alert(name, signer="s01", instance="s01:9100"))
    await spine.decide(people.set_severity, people.SetSeverity(by=person("ada"), incident=1, severity=Severity.SEV1))
    await spine.advance()
    incident = await spine.incident()
    assert not any(step.verb is Verb.FREEZE for step in incident.steps.values())


async def test_a_destructive_freeze_without_escrow_waits_for_a_person(tmp_path: Path) -> None:
    nodes = {"s01": node("s01", driver="keymanager"), "s02": node("s02", driver="keymanager", escrow=True)}
    policy = Policy(budget=FreezeBudget(fraction=0.5))
    async with room(tmp_path, with_nodes(config(policy=policy), nodes)) as spine:
        incident = await opened(spine, "s01", "s02")
        assert incident.steps["freeze-1"].targets == ("s02",)
        assert "no escrow" in incident.tracks[Verb.FREEZE]["s01"].detail


@pytest.mark.parametrize("verb", [Verb.FREEZE, Verb.ISOLATE])
async def test_what_was_proven_against_an_emulator_only_is_never_automatic_but_evidence_is(
    tmp_path: Path, verb: Verb
) -> None:
    doubted, sure = node("s01", driver="emulated"), node("s02")
    if verb is Verb.ISOLATE:  # its signer is proven, its router is not
        doubted = replace(doubted, reach={**doubted.reach, Capability.SIGNER: sure.reach[Capability.SIGNER]})
    policy = Policy(budget=FreezeBudget(fraction=1.0))
    async with room(tmp_path, with_nodes(config(policy=policy), {"s01": doubted, "s02": sure})) as spine:
        await opened(spine, "s01", "s02")
        for done in (Verb.FREEZE, Verb.CAPTURE):
            await spine.run(done, State.VERIFIED)
            await spine.advance()
        incident = await spine.incident()
        assert incident.tracks[verb]["s01"].state is State.HELD
        assert "emulator" in incident.tracks[verb]["s01"].detail
        assert {n for s in incident.steps.values() if s.verb is verb for n in s.targets} == {"s02"}
        assert {n for s in incident.steps.values() if s.verb is Verb.CAPTURE for n in s.targets} == {"s01", "s02"}


async def test_contained_when_every_suspect_is_proven_and_reopened_when_a_proof_is_revoked(spine: Room) -> None:
    await opened(spine, "s01")
    await spine.run(Verb.FREEZE, State.ACKNOWLEDGED)
    assert (await spine.incident()).status is Status.OPEN
    await spine.decide(outcomes.report, _report("s01", State.VERIFIED, "flat"))
    assert (await spine.incident()).status is Status.CONTAINED
    await spine.decide(outcomes.report, _report("s01", State.FAILED, "counter rose 5 to 6"))
    incident = await spine.incident()
    assert incident.status is Status.OPEN
    assert "no longer proven on s01: counter rose" in (await spine.last(j.Paged)).reason


def _report(name: str, state: State, detail: str) -> outcomes.Report:
    reports = (TargetReport(node=name, state=state, detail=detail, watched=True),)
    return outcomes.Report(by=BOT, incident=1, step="freeze-1", verb=Verb.FREEZE, reports=reports)


async def test_the_ic_may_say_contained_with_a_reason(spine: Room) -> None:
    await opened(spine, "s01")
    with pytest.raises(Refused, match="Only the Incident Commander"):
        await spine.decide(outcomes.contain, outcomes.Contain(by=person("cyn"), incident=1, reason="power cut"))
    await spine.decide(outcomes.contain, outcomes.Contain(by=person("ada"), incident=1, reason="power cut"))
    assert (await spine.incident()).status is Status.CONTAINED


async def test_capture_goes_on_for_held_targets_and_isolation_waits_for_the_decision(spine: Room) -> None:
    await opened(spine, "s01", "s02")
    await spine.run(Verb.FREEZE, State.ACKNOWLEDGED)
    await spine.advance()
    incident = await spine.incident()
    assert {n for s in incident.steps.values() if s.verb is Verb.CAPTURE for n in s.targets} == {"s01", "s02"}
    await spine.run(Verb.CAPTURE, State.VERIFIED)
    await spine.advance()
    isolated = {n for s in (await spine.incident()).steps.values() if s.verb is Verb.ISOLATE for n in s.targets}
    assert isolated == {"s01"}


async def _to_rollback(spine: Room, *, symptom: bool | None, capture: State = State.VERIFIED) -> Incident:
    await opened(spine, "s01")
    for verb, state in ((Verb.FREEZE, State.VERIFIED), (Verb.CAPTURE, capture), (Verb.ISOLATE, State.VERIFIED)):
        await spine.run(verb, state)
        following = await spine.advance()
    assert not following.symptom
    spine.clock.go(minutes=5)
    assert (await spine.advance()).symptom is (capture is State.VERIFIED)
    await spine.advance(asked=True, symptom=symptom)
    return await spine.incident()


@pytest.mark.parametrize(
    ("symptom", "state", "words"),
    [
        (True, State.HELD, "the symptom persists; it takes one person"),
        (None, State.HELD, "nobody can tell whether the symptom persists"),
        (False, State.WAIVED, "the symptom is gone"),
    ],
)
async def test_a_rollback_is_proposed_after_five_minutes_if_the_symptom_persists(
    spine: Room, symptom: bool | None, state: State, words: str
) -> None:
    track = (await _to_rollback(spine, symptom=symptom)).tracks[Verb.ROLLBACK]["s01"]
    assert track.state is state
    assert words in track.detail


async def test_no_rollback_before_the_capture_is_finished_or_waived(spine: Room) -> None:
    incident = await _to_rollback(spine, symptom=True, capture=State.FAILED)
    assert Verb.ROLLBACK not in incident.tracks


async def test_a_rollback_with_a_tested_contract_needs_one_person_any_other_two(tmp_path: Path) -> None:
    stale = RollbackContract(build_hash="sha256:b", tested_on=None)
    async with room(tmp_path, with_nodes(config(), {"s02": node("s02", rollback=stale)})) as spine:
        await opened(spine, "s01", "s02")
        one = await spine.decide(respond.request, ask("cyn", Verb.ROLLBACK, "s01"))
        assert one.step == "rollback-1"
        two = await spine.decide(respond.request, ask("cyn", Verb.ROLLBACK, "s02"))
        assert (two.step, two.approval is not None) == (None, True)


async def _frozen(spine: Room) -> str:
    await opened(spine, "s01")
    await spine.run(Verb.FREEZE, State.VERIFIED)
    await spine.run(Verb.CAPTURE, State.VERIFIED)
    asked = await spine.decide(respond.request, ask("cyn", Verb.UNFREEZE, "s01"))
    approval: str = asked.approval
    return approval


def agree(who: str, approval: str | None) -> approve.Approve:
    """Return a person's agreement."""
    return approve.Approve(by=person(who), incident=1, approval=approval)


async def test_unfreeze_takes_two_different_people(spine: Room) -> None:
    approval = await _frozen(spine)
    with pytest.raises(Refused, match="different person"):
        await spine.decide(approve.approve, agree("cyn", approval))
    with pytest.raises(Refused, match="power 'unfreeze'"):
        await spine.decide(approve.approve, agree("eve", approval))
    await spine.decide(approve.approve, agree("ada", approval))
    with pytest.raises(Refused, match="agreed to already"):
        await spine.decide(approve.approve, agree("bo", approval))
    go = await spine.decide(respond.begin, respond.Begin(by=BOT, incident=1, step="unfreeze-1"))
    assert go.targets == ("s01",)
    assert (await spine.incident()).approvals[approval].ended == "used"


async def test_a_request_expires_after_thirty_minutes_and_an_agreement_after_five(spine: Room) -> None:
    approval = await _frozen(spine)
    spine.clock.go(minutes=31)
    with pytest.raises(Refused, match="expired"):
        await spine.decide(approve.approve, agree("ada", approval))
    await spine.decide(approve.expire, approve.Expire(by=BOT, incident=1, approval=approval))
    again = await spine.decide(respond.request, ask("cyn", Verb.UNFREEZE, "s01"))
    await spine.decide(approve.approve, agree("ada", again.approval))
    spine.clock.go(minutes=6)
    go = await spine.decide(respond.begin, respond.Begin(by=BOT, incident=1, step="unfreeze-1"))
    assert (go.targets, go.off) == ((), "the approval expired before the step began")


async def test_what_changed_since_is_not_done(tmp_path: Path) -> None:
    async with room(tmp_path) as spine:
        approval = await _frozen(spine)
        changed = with_nodes(spine.ledger.world.config, {"s01": node("s01", keys=("0xother",))})
        spine.ledger.world = replace(spine.ledger.world, config=changed)
        with pytest.raises(Refused, match="changed in the inventory"):
            await spine.decide(approve.approve, agree("ada", approval))


async def test_powers_are_checked_again_when_the_step_begins(spine: Room) -> None:
    approval = await _frozen(spine)
    await spine.decide(approve.approve, agree("ada", approval))
    team = spine.ledger.world.config.team
    weaker = replace(team, people={**team.people, "ada": replace(team.people["ada"], powers=frozenset())})
    spine.ledger.world = replace(spine.ledger.world, config=replace(spine.ledger.world.config, team=weaker))
    go = await spine.decide(respond.begin, respond.Begin(by=BOT, incident=1, step="unfreeze-1"))
    assert go.off == "ada no longer holds the power 'unfreeze'"


async def test_unfreeze_is_refused_while_another_holder_of_the_key_may_sign(tmp_path: Path) -> None:
    twins = {"s01": node("s01", keys=("0xk",)), "s02": node("s02", keys=("0xk",))}
    async with room(tmp_path, with_nodes(config(), twins)) as spine:
        approval = await _frozen(spine)
        await spine.decide(approve.approve, agree("ada", approval))
        go = await spine.decide(respond.begin, respond.Begin(by=BOT, incident=1, step="unfreeze-1"))
        assert go.off == "s02 holds the same key as s01 and is not proven stopped"


async def test_halt_stops_automation_and_starting_but_not_one_persons_freeze(spine: Room) -> None:
    await spine.decide(halt.halt, halt.Halt(by=person("bo"), reason="freezes healthy nodes"))
    await spine.receive(alert(signer="s01"))
    incident = await spine.incident()
    assert incident.tracks[Verb.FREEZE]["s01"].detail == "automation is halted: freeze by hand"
    assert (
        "automation halted: freeze by hand" in (await spine.last(j.Paged)).reason
        or "halted" in (await spine.last(j.Paged)).reason
    )
    by_hand = await spine.decide(respond.request, ask("cyn", Verb.FREEZE, "s01"))
    go = await spine.decide(respond.begin, respond.Begin(by=BOT, incident=1, step=by_hand.step))
    assert go.targets == ("s01",)
    for verb in (Verb.UNFREEZE, Verb.ROLLBACK):
        with pytest.raises(Halted):
            await spine.decide(respond.request, ask("cyn", verb, "s01"))


async def test_a_planned_automatic_step_does_not_begin_under_halt(spine: Room) -> None:
    await opened(spine, "s01")
    await spine.decide(halt.halt, halt.Halt(by=person("bo"), reason="stop"))
    go = await spine.decide(respond.begin, respond.Begin(by=BOT, incident=1, step="freeze-1"))
    assert go.targets == ()
    assert "halted" in (go.off or "")
    assert (await spine.incident()).state(Verb.FREEZE, "s01") is State.HELD


async def test_rearming_takes_two_people(spine: Room) -> None:
    await spine.decide(halt.halt, halt.Halt(by=person("bo"), reason="stop"))
    assert (await spine.decide(halt.rearm, halt.Rearm(by=person("ada")))).halted
    with pytest.raises(Refused, match="different person"):
        await spine.decide(halt.rearm, halt.Rearm(by=person("ada")))
    assert not (await spine.decide(halt.rearm, halt.Rearm(by=person("cyn")))).halted


async def test_an_interrupted_step_goes_on_with_what_has_no_outcome(spine: Room) -> None:
    await opened(spine, "s01")
    begin = respond.Begin(by=BOT, incident=1, step="freeze-1")
    first = await spine.decide(respond.begin, begin)
    again = await spine.decide(respond.begin, begin)
    assert (first.resumed, again.resumed, again.targets) == (False, True, ("s01",))


def _with_step(verb: Verb, **change: object) -> Config:
    base = config()
    book = base.playbooks["sev1"]
    steps = tuple(replace(s, **change) if s.step is verb else s for s in book.steps)  # type: ignore[arg-type]
    return replace(base, playbooks={**base.playbooks, "sev1": replace(book, steps=steps)})


@pytest.mark.parametrize(
    ("on_failure", "pages", "follows"),
    [(OnFailure.PAGE, True, True), (OnFailure.HOLD, False, False), (OnFailure.GO_ON, False, True)],
)
async def test_a_failed_step_does_what_the_playbook_says(
    tmp_path: Path, on_failure: OnFailure, pages: bool, follows: bool
) -> None:
    async with room(tmp_path, _with_step(Verb.CAPTURE, on_failure=on_failure)) as spine:
        await opened(spine, "s01")
        await spine.run(Verb.FREEZE, State.VERIFIED)
        await spine.advance()
        await spine.run(Verb.CAPTURE, State.FAILED)
        await spine.advance()
        assert ("capture failed on s01" in (await spine.last(j.Paged)).reason) is pages
        assert (await spine.incident()).waiting_for("s01", Verb.ISOLATE) is follows


async def test_the_playbook_says_whom_an_incident_pages(tmp_path: Path) -> None:
    base = config()
    quiet = {**base.playbooks, "sev1": replace(base.playbooks["sev1"], page=Pages.PRIMARY)}
    async with room(tmp_path, replace(base, playbooks=quiet)) as spine:
        await spine.receive(alert(signer="s01"))
        assert (await spine.last(j.Paged)).people == ("ada",)


async def test_what_goes_wrong_within_a_minute_is_paged_together(spine: Room) -> None:
    await spine.receive(alert(signer="s01"))
    names = tuple(f"s{n:02}" for n in range(1, 6))
    await spine.decide(respond.request, ask("ada", Verb.FREEZE, *names))
    step = next(s for s in (await spine.incident()).steps.values() if s.requester == "ada")
    await spine.decide(respond.begin, respond.Begin(by=BOT, incident=1, step=step.id))
    for name in names:
        reports = (j.TargetReport(node=name, state=State.UNKNOWN, detail="no answer"),)
        command = outcomes.Report(by=BOT, incident=1, step=step.id, verb=Verb.FREEZE, reports=reports)
        await spine.decide(outcomes.report, command)
        spine.clock.go(seconds=1)
    reasons = [p.reason for p in (await spine.incident()).pages.values() if "not in force" in p.reason]
    assert reasons == ["freeze not in force on s01: no answer"]
    assert await spine.due("page.more") == ()
    spine.clock.go(seconds=60)
    (work,) = await spine.due("page.more")
    since = datetime.fromisoformat(work.body["since"])
    more = outcomes.PageMore(by=BOT, incident=1, cause=work.body["cause"], since=since)
    await spine.decide(outcomes.page_more, more)
    await spine.decide(outcomes.page_more, more)
    reasons = [p.reason for p in (await spine.incident()).pages.values() if "not in force" in p.reason]
    assert reasons[1:] == ["freeze not in force on s02, s03, s04, s05: no answer"]


async def test_what_was_mended_within_the_minute_is_not_paged_for(spine: Room) -> None:
    await spine.receive(alert(signer="s01"))
    await spine.decide(respond.request, ask("ada", Verb.FREEZE, "s01", "s02"))
    step = next(s for s in (await spine.incident()).steps.values() if s.requester == "ada")
    await spine.decide(respond.begin, respond.Begin(by=BOT, incident=1, step=step.id))
    for name, state in (("s01", State.UNKNOWN), ("s02", State.UNKNOWN), ("s02", State.VERIFIED)):
        reports = (j.TargetReport(node=name, state=state, detail="so it says"),)
        command = outcomes.Report(by=BOT, incident=1, step=step.id, verb=Verb.FREEZE, reports=reports)
        await spine.decide(outcomes.report, command)
    spine.clock.go(seconds=61)
    (work,) = await spine.due("page.more")
    since = datetime.fromisoformat(work.body["since"])
    more = outcomes.PageMore(by=BOT, incident=1, cause=work.body["cause"], since=since)
    await spine.decide(outcomes.page_more, more)
    assert sum("not in force" in p.reason for p in (await spine.incident()).pages.values()) == 1
