"""Somebody's own API, described by options, behind a network that may misbehave: every capability."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx

from bot.domain.inventory import Capability, Endpoint, Node
from bot.nodes import http as driver_module
from bot.nodes.reach import Reach
from tests.drivers.contract import Character, Stand, Subject, SystemClock, patience
from tests.drivers.crooked import crooked
from tests.drivers.emulated.custom import OLD, OPTIONS, SECRET, CustomApi, custom
from tests.drivers.emulated.serving import PERIOD, Mode

KEYS = tuple("0x" + f"{index:02x}" * 48 for index in range(1, 5))
MODES = {Character.LYING: Mode.LYING, Character.HALF: Mode.HALF}


@dataclass
class _Subject:
    api: CustomApi
    driver: Any
    capability: Capability
    keys: tuple[str, ...] = KEYS

    async def stopped(self) -> bool:
        """Ask the API's own memory."""
        match self.capability:
            case Capability.SIGNER:
                return not any(self.api.active.values())
            case Capability.ROUTER:
                return self.api.routing == "out"
            case Capability.THROTTLE:
                return self.api.limited is True
        return self.capability is Capability.RECORDER or self.api.build == OLD

    async def calls(self) -> int:
        """Count what was not a GET."""
        return self.api.calls


@asynccontextmanager
async def _opened(capability: Capability, character: Character) -> AsyncIterator[Subject]:
    async with (
        custom(KEYS, mode=MODES.get(character, Mode.HONEST)) as api,
        crooked(character, "127.0.0.1", httpx.URL(api.url).port or 0) as port,
        Reach(drivers={"http": driver_module.connect}, secret=lambda _: SECRET, clock=SystemClock()) as reach,
    ):
        endpoint = Endpoint(driver="http", url=f"http://127.0.0.1:{port}", timeout=patience(character), options=OPTIONS)
        node = Node(name="n", avs="x", keys=KEYS, reach=dict.fromkeys(Capability, endpoint))
        yield _Subject(api, reach.reach(node, capability), capability)


STANDS = [
    Stand(
        name="http",
        capability=capability,
        open=partial(_opened, capability),
        characters=frozenset(Character) - ({Character.LYING} if capability is Capability.RECORDER else set()),
        to_build=OLD,
        period=PERIOD,
    )
    for capability in Capability
]
