"""Slack is behind: by how much, told wherever people look instead, and only when it is so."""

import os
import pwd
import socket
import sqlite3
import sys
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI
from typer.testing import CliRunner

from bot import cli
from bot.cli.serve import free_or_raise
from bot.config import starter
from bot.domain.authority import BOT
from bot.domain.watch import Watch
from bot.domain.work import Again, Backlog, Done, Todo
from bot.errors import StopsignError
from bot.flows import answer
from bot.flows.answer import SayAll
from bot.render import console as pages
from bot.render.backlog import UNCONNECTED, behind
from bot.store.tokens import TokenTable
from bot.web import api, console
from bot.web.live import Live
from tests.fakes import START, Room, alert


def row(key: str, kind: str = "slack.post", **more: Any) -> Todo:
    """Return something to be said."""
    return Todo(key=key, kind=kind, **more)


async def enqueue(spine: Room, *rows: Todo) -> None:
    """Have it said."""
    await spine.decide(answer.say_all, SayAll(by=BOT, todo=rows))


async def backlog(spine: Room) -> Backlog:
    """Return what waits."""
    return await spine.ledger.read(lambda rows: rows.backlog(spine.clock.now()))


# ---- the figures


async def test_only_what_is_due_and_for_slack_counts(spine: Room) -> None:
    await enqueue(
        spine,
        row("a"),
        row("b", "page.slack"),
        row("c", "playbook"),
        row("d", "page.escalate"),
        row("h", "slack.home"),
        row("f", "slack.furnish"),
        row("e", due=START + timedelta(hours=1)),
    )
    spine.clock.go(seconds=30)
    assert await backlog(spine) == Backlog(waiting=2, oldest=START)
    spine.clock.go(hours=2)
    assert (await backlog(spine)).waiting == 3


async def test_turns_and_tries_do_not_make_it_younger(spine: Room) -> None:
    await enqueue(spine, row("a"), row("b"))
    for _ in range(5):
        works = {work.key: work for work in await spine.due("slack.post")}
        at = spine.clock.now() + timedelta(seconds=5)
        await spine.claims.finish(works["a"], Again(at=at))
        await spine.claims.retry(works["b"], at=at, error="Slack limits chat.postMessage for 5 s")
        spine.clock.go(seconds=5)
    found = await backlog(spine)
    assert (found.age(spine.clock.now()), found.behind(spine.clock.now())) == (timedelta(seconds=25), True)
    works = {work.key: work for work in await spine.due("slack.post")}
    await spine.claims.finish(works["a"], Done())
    assert (await backlog(spine)).why == "Slack limits chat.postMessage for 5 s"
    await spine.claims.finish(works["b"], Done())
    assert await backlog(spine) == Backlog()


def test_the_sentence_says_what_goes_on_and_nothing_when_it_keeps_up() -> None:
    late = Backlog(waiting=42, oldest=START, why="Slack limits chat.postMessage for 5 s.")
    assert behind(late, START + timedelta(seconds=10)) == ""
    assert behind(Backlog(), START) == ""
    assert behind(late, START + timedelta(minutes=3, seconds=17)) == (
        "Slack is behind: 42 messages wait, the oldest for 3 min (Slack limits chat.postMessage for 5 s): "
        "decisions and freezes go on."
    )
    one = Backlog(waiting=1, oldest=START, why="secret detail")
    assert behind(one, START + timedelta(seconds=29), why=False) == (
        "Slack is behind: 1 message waits, the oldest for 20 s: decisions and freezes go on."
    )


# ---- console, readiness, metrics


