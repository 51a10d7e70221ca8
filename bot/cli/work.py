"""`stopsign work …`: what the bot has to do, and what it gave up on."""

from datetime import UTC, datetime

import typer
from rich.table import Table
from sqlalchemy import Connection, select, update

from bot.cli.shared import me, opened, out, print_behind, run
from bot.domain.authority import Power
from bot.errors import Refused
from bot.store.transaction import WORK

app = typer.Typer(help="The work table: list it, retry what died.", no_args_is_help=True)


@app.command(name="list")
def list_() -> None:
    """List unfinished and dead work, the most urgent first."""

    async def act() -> None:
        async with opened() as stopsign:

            def rows(connection: Connection) -> list[tuple[str, ...]]:
                query = select(WORK).where(WORK.c.state != "done").order_by(WORK.c.state, WORK.c.due_at).limit(200)
                return [
                    (
                        str(r.id),
                        r.kind,
                        r.state,
                        f"{datetime.fromtimestamp(r.due_at, UTC):%m-%d %H:%M:%S}",
                        str(r.attempts),
                        r.outcome or "",
                    )
                    for r in connection.execute(query)
                ]

            table = Table("ID", "KIND", "STATE", "DUE (UTC)", "TRIES", "LAST ERROR", box=None)
            for row in await stopsign.database.reading(rows):
                table.add_row(*row, style="red" if row[2] == "dead" else None)
            out.print(table)
            await print_behind(stopsign)

    run(act())


@app.command()
def retry(work: int) -> None:
    """Let dead work live again, due now."""

    async def act() -> None:
        async with opened() as stopsign:
            if not stopsign.config.team.may(me(stopsign).person, Power.RESPOND):
                raise Refused("Retrying work takes the power 'respond'.")
            again = update(WORK).where(WORK.c.id == work, WORK.c.state == "dead")
            now = datetime.now(UTC).timestamp()
            values = {"state": "ready", "attempts": 0, "due_at": now, "since": now, "lease_until": None}
            count = await stopsign.database.writer.do(
                lambda connection: connection.execute(again.values(values)).rowcount
            )
            out.print("It is due now." if count else "There is no dead work with that number.")

    run(act())
