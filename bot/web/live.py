"""Tells open pages that something was committed, from any thread, at a pace that a browser can follow."""

import asyncio
import threading
from collections.abc import AsyncGenerator

MOST_OFTEN = 0.25
"""Seconds between two ticks of one page."""


class Live:
    """A hub: `changed` on one side, any number of `ticks` on the other. Changes between two ticks are one tick."""

    def __init__(self, *, pause: float = MOST_OFTEN) -> None:
        self._pause = pause
        self._lock = threading.Lock()
        self._pages: set[_Page] = set()

    def changed(self) -> None:
        """Say that something was committed. Quick, thread-safe, never waits for a page."""
        with self._lock:
            pages = list(self._pages)
        for page in pages:
            page.wake()

    async def ticks(self) -> AsyncGenerator[None, None]:
        """Yield at once, then whenever something has changed since the last tick, at most once in `pause` seconds."""
        page = _Page(asyncio.get_running_loop())
        page.changed.set()
        with self._lock:
            self._pages.add(page)
        try:
            while True:
                await page.changed.wait()
                page.changed.clear()
                yield
                await asyncio.sleep(self._pause)
        finally:
            with self._lock:
                self._pages.discard(page)

    @property
    def watching(self) -> int:
        """Return how many pages are open."""
        with self._lock:
            return len(self._pages)


class _Page:
    """One reader, on its own event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.changed = asyncio.Event()

    def wake(self) -> None:
        """Set `changed` on the reader's loop; a loop that has ended needs nothing."""
        if self.changed.is_set():
            return
        try:
            self._loop.call_soon_threadsafe(self.changed.set)
        except RuntimeError:
            return
