"""`stopsign incident handover|action|done|reopen|close|breakglass` and `stopsign oncall`: people, and the end."""

from datetime import datetime
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from bot.cli.incident import Id, Why, app, decide
from bot.cli.shared import me, opened, out, run, who
from bot.domain.config import Config
from bot.domain.roles import Role
from bot.flows import actions, glass, people, resolve

Words = Annotated[list[str], typer.Argument(metavar="TEXT...")]


@app.command()
def handover(
    incident: Id, person: str, words: Annotated[list[str] | None, typer.Argument(metavar="TEXT...")] = None
) -> None:
    """Give all your roles to somebody, with what they should know."""
    text = " ".join(words or ())
    decide(
        incident,
        lambda a, n: (people.hand_over, people.HandOver(by=me(a), incident=n, person=who(a, person), text=text)),
    )


@app.command()
def action(
    incident: Id,
    words: Words,
    owner: Annotated[str | None, typer.Option(help="Who does it; default: you.")] = None,
    due: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Until when.")] = None,
) -> None:
    """Write down what somebody shall do."""
    text, day = " ".join(words), due.date() if due else None
    decide(
        incident,
        lambda a, n: (
            actions.add,
            actions.AddAction(by=me(a), incident=n, text=text, owner=who(a, owner) if owner else None, due_on=day),
        ),
    )


@app.command()
def done(incident: Id, name: Annotated[str, typer.Argument(metavar="ACTION")], note: str = "") -> None:
    """Say that an action (`act-1`) is done."""
    decide(incident, lambda a, n: (actions.finish, actions.FinishAction(by=me(a), incident=n, action=name, note=note)))


@app.command()
def reopen(incident: Id, words: Words) -> None:
    """Open a resolved or closed incident again: clocks start, people are called."""
    text = " ".join(words)
    decide(incident, lambda a, n: (resolve.reopen, resolve.Reopen(by=me(a), incident=n, reason=text)))


@app.command()
def close(incident: Id, reason: Why = "") -> None:
    """Close a resolved incident, once its postmortem is done."""
    decide(incident, lambda a, n: (resolve.close, resolve.Close(by=me(a), incident=n, reason=reason)))


@app.command()
def breakglass(incident: Id, words: Words) -> None:
    """Go on alone with what you asked for, after a delay, if policy allows it; pages everybody."""
    text = " ".join(words)
    decide(incident, lambda a, n: (glass.break_glass, glass.BreakGlass(by=me(a), incident=n, reason=text)))


def oncall(
    hours: Annotated[int, typer.Option(min=1, max=400, help="So far ahead.")] = 48,
) -> None:
    """Print who is on call now, and who follows."""

    async def act() -> None:
        async with opened() as stopsign:
            out.print(table_of(stopsign.config, stopsign.ledger.clock.now(), hours))

    run(act())


def table_of(config: Config, now: datetime, hours: int) -> Table:
    """Return the line of people from now on, a row for each change of it."""
    table = Table(box=None, pad_edge=False)
    for name in ("FROM", *(role.value.upper() for role in Role)):
        table.add_column(name, overflow="fold")
    for at in config.team.changes(now, hours):
        names = [config.team.assigned(role, at) for role in Role]
        shown = [escape(config.team.people[n].name) if n else "[red]nobody[/]" for n in names]
        table.add_row("now" if at == now else f"{at:%a %d %H:%M} UTC", *shown)
    return table
