"""Run a practice fleet for the length of a block, or until a signal."""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from bot.practice.fleet.control import control_app
from bot.practice.fleet.fleet import Fleet
from bot.practice.fleet.port import Port
from bot.practice.fleet.spec import FleetSpec


class RunningFleet(Fleet):
    """A fleet with a control port."""

    def __init__(self, spec: FleetSpec, *, folder: Path, base_port: int, control_url: str) -> None:
        super().__init__(spec, folder=folder, base_port=base_port)
        self.control_url = control_url


@contextlib.asynccontextmanager
async def running_fleet(
    spec: FleetSpec, *, base_port: int = 0, control_port: int = 0, folder: Path | None = None
) -> AsyncIterator[RunningFleet]:
    """Run a fleet and its control port on loopback for the length of a block; 0 means free ports.

    Without `folder`, the nodes' logs go to a temporary folder that ends with the block.
    """
    with contextlib.ExitStack() as stack:
        place = folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="practice-fleet-")))
        control = Port(control_port)
        fleet = RunningFleet(spec, folder=place, base_port=base_port, control_url=control.url)
        await asyncio.gather(fleet.start(), control.open(control_app(fleet)))
        beat = asyncio.create_task(fleet.beat())
        try:
            yield fleet
        finally:
            beat.cancel()
            await asyncio.gather(beat, return_exceptions=True)
            await asyncio.gather(fleet.stop(), control.close(release=True))
