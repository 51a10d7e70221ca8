"""The stopsign command: each subcommand is a few lines over the same flows that Slack uses.

Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 refused by policy or authority.
"""

import sys

import typer
from rich.console import Console

from bot.app import ORIGIN
from bot.cli import config as config_commands
from bot.cli import demo, evidence, incident, nodes, people, serve, sidecar, token, work
from bot.cli.shared import FAILED, REFUSED, USAGE
from bot.errors import Halted, Invalid, Misconfigured, Refused, StopsignError
from bot.vault.signer import create_key

app = typer.Typer(
    name="stopsign",
    help="Incident response for operators of AVS nodes and validators.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
app.add_typer(incident.app, name="incident")
app.add_typer(evidence.app, name="evidence")
app.add_typer(token.app, name="token")
app.add_typer(work.app, name="work")
app.add_typer(serve.slack, name="slack")
app.command()(serve.serve)
app.command()(serve.migrate)
app.command()(sidecar.sidecar)
app.command()(demo.demo)
app.add_typer(nodes.app, name="nodes")
app.command()(incident.halt)
app.command()(incident.rearm)
app.command()(people.oncall)
config_commands.mount(app, make_key=lambda home: create_key(home / "evidence" / "checkpoint.pem", ORIGIN))


def main() -> None:
    """Run the command; errors are one line on stderr and an exit code."""
    try:
        app()
    except StopsignError as error:
        code = (
            REFUSED
            if isinstance(error, Refused | Halted)
            else USAGE
            if isinstance(error, Invalid | Misconfigured)
            else FAILED
        )
        Console(stderr=True, highlight=False).print(f"[red]{error.title}:[/red]", str(error), soft_wrap=True)
        sys.exit(code)
