"""An emulated cluster as a peer: pods out of traffic by label and by policy, a Deployment and a StatefulSet undone."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from bot.domain.inventory import Capability
from tests.drivers.contract import Character, Stand, Subject
from tests.drivers.kube import BAD, GOOD, Cluster, Object, named_image, reached, workload


@dataclass
class Emulated:
    """A cluster with one workload."""

    cluster: Cluster
    driver: Any
    way: str
    keys: tuple[str, ...] = ("0xaa",)

    async def stopped(self) -> bool:
        """Ask the cluster for the truth."""
        match self.way:
            case "label":
                endpoints = self.cluster.one("endpointslices", "seq")["endpoints"] or []
                return not any(one["conditions"]["ready"] for one in endpoints)
            case "networkpolicy":
                policies = [one["spec"] for one in self.cluster.of("networkpolicies")]
                return any(set(one["policyTypes"]) == {"Ingress", "Egress"} for one in policies)
        return self.cluster.peak == len(self.cluster.builds()) and set(self.cluster.builds()) == {GOOD}

    async def calls(self) -> int:
        """Count what was not a GET."""
        return len(self.cluster.changes)


def _ingress_only(made: Object) -> None:
    made["spec"]["policyTypes"] = ["Ingress"]


@asynccontextmanager
async def _opened(kind: str, way: str, character: Character) -> AsyncIterator[Subject]:
    half = character is Character.HALF
    cluster = workload(kind, named_image(GOOD), named_image(BAD), replicas=2 if half else 1)
    cluster.lies = character is Character.LYING
    if half:
        cluster.deaf.add(cluster.pods()[0]["metadata"]["name"])
        cluster.webhook = _ingress_only
    options: Object = {"isolate": way} if way else {}
    if way == "label":
        options["label"] = "role=signer"
    async with reached(cluster, "kubernetes", character=character, timeout=1.0, kind=kind, **options) as driver:
        yield Emulated(cluster, driver, way)


def _stand(capability: Capability, kind: str, way: str = "") -> Stand:
    to_build = GOOD if capability is Capability.DEPLOYER else ""
    return Stand(name="kubernetes", capability=capability, open=partial(_opened, kind, way), to_build=to_build)


STANDS = [
    _stand(Capability.ROUTER, "Deployment", "label"),
    _stand(Capability.ROUTER, "StatefulSet", "networkpolicy"),
    _stand(Capability.DEPLOYER, "Deployment"),
    _stand(Capability.DEPLOYER, "StatefulSet"),
]
