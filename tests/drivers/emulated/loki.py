"""An imitation of Grafana Loki 3's query_range, from its HTTP API reference and its source.

start <= t < end; 100 lines unless `limit` says more, newest first unless `direction` says otherwise; more than 5,000
are refused with 400 and plain text (max_entries_limit_per_query); nanoseconds as text; one entry a stream with its
lines in order; lines of one stream that have time and text in common are stored once; without a tenant 401, where
tenants are on.
"""

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.drivers.emulated.serving import serving

Entry = tuple[int, Mapping[str, str], str]
"""Nanoseconds, the stream's labels, the line."""


@dataclass
class LokiImitation:
    """Log lines by query, the tenants that there are (none: tenants are off), and what was asked."""

    logs: Mapping[str, Iterable[Entry]]
    tenants: frozenset[str] = frozenset()
    most: int = 5000
    warnings: list[str] = field(default_factory=list)
    metadata: bool = False
    asked: list[dict[str, str]] = field(default_factory=list)

    def app(self) -> web.Application:
        """Return its API."""
        app = web.Application()
        app.router.add_get("/loki/api/v1/query_range", self._query_range)
        return app

    async def _query_range(self, request: web.Request) -> web.Response:
        query = request.query
        self.asked.append(dict(query))
        if self.tenants and request.headers.get("X-Scope-OrgID") not in self.tenants:
            return web.Response(status=401, text="no org id\n")
        limit = int(query.get("limit", "100"))
        if limit > self.most:
            why = f"max entries limit per query exceeded, limit > max_entries_limit_per_query ({limit} > {self.most})"
            return web.Response(status=400, text=why)
        if query["query"] not in self.logs:
            return self._success("matrix" if "rate(" in query["query"] else "streams", [])
        forward = query.get("direction", "backward").lower() == "forward"
        start, end = int(query["start"]), int(query["end"])
        found: list[Entry] = []
        entries = self.logs[query["query"]]
        for entry in entries if forward else reversed(list(entries)):
            if start <= entry[0] < end:
                found.append(entry)
            if len(found) == limit:
                break
        return self._success("streams", self._streams(found))

    def _streams(self, found: Iterable[Entry]) -> list[Any]:
        streams: dict[tuple[tuple[str, str], ...], list[list[Any]]] = {}
        for at, labels, line in found:
            more = [{"trace": "7"}] if self.metadata else []
            streams.setdefault(tuple(sorted(labels.items())), []).append([str(at), line, *more])
        return [{"stream": dict(labels), "values": values} for labels, values in streams.items()]

    def _success(self, kind: str, result: list[Any]) -> web.Response:
        body: dict[str, Any] = {"status": "success"}
        body |= {"warnings": self.warnings} if self.warnings else {}
        body["data"] = {"resultType": kind, "result": result, "stats": {"summary": {"totalLinesProcessed": 7}}}
        return web.json_response(body)


@asynccontextmanager
async def loki(logs: Mapping[str, Iterable[Entry]], **more: Any) -> AsyncIterator[tuple[str, LokiImitation]]:
    """Run the imitation over `logs`, each sorted by time; yields its URL and it."""
    imitation = LokiImitation(logs=logs, **more)
    async with serving(imitation.app()) as url:
        yield url, imitation
