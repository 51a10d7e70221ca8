"""`stopsign nodes`: the fleet with its live signing state."""

import asyncio
import json
from typing import Annotated

import typer
from rich.table import Table

from bot.app import App
from bot.cli.shared import opened, out, run
from bot.domain.inventory import Capability, Node
from bot.errors import NodeError, StopsignError
from bot.ports import Deployer, Signer


def nodes(as_json: Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")] = False) -> None:
    """List the fleet: cohort, live signing state, signatures, version."""

    async def act() -> None:
        async with opened() as stopsign:
            fleet = stopsign.config.inventory.nodes.values()
            rows = await asyncio.gather(*(_row(stopsign, node) for node in fleet))
            if as_json:
                out.print_json(json.dumps(rows))
                return
            table = Table("NODE", "AVS", "COHORT", "SIGNING", "COUNT", "VERSION", box=None, pad_edge=False)
            for row in rows:
                colour = {"signing": "green", "frozen": "yellow"}.get(row["signing"], "red")
                table.add_row(
                    row["node"],
                    row["avs"],
                    row["cohort"],
                    f"[{colour}]{row['signing']}[/]",
                    row["counter"],
                    row["version"],
                )
            out.print(table)

    run(act())


async def _row(app: App, node: Node) -> dict[str, str]:
    row = {"node": node.name, "avs": node.avs, "cohort": node.cohort.value, "counter": "-", "version": "-"}
    signer, deployer = (app.fleet.reach(node, c) for c in (Capability.SIGNER, Capability.DEPLOYER))
    row["signing"] = "no signer endpoint"
    if isinstance(signer, Signer):
        try:
            sample = await signer.sample(node.keys)
            states = [reading.signing for reading in sample.keys.values()]
            row["signing"] = "signing" if all(states) and states else "frozen" if not any(states) else "partly"
            row["counter"] = ", ".join("?" if r.counter is None else str(r.counter) for r in sample.keys.values())
        except NodeError as error:
            row["signing"] = f"unknown: {error}"
    if isinstance(deployer, Deployer):
        try:
            row["version"] = (await deployer.release()).version
        except StopsignError:
            row["version"] = "unknown"
    return row
