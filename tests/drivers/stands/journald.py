"""The real systemd-journal-gatewayd as a peer, over a journal of the last minutes."""

import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bot.domain.inventory import Capability
from bot.nodes import journald
from tests.drivers.captures import CHARACTERS, behind
from tests.drivers.contract import Character, Stand, Subject
from tests.drivers.journal import entry, gateway, write_journal


@asynccontextmanager
async def _opened(character: Character) -> AsyncIterator[Subject]:
    now = time.time_ns() // 1000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        await write_journal(folder, [entry(n, now - (60 - n) * 1_000_000, f"line {n}".encode()) for n in range(30)])
        async with gateway(folder) as url, behind(character, journald, url) as subject:
            yield subject


STANDS = [
    Stand(
        name="journald",
        capability=Capability.RECORDER,
        open=_opened,
        characters=CHARACTERS,
        peer="systemd-journal-gatewayd",
    )
]
