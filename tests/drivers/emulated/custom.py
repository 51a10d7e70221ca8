"""An HTTP API that no program has: somebody's own, for the declarative driver. It can be all that a node can be."""

import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.drivers.emulated.serving import Mode, serving, ticking

SECRET = "custom-api-key"
OLD, NEW = "sha256:" + "1" * 64, "sha256:" + "2" * 64
OPTIONS = {
    "header.X-Api-Key": "env:CUSTOM",
    "freeze": 'POST /admin/pause {"keys": "{keys}", "by": "{incident}", "request": "{request}"}',
    "freeze.expect": '$.results[?@.key == "{key}" && @.state == "paused"]',
    "freeze.already": '$.results[?@.key == "{key}" && @.state == "paused" && @.changed == false]',
    "unfreeze": 'POST /admin/resume {"keys": "{keys}", "request": "{request}"}',
    "unfreeze.expect": '$.results[?@.key == "{key}" && @.state == "active"]',
    "state": "GET /admin/keys/{key}",
    "state.signing": '$.state == "active"',
    "state.stopped": '$.state == "paused"',
    "counters": "GET /metrics",
    "counter": 'signatures_total{key="{key}"}',
    "slashing_protection": "GET /interchange",
    "isolate": 'POST /routing {"to": "out"}',
    "isolate.expect": '$.state == "out"',
    "isolate.already": "status 409",
    "restore": 'POST /routing {"to": "in"}',
    "isolated": "GET /routing",
    "isolated.yes": '$.state == "out"',
    "isolated.no": '$.state == "in"',
    "throttle": 'PUT /limit {"on": true}',
    "throttle.expect": "says limited",
    "throttled": "GET /limit",
    "throttled.yes": "$.on == true",
    "throttled.no": "$.on == false",
    "rollback": 'POST /releases/{to_build}/run {"request": "{request}"}',
    "rollback.expect": '$.build == "{to_build}"',
    "release": "GET /releases/current",
    "release.version": "$.version",
    "release.build": "$.build",
    "release.config": "$.config.sha256",
    "capture.signed-messages": "GET /audit?since={since}&until={until}",
    "media.signed-messages": "application/x-ndjson",
    "capture.state": "GET /routing",
}
"""The options that describe it."""


