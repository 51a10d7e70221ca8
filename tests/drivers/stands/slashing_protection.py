"""A file server as a peer, with the export of a signer."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from bot.domain.inventory import Capability
from bot.nodes import slashing_protection
from tests.drivers.captures import CHARACTERS, KEYS, behind
from tests.drivers.contract import Character, Stand, Subject
from tests.drivers.emulated.serving import serving

DOCUMENT = {
    "metadata": {"interchange_format_version": "5", "genesis_validators_root": "0x" + "04" * 32},
    "data": [{"pubkey": key, "signed_blocks": [{"slot": "7"}], "signed_attestations": []} for key in KEYS],
}


@asynccontextmanager
async def _opened(character: Character) -> AsyncIterator[Subject]:
    async def export(request: web.Request) -> web.Response:
        return web.Response(body=json.dumps(DOCUMENT).encode(), content_type="application/json")

    app = web.Application()
    app.router.add_get("/export.json", export)
    async with serving(app) as url, behind(character, slashing_protection, url, path="/export.json") as subject:
        yield subject


STANDS = [
    Stand(name="slashing_protection", capability=Capability.RECORDER, open=_opened, characters=CHARACTERS),
]
