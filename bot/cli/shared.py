"""What the subcommands share: opening the app, knowing who is at the keyboard, following an incident."""

import asyncio
import logging
import os
import pwd
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import httpx
from rich.console import Console
from rich.markup import escape

from bot import settings as settings_module
from bot.app import App, build, close
from bot.domain.authority import Actor
from bot.domain.incident import Incident, Status
from bot.domain.playbook import Verb
from bot.domain.severity import Severity
from bot.domain.target import State
from bot.errors import Misconfigured, NotFound, Refused
from bot.render import timeline
from bot.render.backlog import behind
from bot.settings import Settings
from bot.store import database as db

T = TypeVar("T")
FAILED, USAGE, REFUSED = 1, 2, 3
out = Console(highlight=False)


def settings() -> Settings:
    """Return the environment's settings; raises Misconfigured with all that is wrong."""
    return settings_module.load(os.environ)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a subcommand's coroutine."""
    return asyncio.run(work)


@asynccontextmanager
async def opened() -> AsyncIterator[App]:
    """Build the app over the operator's folder, with the writer running and no worker."""
    logging.basicConfig(level=logging.ERROR)  # stderr is for the one line that says what is wrong
    app = build(settings())
    current, newest = db.revision(app.database.engine), db.newest(app.settings.database)
    if current != newest:
        raise Misconfigured(
            [f"the database is at schema {current or 'none'}, this program needs {newest}: run `stopsign migrate`"]
        )
    app.database.start()
    try:
        yield app
    finally:
        await close(app)


def me(app: App) -> Actor:
    """Return the person whose operating-system login this process runs under; raises Refused for strangers.

    The login is the process's real user, not an environment variable.
    """
    login = pwd.getpwuid(os.getuid()).pw_name
    person = app.config.team.by_login(login)
    if person is None:
        raise Refused(f"The login '{login}' belongs to nobody in team.yaml: add `login: {login}` to your entry.")
    return Actor(person=person.id, via="cli")


def who(app: App, word: str) -> str:
    """Return the id of the person whom `word` names."""
    person = app.config.team.named(word)
    if person is None:
        raise Refused(f"'{word}' names nobody (or several) in team.yaml.")
    return person.id


async def bot_is_up(app: App) -> bool:
    """Tell whether a bot serves this folder's address."""
    host = "127.0.0.1" if app.settings.host in {"0.0.0.0", "::"} else app.settings.host  # noqa: S104 - compared, not bound
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=0.5) as client:
            return (await client.get(f"http://{host}:{app.settings.port}/healthz")).status_code == 200
    except httpx.HTTPError:
        return False


def settled(incident: Incident) -> bool:
    """Tell whether nothing is under way that a person would wait for."""
    steps = any(step.state.live for step in incident.steps.values())
    freeze = incident.tracks.get(Verb.FREEZE, {}).values()
    if incident.status is Status.RESOLVED and incident.peak is not Severity.SEV3 and incident.postmortem_due is None:
        return False
    return not steps and not any(track.state in {State.REQUESTED, State.ACKNOWLEDGED} for track in freeze)


async def follow(app: App, number: int, *, since: int, seconds: float, patient: bool = True) -> Incident:
    """Print what happens in an incident until it is settled or `seconds` are over; return it as it is then.

    With a bot serving, its worker does the work, and only a patient caller waits for it; without one, this process
    does the incident's work itself.
    """
    seen = since

    async def look() -> bool:
        nonlocal seen
        entries = await app.ledger.read(lambda rows: rows.entries(number))
        for written in entries:
            if written.n > seen and timeline.worth_reading(written):
                line = timeline.line(written, app.config)
                out.print(f"  [dim]{written.at:%H:%M:%S}[/dim] {line.icon} ", end="")
                out.print(line.text, markup=False, soft_wrap=True)
            seen = max(seen, written.n)
        return settled(await get(app, number))

    if await bot_is_up(app):
        if patient:
            await _wait(look, seconds)
    else:
        out.print("[dim]  No bot is serving: this command does the incident's work itself.[/dim]")
        worker = app.worker(incident=number)
        app.database.on_commit(worker.wake)
        await worker.drain(look, within=seconds)
        await worker.close()
        await app.sequence()
    await look()
    return await get(app, number)


async def print_behind(app: App) -> None:
    """Print how far Slack is behind, when it is."""
    now = app.ledger.clock.now()
    if text := behind(await app.ledger.read(lambda rows: rows.backlog(now)), now):
        if app.chat is None:
            text += " SLACK_BOT_TOKEN is not set here: unless a bot that has it serves, nobody is told there."
        out.print(f"\n[yellow]◷[/] {escape(text)}")


async def _wait(look: Callable[[], Awaitable[bool]], seconds: float) -> None:
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    await asyncio.sleep(1.2)  # the bot looks for other processes' work once a second
    while not await look() and loop.time() < end:  # noqa: ASYNC110 - another process acts, not this one
        await asyncio.sleep(0.2)


async def get(app: App, number: int) -> Incident:
    """Return an incident; raises NotFound."""
    incident = await app.ledger.read(lambda rows: rows.incident(number))
    if incident is None:
        raise NotFound(f"There is no incident inc-{number}: `stopsign incident list` shows them.")
    return incident
