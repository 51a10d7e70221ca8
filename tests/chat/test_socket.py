"""Socket Mode: the same listeners, and nothing that happens on the line ends it."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import WSMsgType, web
from slack_bolt.async_app import AsyncApp
from slack_bolt.response import BoltResponse

from bot.chat import actions, socket
from bot.chat.client import Slack
from bot.chat.pacing import Pacer
from bot.chat.socket import Socket, pause_after
from bot.domain import journal as j
from bot.practice.workspace.app import APP_TOKEN
from bot.render.redact import Redactor
from tests.chat.conftest import TOKEN, RealClock, Stage, staged

SAYS_HELLO = json.dumps({"type": "hello", "num_connections": 1})


@pytest_asyncio.fixture
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    """Everything, running, over a socket."""
    monkeypatch.setattr(socket, "FIRST_PAUSE", 0.05)
    async with staged(tmp_path, socket=True) as set_up:
        await until(lambda: bool(set_up.chat.socket and set_up.chat.socket.connected))
        yield set_up


async def until(fits: Callable[[], bool], seconds: float = 5) -> None:
    """Wait until it fits."""
    async with asyncio.timeout(seconds):
        while not fits():
            await asyncio.sleep(0.01)


async def back(stage: Stage, number: int) -> None:
    """Wait until the connection of that number is gone and another is there."""
    await stage.hands.until(
        lambda s: (
            any(row["number"] > number for row in s["sockets"])
            and not any(row["number"] == number for row in s["sockets"])
        )
    )
    await until(lambda: bool(stage.chat.socket and stage.chat.socket.connected))


# ---- the whole of it


async def test_commands_forms_buttons_and_events_come_over_the_socket(stage: Stage) -> None:
    incident = await stage.opened()
    await stage.idle()
    channel = str(incident.channel)
    answer = await stage.hands.command("U0BO", channel, "/incident role me ic")
    assert "Bo is Incident Commander" in answer["saw"][0]["text"]
    assert answer["ack"]["ms"] < 3000
    await stage.hands.press("U0ADA", channel, str(incident.header), actions.INCIDENT_ACK)
    await stage.until(lambda i: i.acknowledged_by == "ada")
    await stage.hands.press("U0ADA", channel, str(incident.header), actions.RESOLVE_FORM, wait_view=True)
    refused = await stage.hands.submit("U0ADA", {"summary": {"field": "it is over"}})
    assert "Only the Incident Commander may" in str(refused["errors"])
    said = await stage.hands.say("U0BO", channel, "gateway restarted")
    await stage.hands.act("react", user="U0ADA", channel=channel, ts=said["ts"], name="pushpin")
    await stage.find(channel, "gateway restarted")
    assert {row["by"] for row in await stage.hands.deliveries()} == {"socket"}


async def test_what_a_listener_refuses_is_answered_over_the_socket(stage: Stage) -> None:
    answer = await stage.hands.command("U0MALLORY", "general", "/incident list")
    assert "not in team.yaml" in answer["saw"][0]["text"]


async def test_the_same_envelope_twice_has_one_effect(stage: Stage) -> None:
    await stage.hands.fail({"method": "command", "count": 1, "duplicate_delivery": True})
    await stage.hands.command("U0ADA", "general", "/incident declare SEV-3 oracle it is late")
    await stage.until(lambda i: i.channel is not None)
    delivered = [row for row in await stage.hands.deliveries() if row["kind"] == "command"]
    assert [row["ack"]["ok"] for row in delivered] == [True, True]
    assert len(await stage.room.ledger.read(lambda rows: rows.incidents(live_only=False, limit=9))) == 1


async def test_an_event_whose_acknowledgement_was_lost_has_one_effect(stage: Stage) -> None:
    incident = await stage.opened()
    channel = str(incident.channel)
    await stage.idle()
    said = await stage.hands.say("U0BO", channel, "gateway restarted")
    async with asyncio.timeout(5):
        while not any(said["ts"] in row["body"] for row in await stage.hands.deliveries()):
            await asyncio.sleep(0.02)
    await stage.hands.fail({"method": "event", "count": 1, "drop_after_processing": True})
    await stage.hands.act("react", user="U0ADA", channel=channel, ts=said["ts"], name="pushpin")
    await stage.find(channel, "gateway restarted")
    await stage.idle()
    notes = [w for w in await stage.room.journal() if isinstance(w.entry, j.NoteAdded)]
    assert len(notes) == 1
    reactions = [row for row in await stage.hands.deliveries() if '"reaction_added"' in row["body"]]
    assert [row["ack"]["ok"] for row in reactions] == [True, True]
    assert [json.loads(row["body"])["retry_attempt"] for row in reactions] == [0, 1]


async def test_buttons_are_sealed_under_the_bot_token_without_a_signing_secret(stage: Stage) -> None:
    assert stage.chat.asgi is None
    incident = await stage.opened()
    value = next(
        element["value"]
        for block in (await stage.message(str(incident.channel), str(incident.header)))["blocks"]
        for element in block.get("elements", [])
        if element.get("action_id") == actions.INCIDENT_ACK
    )
    assert stage.chat.front.seals.open(actions.INCIDENT_ACK, value) == ("1",)


@pytest.mark.parametrize("reason", ["warning", "refresh_requested", "drop", "link_disabled"])
async def test_it_comes_back_whatever_ends_the_connection(stage: Stage, reason: str) -> None:
    [row] = (await stage.hands.state())["sockets"]
    await stage.hands.act("socket", disconnect=reason)
    if reason in {"warning", "refresh_requested"}:
        # The new connection is there while the old one is still open: nothing is lost between them.
        both = await stage.hands.until(lambda s: len(s["sockets"]) == 2)
        assert {one["number"] for one in both["sockets"]} == {row["number"], row["number"] + 1}
    else:
        await back(stage, row["number"])
    answer = await stage.hands.command("U0ADA", "general", "/incident list")
    assert "Nothing is open" in answer["saw"][0]["text"]


async def test_it_comes_back_when_slack_refuses_for_a_while(stage: Stage) -> None:
    [row] = (await stage.hands.state())["sockets"]
    await stage.hands.fail({"method": "apps.connections.open", "count": 2, "ratelimit": 1})
    await stage.hands.act("socket", disconnect="drop")
    await back(stage, row["number"])
    calls = [c["at"] for c in await stage.hands.calls("apps.connections.open")]
    assert len(calls) == 4
    assert all(b - a >= 0.99 for a, b in pairwise(calls[1:]))


async def test_no_token_and_no_ticket_is_ever_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(socket, "FIRST_PAUSE", 0.05)
    async with staged(tmp_path, socket=True) as set_up:
        await until(lambda: bool(set_up.chat.socket and set_up.chat.socket.connected))
        await set_up.hands.act("socket", disconnect="drop")
        await back(set_up, 1)
        shown = set_up.chat.slack.redacted({"text": f"it is {APP_TOKEN}"})
    ours = "\n".join(r.getMessage() for r in caplog.records if r.name.startswith("bot."))
    assert "socket" in ours
    assert APP_TOKEN not in caplog.text
    assert "ticket=" not in ours
    assert APP_TOKEN not in str(shown)


# ---- the line by itself


class Line:
    """A Slack of one method and one socket; `greet` False never says hello."""

    def __init__(self) -> None:
        self.greet = True
        self.status = 200
        self.opened: list[web.WebSocketResponse] = []
        self.acks: list[dict[str, Any]] = []
        self.calls = 0

    async def send(self, envelope: Mapping[str, Any] | str) -> None:
        """Send something over the newest connection."""
        text = envelope if isinstance(envelope, str) else json.dumps(envelope)
        await self.opened[-1].send_str(text)


@asynccontextmanager
async def answering(line: Line) -> AsyncIterator[str]:
    """Serve it on loopback."""
    base = ""

    async def connections(_: web.Request) -> web.Response:
        line.calls += 1
        if line.status != 200:
            return web.json_response({"ok": False}, status=line.status)
        return web.json_response({"ok": True, "url": base.replace("http", "ws") + "/link?ticket=s3cret"})

    async def link(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        line.opened.append(ws)
        if line.greet:
            await ws.send_str(SAYS_HELLO)
        async for message in ws:
            if message.type is WSMsgType.TEXT:
                line.acks.append(json.loads(message.data))
        return ws

    app = web.Application()
    app.add_routes([web.post("/api/apps.connections.open", connections), web.get("/link", link)])
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    base = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield base
    finally:
        await runner.cleanup()


class Listeners(AsyncApp):
    """What Bolt would do: answers what it is told to."""

    def __init__(self) -> None:
        super().__init__(signing_secret="x", token="xoxb-x")
        self.heard: list[Any] = []
        self.answers: list[BoltResponse | Exception] = []
        self.slow = 0.0

    async def async_dispatch(self, req: Any) -> BoltResponse:
        """Take a request."""
        self.heard.append(req)
        await asyncio.sleep(self.slow)
        answer = self.answers.pop(0) if self.answers else BoltResponse(status=200)
        if isinstance(answer, Exception):
            raise answer
        return answer


Wire = tuple[Line, Listeners, Socket]


@pytest_asyncio.fixture
async def wire(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Wire]:
    """A socket that is connected."""
    monkeypatch.setattr(socket, "FIRST_PAUSE", 0.02)
    line, app, clock = Line(), Listeners(), RealClock()
    async with answering(line) as base:
        slack = Slack(token=TOKEN, api_url=f"{base}/api/", pacer=Pacer(clock), redactor=Redactor([]))
        made = Socket(app=app, slack=slack, app_token=APP_TOKEN, now=lambda: datetime.now(UTC))
        made.start()
        await until(lambda: made.connected)
        yield line, app, made
        await made.stop()
        await slack.aclose()


def envelope(name: str, payload: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """Return what Slack sends."""
    return {"envelope_id": name, "type": "slash_commands", "payload": dict(payload), **more}


async def test_a_retry_in_another_envelope_is_acknowledged_without_effect(wire: Wire) -> None:
    line, app, _ = wire
    event = {"type": "event_callback", "event_id": "Ev1", "event": {"type": "reaction_added"}}
    await line.send(envelope("e1", event, type="events_api"))
    await until(lambda: len(line.acks) == 1)
    again = {**event, "event_time": 7}
    await line.send(envelope("e2", again, type="events_api", retry_attempt=1, retry_reason="timeout"))
    await until(lambda: len(line.acks) == 2)
    assert line.acks == [{"envelope_id": "e1"}, {"envelope_id": "e2"}]
    assert len(app.heard) == 1


async def test_a_repeat_waits_for_the_first_and_is_not_acknowledged_when_that_fails(wire: Wire) -> None:
    line, app, _ = wire
    app.slow, app.answers = 0.2, [BoltResponse(status=503)]
    await line.send(envelope("e1", {"text": "x"}))
    await line.send(envelope("e2", {"text": "x"}))
    await until(lambda: len(app.heard) == 1)
    await asyncio.sleep(0.4)
    assert line.acks == []
    await line.send(envelope("e3", {"text": "x"}))
    await until(lambda: len(line.acks) == 1)
    assert len(app.heard) == 2


async def test_an_answer_travels_only_where_slack_takes_one(wire: Wire) -> None:
    line, app, _ = wire
    body = json.dumps({"text": "hi"})
    said: dict[str, Any] = {"content-type": ["application/json"]}
    app.answers = [BoltResponse(status=200, body=body, headers=said) for _ in range(2)]
    await line.send(envelope("e1", {"n": 1}, accepts_response_payload=True))
    await until(lambda: len(line.acks) == 1)
    await line.send(envelope("e2", {"n": 2}, accepts_response_payload=False))
    await until(lambda: len(line.acks) == 2)
    assert line.acks == [{"envelope_id": "e1", "payload": {"text": "hi"}}, {"envelope_id": "e2"}]


@pytest.mark.parametrize(
    "text",
    [
        "not json",
        "[]",
        "null",
        "{}",
        '{"type":"what"}',
        '{"envelope_id":"e","payload":[]}',
        '{"envelope_id":"e","payload":null}',
        '{"envelope_id":{"a":1},"payload":{"event_id":7}}',
        "\x00",
        "[" * 5000,
    ],
)
async def test_nonsense_ends_nothing(wire: Wire, text: str) -> None:
    line, _, made = wire
    await line.send(text)
    await line.send(envelope("e1", {"n": 1}))
    await until(lambda: {"envelope_id": "e1"} in line.acks)
    assert made.connected
    assert len(line.opened) == 1


async def test_a_listener_that_breaks_ends_nothing_and_is_not_acknowledged(
    wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    line, app, made = wire
    app.answers = [RuntimeError("broken")]
    await line.send(envelope("e1", {"n": 1}))
    await line.send(envelope("e2", {"n": 2}))
    await until(lambda: len(line.acks) == 1)
    assert line.acks == [{"envelope_id": "e2"}]
    assert "broken" in caplog.text
    assert made.connected


async def test_one_that_takes_long_holds_nobody_up(wire: Wire) -> None:
    line, app, _ = wire
    app.slow = 0.3
    began = time.monotonic()
    for n in range(20):
        await line.send(envelope(f"e{n}", {"n": n}))
    await until(lambda: len(line.acks) == 20)
    assert time.monotonic() - began < 1.5


async def test_what_came_over_a_lost_line_is_acknowledged_over_the_next(wire: Wire) -> None:
    line, app, made = wire
    app.slow = 0.4
    await line.send(envelope("e1", {"n": 1}))
    await until(lambda: len(app.heard) == 1)
    await line.opened[-1].close()
    await until(lambda: len(line.opened) == 2 and made.connected)
    await until(lambda: line.acks == [{"envelope_id": "e1"}])


async def test_what_has_begun_is_acknowledged_before_it_hangs_up(wire: Wire) -> None:
    line, app, made = wire
    app.slow = 0.3
    await line.send(envelope("e1", {"n": 1}))
    await until(lambda: len(app.heard) == 1)
    await made.stop()
    await until(lambda: line.acks == [{"envelope_id": "e1"}])
    assert not made.connected


async def test_a_line_without_a_hello_is_given_up_and_another_is_opened(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    line, _, made = wire
    monkeypatch.setattr(socket, "PATIENCE", 0.2)
    line.greet = False
    await line.opened[-1].close()
    await until(lambda: len(line.opened) >= 3)
    assert not made.connected
    line.greet = True
    await until(lambda: made.connected)


async def test_it_does_not_hammer_slack_while_that_is_down(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    line, _, made = wire
    monkeypatch.setattr(socket, "FIRST_PAUSE", 0.2)
    line.status = 500
    calls = line.calls
    await line.opened[-1].close()
    await asyncio.sleep(1)
    assert not made.connected
    assert 1 <= line.calls - calls <= 4


def test_pauses_grow_and_have_an_end() -> None:
    assert 0.5 <= pause_after(0) <= 1
    assert all(pause_after(n) <= socket.LONGEST_PAUSE for n in range(200))
    assert pause_after(50) >= socket.LONGEST_PAUSE / 2
    assert min(pause_after(4) for _ in range(50)) >= 4
