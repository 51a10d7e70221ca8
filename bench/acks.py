"""How soon Slack hears that the bot has understood: at rest, and while a freeze of 1,000 targets runs.

Slack gives up after three seconds. Signed slash commands and button presses go to the real bot process, one at a time
as people type and press; a practice workspace is its Slack. `python -m bench.acks PORT` serves the nodes.
"""

import asyncio
import hashlib
import hmac
import itertools
import json
import os
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
from aiohttp import web
from rich.progress import Progress

from bench import servers
from bot.chat import actions
from bot.chat.seals import Seals

TARGETS = 1_000
NODE_SECONDS = 0.02
"""A node answers after so long."""
AT_REST = 240
PAUSE = 0.03
"""Seconds between an answer and what is typed or pressed next."""
LONGEST = 240.0
"""Seconds after which a freeze that is not proven is measured as far as it came."""
BAR_MS = 500
KINDS = ("/incident list", "/incident ack", "a button")
SECRET = "signing-secret-of-the-bench"  # noqa: S105 - of servers that live for minutes on loopback
SLACK_TOKEN = "xoxb-bench"  # noqa: S105 - the same
TEAM, CHANNEL = "T0PRACTICE", "C0NOWHERE"
PEOPLE = [{"id": "U0ADA", "name": "ada", "real_name": "Ada"}, {"id": "U0BO", "name": "bo", "real_name": "Bo"}]
Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Acks:
    """Milliseconds to the acknowledgement, by kind of act: `rest`, and `busy` while the freeze ran for `seconds`."""

    rest: Mapping[str, list[float]]
    busy: Mapping[str, list[float]]
    seconds: float
    proven: int

    @property
    def p99(self) -> tuple[float, float]:
        """Return the p99 of all kinds together, at rest and while the freeze ran."""
        return percentile(self.rest, 99), percentile(self.busy, 99)


def percentile(times: Mapping[str, list[float]], percent: int) -> float:
    """Return a percentile over all kinds together."""
    every = [ms for kind in times.values() for ms in kind]
    return statistics.quantiles(every, n=100, method="inclusive")[percent - 1]


def rows(acks: Acks) -> Iterator[tuple[str, ...]]:
    """Yield the lines of the bench's table, one for each kind of act: p50 and p99, with the ratio of the p99."""
    for kind in KINDS:
        rest, busy = {kind: acks.rest[kind]}, {kind: acks.busy[kind]}
        told = [f"{percentile(times, 50):.0f} / {percentile(times, 99):.0f} ms" for times in (busy, rest)]
        ratio = percentile(busy, 99) / percentile(rest, 99)
        yield f"{kind}, p50 / p99, while freezing", told[0], f"{told[1]} at rest", f"{ratio:.1f}", "-", ""


@dataclass(slots=True)
class Person:
    """Ada at her keyboard: signs as Slack does and takes the time until the acknowledgement is there."""

    http: aiohttp.ClientSession
    url: str
    turn: Iterator[int] = field(default_factory=itertools.count)

    async def typed(self, text: str) -> tuple[float, str]:
        """Type `/incident text`; return the milliseconds and what came back."""
        form = {
            **self._act(),
            "command": "/incident",
            "text": text,
            "user_id": "U0ADA",
            "team_id": TEAM,
            "channel_id": CHANNEL,
            "channel_name": "general",
        }
        return await self._sent(urlencode(form).encode())

    async def pressed(self, action_id: str, value: str) -> tuple[float, str]:
        """Press a button that carries `value`."""
        action = {"type": "button", "action_id": action_id, "block_id": "b", "value": value, "action_ts": "1.0"}
        payload = {
            **self._act(),
            "type": "block_actions",
            "user": {"id": "U0ADA", "team_id": TEAM},
            "team": {"id": TEAM},
            "channel": {"id": CHANNEL, "name": "general"},
            "container": {"type": "message", "channel_id": CHANNEL, "message_ts": "1.0"},
            "actions": [action],
        }
        return await self._sent(urlencode({"payload": json.dumps(payload)}).encode())

    def _act(self) -> dict[str, str]:
        n = next(self.turn)
        # No address to answer by: what is measured is the acknowledgement, and the answer goes as a direct message.
        return {"trigger_id": f"bench.{n}", "api_app_id": "A0BENCH", "token": "bench", "response_url": ""}

    async def _sent(self, body: bytes) -> tuple[float, str]:
        stamp = str(int(time.time()))
        mac = hmac.new(SECRET.encode(), b"v0:" + stamp.encode() + b":" + body, hashlib.sha256).hexdigest()
        headers = {
            "content-type": "application/x-www-form-urlencoded",
            "x-slack-request-timestamp": stamp,
            "x-slack-signature": f"v0={mac}",
        }
        began = time.perf_counter()
        async with self.http.post(self.url, data=body, headers=headers) as answer:
            told = await answer.text()
            if answer.status != 200:
                raise RuntimeError(f"the bot answered {answer.status}: {told[:300]}")
        return (time.perf_counter() - began) * 1000, told


