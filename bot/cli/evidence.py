"""`stopsign evidence …`: list, show, verify, export, access, hold, lift, expire, key, rotate-key."""

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from bot import evidence
from bot.app import App
from bot.cli.incident import Id
from bot.cli.shared import FAILED, get, me, opened, out, run
from bot.domain import journal as j
from bot.domain.journal import Written
from bot.errors import Invalid
from bot.flows import custody
from bot.render.words import author, date_and_time
from bot.vault.archive import verify_pack
from bot.vault.redaction import Redaction
from bot.vault.report import Report
from bot.web.shape import number_of

app = typer.Typer(help="Evidence: list, read, verify, export, hold, expire; the log's key.", no_args_is_help=True)
Why = Annotated[str, typer.Option(help="Why, for the chain of custody.", prompt="Why (it goes on record)")]
AsJson = Annotated[bool, typer.Option("--json")]
_FIELDS = ("item", "what", "node", "size", "sha256", "source", "collector", "tool", "collected_at")
_ACCESS = (
    j.EvidenceRead,
    j.EvidenceExported,
    j.EvidenceSealed,
    j.EvidenceExpired,
    j.HoldPlaced,
    j.HoldLifted,
)


async def _journal(stopsign: App, incident: str) -> tuple[Written, ...]:
    number = (await get(stopsign, number_of(incident))).number
    return await stopsign.ledger.read(lambda rows: rows.entries(number))


@app.command(name="list")
def list_(incident: Id, as_json: AsJson = False) -> None:
    """List an incident's items with their custody, what they show, and what could not be had."""

    async def act() -> None:
        async with opened() as stopsign:
            entries = [w.entry for w in await _journal(stopsign, incident)]
        items = [e for e in entries if isinstance(e, j.EvidenceKept)]
        gone = {e.item for e in entries if isinstance(e, j.EvidenceExpired)}
        if as_json:
            rows = [{f: getattr(e, f) for f in _FIELDS} | {"expired": e.item in gone} for e in items]
            out.print_json(json.dumps(rows, default=str))
            return
        for found in entries:
            if isinstance(found, j.EvidenceFound):
                out.print(f"[red]⚠ {escape(found.text)}[/] [dim]{', '.join(found.items)}[/]")
        table = Table("ITEM", "WHAT", "NODE", "BYTES", "COLLECTED", "SHA-256", box=None, pad_edge=False)
        table.columns[3].justify = "right"
        for e in items:
            size = "[dim]expired[/]" if e.item in gone else f"{e.size:,}"
            at = f"{e.collected_at:%m-%d %H:%M:%S}"
            table.add_row(e.item, escape(e.what), escape(e.node or "-"), size, at, e.sha256[:12])
        out.print(table)
        for lost in entries:
            if isinstance(lost, j.EvidenceMissing):
                out.print(f"[yellow]✗ {escape(lost.what)} of {escape(lost.node or '-')}: {escape(lost.reason)}[/]")

    run(act())


@app.command()
def show(
    incident: Id,
    item: Annotated[str, typer.Argument(help="Its id, ev-7-3.")],
    reason: Why,
    to: Annotated[Path | None, typer.Option("--out", help="A new file for the content; none: stdout.")] = None,
) -> None:
    """Read one item: its custody to the terminal, its content to stdout or a file. The reading goes on record."""

    async def act() -> None:
        async with opened() as stopsign:
            if to is not None and to.exists():
                raise Invalid(f"{to} exists already: name a new file.", where="out")
            number = number_of(incident)
            found = await evidence.read(stopsign, number, item, by=me(stopsign), reason=reason)
            for field in _FIELDS:
                sys.stderr.write(f"{field:>14}  {getattr(found, field)}\n")
            with evidence.content_of(stopsign, found) as content:
                if to is None:
                    shutil.copyfileobj(content, sys.stdout.buffer)
                    return
                with to.open("xb") as file:
                    shutil.copyfileobj(content, file)
            out.print(f"Wrote {found.size:,} bytes to {to}.")

    run(act())


@app.command()
def access(incident: Id, as_json: AsJson = False) -> None:
    """List who read, exported, held or let go of an incident's evidence, when and why."""

    async def act() -> None:
        async with opened() as stopsign:
            found = [w for w in await _journal(stopsign, incident) if isinstance(w.entry, _ACCESS)]
            config = stopsign.config
        if as_json:
            rows = [{"at": w.at, "by": str(w.by), "kind": type(w.entry).__name__, "leaf": w.leaf} for w in found]
            out.print_json(json.dumps(rows, default=str))
            return
        table = Table("UTC", "WHO", "WHAT", "WHY", box=None, pad_edge=False)
        for w in found:
            e = w.entry
            about = f" {e.item}" if isinstance(e, j.EvidenceRead | j.EvidenceExpired) else ""
            why = getattr(e, "reason", "") or getattr(e, "manifest", "")
            table.add_row(
                date_and_time(w.at), escape(author(w.by, config)), _plainly(e) + about, escape(why), end_section=False
            )
        out.print(table if found else f"Nobody has read or exported the evidence of {incident}.")

    run(act())


def _plainly(entry: j.Entry) -> str:
    return {
        "EvidenceRead": "read",
        "EvidenceExported": "exported",
        "EvidenceSealed": "sealed, manifest",
        "EvidenceExpired": "let expire",
        "HoldPlaced": "placed a hold",
        "HoldLifted": "lifted the hold",
    }[type(entry).__name__]


