"""A running fleet: nodes on their ports, a control port, and the beat of the duties."""

import asyncio
import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from starlette.applications import Starlette

from bot.practice.fleet import keymanager, sidecar
from bot.practice.fleet.node import PracticeNode
from bot.practice.fleet.port import Port
from bot.practice.fleet.record import stamp
from bot.practice.fleet.spec import Api, Character, FleetSpec
from bot.practice.fleet.wall import Wall


def utc_now() -> datetime:
    """Return the present time."""
    return datetime.now(UTC)


class Fleet:
    """The nodes by name. What tests and the control API ask here is the truth, not what the nodes say."""

    def __init__(
        self, spec: FleetSpec, *, folder: Path, base_port: int = 0, now: Callable[[], datetime] = utc_now
    ) -> None:
        """Reserve a port a node: `base_port` + 1, + 2, … in the spec's order, or any free ones for 0."""
        self.spec = spec
        self.now = now
        self.nodes = {
            one.name: PracticeNode(one, period=spec.duty_period_seconds, folder=folder / one.name, now=now)
            for one in spec.nodes
        }
        self.ports = {name: Port(base_port + place if base_port else 0) for place, name in enumerate(self.nodes, 1)}
        self._walls = {name: self._wall(node) for name, node in self.nodes.items()}
        for node in self.nodes.values():
            node.peers = self._peers_of(node)

    @property
    def token(self) -> str:
        """Return the bearer token of every node."""
        return self.spec.token

    def url(self, name: str) -> str:
        """Return the base URL of a node."""
        return self.ports[name].url

    async def become(self, name: str, character: Character) -> None:
        """Change a node's character; its port closes, cutting every connection, or opens where its process does."""
        self.nodes[name].become(character)
        if self.nodes[name].runs:
            await self.ports[name].open(self._walls[name])
        else:
            await self.ports[name].close()

    async def heal(self, names: Sequence[str]) -> None:
        """Make nodes honest. Frozen keys stay frozen, isolated nodes isolated: only the API may start something."""
        await asyncio.gather(*(self.become(name, Character.HONEST) for name in names))

    def equivocate(self, names: Sequence[str]) -> Mapping[str, bool]:
        """Show a conflicting signature of each node; the value says whether the node really signed one just now."""
        return {name: self.nodes[name].runs and self.nodes[name].signer.equivocate(self.now()) for name in names}

    def truth(self) -> Mapping[str, Any]:
        """Return what is really so, node by node."""
        nodes = {name: {"url": self.url(name), **node.truth()} for name, node in self.nodes.items()}
        return {"now": stamp(self.now()), "duty_period_seconds": self.spec.duty_period_seconds, "nodes": nodes}

    async def start(self) -> None:
        """Open the port of each node that is not down."""
        await asyncio.gather(
            *(self.ports[name].open(self._walls[name]) for name, node in self.nodes.items() if node.runs)
        )

    async def stop(self) -> None:
        """Close everything."""
        await asyncio.gather(*(port.close(release=True) for port in self.ports.values()))
        for node in self.nodes.values():
            node.record.close()

    async def beat(self) -> None:
        """Let all nodes meet their duties, one slot after another, until cancelled."""
        period = self.spec.duty_period_seconds
        while True:
            elapsed = self.now().timestamp() % period
            await asyncio.sleep(period - elapsed + period * 0.02)
            for node in self.nodes.values():
                node.beat()

    def _wall(self, node: PracticeNode) -> Wall:
        own = keymanager.routes(node) if node.spec.api is Api.KEYMANAGER else []
        return Wall(node, Starlette(routes=sidecar.routes(node) + own), token=self.spec.token)

    def _peers_of(self, node: PracticeNode) -> Callable[[], Sequence[Mapping[str, object]]]:
        def peers() -> Sequence[Mapping[str, object]]:
            others = [one for one in self.nodes.values() if one is not node and one.spec.avs == node.spec.avs]
            return [self._peer(node, other) for other in others if other.runs and not other.isolated]

        return peers

    def _peer(self, node: PracticeNode, other: PracticeNode) -> Mapping[str, object]:
        spread = hashlib.sha256(f"{node.spec.name}/{other.spec.name}".encode()).digest()[0] / 64
        near = node.spec.region == other.spec.region
        return {
            "peer_id": "16Uiu2" + hashlib.sha256(other.spec.name.encode()).hexdigest()[:32],
            "latency_ms": round((2.0 if near else 80.0) + spread, 1),
            "address": f"/ip4/127.0.0.1/tcp/{self.ports[other.spec.name].number}",
            "last_seen": stamp(self.now()),
        }
