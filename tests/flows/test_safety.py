"""What an adversarial review found: each test says what must hold however things go wrong."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bot.domain import journal as j
from bot.domain.authority import BOT
from bot.domain.incident import Status
from bot.domain.inventory import Avs, Capability, Node, RollbackContract
from bot.domain.journal import TargetReport
from bot.domain.playbook import Verb
from bot.domain.severity import Severity
from bot.domain.target import Answer, KeyReading, Release, Reply, Sample, State
from bot.domain.work import Dead
from bot.errors import Misconfigured, NodeRefused, NotReached, Refused
from bot.flows import approve, halt, intake, outcomes, people, record, resolve, respond
from bot.steps.evidence import Keeper
from bot.steps.freeze import Freezer
from bot.steps.rollback import Rollbacker
from bot.steps.unfreeze import Unfreezer
from bot.vault.folder import Folder
from tests.fakes import GOOD_BUILD, SIDECAR, FakeSigner, Room, alert, config, node, person, room, with_nodes


def ask(who: str, verb: Verb, *targets: str, number: int = 1) -> respond.Request:
    return respond.Request(by=person(who), incident=number, verb=verb, targets=targets)


async def opened(spine: Room, *signers: str) -> None:
    await spine.receive(*(alert(signer=s) for s in signers))
    await spine.advance()


async def told(spine: Room, name: str, state: State, *, step: str = "freeze-1", verb: Verb = Verb.FREEZE) -> None:
    reports = (TargetReport(node=name, state=state, detail=f"{state} now", watched=True),)
    await spine.decide(outcomes.report, outcomes.Report(by=BOT, incident=1, step=step, verb=verb, reports=reports))


async def two(spine: Room, verb: Verb, *targets: str) -> None:
    asked = await spine.decide(respond.request, ask("cyn", verb, *targets))
    await spine.decide(approve.approve, approve.Approve(by=person("ada"), incident=1, approval=asked.approval))


async def begin(spine: Room, step: str, number: int = 1) -> respond.Go:
    go: respond.Go = await spine.decide(respond.begin, respond.Begin(by=BOT, incident=number, step=step))
    return go


def shared_key() -> Any:
    return with_nodes(config(), {"s01": node("s01", keys=("0xk",)), "s02": node("s02", keys=("0xk",))})


async def test_two_holders_of_one_key_are_not_unfrozen_by_one_step(tmp_path: Path) -> None:
    async with room(tmp_path, shared_key()) as spine:
        await opened(spine, "s01")
        await spine.decide(respond.request, ask("cyn", Verb.FREEZE, "s01", "s02"))
        await spine.run(Verb.FREEZE, State.VERIFIED)
        await two(spine, Verb.UNFREEZE, "s01", "s02")
        assert (await begin(spine, "unfreeze-1")).targets == ()


async def test_two_holders_of_one_key_are_not_unfrozen_by_two_steps(tmp_path: Path) -> None:
    async with room(tmp_path, shared_key()) as spine:
        await opened(spine, "s01")
        await spine.decide(respond.request, ask("cyn", Verb.FREEZE, "s01", "s02"))
        await spine.run(Verb.FREEZE, State.VERIFIED)
        await two(spine, Verb.UNFREEZE, "s01")
        await two(spine, Verb.UNFREEZE, "s02")
        assert (await begin(spine, "unfreeze-1")).targets == ("s01",)
        assert (await begin(spine, "unfreeze-2")).targets == ()


async def test_what_two_people_unfroze_is_not_frozen_again_by_the_playbook(spine: Room) -> None:
    await opened(spine, "s01")
    await spine.run(Verb.FREEZE, State.VERIFIED)
    await two(spine, Verb.UNFREEZE, "s01")
    await spine.run(Verb.UNFREEZE, State.VERIFIED)
    await spine.advance()
    assert "freeze-2" not in (await spine.incident()).steps


async def test_what_a_person_restored_is_not_isolated_again_by_the_playbook(spine: Room) -> None:
    await opened(spine, "s01")
    for verb in (Verb.FREEZE, Verb.CAPTURE, Verb.ISOLATE):
        await spine.run(verb, State.VERIFIED)
        await spine.advance()
    await spine.decide(respond.request, ask("cyn", Verb.RESTORE, "s01"))
    await spine.run(Verb.RESTORE, State.VERIFIED)
    await spine.advance()
    assert "isolate-2" not in (await spine.incident()).steps


async def test_the_budget_holds_whatever_the_order_of_suspects(spine: Room) -> None:
    await opened(spine, "s01")  # spends the budget of one
    await spine.run(Verb.FREEZE, State.VERIFIED)
    await spine.advance()
    await spine.run(Verb.CAPTURE, State.VERIFIED)
    await spine.advance()
    await spine.run(Verb.ISOLATE, State.VERIFIED)
    await spine.decide(resolve.resolve, resolve.Resolve(by=person("ada"), incident=1, summary="over"))
    start = "2026-11-20T03:05:00Z"
    await spine.receive(alert(signer="s02", start=start), alert(signer="s01", start=start))
    incident = await spine.incident(2)
    assert incident.steps["freeze-1"].targets == ("s01",)
    assert incident.state(Verb.FREEZE, "s02") is State.HELD


async def test_a_buried_step_does_not_keep_people_from_freezing_or_resolving(spine: Room) -> None:
    await opened(spine, "s01")
    await begin(spine, "freeze-1")
    (work,) = await spine.due("step.freeze")
    await spine.claims.finish(work, Dead(why="OSError: disk full"))
    entry = j.WorkBuried(work=work.key, kind=work.kind, reason="OSError: disk full")
    await spine.decide(outcomes.bury, outcomes.Bury(by=BOT, incident=1, entry=entry, step="freeze-1"))
    assert "given up: OSError: disk full" in (await spine.last(j.Paged)).reason
    done = await spine.decide(respond.request, ask("cyn", Verb.FREEZE, "s01"))
    assert done.step is not None, done.text


class SlowSigner(FakeSigner):
    async def freeze(self, keys: Sequence[str], *, incident: str, request: str) -> Reply:
        await asyncio.sleep(0.5)
        return await super().freeze(keys, incident=incident, request=request)


class OneBroken:
    def __init__(self, good: FakeSigner) -> None:
        self.good = good

    def reach(self, node: Node, capability: Capability) -> object | None:
        if node.name == "s01":
            raise Misconfigured(["the token file:/run/s01 cannot be read"])
        return self.good


async def test_one_broken_target_does_not_keep_the_others_from_being_frozen(spine: Room, tmp_path: Path) -> None:
    await opened(spine, "s01")
    await spine.decide(respond.request, ask("cyn", Verb.FREEZE, "s02"))
    await spine.decide(respond.request, ask("cyn", Verb.FREEZE, "s03", "s01"))
    signer = SlowSigner(spine.clock)
    freezer = Freezer(spine.ledger, OneBroken(signer), Keeper(spine.ledger, Folder(tmp_path)))
    # a person's step over a broken and a good target
    await spine.decide(respond.request, ask("cyn", Verb.FREEZE, "s04", "s05"))
    nodes = spine.ledger.world.config.inventory.nodes
    assert "s04" in nodes

    class Broken04(OneBroken):
        def reach(self, node: Node, capability: Capability) -> object | None:
            if node.name == "s04":
                raise Misconfigured(["the token file:/run/s04 cannot be read"])
            return self.good

    freezer = Freezer(spine.ledger, Broken04(signer), Keeper(spine.ledger, Folder(tmp_path)))
    for work in await spine.due("step.freeze"):
        step = (await spine.incident()).steps[work.body["step"]]
        if set(step.targets) == {"s04", "s05"}:
            with suppress(Misconfigured):
                await freezer.step(work)
    assert signer.asked, "the good target was never asked"


async def test_a_revoked_proof_reopens_what_the_ic_called_contained(spine: Room) -> None:
    await opened(spine, "s01", "s02")
    await spine.run(Verb.FREEZE, State.VERIFIED)
    await spine.decide(outcomes.contain, outcomes.Contain(by=person("ada"), incident=1, reason="power of s02 cut"))
    await told(spine, "s01", State.FAILED)
    assert (await spine.incident()).status is Status.OPEN


async def test_an_unmapped_conflict_reopens_a_contained_incident_and_pages(spine: Room) -> None:
    await opened(spine, "s01")
    await spine.run(Verb.FREEZE, State.VERIFIED)
    assert (await spine.incident()).status is Status.CONTAINED
    await spine.decide(people.acknowledge, people.Acknowledge(by=person("ada"), incident=1))
    await spine.receive(alert(signer="nobody-knows-me"))
    incident = await spine.incident()
    assert incident.unresolved
    assert incident.status is Status.OPEN


async def test_a_label_that_maps_to_nobody_is_named_though_another_maps(spine: Room) -> None:
    await spine.receive(alert(signer="s01", key="0xunlisted"))
    await spine.run(Verb.FREEZE, State.VERIFIED)
    incident = await spine.incident()
    assert incident.unresolved
    assert incident.status is Status.OPEN


async def test_a_late_look_does_not_bring_back_a_freeze_that_was_let_go(spine: Room) -> None:
    await opened(spine, "s01")
    await spine.run(Verb.FREEZE, State.VERIFIED)
    await two(spine, Verb.UNFREEZE, "s01")
    await spine.run(Verb.UNFREEZE, State.VERIFIED)
    assert (await spine.incident()).state(Verb.FREEZE, "s01") is None
    await told(spine, "s01", State.FAILED)  # the watch's look began before the unfreeze was committed
    assert (await spine.incident()).state(Verb.FREEZE, "s01") is None


class FullDisk(Keeper):
    full = False

    async def keep_json(self, where: Any, what: str, value: object) -> str:
        if self.full:
            raise OSError(28, "No space left on device")
        return await super().keep_json(where, what, value)


class One:
    def __init__(self, signer: object) -> None:
        self.signer = signer

    def reach(self, node: Node, capability: Capability) -> object | None:
        return self.signer


async def test_a_full_disk_does_not_hide_that_a_frozen_key_signs(spine: Room, tmp_path: Path) -> None:
    signer = FakeSigner(spine.clock)
    keeper = FullDisk(spine.ledger, Folder(tmp_path))
    freezer = Freezer(spine.ledger, One(signer), keeper)
    await opened(spine, "s01")

    async def turn() -> None:
        for work in await spine.due("step.freeze", "freeze.watch"):
            handler = freezer.step if work.kind == "step.freeze" else freezer.watch
            try:
                result = await handler(work)
            except OSError as error:
                await spine.claims.retry(work, at=spine.clock.now() + timedelta(seconds=1), error=str(error))
            else:
                await spine.claims.finish(work, result)

    for _ in range(60):
        await turn()
        spine.clock.go(seconds=1)
    assert (await spine.incident()).state(Verb.FREEZE, "s01") is State.VERIFIED
    keeper.full = True
    signer.counter += 5
    for _ in range(120):
        await turn()
        spine.clock.go(seconds=1)
    assert (await spine.incident()).state(Verb.FREEZE, "s01") is not State.VERIFIED


async def test_a_proof_that_cannot_be_kept_is_told_and_not_called_proven(spine: Room, tmp_path: Path) -> None:
    keeper = FullDisk(spine.ledger, Folder(tmp_path))
    freezer = Freezer(spine.ledger, One(FakeSigner(spine.clock)), keeper)
    await opened(spine, "s01")
    for full, state in ((True, State.ACKNOWLEDGED), (False, State.VERIFIED)):
        keeper.full = full
        for _ in range(60):
            for work in await spine.due("step.freeze", "freeze.watch"):
                handler = freezer.step if work.kind == "step.freeze" else freezer.watch
                await spine.claims.finish(work, await handler(work))
            spine.clock.go(seconds=1)
        track = (await spine.incident()).tracks[Verb.FREEZE]["s01"]
        assert track.state is state
        assert ("while the vault cannot keep the proof" in track.detail) is full
    assert (await spine.kinds()).count("TargetsReported") < 6, "it is told once"


async def test_a_second_page_with_the_same_reason_escalates_too(spine: Room) -> None:
    await opened(spine, "s01")
    await spine.run(Verb.FREEZE, State.VERIFIED)
    for round_ in range(2):
        before = set((await spine.incident()).pages)
        await told(spine, "s01", State.UNKNOWN)
        (page,) = set((await spine.incident()).pages) - before
        spine.clock.go(minutes=5)
        await spine.decide(people.escalate, people.Escalate(by=BOT, incident=1, page=page))
        levels = [p.level for p in (await spine.incident()).pages.values() if "UNKNOWN" in p.reason.upper()]
        assert levels.count(1) == round_ + 1, f"round {round_ + 1}: {levels}"
        await spine.decide(people.acknowledge, people.Acknowledge(by=person("ada"), incident=1))
        await told(spine, "s01", State.VERIFIED)


async def _over(spine: Room) -> None:
    await spine.advance()
    await spine.run(Verb.CAPTURE, State.VERIFIED)
    await spine.advance()
    await spine.run(Verb.ISOLATE, State.VERIFIED)
    await spine.decide(resolve.resolve, resolve.Resolve(by=person("ada"), incident=1, summary="over"))


async def test_a_proof_that_breaks_after_the_resolution_pages_until_somebody_answers(spine: Room) -> None:
    await opened(spine, "s01")
    await spine.run(Verb.FREEZE, State.VERIFIED)
    await _over(spine)
    before = set((await spine.incident()).pages)
    await told(spine, "s01", State.FAILED)
    (page,) = set((await spine.incident()).pages) - before
    spine.clock.go(minutes=5)
    await spine.decide(people.escalate, people.Escalate(by=BOT, incident=1, page=page))
    assert any(p.level == 1 and "no longer proven" in p.reason for p in (await spine.incident()).pages.values())


async def test_a_freeze_that_was_refused_explains_no_missed_deadline(spine: Room) -> None:
    await opened(spine, "s01")
    await spine.run(Verb.FREEZE, State.REFUSED)
    await _over(spine)
    spine.clock.go(days=30)
    got = await spine.receive(alert("AVSDeadlineMissRateCritical", signer="s01", start="2026-12-20T03:00:00Z"))
    assert got.ignored == ()
    assert got.incidents == ("inc-2",)


async def test_a_lowered_sev1_is_not_resolved_without_a_person(spine: Room) -> None:
    await opened(spine, "s01")
    await spine.run(Verb.FREEZE, State.VERIFIED)
    lower = people.SetSeverity(by=person("ada"), incident=1, severity=Severity.SEV3, reason="looks calm")
    await spine.decide(people.set_severity, lower)
    await spine.receive(alert(status="resolved", signer="s01"))
    spine.clock.go(minutes=11)
    await spine.decide(intake.settle, intake.Quiet(by=BOT, incident=1))
    assert (await spine.incident()).status is not Status.RESOLVED


class Flip:
    """A deployer that swaps current and previous, as release managers do."""

    traits = SIDECAR

    def __init__(self) -> None:
        self.current, self.previous = "sha256:bad", GOOD_BUILD

    async def rollback(self, to_build: str, *, incident: str, request: str) -> Reply:
        assert to_build == self.previous
        self.current, self.previous = self.previous, self.current
        return Reply(answer=Answer.ACKNOWLEDGED, detail="rolled back")

    async def release(self) -> Release:
        return Release(
            version=self.current[:12], build_hash=self.current, config_checksum="c", previous_build=self.previous
        )


async def test_a_rollback_that_was_cut_off_does_not_roll_forward_again(tmp_path: Path) -> None:
    async with room(
        tmp_path, with_nodes(config(), {"s01": node("s01", rollback=RollbackContract(build_hash=GOOD_BUILD))})
    ) as spine:
        await opened(spine, "s01")
        await spine.run(Verb.FREEZE, State.VERIFIED)
        await two(spine, Verb.ROLLBACK, "s01")
        (work,) = await spine.due("step.rollback")
        deployer = Flip()
        handler = Rollbacker(spine.ledger, One(deployer), Keeper(spine.ledger, Folder(tmp_path)))
        await begin(spine, "rollback-1")
        await deployer.rollback(GOOD_BUILD, incident="inc-1", request="r")  # sent; then the process died
        await handler.step(work)
        assert deployer.current == GOOD_BUILD


class Going(FakeSigner):
    """A frozen signer whose samples lie a minute apart; `between` is called after the first."""

    def __init__(self, clock: Any, between: Any = None) -> None:
        super().__init__(clock)
        self.frozen, self.looks, self.between, self.unfroze = True, 0, between, False

    async def sample(self, keys: Sequence[str]) -> Sample:
        if self.unfroze:
            raise NotReached("connection refused")
        self.looks += 1
        self.clock.go(minutes=1)
        now = self.clock.now()
        if self.looks == 2 and self.between:
            await self.between()
        reading = KeyReading(signing=False, counter=100, next_duty_at=now)
        return Sample(at=now, instance="i", keys=dict.fromkeys(keys, reading), node_time=now)

    async def unfreeze(self, keys: Sequence[str], *, incident: str, request: str) -> Reply:
        self.unfroze = True
        return await super().unfreeze(keys, incident=incident, request=request)


def quick() -> Any:
    base = config()
    avs = {**base.inventory.avs, "sequencer": Avs(name="sequencer", quorum=14, duty_period=timedelta(milliseconds=20))}
    return replace(base, inventory=replace(base.inventory, avs=avs))


async def test_a_halt_during_the_silent_windows_stops_the_unfreeze(tmp_path: Path) -> None:
    async with room(tmp_path, quick()) as spine:
        await opened(spine, "s01")
        await spine.run(Verb.FREEZE, State.VERIFIED)
        await two(spine, Verb.UNFREEZE, "s01")

        async def press() -> None:
            await spine.decide(halt.halt, halt.Halt(by=person("bo"), reason="wait"))

        signer = Going(spine.clock, press)
        handler = Unfreezer(spine.ledger, One(signer), Keeper(spine.ledger, Folder(tmp_path)))
        (work,) = await spine.due("step.unfreeze")
        await handler.step(work)
        assert not signer.unfroze


async def test_an_unfreeze_whose_read_back_fails_is_unknown_and_no_proof_of_the_freeze_stands(tmp_path: Path) -> None:
    async with room(tmp_path, quick()) as spine:
        await opened(spine, "s01")
        await spine.run(Verb.FREEZE, State.VERIFIED)
        await two(spine, Verb.UNFREEZE, "s01")
        signer = Going(spine.clock)
        handler = Unfreezer(spine.ledger, One(signer), Keeper(spine.ledger, Folder(tmp_path)))
        (work,) = await spine.due("step.unfreeze")
        await handler.step(work)
        incident = await spine.incident()
        assert signer.unfroze
        assert incident.state(Verb.UNFREEZE, "s01") is State.UNKNOWN
        assert incident.state(Verb.FREEZE, "s01") not in {State.VERIFIED, State.ALREADY}
        assert incident.status is not Status.CONTAINED


async def test_an_unfreeze_that_was_cut_off_after_the_request_is_not_called_refused(tmp_path: Path) -> None:
    async with room(tmp_path, quick()) as spine:
        await opened(spine, "s01")
        await spine.run(Verb.FREEZE, State.VERIFIED)
        await two(spine, Verb.UNFREEZE, "s01")
        (work,) = await spine.due("step.unfreeze")
        await begin(spine, "unfreeze-1")
        await spine.decide(respond.release, respond.Release(by=BOT, incident=1, step="unfreeze-1", node="s01"))
        signer = FakeSigner(spine.clock)  # signs: the request had left before the crash
        handler = Unfreezer(spine.ledger, One(signer), Keeper(spine.ledger, Folder(tmp_path)))
        await handler.step(work)
        assert (await spine.incident()).state(Verb.UNFREEZE, "s01") is not State.REFUSED


async def test_a_second_halt_voids_a_request_to_rearm(spine: Room) -> None:
    await spine.decide(halt.halt, halt.Halt(by=person("bo"), reason="one"))
    await spine.decide(halt.rearm, halt.Rearm(by=person("ada")))
    await spine.decide(halt.halt, halt.Halt(by=person("dan"), reason="no: it still hits healthy nodes"))
    assert (await spine.decide(halt.rearm, halt.Rearm(by=person("cyn")))).halted


async def test_a_rollback_asked_for_before_the_resolution_does_not_begin_after_it(tmp_path: Path) -> None:
    async with room(
        tmp_path, with_nodes(config(), {"s01": node("s01", rollback=RollbackContract(build_hash=GOOD_BUILD))})
    ) as spine:
        await opened(spine, "s01")
        await spine.run(Verb.FREEZE, State.VERIFIED)
        asked = await spine.decide(respond.request, ask("cyn", Verb.ROLLBACK, "s01"))
        await _over(spine)
        try:
            await spine.decide(approve.approve, approve.Approve(by=person("ada"), incident=1, approval=asked.approval))
        except Refused:
            return
        assert (await begin(spine, "rollback-1")).targets == ()


async def test_a_signer_that_signs_after_our_rollback_pages(spine: Room) -> None:
    await opened(spine, "s01")
    await spine.run(Verb.FREEZE, State.VERIFIED)
    await spine.decide(respond.request, ask("cyn", Verb.ROLLBACK, "s01"))
    await begin(spine, "rollback-1")
    await spine.decide(people.acknowledge, people.Acknowledge(by=person("ada"), incident=1))
    before = set((await spine.incident()).pages)
    await told(spine, "s01", State.FAILED)
    assert set((await spine.incident()).pages) - before


async def test_a_freeze_that_a_node_refuses_pages(spine: Room) -> None:
    await opened(spine, "s01")
    await spine.decide(people.acknowledge, people.Acknowledge(by=person("ada"), incident=1))
    before = set((await spine.incident()).pages)
    await spine.run(Verb.FREEZE, State.REFUSED)
    assert set((await spine.incident()).pages) - before


async def test_who_may_not_freeze_cannot_agree_to_a_held_freeze(spine: Room) -> None:
    await opened(spine, "s01", "s02")
    try:
        await spine.decide(approve.approve, approve.Approve(by=person("eve"), incident=1))
    except Refused:
        return
    raise AssertionError("eve was told that the freeze begins")


async def test_the_bots_own_statement_answers_no_prompt(spine: Room) -> None:
    from bot.flows import status

    await opened(spine, "s01")
    since = (await spine.incident()).severity_since
    assert since is not None
    spine.clock.go(minutes=16)
    await spine.decide(status.tick, status.Tick(by=BOT, incident=1, audience="stakeholders", since=since))
    await spine.decide(status.give, status.GiveStatus(by=BOT, incident=1, text="holding", audience="stakeholders"))
    assert (await spine.incident()).prompts["stakeholders-1"].answered_at is None


async def test_another_incidents_stale_proof_does_not_count_for_an_unfrozen_holder(tmp_path: Path) -> None:
    async with room(tmp_path, shared_key()) as spine:
        await opened(spine, "s01")
        await spine.decide(respond.request, ask("cyn", Verb.FREEZE, "s01", "s02"))
        await spine.run(Verb.FREEZE, State.VERIFIED)
        await spine.decide(intake.declare, intake.Declare(by=person("ada"), severity=Severity.SEV1, summary="x"))
        await spine.decide(respond.request, ask("cyn", Verb.FREEZE, "s01", number=2))
        await spine.run(Verb.FREEZE, State.VERIFIED, number=2)
        await two(spine, Verb.UNFREEZE, "s01")
        await spine.run(Verb.UNFREEZE, State.VERIFIED)  # s01 signs now, with the shared key
        await two(spine, Verb.UNFREEZE, "s02")
        assert (await begin(spine, "unfreeze-2")).targets == ()


async def test_a_buried_unfreeze_does_not_silence_the_watch_over_the_freeze(spine: Room) -> None:
    await opened(spine, "s01")
    await spine.run(Verb.FREEZE, State.VERIFIED)
    await two(spine, Verb.UNFREEZE, "s01")
    await begin(spine, "unfreeze-1")
    (work,) = await spine.due("step.unfreeze")
    entry = j.WorkBuried(work=work.key, kind=work.kind, reason="Misconfigured: the token cannot be read")
    await spine.decide(outcomes.bury, outcomes.Bury(by=BOT, incident=1, entry=entry, step="unfreeze-1"))
    await spine.claims.finish(work, Dead(why=entry.reason))
    spine.clock.go(hours=1)
    await told(spine, "s01", State.FAILED)  # the watch sees signatures
    assert (await spine.incident()).state(Verb.FREEZE, "s01") is not State.VERIFIED


async def test_a_request_by_somebody_without_the_power_does_not_stand_in_the_way(tmp_path: Path) -> None:
    async with room(
        tmp_path, with_nodes(config(), {"s01": node("s01", rollback=RollbackContract(build_hash=GOOD_BUILD))})
    ) as spine:
        await opened(spine, "s01")
        for verb in (Verb.FREEZE, Verb.CAPTURE, Verb.ISOLATE):
            await spine.run(verb, State.VERIFIED)
            await spine.advance()
        spine.clock.go(minutes=6)
        await spine.advance(symptom=True, asked=True)
        assert (await spine.incident()).state(Verb.ROLLBACK, "s01") is State.HELD
        try:
            await spine.decide(approve.approve, approve.Approve(by=person("eve"), incident=1))
        except Refused:
            return
        raise AssertionError("eve, who may not roll back, asked for a rollback")


async def test_a_failed_capture_is_waived_by_the_ic_or_the_evidence_lead_and_the_rollback_is_offered(
    spine: Room,
) -> None:
    await opened(spine, "s01")
    for verb, state in ((Verb.FREEZE, State.VERIFIED), (Verb.CAPTURE, State.FAILED), (Verb.ISOLATE, State.VERIFIED)):
        await spine.run(verb, state)
        await spine.advance()
    spine.clock.go(minutes=6)
    assert not (await spine.advance()).symptom
    waive = respond.Waive(by=person("cyn"), incident=1, verb=Verb.CAPTURE, targets=("s01",), reason="its disk is gone")
    with pytest.raises(Refused, match="Evidence Lead"):
        await spine.decide(respond.waive, waive)
    await spine.decide(respond.waive, replace(waive, by=person("dan")))
    assert (await spine.advance()).symptom
    with pytest.raises(Refused, match="cannot be waived"):
        await spine.decide(respond.waive, replace(waive, by=person("ada"), verb=Verb.FREEZE))


def test_a_key_is_one_key_however_it_is_spelt() -> None:
    twins = with_nodes(config(), {"s01": node("s01", keys=("0xAB",)), "s02": node("s02", keys=("0xab",))})
    assert twins.inventory.holders("0Xab") == ("s01", "s02")
    assert twins.inventory.shared_keys() == {"0xab": ("s01", "s02")}


async def test_a_freeze_by_hand_says_what_is_left_against_the_quorum(spine: Room) -> None:
    await opened(spine, "s01")
    done = await spine.decide(respond.request, ask("cyn", Verb.FREEZE, "s02", "s03", "o1"))
    assert "sequencer: freezing these leaves 18 of 20 signing, quorum 14" in done.text
    assert "oracle: freezing these leaves 1 of 2 signing, quorum 1" in done.text


async def test_a_freeze_without_targets_leaves_alone_what_people_brought_back(spine: Room) -> None:
    await opened(spine, "s01", "s02")
    await spine.run(Verb.FREEZE, State.VERIFIED)
    await two(spine, Verb.UNFREEZE, "s01")
    await spine.run(Verb.UNFREEZE, State.VERIFIED)
    await spine.decide(
        respond.waive, respond.Waive(by=person("ada"), incident=1, verb=Verb.CAPTURE, targets=("s01",), reason="x")
    )
    done = await spine.decide(respond.request, ask("cyn", Verb.FREEZE))
    assert done.targets == ("s02",)


S01 = "0xs01"


class Protected(Going):
    """A signer with an interchange document; None: it gives none out. `traits` say whether it was destroyed."""

    def __init__(
        self, clock: Any, interchange: Mapping[str, int] | None, *, destructive: bool, status: int = 404
    ) -> None:
        super().__init__(clock)
        self.traits = replace(self.traits, destructive=destructive)
        self.interchange = interchange
        self.status = status

    async def slashing_protection(self) -> bytes:
        if self.interchange is None:
            raise NodeRefused("s01 gives out no slashing protection", status=self.status)
        blocks = [{"slot": str(self.interchange["block"])}] if "block" in self.interchange else []
        votes = [{"target_epoch": str(self.interchange["attestation"])}] if "attestation" in self.interchange else []
        entry = {"pubkey": S01, "signed_blocks": blocks, "signed_attestations": votes}
        return json.dumps({"metadata": {}, "data": [entry]}).encode()


@pytest.mark.parametrize(
    ("captured", "interchange", "destructive", "status", "goes"),
    [
        # On Ethereum a slot is about 32 times its epoch: the two ladders must not be compared.
        ({"block": 4000, "attestation": 125}, {"block": 4000, "attestation": 125}, True, 404, True),
        ({"block": 4000, "attestation": 125}, {"block": 4001, "attestation": 124}, True, 404, False),
        ({"attestation": 125}, {"block": 4000}, True, 404, False),
        ({"block": 7}, {"block": 6}, False, 404, False),
        ({"block": 7}, None, False, 404, True),  # nothing was deleted: keys and protection never left the signer
        ({"block": 7}, None, False, 401, False),  # an expired token turns no check off
        ({"block": 7}, None, True, 404, False),
    ],
)
async def test_no_key_comes_back_with_less_protection_than_it_was_seen_to_sign(
    tmp_path: Path,
    captured: Mapping[str, int],
    interchange: Mapping[str, int] | None,
    destructive: bool,
    status: int,
    goes: bool,
) -> None:
    async with room(tmp_path, quick()) as spine:
        await opened(spine, "s01")
        await spine.run(Verb.FREEZE, State.VERIFIED)
        marks = {f"highest:{what}:{S01}": str(high) for what, high in captured.items()}
        messages = record.Keep(
            by=BOT,
            incident=1,
            sha256="ab" * 32,
            size=1,
            media_type="application/x-ndjson",
            what="signed-messages",
            node="s01",
            source="s",
            tool="t",
            collected_at=spine.clock.now(),
            marks=marks,
        )
        await spine.decide(record.keep, messages)
        await two(spine, Verb.UNFREEZE, "s01")
        signer = Protected(spine.clock, interchange, destructive=destructive, status=status)
        handler = Unfreezer(spine.ledger, One(signer), Keeper(spine.ledger, Folder(tmp_path)))
        (work,) = await spine.due("step.unfreeze")
        await handler.step(work)
        assert signer.unfroze is goes
        if not goes:
            assert (await spine.incident()).state(Verb.UNFREEZE, "s01") is State.REFUSED
