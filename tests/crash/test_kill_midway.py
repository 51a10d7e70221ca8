"""kill -9 in the middle of a SEV-1: nothing is lost, no effect is doubled, and what is said is true afterwards."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from bot.practice.crew import until
from tests import processes
from tests.processes import WEBHOOK_TOKEN, Bot, Json

ALERT = {
    "status": "firing",
    "labels": {"alertname": "EquivocationRiskSpike", "severity": "page", "avs": "shared-sequencer", "signer": "seq-01"},
    "annotations": {},
    "startsAt": "2026-11-20T03:00:00Z",
    "fingerprint": "a57d3ac815ad8db2",
}
BODY = {"version": "4", "status": "firing", "groupKey": "{}", "alerts": [ALERT], "truncatedAlerts": 0}
MOMENTS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.3)
"""Seconds after the answer to the webhook at which the bot is killed, one after another on the same incident."""


async def post(bot: Bot) -> int:
    """Post the alert as Alertmanager does; return the status, 0 when the connection broke."""
    async with httpx.AsyncClient(trust_env=False, timeout=5) as client:
        headers = {"Authorization": f"Bearer {WEBHOOK_TOKEN}"}
        body = {**BODY, "alerts": [{**ALERT, "endsAt": datetime.now(UTC).isoformat()}]}
        try:
            return (await client.post(f"{bot.url}/v1/alertmanager", json=body, headers=headers)).status_code
        except httpx.HTTPError:
            return 0


@pytest.mark.parametrize("kills", [MOMENTS, MOMENTS[::-1]], ids=["early first", "late first"])
async def test_killed_again_and_again_the_freeze_still_ends_proven_and_is_one_effect(
    tmp_path: Path, kills: tuple[float, ...]
) -> None:
    async with processes.fleet(tmp_path) as fleet:
        bot = processes.write_bot(tmp_path / "home", fleet_base=fleet.base)
        for pause in kills:
            running = bot.start()
            await running.answers(f"{bot.url}/readyz")
            assert await post(bot) == 200
            await asyncio.sleep(pause)
            running.kill()
        async with bot.serving(), bot.api() as api:

            async def proven() -> Json | None:
                found: Json = (await api.get("/v1/incidents/inc-1")).json()
                return (
                    found if found["targets"].get("seq-01", {}).get("freeze", {}).get("state") == "verified" else None
                )

            incident = await until(proven, within=120, why="the freeze of seq-01 to be proven")
            assert len((await api.get("/v1/incidents")).json()) == 1
            journal = (await api.get("/v1/incidents/inc-1/journal")).json()
        assert incident["alerts"]["seen"] == 1
        assert [entry["n"] for entry in journal] == list(range(1, len(journal) + 1))
        assert not await fleet.signs("seq-01")
        sent = [r for r in (await fleet.truth("seq-01"))["requests"] if r["method"] == "PUT" and "signing" in r["path"]]
        assert {r["request"] for r in sent} == {"inc-1:freeze-1:seq-01"}
        assert "verified" in await bot.did("evidence", "verify")
        print(f"{len(kills)} kills: 1 incident, {len(journal)} entries, {len(sent)} sendings of one freeze")
