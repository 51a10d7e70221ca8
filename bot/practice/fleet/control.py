"""The control API: ground truth and mischief, for demo, drills and tests only. No token; loopback only.

`GET /truth`, `GET /metrics`, `POST /equivocate`, `POST /character`, `POST /heal`.
"""

from collections.abc import Sequence
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bot.practice.fleet.fleet import Fleet
from bot.practice.fleet.metrics import exposition
from bot.practice.fleet.sidecar import refused
from bot.practice.fleet.spec import Character
from bot.practice.fleet.wall import problem


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Named(_Body):
    """Body of POST equivocate."""

    nodes: Annotated[list[str], Field(min_length=1)]


class Healed(_Body):
    """Body of POST heal; without `nodes`, all of them."""

    nodes: list[str] | None = None


class Cast(_Body):
    """Body of POST character."""

    node: str
    character: Character


def control_app(fleet: Fleet) -> Starlette:
    """Return the control API of `fleet`."""
    control = Control(fleet)
    return Starlette(
        routes=[
            Route("/truth", control.truth, methods=["GET"]),
            Route("/metrics", control.metrics, methods=["GET"]),
            Route("/equivocate", control.equivocate, methods=["POST"]),
            Route("/character", control.character, methods=["POST"]),
            Route("/heal", control.heal, methods=["POST"]),
        ]
    )


class Control:
    """The handlers, bound to one fleet."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    async def truth(self, request: Request) -> Response:
        """Say what is really so."""
        return JSONResponse(self._fleet.truth())

    async def metrics(self, request: Request) -> Response:
        """Write the metrics of all nodes, as one exporter beside the fleet sees them."""
        text = exposition(list(self._fleet.nodes.values()), validator_client=False)
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    async def equivocate(self, request: Request) -> Response:
        """Raise the conflicting-signatures counter of the nodes named."""
        try:
            asked = Named.model_validate_json(await request.body())
        except ValidationError as error:
            return refused(error)
        return self._unknown(asked.nodes) or JSONResponse({"signed": self._fleet.equivocate(asked.nodes)})

    async def character(self, request: Request) -> Response:
        """Change one node's character."""
        try:
            asked = Cast.model_validate_json(await request.body())
        except ValidationError as error:
            return refused(error)
        unknown = self._unknown([asked.node])
        if unknown:
            return unknown
        await self._fleet.become(asked.node, asked.character)
        return JSONResponse({"node": asked.node, "character": asked.character})

    async def heal(self, request: Request) -> Response:
        """Make nodes honest."""
        try:
            asked = Healed.model_validate_json(await request.body() or b"{}")
        except ValidationError as error:
            return refused(error)
        names = list(self._fleet.nodes) if asked.nodes is None else asked.nodes
        unknown = self._unknown(names)
        if unknown:
            return unknown
        await self._fleet.heal(names)
        return JSONResponse({"healed": names})

    def _unknown(self, names: Sequence[str]) -> Response | None:
        missing = [name for name in names if name not in self._fleet.nodes]
        return problem(404, "No such node", ", ".join(missing)) if missing else None
