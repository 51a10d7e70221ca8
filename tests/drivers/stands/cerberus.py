"""Cerberus, played by a stub of its gRPC interface."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from cryptography.fernet import Fernet

from bot.domain.inventory import Capability, Endpoint, Node
from bot.nodes import cerberus
from bot.nodes.cerberus import Cerberus
from bot.nodes.way import Way
from bot.nodes.wire import node_client
from tests.drivers.cerberus_stub import Stub, running_stub
from tests.drivers.contract import Character, Stand, Subject, SystemClock, patience

KEYS: tuple[str, ...] = ("0x" + "a3" * 32, "0x" + "b4" * 32)


class Played:
    """The driver, before a stub."""

    def __init__(self, driver: Cerberus, stub: Stub) -> None:
        self.driver = driver
        self.keys = KEYS
        self._stub = stub

    async def stopped(self) -> bool:
        """Try the AVS node's own API keys."""
        return await self._stub.stopped()

    async def calls(self) -> int:
        """Return how many requests that change something have arrived."""
        return len(self._stub.effects)


@asynccontextmanager
async def opened(character: Character) -> AsyncIterator[Subject]:
    """Run a stub of this character, and its driver."""
    seal = Fernet.generate_key().decode()
    with tempfile.TemporaryDirectory() as folder:
        async with running_stub(Stub(KEYS, character)) as stub, node_client() as client:
            endpoint = Endpoint(
                driver="cerberus",
                url=f"http://127.0.0.1:{stub.admin_port}",
                timeout=patience(character),
                options={
                    "metrics": f"http://127.0.0.1:{stub.metrics_port}",
                    "sealed": str(Path(folder) / "sealed"),
                    "seal": "env:SEAL",
                },
            )
            node = Node(name="seq-01", avs="x", keys=KEYS)
            way = Way(node=node, endpoint=endpoint, client=client, clock=SystemClock(), secret=lambda _: seal)
            yield Played(cerberus.connect(way), stub)


STANDS = [Stand(name="cerberus", capability=Capability.SIGNER, open=opened)]
