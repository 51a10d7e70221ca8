"""An AVS node as a peer: the imitation, with a service in each state."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bot.domain.inventory import Capability
from bot.nodes import eigen_node
from tests.drivers.captures import CHARACTERS, behind
from tests.drivers.contract import Character, Stand, Subject
from tests.drivers.emulated import eigen_node as imitation

SERVICES = {"db-1": "Up", "idx-2": "Initializing", "ipfs-3": "Down"}


@asynccontextmanager
async def _opened(character: Character) -> AsyncIterator[Subject]:
    async with imitation.eigen_node(services=SERVICES) as (url, _), behind(character, eigen_node, url) as subject:
        yield subject


STANDS = [Stand(name="eigen_node", capability=Capability.RECORDER, open=_opened, characters=CHARACTERS)]
