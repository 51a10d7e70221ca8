"""A sidecar between a signer and whoever asks, all of it on loopback and in this process, or the sidecar in its own."""

import asyncio
import json
import resource
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import httpx
from aiohttp import web

from bench.servers import free_port
from bot.domain.inventory import Capability, Endpoint, Node
from bot.nodes import sidecar as driver_module
from bot.nodes.reach import Reach
from bot.nodes.sidecar import Sidecar as Driver
from bot.sidecar.denials import Denials
from bot.sidecar.gate import Gate
from bot.sidecar.options import Options, checked
from bot.sidecar.options import Tls as Tls
from bot.sidecar.place import make
from bot.sidecar.run import opened
from tests.processes import Running, start
from tests.sidecar.signer import FakeKey, Signer, interop

TOKEN = "a-token-of-the-tests"
KEYS = tuple(FakeKey(interop(index)).public for index in range(4))
ACCEPTED = {"Content-Type": "application/json", "Accept": "application/json"}


def root_of(number: int) -> str:
    """Return a signing root."""
    return f"0x{number:064x}"


def attestation(number: int, root: str | None = None) -> bytes:
    """Return a request to sign an attestation of slot 32 × `number`, target `number`, as clients write it."""
    return json.dumps(
        {
            "type": "ATTESTATION",
            "fork_info": {"fork": {}, "genesis_validators_root": root_of(0)},
            "signingRoot": root or root_of(number),
            "attestation": {
                "slot": str(32 * number),
                "index": "0",
                "beacon_block_root": root_of(1),
                "source": {"epoch": str(max(0, number - 1)), "root": root_of(1)},
                "target": {"epoch": str(number), "root": root_of(1)},
            },
        }
    ).encode()


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a validator client got: status 0 stands for a connection that ended without an answer."""

    status: int
    body: bytes
    at: float


@dataclass(kw_only=True)
class Place:
    """A sidecar that serves, its signer (when that is in this process), and clients of both ports."""

    signing: str
    control: str
    session: aiohttp.ClientSession
    bot: httpx.AsyncClient
    signer: Signer
    data: Path
    upstream: str = ""
    asked: int = 0
    answers: list[tuple[str, Answer]] = field(default_factory=list)

    async def sign(self, key: str, body: bytes, *, base: str | None = None) -> Answer:
        """Ask for a signature as a validator client does."""
        url = f"{base or self.signing}/api/v1/eth2/sign/{key}"
        clock = asyncio.get_running_loop().time
        self.asked += 1
        try:
            async with self.session.post(url, data=body, headers=ACCEPTED) as told:
                content = await told.read()
                answer = Answer(status=told.status, body=content, at=clock())
        except (aiohttp.ClientError, OSError):
            answer = Answer(status=0, body=b"", at=clock())
        self.answers.append((key, answer))
        return answer

    async def call(self, method: str, path: str, **more: Any) -> httpx.Response:
        """Call the control port."""
        more.setdefault("headers", {"Authorization": f"Bearer {TOKEN}"})
        return await self.bot.request(method, self.control + path, **more)

    async def put(self, state: str, *keys: str, request: str = "r1", incident: str = "inc-7") -> httpx.Response:
        """Freeze or unfreeze."""
        body = {"state": state, "keys": list(keys), "incident": incident, "request": request}
        return await self.call("PUT", "/stopsign/v1/signing", json=body)

    async def key(self, key: str) -> dict[str, Any]:
        """Read one key's state."""
        told = (await self.call("GET", "/stopsign/v1/signing")).json()
        return next(one for one in told["keys"] if one["key"] == key)

    async def lines(self, which: str, **window: str) -> list[dict[str, Any]]:
        """Read messages or audit."""
        told = await self.call("GET", f"/stopsign/v1/{which}", params=window)
        assert told.status_code == 200
        return [json.loads(line) for line in told.text.splitlines()]

    @asynccontextmanager
    async def driver(self) -> AsyncIterator[Driver]:
        """Yield the bot's own driver for this sidecar."""
        endpoint = Endpoint(driver="sidecar", url=self.control, token="env:T", timeout=timedelta(seconds=5))
        node = Node(name="n", avs="ethereum", keys=KEYS, reach={Capability.SIGNER: endpoint})
        async with Reach(drivers={"sidecar": driver_module.connect}, secret=lambda _: TOKEN, clock=Clock()) as reach:
            made = reach.reach(node, Capability.SIGNER)
            assert isinstance(made, Driver)
            yield made


