"""`stopsign serve`, `stopsign migrate`, `stopsign slack …`: running the bot for real."""

import logging

import typer
import uvicorn

from bot.app import build, web
from bot.chat.manifest import manifest as slack_manifest
from bot.cli.shared import out, settings
from bot.errors import Misconfigured
from bot.store import database as db

slack = typer.Typer(help="Connect Slack.", no_args_is_help=True)


def serve() -> None:
    """Run the bot: webhook, Slack, worker, console. Bad settings are told all at once."""
    chosen = settings()
    logging.basicConfig(level=chosen.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs each URL with its query
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


def migrate() -> None:
    """Bring the database to this program's schema; data stays."""
    chosen = settings()
    if chosen.home is not None:
        chosen.home.mkdir(parents=True, exist_ok=True)
    out.print(f"The database is at schema {db.migrate(chosen.database)}.")


@slack.command()
def manifest(url: str = "https://stopsign.example.com") -> None:
    """Print the app manifest to paste at api.slack.com/apps."""
    out.print(slack_manifest(url, settings().command), markup=False, soft_wrap=True)
