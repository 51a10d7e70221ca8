"""Real processes for tests: each on free loopback ports, its output in a file, ended by its process id.

What waits for a process says what it waited for, and shows the end of the process's log.
"""

import asyncio
import json
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from bench.servers import free_port
from bot.practice.fleet import default_fleet, inventory_yaml, write_escrow
from bot.store import database as db
from tests.conftest import need

Json = dict[str, Any]
STOPSIGN = (sys.executable, "-m", "bot.cli.run")
ROOT = Path(__file__).parents[1]
WEBHOOK_TOKEN = "token-of-the-webhook"
READY_SECONDS = 40.0
LOG_TAIL = 3000
PEOPLE: tuple[Json, ...] = (
    {"id": "U0ADA", "name": "ada", "real_name": "Ada"},
    {"id": "U0BO", "name": "bo", "real_name": "Bo"},
)


def program(name: str) -> str:
    """Return a peer's path; without it the test is skipped, in CI it fails."""
    path = shutil.which(name)
    need(path is None, name)
    return path or name


def free_block(count: int) -> int:
    """Return a port below the ephemeral range after which `count` ports were free a moment ago."""
    for _ in range(200):
        base = random.randrange(20000, 32000 - count)
        if all(_free(port) for port in range(base + 1, base + 1 + count)):
            return base
    raise OSError(f"no {count} free ports in a row on 127.0.0.1")


def _free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def clean_environment(**more: str) -> dict[str, str]:
    """Return this process's environment without any setting of Stopsign or Slack, and with `more`."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("STOPSIGN_", "SLACK_"))}
    return {**inherited, **more}


@dataclass(frozen=True, kw_only=True)
class Running:
    """One process with its log."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def tail(self) -> str:
        """Return the end of what the process wrote."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-LOG_TAIL:]

    async def answers(self, url: str) -> None:
        """Wait until `url` answers with 2xx; fails with the log's end when the process dies or is too slow."""
        end = time.monotonic() + READY_SECONDS
        async with httpx.AsyncClient(trust_env=False, timeout=5) as client:
            while time.monotonic() < end:
                if self.process.poll() is not None:
                    pytest.fail(f"{self.name} ended with {self.process.returncode}:\n{self.tail}")
                try:
                    if (await client.get(url)).is_success:
                        return
                except httpx.HTTPError:
                    pass
                await asyncio.sleep(0.05)
        pytest.fail(f"{self.name}: {url} did not answer within {READY_SECONDS:.0f} s:\n{self.tail}")

    def kill(self) -> None:
        """End the process as a power cut would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(timeout=10)

    async def stop(self) -> None:
        """End the process in order; kill it when it does not end."""
        self.process.terminate()
        try:
            await asyncio.to_thread(self.process.wait, 10)
        except subprocess.TimeoutExpired:
            self.kill()


def start(name: str, command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None) -> Running:
    """Start a process whose output goes to `folder`; it is the caller's to end."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.log"
    with path.open("ab") as log:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=dict(environment or clean_environment()),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    return Running(name=name, process=process, log=path)


@asynccontextmanager
async def running(
    name: str, command: Sequence[str], folder: Path, *, ready: str, environment: Mapping[str, str] | None = None
) -> AsyncIterator[Running]:
    """Run a process for the length of a block, which begins when `ready` answers."""
    process = start(name, command, folder, environment)
    try:
        await process.answers(ready)
        yield process
    finally:
        await process.stop()


# ---- the practice fleet


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """A practice fleet that runs: what its nodes really do, and mischief."""

    base: int
    control: str

    async def truth(self, node: str) -> Json:
        """Return what is really so on a node."""
        told = await self._call("GET", "truth")
        found: Json = told["nodes"][node]
        return found

    async def act(self, what: str, **body: object) -> None:
        """Call the control API: equivocate, character, heal."""
        await self._call("POST", what, body)

    async def signs(self, node: str, *, seconds: float = 2.5) -> bool:
        """Watch a node for more than two duties; tell whether it signed anything."""
        before = await self.truth(node)
        await asyncio.sleep(seconds)
        after = await self.truth(node)
        return any(after["keys"][key]["total"] > held["total"] for key, held in before["keys"].items())

    async def _call(self, method: str, what: str, body: object = None) -> Json:
        async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
            answer = await client.request(method, f"{self.control}/{what}", json=body)
            told: Json = answer.raise_for_status().json()
            return told


