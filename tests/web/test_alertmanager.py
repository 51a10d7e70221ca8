"""The webhook's edge: authentication, shape, size, and 2xx only after the commit."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
from starlette.applications import Starlette
from starlette.routing import Route

from bot.store import database as db
from bot.web.alertmanager import MOST_BYTES, Credentials, Webhook
from tests.fakes import Room

REAL = json.loads((Path(__file__).parent.parent / "alertmanager" / "01-firing-one.json").read_text())["body"]
TOKEN = {"Authorization": "Bearer right"}


@pytest_asyncio.fixture
async def client(spine: Room) -> AsyncIterator[httpx.AsyncClient]:
    """Return a client of a webhook that takes a token or a user."""
    webhook = Webhook(spine.ledger, Credentials(token="right", user="am", password="pä"))
    app = Starlette(routes=[Route("/v1/alertmanager", webhook.receive, methods=["POST"])])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://bot") as opened:
        yield opened


async def post(client: httpx.AsyncClient, body: Any, **headers: str) -> httpx.Response:
    """Post a notification."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await client.post("/v1/alertmanager", content=content, headers={**TOKEN, **headers})


async def test_a_real_body_is_taken_and_the_incident_is_named(client: httpx.AsyncClient, spine: Room) -> None:
    answer = await post(client, REAL)
    assert (answer.status_code, answer.json()) == (200, {"incidents": ["inc-1"], "known": 0, "ignored": 0})
    assert (await spine.incident()).alert_names == ("ValidatorSlashRisk",)


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": "Bearer "}, 401),
        ({"Authorization": "bearer right"}, 200),
        ({"Authorization": "Basic !!!"}, 401),
        ({"Authorization": "Basic YW06d3Jvbmc="}, 401),
        ({"Authorization": "Basic YW06cMOk"}, 200),
        ({"Authorization": "Bearer r\xefght"}, 401),
    ],
)
async def test_who_may_post(client: httpx.AsyncClient, header: dict[str, str], status: int) -> None:
    raw = [(k.encode(), v.encode("latin-1")) for k, v in header.items()]
    answer = await client.post("/v1/alertmanager", content=json.dumps(REAL).encode(), headers=raw)
    assert answer.status_code == status
    if status == 401:
        assert answer.headers["content-type"] == "application/problem+json"


def _with(change: Any) -> Any:
    body = json.loads(json.dumps(REAL))
    change(body)
    return body


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"not json", "body"),
        (b"[]", "body"),
        (b"", "body"),
        (_with(lambda b: b.pop("alerts")), "alerts"),
        (_with(lambda b: b.update(version="5")), "version"),
        (_with(lambda b: b.update(truncatedAlerts=-1)), "truncatedAlerts"),
        (_with(lambda b: b["alerts"][0].update(status="maybe")), "alerts.0.status"),
        (_with(lambda b: b["alerts"][0].update(startsAt="yesterday")), "alerts.0.startsAt"),
        (_with(lambda b: b["alerts"][0].update(fingerprint="../etc")), "alerts.0.fingerprint"),
        (_with(lambda b: b["alerts"][0]["labels"].update(n=5)), "alerts.0.labels.n"),
        (b'{"version":' + b"[" * 20000, "body"),
        (json.dumps(REAL).replace("eigenda", "\\ud800").encode(), "body"),
    ],
)
async def test_a_malformed_body_is_refused_and_the_field_is_named(
    client: httpx.AsyncClient, body: Any, field: str
) -> None:
    answer = await post(client, body)
    assert (answer.status_code, answer.json()["field"]) == (400, field)


async def test_unknown_keys_are_ignored(client: httpx.AsyncClient) -> None:
    body = _with(lambda b: b.update(routeLabels={}, notification_reason="repeat"))
    body["alerts"][0]["novelty"] = [1]
    assert (await post(client, body)).status_code == 200


async def test_sixteen_mebibytes_are_taken_and_one_more_is_refused_without_being_read(
    client: httpx.AsyncClient,
) -> None:
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        for _ in range(300):
            read += 1 << 20
            yield b" " * (1 << 20)

    filling = b" " * (MOST_BYTES - len(json.dumps(REAL)))
    assert (await post(client, json.dumps(REAL).encode() + filling)).status_code == 200
    assert (await post(client, json.dumps(REAL).encode() + filling + b" ")).status_code == 413
    answer = await client.post("/v1/alertmanager", content=endless(), headers=TOKEN)
    assert answer.status_code == 413
    assert read <= MOST_BYTES + (2 << 20)


async def test_no_2xx_without_a_commit(client: httpx.AsyncClient, spine: Room, tmp_path: Path) -> None:
    other = db.connect(f"sqlite:///{tmp_path / 'stopsign.db'}")
    with other.connect() as holder:
        holder.exec_driver_sql("SELECT 1")  # begins immediately: the write lock is taken
        answer = await post(client, REAL)
        assert answer.status_code == 503
        assert answer.json()["title"] == "Not stored"
        holder.rollback()
    other.dispose()
    assert (await post(client, REAL)).json()["incidents"] == ["inc-1"]
