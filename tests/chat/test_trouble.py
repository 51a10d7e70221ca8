"""What goes wrong: Slack that loses answers, limits and fails; people who may not; acts that come twice."""

import asyncio
import time
from itertools import pairwise
from typing import Any

import pytest

from bot.chat import actions
from bot.domain import journal as j
from bot.domain.authority import Actor
from bot.flows import people, record
from tests.chat.conftest import Stage, signed, slash
from tests.fakes import alert


def notes(count: int) -> list[people.AddNote]:
    """Return some notes to be posted."""
    by = Actor(person="ada", via="cli")
    return [people.AddNote(by=by, incident=1, text=f"note number {n}.", source="note") for n in range(count)]


async def test_a_lost_answer_does_not_post_twice(stage: Stage) -> None:
    incident = await stage.opened()
    await stage.idle()
    await stage.hands.fail({"method": "chat.postMessage", "count": 2, "drop_after_processing": True})
    for note in notes(3):
        await stage.room.decide(people.add_note, note)
    await stage.idle()
    said = [m["text"] for m in await stage.hands.messages(str(incident.channel)) if "note number" in m["text"]]
    assert [text.split("note number ")[1][:2] for text in said] == ["0.", "1.", "2."]
    assert stage.buried == []


async def test_a_channel_whose_creation_was_not_answered_is_found_again(stage: Stage) -> None:
    await stage.hands.fail({"method": "conversations.create", "count": 1, "drop_after_processing": True})
    incident = await stage.opened()
    await stage.idle()
    names = [c["name"] for c in (await stage.hands.state())["channels"] if c["name"].startswith("inc-1")]
    assert names == [incident.channel_name]
    headers = [m for m in await stage.hands.messages(str(incident.channel)) if m["ts"] == incident.header]
    assert len(headers) == 1


async def test_a_name_that_somebody_else_took_is_left_to_them(stage: Stage) -> None:
    first = await stage.opened()
    await stage.idle()
    assert first.channel_name
    again = await stage.chat.slack.call("conversations.create", {"name": "inc-2-the-oracle-lies"})
    await stage.hands.command("U0ADA", "general", "/incident declare SEV-3 oracle the oracle lies")
    second = await stage.until(lambda i: i.channel is not None, number=2)
    assert second.channel_name == "inc-2-the-oracle-lies-2"
    assert second.channel != again["channel"]["id"]


@pytest.mark.parametrize("fault", [{"ratelimit": 1}, {"http_500": True}])
async def test_while_slack_refuses_nothing_is_lost_and_order_stays(stage: Stage, fault: dict[str, object]) -> None:
    incident = await stage.opened()
    await stage.idle()
    await stage.hands.fail({"method": "chat.*", "count": 2, **fault})
    for note in notes(4):
        await stage.room.decide(people.add_note, note)
    await stage.idle()
    said = [m["text"] for m in await stage.hands.messages(str(incident.channel)) if "note number" in m["text"]]
    assert [text.split("note number ")[1][:2] for text in said] == ["0.", "1.", "2.", "3."]
    assert stage.buried == []


async def test_retry_after_is_obeyed(stage: Stage) -> None:
    await stage.opened()
    await stage.idle()
    await stage.hands.fail({"method": "chat.postMessage", "count": 1, "ratelimit": 2})
    began = time.time()
    await stage.room.decide(people.add_note, notes(1)[0])
    await stage.idle()
    calls = [c for c in await stage.hands.calls("chat.postMessage") if c["at"] >= began]
    assert len(calls) == 2
    assert calls[1]["at"] - calls[0]["at"] >= 1.99


class TestPace:
    """With a pace, one channel gets one message at a time, and many changes of the header are one."""

    @pytest.fixture
    def spacing(self) -> float:
        """Seconds between two messages in one channel."""
        return 0.4

    async def test_messages_keep_their_distance_and_header_updates_merge(self, stage: Stage) -> None:
        incident = await stage.opened()
        await stage.idle()
        before = len(await stage.hands.calls("chat.update"))
        for note in notes(4):
            await stage.room.decide(people.add_note, note)
        await stage.idle()
        said = [m for m in await stage.hands.messages(str(incident.channel)) if "note number" in m["text"]]
        stamps = [float(m["ts"]) for m in said]
        assert len(stamps) == 4
        assert all(b - a >= 0.39 for a, b in pairwise(stamps))
        assert len(await stage.hands.calls("chat.update")) - before <= 4
        assert len(await stage.hands.calls("conversations.history")) == 0


@pytest.mark.parametrize(
    ("user", "why"),
    [
        ("U0MALLORY", "not in team.yaml"),
        ("U0GUEST", "Guests may not"),
        ("U0OUT", "another workspace"),
    ],
)
async def test_who_does_not_belong_is_refused_and_nothing_happens(stage: Stage, user: str, why: str) -> None:
    incident = await stage.opened()
    await stage.hands.act("join", user=user, channel="general")
    await stage.hands.act("join", user=user, channel=str(incident.channel))
    answer = await stage.hands.command(user, "general", "/incident ack inc-1")
    assert why in answer["saw"][0]["text"]
    told = await stage.find(str(incident.channel), "SEV-1 inc-1")
    await stage.hands.press(user, str(incident.channel), told["ts"], actions.INCIDENT_ACK)
    assert why in (await stage.told(user, why))["text"]
    await stage.hands.act("react", user=user, channel=str(incident.channel), ts=told["ts"], name="pushpin")
    await stage.idle()
    entries = await stage.room.ledger.read(lambda rows: rows.entries(1))
    assert not any(isinstance(w.entry, j.Acknowledged | j.NoteAdded) for w in entries)


