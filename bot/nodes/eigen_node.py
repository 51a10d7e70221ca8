"""Capture from an EigenLayer AVS node by its node API (EigenLayer AVS Node Specification, /eigen/node, v0.0.1).

The API is read-only and optional. Health is told by the HTTP status alone: 200 healthy, 206 partly, 503 not.
"""

import json
from collections.abc import AsyncIterator
from datetime import datetime
from urllib.parse import quote

from pydantic import TypeAdapter, ValidationError

from bot.domain.inventory import Capability
from bot.domain.target import Effect
from bot.errors import NodeBroken
from bot.nodes.recording import Collection
from bot.nodes.way import Way
from bot.ports import Item, Traits

TRAITS = Traits(
    effect=Effect.SET_STATE,
    reversible=True,
    capabilities=(Capability.RECORDER,),
    proves_by="nothing: it reads. It keeps what the node says of itself and of its services",
    needs="the node API of the AVS node, which not every AVS has",
    cannot_know="anything of signatures, of which the API says nothing; the past: the answers are of now; whether a "
    "503 is the node's word or that of a proxy before it",
    blast_radius="none",
    tested="an imitation written from the specification v0.0.1",
    tier="emulated",
)
MEANS = {200: "healthy", 206: "partly healthy", 503: "unhealthy"}
"""The statuses of a health answer (specification: GET /eigen/node/health)."""
MOST_SERVICES = 64
_NODE, _SERVICES = "/eigen/node", "/eigen/node/services"
_ANY: TypeAdapter[object] = TypeAdapter(object)
_MOST_SAID = 16 * 1024


def connect(way: Way) -> "EigenNode":
    """Return the driver of the node API at the endpoint's URL; opens no connection. Raises Misconfigured."""
    way.options()
    return EigenNode(way)


class EigenNode:
    """Recorder: `node`, `node-health`, `services`, and a `service-health` for each service."""

    traits = TRAITS

    def __init__(self, way: Way) -> None:
        self._way = way
        self._wire = way.wire()

    async def capture(self, since: datetime, until: datetime) -> AsyncIterator[Item]:
        """Yield what the node says now; the window does not matter. The services are asked for once they are known."""
        collection = Collection(self._way)
        listed: list[bytes] = []
        yield collection.item("node", _NODE, self._document(_NODE, []))
        yield collection.item("node-health", f"{_NODE}/health", self._health(f"{_NODE}/health"))
        yield collection.item("services", _SERVICES, self._document(_SERVICES, listed))
        found = services(listed[0]) if listed else ()
        for service in found[:MOST_SERVICES]:
            path = f"{_SERVICES}/{quote(service, safe='')}/health"
            yield collection.item("service-health", path, self._health(path))
        if len(found) > MOST_SERVICES:
            collection.note(_SERVICES, f"of {len(found)} services only the first {MOST_SERVICES} were asked")
        for item in collection.notes():
            yield item

    async def _document(self, path: str, kept: list[bytes]) -> AsyncIterator[bytes]:
        content = await self._wire.call().content("GET", path)
        try:
            _ANY.validate_json(content)
        except ValidationError:
            raise NodeBroken(f"{self._way.node.name} answered GET {path} with something that is not JSON") from None
        kept.append(content)
        yield content

    async def _health(self, path: str) -> AsyncIterator[bytes]:
        status, said = await self._wire.call().answer("GET", path, accept=MEANS)
        if status not in MEANS:
            raise NodeBroken(f"{self._way.node.name} answered GET {path} with {status}, which is no health")
        text = said[:_MOST_SAID].decode(errors="replace")
        answer = {"path": path, "status": status, "means": MEANS[status], "said": text}
        yield json.dumps(answer, ensure_ascii=False).encode() + b"\n"


def services(content: bytes) -> tuple[str, ...]:
    """Return the ids in an answer to GET /eigen/node/services; what is no id of a service is left out."""
    tree = json.loads(content)
    entries = tree.get("services") if isinstance(tree, dict) else None
    ids = [one.get("id") for one in entries if isinstance(one, dict)] if isinstance(entries, list) else []
    return tuple(dict.fromkeys(one for one in ids if isinstance(one, str) and one.strip(".") and len(one) <= 200))
