"""`stopsign evidence …`: list, verify, export."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from bot import evidence
from bot.cli.shared import FAILED, get, me, opened, out, run
from bot.domain.journal import EvidenceKept
from bot.vault.report import Report
from bot.vault.verify import verify_folder
from bot.web.shape import number_of

app = typer.Typer(help="Evidence: list, verify, export.", no_args_is_help=True)


@app.command(name="list")
def list_(incident: str, as_json: Annotated[bool, typer.Option("--json")] = False) -> None:
    """List an incident's items with their custody."""

    async def act() -> None:
        async with opened() as stopsign:
            number = (await get(stopsign, number_of(incident))).number
            entries = await stopsign.ledger.read(lambda rows: rows.entries(number))
            items = [w.entry for w in entries if isinstance(w.entry, EvidenceKept)]
            if as_json:
                fields = ("item", "what", "node", "size", "sha256", "source", "collector", "tool", "collected_at")
                out.print_json(json.dumps([{f: getattr(e, f) for f in fields} for e in items], default=str))
                return
            table = Table("ITEM", "WHAT", "NODE", "BYTES", "COLLECTED", "SHA-256", box=None)
            for e in items:
                table.add_row(e.item, e.what, e.node or "-", f"{e.size:,}", f"{e.collected_at:%H:%M:%S}", e.sha256[:12])
            out.print(table)

    run(act())


@app.command()
def verify(
    folder: Annotated[Path | None, typer.Argument(help="An exported folder; none: the live vault.")] = None,
    vkey: Annotated[str | None, typer.Option(help="The public key, got from elsewhere than the folder.")] = None,
) -> None:
    """Find any altered, missing, reordered or added item; exit 1 when there is one."""

    async def live() -> Report:
        async with opened() as stopsign:
            return await evidence.verify(stopsign)

    report = verify_folder(folder, vkey=vkey) if folder is not None else run(live())
    for line in report.lines():
        out.print(line, markup=False, soft_wrap=True, style="green" if report.ok else "red")
    if not report.ok:
        raise typer.Exit(FAILED)


@app.command()
def export(
    incident: str,
    folder: Annotated[Path, typer.Option("--out", help="A new folder to write into.")],
    reason: Annotated[str, typer.Option(help="Why, for the chain of custody.")] = "",
) -> None:
    """Write an incident's evidence as a folder that a stranger can verify."""

    async def act() -> None:
        async with opened() as stopsign:
            done = await evidence.export(stopsign, number_of(incident), folder, by=me(stopsign), reason=reason)
            out.print(f"Wrote {done.records} records and {done.items} items to {folder}; read VERIFY.md there.")

    run(act())
