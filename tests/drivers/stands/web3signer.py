"""An imitation of Web3Signer behind a network that may misbehave."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from bot.domain.inventory import Capability, Endpoint, Node
from bot.nodes import web3signer as driver_module
from bot.nodes.reach import Reach
from tests.drivers.contract import Character, Stand, Subject, SystemClock, patience
from tests.drivers.crooked import crooked
from tests.drivers.emulated.serving import PERIOD, Mode
from tests.drivers.emulated.web3signer import Web3signerImitation, web3signer

KEYS = tuple("0x" + f"{index:02x}" * 48 for index in range(1, 5))
MODES = {Character.LYING: Mode.LYING, Character.HALF: Mode.HALF}


@dataclass
class _Subject:
    imitation: Web3signerImitation
    driver: Any
    keys: tuple[str, ...] = KEYS

    async def stopped(self) -> bool:
        """Return whether no key is loaded."""
        return not self.imitation.loaded

    async def calls(self) -> int:
        """Count deletes and imports."""
        return self.imitation.deletes + len(self.imitation.imported)


@asynccontextmanager
async def _opened(character: Character) -> AsyncIterator[Subject]:
    async with (
        web3signer(KEYS, mode=MODES.get(character, Mode.HONEST)) as it,
        crooked(character, "127.0.0.1", httpx.URL(it.url).port or 0) as port,
        Reach(drivers={"web3signer": driver_module.connect}, secret=str, clock=SystemClock()) as reach,
    ):
        endpoint = Endpoint(
            driver="web3signer",
            url=f"http://127.0.0.1:{port}",
            timeout=patience(character),
            options={"metrics": it.metrics_url},
        )
        node = Node(name="n", avs="x", keys=KEYS, reach={Capability.SIGNER: endpoint})
        yield _Subject(it, reach.reach(node, Capability.SIGNER))


STANDS = [Stand(name="web3signer", capability=Capability.SIGNER, open=_opened, period=PERIOD)]
