"""A real Envoy before a stub of a signer. What only half isolates is a TCP session that lives on."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx

from bot.domain.inventory import Capability, Endpoint, Node
from bot.nodes import envoy as driver_module
from bot.nodes.reach import Reach
from tests.drivers.contract import Character, Stand, Subject, SystemClock
from tests.drivers.crooked import crooked
from tests.drivers.gates.envoy import envoy, instead
from tests.drivers.gates.signer import KEYS, StubSigner, stub_signer, validator

SECONDS = 1.0


@dataclass
class _Subject:
    stub: StubSigner
    file: Path
    driver: Any
    keys: tuple[str, ...] = KEYS

    async def stopped(self) -> bool:
        """Return whether nothing reaches the signer any more."""
        return await self.stub.flat(KEYS)

    async def calls(self) -> int:
        """Return a number that grows with each replacement of the file."""
        return self.file.stat().st_mtime_ns


@asynccontextmanager
async def _opened(character: Character) -> AsyncIterator[Subject]:
    async with AsyncExitStack() as stack:
        stub = await stack.enter_async_context(stub_signer())
        gate = await stack.enter_async_context(envoy(stub.port))
        asked = gate.raw if character is Character.HALF else gate.signer
        await stack.enter_async_context(validator(asked, KEYS))
        admin = await stack.enter_async_context(
            crooked(character, "127.0.0.1", httpx.URL(gate.admin).port or 0, delay=SECONDS * 2)
        )
        file = gate.eds
        if character is Character.LYING:
            file = await stack.enter_async_context(instead(gate.eds, lambda _: None))
        endpoint = Endpoint(
            driver="envoy",
            url=f"http://127.0.0.1:{admin}",
            timeout=timedelta(seconds=SECONDS),
            options={"file": str(file), "cluster": "signer", "endpoint": f"127.0.0.1:{stub.port}"},
        )
        node = Node(name="n", avs="x", keys=KEYS, reach={Capability.ROUTER: endpoint})
        drivers = {"envoy": driver_module.connect}
        reach = await stack.enter_async_context(
            Reach(drivers=drivers, secret=lambda reference: reference, clock=SystemClock())
        )
        yield _Subject(stub, file, reach.reach(node, Capability.ROUTER))


STANDS = [Stand(name="envoy", capability=Capability.ROUTER, open=_opened, peer="envoy")]
