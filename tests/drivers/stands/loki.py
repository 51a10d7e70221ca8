"""Loki as a peer: the imitation, with lines of the last minutes."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bot.domain.inventory import Capability
from bot.nodes import loki
from tests.drivers.captures import CHARACTERS, behind
from tests.drivers.contract import Character, Stand, Subject
from tests.drivers.emulated import loki as imitation


@asynccontextmanager
async def _opened(character: Character) -> AsyncIterator[Subject]:
    now = time.time_ns()
    lines = [(now - (60 - n) * 10**9, {"host": "n-1"}, f"line {n}") for n in range(30)]
    async with (
        imitation.loki({'{host="n-1"}': lines}) as (url, _),
        behind(character, loki, url, {"queries": '{host="{node}"}'}) as subject,
    ):
        yield subject


STANDS = [Stand(name="loki", capability=Capability.RECORDER, open=_opened, characters=CHARACTERS)]
