"""The worker: claims work, dispatches it by kind, backs off, buries.

A commit wakes it at once; a tick each second is the fallback. Handlers return Done, Again or Dead; what they raise is
retried with growing pauses until the kind's limit, then the row is dead and `buried` is told.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from bot.domain.work import Dead, Result, Work
from bot.errors import ChatLater, NotCommitted, Refused, Stale
from bot.ports import Clock, Queue

log = logging.getLogger(__name__)

Handler = Callable[[Work], Awaitable[Result]]
LEASE = timedelta(seconds=30)
AT_ONCE = 64
TALK_AT_ONCE = 24
"""Of work that only talks: a chat service that swallows requests must never hold a place that a freeze needs."""
CALLS = frozenset({"page.slack", "slack.ask"})
"""What calls people has places of its own: files and headers never hold it up."""
GRACE = 3.0
"""Seconds in which handlers may end by themselves when the worker closes."""
A_PASS = 2
"""So many handlers begin in one pass of the event loop: sixty at once would stall people's acts for a moment."""
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 60.0
TRIES: Mapping[str, int] = {"slack.view": 1, "slack.respond": 3}
MOST_TRIES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Places for some kinds of work, which no other kind may take: `running` are the handlers that hold one."""

    kinds: tuple[str, ...]
    most: int
    running: set[asyncio.Task[None]] = field(default_factory=set)


def pools(kinds: Iterable[str]) -> tuple[Pool, ...]:
    """Return the pools for these kinds: what acts first, then what calls people, then what only talks."""
    every = tuple(kinds)
    calls = tuple(kind for kind in every if kind in CALLS)
    talk = tuple(kind for kind in every if kind.startswith("slack.") and kind not in CALLS)
    acts = tuple(kind for kind in every if kind not in {*calls, *talk})
    sizes = ((acts, AT_ONCE), (calls, TALK_AT_ONCE), (talk, TALK_AT_ONCE))
    return tuple(Pool(kinds=some, most=most) for some, most in sizes if some)


class Worker:
    """Runs handlers for work of the kinds in `handlers`; `incident` narrows it to one incident's work."""

    def __init__(
        self,
        queue: Queue,
        handlers: Mapping[str, Handler],
        *,
        clock: Clock,
        buried: Callable[[Work, str], Awaitable[None]],
        incident: int | None = None,
    ) -> None:
        self._queue = queue
        self._handlers = handlers
        self._clock = clock
        self._buried = buried
        self._incident = incident
        self._pools = pools(handlers)
        self._pass = asyncio.Semaphore(A_PASS)
        self._woken = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing = False

    @property
    def busy(self) -> bool:
        """Tell whether a handler runs."""
        return any(pool.running for pool in self._pools)

    def wake(self) -> None:
        """Look for work now; may be called from any thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._woken.set)

    async def run(self) -> None:
        """Work until `close`; never raises for a handler's failure."""
        self._loop = asyncio.get_running_loop()
        while not self._closing:
            self._woken.clear()
            try:
                started = await self.once()
            except Exception:
                log.exception("the work table cannot be reached; trying again")
                started = 0
                await asyncio.sleep(0.5)
            if started == 0:
                with_timeout = asyncio.wait_for(self._woken.wait(), timeout=1.0)
                try:
                    await with_timeout
                except TimeoutError:
                    continue

    async def once(self) -> int:
        """Claim what is due and start it, what acts before what talks; return how many were started."""
        return sum([await self._start(pool) for pool in self._pools])

    async def _start(self, pool: Pool) -> int:
        room = pool.most - len(pool.running)
        if room <= 0:
            return 0
        claimed = await self._queue.claim(pool.kinds, limit=room, lease=LEASE, incident=self._incident)
        if self._closing:  # whoever works next takes them at once; what an earlier try may have done stays counted
            why = "the process ended before it began"
            await asyncio.gather(*(self._queue.retry(work, at=work.due, error=why) for work in claimed))
            return 0
        for work in claimed:
            task = asyncio.create_task(self._handle(work), name=work.key)
            pool.running.add(task)
            task.add_done_callback(pool.running.discard)
            task.add_done_callback(lambda _: self._woken.set())
        return len(claimed)

    async def drain(self, until: Callable[[], Awaitable[bool]], *, within: float) -> bool:
        """Work until `until` says so or `within` seconds have passed; return whether it did (used by the CLI)."""
        self._loop = asyncio.get_running_loop()
        end = self._loop.time() + within
        while not await until():
            if self._loop.time() > end:
                return False
            self._woken.clear()
            if await self.once() == 0:
                try:
                    await asyncio.wait_for(self._woken.wait(), timeout=0.2)
                except TimeoutError:
                    continue
        return True

    async def close(self) -> None:
        """Stop claiming; let running handlers end for a moment, then cancel them and give their work back."""
        self._closing = True
        self._woken.set()
        if running := set().union(*(pool.running for pool in self._pools)):
            _, pending = await asyncio.wait(running, timeout=GRACE)
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)

    async def _handle(self, work: Work) -> None:
        beat = asyncio.create_task(self._heartbeat(work))
        try:
            async with self._pass:
                await asyncio.sleep(0)
            result = await self._handlers[work.kind](work)
            if isinstance(result, Dead):
                await self._bury(work, result.why)
            elif not await self._queue.finish(work, result):
                log.warning("lost the lease of %s before its end: the outcome is another worker's", work.key)
        except asyncio.CancelledError:
            # Else a freeze would wait for the lease to run out, only because this process ends.
            await self._queue.retry(work, at=self._clock.now(), error="the process ended meanwhile")
            raise
        except Stale:
            log.warning("lost the lease of %s", work.key)
        except ChatLater as later:
            await self._queue.retry(work, at=self._clock.now() + timedelta(seconds=later.after), error=str(later))
        except Refused as refused:
            await self._bury(work, str(refused))
        except Exception as error:  # noqa: BLE001 - the outermost edge: recorded, retried, and buried at the limit
            await self._again(work, error)
        finally:
            beat.cancel()

    async def _again(self, work: Work, error: Exception) -> None:
        log.warning("%s failed (try %d): %s: %s", work.key, work.attempt, type(error).__name__, error, exc_info=error)
        if work.attempt >= TRIES.get(work.kind, MOST_TRIES):
            await self._bury(work, f"{type(error).__name__}: {error}")
            return
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (work.attempt - 1)) * (0.5 + random.random())  # noqa: S311 - jitter
        await self._queue.retry(work, at=self._clock.now() + timedelta(seconds=pause), error=str(error))

    async def _bury(self, work: Work, why: str) -> None:
        """Tell people first (that is done once for a key), then end the row: a burial is never lost between the two."""
        await self._buried(work, why)
        await self._queue.finish(work, Dead(why=why))

    async def _heartbeat(self, work: Work) -> None:
        """Renew the lease while the handler runs."""
        while True:
            await asyncio.sleep(LEASE.total_seconds() / 3)
            try:
                await self._queue.extend(work, LEASE)
            except NotCommitted:
                log.warning("the lease of %s could not be renewed; trying again", work.key)
