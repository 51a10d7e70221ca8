"""Slack's limits that no published type or model knows, and a control for each that it is noticed when broken."""

import json
from typing import Any

import pytest

from tests.conformance import limits
from tests.conformance.limits import LIMITS, RULES, Limit, breaches
from tests.conformance.payloads import Payload

Json = dict[str, Any]
LISTS = frozenset({"blocks", "elements", "options", "fields"})
NUMBERS = frozenset({"max_length", "min_length", "limit"})
WORDS = "two signatures for slot 7"


def test_everything_that_is_sent_keeps_slacks_limits(payloads: list[Payload]) -> None:
    each = {json.dumps([payload.method, payload.body], sort_keys=True): payload for payload in payloads}
    found = {
        payload.whence: broken
        for payload in each.values()
        if (broken := [text for kind, root in payload.parts() for text in breaches(kind, root)])
    }
    assert found == {}


# ---- a control for each length


def plain(text: str) -> Json:
    """Return a plain text."""
    return {"type": "plain_text", "text": text}


def button(**more: Any) -> Json:
    """Return a button."""
    return {"type": "button", "text": plain("Go"), "action_id": "a"} | more


def select(**more: Any) -> Json:
    """Return a menu with one choice."""
    return {"type": "static_select", "action_id": "a", "options": [{"text": plain("one"), "value": "1"}]} | more


def entry(**more: Any) -> Json:
    """Return a field to write into."""
    return {"type": "plain_text_input", "action_id": "a"} | more


def message(*blocks: Json, **more: Any) -> Json:
    """Return a message."""
    return {"text": WORDS, "blocks": list(blocks)} | more


def modal(*blocks: Json, **more: Any) -> Json:
    """Return a form that can be submitted."""
    return {"type": "modal", "title": plain("Form"), "submit": plain("Go"), "blocks": list(blocks)} | more


def asks(*elements: Json) -> list[Json]:
    """Return inputs with these elements."""
    return [{"type": "input", "label": plain("What?"), "element": element} for element in elements]


def actions(*elements: Json) -> Json:
    """Return a row of elements."""
    return {"type": "actions", "elements": list(elements)}


def around(kind: str, node: Json) -> tuple[str, Json]:
    """Return as what, and in what, an object of a kind is sent."""
    match kind:
        case "field":
            return "message", message({"type": "section", "fields": [node]})
        case "option":
            return "message", message(actions(select(options=[node])))
        case "confirm":
            return "message", message(actions(button(confirm=node)))
        case "rich_text_section":
            return "message", message({"type": "rich_text", "elements": [node | {"type": kind}]})
        case "plain_text_input":
            return "modal", modal(*asks(node | {"type": kind}))
        case _ if kind in limits.BLOCKS:
            return "message", message(node | {"type": kind})
        case "button" | "static_select" | "multi_static_select":
            return "message", message(actions(node | {"type": kind}))
        case _ if kind in limits.PICKERS:
            return "modal", modal(*asks(node | {"type": kind}))
        case _:
            return kind, node


def sized(limit: Limit, size: int) -> tuple[str, Json]:
    """Return something in which what `limit` is about has this size."""
    leaf = limit.path.rpartition(".")[2]
    value: Any = [{} for _ in range(size)] if leaf in LISTS else size if leaf in NUMBERS else "x" * size
    for key in reversed(limit.path.split(".")):
        value = {key: value}
    return around(limit.kind, value)


def told(limit: Limit, size: int) -> bool:
    """Tell whether the walk notices this limit at a size."""
    kind, root = sized(limit, size)
    if kind in {"conversations.create", "conversations.invite"}:
        return any(limit.name in text for text in limits._of(kind, root))
    return any(limit.name in text for text in breaches(kind, root))


@pytest.mark.parametrize("limit", LIMITS, ids=[limit.name for limit in LIMITS])
def test_a_limit_is_noticed_when_it_is_broken_and_only_then(limit: Limit) -> None:
    assert told(limit, limit.most + 1)
    assert not told(limit, limit.most)
    assert limit.least == 0 or told(limit, limit.least - 1)


def test_no_limit_is_there_twice() -> None:
    assert len({(limit.kind, limit.path) for limit in LIMITS}) == len(LIMITS)


# ---- a control for each rule

