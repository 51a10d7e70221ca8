"""Serving the workspace, or any ASGI application, on loopback: as a process, or inside a running event loop."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any

import uvicorn


class Server(uvicorn.Server):
    """uvicorn, but an application that has `going_down()` hears of the end before open streams are waited for."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop serving."""
        going_down = getattr(self.config.app, "going_down", None)
        if going_down is not None:
            going_down()
        await super().shutdown(sockets)


class _Guest(Server):
    """A server in somebody else's event loop: it leaves the process's signal handlers alone."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def config(app: Any, *, port: int = 0) -> uvicorn.Config:
    """Return how applications are served here: on 127.0.0.1, quietly, without waiting long for streams at the end."""
    return uvicorn.Config(
        app,
        host="127.0.0.1",
        port=port,
        log_level="warning",
        access_log=False,
        lifespan="on",
        ws="auto",
        timeout_graceful_shutdown=1,
    )


@contextlib.asynccontextmanager
async def served(app: Any, *, port: int = 0) -> AsyncIterator[str]:
    """Serve `app` while the block runs and yield its base URL, such as `http://127.0.0.1:40123`; 0 is any free port."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        server = _Guest(config(app))
        task = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            while not server.started and not task.done():  # noqa: ASYNC110 - uvicorn tells by this flag alone
                await asyncio.sleep(0.005)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            await task
