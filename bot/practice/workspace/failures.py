"""Faults on request: what `/practice/fail` asks for, matched to API calls and to deliveries."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import Any

from starlette.types import Receive, Send


@dataclass(slots=True, kw_only=True)
class Fault:
    """One rule; `count` None is for ever.

    `method` is a pattern for a Web API method, or for a delivery's kind: `command`, `block_actions`,
    `view_submission`, `view_closed`, `message_action`, `shortcut`, `block_suggestion`, `event`. For a delivery,
    `drop_after_processing` loses the ack.
    """

    method: str = "*"
    count: int | None = None
    latency_ms: int = 0
    ratelimit: int = 0
    http_500: bool = False
    drop_after_processing: bool = False
    duplicate_delivery: bool = False


NONE = Fault(count=0)


class Faults:
    """The rules that stand, oldest first; the first that matches is used up by one."""

    def __init__(self) -> None:
        """Start without any."""
        self._rules: list[Fault] = []

    def replace(self, rules: Sequence[dict[str, Any]]) -> None:
        """Put these rules in place of all others; raises TypeError for a key that no rule has."""
        self._rules = [Fault(**rule) for rule in rules]

    def rows(self) -> list[dict[str, Any]]:
        """Return the rules that are left."""
        return [asdict(rule) for rule in self._rules]

    def call(self, method: str) -> Fault:
        """Return the fault of a Web API call."""
        return self._first(lambda rule: not rule.duplicate_delivery and fnmatchcase(method, rule.method))

    def delivery(self, kind: str) -> Fault:
        """Return the fault of a delivery to the bot; `*` reaches deliveries only with `duplicate_delivery`."""
        return self._first(
            lambda rule: fnmatchcase(kind, rule.method) and (rule.duplicate_delivery or rule.method != "*")
        )

    def _first(self, fits: Callable[[Fault], bool]) -> Fault:
        for rule in self._rules:
            if rule.count == 0 or not fits(rule):
                continue
            if rule.count is not None:
                rule.count -= 1
            return rule
        return NONE


class Dropped(Exception):
    """The work is done, and the connection has to die before a byte of the answer is written."""


async def cut(receive: Receive, send: Send) -> None:
    """Break the client's connection without an answer; raises RuntimeError under another server than uvicorn.

    ASGI has no word for it; uvicorn's `send` is a method of the object that holds the transport.
    """
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    if not isinstance(transport, asyncio.Transport):
        raise RuntimeError("drop_after_processing needs uvicorn")
    transport.abort()
    while (await receive())["type"] != "http.disconnect":
        continue
