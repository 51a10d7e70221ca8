"""Isolate and restore: traffic away from a node and back, each read back."""

from bot.domain.inventory import Capability, Node
from bot.domain.playbook import Verb
from bot.domain.target import Answer, State
from bot.domain.work import Result, Work
from bot.errors import NotReached
from bot.flows import respond
from bot.ledger import Ledger
from bot.ports import Fleet, Router
from bot.steps import standing
from bot.steps.fanout import Outcome, key_of, of_reply, run_step


class Isolator:
    """Handles `step.isolate` and `step.restore`."""

    def __init__(self, ledger: Ledger, fleet: Fleet) -> None:
        self._ledger = ledger
        self._fleet = fleet

    async def isolate(self, work: Work) -> Result:
        """Take each target of the step out of traffic, and look from time to time whether it still is."""
        if work.body.get("standing"):
            lost = (
                "no longer out of traffic: it reads back as serving, as after a reload of its proxy; isolate it again"
            )
            return await standing.look(self._ledger, work, Verb.ISOLATE, self._away, lost=lost)
        await run_step(self._ledger, work, lambda go, name: self._one(go, name, away=True))
        return standing.later(self._ledger, work)

    async def _away(self, node: Node) -> bool:
        router = self._fleet.reach(node, Capability.ROUTER)
        if not isinstance(router, Router):
            raise NotReached("the inventory names no router endpoint any more")
        return await router.isolated()

    async def restore(self, work: Work) -> Result:
        """Let each target of the step serve again."""
        return await run_step(self._ledger, work, lambda go, name: self._one(go, name, away=False))

    async def _one(self, go: respond.Go, name: str, *, away: bool) -> Outcome:
        router = self._fleet.reach(go.config_nodes[name], Capability.ROUTER)
        if not isinstance(router, Router):
            return Outcome(state=State.REFUSED, detail="the inventory names no router endpoint")
        act = router.isolate if away else router.restore
        reply = await act(incident=go.incident.id, request=key_of(go, name))
        if reply.answer not in {Answer.ACKNOWLEDGED, Answer.ALREADY}:
            return of_reply(reply)
        if await router.isolated() is not away:
            return Outcome(
                state=State.FAILED, detail=f"{reply.detail}, but it reads back as {'serving' if away else 'isolated'}"
            )
        state = State.ALREADY if reply.answer is Answer.ALREADY else State.VERIFIED
        return Outcome(state=state, detail="reads back as out of traffic" if away else "reads back as serving")