class Clock:
    """The clock of this machine."""

    def now(self) -> datetime:
        """Return the time."""
        return datetime.now(UTC)


def write_token(folder: Path) -> Path:
    """Write the control port's token into a file that only its owner reads."""
    path = folder / "token"
    path.write_text(TOKEN + "\n")
    path.chmod(0o600)
    return path


def options(folder: Path, upstream: str, **more: Any) -> Options:
    """Return options for a sidecar on free ports."""
    numbers = {"rotate_mib": 64.0, "keep_mib": 1024.0, "min_free_mib": 1.0, "upstream_timeout": 5.0}
    numbers |= {"record_timeout": 4.0, "drain": 0.5, "duty_period": 0.1, "connections": 512}
    chosen: dict[str, Any] = {
        "upstream": upstream,
        "listen": "127.0.0.1:0",
        "control": "127.0.0.1:0",
        "data": folder / "data",
        "token_file": write_token(folder),
        "passed": [],
        "allow_non_loopback": False,
        "upstream_tls": Tls(),
        "listen_tls": Tls(),
        "node": "n",
        "avs": "ethereum",
        "when_full": "deny",
        "refuse_equivocation": False,
    }
    if not (folder / "data").exists():
        make(folder / "data")
    numbers |= {name: more.pop(name) for name in list(more) if name in numbers}
    return checked(**(chosen | more), numbers=numbers)


@asynccontextmanager
async def signing(signer: Signer) -> AsyncIterator[str]:
    """Serve a signer in this process."""
    runner = web.AppRunner(signer.app(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def fake_signer() -> Signer:
    """Return a signer that holds KEYS."""
    return Signer([FakeKey(interop(index)) for index in range(4)])


@asynccontextmanager
async def place(
    folder: Path, *, denials_of: type[Denials] = Denials, gate_of: type[Gate] = Gate, **more: Any
) -> AsyncIterator[Place]:
    """Yield a sidecar in this process, before a signer in this process."""
    signer = fake_signer()
    async with (
        signing(signer) as upstream,
        opened(options(folder, more.pop("upstream", upstream), **more), denials_of=denials_of, gate_of=gate_of) as it,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session,
        httpx.AsyncClient(trust_env=False, verify=False, timeout=10) as bot,
    ):
        await it.upstream.refresh(2)
        yield Place(
            signing=it.signing,
            control=it.control,
            session=session,
            bot=bot,
            signer=signer,
            data=folder / "data",
            upstream=upstream,
        )


@asynccontextmanager
async def client(
    signing_port: int, control_port: int, signer: Signer, data: Path, upstream: str
) -> AsyncIterator[Place]:
    """Yield the clients of a sidecar that runs in a process of its own."""
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session,
        httpx.AsyncClient(trust_env=False, verify=False, timeout=10) as bot,
    ):
        yield Place(
            signing=f"http://127.0.0.1:{signing_port}",
            control=f"http://127.0.0.1:{control_port}",
            session=session,
            bot=bot,
            signer=signer,
            data=data,
            upstream=upstream,
        )


@dataclass(frozen=True, kw_only=True)
class Program:
    """`python -m bot.sidecar` in a folder, on two ports that stay the same over restarts."""

    folder: Path
    upstream: str
    listen: int = field(default_factory=free_port)
    control: int = field(default_factory=free_port)

    def command(self, *more: str) -> Sequence[str]:
        """Return the command line."""
        return (
            *(sys.executable, "-m", "bot.sidecar", "--upstream", self.upstream),
            *("--listen", f"127.0.0.1:{self.listen}", "--control", f"127.0.0.1:{self.control}"),
            *("--data", str(self.folder / "data"), "--token-file", str(write_token(self.folder))),
            *("--min-free-mib", "1", "--node", "n", *more),
        )

    @asynccontextmanager
    async def running(self, *more: str) -> AsyncIterator[Running]:
        """Run it for the length of a block, unless the block ends it."""
        if not (self.folder / "data").exists():
            make(self.folder / "data")
        process = start("sidecar", self.command(*more), self.folder)
        try:
            await process.answers(f"http://127.0.0.1:{self.listen}/upcheck")
            yield process
        finally:
            if process.process.poll() is None:
                await process.stop()


def limit_files(process: Running, size: int) -> None:
    """Let no file of a process grow beyond `size` bytes: to it the disk is full."""
    resource.prlimit(process.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
