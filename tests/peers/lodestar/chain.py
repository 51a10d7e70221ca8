"""A dev chain of the real Lodestar on this machine: one beacon node, and validator clients with keys of their own.

Installed once by npm, exactly as the lock file says, into a folder of the user's cache. One slot takes a second, an
epoch eight (preset `minimal`); in each epoch every key attests once, and in each slot it signs for the sync committee.
"""

import asyncio
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from bench.servers import free_port
from tests.conformance.node import environment, program
from tests.conftest import need
from tests.processes import Running

HERE = Path(__file__).parent
VERSION = "Lodestar 1.5.1"
EPOCH = timedelta(seconds=8)
INSTALL_SECONDS = 300
READY_SECONDS = 60.0
HEAD_STARTS = (12, 40, 120)
"""Seconds from the start to genesis, tried in turn: a chain whose first eight slots are missed stands still."""
LATEST = 3.0
"""So many seconds after genesis the beacon node must be there."""
VALIDATORS = 24
HELD = 5
"""So many of the validators are held by the clients and the remote signer; the others keep the chain going."""
PARAMETERS = "SECONDS_PER_SLOT: 1\nALTAIR_FORK_EPOCH: 0\n"


def installed() -> Path:
    """Return the folder of Lodestar, filled once for each lock file: `node_modules`, and `dump` with keystores."""
    program("node")
    npm = program("npm")
    lock = (HERE / "package-lock.json").read_bytes()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "stopsign"
    folder = cache / f"lodestar-{hashlib.sha256(lock).hexdigest()[:16]}"
    folder.mkdir(parents=True, exist_ok=True)
    with (cache / ".lodestar.lock").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)  # another test session may be installing
        if not (folder / ".complete").exists():
            for name in ("package.json", "package-lock.json"):
                shutil.copyfile(HERE / name, folder / name)
            _npm_ci(npm, folder)
            _dump(folder)
            (folder / ".complete").touch()
    return folder


def _npm_ci(npm: str, folder: Path) -> None:
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_SECONDS)
        need(done.returncode != 0, f"what `npm ci` installs of Lodestar ({done.stderr.strip()[-300:]})")
    except subprocess.TimeoutExpired:
        need(True, f"Lodestar, which `npm ci` did not install within {INSTALL_SECONDS} s,")


