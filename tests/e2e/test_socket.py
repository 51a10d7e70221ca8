"""The whole bot over Socket Mode: it needs no address, and hangs up when it ends."""

import asyncio
from pathlib import Path

import pytest
from pydantic import SecretStr

from bot.app import build, running
from bot.config import starter
from bot.practice.workspace import Person as Account
from bot.practice.workspace import build as build_workspace
from bot.practice.workspace.app import APP_TOKEN
from bot.practice.workspace.client import People
from bot.practice.workspace.serving import served
from bot.settings import Settings
from bot.store import database as db

TOKEN = "xoxb-practice-token"
TEAM = """\
people:
  - {id: ada, name: Ada, slack: U0ADA, powers: [lead]}
  - {id: ben, name: Ben, slack: U0BEN, powers: [lead]}
shifts:
  - {from: "mon 00:00", to: "mon 00:00", people: [ada, ben]}
"""


async def test_it_works_without_an_address_of_its_own_and_hangs_up_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NODE_API_TOKEN", "x")
    starter.write(tmp_path / "ops")
    (tmp_path / "ops" / "team.yaml").write_text(TEAM)
    accounts = [Account(id=f"U0{name.upper()}", name=name, real_name=name.capitalize()) for name in ("ada", "ben")]
    workspace = build_workspace(bot_url=None, signing_secret="-", bot_token=TOKEN, people=accounts)
    async with served(workspace) as slack, People(slack) as hands:
        settings = Settings(
            home=tmp_path / "ops",
            slack_bot_token=SecretStr(TOKEN),
            slack_app_token=SecretStr(APP_TOKEN),
            slack_api_url=f"{slack}/api/",
        )
        db.migrate(settings.database)
        app = build(settings)
        assert app.chat is not None
        assert app.chat.asgi is None
        async with running(app):
            await hands.until(lambda s: len(s["sockets"]) == 1)
            answer = await hands.command("U0ADA", "general", "/incident declare SEV-2 it is late")
            assert "inc-1 is open" in answer["saw"][0]["text"]
            await hands.until(lambda s: any(c["name"] == "inc-1-it-is-late" for c in s["channels"]), seconds=10)
        async with asyncio.timeout(5):
            while (await hands.state())["sockets"]:
                await asyncio.sleep(0.02)
