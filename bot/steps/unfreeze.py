"""Unfreeze: the way back, checked against everything that could make two machines sign the same duty."""

import asyncio
from dataclasses import replace
from datetime import timedelta

from bot.domain.authority import BOT
from bot.domain.inventory import Capability, Node, same_key
from bot.domain.playbook import Verb
from bot.domain.protection import protected
from bot.domain.target import Answer, State, prove, short, window
from bot.domain.work import Result, Work
from bot.errors import NoAnswer, NodeBroken, NodeError, NodeRefused
from bot.flows import respond
from bot.ledger import Ledger
from bot.ports import Fleet, Signer
from bot.steps.evidence import Keeper, Where, once
from bot.steps.fanout import Outcome, key_of, run_step

LONGEST_WAIT = timedelta(minutes=15)


NOT_OFFERED = {None, 404, 405, 501}
"""Statuses of a refusal that say that a signer gives out no slashing protection; None: its API has no way to."""


class Unfreezer:
    """Handles `step.unfreeze`. That other holders of the key are stopped is checked by the flow that lets it begin."""

    def __init__(self, ledger: Ledger, fleet: Fleet, keeper: Keeper) -> None:
        self._ledger = ledger
        self._fleet = fleet
        self._keeper = keeper

    async def step(self, work: Work) -> Result:
        """Check and unfreeze each target of the step."""
        return await run_step(self._ledger, work, self._one)

    async def _one(self, go: respond.Go, name: str) -> Outcome:
        node = go.config_nodes[name]
        signer = self._fleet.reach(node, Capability.SIGNER)
        if not isinstance(signer, Signer):
            return Outcome(state=State.REFUSED, detail="the inventory names no signer endpoint")
        track = go.incident.tracks.get(Verb.FREEZE, {}).get(name)
        if go.resumed and track is not None and track.detail.startswith(f"{go.step.id}:"):
            return await self._signs_again(node, signer)  # the request may have left before we were cut off
        if (why := await self._still_silent(node, signer)) is not None:
            return Outcome(state=State.REFUSED, detail=why)
        if (why := await self._protected(go, node, signer)) is not None:
            return Outcome(state=State.REFUSED, detail=why)
        command = respond.Release(by=BOT, incident=go.incident.number, step=go.step.id, node=name)
        if (why := await self._ledger.decide(respond.release, command)) is not None:
            return Outcome(state=State.REFUSED, detail=why)
        try:
            reply = await signer.unfreeze(node.keys, incident=go.incident.id, request=key_of(go, name))
        except (NoAnswer, NodeBroken) as error:
            return Outcome(state=State.UNKNOWN, detail=str(error))
        if reply.answer not in {Answer.ACKNOWLEDGED, Answer.ALREADY}:
            state = {Answer.UNKNOWN: State.UNKNOWN, Answer.REFUSED: State.REFUSED}.get(reply.answer, State.FAILED)
            return Outcome(state=state, detail=reply.detail)
        outcome = await self._signs_again(node, signer)
        if signer.traits.reversible:
            return outcome
        return replace(outcome, detail=f"{reply.detail}; {outcome.detail}")  # what people still have to do

    async def _still_silent(self, node: Node, signer: Signer) -> str | None:
        """Say why not, unless nothing signs with the keys over two duty windows from now."""
        period = self._ledger.world.config.inventory.avs[node.avs].duty_period
        windows = self._ledger.world.config.policy.unfreeze_windows
        before = await signer.sample(node.keys)
        due = window(before, node.keys, period, windows)
        await asyncio.sleep(min(LONGEST_WAIT, max(timedelta(), due - before.at)).total_seconds() + 0.01)
        proof = prove(before, await signer.sample(node.keys), node.keys, period=period, windows=windows)
        return None if proof.state.proven else f"not proven silent over {windows} duty windows: {proof.why}"

    async def _protected(self, go: respond.Go, node: Node, signer: Signer) -> str | None:
        """Say why not, unless slashing protection is at or above the highest signature that was captured."""
        keys = {same_key(key) for key in node.keys}
        captured = {m: high for m, high in go.incident.highest.items() if m.partition(":")[2] in keys}
        if not captured:
            return None
        where = Where(
            incident=go.incident.number,
            node=node.name,
            source=node.reach[Capability.SIGNER].url,
            tool=type(signer).__module__,
        )
        try:
            content = await signer.slashing_protection()
        except NodeRefused as refused:
            if signer.traits.destructive or refused.status not in NOT_OFFERED:
                raise
            # Nothing is imported: keys and protection never left the signer, which only gives out no copy of it.
            await self._keeper.missing(where, "slashing-protection", str(refused))
            return None
        await self._keeper.keep(where, what="slashing-protection", media_type="application/json", chunks=once(content))
        try:
            have = protected(content)
        except ValueError as error:
            raise NodeBroken(f"the slashing-protection export cannot be read: {error}") from error
        for mark, highest in captured.items():
            level = have.get(mark, -1)
            if level < highest:
                what, _, key = mark.partition(":")
                known = f"is at {level}" if level >= 0 else "knows nothing"
                return f"slashing protection of {short(key)} {known} for {what}s; a signature at {highest} was captured"
        return None

    async def _signs_again(self, node: Node, signer: Signer) -> Outcome:
        """Read back that the keys sign again."""
        try:
            sample = await signer.sample(node.keys)
        except NodeError as error:
            return Outcome(state=State.UNKNOWN, detail=f"unfreeze acknowledged, read-back failed: {error}")
        still = [k for k in node.keys if (r := sample.keys.get(k)) is None or not r.signing]
        if still:
            return Outcome(
                state=State.UNKNOWN, detail=f"unfreeze acknowledged, but {short(still[0])} reads back as stopped"
            )
        return Outcome(state=State.VERIFIED, detail="reads back as signing")
