"""A beacon node as a peer: answers of the form of Lodestar's; the real program is in tests/peers/test_lodestar.py."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from bot.domain.inventory import Capability
from bot.nodes import beacon
from tests.drivers.captures import CHARACTERS, KEYS, behind
from tests.drivers.contract import Character, Stand, Subject
from tests.drivers.emulated.serving import serving

ROOT = "0x" + "11" * 32
CHECKPOINT = {"epoch": "5", "root": ROOT}
DATA: Mapping[str, Any] = {
    "/eth/v1/node/identity": {"peer_id": "16Uiu2HAk", "enr": "enr:-LS4", "p2p_addresses": [], "metadata": {}},
    "/eth/v1/node/version": {"version": "Lodestar/v1.5.1/2115aa7"},
    "/eth/v1/node/syncing": {"head_slot": "56", "sync_distance": "2", "is_syncing": False, "is_optimistic": False},
    "/eth/v1/node/peers": [{"peer_id": "16Uiu2HAm", "state": "connected", "direction": "inbound"}],
    "/eth/v1/node/peer_count": {"disconnected": "0", "connecting": "0", "connected": "1", "disconnecting": "0"},
    "/eth/v1/beacon/headers/head": {"root": ROOT, "canonical": True, "header": {"message": {"slot": "56"}}},
    "/eth/v1/beacon/states/head/finality_checkpoints": {"finalized": CHECKPOINT, "current_justified": CHECKPOINT},
    "/eth/v1/config/spec": {"SLOTS_PER_EPOCH": "8", "SECONDS_PER_SLOT": "12"},
}


@dataclass
class BeaconImitation:
    """A beacon node that knows the validators of `keys`, numbered from 7 on. `status` by path replaces an answer."""

    keys: Sequence[str] = KEYS
    health: int = 200
    lying: bool = False
    status: Mapping[str, int] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    asked: list[tuple[str, str, Any]] = field(default_factory=list)

    def app(self) -> web.Application:
        """Return its API."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        return app

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json() if request.can_read_body else None
        self.asked.append((request.method, request.path_qs, body))
        if request.path in self.status:
            return web.json_response({"message": "as you wish"}, status=self.status[request.path])
        if request.path == "/eth/v1/node/health":
            return web.Response(status=self.health)
        if self.lying:
            return web.Response(text="<html>all is well</html>", content_type="text/html")
        data = self._data(request.path, request.query.getall("id", []), body)
        return web.json_response({"data": data}) if data is not None else web.json_response({}, status=404)

    def _data(self, path: str, ids: Sequence[str], body: Any) -> Any:
        if path in (chosen := {**DATA, **self.data}):
            return chosen[path]
        numbers = {key: str(7 + n) for n, key in enumerate(self.keys)}
        if path == "/eth/v1/beacon/states/head/validators":
            wanted = [key for key in self.keys if key in ids or not ids]
            validators = {key: {"pubkey": key, "slashed": False} for key in wanted}
            return [{"index": numbers[k], "status": "active_ongoing", "validator": v} for k, v in validators.items()]
        if path == "/eth/v1/validator/duties/proposer/7":
            return [{"pubkey": key, "validator_index": number, "slot": "58"} for key, number in numbers.items()]
        if path == "/eth/v1/validator/duties/attester/7":
            return [{"validator_index": number, "slot": "59"} for number in body]
        return None


@asynccontextmanager
async def imitated(**more: Any) -> AsyncIterator[tuple[str, BeaconImitation]]:
    """Run the imitation; yields its URL and it."""
    imitation = BeaconImitation(**more)
    async with serving(imitation.app()) as url:
        yield url, imitation


@asynccontextmanager
async def _opened(character: Character) -> AsyncIterator[Subject]:
    async with (
        imitated(lying=character is Character.LYING) as (url, _),
        behind(character, beacon, url) as subject,
    ):
        yield subject


STANDS = [
    Stand(
        name="beacon",
        capability=Capability.RECORDER,
        open=_opened,
        characters=CHARACTERS | {Character.LYING},
    )
]
