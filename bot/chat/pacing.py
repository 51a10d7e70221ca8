"""Our own pace: below Slack's limits by ourselves, so that its refusals stay rare."""

from bot.errors import ChatLater
from bot.ports import Clock

PER_MINUTE = {
    name: count
    for count, names in {
        20: "conversations.create conversations.archive conversations.setTopic conversations.list pins.add "
        "bookmarks.add bookmarks.list users.list",
        50: "conversations.invite conversations.join conversations.history conversations.replies conversations.open "
        "conversations.info chat.update",
        100: "views.open views.publish users.info chat.postEphemeral files.getUploadURLExternal "
        "files.completeUploadExternal",
        200: "chat.postMessage",
    }.items()
    for name in names.split()
}
"""Calls a minute in the whole workspace: Slack's tiers 2, 3 and 4, and our own guess at its unpublished cap on posting.

Not here: auth.test ("hundreds a minute") and apps.connections.open (tier 1), whose callers pause by themselves.
"""
_SPACED = frozenset({"chat.postMessage", "chat.update"})
"""Methods of which one channel gets at most one a `spacing`."""


class Wait(ChatLater):
    """It is not our turn yet: nothing was sent."""


class _Bucket:
    def __init__(self, per_minute: int, now: float) -> None:
        # Half at once and half by refilling: in no minute more than the limit, whenever it begins.
        self.size = per_minute / 2
        self.rate = per_minute / 120
        self.left = self.size
        self.at = now

    def wait(self, now: float) -> float:
        """Return the seconds until one call is free."""
        self.left = min(self.size, self.left + max(0.0, now - self.at) * self.rate)
        self.at = now
        return 0.0 if self.left >= 1 else (1 - self.left) / self.rate


class Pacer:
    """Says whose turn it is. `spacing` are the seconds between two messages in one channel."""

    def __init__(self, clock: Clock, *, spacing: float = 1.0) -> None:
        self._clock = clock
        self._spacing = spacing
        self._buckets: dict[str, _Bucket] = {}
        self._free: dict[tuple[str, str], float] = {}

    def turn(self, method: str, channel: str = "") -> None:
        """Take a turn for one call; raises Wait when it has to come later."""
        now = self._clock.now().timestamp()
        wait = max(self._free.get((method, channel), 0.0) - now, self._free.get((method, ""), 0.0) - now)
        bucket = None
        if method in PER_MINUTE:
            bucket = self._buckets.setdefault(method, _Bucket(PER_MINUTE[method], now))
            wait = max(wait, bucket.wait(now))
        if wait > 0:
            raise Wait(f"{method} has to wait its turn", after=wait)
        if bucket:
            bucket.left -= 1
        if method in _SPACED:
            self._free[method, channel] = now + self._spacing
            self._forget(now)

    def hold(self, method: str, channel: str, seconds: float) -> None:
        """Remember that Slack told us to wait with this."""
        self._free[method, channel] = self._clock.now().timestamp() + seconds

    def _forget(self, now: float) -> None:
        if len(self._free) > 2_000:
            self._free = {key: until for key, until in self._free.items() if until > now}
