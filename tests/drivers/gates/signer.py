"""A stub of a remote signer with the key in the path, and a validator that asks it 20 times a second."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web

PATH = "/api/v1/eth2/sign/"
KEYS = tuple("0x" + f"{index:02x}" * 47 + "A" + f"{index:x}" for index in range(1, 5))
PERIOD = 0.05


@dataclass
class StubSigner:
    """Signs for every key, and counts. Its counters are the truth; a slow signature takes `slow` seconds."""

    port: int = 0
    metrics: str = ""
    signed: Counter[str] = field(default_factory=Counter)
    asked: int = 0
    slow: float = 0.0
    mute: bool = False
    started: float = field(default_factory=time.time)

    async def sign(self, request: web.Request) -> web.Response:
        """Count a signature, as slowly as was wished, and give it out."""
        self.asked += 1
        self.signed[request.match_info["key"].lower()] += 1
        await asyncio.sleep(self.slow)
        return web.json_response({"signature": "0x5167"})

    async def shown(self, request: web.Request) -> web.Response:
        """Show the counters as Prometheus reads them."""
        if self.mute:
            return web.Response(status=503)
        lines = [f'stub_signed_total{{pubkey="{key}"}} {count}' for key, count in self.signed.items()]
        lines.append(f"process_start_time_seconds {self.started}")
        return web.Response(text="\n".join(lines) + "\n")

    async def flat(self, keys: Sequence[str], seconds: float = 0.2) -> bool:
        """Tell whether no key has signed for a while."""
        before = [self.signed[key.lower()] for key in keys]
        await asyncio.sleep(seconds)
        return [self.signed[key.lower()] for key in keys] == before


@asynccontextmanager
async def _serving(app: web.Application) -> AsyncIterator[int]:
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    try:
        yield int(site._server.sockets[0].getsockname()[1])  # type: ignore[attr-defined]
    finally:
        await runner.cleanup()


@asynccontextmanager
async def stub_signer() -> AsyncIterator[StubSigner]:
    """Yield a running stub; its metrics are at another port, past the gate."""
    stub = StubSigner()
    signing, watching = web.Application(), web.Application()
    signing.router.add_post(PATH + "{key}", stub.sign)
    signing.router.add_get("/upcheck", _ok)
    watching.router.add_get("/metrics", stub.shown)
    async with _serving(signing) as stub.port, _serving(watching) as port:
        stub.metrics = f"http://127.0.0.1:{port}"
        yield stub


async def _ok(request: web.Request) -> web.Response:
    return web.Response(text="OK")


@dataclass
class Client:
    """What a validator got: answers by status, 0 for none."""

    got: Counter[int] = field(default_factory=Counter)


@asynccontextmanager
async def validator(url: str, keys: Sequence[str], *, period: float = PERIOD) -> AsyncIterator[Client]:
    """Ask for a signature with each key each `period`, on a connection of its own that is kept alive."""
    client = Client()

    async def asking(key: str) -> None:
        connector = aiohttp.TCPConnector(limit=1, keepalive_timeout=60)
        async with aiohttp.ClientSession(connector=connector) as session:
            while True:
                client.got[await ask(session, url, key)] += 1
                await asyncio.sleep(period)

    tasks = [asyncio.create_task(asking(key)) for key in keys]
    try:
        while not client.got:
            await asyncio.sleep(0.005)
        yield client
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def ask(session: aiohttp.ClientSession, url: str, key: str) -> int:
    """Ask for one signature; returns the answer's status, 0 when the connection ended."""
    with contextlib.suppress(aiohttp.ClientError, OSError):
        async with session.post(url + PATH + key, json={"type": "ATTESTATION"}) as answer:
            await answer.read()
            return answer.status
    return 0