async def acknowledgements(folder: Path, progress: Progress) -> Acks:
    """Measure at rest, then have Ada freeze all nodes of one SEV-1 incident and measure until all are proven."""
    home, ports = folder / "acks", [servers.free_port() for _ in range(3)]
    with ExitStack() as running:
        running.enter_context(_nodes(ports[0]))
        servers.write_home(home, TARGETS, f"http://127.0.0.1:{ports[0]}")
        running.enter_context(_bot_and_slack(home, *ports[1:]))
        async with aiohttp.ClientSession() as http:
            ada = Person(http, f"http://127.0.0.1:{ports[1]}/slack/events")
            await ada.typed("declare SEV-1 two signatures for one slot")
            await _listed(ada, "inc-1")
            rest = await _rounds(ada, progress.add_task("acknowledgements at rest", total=AT_REST), progress)
            began = time.perf_counter()
            names = " ".join(f"node-{n}" for n in range(TARGETS))
            _, told = await ada.typed(f"freeze inc-1 {names} because two signatures")
            if "begins" not in told and "Working" not in told:
                raise RuntimeError(f"the freeze did not begin: {told[:300]}")
            frozen = Frozen(home / "stopsign.db")
            busy = await _while(ada, frozen, progress)
            return Acks(rest=rest, busy=busy, seconds=time.perf_counter() - began, proven=frozen.proven)


class Frozen:
    """Looks into the bot's database every two seconds: how many targets are proven?"""

    def __init__(self, database: Path) -> None:
        self._database = f"file:{database}?mode=ro"
        self.proven = 0

    async def watch(self) -> None:
        """Return once all are."""
        end = time.monotonic() + LONGEST
        while self.proven < TARGETS and time.monotonic() < end:
            await asyncio.sleep(2)
            with closing(sqlite3.connect(self._database, uri=True)) as reading:
                [body] = reading.execute("SELECT body FROM incident WHERE id = 1").fetchone()
            self.proven = body.count('"state":"verified"') + body.count('"state":"already"')


async def _rounds(ada: Person, task: Any, progress: Progress) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for n in range(AT_REST):
        await _one(ada, KINDS[n % len(KINDS)], times)
        progress.advance(task)
    return times


async def _while(ada: Person, frozen: Frozen, progress: Progress) -> dict[str, list[float]]:
    task = progress.add_task(f"acknowledgements while {TARGETS:,} targets freeze", total=TARGETS)
    times: dict[str, list[float]] = {kind: [] for kind in KINDS}
    over = asyncio.create_task(frozen.watch())
    for kind in itertools.cycle(KINDS):
        await _one(ada, kind, times)
        progress.update(task, completed=frozen.proven)
        if over.done():
            break
    await over
    return times