@asynccontextmanager
async def fleet(folder: Path) -> AsyncIterator[Fleet]:
    """Run the practice fleet of `default_fleet()` on free ports."""
    base, control = free_block(len(default_fleet().nodes)), free_port()
    command = (sys.executable, "-m", "bot.practice.fleet", "--base-port", str(base), "--control-port", str(control))
    url = f"http://127.0.0.1:{control}"
    async with running("fleet", command, folder, ready=f"{url}/truth"):
        yield Fleet(base=base, control=url)


# ---- the bot


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a command answered."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Return what it printed for scripts."""
        return json.loads(self.out)


@dataclass(frozen=True, kw_only=True)
class Bot:
    """An operator's folder and the address at which a bot may serve it."""

    home: Path
    port: int
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Return the bot's base URL."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> Mapping[str, str]:
        """Return the environment of the bot and of the command beside it."""
        return clean_environment(
            STOPSIGN_HOME=str(self.home),
            STOPSIGN_PORT=str(self.port),
            STOPSIGN_PUBLIC_URL=self.url,
            STOPSIGN_WEBHOOK_TOKEN=WEBHOOK_TOKEN,
            STOPSIGN_LOG_LEVEL="info",
            STOPSIGN_PRACTICE_NODE_TOKEN=default_fleet().token,
            **self.settings,
        )

    def start(self) -> Running:
        """Start `stopsign serve`; it is the caller's to end."""
        return start("bot", (*STOPSIGN, "serve"), self.home, self.environment)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Running]:
        """Run `stopsign serve` for the length of a block."""
        ready = f"{self.url}/readyz"
        async with running("bot", (*STOPSIGN, "serve"), self.home, ready=ready, environment=self.environment) as bot:
            yield bot

    async def command(self, *words: str, **more: str) -> Told:
        """Run `stopsign WORDS…` to its end, with `more` in its environment."""
        process = await asyncio.create_subprocess_exec(
            *(*STOPSIGN, *words),
            cwd=ROOT,
            env={**self.environment, "COLUMNS": "80", "NO_COLOR": "1", **more},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            said, complained = await asyncio.wait_for(process.communicate(), 120)
        except TimeoutError:
            process.kill()
            await process.wait()
            pytest.fail(f"stopsign {' '.join(words)} did not end within two minutes")
        return Told(code=process.returncode or 0, out=said.decode(), err=complained.decode())

    async def did(self, *words: str) -> str:
        """Run `stopsign WORDS…`, which must succeed; return what it printed."""
        told = await self.command(*words)
        assert told.code == 0, f"stopsign {' '.join(words)}: exit {told.code}\n{told.out}\n{told.err}"
        return told.out

    async def token(self, person: str = "ada") -> str:
        """Issue an API token as an operator does."""
        return (await self.did("token", "issue", person)).split()[0]

    @asynccontextmanager
    async def api(self) -> AsyncIterator[httpx.AsyncClient]:
        """Return a client of the bot's API that carries a token of Ada's."""
        headers = {"Authorization": f"Bearer {await self.token()}"}
        async with httpx.AsyncClient(base_url=self.url, headers=headers, trust_env=False, timeout=10) as client:
            yield client

    def entitle(self, person: str) -> None:
        """Write team.yaml so that the login of this machine's user is `person`'s and nobody else's."""
        login = pwd.getpwuid(os.getuid()).pw_name
        write_team(self.home, logins={person: login})


def write_bot(home: Path, *, fleet_base: int, **settings: str) -> Bot:
    """Write an operator's folder for the practice fleet at `fleet_base`, with a database; Ada is at the keyboard.

    `settings` are further variables of the bot's environment.
    """
    home.mkdir(parents=True, exist_ok=True)
    spec, escrow = default_fleet(), home / "escrow"
    write_escrow(spec, escrow)
    inventory = inventory_yaml(spec, base_port=fleet_base, escrow=escrow)
    (home / "inventory.yaml").write_text(inventory, encoding="utf-8")
    (home / "policy.yaml").write_text(yaml.safe_dump({"reprove_every": "5s"}), encoding="utf-8")
    db.migrate(f"sqlite:///{home / 'stopsign.db'}")
    bot = Bot(home=home, port=free_port(), settings=settings)
    bot.entitle("ada")
    return bot


def write_team(home: Path, *, logins: Mapping[str, str]) -> None:
    """Write team.yaml: everybody of PEOPLE may do everything and is on call; `logins` by person."""
    people = [
        {"id": p["name"], "name": p["real_name"], "slack": p["id"], "powers": ["lead"]}
        | ({"login": logins[p["name"]]} if p["name"] in logins else {})
        for p in PEOPLE
    ]
    names = [p["name"] for p in PEOPLE]
    shift = {"from": "mon 00:00", "to": "mon 00:00", "people": names, "roles": {"ic": "ada", "comms": "bo"}}
    team = {"timezone": "UTC", "people": people, "shifts": [shift]}
    (home / "team.yaml").write_text(yaml.safe_dump(team, sort_keys=False), encoding="utf-8")


# ---- Slack, Prometheus, Alertmanager


@asynccontextmanager
async def workspace(folder: Path, bot: Bot) -> AsyncIterator[str]:
    """Run the practice workspace that `bot` talks to by its settings; yields its base URL."""
    people = folder / "people.json"
    people.write_text(json.dumps(PEOPLE), encoding="utf-8")
    url = bot.settings["SLACK_API_URL"].removesuffix("/api/")
    command = (
        *(sys.executable, "-m", "bot.practice.workspace", "--port", url.rpartition(":")[2]),
        *("--people", str(people), "--bot-url", f"{bot.url}/slack/events"),
    )
    ready = f"{url}/practice/state"
    async with running("workspace", command, folder, ready=ready, environment=bot.environment):
        yield url


def slack_settings() -> dict[str, str]:
    """Return the settings by which bot and workspace find and trust each other."""
    return {
        "SLACK_BOT_TOKEN": "xoxb-practice",
        "SLACK_SIGNING_SECRET": "practice-signing-secret",
        "SLACK_API_URL": f"http://127.0.0.1:{free_port()}/api/",
    }


@asynccontextmanager
async def alertmanager(folder: Path, config: str) -> AsyncIterator[str]:
    """Run a real Alertmanager with `config` (YAML text); yields its base URL."""
    binary = program("prometheus-alertmanager")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "alertmanager.yml"
    path.write_text(config, encoding="utf-8")
    url = f"http://127.0.0.1:{free_port()}"
    command = (
        *(binary, f"--config.file={path}", f"--storage.path={folder / 'alertmanager'}"),
        *(f"--web.listen-address={url.removeprefix('http://')}", "--cluster.listen-address="),
    )
    async with running("alertmanager", command, folder, ready=f"{url}/-/ready"):
        yield url


@asynccontextmanager
async def prometheus(folder: Path, config: Json) -> AsyncIterator[str]:
    """Run a real Prometheus with `config`; yields its base URL."""
    binary = program("prometheus")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    url = f"http://127.0.0.1:{free_port()}"
    command = (
        *(binary, f"--config.file={path}", f"--storage.tsdb.path={folder / 'prometheus'}"),
        f"--web.listen-address={url.removeprefix('http://')}",
    )
    async with running("prometheus", command, folder, ready=f"{url}/-/ready"):
        yield url
