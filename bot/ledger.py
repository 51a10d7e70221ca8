"""decide(): the only way to write.

One transaction: authority, then the flow, then rows, journal entries and the work that follows from them, then the
commit. The caller has its answer only after the commit.
"""

from collections.abc import Callable
from typing import TypeVar

from bot.domain.journal import CommandRefused
from bot.domain.work import Work
from bot.errors import NotFound, Refused, Stale
from bot.flows.book import Book, Command, World, authorise
from bot.flows.consequences import consequences
from bot.ports import Clock, Rows, Store

T = TypeVar("T")
C = TypeVar("C", bound=Command)
Flow = Callable[[Book, C], T]


class Ledger:
    """Decisions over a store."""

    def __init__(self, store: Store, *, world: World, clock: Clock) -> None:
        self._store = store
        self.world = world
        self.clock = clock

    async def decide(self, flow: Flow[C, T], command: C, *, holding: Work | None = None) -> T:
        """Decide `command` by `flow` and commit; return the flow's answer.

        With `holding`, the decision is made only while that work is still ours.

        Raises:
            Refused: authority or policy said no; a refusal of a person is journalled in the incident it was about.
            Invalid: the command makes no sense; nothing changed.
            Stale: `holding` was lost to another worker; nothing changed.
            NotCommitted: the database could not; nothing changed.
        """

        def act(rows: Rows) -> T:
            if holding is not None and not rows.holds(holding):
                raise Stale(f"the lease of {holding.key} was lost")
            book = Book(rows, world=self.world, now=self.clock.now(), by=command.by)
            authorise(command, self.world.config)
            answer = flow(book, command)
            book.close(consequences)
            return answer

        try:
            return await self._store.write(act, soon=command.soon or not command.by.is_bot)
        except Refused as refusal:
            await self._note_refusal(command, refusal)
            raise

    async def preview(self, flow: Flow[C, T], command: C) -> T:
        """Return what a flow answers to `command` after the same check of authority; nothing that it does is kept.

        Raises as `decide` does; a refusal is written down like any other.
        """

        def act(rows: Rows) -> T:
            authorise(command, self.world.config)
            return flow(Book(rows, world=self.world, now=self.clock.now(), by=command.by), command)

        try:
            return await self._store.read(act)
        except Refused as refusal:
            await self._note_refusal(command, refusal)
            raise

    async def read(self, reading: Callable[[Rows], T]) -> T:
        """Read without writing."""
        return await self._store.read(reading)

    async def _note_refusal(self, command: Command, refusal: Refused) -> None:
        """Write down what a person was refused: in the incident it was about, else in the watch's stream."""
        number = getattr(command, "incident", None)
        if command.by.is_bot:
            return
        entry = CommandRefused(command=type(command).__name__, reason=str(refusal))

        def act(rows: Rows) -> None:
            book = Book(rows, world=self.world, now=self.clock.now(), by=command.by)
            try:
                book.write(book.incident(number), entry) if isinstance(number, int) else book.write_watch(entry)
            except NotFound:
                return
            book.close(consequences)

        await self._store.write(act)
