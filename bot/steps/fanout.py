"""One step over many targets: about one round trip, not N. Outcomes are flushed while the rest is under way."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import TypeVar

from bot.domain.authority import BOT
from bot.domain.journal import TargetReport
from bot.domain.target import Answer, Reply, State
from bot.domain.work import Done, Result, Work
from bot.errors import NoAnswer, NodeBroken, NodeError, NodeRefused, NotCommitted, NotReached, Stale
from bot.flows import outcomes, respond
from bot.ledger import Ledger

T = TypeVar("T")

FLUSH = 0.1
AT_ONCE = 256
A_PASS = 4
"""So many requests begin in one pass of the event loop: all at once would stall everybody else for a second."""

STATES = {
    Answer.ACKNOWLEDGED: State.ACKNOWLEDGED,
    Answer.ALREADY: State.ACKNOWLEDGED,
    Answer.REFUSED: State.REFUSED,
    Answer.FAILED: State.FAILED,
    Answer.UNKNOWN: State.UNKNOWN,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one target's call came to; `item` names evidence that came with it."""

    state: State
    detail: str
    item: str | None = None
    already: bool = False


Act = Callable[[respond.Go, str], Awaitable[Outcome]]


async def run_step(ledger: Ledger, work: Work, act: Act) -> Result:
    """Begin the step of `work`, call `act` for each target at once, report as outcomes come, finish."""
    assert work.incident is not None  # steps always belong to an incident
    step = str(work.body["step"])
    go = await ledger.decide(respond.begin, respond.Begin(by=BOT, incident=work.incident, step=step), holding=work)
    if go.off is not None:
        return Done(note=go.off)
    await _fan_out(ledger, work, go, act)
    await ledger.decide(outcomes.finish, outcomes.Finish(by=BOT, incident=work.incident, step=step), holding=work)
    return Done()


async def _fan_out(ledger: Ledger, work: Work, go: respond.Go, act: Act) -> None:
    playbook = ledger.world.config.playbooks.get(go.incident.playbook)
    planned = playbook.step(go.step.verb) if playbook else None
    limit = planned.timeout.total_seconds() if planned else None

    async def one(node: str) -> TargetReport:
        outcome = await guarded(act, go, node, limit=limit)
        return TargetReport(
            node=node, state=outcome.state, detail=outcome.detail, item=outcome.item, already=outcome.already
        )

    async with aclosing(spread(go.targets, one)) as batches:
        async for reports in batches:
            await report(ledger, go, reports, holding=work)


async def spread(targets: Iterable[str], one: Callable[[str], Awaitable[T]]) -> AsyncGenerator[list[T], None]:
    """Call `one` for all targets at once, AT_ONCE at a time; yield what came, together, every FLUSH seconds at most."""
    gate, turn = asyncio.Semaphore(AT_ONCE), asyncio.Semaphore(A_PASS)

    async def gated(target: str) -> T:
        async with gate:
            async with turn:
                await asyncio.sleep(0)
            return await one(target)

    pending = {asyncio.create_task(gated(target)) for target in targets}
    try:
        while pending:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            if pending:
                more, pending = await asyncio.wait(pending, timeout=FLUSH)
                done |= more
            yield [task.result() for task in done]
    finally:
        for task in pending:
            task.cancel()


async def report(ledger: Ledger, go: respond.Go, reports: Sequence[TargetReport], *, holding: Work) -> None:
    """Write outcomes down."""
    command = outcomes.Report(
        by=BOT, incident=go.incident.number, step=go.step.id, verb=go.step.verb, reports=tuple(reports)
    )
    await ledger.decide(outcomes.report, command, holding=holding)


async def guarded(act: Act, go: respond.Go, node: str, *, limit: float | None = None) -> Outcome:
    """Run one target's calls, for at most `limit` seconds, and translate what they raise: unknown is not failure."""
    deadline = asyncio.timeout(limit)
    try:
        async with deadline:
            return await act(go, node)
    except TimeoutError as error:
        why = f"no outcome within the playbook's {limit:g} s" if deadline.expired() else f"TimeoutError: {error}"
        return Outcome(state=State.UNKNOWN, detail=why)
    except NodeError as error:
        return Outcome(state=state_of(error), detail=str(error))
    except (Stale, NotCommitted):
        raise
    except Exception as error:  # noqa: BLE001 - one target's trouble is one target's outcome, and no other's
        return Outcome(state=State.UNKNOWN, detail=f"{type(error).__name__}: {error}")


def state_of(error: NodeError) -> State:
    """Return what a failed call means for its target."""
    match error:
        case NotReached():
            return State.FAILED
        case NodeRefused():
            return State.REFUSED
        case NoAnswer() | NodeBroken():
            return State.UNKNOWN
    return State.UNKNOWN


def of_reply(reply: Reply, item: str | None = None) -> Outcome:
    """Return a reply as an outcome; an acknowledgement is not yet a proof."""
    already = reply.answer is Answer.ALREADY
    return Outcome(state=STATES[reply.answer], detail=reply.detail, item=item, already=already)


def key_of(go: respond.Go, node: str) -> str:
    """Return the idempotency key of one effect: the same step on the same node is the same effect."""
    return f"{go.incident.id}:{go.step.id}:{node}"
