"""An imitation of a Lighthouse 8.0 validator client that has duties of its own.

From its source and book: PATCH answers an empty 200, 404 for a validator that it does not hold; every request needs the
bearer token; counters name no key and appear with the first signature; /metrics is on a port of its own.
"""

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.drivers.emulated.serving import Mode, serving, ticking

TOKEN = "api-token-0x02aa"


@dataclass
class LighthouseImitation:
    """The client, and the truth about it."""

    keys: Sequence[str]
    mode: Mode = Mode.HONEST
    token: str = TOKEN
    url: str = ""
    metrics_url: str = ""
    pid: int = 144072
    enabled: dict[str, bool] = field(default_factory=dict)
    shown: dict[str, bool] = field(default_factory=dict)
    signed: dict[str, int] = field(default_factory=dict)
    attempts: int = 0
    patches: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Enable every validator."""
        self.enabled = dict.fromkeys(self.keys, True)
        self.shown = dict(self.enabled)
        self.signed = dict.fromkeys(self.keys, 0)

    @property
    def options(self) -> dict[str, str]:
        """Return the options of an endpoint that reaches it."""
        return {"metrics": self.metrics_url}

    def duty(self) -> None:
        """Sign with every validator that is enabled."""
        for key, enabled in self.enabled.items():
            self.signed[key] += enabled
            self.attempts += enabled

    def restart(self) -> None:
        """Begin to count anew, as another process; what is disabled stays so, as it is on disk."""
        self.pid += 1
        self.attempts = 0

    def app(self) -> web.Application:
        """Return its API."""
        app = web.Application(middlewares=[self._authorised])
        app.router.add_get("/lighthouse/validators", self._list)
        app.router.add_patch("/lighthouse/validators/{key}", self._patch)
        app.router.add_get("/lighthouse/health", self._health)
        return app

    def metrics(self) -> web.Application:
        """Return its metrics server."""
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        return app

    @web.middleware
    async def _authorised(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            return _error(403, "FORBIDDEN: Invalid Authorization token")
        response: web.StreamResponse = await handler(request)
        return response

    async def _list(self, _: web.Request) -> web.Response:
        told = [{"enabled": enabled, "description": "", "voting_pubkey": key} for key, enabled in self.shown.items()]
        return web.json_response({"data": told})

    async def _patch(self, request: web.Request) -> web.Response:
        key, wanted = request.match_info["key"], (await request.json())["enabled"]
        self.patches.append(key)
        if key not in self.enabled:
            return _error(404, f"NOT_FOUND: no validator for {key}")
        if self.mode is Mode.HALF and list(self.enabled).index(key) >= (len(self.enabled) + 1) // 2:
            return _error(500, "UNHANDLED_ERROR: unable to set validator status: UnableToSaveDefinitions")
        self.shown[key] = wanted
        if self.mode is not Mode.LYING:
            self.enabled[key] = wanted
        return web.json_response(None)

    async def _health(self, _: web.Request) -> web.Response:
        return web.json_response(
            {"data": {"pid": self.pid, "misc_node_boot_ts_seconds": 1681740973, "misc_os": "linux"}}
        )

    async def _metrics(self, _: web.Request) -> web.Response:
        lines = [f"vc_validators_enabled_count {sum(self.shown.values())}"]
        if self.attempts:
            lines += [
                f'vc_signed_attestations_total{{status="success"}} {self.attempts}',
                f'vc_signing_times_seconds_bucket{{type="local_keystore",le="+Inf"}} {self.attempts}',
                f'vc_signing_times_seconds_sum{{type="local_keystore"}} {self.attempts * 0.0004}',
                f'vc_signing_times_seconds_count{{type="local_keystore"}} {self.attempts}',
            ]
        return web.Response(text="\n".join(lines) + "\n")


def _error(status: int, message: str) -> web.Response:
    return web.json_response({"code": status, "message": message, "stacktraces": []}, status=status)


@contextlib.asynccontextmanager
async def lighthouse(keys: Sequence[str], **how: Any) -> AsyncIterator[LighthouseImitation]:
    """Run the imitation; `how` are fields of LighthouseImitation."""
    it = LighthouseImitation(keys=keys, **how)
    async with serving(it.app()) as it.url, serving(it.metrics()) as it.metrics_url, ticking(it.duty):
        yield it
