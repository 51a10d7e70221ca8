"""Rollback: to the contract's build, and what runs afterwards is read back."""

from bot.domain.inventory import Capability
from bot.domain.target import Answer, Effect, Release, State
from bot.domain.work import Result, Work
from bot.errors import NodeBroken, NodeError
from bot.flows import respond
from bot.ledger import Ledger
from bot.ports import Deployer, Fleet
from bot.steps.evidence import Keeper, Where
from bot.steps.fanout import Outcome, key_of, of_reply, run_step


class Rollbacker:
    """Handles `step.rollback`."""

    def __init__(self, ledger: Ledger, fleet: Fleet, keeper: Keeper) -> None:
        self._ledger = ledger
        self._fleet = fleet
        self._keeper = keeper

    async def step(self, work: Work) -> Result:
        """Roll each target of the step back."""
        return await run_step(self._ledger, work, self._one)

    async def _one(self, go: respond.Go, name: str) -> Outcome:
        node = go.config_nodes[name]
        deployer = self._fleet.reach(node, Capability.DEPLOYER)
        if not isinstance(deployer, Deployer):
            return Outcome(state=State.REFUSED, detail="the inventory names no deployer endpoint")
        before = await deployer.release()
        build = go.step.parameters[name]
        if go.resumed and deployer.traits.effect is Effect.AT_MOST_ONCE and before.build_hash != build:
            return Outcome(state=State.UNKNOWN, detail="an earlier request may still be at work: it is not sent twice")
        # Also where that build runs already: the driver knows whether its work there is finished, and no twin runs.
        if before.build_hash != build or deployer.traits.effect is not Effect.AT_MOST_ONCE:
            reply = await deployer.rollback(build, incident=go.incident.id, request=key_of(go, name))
            if reply.answer not in {Answer.ACKNOWLEDGED, Answer.ALREADY}:
                return of_reply(reply)
        try:
            after = await deployer.release()
        except NodeError as error:
            return Outcome(state=State.UNKNOWN, detail=f"rollback asked for, and the node cannot be read: {error}")
        where = Where(
            incident=go.incident.number,
            node=name,
            source=node.reach[Capability.DEPLOYER].url,
            tool=type(deployer).__module__,
        )
        item = await self._keeper.keep_json(
            where, "rollback", {"before": _as(before), "after": _as(after), "wanted": build}
        )
        return self._judge(go, name, before, after, build, item)

    def _judge(self, go: respond.Go, name: str, before: Release, after: Release, build: str, item: str) -> Outcome:
        if after.build_hash != build:
            return Outcome(state=State.FAILED, detail=f"runs {after.build_hash[:19]}, not {build[:19]}", item=item)
        contract = go.config_nodes[name].rollback
        wanted = contract.config_checksum if contract else None
        if wanted and after.config_checksum != wanted:
            return Outcome(
                state=State.FAILED, detail="the build is right, its configuration is not the contract's", item=item
            )
        if before.build_hash == build:
            return Outcome(state=State.ALREADY, detail=f"already ran {after.version}", item=item)
        return Outcome(state=State.VERIFIED, detail=f"{before.version} to {after.version}, read back", item=item)


def _as(release: Release) -> dict[str, str | None]:
    if not release.build_hash:
        raise NodeBroken("the node does not say which build runs")
    return {
        "version": release.version,
        "build_hash": release.build_hash,
        "config_checksum": release.config_checksum,
        "instance": release.instance,
    }
