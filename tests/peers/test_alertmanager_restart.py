"""Real Alertmanager against a bot that is killed in the middle of deliveries: nothing is lost, nothing counted twice.

A wire between the two sees each POST, so that the kill comes at a known moment of the delivery.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

import httpx
import pytest
import yaml

from bot.practice.crew import until
from tests import processes
from tests.processes import Bot, Fleet, Json, Running

AVS = "shared-sequencer"
RECOVERS = 60.0
"""Seconds in which what was cut off must have arrived: the bot's start, and Alertmanager's next tries."""

pytestmark = pytest.mark.peer("prometheus-alertmanager")


class Moment(StrEnum):
    """When the bot dies, seen from one delivery."""

    BEFORE = "the POST has arrived and was not read"
    READ = "the POST was read just now"
    DECIDING = "10 ms after the POST was read"
    COMMITTED = "the answer was sent and never arrives"
    ANSWERED = "right after the answer arrived"
    WORKING = "0.3 s after the answer, while the freeze is on its way"


PAUSES = {Moment.READ: 0.0, Moment.DECIDING: 0.01, Moment.ANSWERED: 0.0, Moment.WORKING: 0.3}


@dataclass(kw_only=True)
class Wire:
    """Carries Alertmanager's connections to the bot; kills the bot once, at the moment that was asked for."""

    port: int
    kill: Callable[[], None] = field(default=lambda: None)
    moment: Moment | None = None
    answered: int = 0

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection; a bot that is not there is a connection that is closed."""
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            writer.close()
            return
        to = asyncio.create_task(self._requests(reader, back))
        fro = asyncio.create_task(self._answers(there, writer))
        await asyncio.wait([to, fro], return_when=asyncio.FIRST_COMPLETED)
        for task in (to, fro):
            task.cancel()
        await asyncio.gather(to, fro, return_exceptions=True)
        for end in (writer, back):
            end.close()

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(1 << 20):
            if self.moment is Moment.BEFORE:
                self._strike()
                return
            writer.write(chunk)
            await writer.drain()
            if self.moment in {Moment.READ, Moment.DECIDING}:
                await asyncio.sleep(PAUSES[self.moment])
                self._strike()
                return

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(1 << 20):
            if self.moment is Moment.COMMITTED:
                self._strike()
                return
            self.answered += 1
            writer.write(chunk)
            await writer.drain()
            if self.moment in {Moment.ANSWERED, Moment.WORKING}:
                await asyncio.sleep(PAUSES[self.moment])
                self._strike()
                return

    def _strike(self) -> None:
        self.moment = None
        self.kill()


@dataclass(kw_only=True)
class Night:
    """Alertmanager, wire, bot and fleet; the bot comes back after each kill."""

    bot: Bot
    fleet: Fleet
    wire: Wire
    alertmanager: str
    process: Running
    headers: dict[str, str]
    kills: int = 0

    def __post_init__(self) -> None:
        """Give the wire its weapon."""
        self.wire.kill = self._kill

    def _kill(self) -> None:
        self.process.kill()
        self.kills += 1

    async def alert(self, *signers: str, over: bool = False) -> None:
        """Tell Alertmanager of alerts, as Prometheus does."""
        now = datetime.now(UTC).isoformat()
        labels = {"alertname": "EquivocationRiskSpike", "avs": AVS, "severity": "page", "sev": "SEV-1"}
        alerts = [{"labels": {**labels, "signer": s}} | ({"endsAt": now} if over else {}) for s in signers]
        async with httpx.AsyncClient(trust_env=False) as client:
            (await client.post(f"{self.alertmanager}/api/v2/alerts", json=alerts)).raise_for_status()

    async def killed_at(self, moment: Moment, *signers: str, over: bool = False) -> None:
        """Cause a delivery during which the bot dies at `moment`; start the bot again."""
        before = self.kills
        self.wire.moment = moment
        await self.alert(*signers, over=over)

        async def dead() -> bool:
            return self.kills > before

        await until(dead, within=RECOVERS, why=f"a delivery in which the bot dies: {moment}")
        self.process = self.bot.start()
        await self.process.answers(f"{self.bot.url}/readyz")

    async def get(self, path: str) -> list[Json]:
        """Read the bot's API."""
        async with httpx.AsyncClient(base_url=self.bot.url, headers=self.headers, trust_env=False) as client:
            told: list[Json] = (await client.get(path)).raise_for_status().json()
            return told

    async def alerts(self) -> tuple[int, int]:
        """Return how many alerts the one incident has seen, and how many fire. More than one incident fails."""
        found = await self.get("/v1/incidents")
        assert len(found) <= 1, f"one key, one incident: {[i['id'] for i in found]}"
        return (found[0]["alerts"]["seen"], found[0]["alerts"]["firing"]) if found else (0, 0)


