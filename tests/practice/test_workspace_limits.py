"""Slack's limits, each at its edge and one above, asked through slack_sdk; names and pointers as Slack spells them."""

from collections.abc import Callable
from typing import Any

import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.practice.workspace.limits import block_problems, name_problem, view_problems
from bot.practice.workspace.office import Office

Block = dict[str, Any]


def plain(length: int) -> Block:
    return {"type": "plain_text", "text": "x" * length}


def mrkdwn(length: int) -> Block:
    return {"type": "mrkdwn", "text": "x" * length}


def button(**more: Any) -> Block:
    return {"type": "button", "action_id": "a", "text": plain(1), **more}


def acts(*elements: Block) -> Block:
    return {"type": "actions", "elements": list(elements)}


def menu(*options: Block, kind: str = "static_select", **more: Any) -> Block:
    return {"type": kind, "action_id": "m", "options": list(options), **more}


def option(text: int = 1, value: int = 1, **more: Any) -> Block:
    return {"text": plain(text), "value": "v" * value, **more}


def input_(element: Block | None = None, label: int = 1, **more: Any) -> Block:
    element = element or {"type": "plain_text_input", "action_id": "t"}
    return {"type": "input", "label": plain(label), "element": element, **more}


def ask(title: int = 1, text: int = 1, yes: int = 1, no: int = 1) -> Block:
    return button(confirm={"title": plain(title), "text": plain(text), "confirm": plain(yes), "deny": plain(no)})


# what, its limit, a block that uses n of it, and where Slack points when n is too many
EDGES: list[tuple[str, int, Callable[[int], Block], str]] = [
    ("section text", 3000, lambda n: {"type": "section", "text": mrkdwn(n)}, "/text/text"),
    ("section fields", 10, lambda n: {"type": "section", "fields": [mrkdwn(1)] * n}, "/fields"),
    ("section field", 2000, lambda n: {"type": "section", "fields": [mrkdwn(n)]}, "/fields/0/text"),
    ("header", 150, lambda n: {"type": "header", "text": plain(n)}, "/text/text"),
    ("context", 10, lambda n: {"type": "context", "elements": [mrkdwn(1)] * n}, "/elements"),
    ("actions", 25, lambda n: acts(*(button(action_id=str(i)) for i in range(n))), "/elements"),
    ("button text", 75, lambda n: acts(button(text=plain(n))), "/elements/0/text/text"),
    ("button value", 2000, lambda n: acts(button(value="v" * n)), "/elements/0/value"),
    ("button url", 3000, lambda n: acts(button(url="h" * n)), "/elements/0/url"),
    ("action_id", 255, lambda n: acts(button(action_id="a" * n)), "/elements/0/action_id"),
    ("block_id", 255, lambda n: {"type": "divider", "block_id": "b" * n}, "/block_id"),
    ("options", 100, lambda n: acts(menu(*(option(value=i + 1) for i in range(n)))), "/elements/0/options"),
    ("option text", 75, lambda n: acts(menu(option(text=n))), "/elements/0/options/0/text/text"),
    ("option value", 150, lambda n: acts(menu(option(value=n))), "/elements/0/options/0/value"),
    (
        "option description",
        75,
        lambda n: acts(menu(option(description=plain(n)))),
        "/elements/0/options/0/description/text",
    ),
    ("placeholder", 150, lambda n: acts(menu(option(), placeholder=plain(n))), "/elements/0/placeholder/text"),
    (
        "overflow",
        5,
        lambda n: acts({"type": "overflow", "action_id": "o", "options": [option(value=i + 1) for i in range(n)]}),
        "/elements/0/options",
    ),
    (
        "radio",
        10,
        lambda n: acts(menu(*(option(value=i + 1) for i in range(n)), kind="radio_buttons")),
        "/elements/0/options",
    ),
    ("confirm title", 100, lambda n: acts(ask(title=n)), "/elements/0/confirm/title/text"),
    ("confirm text", 300, lambda n: acts(ask(text=n)), "/elements/0/confirm/text/text"),
    ("confirm yes", 30, lambda n: acts(ask(yes=n)), "/elements/0/confirm/confirm/text"),
    ("confirm no", 30, lambda n: acts(ask(no=n)), "/elements/0/confirm/deny/text"),
    ("label", 2000, lambda n: input_(label=n), "/label/text"),
    ("hint", 2000, lambda n: input_(hint=plain(n)), "/hint/text"),
    ("image url", 3000, lambda n: {"type": "image", "image_url": "h" * n, "alt_text": "a"}, "/image_url"),
    ("alt text", 2000, lambda n: {"type": "image", "image_url": "h", "alt_text": "a" * n}, "/alt_text"),
]


