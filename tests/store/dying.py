"""A process that dies in the middle of sequencing, at each statement in turn; what it leaves is checked each time.

`python -m tests.store.dying URL` prints the statements at which one died, and fails when something is not whole.
"""

import asyncio
import os
import signal
import sys

from sqlalchemy import event

from bot.store import sequencer
from tests.fakes import Room, alert
from tests.store.rooms import assert_whole, log_of, quiet, room_at, sequence


async def fill(url: str) -> None:
    """Sequence something, and leave something more to be sequenced."""
    async with room_at(url) as spine:
        await spine.receive(alert(signer="s01"))
        await sequence(spine)
        await spine.receive(alert("NodeDown", signer="s02"))


async def die(url: str, at: int) -> None:
    """Sequence, and die before statement number `at` of it, or before the commit."""
    async with room_at(url) as spine:
        seen = 0

        def count(*_: object) -> None:
            nonlocal seen
            if seen == at:
                os.kill(os.getpid(), signal.SIGKILL)
            seen += 1

        def act(connection: object) -> None:
            for moment in ("before_cursor_execute", "commit"):
                event.listen(spine.database.engine, moment, count)

        await spine.database.writer.do(act)
        await spine.database.writer.do(log_of(spine).sequence)


async def look(url: str) -> int:
    """Check everything; return how many leaves there are."""
    async with room_at(url) as spine:
        await _writable(spine)
        return await assert_whole(spine)


async def _writable(spine: Room) -> None:
    """Whoever died holds no lock."""
    await asyncio.wait_for(quiet(spine), timeout=4)


async def finish(url: str) -> tuple[int, int]:
    """Check everything; return how many leaves and how many checkpoints there are."""
    async with room_at(url) as spine:
        size = await assert_whole(spine)
        return size, len(await spine.database.reading(sequencer.checkpoints))


def main(url: str) -> None:
    """Die at every statement, one process each, until one comes to its end."""
    asyncio.run(fill(url))
    before, deaths = asyncio.run(look(url)), 0
    while True:
        child = os.fork()
        if child == 0:
            asyncio.run(die(url, deaths))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            break
        deaths += 1
        assert asyncio.run(look(url)) == before, f"leaves after death {deaths}"
    assert status == 0
    size, checkpoints = asyncio.run(finish(url))
    assert (size > before, checkpoints) == (True, 2)
    sys.stdout.write(f"{deaths}\n")


if __name__ == "__main__":
    main(sys.argv[1])
