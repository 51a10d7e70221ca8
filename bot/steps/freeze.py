"""Freeze, and the watch over a freeze: ask, prove, ask again, prove again until somebody lets it go."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from typing import Any, Protocol, runtime_checkable

from bot.domain.authority import BOT
from bot.domain.incident import Incident, StepState
from bot.domain.inventory import Capability, Node
from bot.domain.journal import TargetReport
from bot.domain.playbook import Verb
from bot.domain.target import Answer, Effect, KeyReading, Proof, Reply, Sample, State, Track, prove
from bot.domain.work import Again, Done, Result, Work
from bot.errors import Misconfigured, NodeError, NotReached
from bot.flows import outcomes, respond
from bot.flows.book import World
from bot.ledger import Ledger
from bot.ports import Fleet, Signer
from bot.steps.evidence import Keeper, Where
from bot.steps.fanout import Outcome, of_reply, run_step, state_of

log = logging.getLogger(__name__)

SLASH = "a person decides, since a slash is worse"


@runtime_checkable
class Escrowed(Protocol):
    """A signer whose freeze deletes keys, and which can look into what brings them back."""

    async def lacking(self, keys: Sequence[str]) -> str | None:
        """Return what can be seen to be missing there, for people; None when nothing can be seen to be."""
        ...


async def lacking(fleet: Fleet, world: World, node: Node) -> str | None:
    """Return what is seen to be missing of what brings a node's keys back, where its freeze deletes them; else None."""
    endpoint = node.reach.get(Capability.SIGNER)
    traits = world.traits(endpoint) if endpoint else None
    if traits is None or not traits.destructive:
        return None
    if not node.escrow:
        return "no escrow is attested"
    try:
        driver = fleet.reach(node, Capability.SIGNER)
        return await driver.lacking(node.keys) if isinstance(driver, Escrowed) else None
    except Misconfigured as error:
        return f"its driver cannot be had ({error})"


FIRST_PAUSE = 2.0
LONGEST_PAUSE = 60.0


