"""What the tests of the drivers that only capture share: a driver pointed at a peer, and all that it captured."""

import asyncio
import contextlib
import tracemalloc
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from bot.domain.inventory import Capability, Endpoint, Node
from bot.errors import NodeError
from bot.nodes.way import Way
from bot.nodes.wire import node_client
from bot.ports import Recorder
from tests.drivers.contract import Character, Subject, SystemClock, patience
from tests.drivers.crooked import crooked

KEYS = ("0x" + "aa" * 48, "0x" + "bb" * 48)
MEGABYTE = 1024 * 1024


@asynccontextmanager
async def pointed(
    module: ModuleType,
    url: str,
    options: Mapping[str, str] | None = None,
    *,
    labels: Mapping[str, str] | None = None,
    timeout: float = 0.5,
    token: str | None = None,
) -> AsyncIterator[Any]:
    """Yield the driver that `module` connects to `url`, for a node `n-1` of the AVS `x`."""
    name = module.__name__.rpartition(".")[2]
    endpoint = Endpoint(driver=name, url=url, timeout=timedelta(seconds=timeout), options=options or {})
    node = Node(name="n-1", avs="x", keys=KEYS, labels=labels or {}, reach={Capability.RECORDER: endpoint})
    async with node_client() as client:
        yield module.connect(Way(node=node, endpoint=endpoint, client=client, clock=SystemClock(), token=token))


@dataclass(frozen=True, kw_only=True)
class Taken:
    """One item after it was read: its content, or the error that came instead and after how many bytes."""

    what: str
    source: str
    media_type: str
    tool: str
    content: bytes
    error: NodeError | None = None

    @property
    def whole(self) -> bytes:
        """Return the content; raises the error."""
        if self.error:
            raise self.error
        return self.content


async def taken(driver: Recorder, since: datetime | None = None, until: datetime | None = None) -> list[Taken]:
    """Capture everything, item by item, as the step does; the last quarter of an hour unless told otherwise."""
    until = until or datetime.now(UTC)
    found = []
    async for item in driver.capture(since or until - timedelta(minutes=15), until):
        content, lost = b"", None
        try:
            async for chunk in item.chunks:
                content += chunk
        except NodeError as error:
            lost = error
        found.append(
            Taken(
                what=item.what,
                source=item.source,
                media_type=item.media_type,
                tool=item.tool,
                content=content,
                error=lost,
            )
        )
    return found


async def peak(driver: Recorder, since: datetime, until: datetime) -> tuple[int, int]:
    """Capture everything and keep nothing; return the bytes that went by and by how many memory grew at most."""
    size = 0
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        async for item in driver.capture(since, until):
            async for chunk in item.chunks:
                size += len(chunk)
        return size, tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


@asynccontextmanager
async def cut(url: str) -> AsyncIterator[str]:
    """Yield the URL of a proxy to `url` that hangs up after each answer's head and half of its body."""
    host, port = urlsplit(url).hostname, urlsplit(url).port

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, here = await asyncio.open_connection(host, port)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            here.write(await reader.readuntil(b"\r\n\r\n"))
            head = await there.readuntil(b"\r\n\r\n")
            body = b""
            with contextlib.suppress(TimeoutError):  # not every peer hangs up after its answer
                while chunk := await asyncio.wait_for(there.read(MEGABYTE), 0.2):
                    body += chunk
            writer.write(head + body[: len(body) // 2])
            await writer.drain()
        here.close()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@dataclass
class Read:
    """A subject that is only read: there is nothing to stop, and nothing changes it."""

    driver: Any
    keys: tuple[str, ...] = KEYS

    async def stopped(self) -> bool:
        """Return True: nothing is to be checked."""
        return True

    async def calls(self) -> int:
        """Return 0: it is never asked to change anything."""
        return 0


CHARACTERS = frozenset(Character) - {Character.LYING}
"""What a peer that is only read can be. That it lies, nobody can tell from its answer."""


@asynccontextmanager
async def behind(
    character: Character,
    module: ModuleType,
    url: str,
    options: Mapping[str, str] | None = None,
    *,
    labels: Mapping[str, str] | None = None,
    path: str = "",
) -> AsyncIterator[Subject]:
    """Yield a driver that reaches the honest peer at `url` through a proxy of this character."""
    async with contextlib.AsyncExitStack() as stack:
        if character is Character.HALF:
            front = await stack.enter_async_context(cut(url))
        else:
            parts = urlsplit(url)
            port = await stack.enter_async_context(crooked(character, str(parts.hostname), parts.port or 0))
            front = f"http://127.0.0.1:{port}"
        seconds = patience(character).total_seconds()
        way = pointed(module, front + path, options, labels=labels, timeout=seconds)
        yield Read(await stack.enter_async_context(way))
