"""A loopback port that is really open or really closed."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import uvicorn
from starlette.types import ASGIApp

_HOST = "127.0.0.1"


class _Server(uvicorn.Server):
    """A uvicorn server that leaves the process' signals alone, and ends at once, cutting whoever is connected."""

    def __init__(self, app: ASGIApp) -> None:
        config = uvicorn.Config(app, lifespan="off", ws="none", access_log=False, log_config=None, backlog=2048)
        super().__init__(config)
        self.ending = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def main_loop(self) -> None:
        """Keep the Date header fresh until `ending` is set."""
        while not self.ending.is_set():
            await self.on_tick(0)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await self.ending.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the listening sockets, abort every connection, cancel what was being answered."""
        for server in self.servers:
            server.close()
        for listening in sockets or []:
            listening.close()
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        for task in list(self.server_state.tasks):
            task.cancel()
        await asyncio.gather(*self.server_state.tasks, return_exceptions=True)


class Port:
    """One port. Reserved from the start (bound, and refusing connections), open while an app is served on it."""

    def __init__(self, number: int = 0) -> None:
        """Reserve `number`, or any free port for 0; raises OSError when it is taken."""
        self._socket: socket.socket | None = _bound(number)
        self.number: int = self._socket.getsockname()[1]
        self._server: _Server | None = None
        self._serving: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Return the base URL, without a slash at the end."""
        return f"http://{_HOST}:{self.number}"

    async def open(self, app: ASGIApp) -> None:
        """Serve `app`; returns when connections are accepted."""
        if self._server is not None:
            return
        self._server = _Server(app)
        taken, self._socket = self._socket or _bound(self.number), None
        self._serving = asyncio.create_task(self._server.serve(sockets=[taken]))
        while not self._server.started:
            if self._serving.done():
                self._serving.result()
            await asyncio.sleep(0.005)

    async def close(self, *, release: bool = False) -> None:
        """Cut every connection and refuse new ones; `release` also gives the port back to the system."""
        if self._server is not None and self._serving is not None:
            self._server.ending.set()
            await self._serving
            self._server = self._serving = None
            self._socket = None if release else _bound(self.number)
        elif release and self._socket is not None:
            self._socket.close()
            self._socket = None


def _bound(number: int) -> socket.socket:
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((_HOST, number))
    except OSError:
        bound.close()
        raise
    return bound
