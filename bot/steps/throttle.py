"""Throttle: slow risky flows down, read back."""

from bot.domain.inventory import Capability, Node
from bot.domain.playbook import Verb
from bot.domain.target import Answer, State
from bot.domain.work import Result, Work
from bot.errors import NotReached
from bot.flows import respond
from bot.ledger import Ledger
from bot.ports import Fleet, Throttle
from bot.steps import standing
from bot.steps.fanout import Outcome, key_of, of_reply, run_step


class Throttler:
    """Handles `step.throttle`."""

    def __init__(self, ledger: Ledger, fleet: Fleet) -> None:
        self._ledger = ledger
        self._fleet = fleet

    async def step(self, work: Work) -> Result:
        """Throttle each target of the step, and look from time to time whether it still is."""
        if work.body.get("standing"):
            lost = "no longer limited: it reads back as unlimited, as after a reload of its proxy; throttle it again"
            return await standing.look(self._ledger, work, Verb.THROTTLE, self._limited, lost=lost)
        await run_step(self._ledger, work, self._one)
        return standing.later(self._ledger, work)

    async def _limited(self, node: Node) -> bool:
        driver = self._fleet.reach(node, Capability.THROTTLE)
        if not isinstance(driver, Throttle):
            raise NotReached("the inventory names no throttle endpoint any more")
        return await driver.throttled()

    async def _one(self, go: respond.Go, name: str) -> Outcome:
        driver = self._fleet.reach(go.config_nodes[name], Capability.THROTTLE)
        if not isinstance(driver, Throttle):
            return Outcome(state=State.REFUSED, detail="the inventory names no throttle endpoint")
        reply = await driver.throttle(incident=go.incident.id, request=key_of(go, name))
        if reply.answer not in {Answer.ACKNOWLEDGED, Answer.ALREADY}:
            return of_reply(reply)
        if not await driver.throttled():
            return Outcome(state=State.FAILED, detail=f"{reply.detail}, but it reads back as unlimited")
        state = State.ALREADY if reply.answer is Answer.ALREADY else State.VERIFIED
        return Outcome(state=state, detail="reads back as limited")
