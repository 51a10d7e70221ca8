"""A capture that kills its own process at the n-th step it takes towards the vault or the journal; run by a test.

`python -m tests.crash.capturing FOLDER N`: N = 0 kills nothing and prints how many steps there are.
"""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from bot.domain.playbook import Verb
from bot.domain.target import State
from bot.ports import Item
from bot.steps.capture import Capturer
from bot.steps.evidence import Keeper
from bot.store import writer
from bot.vault import files, folder
from tests.fakes import SIDECAR, FrozenClock, Room, alert, room
from tests.steps.test_capture import Several, Silent

KINDS = ("signed-messages", "signer-audit", "peers")
LATER = timedelta(minutes=5)


def content(what: str) -> list[bytes]:
    """Return an item in chunks; the first kind is what was signed."""
    line = b'{"key": "0xs01", "duty": "sequence", "slot": %d, "digest": "0x%02x"}\n'
    return [line % (n, n) if what == KINDS[0] else f"{what} {n}\n".encode() for n in range(3)]


class Node:
    """A recorder that gives three items of three chunks each."""

    traits = SIDECAR

    async def capture(self, since: datetime, until: datetime) -> AsyncIterator[Item]:
        for what in KINDS:
            yield Item(what=what, source="http://s01", media_type="x", chunks=self._chunks(what), tool="t")

    async def _chunks(self, what: str) -> AsyncIterator[bytes]:
        for chunk in content(what):
            await asyncio.sleep(0)
            yield chunk


class Steps:
    """Counts what is done, and kills the process before the n-th."""

    def __init__(self, fatal: int) -> None:
        self.fatal = fatal
        self.taken = 0

    def count(self) -> None:
        """Count from now on what is done to the vault's files and in the database."""
        for name in ("write", "settle", "close"):
            self.before(folder._Incoming, name)
        for owner, name in ((files, "create"), (os, "link"), (os, "fsync"), (writer, "_apart")):
            self.before(owner, name)

    def before(self, owner: Any, name: str) -> None:
        """Count each call of a function, and die before the fatal one."""
        real: Callable[..., Any] = getattr(owner, name)

        def counted(*given: Any, **named: Any) -> Any:
            self.taken += 1
            if self.taken == self.fatal:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*given, **named)

        setattr(owner, name, counted)


async def begun(spine: Room) -> None:
    """Bring inc-1 to where its capture is planned."""
    await spine.receive(alert(signer="s01"))
    await spine.advance()
    await spine.run(Verb.FREEZE, State.VERIFIED)
    await spine.advance()


async def capture(spine: Room, home: Path, steps: "Steps | None" = None) -> None:
    """Claim the capture that is due and run it; from there on `steps` are counted."""
    (work,) = await spine.due("step.capture")
    if steps is not None:
        steps.count()
    keeper = Keeper(spine.ledger, folder.Folder(home))
    await Capturer(spine.ledger, Several(Node()), keeper, Silent()).step(work)


async def main(home: Path, fatal: int) -> None:
    """Begin the incident, then capture, counting."""
    async with room(home) as spine:
        await begun(spine)
        steps = Steps(fatal)
        await capture(spine, home, steps)
        print(steps.taken)


async def again(home: Path) -> tuple[Any, list[Any]]:
    """Open what a killed process left, capture again five minutes later; return the state and the journal."""
    clock = FrozenClock()
    clock.go(minutes=5)
    async with room(home, clock=clock) as spine:
        await capture(spine, home)
        return (await spine.incident()).state(Verb.CAPTURE, "s01"), [w.entry for w in await spine.journal()]


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
