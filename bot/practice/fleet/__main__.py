"""Run the practice fleet until Ctrl-C, or print the inventory that describes it."""

import argparse
import asyncio
import dataclasses
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from bot.practice.fleet.inventory import inventory_yaml, write_escrow
from bot.practice.fleet.running import running_fleet
from bot.practice.fleet.spec import FleetSpec, default_fleet, load


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line and do what it says; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bot.practice.fleet", description=__doc__)
    parser.add_argument(
        "--base-port", type=int, default=9100, help="the nodes listen on the ports after it (default 9100)"
    )
    parser.add_argument("--control-port", type=int, default=9099, help="port of the control API (default 9099)")
    parser.add_argument("--fleet", type=Path, help="JSON file of the fleet (default: sixteen nodes of two AVSs)")
    parser.add_argument("--duty-period", type=float, help="seconds between two duties of a key (default 1)")
    parser.add_argument("--folder", type=Path, help="where the nodes keep their logs (default: a temporary folder)")
    parser.add_argument("--inventory", action="store_true", help="print inventory.yaml for the fleet, and end")
    parser.add_argument("--escrow", type=Path, help="with --inventory: write keystores there, and name them in it")
    chosen = parser.parse_args(arguments)
    spec = load(chosen.fleet) if chosen.fleet else default_fleet()
    if chosen.duty_period:
        spec = dataclasses.replace(spec, duty_period_seconds=chosen.duty_period)
    if chosen.inventory:
        if chosen.escrow:
            write_escrow(spec, chosen.escrow)
        sys.stdout.write(inventory_yaml(spec, base_port=chosen.base_port, escrow=chosen.escrow))
        return 0
    asyncio.run(_serve(spec, chosen))
    return 0


async def _serve(spec: FleetSpec, chosen: argparse.Namespace) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with running_fleet(
        spec, base_port=chosen.base_port, control_port=chosen.control_port, folder=chosen.folder
    ) as fleet:
        for name, node in fleet.nodes.items():
            sys.stdout.write(f"{name:10} {fleet.url(name)}  {node.spec.api:10} {node.character}\n")
        sys.stdout.write(f"control    {fleet.control_url}\n")
        sys.stdout.flush()
        await stop.wait()


if __name__ == "__main__":
    sys.exit(main())
