"""Real Prometheus and Alertmanager, generated rules, sample routing: from a counter's rise to a stopped node."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import httpx
import pytest

from bot.practice.crew import until
from tests import processes
from tests.processes import Bot, Fleet, Json

SAMPLE = processes.ROOT / "docs" / "alertmanager.yml"
WITHIN = 15.0
"""Seconds from the counter's rise to the first freeze request: the promise of the README."""
MOST_RESOLVING = 150.0
CONFLICTS = "avs_conflicting_signatures_seen_total"

pytestmark = [pytest.mark.peer("prometheus"), pytest.mark.peer("prometheus-alertmanager")]


@dataclass(frozen=True, kw_only=True)
class Alerting:
    """The whole alerting path, running."""

    bot: Bot
    api: httpx.AsyncClient
    fleet: Fleet
    prometheus: str
    beats: list[bytes]


@asynccontextmanager
async def deadman() -> AsyncIterator[tuple[str, list[bytes]]]:
    """Answer 200 to everything, as a dead-man service does; yields its URL and what it heard."""
    heard: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(64 * 1024))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", heard


def routing(bot: Bot, token: Path, deadman_url: str) -> str:
    """Return the sample configuration with nothing but addresses and the credentials' file replaced."""
    text = SAMPLE.read_text(encoding="utf-8")
    for sample, ours in {
        "http://127.0.0.1:8970": bot.url,
        "https://deadman.example": deadman_url,
        "/etc/alertmanager/stopsign-token": str(token),
    }.items():
        assert text.count(sample) == 1, f"{sample} is not in {SAMPLE.name} exactly once"
        text = text.replace(sample, ours)
    return text


@pytest.fixture
async def alerting(tmp_path: Path) -> AsyncIterator[Alerting]:
    """Run fleet, bot, Alertmanager and Prometheus, until the fleet's counters are in Prometheus."""
    token = tmp_path / "stopsign-token"
    token.write_text(processes.WEBHOOK_TOKEN + "\n", encoding="utf-8")
    async with AsyncExitStack() as stack:
        fleet = await stack.enter_async_context(processes.fleet(tmp_path))
        bot = processes.write_bot(tmp_path / "home", fleet_base=fleet.base)
        await bot.did("rules", "--out", str(tmp_path / "rules.yml"))
        await stack.enter_async_context(bot.serving())
        deadman_url, beats = await stack.enter_async_context(deadman())
        alertmanager = await stack.enter_async_context(
            processes.alertmanager(tmp_path, routing(bot, token, deadman_url))
        )
        config = {
            "global": {"scrape_interval": "5s", "evaluation_interval": "5s"},
            "rule_files": ["rules.yml"],
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": [_address(alertmanager)]}]}]},
            "scrape_configs": [{"job_name": "avs", "static_configs": [{"targets": [_address(fleet.control)]}]}],
        }
        prometheus = await stack.enter_async_context(processes.prometheus(tmp_path, config))
        api = await stack.enter_async_context(bot.api())
        whole = Alerting(bot=bot, api=api, fleet=fleet, prometheus=prometheus, beats=beats)
        await until(lambda: scraped(whole), within=30, why="Prometheus to have scraped the fleet twice")
        yield whole


async def scraped(alerting: Alerting) -> bool:
    query = {"query": f'min(count_over_time({CONFLICTS}{{signer=~"seq-05|orc-02"}}[1m])) >= 2'}
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(f"{alerting.prometheus}/api/v1/query", params=query)
    return bool(answer.json()["data"]["result"])


def _address(url: str) -> str:
    return url.removeprefix("http://")


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Seconds from a counter's rise."""

    node: str
    opened: float
    asked: float
    stopped: float

    def __str__(self) -> str:
        return (
            f"{self.node}: incident open {self.opened:.2f} s, first freeze request {self.asked:.2f} s, "
            f"proof {self.stopped:.2f} s after the counter's rise"
        )


async def equivocated(alerting: Alerting, node: str, avs: str) -> Measured:
    """Raise one node's counter by one; wait until its freeze is proven; return what it took."""
    before = (await alerting.fleet.truth(node))["conflicts"]
    rose = time.time()
    await alerting.fleet.act("equivocate", nodes=[node])
    assert (await alerting.fleet.truth(node))["conflicts"] == before + 1

    async def proven() -> Json | None:
        found = await incident_of(alerting, avs)
        state = found["targets"].get(node, {}).get("freeze", {}).get("state") if found else None
        return found if state == "verified" else None

    incident = await until(proven, within=WITHIN + 15, why=f"the freeze of {node} to be verified")
    stopped = time.time()
    asked = [
        r
        for r in (await alerting.fleet.truth(node))["requests"]
        if (r["method"], r["path"]) == ("PUT", "/stopsign/v1/signing")
    ]
    assert (incident["severity"], incident["suspects"]) == ("SEV-1", [node])
    assert incident["alerts"]["names"] == ["EquivocationRiskSpike"]
    assert [r["status"] for r in asked] == [200], "one freeze request, and it was obeyed"
    return Measured(
        node=node,
        opened=_seconds(incident["opened_at"]) - rose,
        asked=_seconds(asked[0]["at"]) - rose,
        stopped=stopped - rose,
    )


async def incident_of(alerting: Alerting, avs: str) -> Json | None:
    found: list[Json] = (await alerting.api.get("/v1/incidents")).raise_for_status().json()
    assert len([i for i in found if i["avs"] == avs]) <= 1, "one incident an AVS"
    return next((i for i in found if i["avs"] == avs), None)


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


async def test_from_one_step_of_a_counter_to_a_stopped_node_and_to_resolved(alerting: Alerting) -> None:
    first = await equivocated(alerting, "seq-05", "shared-sequencer")
    await asyncio.sleep(7.3)  # another phase of the scrapes and evaluations
    second = await equivocated(alerting, "orc-02", "oracle")
    for measured in (first, second):
        print(measured)
        assert measured.opened <= measured.asked <= WITHIN, measured
        assert not await alerting.fleet.signs(measured.node), f"{measured.node} is reported verified and signs"
    assert await alerting.fleet.signs("seq-06"), "a node that did nothing was not stopped"

    async def over() -> bool:
        both = [await incident_of(alerting, avs) for avs in ("shared-sequencer", "oracle")]
        return all(i is not None and i["alerts"]["firing"] == 0 for i in both)

    began = time.monotonic()
    await until(over, within=MOST_RESOLVING, why="Alertmanager to say that both alerts are resolved")
    print(f"resolved {time.monotonic() - began:.0f} s later")
    for avs, node in (("shared-sequencer", "seq-05"), ("oracle", "orc-02")):
        incident = await incident_of(alerting, avs)
        assert incident is not None
        assert (incident["severity"], incident["status"]) == ("SEV-1", "contained"), "resolved alerts close no SEV-1"
        assert incident["resolved_at"] is None
        assert incident["targets"][node]["freeze"]["state"] == "verified"
        assert (incident["alerts"]["firing"], incident["alerts"]["seen"]) == (0, 1)
    assert any(b"POST /ping" in heard for heard in alerting.beats), "the dead-man service hears the Watchdog"
