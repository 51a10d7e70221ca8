"""A real Docker Engine as a peer; a lying and a half-way one are a gateway that answers some requests by itself."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from bot.domain.inventory import Capability, Endpoint, Node
from bot.nodes import docker
from bot.nodes.reach import Reach
from tests.drivers.contract import Character, Stand, Subject, SystemClock
from tests.drivers.crooked import crooked
from tests.drivers.engine import BAD, GOOD, Engine, Gateway, engine, fresh, gateway

KEYS = ("0x" + "ab" * 48,)
_ON_THE_WAY = {Character.SILENT, Character.SLOW, Character.ERRORING, Character.UNAUTHORISED, Character.DOWN}
TIMEOUT, SHORT = timedelta(seconds=8), timedelta(seconds=1.5)


@dataclass
class Container:
    """One container, its driver, and the engine as the truth."""

    driver: Any
    engine: Engine
    name: str
    way: Gateway
    keys: tuple[str, ...] = KEYS

    async def stopped(self) -> bool:
        """Tell whether the good build runs, alone."""
        running = self.engine.running(self.name)
        return running == [self.name] and self.engine.container(self.name)["Image"] == GOOD.digest

    async def calls(self) -> int:
        """Count what was not a GET."""
        return len(self.way.effects)


def _lie(method: str, path: str) -> tuple[int, object] | None:
    if method == "GET":
        return None
    return (201, {"Id": "f" * 64, "Warnings": []}) if path.endswith("/create") else (204, None)


def _half(method: str, path: str) -> tuple[int, object] | None:
    return (500, {"message": "no space left on device"}) if path.endswith("/start") else None


@asynccontextmanager
async def _opened(character: Character) -> AsyncIterator[Subject]:
    peer, name = engine(), fresh()
    bend = {Character.LYING: _lie, Character.HALF: _half}.get(character, lambda method, path: None)
    peer.run(name, BAD)
    try:
        async with gateway(peer, bend) as way, crooked(character, "127.0.0.1", way.port, delay=2.0) as port:
            endpoint = Endpoint(
                driver="docker",
                url=f"http://127.0.0.1:{port}",
                timeout=SHORT if character in _ON_THE_WAY else TIMEOUT,
                options={"t": "1", "settle": "0.1"},
            )
            node = Node(name=name, avs="x", keys=KEYS, reach={Capability.DEPLOYER: endpoint})
            async with Reach(drivers={"docker": docker.connect}, secret=str, clock=SystemClock()) as reach:
                yield Container(reach.reach(node, Capability.DEPLOYER), peer, name, way)
    finally:
        peer.clear(name)


STANDS = [Stand(name="docker", capability=Capability.DEPLOYER, open=_opened, to_build=GOOD.digest, peer="docker")]