@pytest.fixture
async def night(tmp_path: Path) -> AsyncIterator[Night]:
    """Run everything."""
    async with AsyncExitStack() as stack:
        fleet = await stack.enter_async_context(processes.fleet(tmp_path))
        bot = processes.write_bot(tmp_path / "home", fleet_base=fleet.base)
        wire = Wire(port=bot.port)
        server = await asyncio.start_server(wire.carry, "127.0.0.1", 0)
        stack.callback(server.close)
        port = server.sockets[0].getsockname()[1]
        alertmanager = await stack.enter_async_context(processes.alertmanager(tmp_path, _config(port)))
        headers = {"Authorization": f"Bearer {await bot.token()}"}
        process = bot.start()
        night = Night(bot=bot, fleet=fleet, wire=wire, alertmanager=alertmanager, process=process, headers=headers)
        try:
            await process.answers(f"{bot.url}/readyz")
            yield night
        finally:
            if night.process.process.poll() is None:
                await night.process.stop()


def _config(port: int) -> str:
    webhook = {
        "url": f"http://127.0.0.1:{port}/v1/alertmanager",
        "send_resolved": True,
        "http_config": {
            "follow_redirects": False,
            "authorization": {"type": "Bearer", "credentials": processes.WEBHOOK_TOKEN},
        },
    }
    route = {
        "receiver": "stopsign",
        "group_by": ["alertname", "avs"],
        "group_wait": "0s",
        "group_interval": "2s",
        "repeat_interval": "1h",
    }
    return yaml.safe_dump({"route": route, "receivers": [{"name": "stopsign", "webhook_configs": [webhook]}]})


async def test_a_bot_that_is_killed_in_every_delivery_loses_nothing_and_doubles_nothing(night: Night) -> None:
    signers = [f"seq-{number:02}" for number in range(5, 5 + len(Moment))]
    for count, (moment, signer) in enumerate(zip(Moment, signers, strict=True), 1):
        await night.killed_at(moment, signer)
        await _comes_to(night, (count, count), why=f"{signer}, killed when {moment}")
    await night.killed_at(Moment.COMMITTED, *signers, over=True)
    await _comes_to(night, (len(signers), 0), why="all of them resolved, killed when the answer was lost")

    assert night.kills == len(Moment) + 1
    (incident,) = await night.get("/v1/incidents")
    assert (incident["severity"], sorted(incident["suspects"])) == ("SEV-1", signers)
    journal = await night.get("/v1/incidents/inc-1/journal")
    assert [entry["n"] for entry in journal] == list(range(1, len(journal) + 1)), "the journal has no gap"
    assert [entry["kind"] for entry in journal].count("IncidentOpened") == 1
    await until(lambda: _proven(night, signers[0]), within=RECOVERS, why="the automatic freeze to be proven")
    assert not await night.fleet.signs(signers[0])
    await night.process.stop()
    assert "verified" in await night.bot.did("evidence", "verify")
    print(f"{night.kills} kills, {night.wire.answered} answers delivered, {len(journal)} journal entries, none lost")


async def _comes_to(night: Night, wanted: tuple[int, int], *, why: str) -> None:
    """Wait until the incident has seen so many alerts, so many firing; then look that it stays so."""

    async def look() -> bool:
        seen = await night.alerts()
        assert seen[0] <= wanted[0], f"{why}: an alert was counted twice: {seen}"
        return seen == wanted

    await until(look, within=RECOVERS, why=f"(seen, firing) to be {wanted}: {why}")
    await asyncio.sleep(2.5)  # one more group interval: whatever Alertmanager repeats must change nothing
    assert await night.alerts() == wanted, why


async def _proven(night: Night, node: str) -> bool:
    (incident,) = await night.get("/v1/incidents")
    state: str | None = incident["targets"].get(node, {}).get("freeze", {}).get("state")
    return state in {"verified", "already"}
