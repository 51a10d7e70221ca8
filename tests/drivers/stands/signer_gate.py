"""A real HAProxy, and a real Envoy, that deny by key before a stub of a signer whose counters are the truth."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

import httpx

from bot.domain.inventory import Capability, Endpoint, Node
from bot.nodes import signer_gate as driver_module
from bot.nodes.reach import Reach
from tests.drivers.contract import Character, Stand, Subject, SystemClock
from tests.drivers.crooked import crooked
from tests.drivers.gates.envoy import envoy, instead
from tests.drivers.gates.haproxy import bent, haproxy
from tests.drivers.gates.signer import KEYS, StubSigner, stub_signer, validator

SECONDS = 1.0


@dataclass
class _Subject:
    stub: StubSigner
    driver: Any
    counted: Callable[[], int]
    keys: tuple[str, ...] = KEYS

    async def stopped(self) -> bool:
        """Return whether no key signs any more."""
        return await self.stub.flat(KEYS)

    async def calls(self) -> int:
        """Count the orders, or return a number that grows with each replacement of the file."""
        return self.counted()


MakeGate = Callable[
    [AsyncExitStack, Character, StubSigner], Awaitable[tuple[str, str, dict[str, str], Callable[[], int]]]
]


async def _haproxy(
    stack: AsyncExitStack, character: Character, stub: StubSigner
) -> tuple[str, str, dict[str, str], Callable[[], int]]:
    gate = await stack.enter_async_context(haproxy(stub.port))
    runtime = await stack.enter_async_context(bent(character, gate.admin))
    return gate.signer, runtime.url, {"map": gate.denied}, lambda: len(runtime.orders)


async def _envoy(
    stack: AsyncExitStack, character: Character, stub: StubSigner
) -> tuple[str, str, dict[str, str], Callable[[], int]]:
    gate = await stack.enter_async_context(envoy(stub.port))
    admin = await stack.enter_async_context(
        crooked(character, "127.0.0.1", httpx.URL(gate.admin).port or 0, delay=SECONDS * 2)
    )
    file = gate.denied
    if character in {Character.LYING, Character.HALF}:
        change = _halved if character is Character.HALF else lambda _: None
        file = await stack.enter_async_context(instead(gate.denied, change))
    options = {"program": "envoy", "file": str(file), "filter": "stopsign"}
    return gate.signer, f"http://127.0.0.1:{admin}", options, lambda: file.stat().st_mtime_ns


def _halved(document: Any) -> Any:
    policy = document["resources"][0]["typed_config"]["rules"]["policies"]["stopsign"]
    policy["permissions"] = policy["permissions"][: len(policy["permissions"]) // 2]
    return document


@asynccontextmanager
async def _opened(make: MakeGate, character: Character) -> AsyncIterator[Subject]:
    async with AsyncExitStack() as stack:
        stub = await stack.enter_async_context(stub_signer())
        asked, url, options, counted = await make(stack, character, stub)
        await stack.enter_async_context(validator(asked, KEYS))
        endpoint = Endpoint(
            driver="signer_gate",
            url=url,
            timeout=timedelta(seconds=SECONDS),
            options={**options, "metrics": stub.metrics, "counters": "stub_signed_total"},
        )
        node = Node(name="n", avs="x", keys=KEYS, reach={Capability.SIGNER: endpoint})
        drivers = {"signer_gate": driver_module.connect}
        reach = await stack.enter_async_context(
            Reach(drivers=drivers, secret=lambda reference: reference, clock=SystemClock())
        )
        yield _Subject(stub, reach.reach(node, Capability.SIGNER), counted)


STANDS = [
    Stand(name="signer_gate", capability=Capability.SIGNER, open=partial(_opened, _haproxy), peer="haproxy"),
    Stand(name="signer_gate", capability=Capability.SIGNER, open=partial(_opened, _envoy), peer="envoy"),
]