@pytest.mark.parametrize(("most", "make", "pointer"), [edge[1:] for edge in EDGES], ids=[edge[0] for edge in EDGES])
def test_a_block_is_taken_at_its_limit_and_refused_above(most: int, make: Callable[[int], Block], pointer: str) -> None:
    assert block_problems([make(most)], surface="message") == []
    (problem,) = block_problems([make(most + 1)], surface="message")
    assert problem.pointer == f"/blocks/0{pointer}"
    assert str(most + 1) in problem.message or str(most) in problem.message


# what is wrong, the blocks, what Slack says
WRONG: list[tuple[str, list[Block], str]] = [
    ("unknown block", [{"type": "banner"}], "unsupported type: banner [json-pointer:/blocks/0/type]"),
    (
        "unknown key",
        [acts(button(disabled=True))],
        "invalid additional property: disabled [json-pointer:/blocks/0/elements/0]",
    ),
    ("no text", [{"type": "section"}], "missing required field: text [json-pointer:/blocks/0]"),
    (
        "empty text",
        [{"type": "section", "text": mrkdwn(0)}],
        "must be more than 0 characters [json-pointer:/blocks/0/text/text]",
    ),
    (
        "mrkdwn header",
        [{"type": "header", "text": mrkdwn(1)}],
        "must be a valid enum value: plain_text [json-pointer:/blocks/0/text/type]",
    ),
    (
        "the same action twice",
        [acts(button()), acts(button())],
        "`action_id` 'a' already exists [json-pointer:/blocks/1/elements/0/action_id]",
    ),
    (
        "the same block twice",
        [{"type": "divider", "block_id": "b"}] * 2,
        "`block_id` 'b' already exists [json-pointer:/blocks/1/block_id]",
    ),
    ("no options", [acts(menu())], "no less than 1 item allowed [json-pointer:/blocks/0/elements/0/options]"),
    (
        "style",
        [acts(button(style="green"))],
        "must be a valid enum value: primary or danger [json-pointer:/blocks/0/elements/0/style]",
    ),
    (
        "typing in actions",
        [acts({"type": "plain_text_input", "action_id": "t"})],
        "unsupported type: plain_text_input [json-pointer:/blocks/0/elements/0/type]",
    ),
    ("51 blocks", [{"type": "divider"}] * 51, "no more than 50 items allowed [json-pointer:/blocks]"),
]


@pytest.mark.parametrize(("blocks", "said"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
async def test_slack_names_what_is_wrong(slack: AsyncWebClient, incidents: str, blocks: list[Block], said: str) -> None:
    with pytest.raises(SlackApiError) as refused:
        await slack.chat_postMessage(channel=incidents, text="x", blocks=blocks)

    answer = refused.value.response
    assert answer["error"] == "invalid_blocks"
    assert answer["errors"] == [said]
    assert answer["response_metadata"] == {"messages": [f"[ERROR] {said}"]}


def view(**more: Any) -> Block:
    return {"type": "modal", "title": plain(1), "blocks": [{"type": "divider"}], **more}


VIEW_EDGES: list[tuple[str, int, Callable[[int], Block], str]] = [
    ("title", 24, lambda n: view(title=plain(n)), "/view/title/text"),
    ("submit", 24, lambda n: view(submit=plain(n)), "/view/submit/text"),
    ("close", 24, lambda n: view(close=plain(n)), "/view/close/text"),
    ("private_metadata", 3000, lambda n: view(private_metadata="m" * n), "/view/private_metadata"),
    ("callback_id", 255, lambda n: view(callback_id="c" * n), "/view/callback_id"),
    ("external_id", 255, lambda n: view(external_id="e" * n), "/view/external_id"),
    ("blocks", 100, lambda n: view(blocks=[{"type": "divider"}] * n), "/view/blocks"),
    ("home", 100, lambda n: {"type": "home", "blocks": [{"type": "divider"}] * n}, "/view/blocks"),
]


@pytest.mark.parametrize(
    ("most", "make", "pointer"), [edge[1:] for edge in VIEW_EDGES], ids=[edge[0] for edge in VIEW_EDGES]
)
def test_a_view_is_taken_at_its_limit_and_refused_above(most: int, make: Callable[[int], Block], pointer: str) -> None:
    assert view_problems(make(most)) == []
    (problem,) = view_problems(make(most + 1))
    assert problem.pointer == pointer


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (
            view(blocks=[{"type": "divider"}, input_()]),
            "must define `submit` to use an `input` block in modals [json-pointer:/view/blocks/1/input]",
        ),
        ({"type": "modal", "blocks": []}, "missing required field: title [json-pointer:/view]"),
        (view(colour="red"), "invalid additional property: colour [json-pointer:/view]"),
        ({"type": "home", "blocks": []}, "unsupported type: home [json-pointer:/view/type]"),
    ],
)
async def test_a_view_that_slack_would_not_open(slack: AsyncWebClient, office: Office, wrong: Block, said: str) -> None:
    with pytest.raises(SlackApiError) as refused:
        await slack.views_open(trigger_id=office.world.new_trigger("U0ANNA"), view=wrong)

    assert refused.value.response["error"] == "invalid_arguments"
    assert refused.value.response["response_metadata"]["messages"] == [f"[ERROR] {said}"]


