"""The commands about configuration: `stopsign init`, `doctor` and `rules`. `bot/cli` mounts them."""

import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, NoReturn

import typer
import yaml
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bot import settings as environment
from bot.config import load, starter
from bot.config.review import Check, State
from bot.config.rules import prometheus_rules
from bot.errors import Misconfigured, StopsignError
from bot.settings import Settings
from bot.vault.signer import ORIGIN, create_key

DONE, FAILED, USAGE = 0, 1, 2

_SIGNS = {State.OK: "[green]ok[/]", State.WARN: "[yellow]warn[/]", State.FAIL: "[bold red]fail[/]"}

Home = Annotated[Path | None, typer.Option("--home", help="The operator's folder. Default: STOPSIGN_HOME.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]


def mount(app: typer.Typer, *, make_key: Callable[[Path], object] | None = None) -> None:
    """Add the commands to `app`; `make_key` is what `init` calls with the new folder to make its checkpoint key."""

    @app.command()
    def init(
        directory: Annotated[Path, typer.Argument(help="The folder to write into; it is made if needed.")],
        as_json: AsJson = False,
    ) -> None:
        """Write commented inventory.yaml, team.yaml and policy.yaml, and the folders beside them."""
        try:
            made = starter.write(directory, make_key=make_key)
        except StopsignError as error:
            _stop(error)
        if as_json:
            _print_json({"made": [str(path) for path in made]})
            return
        console = Console()
        for path in made:
            console.print("[green]made[/]", Text(str(path)), soft_wrap=True)
        console.print(Text(f"Edit them, set STOPSIGN_HOME={directory}, then run: stopsign doctor"), soft_wrap=True)

    @app.command()
    def doctor(home: Home = None, as_json: AsJson = False) -> None:
        """Check settings, files, people, keys, nodes and services, and say what to do about each failure."""
        try:
            settings = environment.load(os.environ)
        except Misconfigured as error:
            _stop(error)
        from bot.doctor import checks  # it looks at Slack and at every driver, and takes as long to import

        found = list(checks(settings, home or settings.home))
        if as_json:
            _print_json([asdict(check) for check in found])
        else:
            _print_checks(found)
        raise typer.Exit(FAILED if any(check.state is State.FAIL for check in found) else DONE)

    @app.command()
    def rules(
        home: Home = None,
        runbook_url: Annotated[
            str | None, typer.Option("--runbook-url", help="Where people read the runbooks. Default: the public URL's.")
        ] = None,
        out: Annotated[Path | None, typer.Option("--out", help="The file to write. Default: standard output.")] = None,
        as_json: AsJson = False,
    ) -> None:
        """Write the Prometheus rule file from the runbooks."""
        try:
            settings = environment.load(os.environ)
            config = load(home or settings.home)
            text = prometheus_rules(config.runbooks, runbook_url=runbook_url or _default_url(settings))
            _write(json.dumps(yaml.safe_load(text), indent=2) + "\n" if as_json else text, out)
        except StopsignError as error:
            _stop(error)


def _default_url(settings: Settings) -> str:
    return f"{settings.public_url.rstrip('/')}/runbooks" if settings.public_url else "runbooks"


def _write(text: str, out: Path | None) -> None:
    if out is None:
        sys.stdout.write(text)
        return
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Misconfigured([f"{out}: cannot be written ({error.strerror}): choose another --out"]) from None


def _print_json(value: object) -> None:
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def _print_checks(found: Sequence[Check]) -> None:
    table = Table(show_header=True, header_style="bold", box=None, pad_edge=False)
    for title in ("", "what", "found", "to do"):
        table.add_column(title, overflow="fold")
    for check in found:
        table.add_row(_SIGNS[check.state], *map(Text, (check.name, check.what, check.todo)))
    console = Console()
    console.print(table)
    console.print(_summary(found), highlight=False)


def _summary(found: Iterable[Check]) -> str:
    counts = dict.fromkeys(State, 0)
    for check in found:
        counts[check.state] += 1
    return ", ".join(f"{count} {state}" for state, count in counts.items())


def _stop(error: StopsignError) -> NoReturn:
    """Write the error to stderr, a line for each problem, and leave with the exit code for configuration."""
    sys.stderr.write("".join(f"stopsign: {line}\n" for line in str(error).splitlines()))
    raise typer.Exit(USAGE)


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
mount(app, make_key=lambda home: create_key(home / "evidence" / "checkpoint.pem", ORIGIN))
