"""What the bot sends has the types that Slack publishes: unknown keys, wrong types and missing arguments fail."""

from typing import Any

import pytest

from tests.conformance import typescript
from tests.conformance.payloads import Payload, distinct, shape
from tests.conformance.typescript import Literal

TEXT = {"type": "plain_text", "text": "x"}
BUTTON = {"type": "button", "action_id": "a", "text": TEXT}
SECTION = {"type": "section", "text": TEXT}
SELECT = {"type": "static_select", "action_id": "a", "options": [{"text": TEXT, "value": "x"}]}
MODAL = {"type": "modal", "title": TEXT, "blocks": [SECTION]}

WRONG: dict[str, tuple[str, Any]] = {
    "an unknown argument": ("ChatPostMessageArguments", {"channel": "C", "text": "x", "colour": "red"}),
    "a message without channel": ("ChatPostMessageArguments", {"text": "x"}),
    "an update without ts": ("ChatUpdateArguments", {"channel": "C", "text": "x"}),
    "a channel that is a number": ("ChatPostMessageArguments", {"channel": 7, "text": "x"}),
    "a form without trigger": ("ViewsOpenArguments", {"view": MODAL}),
    "an unknown argument of pins.add": ("PinsAddArguments", {"channel": "C", "timestamp": "1.2", "ts": "1.2"}),
    "a method that Slack has not": ("ChatShoutArguments", {"channel": "C"}),
    "an unknown kind of block": ("KnownBlock", {"type": "sektion", "text": TEXT}),
    "an unknown key of a block": ("KnownBlock", SECTION | {"colour": "red"}),
    "an unknown key of an element": ("KnownBlock", {"type": "actions", "elements": [BUTTON | {"colour": "red"}]}),
    "an unknown key of a text": ("KnownBlock", {"type": "section", "text": TEXT | {"bold": True}}),
    "a headline in mrkdwn": ("KnownBlock", {"type": "header", "text": {"type": "mrkdwn", "text": "x"}}),
    "a header whose text is a string": ("KnownBlock", {"type": "header", "text": "x"}),
    "an input among actions": ("KnownBlock", {"type": "actions", "elements": [{"type": "input", "label": TEXT}]}),
    "a button's style that is a colour": ("KnownBlock", {"type": "actions", "elements": [BUTTON | {"style": "red"}]}),
    "a question that is a string": ("KnownBlock", {"type": "actions", "elements": [BUTTON | {"confirm": "sure?"}]}),
    "an option without text": (
        "KnownBlock",
        {"type": "actions", "elements": [SELECT | {"options": [{"value": "x"}]}]},
    ),
    "an input without label": ("KnownBlock", {"type": "input", "element": SELECT}),
    "rich text of unknown parts": ("KnownBlock", {"type": "rich_text", "elements": [{"type": "rich_text_song"}]}),
    "a date without format": (
        "KnownBlock",
        {
            "type": "rich_text",
            "elements": [{"type": "rich_text_section", "elements": [{"type": "date", "timestamp": 1}]}],
        },
    ),
    "a form without title": ("ModalView", {"type": "modal", "blocks": [SECTION]}),
    "an unknown key of a form": ("ModalView", MODAL | {"size": "large"}),
    "a home page with a title": ("HomeView", {"type": "home", "blocks": [SECTION], "title": TEXT}),
    "an answer in public or private": ("Respond", {"text": "x", "response_type": "both"}),
    "an answer without text": ("Respond", {"response_type": "ephemeral"}),
    "errors that are a list": ("Submitted", {"response_action": "errors", "errors": ["x"]}),
}


@pytest.fixture(scope="module")
def verdict(payloads: list[Payload], tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Return what tsc says of everything that is sent, and of what is wrong, in one run."""
    wrong = [Literal(type=kind, value=value, whence=f"wrong: {name}") for name, (kind, value) in WRONG.items()]
    good = typescript.literals(distinct(payloads).values())
    assert len(good) > 80
    return typescript.check(tmp_path_factory.mktemp("tsc"), [*good, *wrong])


def test_everything_that_is_sent_has_slacks_types(verdict: dict[str, list[str]]) -> None:
    assert {whence: said for whence, said in verdict.items() if not whence.startswith("wrong: ")} == {}


@pytest.mark.parametrize("name", WRONG)
def test_tsc_refuses(name: str, verdict: dict[str, list[str]]) -> None:
    assert verdict.get(f"wrong: {name}")


@pytest.mark.parametrize(
    ("method", "name"),
    [
        ("chat.postMessage", "ChatPostMessageArguments"),
        ("files.getUploadURLExternal", "FilesGetUploadURLExternalArguments"),
        ("users.profile.get", "UsersProfileGetArguments"),
        ("response_url", "Respond"),
    ],
)
def test_a_methods_arguments_have_slacks_name(method: str, name: str) -> None:
    assert typescript.type_of(method) == name


def test_a_shape_keeps_what_a_type_can_tell_apart() -> None:
    first = {"type": "button", "text": TEXT, "value": "one", "style": "danger"}
    assert shape(first) == shape(first | {"value": "two"})
    assert shape(first) != shape(first | {"style": "red"})
    assert shape(first) != shape(first | {"value": 7})
    assert shape([first, first | {"value": "two"}, SECTION]) == [shape(first), shape(SECTION)]