async def _one(ada: Person, kind: str, times: dict[str, list[float]]) -> None:
    if kind == "a button":
        value = Seals(SECRET).seal(actions.INCIDENT_ACK, "1")
        ms, _ = await ada.pressed(actions.INCIDENT_ACK, value)
    else:
        ms, _ = await ada.typed("list" if kind == "/incident list" else "ack inc-1")
    times[kind].append(ms)
    await asyncio.sleep(PAUSE)


async def _listed(ada: Person, words: str) -> None:
    """Wait until `list` says so: the first command has to find out who Ada is, and that her account is in order."""
    async with asyncio.timeout(20):
        while words not in (await ada.typed("list"))[1]:  # noqa: ASYNC110 - the bot is another process
            await asyncio.sleep(0.1)


# ---- the processes


@contextmanager
def _bot_and_slack(home: Path, bot: int, slack: int) -> Iterator[int]:
    """Run the bot with a practice workspace as its Slack; yields the bot's process id."""
    people = home / "people.json"
    people.write_text(json.dumps(PEOPLE), encoding="utf-8")
    environment = {
        "STOPSIGN_HOME": str(home),
        "STOPSIGN_PORT": str(bot),
        "STOPSIGN_WEBHOOK_TOKEN": servers.TOKEN,
        "STOPSIGN_LOG_LEVEL": "error",
        "STOPSIGN_PRACTICE_NODE_TOKEN": "practice-node-token",
        "SLACK_SIGNING_SECRET": SECRET,
        "SLACK_BOT_TOKEN": SLACK_TOKEN,
        "SLACK_API_URL": f"http://127.0.0.1:{slack}/api/",
    }
    stopsign = [sys.executable, "-m", "bot.cli.run"]
    workspace = [sys.executable, "-m", "bot.practice.workspace", "--port", str(slack), "--people", str(people)]
    workspace += ["--bot-url", f"http://127.0.0.1:{bot}/slack/events"]

    subprocess.run([*stopsign, "migrate"], env={**os.environ, **environment}, check=True, stdout=subprocess.DEVNULL)
    with (
        servers.process(workspace, f"http://127.0.0.1:{slack}/practice/state", environment),
        servers.process([*stopsign, "serve"], f"http://127.0.0.1:{bot}/healthz", environment) as pid,
    ):
        yield pid


@contextmanager
def _nodes(port: int) -> Iterator[int]:
    command = [sys.executable, "-m", "bench.acks", str(port)]
    with servers.process(command, f"http://127.0.0.1:{port}/", {}) as pid:
        yield pid


def nodes() -> web.Application:
    """Return signers that obey: `/{n}/stopsign/v1/signing`, each with one key, each answer after NODE_SECONDS."""
    frozen: set[str] = set()

    async def put(request: web.Request) -> web.Response:
        await asyncio.sleep(NODE_SECONDS)
        asked, n = await request.json(), request.match_info["n"]
        was = n in frozen
        (frozen.add if asked["state"] == "frozen" else frozen.discard)(n)
        result = "unchanged" if was == (asked["state"] == "frozen") else "changed"
        return web.json_response(
            {"results": [{"key": key, "result": result, "state": asked["state"]} for key in asked["keys"]]}
        )

    async def get(request: web.Request) -> web.Response:
        await asyncio.sleep(NODE_SECONDS)
        n, now = request.match_info["n"], datetime.now(UTC)
        key = {
            "key": f"0x{int(n):096x}",
            "state": "frozen" if n in frozen else "signing",
            "counter": 7,
            "last_signed_at": None,
            "next_duty_at": (now + timedelta(seconds=0.5)).isoformat(),
        }
        return web.json_response({"instance_id": f"i-{n}", "now": now.isoformat(), "keys": [key]})

    app = web.Application()
    path = "/{n:[0-9]+}/stopsign/v1/signing"
    app.add_routes([web.put(path, put), web.get(path, get)])
    return app


if __name__ == "__main__":
    web.run_app(nodes(), host="127.0.0.1", port=int(sys.argv[1]), print=None)
