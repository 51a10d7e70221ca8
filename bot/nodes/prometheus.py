"""Capture from Prometheus: series of one node over the window, by its HTTP API (/api/v1/query_range)."""

import json
import math
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime, timedelta

from bot.domain.inventory import Capability
from bot.domain.target import Effect
from bot.errors import Misconfigured, NodeBroken
from bot.nodes.recording import JSON, JSON_LINES, Collection, ending, literal, queries
from bot.nodes.way import Way
from bot.ports import Item, Traits

TRAITS = Traits(
    effect=Effect.SET_STATE,
    reversible=True,
    capabilities=(Capability.RECORDER,),
    proves_by="nothing: it reads. It keeps each answer of Prometheus byte for byte, and only a whole one",
    needs="the node's labels in the inventory, or queries of your own",
    cannot_know="the samples themselves: range queries give values at steps, each up to five minutes old; what was "
    "not scraped",
    blast_radius="none",
    tested="Prometheus 2.42",
)
MOST_POINTS = 11_000
"""Points that Prometheus gives for one series in one answer."""
MOST_SPANS = 12
"""Requests for one query; a window that needs more is read in longer steps."""
STEP = timedelta(seconds=5)
_PATH = "/api/v1/query_range"
_FAMILIES = (
    "up|process_start_time_seconds|eigen_.+|(avs|vc|validator|signer|signing|cerberus|remote_signer)_.+_(total|count)"
)
_STEP = re.compile(r"(\d{1,7}(?:\.\d{1,3})?)(s|m|h)?", re.ASCII)
_SECONDS = {"s": 1, "m": 60, "h": 3600}
_SUCCESS = re.compile(rb'\s*\{\s*"status"\s*:\s*"success"')
_LISTS = re.compile(rb'"(warnings|infos)"\s*:\s*(?=\[)')
_PARTIAL = re.compile(rb'"isPartial"\s*:\s*true')
_ESCAPE = re.compile(rb"\\[\s\S]")
_PLAIN = bytes(set(range(256)) - set(b'"{}[]'))
_HEAD, _TAIL = 256, 64 * 1024

Span = tuple[int, int, int]
"""First and last point and step, in milliseconds (of the Unix epoch)."""


def connect(way: Way) -> "Prometheus":
    """Return the driver of the Prometheus at the endpoint's URL; opens no connection. Raises Misconfigured."""
    asked = queries(way, "step") or _by_labels(way)
    return Prometheus(way, asked, _step(way))


class Prometheus:
    """Recorder: one item of kind `metrics` for each query, one of Prometheus' answers a line."""

    traits = TRAITS

    def __init__(self, way: Way, asked: Mapping[str, str], step: timedelta) -> None:
        self._way = way
        self._wire = way.wire()
        self._asked = asked
        self._step = step

    async def capture(self, since: datetime, until: datetime) -> AsyncIterator[Item]:
        """Yield each query's series over since <= t <= until, then the warnings that came with them, if any."""
        collection = Collection(self._way)
        parts = spans(since, until, self._step)
        for name, query in self._asked.items():
            yield collection.item(
                "metrics",
                _PATH,
                self._answers(collection, name, query, parts),
                media_type=JSON if len(parts) == 1 else JSON_LINES,
                about=query,
            )
        for item in collection.notes():
            yield item

    async def _answers(
        self, collection: Collection, name: str, query: str, parts: Sequence[Span]
    ) -> AsyncIterator[bytes]:
        limit = self._way.endpoint.timeout.total_seconds()
        for first, last, step in parts:
            params = {
                "query": query,
                "start": _seconds(first),
                "end": _seconds(last),
                "step": _seconds(step),
                "timeout": f"{max(1, round(limit * 1000))}ms",
            }
            answer = _Answer(self._way.node.name)
            async with ending(self._wire.call().stream("GET", _PATH, params=params)) as chunks:
                async for chunk in chunks:
                    answer.passes(chunk)
                    yield chunk
            for doubt in answer.ended():
                collection.note(f"query {name}: {query}", doubt)
            yield b"\n"