@app.command()
def verify(
    pack: Annotated[Path | None, typer.Argument(help="An exported pack, folder or archive; none: the vault.")] = None,
    vkey: Annotated[str | None, typer.Option(help="The public key, got from elsewhere than the pack.")] = None,
    roots: Annotated[
        Path | None, typer.Option(help="PEM file with the roots of timestamp authorities that you trust.")
    ] = None,
    most: Annotated[int, typer.Option(help="GB that an archive may unpack to.")] = 100,
    as_json: AsJson = False,
) -> None:
    """Find any altered, missing, reordered or added item; exit 1 when there is one."""

    async def live() -> Report:
        async with opened() as stopsign:
            return await evidence.verify(stopsign)

    if pack is None:
        report = run(live())
    else:
        trusted = roots.read_bytes() if roots is not None else None
        with _progress() as progress:
            report = verify_pack(pack, most=most * 10**9, vkey=vkey, roots=trusted, progress=progress)
    if as_json:
        problems = [{"where": p.where, "what": p.what, "means": p.means} for p in report.problems]
        told = {"ok": report.ok, "subject": report.subject, "problems": problems, "notes": report.notes}
        out.print_json(json.dumps({**told, "records": report.records, "items": report.items}))
    else:
        for line in report.lines():
            out.print(line, markup=False, soft_wrap=True, style="green" if report.ok else "red")
    if not report.ok:
        raise typer.Exit(FAILED)


@app.command()
def export(
    incident: Id,
    to: Annotated[Path, typer.Option("--out", help="A new folder, or a file ending in .tar.zst or .zip.")],
    reason: Why,
    redact: Annotated[
        list[str] | None, typer.Option(help="Hide a field: `by`, `body.note`, `EvidenceKept.source`. Repeat it.")
    ] = None,
    withhold: Annotated[
        list[str] | None, typer.Option(help="Leave the content of an item, or of a kind of items, out. Repeat it.")
    ] = None,
) -> None:
    """Write an incident's evidence as a pack that a stranger can verify with openssl, sha256sum and bagit."""
    rules = Redaction.parse(redact or ())

    async def act() -> None:
        async with opened() as stopsign:
            with out.status("Writing the pack: records, items, manifest, seal …"):
                done = await evidence.export(
                    stopsign,
                    number_of(incident),
                    to,
                    by=me(stopsign),
                    reason=reason,
                    redaction=rules,
                    withhold=tuple(withhold or ()),
                )
            if rules.rules:
                out.print("[yellow]Names may stand in other fields and in items: read it before you hand it out.[/]")
            out.print(
                f"Wrote {done.records} records and {done.items} items to {to}; its VERIFY.md says how to check them.\n"
                f"Give this key to whoever verifies, by another way than the pack:\n{stopsign.keys.key.encode()}",
                soft_wrap=True,
            )

    run(act())


@app.command()
def hold(incident: Id, reason: Why) -> None:
    """Place a legal hold: nothing of the incident's evidence expires."""

    async def act() -> None:
        async with opened() as stopsign:
            command = custody.Hold(by=me(stopsign), incident=number_of(incident), reason=reason)
            done = await stopsign.ledger.decide(custody.hold, command)
            await evidence.hold_contents(stopsign, done.number, on=True)
            out.print(f"The evidence of {done.id} is under legal hold.")

    run(act())


@app.command()
def lift(incident: Id, reason: Why) -> None:
    """Lift a legal hold."""

    async def act() -> None:
        async with opened() as stopsign:
            number = number_of(incident)
            try:
                await stopsign.ledger.decide(
                    custody.lift, custody.Lift(by=me(stopsign), incident=number, reason=reason)
                )
            finally:  # also when an earlier try was cut off after the record
                if not (await get(stopsign, number)).hold:
                    await evidence.hold_contents(stopsign, number, on=False)
            out.print(f"The legal hold on inc-{number} is lifted.")

    run(act())


@app.command()
def expire(
    reason: Annotated[str, typer.Option(help="Why, for the chain of custody.")] = "",
    really: Annotated[
        bool, typer.Option("--really", help="Remove the contents; otherwise they are only listed.")
    ] = False,
) -> None:
    """List contents whose time is over; with --really remove them. Their hashes and records stay for ever."""

    async def act() -> None:
        async with opened() as stopsign:
            found = await evidence.old(stopsign)
            rule = evidence.removable(stopsign.config.policy.evidence.retention)
            if not found:
                out.print(f"Nothing is {rule}.")
                return
            table = Table("INCIDENT", "ITEM", "WHAT", "BYTES", "KEPT", box=None, pad_edge=False)
            for one in found:
                table.add_row(
                    f"inc-{one.incident}", one.item, escape(one.what), f"{one.size:,}", f"{one.since:%Y-%m-%d}"
                )
            out.print(table)
            if not really:
                out.print(f"These are {rule}. Nothing was removed: add --really.")
                return
            gone = await evidence.expire(stopsign, found, by=me(stopsign), reason=reason)
            await stopsign.sequence()
            out.print(f"{len(found)} items have expired, {gone} contents were removed.")

    run(act())


@app.command()
def key() -> None:
    """Print the public key of the evidence log: hand it to others before there is a dispute."""

    async def act() -> None:
        async with opened() as stopsign:
            out.print(stopsign.keys.key.encode(), soft_wrap=True)

    run(act())


@app.command(name="rotate-key")
def rotate_key(reason: Why) -> None:
    """Give the log a new key. The next checkpoint is signed with both; the old private key is then gone."""

    async def act() -> None:
        async with opened() as stopsign:
            new = await evidence.rotate(stopsign, by=me(stopsign), reason=reason)
            out.print(
                f"The log is signed with a new key from now on. Hand it to those who had the old one:\n{new}",
                soft_wrap=True,
            )

    run(act())


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None] | None]:
    """Yield what moves a bar of bytes, on a terminal; nothing elsewhere."""
    if not out.is_terminal:
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=out, transient=True) as bar:
        task = bar.add_task("checking", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total or None)
