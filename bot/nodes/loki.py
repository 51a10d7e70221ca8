"""Capture from Grafana Loki: log lines of one node over the window, by its HTTP API (/loki/api/v1/query_range).

Loki has no cursor: it gives the oldest lines of a range, and the next page begins at the time of the last of them.
Several lines may bear that time, so the border is asked for again and what was kept of it is left out.
"""

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, NamedTuple

from pydantic import TypeAdapter, ValidationError

from bot.domain.inventory import Capability
from bot.domain.target import Effect
from bot.errors import Misconfigured, NodeBroken
from bot.nodes.recording import JSON_LINES, Collection, ending, queries
from bot.nodes.way import Way
from bot.nodes.wire import STREAM_LIMIT
from bot.ports import Item, Traits

TRAITS = Traits(
    effect=Effect.SET_STATE,
    reversible=True,
    capabilities=(Capability.RECORDER,),
    proves_by="nothing: it reads. It keeps every line that Loki has of the window, and only when the last page came",
    needs="queries that select the node's streams",
    cannot_know="lines that no agent shipped, that are still on their way, or that Loki dropped",
    blast_radius="none",
    tested="an emulation of the documented API of Loki 3",
    tier="emulated",
)
PAGE_LINES = 5000
"""Lines of one page: what Loki allows by default (max_entries_limit_per_query)."""
PAGE_BYTES = 4 * 1024 * 1024
"""Bytes of one page; a longer one is asked for again with half as many lines."""
_LINES_A_CHUNK = 500
_PATH = "/loki/api/v1/query_range"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TENANT = re.compile(r"[A-Za-z0-9!._*'()|-]{1,300}", re.ASCII)


@dataclass(frozen=True, slots=True)
class _Stream:
    stream: dict[str, str]
    values: list[list[Any]]


@dataclass(frozen=True, slots=True)
class _Result:
    resultType: str
    result: list[Any]


@dataclass(frozen=True, slots=True)
class _Page:
    status: str
    data: _Result
    warnings: list[str] = field(default_factory=list)


class _Line(NamedTuple):
    """One log line: nanoseconds since the epoch, and the line with its stream as it is kept."""

    at: int
    kept: bytes


_PAGE = TypeAdapter(_Page)
_STREAMS = TypeAdapter(list[_Stream])
_WRITTEN = json.JSONEncoder(ensure_ascii=False).encode


class _TooLong(Exception):
    """A page is longer than PAGE_BYTES."""


def connect(way: Way) -> "Loki":
    """Return the driver of the Loki at the endpoint's URL; opens no connection. Raises Misconfigured."""
    asked = queries(way, "org_id", "limit")
    problems = []
    if not asked:
        problems.append('loki needs queries: write queries: {host="{node}"}')
    tenant = way.endpoint.options.get("org_id")
    if tenant is not None and not _TENANT.fullmatch(tenant):
        problems.append("org_id is no tenant of Loki")
    limit = way.endpoint.options.get("limit", str(PAGE_LINES))
    if not re.fullmatch(r"[1-9]\d{0,5}", limit, re.ASCII):
        problems.append(f"limit {limit!r} is no number of lines: write 5000")
    if problems:
        raise Misconfigured([f"node {way.node.name}: {problem}" for problem in problems])
    return Loki(way, asked, tenant=tenant, limit=int(limit))


