"""Without Slack nothing waits for ever: what would be said is set aside, and who was not reached is told once."""

import asyncio
from collections.abc import Awaitable, Callable

from bot.chat.outbound import KINDS
from bot.domain.authority import BOT
from bot.domain.journal import WorkBuried
from bot.domain.work import Work
from bot.flows import outcomes, people
from bot.steps.unconnected import Unconnected
from bot.worker import Worker
from tests.fakes import Room, alert, person


def burying(spine: Room) -> Callable[[Work, str], Awaitable[None]]:
    """Return how the app writes burials down."""

    async def buried(work: Work, why: str) -> None:
        entry = WorkBuried(work=work.key, kind=work.kind, reason=why)
        await spine.decide(outcomes.bury, outcomes.Bury(by=BOT, incident=work.incident or 0, entry=entry))

    return buried


async def worked(spine: Room) -> None:
    """Do all that is due."""
    worker = Worker(spine.claims, Unconnected(spine.ledger).handlers(KINDS), clock=spine.clock, buried=burying(spine))
    async with asyncio.timeout(5):
        while await worker.once() or worker.busy:
            await asyncio.sleep(0.01)


async def test_a_page_that_reaches_nobody_is_told_once_with_their_names(spine: Room) -> None:
    await spine.receive(alert(signer="s01"))
    paged = next(iter((await spine.incident()).pages.values()))
    assert len(paged.people) > 1
    await worked(spine)
    spine.clock.go(seconds=5)
    await worked(spine)
    told = [w.entry.reason for w in await spine.journal() if isinstance(w.entry, WorkBuried)]
    assert len(told) == 1
    assert told[0].startswith("Slack is not connected, so nobody was paged: call Ada, Bo, Cyn")
    assert await spine.due(*sorted(KINDS)) == ()
    backlog = await spine.ledger.read(lambda rows: rows.backlog(spine.clock.now()))
    assert backlog.waiting == 0


async def test_a_page_that_nobody_needs_any_more_is_no_news(spine: Room) -> None:
    await spine.receive(alert(signer="s01"))
    await spine.decide(people.acknowledge, people.Acknowledge(by=person("ada"), incident=1))
    await worked(spine)
    assert not [w for w in await spine.journal() if isinstance(w.entry, WorkBuried)]
