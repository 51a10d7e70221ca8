"""A bot over a folder of its own: no worker, no Slack; evidence is kept by hand."""

import os
import pwd
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.app import App, build, close
from bot.domain.authority import Actor
from bot.domain.severity import Severity
from bot.flows import intake
from bot.settings import Settings
from bot.store import database as db

ADA = Actor(person="ada", via="cli")
INVENTORY = "avs: [{name: sequencer}]\nnodes: [{name: n1, avs: sequencer, keys: ['0xaa01']}]\n"
LOGIN = pwd.getpwuid(os.getuid()).pw_name


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Write an operator's folder: Ada may do everything, Eve only respond."""
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "inventory.yaml").write_text(INVENTORY)
    people = (
        f"- {{id: ada, name: Ada, login: {LOGIN}, powers: [lead]}}\n- {{id: eve, name: Eve, powers: [responder]}}\n"
    )
    (folder / "team.yaml").write_text(f"people:\n{people}")
    return folder


@pytest.fixture
async def app(home: Path) -> AsyncIterator[App]:
    """Open inc-1 with nothing in it yet."""
    settings = Settings(home=home)
    db.migrate(settings.database)
    made = build(settings)
    made.database.start()
    command = intake.Declare(by=ADA, severity=Severity.SEV1, summary="two <b>signatures</b> for slot 7")
    await made.ledger.decide(intake.declare, command)
    yield made
    await close(made)
