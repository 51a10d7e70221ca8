"""An imitation of a Lighthouse validator client behind a network that may misbehave."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from bot.domain.inventory import Capability, Endpoint, Node
from bot.nodes import lighthouse as driver_module
from bot.nodes.reach import Reach
from tests.drivers.contract import Character, Stand, Subject, SystemClock, patience
from tests.drivers.crooked import crooked
from tests.drivers.emulated.lighthouse import TOKEN, LighthouseImitation, lighthouse
from tests.drivers.emulated.serving import PERIOD, Mode

KEYS = tuple("0x" + f"{index:02x}" * 48 for index in range(1, 5))
MODES = {Character.LYING: Mode.LYING, Character.HALF: Mode.HALF}


@dataclass
class _Subject:
    imitation: LighthouseImitation
    driver: Any
    keys: tuple[str, ...] = KEYS

    async def stopped(self) -> bool:
        """Return whether every validator is disabled."""
        return not any(self.imitation.enabled.values())

    async def calls(self) -> int:
        """Count the changes asked for."""
        return len(self.imitation.patches)


@asynccontextmanager
async def _opened(character: Character) -> AsyncIterator[Subject]:
    async with (
        lighthouse(KEYS, mode=MODES.get(character, Mode.HONEST)) as it,
        crooked(character, "127.0.0.1", httpx.URL(it.url).port or 0) as port,
        Reach(drivers={"lighthouse": driver_module.connect}, secret=lambda _: TOKEN, clock=SystemClock()) as reach,
    ):
        endpoint = Endpoint(
            driver="lighthouse",
            token="env:TOKEN",
            url=f"http://127.0.0.1:{port}",
            timeout=patience(character),
            options={"metrics": it.metrics_url},
        )
        node = Node(name="n", avs="x", keys=KEYS, reach={Capability.SIGNER: endpoint})
        yield _Subject(it, reach.reach(node, Capability.SIGNER))


STANDS = [Stand(name="lighthouse", capability=Capability.SIGNER, open=_opened, period=PERIOD)]