@pytest_asyncio.fixture
async def clients(spine: Room) -> AsyncIterator[tuple[httpx.AsyncClient, httpx.AsyncClient]]:
    """Return a browser at a bot with Slack, and one at a bot without."""

    async def anybody() -> None:
        return None

    made = []
    for connected in (True, False):
        app = FastAPI()
        app.include_router(console.router(spine.ledger, live=Live(), allowed=anybody, connected=connected))
        stats = TokenTable(spine.database).stats
        app.include_router(api.router(spine.ledger, anybody, stats, connected=connected))  # type: ignore[arg-type]
        made.append(httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://bot"))
    async with made[0], made[1]:
        yield made[0], made[1]


async def test_the_pages_say_so_once_it_is_so(
    spine: Room, clients: tuple[httpx.AsyncClient, httpx.AsyncClient]
) -> None:
    await spine.receive(alert(signer="s01"))
    spine.clock.go(seconds=9)
    for path in ("/console", "/console/inc-1"):
        assert "Slack is behind" not in (await clients[0].get(path)).text
    spine.clock.go(seconds=200)
    for path in ("/console", "/console/inc-1", "/console?fragment=1", "/console/inc-1?fragment=1"):
        text = (await clients[0].get(path)).text
        assert "messages wait, the oldest for 3 min: decisions and freezes go on." in text
        assert text.count('data-part="slack"') == 1


async def test_what_slack_said_cannot_harm_the_page(
    spine: Room, clients: tuple[httpx.AsyncClient, httpx.AsyncClient]
) -> None:
    await enqueue(spine, row("a"))
    (work,) = await spine.due("slack.post")
    await spine.claims.retry(work, at=START, error="<script>alert(1)</script>")
    spine.clock.go(minutes=1)
    assert "<script>alert" not in (await clients[0].get("/console")).text
    assert "alert(1)" in (await clients[0].get("/console")).text
    assert "alert(1)" not in (await clients[0].get("/readyz")).text


async def test_a_bot_without_slack_says_so_everywhere(
    spine: Room, clients: tuple[httpx.AsyncClient, httpx.AsyncClient]
) -> None:
    await spine.receive(alert(signer="s01"))
    for path in ("/console", "/console/inc-1"):
        assert "Slack is not connected: nobody is paged" in (await clients[1].get(path)).text
    ready = await clients[1].get("/readyz")
    assert (ready.status_code, ready.json()["detail"]) == (200, UNCONNECTED)


async def test_readiness_tells_it_and_stays_ready(
    spine: Room, clients: tuple[httpx.AsyncClient, httpx.AsyncClient]
) -> None:
    await enqueue(spine, row("a"), row("b"))
    fresh = await clients[0].get("/readyz")
    assert fresh.json() == {"ready": True, "outbox": {"waiting": 2, "oldest_seconds": 0.0}}
    spine.clock.go(minutes=2)
    late = await clients[0].get("/readyz")
    assert late.status_code == 200
    assert late.json()["outbox"] == {"waiting": 2, "oldest_seconds": 120.0}
    assert late.json()["detail"].startswith("Slack is behind: 2 messages wait, the oldest for 2 min")


async def test_metrics_have_both_figures(spine: Room, clients: tuple[httpx.AsyncClient, httpx.AsyncClient]) -> None:
    at = spine.clock.now()
    empty = (await clients[0].get("/metrics")).text
    assert "\nstopsign_outbox_waiting 0.0\n" in empty
    assert "\nstopsign_outbox_oldest_seconds 0.0\n" in empty
    await enqueue(spine, row("a", due=at), row("b", "page.slack"))
    full = (await clients[0].get("/metrics")).text
    assert "\nstopsign_outbox_waiting 2.0\n" in full
    [age] = [line.split()[1] for line in full.splitlines() if line.startswith("stopsign_outbox_oldest_seconds ")]
    assert float(age) == pytest.approx(time.time() - at.timestamp(), abs=30)


def test_the_stamp_changes_with_the_sentence_and_not_with_every_second() -> None:
    late = Backlog(waiting=4, oldest=START)
    at = [behind(late, START + timedelta(minutes=3, seconds=n)) for n in (1, 40, 61)]
    first, second, third = (pages.stamp((), Watch(), text) for text in at)
    assert first == second != third
    assert first != pages.stamp((), Watch())


# ---- the command line


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an operator's folder, with the one at the keyboard in the team."""
    folder = tmp_path / "ops"
    starter.write(folder)
    login = pwd.getpwuid(os.getuid()).pw_name
    team = (
        f"people:\n  - {{id: ada, name: Ada, slack: U001, login: {login}, powers: [lead]}}\n"
        "shifts:\n  - {from: 'mon 00:00', to: 'mon 00:00', people: [ada]}\n"
    )
    (folder / "team.yaml").write_text(team)
    for name, value in {
        "STOPSIGN_HOME": str(folder),
        "STOPSIGN_WEBHOOK_TOKEN": "token-of-the-webhook",
        "NODE_API_TOKEN": "x",
        "COLUMNS": "200",
    }.items():
        monkeypatch.setenv(name, value)
    result = CliRunner().invoke(cli.app, ["migrate"])
    assert result.exit_code == 0, result.output
    return folder


def said(*words: str) -> str:
    """Return what a command prints, in one line."""
    result = CliRunner().invoke(cli.app, list(words))
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split())


def test_the_commands_end_with_it(home: Path) -> None:
    for words in (("incident", "list"), ("work", "list")):
        assert "Slack is behind" not in said(*words)
    with sqlite3.connect(home / "stopsign.db") as database:
        database.execute(
            "INSERT INTO work (key, kind, priority, state, due_at, since, fence, attempts, body, outcome) "
            "VALUES ('a', 'slack.post', 4, 'ready', ?, ?, 0, 3, '{}', 'Slack cannot be reached: [Errno 111]')",
            (time.time() + 3, time.time() - 200),
        )
    database.close()
    for words in (("incident", "list"), ("work", "list")):
        assert (
            "Slack is behind: 1 message waits, the oldest for 3 min (Slack cannot be reached: [Errno 111]): "
            "decisions and freezes go on. SLACK_BOT_TOKEN is not set here"
        ) in said(*words)


def test_a_token_comes_with_the_address_to_log_in_at(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Log in with it at http://127.0.0.1:8970/login" in said("token", "issue", "ada")
    monkeypatch.setenv("STOPSIGN_PUBLIC_URL", "https://stop.example/")
    assert "Log in with it at https://stop.example/login" in said("token", "issue", "ada")


def test_a_port_in_use_is_one_line_and_exit_code_1(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setenv("STOPSIGN_PORT", str(port))
        monkeypatch.setattr(sys, "argv", ["stopsign", "serve"])
        with pytest.raises(SystemExit) as ended:
            cli.main()
    assert ended.value.code == 1
    told = capsys.readouterr().err.strip()
    assert told.splitlines() == [told]
    assert f"127.0.0.1:{port} cannot be listened on (Address already in use). Does Stopsign run already?" in told


def test_a_free_port_and_any_port_are_well() -> None:
    free_or_raise("127.0.0.1", 0)
    free_or_raise("localhost", 0)
    with pytest.raises(StopsignError, match="cannot be listened on"):
        free_or_raise("192.0.2.1", 0)


def test_the_manifest_for_socket_mode_is_printed_when_there_is_an_app_token(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STOPSIGN_PUBLIC_URL", "https://stop.example")
    assert "https://stop.example/slack/events" in said("slack", "manifest")
    assert "slack/events" not in said("slack", "manifest", "--socket")
    monkeypatch.setenv("SLACK_BOT_TOKEN", "xoxb-1")
    monkeypatch.setenv("SLACK_APP_TOKEN", "xapp-1")
    assert "socket_mode_enabled: true" in said("slack", "manifest")
    assert "https://stop.example/slack/events" in said("slack", "manifest", "--http")