def test_an_action_id_may_repeat_in_a_view_but_not_within_a_block() -> None:
    typed = [input_({"type": "plain_text_input", "action_id": "same"}) for _ in range(2)]

    assert view_problems(view(submit=plain(1), blocks=typed)) == []
    assert view_problems(view(blocks=[acts(button(), button())]))


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("inc-7_eigenda", None),
        ("a" * 80, None),
        ("a" * 81, "invalid_name_maxlength"),
        ("", "invalid_name_required"),
        ("Inc", "invalid_name_specials"),
        ("inc 7", "invalid_name_specials"),
        ("inc.7", "invalid_name_specials"),
        ("---", "invalid_name_punctuation"),
    ],
)
def test_channel_names(name: str, error: str | None) -> None:
    assert name_problem(name) == error


@pytest.mark.filterwarnings("ignore:The top-level `text` argument is missing:UserWarning")
@pytest.mark.parametrize(
    ("text", "blocks", "error"),
    [
        ("", [], "no_text"),
        ("  ", None, "no_text"),
        ("x", "[{", "invalid_blocks_format"),
        ("x", [{"type": "section", "text": mrkdwn(2640)}] * 5, None),
        ("x", [{"type": "section", "text": mrkdwn(2641)}] * 5, "msg_blocks_too_long"),
    ],
)
async def test_a_message_needs_text_and_its_blocks_share_13200_characters(
    slack: AsyncWebClient, incidents: str, text: str, blocks: Any, error: str | None
) -> None:
    if error is None:
        assert (await slack.chat_postMessage(channel=incidents, text=text, blocks=blocks))["ok"]
        return
    with pytest.raises(SlackApiError, match=error):
        await slack.chat_postMessage(channel=incidents, text=text, blocks=blocks)


async def test_a_post_is_cut_at_40000_and_an_update_refused_above_4000(slack: AsyncWebClient, incidents: str) -> None:
    posted = await slack.chat_postMessage(channel=incidents, text="x" * 40_001)
    assert len(posted["message"]["text"]) == 40_000
    assert posted["response_metadata"]["warnings"] == ["message_truncated"]

    assert (await slack.chat_update(channel=incidents, ts=posted["ts"], text="y" * 4_000))["ok"]
    with pytest.raises(SlackApiError, match="msg_too_long"):
        await slack.chat_update(channel=incidents, ts=posted["ts"], text="y" * 4_001)


@pytest.mark.parametrize(
    ("metadata", "error"),
    [
        ({"event_type": "stopsign", "event_payload": {"key": "k" * 100}}, None),
        ({"event_payload": {}}, "invalid_metadata_format"),
        ({"event_type": "stopsign", "event_payload": {"key": "k" * 17_000}}, "metadata_too_large"),
    ],
)
async def test_metadata(slack: AsyncWebClient, incidents: str, metadata: dict[str, Any], error: str | None) -> None:
    if error is None:
        assert (await slack.chat_postMessage(channel=incidents, text="x", metadata=metadata))["ok"]
        return
    with pytest.raises(SlackApiError, match=error):
        await slack.chat_postMessage(channel=incidents, text="x", metadata=metadata)
