"""The clock that wakes: APScheduler ticks, and holds no state of its own."""

import logging
from collections.abc import Awaitable, Callable

from apscheduler.schedulers.asyncio import AsyncIOScheduler

logging.getLogger("apscheduler").setLevel(logging.WARNING)


def ticking(*jobs: Callable[[], Awaitable[None]]) -> AsyncIOScheduler:
    """Return a scheduler (not started) that runs each job once a second; a late or overlapping tick is one tick."""
    scheduler = AsyncIOScheduler(timezone="UTC")
    for job in jobs:
        scheduler.add_job(job, "interval", seconds=1, coalesce=True, max_instances=1, misfire_grace_time=None)
    return scheduler
