"""A real HAProxy before a stub of a signer: TCP sessions for the router, a rate for the throttle."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import aiohttp

from bot.domain.inventory import Capability, Endpoint, Node
from bot.nodes import haproxy as driver_module
from bot.nodes.reach import Reach
from tests.drivers.contract import Character, Stand, Subject, SystemClock
from tests.drivers.gates.haproxy import Bent, Haproxy, bent, haproxy
from tests.drivers.gates.signer import KEYS, StubSigner, ask, stub_signer, validator

BURST = 30
SECONDS = 1.0


@dataclass
class _Subject:
    stub: StubSigner
    gate: Haproxy
    runtime: Bent
    driver: Any
    capability: Capability
    keys: tuple[str, ...] = KEYS

    async def stopped(self) -> bool:
        """Return whether nothing reaches the signer any more, or less than what is asked."""
        if self.capability is Capability.ROUTER:
            return await self.stub.flat(KEYS)
        before = self.stub.asked
        async with aiohttp.ClientSession() as session:
            for _ in range(BURST):
                await ask(session, self.gate.rpc, KEYS[0])
        return self.stub.asked - before < BURST / 2

    async def calls(self) -> int:
        """Count the orders."""
        return len(self.runtime.orders)


@asynccontextmanager
async def _opened(capability: Capability, character: Character) -> AsyncIterator[Subject]:
    async with AsyncExitStack() as stack:
        stub = await stack.enter_async_context(stub_signer())
        gate = await stack.enter_async_context(haproxy(stub.port))
        runtime = await stack.enter_async_context(bent(character, gate.admin))
        router = capability is Capability.ROUTER
        if router:
            await stack.enter_async_context(validator(gate.raw, KEYS))
        limits = {"maxconn": "3", "frontend": "rpc", "rate": "5", "map": gate.limits, "entry": "n1"}
        endpoint = Endpoint(
            driver="haproxy",
            url=runtime.url,
            timeout=timedelta(seconds=SECONDS),
            options={"server": "raw/n1"} if router else limits,
        )
        node = Node(name="n", avs="x", keys=KEYS, reach={capability: endpoint})
        drivers = {"haproxy": driver_module.connect}
        reach = await stack.enter_async_context(
            Reach(drivers=drivers, secret=lambda reference: reference, clock=SystemClock())
        )
        yield _Subject(stub, gate, runtime, reach.reach(node, capability), capability)


def _stand(capability: Capability) -> Stand:
    return Stand(
        name="haproxy", capability=capability, open=lambda character: _opened(capability, character), peer="haproxy"
    )


STANDS = [_stand(Capability.ROUTER), _stand(Capability.THROTTLE)]
