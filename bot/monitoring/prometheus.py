"""Prometheus' HTTP API, as far as the playbook and the capture need it: implements `ports.Symptoms`."""

import json
import logging
from datetime import datetime

import httpx

log = logging.getLogger(__name__)
MOST_BYTES = 32 * 1024 * 1024


class Prometheus:
    """Asks one Prometheus; `url` None answers None to everything (not configured)."""

    def __init__(self, url: str | None, *, timeout: float = 5.0) -> None:
        self._client = httpx.AsyncClient(base_url=url or "", timeout=timeout, trust_env=False) if url else None

    async def persists(self, query: str) -> bool | None:
        """Run PromQL now: any sample → True, none → False, no usable answer → None."""
        content = await self._get("/api/v1/query", {"query": query})
        if content is None:
            return None
        try:
            tree = json.loads(content)
            return bool(tree["data"]["result"]) if tree["status"] == "success" else None
        except (ValueError, KeyError, TypeError):
            return None

    async def series(self, query: str, since: datetime, until: datetime) -> bytes | None:
        """Return the query_range answer of a window in at most 1,000 steps."""
        step = max(1, round((until - since).total_seconds() / 1000))
        values = {"query": query, "start": since.isoformat(), "end": until.isoformat(), "step": str(step)}
        return await self._get("/api/v1/query_range", values)

    async def aclose(self) -> None:
        """Close all connections."""
        if self._client is not None:
            await self._client.aclose()

    async def _get(self, path: str, values: dict[str, str]) -> bytes | None:
        if self._client is None:
            return None
        try:
            answer = await self._client.get(path, params=values)
        except httpx.HTTPError as error:
            log.warning("Prometheus gave no answer: %s", error)
            return None
        if answer.status_code != 200 or len(answer.content) > MOST_BYTES:
            log.warning("Prometheus answered %s", answer.status_code)
            return None
        return answer.content
