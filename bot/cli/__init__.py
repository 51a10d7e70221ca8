"""The stopsign command: each subcommand is a few lines over the same flows that Slack uses.

Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 refused by policy or authority.
"""

import importlib
import sys
from collections.abc import Mapping
from typing import Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from bot.errors import Halted, Invalid, Misconfigured, Refused, StopsignError

FAILED, USAGE, REFUSED = 1, 2, 3
COMMANDS: Mapping[str, str] = {
    "demo": "demo:demo",
    "init": "config:app",
    "doctor": "config:app",
    "rules": "config:app",
    "serve": "serve:serve",
    "migrate": "serve:migrate",
    "incident": "people:app",
    "halt": "incident:halt",
    "rearm": "incident:rearm",
    "oncall": "people:oncall",
    "nodes": "nodes:app",
    "sidecar": "sidecar:sidecar",
    "evidence": "evidence:app",
    "slack": "serve:slack",
    "token": "token:app",
    "work": "work:app",
}
"""Each subcommand's module and what is in it: at 3 a.m. nobody waits for the import of what was not asked for."""


class _Lazy(TyperGroup):
    """Imports a subcommand when it is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return one subcommand, or None."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].partition(":")
        found = getattr(importlib.import_module(f"bot.cli.{module}"), attribute)
        if not isinstance(found, typer.Typer):
            single = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
            single.command(name=cmd_name)(found)
            return typer.main.get_command(single)
        group = typer.main.get_group(found)
        command = group.commands.get(cmd_name, group) if module == "config" else group
        command.name = cmd_name
        return command


app = typer.Typer(
    name="stopsign",
    cls=_Lazy,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)


@app.callback()
def stopsign() -> None:
    """Incident response for operators of AVS nodes and validators."""


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
