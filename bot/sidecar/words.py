"""The few words that all of the sidecar shares: times, problems, and a key's spelling."""

import json
from datetime import UTC, datetime

from aiohttp import web


def now() -> datetime:
    """Return the time, in UTC."""
    return datetime.now(UTC)


def stamp(at: datetime) -> str:
    """Write a time as RFC 3339 in UTC with microseconds, ending in Z: such texts sort as the times do."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def spelled(key: str) -> str:
    """Return a hex key as it is written everywhere here: lower case, with 0x."""
    lower = key.lower()
    return lower if lower.startswith("0x") else f"0x{lower}"


def problem(status: int, title: str, detail: str = "", **more: object) -> web.Response:
    """Return an RFC 9457 problem."""
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail, **more}
    return web.Response(body=json.dumps(body).encode(), status=status, content_type="application/problem+json")