class Freezer:
    """Handles `step.freeze` and `freeze.watch`."""

    def __init__(self, ledger: Ledger, fleet: Fleet, keeper: Keeper) -> None:
        self._ledger = ledger
        self._fleet = fleet
        self._keeper = keeper

    async def step(self, work: Work) -> Result:
        """Send the freeze to each target of the step; by the bot alone only where what it deletes can come back."""
        await self._hold_back(work)
        return await run_step(self._ledger, work, self._ask)

    async def _hold_back(self, work: Work) -> None:
        """Let people decide on those targets of an automatic step whose escrow is seen to lack something."""
        number, name = work.incident or 0, str(work.body["step"])
        incident = await self._ledger.read(lambda rows: rows.incident(number))
        step = incident.steps.get(name) if incident else None
        world = self._ledger.world
        if step is None or not step.automatic or step.state is not StepState.PLANNED:
            return
        if not world.config.policy.require_escrow:
            return
        known = world.config.inventory.nodes
        nodes = [known[target] for target in step.targets if target in known]
        found = zip(nodes, await asyncio.gather(*(lacking(self._fleet, world, node) for node in nodes)), strict=True)
        why = {node.name: f"its freeze deletes the key, and {one}: {SLASH}" for node, one in found if one}
        if why:
            command = respond.HoldBack(by=BOT, incident=number, step=name, why=why)
            await self._ledger.decide(respond.hold_back, command, holding=work)

    async def _ask(self, go: respond.Go, name: str) -> Outcome:
        node = go.config_nodes[name]
        outcome = of_reply(*await self._freeze(go.incident, node, f"{go.incident.id}:{go.step.id}:{name}"))
        if outcome.already and go.resumed:  # our own request, cut off before its answer, may have done it
            return replace(outcome, already=False, detail=f"{outcome.detail}, perhaps by our own earlier try")
        return outcome

    async def _freeze(self, incident: Incident, node: Node, request: str) -> tuple[Reply, str | None]:
        signer = self._signer(node)
        reply = await signer.freeze(node.keys, incident=incident.id, request=request)
        where = Where(incident=incident.number, node=node.name, source=_source(node), tool=type(signer).__module__)
        items = [await self._keeper.keep_artifact(where, artifact) for artifact in reply.artifacts]
        return reply, items[0] if items else None

    async def watch(self, work: Work) -> Result:
        """Take the next look at one frozen target; runs until the target is let go or another step took it over.

        State between looks is in the work's body: the baseline sample, and how often it was asked again.
        """
        assert work.incident is not None  # steps always belong to an incident
        incident = await self._ledger.read(lambda rows: rows.incident(work.incident or 0))
        name = str(work.body["node"])
        track = incident.tracks.get(Verb.FREEZE, {}).get(name) if incident else None
        node = self._ledger.world.config.inventory.nodes.get(name)
        if incident is None or track is None or track.step != work.body["step"]:
            return Done(note="let go")
        if node is None:
            await self._report(work, name, track, Proof(state=State.UNKNOWN, why="it is no longer in the inventory"))
            return Again(at=self._ledger.clock.now() + timedelta(seconds=LONGEST_PAUSE), body=work.body)
        if track.state in {State.FAILED, State.UNKNOWN, State.REFUSED} and not work.body.get("asked"):
            return await self._again(work, incident, node, track)
        return await self._look(work, incident, node, track)

    async def _again(self, work: Work, incident: Incident, node: Node, track: Track) -> Result:
        """Send the freeze once more: setting a state again is safe; the intent is committed first."""
        now = self._ledger.clock.now()
        body = {**work.body, "asked": True, "baseline": None}
        traits = self._ledger.world.traits(node.reach[Capability.SIGNER])
        if traits is None or traits.effect is Effect.AT_MOST_ONCE:
            return Again(at=now, body=body)
        command = respond.Repeat(by=BOT, incident=incident.number, node=node.name, reason=track.detail)
        if not await self._ledger.decide(respond.repeat, command, holding=work):
            return Again(at=now, body=body)  # not sent again, and still looked at
        try:
            reply, item = await self._freeze(incident, node, f"{incident.id}:{track.step}:{node.name}")
        except (NodeError, Misconfigured) as error:
            state = state_of(error) if isinstance(error, NodeError) else State.UNKNOWN
            await self._report(work, node.name, track, Proof(state=state, why=str(error)))
            return Again(at=now + self._pause(work), body=self._tried(work))
        if reply.answer not in {Answer.ACKNOWLEDGED, Answer.ALREADY}:
            await self._report(work, node.name, track, Proof(state=of_reply(reply).state, why=reply.detail), item)
            return Again(at=now + self._pause(work), body=self._tried(work))
        return Again(at=now, body=body)

    async def _look(self, work: Work, incident: Incident, node: Node, track: Track) -> Result:
        """Sample; with a baseline, judge. A judgement that is not proof is told and leads to asking again."""
        avs = self._ledger.world.config.inventory.avs[node.avs]
        policy = self._ledger.world.config.policy
        now = self._ledger.clock.now()
        try:
            sample = await self._signer(node).sample(node.keys)
        except (NodeError, Misconfigured) as error:
            why = f"no telemetry: {error}"
            state = State.FAILED if isinstance(error, NotReached) and track.state is State.FAILED else State.UNKNOWN
            await self._report(work, node.name, track, Proof(state=state, why=why))
            return Again(at=now + self._pause(work), body=self._tried(work))
        before = _load(work.body.get("baseline"))
        if before is None or _outlived(before, sample, track):
            return Again(at=now + avs.duty_period, body={**work.body, "baseline": _dump(sample)})
        windows = policy.proof_windows
        was = bool(work.body.get("already"))
        proof = prove(before, sample, node.keys, period=avs.duty_period, windows=windows, was_frozen=was)
        if not proof.ready and proof.again_at is not None:
            return Again(at=proof.again_at, body=work.body)
        if not proof.state.proven:
            await self._report(work, node.name, track, proof)  # truth first: a full vault must not hide a rise
            await self._keep_if_possible(incident, node, before, sample, proof)
            return Again(at=now + self._pause(work), body=self._tried(work))
        if not track.state.proven:
            await self._report_proven(work, incident, node, track, before, sample, proof)
        body = {**work.body, "baseline": _dump(sample), "tries": 0, "asked": False}
        return Again(at=now + max(policy.reprove_every, avs.duty_period), body=body)

    async def _report(self, work: Work, node: str, track: Track, proof: Proof, item: str | None = None) -> None:
        report = TargetReport(node=node, state=proof.state, detail=proof.why, item=item, watched=True)
        command = outcomes.Report(
            by=BOT, incident=work.incident or 0, step=track.step, verb=Verb.FREEZE, reports=(report,)
        )
        await self._ledger.decide(outcomes.report, command, holding=work)

    async def _keep_if_possible(
        self, incident: Incident, node: Node, before: Sample, after: Sample, proof: Proof
    ) -> None:
        try:
            await self._keep(incident, node, before, after, proof)
        except OSError as error:
            log.error("the proof against %s could not be kept: %s", node.name, error)

    async def _report_proven(
        self, work: Work, incident: Incident, node: Node, track: Track, before: Sample, after: Sample, proof: Proof
    ) -> None:
        """Report a proof once it is kept. While the vault cannot take it, say that, and do not call it proven."""
        try:
            item = await self._keep(incident, node, before, after, proof)
        except OSError as error:
            why = f"{proof.why}; not called proven while the vault cannot keep the proof: {error}"
            if track.detail != why:
                log.error("the proof of %s could not be kept: %s", node.name, error)
                await self._report(work, node.name, track, Proof(state=State.ACKNOWLEDGED, why=why))
            return
        await self._report(work, node.name, track, proof, item)

    async def _keep(self, incident: Incident, node: Node, before: Sample, after: Sample, proof: Proof) -> str:
        """Keep both samples and the judgement: the proof, or what speaks against it."""
        where = Where(
            incident=incident.number,
            node=node.name,
            source=_source(node),
            tool="stopsign prove",
            since=before.at,
            until=after.at,
        )
        value = {"judgement": asdict(proof), "samples": [_dump(before), _dump(after)], "keys": list(node.keys)}
        return await self._keeper.keep_json(where, "freeze-proof", value)

    def _signer(self, node: Node) -> Signer:
        driver = self._fleet.reach(node, Capability.SIGNER)
        if not isinstance(driver, Signer):
            raise NotReached(f"the inventory names no signer endpoint for {node.name}")
        return driver

    def _pause(self, work: Work) -> timedelta:
        return timedelta(seconds=min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** int(work.body.get("tries") or 0)))

    def _tried(self, work: Work) -> dict[str, Any]:
        return {**work.body, "tries": int(work.body.get("tries") or 0) + 1, "asked": False, "baseline": None}


