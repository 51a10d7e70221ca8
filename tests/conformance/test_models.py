"""slack_sdk's own models read and validate what the bot sends, and lose nothing of it."""

import json
from typing import Any

import pytest

from tests.conformance.models import complaints
from tests.conformance.payloads import Payload

TEXT = {"type": "plain_text", "text": "x"}
DIVIDER = {"type": "divider"}
Json = dict[str, Any]


def test_slack_sdk_has_nothing_against_anything_that_is_sent(payloads: list[Payload]) -> None:
    each = {json.dumps([payload.blocks, payload.view, payload.body.get("metadata")]): payload for payload in payloads}
    assert len(each) > 80
    found = {payload.whence: said for payload in each.values() if (said := complaints(payload))}
    assert found == {}


def _block(**block: Any) -> Json:
    return {"blocks": [block]}


WRONG: dict[str, tuple[Json, str]] = {
    "an unknown kind of block": (_block(type="sektion"), "no block that slack_sdk knows"),
    "an unknown key": (_block(type="section", text=TEXT, colour="red"), "colour"),
    "a section without text": (_block(type="section"), "text or fields"),
    "a section too long": (_block(type="section", text=TEXT | {"text": "x" * 3001}), "3000"),
    "a headline too long": (_block(type="header", text=TEXT | {"text": "x" * 151}), "150"),
    "eleven fields": (_block(type="section", fields=[TEXT] * 11), "10 items"),
    "too many buttons": (_block(type="actions", elements=[{"type": "button", "text": TEXT}] * 26), "25 elements"),
    "a button's text too long": (
        _block(type="actions", elements=[{"type": "button", "text": TEXT | {"text": "x" * 76}}]),
        "75 characters",
    ),
    "an unknown style": (_block(type="actions", elements=[{"type": "button", "text": TEXT, "style": "red"}]), "style"),
    "a form's title too long": (
        {"view": {"type": "modal", "title": TEXT | {"text": "x" * 25}, "blocks": [DIVIDER]}},
        "24 characters",
    ),
    "too many blocks of a form": (
        {"view": {"type": "modal", "title": TEXT, "blocks": [DIVIDER] * 101}},
        "100",
    ),
    "an unknown kind of view": ({"view": {"type": "window", "title": TEXT, "blocks": [DIVIDER]}}, "type"),
}


@pytest.mark.parametrize("name", WRONG)
def test_slack_sdk_complains_of(name: str) -> None:
    body, words = WRONG[name]
    said = complaints(Payload(method="chat.postMessage", body=body, whence="wrong"))
    assert words in " ".join(said), said
