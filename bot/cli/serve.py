"""`stopsign serve`, `stopsign migrate`, `stopsign slack …`: running the bot for real."""

import asyncio
import logging
import socket
import sys
from typing import Annotated

import typer
import uvicorn

from bot.app import build, web
from bot.chat.manifest import manifest as slack_manifest
from bot.cli.shared import out, settings
from bot.config.review import State, blast_radius
from bot.errors import Misconfigured, StopsignError
from bot.store import database as db

log = logging.getLogger(__name__)

CHATTY = ("httpx", "slack_sdk", "slack_bolt", "aiohttp")
"""Loggers that tell addresses and bodies, in which tokens and tickets stand."""
slack = typer.Typer(help="Connect Slack.", no_args_is_help=True)


def serve() -> None:
    """Run the bot: webhook, Slack, worker, console. Bad settings are told all at once."""
    chosen = settings()
    logging.basicConfig(level=chosen.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
    if chosen.webhook_token is None and chosen.webhook_user is None:
        raise Misconfigured(
            ["STOPSIGN_WEBHOOK_TOKEN: is not set: anybody could open incidents. Set it, or a user and a password."]
        )
    stopsign = build(chosen)
    current, newest = db.revision(stopsign.database.engine), db.newest(chosen.database)
    if current != newest:
        raise Misconfigured(
            [f"the database is at schema {current or 'none'}, this program needs {newest}: run `stopsign migrate`"]
        )
    for check in blast_radius(stopsign.config.inventory):
        if check.state is not State.OK:
            log.warning("%s: %s. To do: %s", check.name, check.what, check.todo)
    if wrong := asyncio.run(stopsign.fleet.problems(stopsign.config.inventory.nodes.values())):
        raise Misconfigured(wrong)
    free_or_raise(chosen.host, chosen.port)
    # The event loop takes turns with the writer's thread: at 5 ms a turn, people's acts would wait in a big freeze.
    sys.setswitchinterval(0.001)
    uvicorn.run(
        web(stopsign),
        host=chosen.host,
        port=chosen.port,
        log_level=chosen.log_level,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=5,
        limit_concurrency=1000,
        h11_max_incomplete_event_size=64 * 1024,
    )


def free_or_raise(host: str, port: int) -> None:
    """Raise StopsignError, with what to do, when nothing can listen there; port 0 is always free."""
    try:
        family, _, _, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(where)
    except OSError as error:
        reason = error.strerror or str(error)
        raise StopsignError(
            f"{host}:{port} cannot be listened on ({reason}). Does Stopsign run already? "
            "Stop what is there, or choose another STOPSIGN_PORT."
        ) from None


def migrate(
    restore: Annotated[
        bool, typer.Option("--restore", help="Make the triggers anew that keep the evidence log append-only.")
    ] = False,
) -> None:
    """Bring the database to this program's schema; data stays."""
    chosen = settings()
    if chosen.home is not None:
        chosen.home.mkdir(parents=True, exist_ok=True)
    if restore:
        made = db.restore(db.connect(chosen.database))
        out.print(f"Made anew: {', '.join(made)}." if made else "Every trigger stands: nothing was done.")
    out.print(f"The database is at schema {db.migrate(chosen.database)}.")


@slack.command()
def manifest(
    url: Annotated[str | None, typer.Option(help="Where Slack reaches Stopsign. Default: STOPSIGN_PUBLIC_URL.")] = None,
    socket_mode: Annotated[
        bool | None,
        typer.Option("--socket/--http", help="Who opens the connection. Default: --socket with SLACK_APP_TOKEN."),
    ] = None,
) -> None:
    """Print the app manifest to paste at api.slack.com/apps."""
    chosen = settings()
    by_socket = chosen.slack_app_token is not None if socket_mode is None else socket_mode
    text = slack_manifest(url or chosen.public_url, chosen.command, socket=by_socket)
    out.print(text, markup=False, soft_wrap=True)
