"""The recorder hears everything that leaves, and after secrets were blotted out."""

import json
from typing import Any

import pytest

from tests.chat.conftest import SECRET, TOKEN, slash
from tests.conformance.payloads import Payload
from tests.conformance.recorder import ACK, RESPONSE, SUBMISSION, asked_for, plain

Json = dict[str, Any]
TOLD = (
    "auth.test",
    "chat.postMessage",
    "chat.update",
    "conversations.create",
    "conversations.history",
    "conversations.invite",
    "conversations.open",
    "conversations.setTopic",
    "files.completeUploadExternal",
    "files.getUploadURLExternal",
    "pins.add",
    "users.info",
    "views.open",
    "views.publish",
)


@pytest.mark.parametrize("method", [*TOLD, RESPONSE, ACK, SUBMISSION])
def test_a_night_has(method: str, story: list[Json]) -> None:
    assert any(line["method"] == method for line in story)


def test_each_call_has_its_answer(story: list[Json]) -> None:
    calls = [line for line in story if line["method"] not in {RESPONSE, ACK, SUBMISSION}]
    assert [line["method"] for line in calls if not isinstance(line["answer"], dict)] == []


def test_nothing_that_leaves_holds_a_secret(payloads: list[Payload]) -> None:
    every = json.dumps([payload.body for payload in payloads])
    assert TOKEN not in every
    assert SECRET not in every


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (slash("help"), ACK),
        (b'payload={"type":"view_submission"}', SUBMISSION),
        (b'payload={"type":"block_actions"}', ACK),
        (b'payload={"type":"view_closed"}', None),
        (b"payload=[]", None),
        (b"payload={", None),
        (b'{"type":"event_callback"}', None),
    ],
    ids=["a command", "a form", "a button", "a closed form", "a list", "broken", "an event"],
)
def test_an_acknowledgement_is_judged_by_what_was_asked(body: bytes, kind: str | None) -> None:
    assert asked_for(body) == kind


def test_arguments_are_recorded_as_values() -> None:
    given = {"files": '[{"id": "F1"}]', "channel": "C1", "thread_ts": None, "text": "[{ not json"}
    assert plain(given) == {"files": [{"id": "F1"}], "channel": "C1", "text": "[{ not json"}