OPTION = {"text": plain("one"), "value": "1"}
MRKDWN = {"type": "mrkdwn", "text": "x"}
WRONG: dict[str, tuple[str, Json, str]] = {
    "two buttons of one name": (
        "message",
        message(actions(button()), actions(button())),
        "action_id 'a' is there more than once",
    ),
    "two elements of one name in a block of a form": ("modal", modal(actions(button(), button())), "action_id 'a'"),
    "two blocks of one name": (
        "message",
        message({"type": "divider", "block_id": "b"}, {"type": "divider", "block_id": "b"}),
        "block_id 'b'",
    ),
    "blocks too long together": (
        "message",
        message(*({"type": "section", "text": plain("x" * 2_700)} for _ in range(5))),
        "msg_blocks_too_long",
    ),
    "a message that says nothing": ("message", {"text": ""}, "read aloud"),
    "a message without text": ("message", {"blocks": []}, "read aloud"),
    "a message that is only a mention": ("message", {"text": "<@U0ADA> <!here> :fire: &amp; ✅"}, "read aloud"),
    "metadata too large": (
        "message",
        message(metadata={"event_type": "a", "event_payload": {"x": "x" * 17_000}}),
        "metadata_too_large",
    ),
    "metadata without a type": ("message", message(metadata={"event_payload": {}}), "event_type"),
    "half an emoji": ("message", message(text=WORDS + "\ud83d"), "surrogate"),
    "a link cut in half": (
        "message",
        message({"type": "context", "elements": [MRKDWN | {"text": "see <!date^1"}]}),
        "half",
    ),
    "an entity cut in half": ("message", message({"type": "section", "fields": [MRKDWN | {"text": "a &am"}]}), "half"),
    "a fallback cut in half": ("message", message(text=WORDS + " &l…"), "half"),
    "two that take the focus": (
        "modal",
        modal(*asks(entry(focus_on_load=True), entry(focus_on_load=True))),
        "focus_on_load",
    ),
    "a form that cannot be submitted": ("modal", modal(*asks(entry()), submit=None), "no submit"),
    "a form too large": ("modal", modal({"type": "section", "text": plain("é" * 60_000)}), "view_too_large"),
    "a form's title in mrkdwn": ("modal", modal(title=MRKDWN), "not plain_text"),
    "a section of nothing": ("message", message({"type": "section"}), "neither text nor fields"),
    "a choice that is not there": (
        "message",
        message(actions(select(initial_option=OPTION, options=[]))),
        "initial_option",
    ),
    "choices that are not there": (
        "modal",
        modal(*asks({"type": "checkboxes", "action_id": "a", "options": [], "initial_options": [OPTION]})),
        "initial_options",
    ),
    "a draft too long": ("modal", modal(*asks(entry(initial_value="xx", max_length=1))), "initial_value"),
    "a least over the most": ("modal", modal(*asks(entry(min_length=3, max_length=2))), "min_length"),
    "a hint in mrkdwn": ("modal", modal(*asks(entry(placeholder=MRKDWN))), "not plain_text"),
    "a red button": ("message", message(actions(button(style="red"))), "a style"),
    "a button to a script": ("message", message(actions(button(url="javascript:alert(1)"))), "web address"),
    "a button in mrkdwn": ("message", message(actions(button(text=MRKDWN))), "not plain_text"),
    "a headline in mrkdwn": ("message", message({"type": "header", "text": MRKDWN}), "not plain_text"),
    "a label in mrkdwn": ("modal", modal({"type": "input", "label": MRKDWN, "element": entry()}), "not plain_text"),
    "a question in mrkdwn": ("message", message(actions(button(confirm={"title": MRKDWN}))), "not plain_text"),
    "a menu's hint in mrkdwn": ("message", message(actions(select(placeholder=MRKDWN))), "not plain_text"),
    "a channel in capitals": ("conversations.create", {"name": "Inc-7"}, "no name"),
    "a channel of signs": ("conversations.create", {"name": "--"}, "no name"),
    "too many at once": ("conversations.invite", {"users": ",".join(f"U{n}" for n in range(101))}, "101 users"),
    "nobody": ("conversations.invite", {"users": ""}, "0 users"),
    "an error without words": ("view_submission", {"errors": {"text": " "}}, "without words"),
}


@pytest.mark.parametrize("name", WRONG)
def test_the_walk_notices(name: str) -> None:
    kind, root, words = WRONG[name]
    assert words in " ".join(breaches(kind, root))


def test_no_rule_is_without_something_that_breaks_it() -> None:
    broken = set()
    for as_, root, _ in WRONG.values():
        nodes = [(as_, root), *((f"<{name}>", node) for _, name, node in limits._walk(as_, root, ""))]
        broken |= {rule for kind, node in nodes for rule in RULES.get(kind, ()) if list(rule(node))}
    assert {rule for rules in RULES.values() for rule in rules} - broken == set()


def test_what_is_right_breaks_nothing() -> None:
    assert breaches("message", message(actions(button(), select(action_id="b")))) == []
    assert breaches("modal", modal(*asks(entry(focus_on_load=True, initial_value="x")))) == []