@dataclass
class CustomApi:
    """The node, and the truth about it. `seen` is each request: method, path as it came, body."""

    keys: Sequence[str]
    mode: Mode = Mode.HONEST
    url: str = ""
    active: dict[str, bool] = field(default_factory=dict)
    shown: dict[str, bool] = field(default_factory=dict)
    signed: dict[str, int] = field(default_factory=dict)
    routing: str = "in"
    limited: bool | None = False
    build: str = NEW
    started: float = 5.0
    seen: list[tuple[str, str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Let every key be active."""
        self.active = dict.fromkeys(self.keys, True)
        self.shown = dict(self.active)
        self.signed = dict.fromkeys(self.keys, 0)

    def duty(self) -> None:
        """Sign with every active key."""
        for key, active in self.active.items():
            self.signed[key] += active

    @property
    def calls(self) -> int:
        """Return how many requests changed something, or tried to."""
        return sum(method != "GET" for method, _, _ in self.seen)

    def app(self) -> web.Application:
        """Return its API."""
        app = web.Application(middlewares=[self._noted])
        app.router.add_post("/admin/{verb:pause|resume}", self._set)
        app.router.add_get("/admin/keys/{key}", self._key)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/interchange", self._interchange)
        app.router.add_route("*", "/routing", self._routing)
        app.router.add_route("*", "/limit", self._limit)
        app.router.add_get("/releases/current", self._release)
        app.router.add_post("/releases/{build}/run", self._run)
        app.router.add_get("/audit", self._audit)
        return app

    @web.middleware
    async def _noted(self, request: web.Request, handler: Any) -> web.StreamResponse:
        body = await request.json() if request.can_read_body else None
        self.seen.append((request.method, request.raw_path, body))
        self.headers.append(dict(request.headers))
        if request.path != "/metrics" and request.headers.get("X-Api-Key") != SECRET:
            return web.json_response({"message": "who are you?"}, status=401)
        response: web.StreamResponse = await handler(request)
        return response

    async def _set(self, request: web.Request) -> web.Response:
        wanted = request.match_info["verb"] == "resume"
        results = []
        for key in (await request.json())["keys"]:
            if key not in self.active:
                results.append({"key": key, "state": "unknown", "changed": False})
                continue
            half = self.mode is Mode.HALF and list(self.keys).index(key) >= (len(self.keys) + 1) // 2
            changed = self.shown[key] is not wanted
            if not half:
                self.shown[key] = wanted
                self.active[key] = wanted or self.mode is Mode.LYING
            results.append({"key": key, "state": "active" if self.shown[key] else "paused", "changed": changed})
        return web.json_response({"results": results})

    async def _key(self, request: web.Request) -> web.Response:
        key = request.match_info["key"]
        if key not in self.shown:
            return web.json_response({"message": "no such key"}, status=404)
        return web.json_response({"state": "active" if self.shown[key] else "paused"})

    async def _metrics(self, _: web.Request) -> web.Response:
        lines = [f'signatures_total{{key="{key}",kind="vote"}} {count}' for key, count in self.signed.items()]
        lines += [f'signatures_total{{key="{key}",kind="block"}} 1' for key in self.signed]
        return web.Response(text="\n".join([*lines, f"process_start_time_seconds {self.started}", ""]))

    async def _interchange(self, _: web.Request) -> web.Response:
        return web.json_response({"metadata": {"interchange_format_version": "5"}, "data": []})

    async def _routing(self, request: web.Request) -> web.Response:
        if request.method == "GET":
            return web.json_response({"state": self.routing})
        wanted = (await request.json())["to"]
        if wanted == self.routing:
            return web.json_response({"message": f"is {wanted}"}, status=409)
        if self.mode is Mode.HONEST:
            self.routing = wanted
        elif self.mode is Mode.HALF:
            self.routing = "draining"
        return web.json_response({"state": wanted if self.mode is Mode.LYING else self.routing})

    async def _limit(self, request: web.Request) -> web.Response:
        if request.method == "GET":
            return web.json_response({"on": self.limited})
        if self.mode is Mode.HONEST:
            self.limited = True
        elif self.mode is Mode.HALF:
            self.limited = None
            return web.Response(text="limits on half of the ports")
        return web.Response(text="limited to 10/s")

    async def _release(self, _: web.Request) -> web.Response:
        return web.json_response({"version": "2.4.0", "build": self.build, "config": {"sha256": "sha256:c0"}})

    async def _run(self, request: web.Request) -> web.Response:
        wanted = request.match_info["build"]
        if self.mode is not Mode.LYING:
            self.build = wanted if self.mode is Mode.HONEST else "rolling"
        return web.json_response({"build": wanted if self.mode is Mode.LYING else self.build})

    async def _audit(self, request: web.Request) -> web.StreamResponse:
        line = json.dumps({"since": request.query["since"], "until": request.query["until"]}).encode() + b"\n"
        if self.mode is not Mode.HALF:
            return web.Response(body=line)
        cut = web.StreamResponse(headers={"Content-Length": str(len(line) * 2)})
        await cut.prepare(request)
        await cut.write(line)
        assert request.transport is not None
        request.transport.close()
        return cut


@contextlib.asynccontextmanager
async def custom(keys: Sequence[str], **how: Any) -> AsyncIterator[CustomApi]:
    """Run the API; `how` are fields of CustomApi."""
    it = CustomApi(keys=keys, **how)
    async with serving(it.app()) as it.url, ticking(it.duty):
        yield it
