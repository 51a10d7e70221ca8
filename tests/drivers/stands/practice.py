"""The practice fleet as a peer: the sidecar's signer, router, deployer and recorder, and the Keymanager imitation."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from bot.domain.inventory import Capability, Endpoint, Node
from bot.nodes import keymanager, sidecar
from bot.nodes.reach import Reach
from bot.practice.fleet import Api, FleetSpec, NodeSpec, RunningFleet, build_hash, key_of, running_fleet
from bot.practice.fleet import Character as Manner
from tests.drivers.contract import Character, Stand, Subject, SystemClock, patience

PERIOD = 0.1
KEYS = tuple(key_of("x", "n", index) for index in range(4))
DRIVERS: dict[str, Any] = {"sidecar": sidecar.connect, "keymanager": keymanager.connect}


@dataclass
class Practice:
    """A node of the practice fleet."""

    fleet: RunningFleet
    driver: Any
    capability: Capability
    keys: tuple[str, ...] = KEYS

    async def stopped(self) -> bool:
        """Ask the fleet for the truth."""
        node = self.fleet.truth()["nodes"]["n"]
        match self.capability:
            case Capability.SIGNER:
                return not any(key["signing"] for key in node["keys"].values())
            case Capability.ROUTER:
                return bool(node["isolated"])
            case Capability.DEPLOYER:
                return str(node["release"]["build_hash"]) == TO_BUILD
        return True

    async def calls(self) -> int:
        """Count what was not a GET."""
        return sum(one["method"] != "GET" for one in self.fleet.truth()["nodes"]["n"]["requests"])


@asynccontextmanager
async def _opened(api: Api, capability: Capability, character: Character) -> AsyncIterator[Subject]:
    manner = Manner(character.value)
    if character is Character.LYING and api is Api.KEYMANAGER:
        manner = Manner.DEAF  # it sees through a lie that ends with the second DELETE
    spec = NodeSpec(name="n", avs="x", api=api, character=manner, keys=KEYS, delay_seconds=1.0)
    async with running_fleet(FleetSpec(nodes=(spec,), duty_period_seconds=PERIOD)) as fleet:
        endpoint = Endpoint(driver=str(api), url=fleet.url("n"), token="env:T", timeout=patience(character))
        node = Node(name="n", avs="x", keys=KEYS, reach={capability: endpoint})
        async with Reach(drivers=DRIVERS, secret=lambda _: fleet.token, clock=SystemClock()) as reach:
            yield Practice(fleet, reach.reach(node, capability), capability)


def _stand(api: Api, capability: Capability, **more: Any) -> Stand:
    opened: Callable[[Character], AbstractAsyncContextManager[Subject]] = partial(_opened, api, capability)
    return Stand(name=str(api), capability=capability, open=opened, period=PERIOD, **more)


TO_BUILD = build_hash("sequin", "2.3.1")
_PLAIN = frozenset(Character) - {Character.LYING, Character.HALF}
STANDS = [
    _stand(Api.SIDECAR, Capability.SIGNER),
    _stand(Api.SIDECAR, Capability.ROUTER, characters=_PLAIN),
    _stand(Api.SIDECAR, Capability.DEPLOYER, characters=_PLAIN, to_build=TO_BUILD),
    _stand(Api.SIDECAR, Capability.RECORDER, characters=_PLAIN),
    _stand(Api.KEYMANAGER, Capability.SIGNER),
]
