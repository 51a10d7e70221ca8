"""The sidecar proxy as a peer of the sidecar driver: the real one, between an imitated signer and a busy client.

A proxy that lies has a control port that denies in its own head only; one that does half denies every second key.
"""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from bot.domain.inventory import Capability, Endpoint, Node
from bot.nodes import sidecar
from bot.nodes.reach import Reach
from bot.sidecar.denials import Denials
from bot.sidecar.gate import Gate
from tests.drivers.contract import Character, Stand, Subject, SystemClock, patience
from tests.drivers.crooked import crooked
from tests.sidecar.bench import KEYS, TOKEN, Place, attestation, place

PERIOD = 0.1


class _Half(Denials):
    """Denies every second key, and says so."""

    def deny(self, keys: Iterable[str], *, incident: str, request: str) -> None:
        super().deny(list(keys)[::2], incident=incident, request=request)


class _Unheard(Denials):
    """Is asked by the control port, and by the gate in vain."""

    def heard(self) -> Denials:
        """Return denials that never hear of anything."""
        return Denials(self._path.with_name("unheard.json"), fresh=True)


class _DeafGate(Gate):
    """A gate that looks at denials of its own."""

    def __init__(self, options: Any, record: Any, denials: Any, counts: Any, upstream: Any) -> None:
        super().__init__(options, record, denials.heard(), counts, upstream)


@dataclass
class _Subject:
    place: Place
    driver: Any
    keys: tuple[str, ...] = KEYS

    async def stopped(self) -> bool:
        """Ask the signer whether it signs, over three duties of each key."""
        before = dict(self.place.signer.signed)
        await asyncio.sleep(PERIOD * 3)
        return dict(self.place.signer.signed) == before

    async def calls(self) -> int:
        """Count what set a state, as the record has it."""
        parts = sorted(self.place.data.glob("signing-*.ndjson"))
        return sum(part.read_bytes().count(b'"what":"state"') for part in parts)


async def _duties(it: Place) -> None:
    """Ask for a signature of each key, each period, as a validator client does."""
    for number in range(1, 100_000):
        for key in KEYS:
            await it.sign(key, attestation(number))
        await asyncio.sleep(PERIOD / 3)


_BUILT: Mapping[Character, Mapping[str, Any]] = {
    Character.HALF: {"denials_of": _Half},
    Character.LYING: {"denials_of": _Unheard, "gate_of": _DeafGate},
}


@asynccontextmanager
async def _opened(character: Character) -> AsyncIterator[Subject]:
    async with contextlib.AsyncExitStack() as ending:
        folder = Path(ending.enter_context(tempfile.TemporaryDirectory()))
        it = await ending.enter_async_context(place(folder, drain=0.1, **_BUILT.get(character, {})))
        port = await ending.enter_async_context(crooked(character, "127.0.0.1", httpx.URL(it.control).port or 0))
        reach = await ending.enter_async_context(
            Reach(drivers={"sidecar": sidecar.connect}, secret=lambda _: TOKEN, clock=SystemClock())
        )
        url = f"http://127.0.0.1:{port}"
        endpoint = Endpoint(driver="sidecar", url=url, token="env:T", timeout=patience(character))
        node = Node(name="n", avs="ethereum", keys=KEYS, reach={Capability.SIGNER: endpoint})
        client = asyncio.create_task(_duties(it))
        try:
            await it.sign(KEYS[0], attestation(0))
            yield _Subject(it, reach.reach(node, Capability.SIGNER))
        finally:
            client.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await client


STANDS = [Stand(name="sidecar_proxy", capability=Capability.SIGNER, open=_opened, period=PERIOD)]