class Loki:
    """Recorder: one item of kind `logs` for each query, one line of log a line, oldest first."""

    traits = TRAITS

    def __init__(self, way: Way, asked: Mapping[str, str], *, tenant: str | None, limit: int) -> None:
        self._way = way
        self._wire = way.wire()
        self._asked = asked
        self._headers = {"X-Scope-OrgID": tenant} if tenant else {}
        self._limit = limit

    async def capture(self, since: datetime, until: datetime) -> AsyncIterator[Item]:
        """Yield each query's lines of since <= t < until, then the warnings that came with them, if any."""
        collection = Collection(self._way)
        for name, query in self._asked.items():
            lines = self._lines(collection, name, query, _nanoseconds(since), _nanoseconds(until))
            yield collection.item("logs", _PATH, lines, media_type=JSON_LINES, about=query)
        for item in collection.notes():
            yield item

    async def _lines(
        self, collection: Collection, name: str, query: str, start: int, until: int
    ) -> AsyncIterator[bytes]:
        """Yield the lines page by page; raises NodeBroken when some of them cannot be had."""
        limit, size, warned = self._limit, 0, set[str]()
        border: Counter[_Line] = Counter()
        while start < until:
            try:
                page = await self._page(query, start, until, limit)
            except _TooLong:
                if limit == 1:
                    raise NodeBroken(f"{self._way.node.name} sent a line longer than {PAGE_BYTES} bytes") from None
                limit //= 2
                continue
            for warning in sorted(set(page.warnings) - warned):
                warned.add(warning)
                collection.note(f"query {name}: {query}", warning)
            lines = await asyncio.to_thread(self._read, page, start, until)
            new = _without(lines, border) if border else lines
            if not new and len(lines) >= limit:
                why = f"has {limit} lines or more of the nanosecond {start}, and cannot give more of them"
                raise NodeBroken(f"{self._way.node.name} {why}: raise limit there and here, or narrow the query")
            if not new:
                return
            size += sum(len(line.kept) for line in new)
            if size > STREAM_LIMIT:
                raise NodeBroken(f"{self._way.node.name} sent more than {STREAM_LIMIT} bytes of lines")
            for some in range(0, len(new), _LINES_A_CHUNK):
                yield b"".join(line.kept for line in new[some : some + _LINES_A_CHUNK])
            last = lines[-1].at
            at_last = Counter(line for line in lines if line.at == last)
            border = border | at_last if last == start else at_last
            start = last

    async def _page(self, query: str, start: int, until: int, limit: int) -> _Page:
        params = {"query": query, "start": str(start), "end": str(until), "limit": str(limit), "direction": "forward"}
        body = bytearray()
        async with ending(self._wire.call().stream("GET", _PATH, params=params, headers=self._headers)) as chunks:
            async for chunk in chunks:
                body += chunk
                if len(body) > PAGE_BYTES:
                    raise _TooLong
        try:
            page = _PAGE.validate_json(bytes(body))
        except ValidationError as error:
            raise self._unreadable(error) from None
        if page.status != "success":
            raise NodeBroken(f"{self._way.node.name} answered GET {_PATH} with status {page.status[:40]!r}")
        if page.data.resultType != "streams":
            what = page.data.resultType[:40]
            raise NodeBroken(f"{self._way.node.name} answered GET {_PATH} with a {what}: the query asks for no lines")
        return page

    def _read(self, page: _Page, start: int, until: int) -> Sequence[_Line]:
        """Return the page's lines of start <= t < until in the order of time."""
        found: list[_Line] = []
        try:
            for one in _STREAMS.validate_python(page.data.result):
                self._check_order(one)
                for at, line, *metadata in one.values:
                    kept: dict[str, object] = {"ts": str(at), "stream": one.stream, "line": line}
                    kept |= {"metadata": metadata[0]} if metadata else {}
                    found.append(_Line(int(at), _WRITTEN(kept).encode() + b"\n"))
        except ValidationError as error:
            raise self._unreadable(error) from None
        except (ValueError, TypeError, IndexError):
            raise NodeBroken(f"{self._way.node.name} answered GET {_PATH} with a line that cannot be read") from None
        return sorted(line for line in found if start <= line.at < until)

    def _check_order(self, stream: _Stream) -> None:
        """Raise NodeBroken unless the oldest come first: a page of the newest would hide what lies before it."""
        times = [int(value[0]) for value in stream.values]
        if any(one > two for one, two in pairwise(times)):
            raise NodeBroken(f"{self._way.node.name} answered GET {_PATH} without regard to the direction asked for")

    def _unreadable(self, error: ValidationError) -> NodeBroken:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        return NodeBroken(f"{self._way.node.name} answered GET {_PATH} unreadably: {where} {first['msg']}")


def _without(lines: Sequence[_Line], border: Mapping[_Line, int]) -> list[_Line]:
    """Return `lines` without those that stood at the border, each as often as it stood there."""
    left = Counter(border)
    new = []
    for line in lines:
        if line in left and left[line] > 0:
            left[line] -= 1
        else:
            new.append(line)
    return new


def _nanoseconds(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(microseconds=1) * 1000
