"""Without Slack: what would be said there is set aside with a word why, and pages that reach nobody are told."""

from collections.abc import Awaitable, Callable, Iterable, Mapping

from bot.domain.work import Dead, Done, Result, Work
from bot.ledger import Ledger
from bot.render.words import who

NOTE = "Slack is not connected"


class Unconnected:
    """Handles what chat would; only in the process that serves: another one may have Slack where this one has not."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def handlers(self, kinds: Iterable[str]) -> Mapping[str, Callable[[Work], Awaitable[Result]]]:
        """Return a handler for each kind."""
        return {kind: self.page if kind == "page.slack" else self.aside for kind in kinds}

    async def aside(self, work: Work) -> Result:
        """Set it aside: months later nobody wants to be told."""
        return Done(note=NOTE)

    async def page(self, work: Work) -> Result:
        """Bury the first of a page's rows for all of them, so that the timeline says once who was not reached."""
        number = work.incident or 0
        incident = await self._ledger.read(lambda rows: rows.incident(number))
        paged = incident.pages.get(str(work.body["page"])) if incident else None
        if incident is None or paged is None or not incident.calls(paged):
            return Done(note="nobody needs to be paged any more")
        if work.body["person"] != paged.people[0]:
            return Done(note=NOTE)
        names = ", ".join(who(person, self._ledger.world.config) for person in paged.people)
        return Dead(why=f"{NOTE}, so nobody was paged: call {names} yourself")
