"""A TCP proxy that behaves badly on purpose, in front of an honest peer: what happens on the way to real programs."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.drivers.contract import Character

_ANSWERS = {
    Character.ERRORING: b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    Character.UNAUTHORISED: b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
}


@asynccontextmanager
async def crooked(character: Character, host: str, port: int, *, delay: float = 1.5) -> AsyncIterator[int]:
    """Yield the port of a proxy to host:port; `delay` are seconds by which a slow answer comes late.

    Silent, erroring, unauthorised and down never pass anything on; the other characters are the peer's own business.
    """
    if character is Character.DOWN:
        closed = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
        free = int(closed.sockets[0].getsockname()[1])
        closed.close()
        await closed.wait_closed()
        yield free
        return
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            if character is Character.SILENT:
                while await reader.read(65536):
                    pass
            elif character in _ANSWERS:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(_ANSWERS[character])
                await writer.drain()
            else:
                late = delay if character is Character.SLOW else 0.0
                await _pass_on(reader, writer, host, port, late)
        writer.close()
        serving.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)


async def _pass_on(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, port: int, late: float
) -> None:
    """Pass both directions on, answers `late` seconds later."""
    there, here = await asyncio.open_connection(host, port)

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter, after: float) -> None:
        while chunk := await source.read(65536):
            await asyncio.sleep(after)
            sink.write(chunk)
            await sink.drain()
        sink.close()

    try:
        ways = pump(reader, here, 0.0), pump(there, writer, late)
        await asyncio.gather(*ways)
    finally:
        here.close()
