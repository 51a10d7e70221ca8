"""A step over a thousand targets, against bare aiohttp that sends the same requests in the same run."""

import asyncio
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import aiohttp

from bench import servers
from bench.nodes import KEY
from bot.domain.inventory import Capability, Endpoint, Node
from bot.errors import NodeError
from bot.nodes import sidecar
from bot.nodes.reach import Reach
from bot.nodes.sidecar import Sidecar
from bot.steps.fanout import spread

TARGETS, DEAD, ROUNDS = 1000, 100, 3
TIMEOUT = timedelta(seconds=2)


class _Clock:
    def now(self) -> datetime:
        return datetime.now(UTC)


async def measure() -> dict[str, float]:
    """Return seconds for freeze and read-back of 1,000 targets: `ours`, and `dead` where 100 never answer.

    `bare` sends the same requests; `kept` uses connections again, which ours must not (docs/decisions/0009).
    """
    port = servers.free_port()
    found: dict[str, list[float]] = {"bare": [], "kept": [], "ours": [], "dead": []}
    url = f"http://127.0.0.1:{port}"
    with _silent() as dead, servers.process((sys.executable, "-m", "bench.nodes", str(port)), f"{url}/", {}):
        urls = [f"http://127.0.0.1:{dead}" if n % (TARGETS // DEAD) == 0 else url for n in range(TARGETS)]
        for _ in range(ROUNDS):
            found["bare"].append(await _timed(lambda: _bare(url, close=True)))
            found["kept"].append(await _timed(lambda: _bare(url, close=False)))
            found["ours"].append(await _timed(lambda: _ours([url] * TARGETS)))
            found["dead"].append(await _timed(lambda: _ours(urls)))
    return {name: min(times) for name, times in found.items()}


async def _timed(work: Callable[[], Awaitable[None]]) -> float:
    began = time.perf_counter()
    await work()
    return time.perf_counter() - began


@contextmanager
def _silent() -> Iterator[int]:
    """A port where connections are taken and nothing is ever answered."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(DEAD)
        yield int(listener.getsockname()[1])


async def _bare(url: str, *, close: bool) -> None:
    """Send the same requests with aiohttp alone; `close`: each on a connection of its own, as ours are."""
    connector = aiohttp.TCPConnector(limit=0, force_close=close)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def one() -> None:
            body = {"state": "frozen", "keys": [KEY], "incident": "inc-1", "request": "r"}
            async with session.put(f"{url}/stopsign/v1/signing", json=body) as answer:
                await answer.json()
            async with session.get(f"{url}/stopsign/v1/signing") as answer:
                await answer.json()

        await asyncio.gather(*(one() for _ in range(TARGETS)))


async def _ours(urls: list[str]) -> None:
    """Freeze and read back through the driver and the fan-out that every step uses."""
    ends = [Endpoint(driver="sidecar", url=url, timeout=TIMEOUT) for url in urls]
    reach = {str(n): Node(name=str(n), avs="a", keys=(KEY,), reach={Capability.SIGNER: e}) for n, e in enumerate(ends)}
    async with Reach(drivers={"sidecar": sidecar.connect}, secret=str, clock=_Clock()) as fleet:

        async def one(name: str) -> None:
            driver = fleet.reach(reach[name], Capability.SIGNER)
            assert isinstance(driver, Sidecar)
            try:
                await driver.freeze((KEY,), incident="inc-1", request="r")
                await driver.sample((KEY,))
            except NodeError:
                return

        async for _ in spread(reach, one):
            pass


if __name__ == "__main__":
    print({name: round(value, 2) for name, value in asyncio.run(measure()).items()})  # noqa: T201