def _outlived(before: Sample, now: Sample, track: Track) -> bool:
    """Tell whether the baseline is of a process that was restarted by a step of ours since."""
    return before.at < track.since and not track.state.proven and before.instance != now.instance


def _source(node: Node) -> str:
    endpoint = node.reach.get(Capability.SIGNER)
    return endpoint.url if endpoint else ""


def _dump(sample: Sample) -> dict[str, Any]:
    """Return a sample as JSON values."""
    return {
        "at": sample.at.isoformat(),
        "instance": sample.instance,
        "node_time": sample.node_time.isoformat() if sample.node_time else None,
        "keys": {
            key: {
                "signing": r.signing,
                "counter": r.counter,
                "last_signed_at": r.last_signed_at.isoformat() if r.last_signed_at else None,
                "next_duty_at": r.next_duty_at.isoformat() if r.next_duty_at else None,
            }
            for key, r in sample.keys.items()
        },
    }


def _load(value: Any) -> Sample | None:
    """Return what `_dump` wrote."""
    if not isinstance(value, Mapping):
        return None
    return Sample(
        at=datetime.fromisoformat(value["at"]),
        instance=value["instance"],
        node_time=_time(value["node_time"]),
        keys={
            key: KeyReading(
                signing=r["signing"],
                counter=r["counter"],
                last_signed_at=_time(r["last_signed_at"]),
                next_duty_at=_time(r["next_duty_at"]),
            )
            for key, r in value["keys"].items()
        },
    )


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
