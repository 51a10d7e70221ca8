"""Hand the newest checkpoint to whoever is to hold it. Nothing waits for that, and no outage ends it."""

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from bot.domain.authority import BOT
from bot.domain.work import Again, Done, Result, Work
from bot.errors import StopsignError
from bot.flows import anchors as flow
from bot.ledger import Ledger

log = logging.getLogger(__name__)

FIRST_PAUSE = timedelta(seconds=10)
LONGEST_PAUSE = timedelta(minutes=10)


class Anchor(Protocol):
    """Somebody outside our reach who takes checkpoints. `kind` says what its proofs are."""

    name: str
    kind: str

    async def anchor(self, note: str, size: int) -> bytes:
        """Hand over the signed checkpoint of the first `size` leaves; return the proof. Safe to repeat.

        Raises a StopsignError with a sentence.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What an anchor holds: its newest checkpoint is over `size` leaves and was taken at `at`."""

    size: int
    at: datetime


class Checkpoints(Protocol):
    """The signed checkpoints of the log, and which of them others hold."""

    async def newest(self) -> tuple[int, str] | None:
        """Return size and note of the newest checkpoint, None while nothing was sequenced."""
        ...

    async def news(self) -> int:
        """Return the log's size up to its newest sequenced entry that is not AnchorLost or AnchorBack; 0 when empty.

        What anchors cause must not cause anchoring: one that fails each first time would go on for ever.
        """
        ...

    async def held(self) -> Mapping[str, Held]:
        """Return what each anchor holds, by name; one that never took a checkpoint is absent."""
        ...

    async def anchored(self, name: str) -> int:
        """Return the largest size that an anchor holds, 0 for none."""
        ...

    async def add(self, name: str, kind: str, size: int, note: str, at: datetime, proof: bytes) -> None:
        """Store a proof durably, once for a name and size: the same again changes nothing."""
        ...


class Anchorer:
    """Handles the work kind `anchor`, and asks for it on each tick. `every` is how often each anchor takes one."""

    def __init__(
        self, ledger: Ledger, checkpoints: Checkpoints, anchors: Iterable[Anchor], *, every: timedelta
    ) -> None:
        self._ledger = ledger
        self._checkpoints = checkpoints
        self._anchors = {anchor.name: anchor for anchor in anchors}
        self._every = every
        self._asked: dict[str, tuple[int, datetime]] = {}

    def handlers(self) -> Mapping[str, Callable[[Work], Awaitable[Result]]]:
        """Return the handlers by kind."""
        return {"anchor": self.anchor}

    async def tick(self, *, wanted: bool = False) -> tuple[str, ...]:
        """Ask for the anchors that are due, all with something new when `wanted`; return their names."""
        if not self._anchors:
            return ()
        now, held = self._ledger.clock.now(), await self._checkpoints.held()
        anchored = {name: held[name].size if name in held else 0 for name in self._anchors}
        last_at = {name: one.at for name, one in held.items()}
        every = timedelta() if wanted else self._every
        names = due(tuple(self._anchors), await self._checkpoints.news(), anchored, last_at, now, every)
        fresh = {name: anchored[name] for name in names if wanted or self._unasked(name, anchored[name], now)}
        if fresh:
            await self._ledger.decide(flow.ask, flow.Ask(by=BOT, anchored=fresh))
            self._asked |= {name: (size, now) for name, size in fresh.items()}
        return tuple(fresh)

    def _unasked(self, name: str, size: int, now: datetime) -> bool:
        """Tell whether this advance was not asked for in the last hour: it would be the same row."""
        asked = self._asked.get(name)
        return asked is None or asked[0] != size or now - asked[1] >= timedelta(hours=1)

    async def anchor(self, work: Work) -> Result:
        """Have the anchor take the newest checkpoint; an anchor that is down is tried again for as long as it takes."""
        name = str(work.body["anchor"])
        anchor, newest = self._anchors.get(name), await self._checkpoints.newest()
        if anchor is None:
            return Done(note="policy.yaml names no such anchor any more")
        if newest is None:
            return Again(at=self._ledger.clock.now() + FIRST_PAUSE)
        size, note = newest
        # What was stored just before this process was killed is not handed over a second time.
        if await self._checkpoints.anchored(name) < size:
            try:
                proof = await anchor.anchor(note, size)
            except StopsignError as error:
                return await self._lost(work, name, str(error))
            except Exception as error:
                log.exception("the anchor %s failed in a way that it does not foresee", name)
                return await self._lost(work, name, f"{type(error).__name__}: {error}")
            await self._checkpoints.add(name, anchor.kind, size, note, self._ledger.clock.now(), proof)
        await self._ledger.decide(flow.back, flow.Back(by=BOT, anchor=name, size=size), holding=work)
        return Done(note=f"{size} records")

    async def _lost(self, work: Work, name: str, reason: str) -> Result:
        """Write the outage down and come back: soon at first, then each ten minutes, and never give up."""
        await self._ledger.decide(flow.lost, flow.Lost(by=BOT, anchor=name, reason=reason), holding=work)
        tries = int(work.body.get("tries", 0))
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(tries, 10))
        log.warning("the anchor %s takes no checkpoint, trying again in %s: %s", name, pause, reason)
        return Again(at=self._ledger.clock.now() + pause, body={"anchor": name, "tries": tries + 1})


def due(
    anchors: Iterable[str],
    head_size: int,
    anchored: Mapping[str, int],
    last_at: Mapping[str, datetime],
    now: datetime,
    every: timedelta,
) -> tuple[str, ...]:
    """Return which anchors are to take a checkpoint now: the log has news that they lack, and `every` has passed.

    Args:
        anchors: the names in policy.yaml.
        head_size: the log's size up to its newest entry that is not about anchors.
        anchored: how many leaves each anchor has; absent is 0.
        last_at: when each took one last; one that never did is due at once.
        now: the time.
        every: how long to leave each anchor alone; zero on demand (export).
    """
    return tuple(
        name
        for name in anchors
        if anchored.get(name, 0) < head_size and (name not in last_at or now - last_at[name] >= every)
    )