class _Answer:
    """One answer while it passes by: it must say success first and be closed at its end."""

    def __init__(self, node: str) -> None:
        self._node = node
        self._head = self._tail = self._rest = b""
        self._depth = 0
        self._quoted = False

    def passes(self, chunk: bytes) -> None:
        """Take the next bytes; raises NodeBroken as soon as the answer is not a success."""
        known = len(self._head)
        self._head += chunk[: _HEAD - known]
        if known < _HEAD and len(self._head) >= _HEAD:
            self._check_head()
        self._tail = (self._tail + chunk)[-_TAIL:]
        self._count(chunk)

    def ended(self) -> Sequence[str]:
        """Return what Prometheus says against its own answer; raises NodeBroken when that is not whole."""
        self._check_head()
        if self._depth or self._quoted or self._rest:
            raise NodeBroken(f"{self._node} answered GET {_PATH} with JSON that breaks off")
        partial = ["the answer is partial: not every store was read"]
        doubts = partial if _PARTIAL.search(self._head) or _PARTIAL.search(self._tail) else []
        for found in _LISTS.finditer(self._tail):
            try:
                said, _ = json.JSONDecoder().raw_decode(self._tail[found.end() :].decode())
            except ValueError:
                said = ["not readable"]
            doubts += [f"{found[1].decode()}: {one}" for one in said]
        return doubts

    def _check_head(self) -> None:
        if not _SUCCESS.match(self._head):
            said = self._head.decode(errors="replace").strip()[:120]
            raise NodeBroken(f"{self._node} answered GET {_PATH} without success: {said or 'nothing'}")

    def _count(self, chunk: bytes) -> None:
        """Follow how deep the JSON is nested, outside of its strings."""
        text = self._rest + chunk
        if b"\\" in text:
            text = _ESCAPE.sub(b"", text)
        self._rest = b"\\" if text.endswith(b"\\") else b""
        # A text without brackets, once reduced to its quotes, says nothing; so most of the answer falls away here.
        parts = text.translate(None, _PLAIN).replace(b'""', b"").split(b'"')
        outside = b"".join(parts[self._quoted :: 2])
        self._quoted ^= len(parts) % 2 == 0
        self._depth += outside.count(b"{") + outside.count(b"[") - outside.count(b"}") - outside.count(b"]")


def spans(since: datetime, until: datetime, step: timedelta) -> Sequence[Span]:
    """Return the range requests that cover a window, oldest first; a point lies exactly on `until`.

    None has more than MOST_POINTS points, and there are at most MOST_SPANS: beyond that the step grows.
    """
    first, last = math.ceil(since.timestamp() * 1000), math.floor(until.timestamp() * 1000)
    length = max(0, last - first)
    pace = max(1, round(step.total_seconds() * 1000), math.ceil(length / (MOST_POINTS * MOST_SPANS - 1)))
    count = length // pace + 1
    oldest = last - (count - 1) * pace
    return [
        (oldest + at * pace, oldest + min(at + MOST_POINTS - 1, count - 1) * pace, pace)
        for at in range(0, count, MOST_POINTS)
    ]


def _by_labels(way: Way) -> Mapping[str, str]:
    """Return a query for each of the node's labels: is it up, since when, and its counters."""
    if not way.node.labels:
        why = "prometheus needs queries, or labels of the node by which its series are found"
        raise Misconfigured([f"node {way.node.name}: {why}"])
    return {
        name: f'{{__name__=~"{_FAMILIES}",{name}="{literal(value)}"}}'
        for name, value in sorted(way.node.labels.items())
    }


def _step(way: Way) -> timedelta:
    written = way.endpoint.options.get("step")
    if written is None:
        return STEP
    found = _STEP.fullmatch(written.strip())
    seconds = float(found[1]) * _SECONDS[found[2] or "s"] if found else 0.0
    if seconds <= 0:
        raise Misconfigured([f"node {way.node.name}: step {written!r} is no length of time: write 5s or 1m"])
    return timedelta(seconds=seconds)


def _seconds(milliseconds: int) -> str:
    return f"{milliseconds // 1000}.{milliseconds % 1000:03}"
