"""A real HAProxy with the configuration of docs/gates.md, and a proxy to its runtime API that can misbehave."""

import asyncio
import contextlib
import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.conftest import need
from tests.drivers.contract import Character
from tests.drivers.gates import guide, put_in

PROGRAM = shutil.which("haproxy") or "/usr/sbin/haproxy"


@dataclass
class Haproxy:
    """A running HAProxy: where its frontends listen, where its runtime API is, and what its maps are called."""

    folder: Path
    signer: str
    rpc: str
    raw: str
    admin: str
    tcp: str
    user: str
    process: "subprocess.Popen[bytes] | None" = None
    ears: tuple[socket.socket, ...] = ()
    config: str = ""

    @property
    def denied(self) -> str:
        """Return the map of denied keys."""
        return str(self.folder / "denied.map")

    @property
    def limits(self) -> str:
        """Return the map of limits."""
        return str(self.folder / "limits.map")

    async def start(self) -> None:
        """Start the program on the same addresses; what its runtime API had set is gone."""
        (self.folder / "haproxy.cfg").write_text(self.config)
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [PROGRAM, "-db", "-f", str(self.folder / "haproxy.cfg")],
                pass_fds=[ear.fileno() for ear in self.ears],
                stdout=log,
                stderr=log,
            )
        for _ in range(500):
            assert self.process.poll() is None, (self.folder / "log").read_text()
            with contextlib.suppress(OSError):
                if "Name: HAProxy" in await self.runtime("show info"):
                    return
            await asyncio.sleep(0.01)
        raise AssertionError((self.folder / "log").read_text())

    def stop(self) -> None:
        """End the program."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    async def runtime(self, command: str) -> str:
        """Ask the runtime API, past any driver."""
        reader, writer = await asyncio.open_unix_connection(self.admin.removeprefix("unix:"))
        writer.write(command.encode() + b"\n")
        answer = await reader.read(-1)
        writer.close()
        return answer.decode()


def _ear() -> socket.socket:
    ear = socket.socket()
    ear.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    ear.bind(("127.0.0.1", 0))
    ear.listen(128)
    return ear


def _at(ear: socket.socket) -> str:
    return f"127.0.0.1:{ear.getsockname()[1]}"


@asynccontextmanager
async def haproxy(port: int, *, spoiled: dict[str, str] | None = None) -> AsyncIterator[Haproxy]:
    """Yield a HAProxy before the signer at `port`; `spoiled` are changes that make its configuration a wrong one."""
    need(not Path(PROGRAM).exists(), "haproxy")
    folder = Path(tempfile.mkdtemp(prefix="gate-"))
    ears = tuple(_ear() for _ in range(4))
    signer, rpc, raw, tcp = ears
    admin, user = folder / "admin.sock", folder / "user.sock"
    places = {
        "    stats socket /run/haproxy/stopsign.sock mode 660 level admin\n": (
            f"    stats socket {admin} mode 660 level admin\n"
            f"    stats socket fd@{tcp.fileno()} level admin\n"
            f"    stats socket {user} mode 660 level user\n"
        ),
        "bind 10.0.0.5:9000": f"bind fd@{signer.fileno()}",
        "bind 10.0.0.5:8545": f"bind fd@{rpc.fileno()}",
        "bind 10.0.0.5:9100": f"bind fd@{raw.fileno()}",
        "10.0.0.7:9000": f"127.0.0.1:{port}",
        "10.0.0.7:8545": f"127.0.0.1:{port}",
        "10.0.0.8:8545": f"127.0.0.1:{port}",
        "/etc/haproxy/stopsign-denied.map": str(folder / "denied.map"),
        "/etc/haproxy/stopsign-limits.map": str(folder / "limits.map"),
    }
    it = Haproxy(
        folder=folder,
        signer=f"http://{_at(signer)}",
        rpc=f"http://{_at(rpc)}",
        raw=f"http://{_at(raw)}",
        admin=f"unix:{admin}",
        tcp=f"tcp://{_at(tcp)}",
        user=f"unix:{user}",
        ears=ears,
        config=put_in(put_in(guide("haproxy"), places), spoiled or {}),
    )
    Path(it.denied).touch()
    Path(it.limits).write_text("n1 1000000\n")
    try:
        await it.start()
        yield it
    finally:
        it.stop()
        for ear in ears:
            ear.close()
        shutil.rmtree(folder)


@dataclass
class Bent:
    """A proxy to a runtime API; `orders` are those that reached it, one a command."""

    character: Character
    peer: str
    delay: float
    url: str = ""
    orders: list[str] = field(default_factory=list)
    tasks: set["asyncio.Task[None]"] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one request as the character would."""
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        try:
            request = (await reader.readline()).decode()
            if request.rstrip().endswith("<<"):
                while line := (await reader.readline()).decode().strip("\n"):
                    request += line + "\n"
                request += "\n"
            answer = await self._answer(request)
            if answer is None:
                await reader.read()
            else:
                writer.write(answer)
                await writer.drain()
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            self.tasks.discard(task)

    async def _answer(self, request: str) -> bytes | None:
        head, *payload = request.rstrip("\n").split("\n")
        orders = [one for one in head.split("; ") if not one.startswith("show ")]
        self.orders += orders
        match self.character:
            case Character.SILENT:
                return None
            case Character.ERRORING:
                return b"HTTP/1.0 500 Internal Server Error\r\n\r\n"
            case Character.UNAUTHORISED:
                return b"Permission denied\n\n"
            case Character.LYING if orders:
                return b"\n" * len(orders)
            case Character.HALF if len(self.orders) % 2 and len(payload) + len(orders) <= 2:
                pass  # the first of two orders that come one by one
            case Character.HALF if payload:
                await self._passed("\n".join([head, *payload[: len(payload) // 2], "", ""]))
                return b"\n"
            case Character.HALF if orders:
                await self._passed("; ".join(orders[: len(orders) // 2]) + "\n")
                return b"\n" * len(orders)
        answer = await self._passed(request)
        if self.character is Character.SLOW:
            await asyncio.sleep(self.delay)
        return answer

    async def _passed(self, request: str) -> bytes:
        reader, writer = await asyncio.open_unix_connection(self.peer.removeprefix("unix:"))
        writer.write(request.encode())
        answer = await reader.read(-1)
        writer.close()
        return answer


@asynccontextmanager
async def bent(character: Character, peer: str, *, delay: float = 2.0) -> AsyncIterator[Bent]:
    """Yield a proxy to the runtime API `peer` (unix:/path); DOWN closes its port at once."""
    it = Bent(character, peer, delay)
    server = await asyncio.start_server(it.serve, "127.0.0.1", 0)
    it.url = f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    if character is Character.DOWN:
        server.close()
        await server.wait_closed()
    try:
        yield it
    finally:
        server.close()
        for task in list(it.tasks):
            task.cancel()
        await asyncio.gather(*it.tasks, return_exceptions=True)
