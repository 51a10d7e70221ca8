"""Work that is only a time and a decision: clocks, reminders, escalations, expiries."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime

from bot.domain.authority import BOT
from bot.domain.roles import Role
from bot.domain.work import Again, Done, Result, Work
from bot.flows import approve, glass, intake, outcomes, people, status
from bot.ledger import Ledger


class Timers:
    """Handles the kinds of `handlers`."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def handlers(self) -> Mapping[str, Callable[[Work], Awaitable[Result]]]:
        """Return the handlers by kind."""
        return {
            "clock": self.clock,
            "prompt.escalate": self.prompt,
            "page.escalate": self.page,
            "role.remind": self.role,
            "approval.expire": self.approval,
            "glass": self.glass,
            "page.more": self.more,
            "quiet": self.quiet,
        }

    async def clock(self, work: Work) -> Result:
        """Ask for the status that is owed and come back for the next one."""
        since = datetime.fromisoformat(work.body["since"])
        command = status.Tick(by=BOT, incident=work.incident or 0, audience=work.body["audience"], since=since)
        return _again(await self._ledger.decide(status.tick, command, holding=work))

    async def prompt(self, work: Work) -> Result:
        """Ask more people for a status that did not come."""
        command = status.EscalatePrompt(by=BOT, incident=work.incident or 0, prompt=work.body["prompt"])
        return _again(await self._ledger.decide(status.escalate_prompt, command, holding=work))

    async def page(self, work: Work) -> Result:
        """Move a page on."""
        command = people.Escalate(by=BOT, incident=work.incident or 0, page=work.body["page"])
        await self._ledger.decide(people.escalate, command, holding=work)
        return Done()

    async def role(self, work: Work) -> Result:
        """Ask again for an unfilled role."""
        command = people.RemindRole(by=BOT, incident=work.incident or 0, role=Role(work.body["role"]))
        await self._ledger.decide(people.remind_role, command, holding=work)
        return Done()

    async def approval(self, work: Work) -> Result:
        """End a request that nobody completed."""
        command = approve.Expire(by=BOT, incident=work.incident or 0, approval=work.body["approval"])
        return _again(await self._ledger.decide(approve.expire, command, holding=work))

    async def glass(self, work: Work) -> Result:
        """Let a break-glass have its effect."""
        command = glass.GlassDue(by=BOT, incident=work.incident or 0, approval=work.body["approval"])
        await self._ledger.decide(glass.glass_due, command, holding=work)
        return Done()

    async def more(self, work: Work) -> Result:
        """Page for what went wrong since the last page."""
        since = datetime.fromisoformat(work.body["since"])
        command = outcomes.PageMore(by=BOT, incident=work.incident or 0, cause=work.body["cause"], since=since)
        await self._ledger.decide(outcomes.page_more, command, holding=work)
        return Done()

    async def quiet(self, work: Work) -> Result:
        """Resolve a SEV-3 that stayed quiet."""
        return _again(
            await self._ledger.decide(intake.settle, intake.Quiet(by=BOT, incident=work.incident or 0), holding=work)
        )


def _again(at: datetime | None) -> Result:
    return Again(at=at) if at is not None else Done()
