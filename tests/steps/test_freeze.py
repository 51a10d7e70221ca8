"""Freezing against signers that obey, lie, stay silent or come back: what is said must be what is proven."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from bot.domain import journal as j
from bot.domain.authority import BOT
from bot.domain.incident import Incident, Status
from bot.domain.inventory import Capability, Node
from bot.domain.journal import TargetReport
from bot.domain.playbook import Verb
from bot.domain.policy import FreezeBudget, Policy
from bot.domain.target import Reply, Sample, State
from bot.domain.work import Again, Done, Work
from bot.errors import NoAnswer, NotReached
from bot.flows import approve, halt, outcomes, respond
from bot.steps.evidence import Keeper
from bot.steps.fanout import Outcome, guarded
from bot.steps.freeze import Freezer
from bot.vault.folder import Folder
from tests.fakes import DeafSigner, FakeSigner, Room, alert, config, node, person, room, with_nodes


class SilentSigner(FakeSigner):
    """Takes the request and never answers."""

    async def freeze(self, keys: Sequence[str], *, incident: str, request: str) -> Reply:
        """Never answer."""
        self.asked.append(request)
        raise NoAnswer("no answer within 5 s")

    async def sample(self, keys: Sequence[str]) -> Sample:
        """Never answer."""
        raise NoAnswer("no answer within 5 s")


class DownSigner(FakeSigner):
    """Is not there until `up`."""

    up = False

    async def freeze(self, keys: Sequence[str], *, incident: str, request: str) -> Reply:
        """Refuse the connection, or obey."""
        if not self.up:
            raise NotReached("connection refused")
        return await super().freeze(keys, incident=incident, request=request)

    async def sample(self, keys: Sequence[str]) -> Sample:
        """Refuse the connection, or answer."""
        if not self.up:
            raise NotReached("connection refused")
        return await super().sample(keys)


class OneSigner:
    """A fleet in which every signer is the same."""

    def __init__(self, signer: FakeSigner) -> None:
        self.signer = signer

    def reach(self, node: Node, capability: Capability) -> object | None:
        """Return it."""
        return self.signer if capability is Capability.SIGNER else None


class Play:
    """Runs freeze work by hand while the clock moves."""

    def __init__(self, spine: Room, signer: FakeSigner, folder: Path) -> None:
        self.spine = spine
        freezer = Freezer(spine.ledger, OneSigner(signer), Keeper(spine.ledger, Folder(folder)))
        self.handlers = {"step.freeze": freezer.step, "freeze.watch": freezer.watch}

    async def begin(self) -> None:
        """Open an incident on s01 and send the freeze."""
        await self.spine.receive(alert(signer="s01"))
        await self.spine.advance()
        await self.turn()

    async def turn(self) -> list[Work]:
        """Run all freeze work that is due, once."""
        works = list(await self.spine.due(*self.handlers))
        for work in works:
            result = await self.handlers[work.kind](work)
            assert isinstance(result, Done | Again)
            await self.spine.claims.finish(work, result)
        return works

    async def until(self, seconds: float, what: Callable[[Incident], bool]) -> Incident:
        """Let time pass until `what` holds or `seconds` are over."""
        for _ in range(int(seconds)):
            await self.turn()
            incident = await self.spine.incident()
            if what(incident):
                return incident
            self.spine.clock.go(seconds=1)
        return await self.spine.incident()

    async def state(self) -> State | None:
        """Return what is said of s01."""
        return (await self.spine.incident()).state(Verb.FREEZE, "s01")


def is_(state: State) -> Callable[[Incident], bool]:
    """Return a test for what is said of s01."""
    return lambda incident: incident.state(Verb.FREEZE, "s01") is state


async def test_an_honest_signer_is_acknowledged_and_verified_only_after_a_duty_was_due(
    spine: Room, tmp_path: Path
) -> None:
    play = Play(spine, FakeSigner(spine.clock), tmp_path)
    await play.begin()
    assert await play.state() is State.ACKNOWLEDGED
    began = spine.clock.now()
    incident = await play.until(60, is_(State.VERIFIED))
    assert incident.state(Verb.FREEZE, "s01") is State.VERIFIED
    assert spine.clock.now() - began >= timedelta(seconds=12)
    assert incident.status is Status.CONTAINED
    proof = await spine.last(j.EvidenceKept)
    assert (proof.what, proof.node) == ("freeze-proof", "s01")
    assert incident.tracks[Verb.FREEZE]["s01"].item == proof.item


async def test_a_signer_that_was_stopped_before_is_already_with_the_same_proof(spine: Room, tmp_path: Path) -> None:
    signer = FakeSigner(spine.clock)
    signer.frozen = True
    play = Play(spine, signer, tmp_path)
    await play.begin()
    assert await play.state() is State.ACKNOWLEDGED
    assert (await play.until(60, is_(State.ALREADY))).state(Verb.FREEZE, "s01") is State.ALREADY


async def test_a_deaf_signer_is_failed_and_asked_again_and_never_verified(spine: Room, tmp_path: Path) -> None:
    signer = DeafSigner(spine.clock)
    play = Play(spine, signer, tmp_path)
    await play.begin()
    incident = await play.until(60, is_(State.FAILED))
    assert "still signing: counter" in incident.tracks[Verb.FREEZE]["s01"].detail
    await play.until(200, is_(State.VERIFIED))
    assert len(signer.asked) > 2
    assert await play.state() is State.FAILED
    assert len(set(signer.asked)) == 1


async def test_a_silent_signer_is_unknown_and_asked_again(spine: Room, tmp_path: Path) -> None:
    signer = SilentSigner(spine.clock)
    play = Play(spine, signer, tmp_path)
    await play.begin()
    assert await play.state() is State.UNKNOWN
    await play.until(60, is_(State.VERIFIED))
    assert await play.state() is State.UNKNOWN
    assert len(signer.asked) > 2
    assert "FreezeRepeated" in await spine.kinds()


async def test_a_signer_that_was_down_is_frozen_when_it_comes_back(spine: Room, tmp_path: Path) -> None:
    signer = DownSigner(spine.clock)
    play = Play(spine, signer, tmp_path)
    await play.begin()
    assert await play.state() is State.FAILED
    await play.until(40, is_(State.VERIFIED))
    assert await play.state() is State.FAILED
    signer.up = True
    assert (await play.until(200, is_(State.VERIFIED))).state(Verb.FREEZE, "s01") is State.VERIFIED


async def test_a_proof_is_renewed_and_a_rise_revokes_it_and_pages(spine: Room, tmp_path: Path) -> None:
    signer = FakeSigner(spine.clock)
    play = Play(spine, signer, tmp_path)
    await play.begin()
    await play.until(60, is_(State.VERIFIED))
    signer.counter += 3
    incident = await play.until(90, is_(State.FAILED))
    assert incident.status is Status.OPEN
    assert "counter of key 0xs01 rose" in (await spine.last(j.ProofRevoked)).reason
    assert "no longer proven on s01" in (await spine.last(j.Paged)).reason
    assert (await play.until(120, is_(State.VERIFIED))).status is Status.CONTAINED


async def test_an_automatic_freeze_is_not_repeated_under_halt(spine: Room, tmp_path: Path) -> None:
    signer = SilentSigner(spine.clock)
    play = Play(spine, signer, tmp_path)
    await play.begin()
    await spine.decide(halt.halt, halt.Halt(by=person("bo"), reason="stop"))
    await play.until(90, is_(State.VERIFIED))
    assert len(signer.asked) == 1


@pytest.mark.parametrize("signer", [FakeSigner, SilentSigner, DeafSigner])
async def test_a_step_that_was_cut_off_is_resumed_and_no_outcome_is_invented(
    spine: Room, tmp_path: Path, signer: type[FakeSigner]
) -> None:
    play = Play(spine, signer(spine.clock), tmp_path)
    await spine.receive(alert(signer="s01"))
    await spine.advance()
    (work,) = await spine.due("step.freeze")
    spine.clock.go(seconds=31)
    (again,) = await spine.due("step.freeze")
    with pytest.raises(Exception, match="lease"):
        await play.handlers["step.freeze"](work)
    await play.handlers["step.freeze"](again)
    assert await play.state() in {State.ACKNOWLEDGED, State.UNKNOWN}


async def test_what_our_own_cut_off_request_did_is_not_called_done_by_others(spine: Room, tmp_path: Path) -> None:
    signer = FakeSigner(spine.clock)
    play = Play(spine, signer, tmp_path)
    await spine.receive(alert(signer="s01"))
    await spine.advance()
    (work,) = await spine.due("step.freeze")
    await spine.decide(respond.begin, respond.Begin(by=BOT, incident=1, step=str(work.body["step"])))
    signer.frozen = True  # the request arrived; the process was killed before the answer
    await play.handlers["step.freeze"](work)
    incident = await play.until(60, is_(State.VERIFIED))
    track = incident.tracks[Verb.FREEZE]["s01"]
    assert (track.state, incident.status) == (State.VERIFIED, Status.CONTAINED)


async def test_a_watch_that_looked_before_the_unfreeze_does_not_freeze_again_on_paper(
    spine: Room, tmp_path: Path
) -> None:
    play = Play(spine, FakeSigner(spine.clock), tmp_path)
    await play.begin()
    await play.until(60, is_(State.VERIFIED))
    await spine.decide(
        respond.request, respond.Request(by=person("cyn"), incident=1, verb=Verb.UNFREEZE, targets=("s01",))
    )
    approval = next(iter((await spine.incident()).approvals))
    await spine.decide(approve.approve, approve.Approve(by=person("ada"), incident=1, approval=approval))
    await spine.run(Verb.UNFREEZE, State.VERIFIED)
    assert await play.state() is None
    for state in (State.VERIFIED, State.UNKNOWN, State.FAILED):
        late = (TargetReport(node="s01", state=state, detail="an old look", watched=True),)
        await spine.decide(
            outcomes.report, outcomes.Report(by=BOT, incident=1, step="freeze-1", verb=Verb.FREEZE, reports=late)
        )
        assert await play.state() is None


async def test_a_target_that_takes_longer_than_the_playbook_allows_is_unknown() -> None:
    async def never(_go: respond.Go, _node: str) -> Outcome:
        await asyncio.sleep(60)
        raise AssertionError

    outcome = await guarded(never, None, "s01", limit=0.01)  # type: ignore[arg-type]
    assert (outcome.state, outcome.detail) == (State.UNKNOWN, "no outcome within the playbook's 0.01 s")


@pytest.mark.parametrize("limit", [None, 60.0])
async def test_a_time_limit_of_something_else_is_one_targets_outcome_and_no_other_sentence(limit: float | None) -> None:
    async def act(go: respond.Go, node: str) -> Outcome:
        raise TimeoutError("the vault's disk does not answer")

    outcome = await guarded(act, None, "s01", limit=limit)  # type: ignore[arg-type]
    assert (outcome.state, outcome.detail) == (State.UNKNOWN, "TimeoutError: the vault's disk does not answer")


class EscrowedSigner(FakeSigner):
    """Deletes keys to stop, and looks into what brings them back."""

    lacks: str | None = "/escrow lacks 0xs01.json"

    async def lacking(self, keys: Sequence[str]) -> str | None:
        """Return what is missing."""
        return self.lacks if "0xs01" in keys else None


async def test_a_key_whose_escrow_is_seen_to_lack_something_is_deleted_on_a_persons_word_only(tmp_path: Path) -> None:
    nodes = {name: node(name, driver="keymanager", escrow=True) for name in ("s01", "s02")}
    policy = Policy(budget=FreezeBudget(fraction=0.5))
    async with room(tmp_path, with_nodes(config(policy=policy), nodes)) as spine:
        signer = EscrowedSigner(spine.clock)
        play = Play(spine, signer, tmp_path)
        await spine.receive(alert(signer="s01"), alert(signer="s02"))
        await spine.advance()
        await play.turn()
        incident = await spine.incident()
        track = incident.tracks[Verb.FREEZE]["s01"]
        assert track.state is State.HELD
        assert track.detail == (
            "its freeze deletes the key, and /escrow lacks 0xs01.json: a person decides, since a slash is worse"
        )
        assert "freeze of s01 waits for one person's word" in (await spine.last(j.Paged)).reason
        assert incident.steps["freeze-2"].targets == ("s02",)
        await play.turn()
        assert signer.asked == ["inc-1:freeze-2:s02"]
        agreed = await spine.decide(approve.approve, approve.Approve(by=person("cyn"), incident=1))
        assert "s01" in agreed.text
        await play.turn()
        assert signer.asked == ["inc-1:freeze-2:s02", "inc-1:freeze-3:s01"]


@pytest.mark.parametrize(("escrow", "lacks"), [(False, "all of it"), (True, None)])
async def test_an_escrow_that_nobody_asks_for_or_that_lacks_nothing_holds_nothing_back(
    tmp_path: Path, escrow: bool, lacks: str | None
) -> None:
    policy = Policy(require_escrow=escrow)
    nodes = {"s01": node("s01", driver="keymanager", escrow=True)}
    async with room(tmp_path, with_nodes(config(policy=policy), nodes)) as spine:
        signer = EscrowedSigner(spine.clock)
        signer.lacks = lacks
        play = Play(spine, signer, tmp_path)
        await play.begin()
        assert await play.state() is State.ACKNOWLEDGED


async def test_what_was_sent_already_is_not_held_back(tmp_path: Path) -> None:
    nodes = {"s01": node("s01", driver="keymanager", escrow=True)}
    async with room(tmp_path, with_nodes(config(), nodes)) as spine:
        await spine.receive(alert(signer="s01"))
        await spine.advance()
        await spine.decide(respond.begin, respond.Begin(by=BOT, incident=1, step="freeze-1"))
        held = respond.HoldBack(by=BOT, incident=1, step="freeze-1", why={"s01": "late"})
        assert (await spine.decide(respond.hold_back, held)).state(Verb.FREEZE, "s01") is State.REQUESTED
