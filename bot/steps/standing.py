"""The watch over what was read back once, isolation and limits: a reload of a proxy undoes them without a word."""

from collections.abc import Awaitable, Callable
from datetime import timedelta

from bot.domain.authority import BOT
from bot.domain.inventory import Node
from bot.domain.journal import TargetReport
from bot.domain.playbook import Verb
from bot.domain.target import State
from bot.domain.work import Again, Done, Result, Work
from bot.errors import Misconfigured, NodeError
from bot.flows import respond
from bot.ledger import Ledger
from bot.steps.fanout import spread

Holds = Callable[[Node], Awaitable[bool]]
"""Read back whether it is still so; raises a NodeError."""


def later(ledger: Ledger, work: Work) -> Again:
    """Return that a step's work goes on as a watch over what it did."""
    every: timedelta = ledger.world.config.policy.reprove_every
    return Again(at=ledger.clock.now() + every, body={**work.body, "standing": True})


async def look(ledger: Ledger, work: Work, verb: Verb, holds: Holds, *, lost: str) -> Result:
    """Read back every target that the step of `work` has proven, until it is let go or the incident is over.

    What no longer holds is failed, with the sentence `lost`; what cannot be read is unknown. Both are told when they
    are news, and so is that it holds again. Nothing is sent a second time: a person decides what follows.
    """
    number, step = work.incident or 0, str(work.body["step"])
    incident = await ledger.read(lambda rows: rows.incident(number))
    tracks = incident.tracks.get(verb, {}) if incident else {}
    doubted = set(work.body.get("doubted") or ())
    nodes = ledger.world.config.inventory.nodes
    mine = [n for n, t in tracks.items() if t.step == step and n in nodes and (t.state.proven or n in doubted)]
    if incident is None or not incident.status.live or not mine:
        return Done(note="let go")

    async def one(name: str) -> TargetReport:
        try:
            state, detail = (
                (State.VERIFIED, "reads back as it was") if await holds(nodes[name]) else (State.FAILED, lost)
            )
        except (NodeError, Misconfigured) as error:
            state, detail = State.UNKNOWN, f"cannot be read back: {error}"
        return TargetReport(node=name, state=state, detail=detail)

    told = [report async for reports in spread(mine, one) for report in reports]
    news = tuple(r for r in told if not (r.state.proven and tracks[r.node].state.proven))
    if news:
        command = respond.Stands(by=BOT, incident=number, step=step, verb=verb, reports=news)
        await ledger.decide(respond.stands, command, holding=work)
    again = later(ledger, work)
    return Again(
        at=again.at, body={**work.body, "standing": True, "doubted": [r.node for r in told if not r.state.proven]}
    )
