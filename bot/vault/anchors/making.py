"""Build an anchor from its entry in policy.yaml."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial

from bot.domain.policy import AnchorAt
from bot.errors import Misconfigured
from bot.ports import Clock
from bot.vault.anchors.channel import Channel, Post
from bot.vault.anchors.http_put import HttpPut
from bot.vault.anchors.object_lock import ObjectLock
from bot.vault.anchors.port import Anchor, AnchorError
from bot.vault.anchors.rfc3161 import Authority


class Absent:
    """An anchor that cannot be built here: it takes nothing, and says why."""

    def __init__(self, name: str, kind: str, why: str) -> None:
        self.name = name
        self.kind = kind
        self._why = why

    async def anchor(self, note: str, size: int) -> bytes:
        """Raise AnchorError."""
        raise AnchorError(self._why)


def make(
    one: AnchorAt,
    *,
    secret: Callable[[str], str],
    post: Post | None,
    clock: Clock,
    retention: timedelta = timedelta(days=90),
    s3_endpoint: str | None = None,
) -> Anchor:
    """Return the anchor; opens no connection.

    Args:
        one: its entry, whose fields were checked when policy.yaml was read.
        secret: turns a reference (`env:NAME`, `file:/path`) into the token; asked anew for each request.
        post: posts a text in a channel; None without a chat service.
        clock: tells the time that timestamps are compared with.
        retention: how long an S3 object is locked when the entry does not say.
        s3_endpoint: where S3 is when it is not AWS; None: as the AWS environment says.

    Raises:
        Misconfigured: with what is missing: the file of roots, the chat service, boto3.
    """
    match one.kind:
        case "rfc3161":
            return Authority(one.name, _given(one, "url"), roots=_given(one, "roots"), clock=clock)
        case "http":
            token = partial(secret, one.token) if one.token is not None else None
            return HttpPut(one.name, _given(one, "url"), token=token)
        case "s3":
            url, kept = _given(one, "url"), one.retention or retention
            return ObjectLock(one.name, url, retention=kept, clock=clock, endpoint=s3_endpoint)
        case "slack" if post is not None:
            return Channel(one.name, _given(one, "channel"), post)
        case "slack":
            raise Misconfigured([f"policy.yaml: the anchor {one.name} posts in a channel, but Slack is not connected"])
        case _:
            raise Misconfigured([f"policy.yaml: the anchor {one.name} is of the unknown kind {one.kind!r}"])


def _given(one: AnchorAt, field: str) -> str:
    value = getattr(one, field)
    if not isinstance(value, str) or not value:
        raise Misconfigured([f"policy.yaml: the anchor {one.name} of kind {one.kind} needs {field}"])
    return value
