"""The worker: claims work, dispatches it by kind, backs off, buries.

A commit wakes it at once; a tick each second is the fallback. Handlers return Done, Again or Dead; what they raise is
retried with growing pauses until the kind's limit, then the row is dead and `buried` is told.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta

from bot.domain.work import Dead, Result, Work
from bot.errors import ChatLater, NotCommitted, Refused, Stale
from bot.ports import Clock, Queue

log = logging.getLogger(__name__)

Handler = Callable[[Work], Awaitable[Result]]
LEASE = timedelta(seconds=30)
AT_ONCE = 64
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 60.0
TRIES: Mapping[str, int] = {"slack.view": 1, "slack.respond": 3}
MOST_TRIES = 12


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
        self._running: set[asyncio.Task[None]] = set()
        self._woken = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing = False

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
            if started == 0 or len(self._running) >= AT_ONCE:
                with_timeout = asyncio.wait_for(self._woken.wait(), timeout=1.0)
                try:
                    await with_timeout
                except TimeoutError:
                    continue

    async def once(self) -> int:
        """Claim what is due and start it; return how many were started."""
        room = AT_ONCE - len(self._running)
        if room <= 0:
            return 0
        claimed = await self._queue.claim(tuple(self._handlers), limit=room, lease=LEASE, incident=self._incident)
        if self._closing:
            return 0  # the leases run out; whoever works then takes them
        for work in claimed:
            task = asyncio.create_task(self._handle(work), name=work.key)
            self._running.add(task)
            task.add_done_callback(self._ended)
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
        """Stop claiming; let running handlers end for a moment, then cancel them (their leases run out)."""
        self._closing = True
        self._woken.set()
        if self._running:
            _, pending = await asyncio.wait(self._running, timeout=3)
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._woken.set()

    async def _handle(self, work: Work) -> None:
        beat = asyncio.create_task(self._heartbeat(work))
        try:
            result = await self._handlers[work.kind](work)
            if isinstance(result, Dead):
                await self._bury(work, result.why)
            elif not await self._queue.finish(work, result):
                log.warning("lost the lease of %s before its end: the outcome is another worker's", work.key)
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
