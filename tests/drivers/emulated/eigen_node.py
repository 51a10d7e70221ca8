"""An imitation of the EigenLayer AVS node API v0.0.1, from its specification: health is told by the status alone."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.drivers.emulated.serving import serving

STATUS = {"Up": 200, "Initializing": 206, "Down": 503}


@dataclass
class EigenNodeImitation:
    """One AVS node: its health, its services with their states, and the paths that were asked for."""

    health: int = 200
    services: Mapping[str, str] = field(default_factory=dict)
    token: str | None = None
    said: str = ""
    asked: list[str] = field(default_factory=list)
    listed: Sequence[Any] | None = None
    """What the list of services has instead of them."""

    def app(self) -> web.Application:
        """Return its API."""
        app = web.Application(middlewares=[self._guard])
        app.router.add_get("/eigen/node", self._node)
        app.router.add_get("/eigen/node/health", self._health)
        app.router.add_get("/eigen/node/services", self._services)
        app.router.add_get("/eigen/node/services/{id}/health", self._service)
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.asked.append(request.raw_path)
        if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            return web.Response(status=401)
        response: web.StreamResponse = await handler(request)
        return response

    async def _node(self, request: web.Request) -> web.Response:
        return web.json_response({"node_name": "x-avs", "spec_version": "v0.0.1", "node_version": "v1.2.3"})

    async def _health(self, request: web.Request) -> web.Response:
        return web.Response(status=self.health, text=self.said)

    async def _services(self, request: web.Request) -> web.Response:
        entries = [{"id": id_, "name": id_, "description": "", "status": up} for id_, up in self.services.items()]
        return web.json_response({"services": entries if self.listed is None else self.listed})

    async def _service(self, request: web.Request) -> web.Response:
        state = self.services.get(request.match_info["id"])
        return web.Response(status=STATUS[state] if state else 404)


@asynccontextmanager
async def eigen_node(**more: Any) -> AsyncIterator[tuple[str, EigenNodeImitation]]:
    """Run the imitation; yields its URL and it."""
    imitation = EigenNodeImitation(**more)
    async with serving(imitation.app()) as url:
        yield url, imitation
