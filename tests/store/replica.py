"""One replica: a process that decides, claims and sequences as fast as it can, and says what it was promised.

`python -m tests.store.replica URL NAME SECONDS` prints a line of JSON for each thing that was acknowledged, at once.
"""

import asyncio
import itertools
import json
import random
import sys
from collections.abc import Awaitable, Callable
from datetime import timedelta

from bot.domain import journal as j
from bot.domain.authority import BOT
from bot.domain.severity import Severity
from bot.domain.work import Done, Todo
from bot.errors import StopsignError
from bot.flows import intake, people
from bot.flows.book import Book, Command
from tests.fakes import Room, alert, person
from tests.store.rooms import log_of, room_at

LOG = 6
"""Notes go to so many incidents."""


def tell(what: str, value: object) -> None:
    """Print what was acknowledged."""
    sys.stdout.write(json.dumps([what, value]) + "\n")
    sys.stdout.flush()


class Replica:
    """What one process does at once."""

    def __init__(self, spine: Room, name: str) -> None:
        self.spine = spine
        self.name = name
        self.count = itertools.count()
        self.chance = random.Random(name)

    async def note(self) -> None:
        """Add a note to an incident, with a job that follows from it."""
        text = f"{self.name}-{next(self.count)}"

        def flow(book: Book, _command: Command) -> None:
            incident = book.incident(1 + self.chance.randrange(LOG))
            book.write(incident, j.NoteAdded(text=text, source="note"))
            book.todo(Todo(key=f"job {text}", kind="job", lane=self.chance.choice([None, "lane"])))

        await self.spine.decide(flow, people.AddNote(by=person("ada"), incident=1, text=text, source="note"))
        tell("note", text)

    async def declare(self) -> None:
        """Open an incident."""
        text = f"{self.name}-{next(self.count)}"
        command = intake.Declare(by=person("ada"), severity=Severity.SEV3, summary=text)
        await self.spine.decide(intake.declare, command)
        tell("incident", text)
        await asyncio.sleep(0.1)

    async def receive(self) -> None:
        """Take in an alert that all replicas get: it opens one incident, whoever is first."""
        received = await self.spine.receive(alert(signer=f"s{1 + self.chance.randrange(20):02}"))
        tell("alert", received.incidents)
        await asyncio.sleep(0.02)

    async def watch(self) -> None:
        """Write an entry into the watch's stream, and one into an incident's in the same transaction."""
        text = f"{self.name}-{next(self.count)}"

        def flow(book: Book, _command: Command) -> None:
            book.write_watch(j.CommandRefused(command="Watch", reason=text))
            book.write(book.incident(1 + self.chance.randrange(LOG)), j.NoteAdded(text=text, source="note"))

        await self.spine.decide(flow, Command(by=BOT))
        tell("note", text)

    async def work(self) -> None:
        """Claim jobs; finish some of them, so that their lanes go on."""
        for claimed in await self.spine.claims.claim(("job",), limit=5, lease=timedelta(minutes=10)):
            tell("claim", [claimed.key, claimed.fence])
            assert await self.spine.claims.finish(claimed, Done())
        await asyncio.sleep(0.01)

    async def sequence(self) -> None:
        """Sequence what there is."""
        added = await self.spine.database.writer.do(log_of(self.spine).sequence)
        tell("leaves", added)

    async def again(self, act: Callable[[], Awaitable[None]]) -> None:
        """Do something for ever."""
        while True:
            try:
                await act()
            except StopsignError as error:
                tell("error", f"{type(error).__name__}: {error}")


async def main(url: str, name: str, seconds: float) -> None:
    """Do everything at once for so many seconds."""
    async with room_at(url) as spine:
        replica = Replica(spine, name)
        acts = [replica.note] * 6 + [replica.watch, replica.declare, replica.receive, replica.work, replica.sequence]
        tell("ready", name)
        tasks = [asyncio.create_task(replica.again(act)) for act in acts]
        await asyncio.sleep(seconds)
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        for found in results:
            if not isinstance(found, asyncio.CancelledError):
                tell("error", repr(found))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3])))