async def test_a_power_that_somebody_lacks_is_refused_and_journalled(stage: Stage) -> None:
    await stage.opened()
    answer = await stage.hands.command("U0EVE", "general", "/incident freeze inc-1 s01")
    assert "takes the power 'freeze'" in answer["saw"][0]["text"]
    entries = await stage.room.ledger.read(lambda rows: rows.entries(1))
    assert [w.by.person for w in entries if isinstance(w.entry, j.CommandRefused)] == ["eve"]


async def test_pressing_twice_has_one_effect(stage: Stage) -> None:
    incident = await stage.opened()
    press = (str(incident.channel), str(incident.header), actions.INCIDENT_ACK)
    await asyncio.gather(*(stage.hands.press("U0ADA", *press) for _ in range(3)), return_exceptions=True)
    await stage.idle()
    entries = await stage.room.ledger.read(lambda rows: rows.entries(1))
    assert sum(isinstance(w.entry, j.Acknowledged) for w in entries) == 1


async def test_the_same_signed_request_twice_declares_one_incident(stage: Stage) -> None:
    body = slash("declare SEV-3 oracle it is late")
    headers = signed(body)
    first, second = await stage.post(body, headers), await stage.post(body, headers)
    assert (first.status_code, second.status_code) == (200, 200)
    assert "inc-1 is open" in first.text
    assert second.text == ""
    assert len(await stage.room.ledger.read(lambda rows: rows.incidents(live_only=False, limit=9))) == 1


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (slash("help"), 200),
        (slash("list"), 200),
        (slash("freez s01"), 200),
        (b"payload=%7Bnot+json", 400),
        (b"payload=%7B%22type%22%3A%22block_actions%22%7D", 404),
        (b"\xff\xfe", 400),
        (b"", 404),
        (b"payload=%5B%5D", 400),
        (b"payload=%22x%22", 400),
        (b"payload=%7B%22type%22%3A%22block_actions%22%2C%22actions%22%3A%5B%7B%7D%5D%7D", 400),
        (b"payload=%7B%22type%22%3A%22view_submission%22%2C%22view%22%3A%7B%7D%7D", 400),
        (slash("ack", team="T0ELSEWHERE"), 200),
    ],
)
async def test_no_signed_request_makes_a_500(stage: Stage, body: bytes, status: int) -> None:
    answer = await stage.post(body, signed(body))
    assert answer.status_code < 500
    assert (answer.status_code == 200) == (status == 200)


async def test_a_typo_is_answered_with_the_nearest_command(stage: Stage) -> None:
    answer = await stage.hands.command("U0ADA", "general", "/incident declar SEV-1 x")
    assert "Did you mean `declare`?" in answer["saw"][0]["text"]
    assert answer["ack"]["ms"] < 1000


async def test_a_form_that_comes_too_late_is_replaced_by_what_to_type(stage: Stage) -> None:
    await stage.hands.fail({"method": "views.open", "count": 1, "latency_ms": 3300})
    await stage.hands.command("U0ADA", "general", "/incident declare")
    assert "declare SEV-1 what is wrong" in (await stage.told("U0ADA", "too late"))["text"]


async def test_a_slow_decision_is_acknowledged_in_time_and_answered_later(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = stage.room.ledger.decide

    async def slow(*given: Any, **more: Any) -> Any:
        await asyncio.sleep(0.5)
        return await real(*given, **more)

    await stage.opened()
    await stage.idle()
    monkeypatch.setattr("bot.chat.front.IN_TIME", 0.1)
    monkeypatch.setattr(stage.room.ledger, "decide", slow)
    answer = await stage.hands.command("U0ADA", "general", "/incident ack inc-1")
    assert answer["saw"][0]["text"] == "Working on it…"
    monkeypatch.setattr(stage.room.ledger, "decide", real)
    assert "acknowledged by Ada" in (await stage.told("U0ADA", "acknowledged by Ada"))["text"]


async def test_somebody_without_slack_is_told_of_rather_than_lost(stage: Stage) -> None:
    await stage.opened()
    entry = j.Paged(page="p2", people=("nobody",), level=0, reason="x")
    await stage.room.decide(record.note, record.Note(by=Actor(person=None, via="policy"), incident=1, entry=entry))
    await stage.idle()
    assert any("nobody has no Slack account" in why for _, why in stage.buried)


async def test_no_label_of_an_alert_takes_effect_anywhere(stage: Stage) -> None:
    evil = "<!channel> *x* \u202e http://evil"
    await stage.room.receive(alert("Unheard" + evil, avs=evil, summary=evil))
    incident = await stage.until(lambda i: i.header is not None)
    await stage.idle()
    channels = (await stage.hands.state())["channels"]
    for message in [m for channel in channels for m in await stage.hands.messages(channel["id"])]:
        assert "<!channel>" not in message["text"]
        assert "\u202e" not in str(message)
    assert incident.channel_name
    assert stage.buried == []