def _dump(folder: Path) -> None:
    """Let Lodestar write the keystores of the first validators of any dev chain: their keys are always the same."""
    (folder / "parameters.yaml").write_text(PARAMETERS)
    words = ("dev", "--dumpTestnetFiles", "dump", "--genesisValidators", str(HELD))
    command = [program("node"), "node_modules/.bin/lodestar", *words, "--paramsFile", "parameters.yaml"]
    done = subprocess.run(command, cwd=folder, env=_environment(), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def _environment() -> dict[str, str]:
    return {**environment(), "NODE_BACKEND": "js", "LODESTAR_PRESET": "minimal"}


@dataclass(frozen=True, kw_only=True)
class Client:
    """One validator client that runs, with the keys it was started with."""

    name: str
    keys: tuple[str, ...]
    api: str
    metrics: str
    folder: Path
    escrow: Path

    @property
    def token_file(self) -> Path:
        """Return where the bearer token of its Keymanager API stands."""
        return self.folder / "validator-db" / "api-token.txt"

    @property
    def token(self) -> str:
        """Return the bearer token of its Keymanager API."""
        return self.token_file.read_text().strip()

    async def listed(self) -> set[str]:
        """Return the keys that the client itself lists."""
        async with _http(headers={"Authorization": f"Bearer {self.token}"}) as client:
            answer = (await client.get(f"{self.api}/eth/v1/keystores")).raise_for_status().json()
        return {one["validating_pubkey"] for one in answer["data"]}


@dataclass(frozen=True, kw_only=True)
class RemoteSigner:
    """A signer behind a validator client, which holds keys that no client has on disk."""

    url: str
    keys: tuple[str, ...]

    async def signed(self) -> int:
        """Return how many signatures it has made."""
        async with _http() as client:
            return int((await client.get(f"{self.url}/signed")).json()["signed"])


@dataclass(frozen=True, kw_only=True)
class Chain:
    """What runs."""

    beacon: str
    clients: Mapping[str, Client]
    signer: RemoteSigner

    async def slot(self) -> int:
        """Return the slot of the head."""
        return int((await self._get("/eth/v1/beacon/headers/head"))["header"]["message"]["slot"])

    async def proposers(self, slots: Sequence[int]) -> set[int]:
        """Return the indices of the validators that proposed the blocks of these slots."""
        found: set[int] = set()
        for slot in slots:
            for block in await self._get(f"/eth/v1/beacon/headers?slot={slot}"):
                found.add(int(block["header"]["message"]["proposer_index"]))
        return found

    async def indices(self, keys: Sequence[str]) -> set[int]:
        """Return the validators' indices."""
        query = "&".join(f"id={key}" for key in keys)
        return {int(one["index"]) for one in await self._get(f"/eth/v1/beacon/states/head/validators?{query}")}

    async def _get(self, path: str) -> Any:
        async with _http() as client:
            return (await client.get(self.beacon + path)).raise_for_status().json()["data"]


@asynccontextmanager
async def running_chain(folder: Path, clients: Mapping[str, int], *, remote: int) -> AsyncIterator[Chain]:
    """Run a beacon node, validator clients with so many keys each, and a remote signer with `remote` more keys.

    The chain's other validators sign in the beacon node's process, so that it goes on whatever the clients do.
    """
    assert sum(clients.values()) + remote == HELD
    programs = await asyncio.to_thread(installed)
    for head_start in HEAD_STARTS:
        with ExitStack() as stack:
            lodestar = _Lodestar(programs, folder / f"after-{head_start}", stack)
            genesis = int(time.time()) + head_start
            beacon = await lodestar.beacon(genesis)
            if time.time() < genesis + LATEST:
                yield await lodestar.run(beacon, clients, remote)
                return
    pytest.fail(f"a beacon node takes more than {HEAD_STARTS[-1]} s to start here")


class _Lodestar:
    """Starts the programs, each with its output in the folder. Each is killed in the end: it has nothing to lose."""

    def __init__(self, programs: Path, folder: Path, stack: ExitStack) -> None:
        folder.mkdir()
        (folder / "parameters.yaml").write_text(PARAMETERS)
        self._programs = programs
        self._folder = folder
        self._stack = stack

    async def run(self, beacon: str, clients: Mapping[str, int], remote: int) -> Chain:
        """Start everything but the beacon node, and return when all of it answers."""
        signer = await self._remote_signer(range(HELD - remote, HELD))
        keys = sorted(path.name for path in (self._programs / "dump" / "keystores").iterdir())
        free = iter([key for key in keys if key not in signer.keys])
        chosen = {name: tuple(next(free) for _ in range(held)) for name, held in clients.items()}
        started = [self._client(name, held, beacon) for name, held in chosen.items()]
        for process, client in started:
            await _until(process, client.token_file.exists)
            await _until_answers(process, f"{client.api}/eth/v1/keystores", token=client.token)
        return Chain(beacon=beacon, clients={client.name: client for _, client in started}, signer=signer)

    def _start(self, name: str, script: Path, *words: str) -> Running:
        path = self._folder / f"{name}.log"
        with path.open("ab") as log:
            process = subprocess.Popen(
                [program("node"), str(script), *words],
                cwd=self._folder,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self._stack.enter_context(_ended(Running(name=name, process=process, log=path)))

    @property
    def _lodestar(self) -> Path:
        return self._programs / "node_modules" / ".bin" / "lodestar"

    async def beacon(self, genesis: int) -> str:
        """Start the beacon node with the validators that nobody else holds, and return its URL when it answers."""
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        process = self._start(
            "beacon",
            self._lodestar,
            *("dev", "--genesisValidators", str(VALIDATORS), "--genesisTime", str(genesis)),
            *("--paramsFile", "parameters.yaml", "--dataDir", "beacon", "--logFile", "none"),
            *("--rest.address", "127.0.0.1", "--rest.port", str(port)),
            *("--listenAddress", "127.0.0.1", "--port", str(free_port()), "--discv5", "false"),
            *("--startValidators", f"{HELD}..{VALIDATORS - 1}", "--server", url),
        )
        await _until_answers(process, f"{url}/eth/v1/node/version")
        return url

    def _client(self, name: str, keys: Sequence[str], beacon: str) -> tuple[Running, Client]:
        """Start a validator client with `keys`, whose keystores and passwords are also put into its escrow."""
        data, escrow, dump = self._folder / name, self._folder / f"escrow-{name}", self._programs / "dump"
        escrow.mkdir()
        for key in keys:
            shutil.copytree(dump / "keystores" / key, data / "keystores" / key)
            (data / "secrets").mkdir(exist_ok=True)
            shutil.copyfile(dump / "secrets" / key, data / "secrets" / key)
            shutil.copyfile(dump / "keystores" / key / "voting-keystore.json", escrow / f"{key}.json")
            shutil.copyfile(dump / "secrets" / key, escrow / f"{key}.txt")
        api, metrics = free_port(), free_port()
        process = self._start(
            name,
            self._lodestar,
            *("validator", "--network", "dev", "--paramsFile", "parameters.yaml", "--dataDir", name),
            *("--server", beacon, "--logFile", "none"),
            *("--keymanager", "--keymanager.address", "127.0.0.1", "--keymanager.port", str(api)),
            *("--metrics", "--metrics.address", "127.0.0.1", "--metrics.port", str(metrics)),
        )
        return process, Client(
            name=name,
            keys=tuple(keys),
            api=f"http://127.0.0.1:{api}",
            metrics=f"http://127.0.0.1:{metrics}",
            folder=data,
            escrow=escrow,
        )

    async def _remote_signer(self, indices: Sequence[int]) -> RemoteSigner:
        """Start the remote signer with the keys of these validators."""
        words = (str(self._programs / "node_modules"), *map(str, indices))
        process = self._start("remote-signer", HERE / "remote_signer.mjs", *words)
        await _until(process, lambda: '{"port"' in process.tail)
        said = json.loads(next(line for line in process.tail.splitlines() if line.startswith('{"port"')))
        return RemoteSigner(url=f"http://127.0.0.1:{said['port']}", keys=tuple(said["keys"]))


@contextmanager
def _ended(process: Running) -> Iterator[Running]:
    try:
        yield process
    finally:
        process.kill()


def _http(**more: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(trust_env=False, timeout=5, **more)


async def _until(process: Running, holds: Callable[[], bool]) -> None:
    end = time.monotonic() + READY_SECONDS
    while not holds():
        if process.process.poll() is not None or time.monotonic() > end:
            pytest.fail(f"{process.name} is not ready, exit {process.process.poll()}:\n{process.tail}")
        await asyncio.sleep(0.1)


async def _until_answers(process: Running, url: str, *, token: str = "") -> None:
    end = time.monotonic() + READY_SECONDS
    async with _http(headers={"Authorization": f"Bearer {token}"} if token else {}) as client:
        while process.process.poll() is None and time.monotonic() < end:
            try:
                if (await client.get(url)).is_success:
                    return
            except httpx.HTTPError:
                pass
            await asyncio.sleep(0.1)
    pytest.fail(f"{process.name} does not answer, exit {process.process.poll()}:\n{process.tail}")
