"""Prometheus as a peer: answers of its form; the real program is in test_prometheus.py."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bot.domain.inventory import Capability
from bot.nodes import prometheus
from tests.drivers.captures import CHARACTERS, behind
from tests.drivers.contract import Character, Stand, Subject
from tests.drivers.emulated.prometheus import ONE, answering


@asynccontextmanager
async def _opened(character: Character) -> AsyncIterator[Subject]:
    async with (
        answering(ONE) as (url, _),
        behind(character, prometheus, url, labels={"instance": "n-1:9000"}) as subject,
    ):
        yield subject


STANDS = [Stand(name="prometheus", capability=Capability.RECORDER, open=_opened, characters=CHARACTERS)]
