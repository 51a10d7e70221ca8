"""An emulated cluster with an aborted Argo Rollout as a peer: its good pods run, its template is still the bad one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from bot.domain.inventory import Capability
from tests.drivers.contract import Character, Stand, Subject
from tests.drivers.kube import BAD, GOOD, Cluster, aborted_rollout, named_image, reached, template_of


@dataclass
class Emulated:
    """A cluster with one Rollout."""

    cluster: Cluster
    driver: Any
    keys: tuple[str, ...] = ("0xaa",)

    async def stopped(self) -> bool:
        """Ask the cluster for the truth: the template, and what runs."""
        template = self.cluster.one("rollouts", "seq-01")["spec"]["template"]
        running = [pod["spec"]["containers"][0]["image"] for pod in self.cluster.pods()]
        return bool(template["spec"]["containers"][0]["image"] == named_image(GOOD)) and running == [named_image(GOOD)]

    async def calls(self) -> int:
        """Count what was not a GET."""
        return len(self.cluster.changes)


@asynccontextmanager
async def _opened(character: Character) -> AsyncIterator[Subject]:
    cluster = aborted_rollout()
    cluster.lies = character is Character.LYING
    if character is Character.HALF:
        cluster.edit("rollouts", "seq-01", {"status": {"abort": None}})
        cluster.edit("rollouts", "seq-01", {"spec": {"template": template_of(named_image(BAD))}})
        cluster.settle()
        cluster.deaf |= {pod["metadata"]["name"] for pod in cluster.pods()}
        cluster.edit("rollouts", "seq-01", {"status": {"abort": True}})
        cluster.settle()
    async with reached(cluster, "argo_rollouts", character=character, timeout=1.0) as driver:
        yield Emulated(cluster, driver)


STANDS = [Stand(name="argo_rollouts", capability=Capability.DEPLOYER, open=_opened, to_build=GOOD)]
