"""`stopsign token …`: API tokens of people."""

import secrets
import time
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.table import Table

from bot.app import App
from bot.cli.shared import me, opened, out, run, who
from bot.domain.authority import Power, hashed
from bot.errors import Refused
from bot.store.tokens import TokenTable

app = typer.Typer(help="Tokens for the API and the console.", no_args_is_help=True)


@app.command()
def issue(person: str, days: Annotated[int, typer.Option(min=1, max=365, help="Days until it expires.")] = 30) -> None:
    """Make a token for a person and print it once."""

    async def act() -> None:
        async with opened() as stopsign:
            _may_for(stopsign, who(stopsign, person))
            token = f"stopsign_{secrets.token_urlsafe(32)}"
            name = who(stopsign, person)
            await TokenTable(stopsign.database).issue(hashed(token), name, now=time.time(), lives=days * 86400.0)
            out.print(token, markup=False, soft_wrap=True)
            out.print(f"[dim]For {name}, {days} days. It is not shown again.[/]")
            out.print(f"Log in with it at {stopsign.settings.address}/login", markup=False, soft_wrap=True)

    run(act())


@app.command()
def revoke(person: str) -> None:
    """Revoke all tokens of a person."""

    async def act() -> None:
        async with opened() as stopsign:
            _may_for(stopsign, who(stopsign, person))
            count = await TokenTable(stopsign.database).revoke(who(stopsign, person), now=time.time())
            out.print(f"Revoked {count}.")

    run(act())


@app.command(name="list")
def list_() -> None:
    """List tokens."""

    async def act() -> None:
        async with opened() as stopsign:
            table = Table("PERSON", "EXPIRES", "STATE", box=None)
            for issued in await TokenTable(stopsign.database).listed():
                expires = datetime.fromtimestamp(issued.expires_at, UTC)
                state = "revoked" if issued.revoked else "expired" if expires < datetime.now(UTC) else "valid"
                table.add_row(issued.person, f"{expires:%Y-%m-%d}", state)
            out.print(table)

    run(act())


def _may_for(stopsign: App, person: str) -> None:
    """Raise Refused unless the caller acts for themselves or may start automation again."""
    by = me(stopsign).person
    if by != person and not stopsign.config.team.may(by, Power.REARM):
        raise Refused("Tokens of other people take the power 'rearm'.")
