"""`stopsign nodes`: the fleet with its live state; what one node's endpoints prove; which drivers there are."""

import asyncio
import json
from collections.abc import Awaitable, Iterator
from typing import Annotated

import typer
from rich.console import Console, Group
from rich.markup import escape
from rich.padding import Padding
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from bot.app import App
from bot.cli.shared import FAILED, opened, out, run
from bot.domain.inventory import Capability, Node
from bot.domain.target import Sample
from bot.errors import NotFound, StopsignError
from bot.nodes.catalog import broken, drivers
from bot.nodes.introduction import some
from bot.nodes.probe import Found, all_of, longest
from bot.ports import Deployer, Router, Signer
from bot.render.drivers import drivers_page, verbs

err = Console(stderr=True, highlight=False)
app = typer.Typer(help="The fleet, live: who signs, what runs, what each endpoint proves.", add_completion=False)
COLOURS = {"signing": "green", "stopped": "yellow", "partly": "red"}
MARKS = {True: ("✓", "green"), False: ("✗", "red"), None: ("–", "dim")}
Json = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


@app.callback(invoke_without_command=True)
def nodes(context: typer.Context, as_json: Json = False) -> None:
    """List the fleet: cohort, live signing state, signatures, version."""
    if context.invoked_subcommand is None:
        run(_list(as_json))


async def _list(as_json: bool) -> None:
    async with opened() as stopsign:
        fleet = list(stopsign.config.inventory.nodes.values())
        with Progress(
            SpinnerColumn(), TextColumn("{task.description}"), console=out, transient=True, disable=not out.is_terminal
        ) as progress:
            bar = progress.add_task(f"asking {len(fleet)} nodes", total=len(fleet))

            async def one(node: Node) -> dict[str, str]:
                row = await _row(stopsign, node)
                progress.advance(bar)
                return row

            rows = await asyncio.gather(*(one(node) for node in fleet))
        if as_json:
            out.print_json(json.dumps(rows))
            return
        out.print(_fleet(rows))
        for row in rows:
            if row["why"]:
                out.print(f"  [dim]{row['node']}:[/] {escape(row['why'])}", soft_wrap=True)


