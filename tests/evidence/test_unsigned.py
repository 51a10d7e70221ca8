"""A log that cannot be signed for a while: evidence is taken, it is said once, and signed when it can be again."""

import asyncio
import logging

import pytest

from bot import evidence
from bot.app import App, build, running
from bot.evidence.live import rotations
from bot.settings import Settings
from bot.store import database as db
from bot.store import sequencer
from bot.vault.keys import CURRENT
from bot.vault.signer import ORIGIN, create_key
from tests.evidence.conftest import ADA
from tests.evidence.test_custody import keep


async def test_a_wrong_key_file_stops_nothing_and_signs_nothing(app: App, caplog: pytest.LogCaptureFixture) -> None:
    await evidence.rotate(app, by=ADA, reason="r")
    pem = app.home / "evidence" / CURRENT
    away = pem.with_suffix(".away")
    db.migrate(app.settings.database)
    serving = build(Settings(home=app.home))
    with caplog.at_level(logging.ERROR, logger="bot.app"):
        async with running(serving):
            pem.rename(away)
            create_key(pem, ORIGIN)  # somebody restored the wrong one
            await keep(serving, 1, "logs", 1)
            await asyncio.sleep(2.5)
            signed = await serving.database.reading(sequencer.head)
            away.rename(pem)
            for _ in range(100):
                head = await serving.database.reading(sequencer.head)
                if head != signed:
                    break
                await asyncio.sleep(0.1)
    said = [record.message for record in caplog.records if "cannot be signed" in record.message]
    assert len(said) == 1, said
    assert head is not None
    assert signed is not None
    assert head.size > signed.size
    assert len(await app.database.reading(rotations)) == 1
    assert (await evidence.verify(app)).ok
