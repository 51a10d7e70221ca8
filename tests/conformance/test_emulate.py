"""npm's `emulate`, a Slack that others wrote, answers a whole night as the practice workspace did."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.conformance import emulator
from tests.conformance.emulator import Difference, Replay

Json = dict[str, Any]

KNOWN: dict[tuple[str, str, str], str] = {}
"""(method, our answer, emulate's) → why they may differ; each is explained in docs/slack-conformance.md too."""


@pytest.fixture(scope="module")
def calls(story: list[Json]) -> list[Json]:
    """Return the Web API calls of the night that were answered."""
    return [line for line in story if isinstance(line["answer"], dict)]


@pytest.fixture(scope="module")
def replayed(calls: list[Json]) -> Iterator[tuple[Replay, list[Difference]]]:
    """Send the night to emulate; yield what it was told, while it still runs."""
    with emulator.running() as client:
        replay = Replay(client)
        replay.prepare(calls)
        yield replay, [found for line in calls if (found := replay.again(line))]


def test_it_answers_everything_as_the_practice_workspace_does(
    calls: list[Json], replayed: tuple[Replay, list[Difference]]
) -> None:
    replay, differences = replayed
    assert [found for found in differences if found.key not in KNOWN] == []
    assert replay.sent.total() == len(calls) > 50
    assert {"chat.postMessage", "chat.update", "views.open", "pins.add", "conversations.invite"} <= set(replay.sent)


def test_what_it_keeps_is_what_was_sent(calls: list[Json], replayed: tuple[Replay, list[Difference]]) -> None:
    replay, _ = replayed
    room = next(line["answer"]["channel"]["id"] for line in calls if line["method"] == "conversations.create")
    last = {ts: body for ts, body in map(_written, calls) if body.get("channel") == room and ts}
    room = replay.translated(room)
    kept = replay.call("conversations.history", {"channel": room, "limit": 200})["messages"]
    wanted = [replay.translated(body["blocks"]) for body in last.values()]
    assert len(wanted) > 5
    assert [blocks for blocks in wanted if blocks not in [message.get("blocks") for message in kept]] == []
    header = next(line["body"]["timestamp"] for line in calls if line["method"] == "pins.add")
    [pinned] = replay.call("pins.list", {"channel": room}, token=emulator.READER)["items"]
    assert pinned["message"]["text"] == last[header]["text"]


def _written(line: Json) -> tuple[str, Json]:
    """Return the timestamp of the message that a call wrote, or nothing, and what it wrote."""
    writes = line["method"] in {"chat.postMessage", "chat.update"} and line["answer"]["ok"]
    return str(line["answer"]["ts"]) if writes else "", line["body"]


WRONG: dict[str, tuple[str, Json, str]] = {
    "a channel that is not there": ("chat.postMessage", {"channel": "C0NOWHERE", "text": "x"}, "channel_not_found"),
    "a form without title": ("views.open", {"view": {"type": "modal", "blocks": []}}, "invalid_view"),
    "a name in signs": ("conversations.create", {"name": "!!"}, "invalid_name_punctuation"),
    "a method that is not there": ("chat.shout", {}, "not_emulated"),
    "a scope that the manifest does not ask for": ("reactions.add", {"name": "x"}, "missing_scope"),
}


@pytest.mark.parametrize("name", WRONG)
def test_it_refuses(name: str, replayed: tuple[Replay, list[Difference]]) -> None:
    method, body, error = WRONG[name]
    answer = replayed[0].call(method, body)
    assert (answer["ok"], answer["error"]) == (False, error)


def test_a_difference_would_be_seen(replayed: tuple[Replay, list[Difference]]) -> None:
    line = {"method": "chat.postMessage", "body": {"channel": "C0NOWHERE", "text": "x"}, "answer": {"ok": True}}
    found = replayed[0].again(line)
    assert found is not None
    assert found.key == ("chat.postMessage", "ok", "channel_not_found")