def _fleet(rows: list[dict[str, str]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for title in ("NODE", "AVS", "COHORT", "SIGNING", "SIGNED", "TRAFFIC", "VERSION"):
        table.add_column(title, justify="right" if title == "SIGNED" else "left", overflow="fold")
    for row in rows:
        state = Text(row["signing"], COLOURS.get(row["signing"], "bold red"))
        traffic = Text(row["traffic"], "yellow" if row["traffic"] == "isolated" else "")
        table.add_row(row["node"], row["avs"], row["cohort"], state, row["counter"], traffic, row["version"])
    return table


async def _row(stopsign: App, node: Node) -> dict[str, str]:
    row = {"node": node.name, "avs": node.avs, "cohort": node.cohort.value, "signing": "unknown", "counter": "-"}
    row |= {"traffic": "-", "version": "-", "build": "-", "why": ""}
    await asyncio.gather(*(_fill(stopsign, node, capability, row) for capability in node.reach))
    if Capability.SIGNER not in node.reach:
        row["why"] = "no signer endpoint in the inventory: it cannot be frozen"
    return row


async def _fill(stopsign: App, node: Node, capability: Capability, row: dict[str, str]) -> None:
    """Fill in what one capability of a node shows."""
    try:
        match capability, stopsign.fleet.reach(node, capability):
            case Capability.SIGNER, Signer() as signer:
                sample = await signer.sample(node.keys)
                row["signing"], row["counter"] = signing(sample, node), _counted(sample, node)
                row["why"] = row["why"] or _unsure(sample, node)
            case Capability.ROUTER, Router() as router:
                row["traffic"] = "isolated" if await router.isolated() else "serving"
            case Capability.DEPLOYER, Deployer() as deployer:
                release = await deployer.release()
                row["version"], row["build"] = release.version or "?", release.build_hash
    except (StopsignError, ValueError) as error:  # a driver refuses keys that are none with a ValueError
        field = {Capability.ROUTER: "traffic", Capability.DEPLOYER: "version"}.get(capability, "signing")
        row[field] = "unknown"
        row["why"] = f"{row['why']}; {capability}: {error}" if row["why"] else str(error)


def signing(sample: Sample, node: Node) -> str:
    """Return one word for a node's keys; of a key that is not in the sample nothing is known."""
    if not node.keys or any(key not in sample.keys for key in node.keys):
        return "unknown"
    states = {sample.keys[key].signing for key in node.keys}
    return "partly" if len(states) > 1 else "signing" if states.pop() else "stopped"


def _unsure(sample: Sample, node: Node) -> str:
    """Return why a node's state, or its count, is not known; nothing when both are."""
    if not node.keys:
        return "the inventory names no key of it"
    if missing := [key for key in node.keys if key not in sample.keys]:
        return f"it does not hold {some(missing, node.keys)}"
    if uncounted := [key for key in node.keys if sample.keys[key].counter is None]:
        return f"nothing counts the signatures of {some(uncounted, node.keys)}: a freeze could never be proven"
    return ""


def _counted(sample: Sample, node: Node) -> str:
    counts = [reading.counter if (reading := sample.keys.get(key)) else None for key in node.keys]
    return "?" if None in counts else f"{sum(count or 0 for count in counts):,}"


@app.command()
def probe(
    name: Annotated[str, typer.Argument(help="The node, as the inventory calls it.")],
    wait: Annotated[bool, typer.Option(help="Sample the signer twice, over a due duty.")] = True,
    as_json: Json = False,
) -> None:
    """Ask every endpoint of a node, show exactly which calls were made, and what they prove. Changes nothing."""

    async def act() -> bool:
        async with opened() as stopsign:
            node = stopsign.config.inventory.nodes.get(name)
            if node is None:
                raise NotFound(f"There is no node {name} in inventory.yaml: `stopsign nodes` lists them.")
            avs = stopsign.config.inventory.avs[node.avs]
            fleet = stopsign.config.inventory.nodes.values()
            others = [key for other in fleet if other is not node for key in other.keys]
            seconds = longest(avs) if wait and Capability.SIGNER in node.reach else 0.0
            if seconds and not as_json:
                out.print(
                    f"This takes about {seconds:.0f} s: the signer is read twice, over a duty of {node.avs}. "
                    "--no-wait reads it once, and proves less."
                )
            ask = all_of(stopsign.fleet.drive, node, avs, clock=stopsign.ledger.clock, wait=wait, others=others)
            found = await _counting_down(f"asking {name}", ask, seconds)
            if as_json:
                out.print_json(json.dumps([_as_json(one) for one in found]))
            else:
                out.print(Group(*_shown(found)))
            return bool(found) and all(one.well is not False for one in found)

    if not run(act()):
        raise typer.Exit(FAILED)


async def _counting_down(what: str, ask: Awaitable[list[Found]], seconds: float) -> list[Found]:
    """Await `ask`, and show on a terminal how far the wait has come."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    task = asyncio.ensure_future(ask)
    with Progress(*columns, console=out, transient=True, disable=not out.is_terminal) as progress:
        bar = progress.add_task(what, total=seconds or None)
        while not task.done():
            await asyncio.wait({task}, timeout=0.25)
            progress.advance(bar, 0.25)
    return task.result()


def _shown(found: list[Found]) -> Iterator[Text | Padding | Table]:
    if not found:
        yield Text("The inventory names no endpoint for this node: nothing can be asked of it.", "red")
    for one in found:
        mark, colour = MARKS[one.well]
        yield Text.assemble((f"{mark} ", colour), (str(one.capability), "bold"), f"  {one.endpoint.driver}")
        yield from (Padding(Text(said), (0, 0, 0, 2)) for said in one.says)
        calls = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
        calls.add_column(overflow="fold", style="dim")
        calls.add_column(overflow="fold", style="dim")
        calls.add_column(justify="right", style="dim", no_wrap=True)
        for exchange in one.exchanges:
            calls.add_row(exchange.asked, exchange.came, f"{exchange.took * 1000:.0f} ms")
        yield Padding(calls, (0, 0, 1, 2))


def _as_json(one: Found) -> dict[str, object]:
    return {
        "capability": one.capability,
        "driver": one.endpoint.driver,
        "url": one.endpoint.url,
        "well": one.well,
        "says": one.says,
        "calls": [{"asked": e.asked, "came": e.came, "ms": round(e.took * 1000)} for e in one.exchanges],
    }


@app.command(name="drivers")
def list_drivers(
    markdown: Annotated[bool, typer.Option("--markdown", help="Print docs/drivers.md.")] = False,
) -> None:
    """List the drivers: what they do, against which program they were proven, how far they go back."""
    known = drivers()
    for problem in broken():
        err.print(problem, markup=False, soft_wrap=True)
    if markdown:
        out.print(drivers_page(known), markup=False, soft_wrap=True, end="")
        return
    table = Table("DRIVER", "DOES", "TIER", "TESTED WITH", box=None, pad_edge=False)
    for name, traits in known.items():
        table.add_row(
            name, verbs(traits), Text(traits.tier, "green" if traits.tier == "real" else "yellow"), traits.tested
        )
    out.print(table)
