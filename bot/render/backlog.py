"""What people are told when Slack is behind, wherever they look instead."""

from datetime import datetime, timedelta

from bot.domain.work import Backlog
from bot.render.words import count, duration

UNCONNECTED = (
    "Slack is not connected: nobody is paged or told there. Decisions, freezes and evidence go on; "
    "people steer here and with `stopsign incident`."
)


def behind(backlog: Backlog, now: datetime, *, why: bool = True) -> str:
    """Return how far Slack is behind and what that means, or nothing when it keeps up.

    `why` leaves out Slack's own words where strangers read along.
    """
    if not backlog.behind(now):
        return ""
    reason = f" ({backlog.why.rstrip('.')})" if backlog.why and why else ""
    verb = "waits" if backlog.waiting == 1 else "wait"
    age = duration(_coarse(backlog.age(now)))
    text = f"Slack is behind: {count(backlog.waiting, 'message')} {verb}, the oldest for {age}{reason}"
    return f"{text}: decisions and freezes go on."


def _coarse(age: timedelta) -> timedelta:
    """Return an age that does not change with every look: whole tens of seconds, then whole minutes."""
    seconds = int(age.total_seconds())
    return timedelta(seconds=seconds - seconds % (60 if seconds >= 60 else 10))
