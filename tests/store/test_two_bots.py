"""Two bots on one PostgreSQL, one of which is killed: the freeze ends proven, once, and both told the same story."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from bench.servers import free_port
from bot.practice.crew import until
from bot.store import database as db
from tests import processes
from tests.processes import WEBHOOK_TOKEN, Bot, Json
from tests.store.rooms import room_at
from tests.store.servers import TEMPLATE, Server

ALERT = {
    "status": "firing",
    "labels": {"alertname": "EquivocationRiskSpike", "severity": "page", "avs": "shared-sequencer", "signer": "seq-01"},
    "annotations": {},
    "startsAt": "2026-11-20T03:00:00Z",
    "fingerprint": "a57d3ac815ad8db2",
}
LEASE_AND_MORE = 120


async def post(bot: Bot) -> tuple[str, ...]:
    """Post the alert as Alertmanager does; return the incidents that it belongs to."""
    headers = {"Authorization": f"Bearer {WEBHOOK_TOKEN}"}
    alerts = [{**ALERT, "endsAt": datetime.now(UTC).isoformat()}]
    body = {"version": "4", "status": "firing", "groupKey": "{}", "alerts": alerts, "truncatedAlerts": 0}
    async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
        answer = await client.post(f"{bot.url}/v1/alertmanager", json=body, headers=headers)
        assert answer.status_code == 200, answer.text
        return tuple(answer.json()["incidents"])


@pytest.mark.peer("postgresql")
async def test_one_of_two_bots_is_killed_and_the_other_ends_what_it_began(server: Server, tmp_path: Path) -> None:
    url = server.new(TEMPLATE)
    async with processes.fleet(tmp_path) as fleet:
        first = processes.write_bot(tmp_path / "home", fleet_base=fleet.base, STOPSIGN_DATABASE_URL=url)
        (first.home / "stopsign.db").unlink()
        second = replace(first, port=free_port())
        async with second.serving(), second.api() as api:
            running = first.start()
            await running.answers(f"{first.url}/readyz")
            assert set(await asyncio.gather(post(first), post(second))) == {("inc-1",)}
            running.kill()

            async def proven() -> Json | None:
                found: Json = (await api.get("/v1/incidents/inc-1")).json()
                freeze = found["targets"].get("seq-01", {}).get("freeze", {})
                return found if freeze.get("state") == "verified" else None

            incident = await until(proven, within=LEASE_AND_MORE, why="the freeze of seq-01 to be proven")
            assert incident["alerts"]["seen"] == 1
            assert len((await api.get("/v1/incidents")).json()) == 1
        assert not await fleet.signs("seq-01")
    assert not (first.home / "stopsign.db").exists()
    engine = db.connect(url)
    assert db.unheld(engine) == []
    engine.dispose()
    async with room_at(url) as spine:
        journal = await spine.journal()
        assert [w.n for w in journal] == list(range(1, len(journal) + 1))
