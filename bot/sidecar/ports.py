"""Serve the two ports so that whoever fills the one cannot shut the other.

A process has a bounded table of open files, and both ports share it: connections that ask for nothing could fill it,
and no freeze would come in while those that are open already go on signing. So each port holds a bounded number of
connections, a full one cuts whoever keeps it waiting longest, and the signing port leaves files free for the rest.
"""

import asyncio
import errno
import logging
import os
import resource
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass

from aiohttp import web

from bot.errors import StopsignError

_LOG = logging.getLogger("bot.sidecar")
RESERVE = 64
"""Open files that the signing port leaves to the control port, the record and the denied keys."""
CONTROL_CONNECTIONS = 64
_NEEDED = 16
_FIRST_SECONDS = 10.0
"""How long a new connection has until its first request is here."""
_IDLE_SECONDS = 120.0
"""How long an idle one is kept that was answered before: longer than HTTP clients keep theirs, so that they end it."""
_SWEEP_SECONDS = 1.0
_HANDSHAKE_SECONDS = 5.0
_RETRY_SECONDS = 0.05
_GRACE_SECONDS = 4.0
_LINGER_SECONDS = 1.0
"""How long the rest of a body is read that was refused."""
_STRANGERS = frozenset({400, 401, 403, 404, 413})
"""Answers after which a connection is no more welcome than a new one."""
_BACKLOG = 1024
Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@dataclass(slots=True, eq=False)
class _Guest:
    """One connection. `busy`: a whole request of it is being answered; otherwise it is waited for since `since`."""

    handler: web.RequestHandler
    since: float
    busy: bool = False
    welcome: bool = False
    entry: "asyncio.Task[None] | None" = None
    transport: asyncio.Transport | None = None

    def cut(self) -> None:
        """End the connection, whether it is there or only being made."""
        if self.transport is not None:
            self.transport.abort()
        elif self.entry is not None:
            self.entry.cancel()


_GUEST: ContextVar[_Guest] = ContextVar("guest")


def received() -> None:
    """Say that the request which is being handled here is whole: nobody waits for its sender any more."""
    with suppress(LookupError):
        _GUEST.get().busy = True


class Port(web.Server):
    """Takes connections in, at most `most` of them, and lets `handler` answer.

    `reserve` is how many open files it leaves free. A `handler` says by `received` when it has read a whole request.
    """

    def __init__(self, handler: Handler, *, most: int, reserve: int = 0) -> None:
        super().__init__(self._answer, access_log=None, logger=_LOG, lingering_time=_LINGER_SECONDS)
        self._handler = handler
        self._most, self._reserve = most, reserve
        self._guests: dict[web.RequestHandler, _Guest] = {}
        self._clock = asyncio.get_running_loop().time
        self.others: Port | None = None
        """The port that is to make room first when files run out."""

    async def accept(self, listener: socket.socket, tls: ssl.SSLContext | None) -> None:
        """Take connections in, one after the other, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                found, _ = await loop.sock_accept(listener)
            except OSError as error:  # otherwise the caller has gone again
                none_left = error.errno in {errno.EMFILE, errno.ENFILE}
                await asyncio.sleep(0 if none_left and self._freed() else _RETRY_SECONDS)
                continue
            if self._is_full(found) and not self.make_room():
                found.close()
            else:
                guest = _Guest(handler=self(), since=self._clock())
                self._guests[guest.handler] = guest
                guest.entry = asyncio.create_task(self._enter(guest, found, tls))
            if self.others is not None and found.fileno() >= _files() - _NEEDED:
                for _ in range(_NEEDED):  # what the caller asks for needs files too
                    self.others.make_room()
            await asyncio.sleep(0)  # what was cut is closed, and whoever is here already has a turn

    async def sweep(self) -> None:
        """Cut, until cancelled, those who let this port wait too long, and more if the reserve of files is used up."""
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            if self._reserve and _lowest_free() >= _files() - self._reserve // 2:
                for _ in range(_NEEDED):
                    self.make_room()
            now = self._clock()
            for guest in list(self._guests.values()):
                if not guest.busy and now - guest.since > (_IDLE_SECONDS if guest.welcome else _FIRST_SECONDS):
                    self._cut(guest)

    def make_room(self) -> bool:
        """Cut the connection that lets this port wait longest, first of those never answered; false if none does."""
        waiting = (guest for guest in self._guests.values() if not guest.busy)
        guest = min(waiting, key=lambda one: (one.welcome, one.since), default=None)
        if guest is None:
            return False
        self._cut(guest)
        return True

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        """Forget a connection."""
        super().connection_lost(handler, exc)
        self._guests.pop(handler, None)

    def _cut(self, guest: _Guest) -> None:
        del self._guests[guest.handler]
        guest.cut()

    def _is_full(self, found: socket.socket) -> bool:
        """Tell whether there is no place for one more. The number of a new file is the lowest that is free."""
        # each of those here may need another file, to the signer
        short = self._reserve and found.fileno() + len(self._guests) >= _files() - self._reserve
        return bool(short) or len(self._guests) >= self._most

    def _freed(self) -> bool:
        return (self.others is not None and self.others.make_room()) or self.make_room()

    async def _enter(self, guest: _Guest, found: socket.socket, tls: ssl.SSLContext | None) -> None:
        seconds = _HANDSHAKE_SECONDS if tls else None
        try:
            guest.transport, _ = await asyncio.get_running_loop().connect_accepted_socket(
                lambda: guest.handler, found, ssl=tls, ssl_handshake_timeout=seconds
            )
        except (OSError, asyncio.CancelledError):  # TimeoutError and ssl.SSLError are of the first
            found.close()
            self._guests.pop(guest.handler, None)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        guest = self._guests.get(request.protocol) or _Guest(handler=request.protocol, since=self._clock())
        guest.since = self._clock()
        token = _GUEST.set(guest)
        try:
            answer = await self._handler(request)
            guest.welcome = answer.status not in _STRANGERS
            return answer
        finally:
            _GUEST.reset(token)
            guest.busy, guest.since = False, self._clock()


def _files() -> int:
    """Return how many files this process may have open; the limit can be set from outside at any time."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if allowed == resource.RLIM_INFINITY else allowed


def _lowest_free() -> int:
    """Return the number that the next open file would have."""
    try:
        number = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return sys.maxsize
    os.close(number)
    return number


@asynccontextmanager
async def serving(name: str, port: Port, address: tuple[str, int], tls: ssl.SSLContext | None) -> AsyncIterator[str]:
    """Serve a port for the length of a block, which gets its URL; raises StopsignError when it cannot be had."""
    host = address[0]
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server(address, family=family, backlog=_BACKLOG)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
        where = f"{host}:{address[1]}"
        raise StopsignError(f"{where} cannot be listened on ({reason}): is something else there?") from None
    listener.setblocking(False)
    runner = web.ServerRunner(port, shutdown_timeout=_GRACE_SECONDS)
    await runner.setup()
    tasks = [asyncio.create_task(port.accept(listener, tls)), asyncio.create_task(port.sweep())]
    try:
        url = f"http{'s' if tls else ''}://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"
        _LOG.info("the %s port is %s", name, url)
        yield url
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        listener.close()
        await runner.cleanup()


def open_files(connections: int) -> None:
    """Let this process open as many files as it may; says so in the log when that is less than it may need."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    allowed = _files()
    needed = 2 * connections + CONTROL_CONNECTIONS + RESERVE
    if allowed < needed:
        _LOG.warning(
            "only %d files may be open, %d are needed for %d connections: fewer will be taken in. Raise LimitNOFILE",
            allowed,
            needed,
            connections,
        )
