"""Slack's rate limits: a bucket per method and workspace, and one per channel for chat.postMessage."""

import math
from collections.abc import Callable
from dataclasses import dataclass

BURST_PER_CHANNEL = 5
SPECIAL = 300

_TIERS: dict[int, str] = {
    20: "conversations.create conversations.archive conversations.unarchive conversations.setTopic "
    "conversations.setPurpose conversations.rename conversations.list pins.add pins.remove pins.list bookmarks.add "
    "bookmarks.edit bookmarks.remove bookmarks.list reactions.remove users.list usergroups.list usergroups.users.list",
    50: "conversations.invite conversations.join conversations.leave conversations.kick conversations.history "
    "conversations.replies conversations.info conversations.open chat.update chat.delete reactions.add reactions.get "
    "team.info users.lookupByEmail users.conversations apps.connections.open",
    100: "chat.postEphemeral conversations.members views.open views.update views.push views.publish users.info "
    "files.getUploadURLExternal files.completeUploadExternal files.info",
}
PER_MINUTE = {method: count for count, methods in _TIERS.items() for method in methods.split()}


@dataclass(slots=True)
class _Bucket:
    size: float
    per_second: float
    left: float
    at: float

    def take(self, now: float) -> float:
        """Take one call; return 0, or the seconds until one is free."""
        self.left = min(self.size, self.left + (now - self.at) * self.per_second)
        self.at = now
        if self.left >= 1:
            self.left -= 1
            return 0.0
        return (1 - self.left) / self.per_second


class Rates:
    """The buckets of one workspace; `on` false lets everything through."""

    def __init__(self, *, clock: Callable[[], float], on: bool) -> None:
        """Start with all buckets full."""
        self.on = on
        self._clock = clock
        self._buckets: dict[tuple[str, str], _Bucket] = {}

    def wait_for(self, method: str, channel: str) -> int:
        """Count one call; return 0, or the whole seconds that `Retry-After` has to say."""
        if not self.on:
            return 0
        per_minute = PER_MINUTE.get(method, SPECIAL)
        wait = self._take((method, ""), per_minute, per_minute / 60)
        if not wait and method == "chat.postMessage":
            wait = self._take((method, channel), BURST_PER_CHANNEL, 1.0)
        return math.ceil(wait)

    def _take(self, key: tuple[str, str], size: float, per_second: float) -> float:
        now = self._clock()
        bucket = self._buckets.setdefault(key, _Bucket(size, per_second, size, now))
        return bucket.take(now)
