"""Every element in a form: what a person puts in is what `state.values` and actions carry; external menus; files."""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.practice.workspace.client import Impossible, People
from bot.practice.workspace.limits import block_problems
from bot.practice.workspace.office import Office
from bot.practice.workspace.values import suggested

Heard = list[tuple[str, dict[str, Any]]]
Shown = Callable[..., Awaitable[dict[str, Any]]]


def option(word: str) -> dict[str, Any]:
    return {"text": {"type": "plain_text", "text": word.title()}, "value": word}


def field(kind: str, *, optional: bool = False, **more: Any) -> dict[str, Any]:
    label = {"type": "plain_text", "text": kind}
    element = {"type": kind, "action_id": "a", **more}
    return {"type": "input", "block_id": kind, "label": label, "element": element, "optional": optional}


IC, OPS = option("ic"), option("ops")
EXTERNAL: dict[str, Any] = {"type": "external_select", "action_id": "runbook", "min_query_length": 0}


@pytest.fixture
async def shown(slack: AsyncWebClient, office: Office) -> Shown:
    """Open a form with these blocks on Anna's screen and return its view."""

    async def show(*blocks: dict[str, Any], **more: Any) -> dict[str, Any]:
        view = {
            "type": "modal",
            "callback_id": "form",
            "title": {"type": "plain_text", "text": "Form"},
            "submit": {"type": "plain_text", "text": "Go"},
            "blocks": list(blocks),
            **more,
        }
        answer = await slack.views_open(trigger_id=office.world.new_trigger("U0ANNA"), view=view)
        return dict(answer["view"])

    return show


# an element, what a person gives it, and its state
GIVEN: list[tuple[dict[str, Any], Any, dict[str, Any]]] = [
    (field("static_select", options=[IC, OPS]), "ops", {"selected_option": OPS}),
    (field("multi_static_select", options=[IC, OPS]), ["ic", "ops"], {"selected_options": [IC, OPS]}),
    (field("users_select"), "U0BEN", {"selected_user": "U0BEN"}),
    (field("multi_users_select"), ["U0ANNA", "U0BEN"], {"selected_users": ["U0ANNA", "U0BEN"]}),
    (field("conversations_select"), "C1", {"selected_conversation": "C1"}),
    (field("multi_conversations_select"), ["C1"], {"selected_conversations": ["C1"]}),
    (field("channels_select"), "C1", {"selected_channel": "C1"}),
    (field("datepicker"), "2026-02-03", {"selected_date": "2026-02-03"}),
    (field("timepicker"), "13:37", {"selected_time": "13:37"}),
    (field("datetimepicker"), 1_770_000_000, {"selected_date_time": 1_770_000_000}),
    (field("checkboxes", options=[IC, OPS]), ["ops"], {"selected_options": [OPS]}),
    (field("radio_buttons", options=[IC, OPS]), "ic", {"selected_option": IC}),
    (field("plain_text_input", multiline=True), "a\nb", {"value": "a\nb"}),
    (field("number_input", is_decimal_allowed=False), "7", {"value": "7"}),
    (field("email_text_input"), "a@b.example", {"value": "a@b.example"}),
    (field("url_text_input"), "https://a.example", {"value": "https://a.example"}),
]


async def test_a_form_of_everything_is_submitted_as_it_was_filled_in(
    people: People, shown: Shown, heard: Heard
) -> None:
    await shown(*(block for block, _, _ in GIVEN))

    answer = await people.submit("U0ANNA", {block["block_id"]: given for block, given, _ in GIVEN})

    assert (answer["ok"], answer["errors"]) == (True, {})
    values = heard[0][1]["view"]["state"]["values"]
    assert values == {
        block["block_id"]: {"a": {"type": block["element"]["type"], **state}} for block, _, state in GIVEN
    }


async def test_untouched_fields_keep_what_they_began_with(people: People, shown: Shown, heard: Heard) -> None:
    await shown(
        field("multi_static_select", options=[IC, OPS], initial_options=[OPS]),
        field("datepicker", initial_date="2026-02-03"),
        field("users_select", optional=True),
    )

    await people.submit("U0ANNA", {})

    values = heard[0][1]["view"]["state"]["values"]
    assert values["multi_static_select"]["a"]["selected_options"] == [OPS]
    assert values["datepicker"]["a"]["selected_date"] == "2026-02-03"
    assert values["users_select"]["a"]["selected_user"] is None


@pytest.mark.parametrize(
    ("block", "given", "said"),
    [
        (field("multi_users_select", max_selected_items=1), ["U0ANNA", "U0BEN"], "Please select no more than 1."),
        (field("email_text_input"), "nobody", "Please enter a valid email address."),
        (field("url_text_input"), "javascript:alert(1)", "Please enter a valid URL."),
        (
            field("file_input", filetypes=["pdf"]),
            [{"filename": "x.exe", "content": "x"}],
            "Files of this type cannot be uploaded here: x.exe",
        ),
        (
            field("file_input", max_files=1),
            [{"filename": "a.txt"}, {"filename": "b.txt"}],
            "Please upload no more than 1 files.",
        ),
        (field("checkboxes", options=[IC]), [], "Please complete this required field."),
    ],
)
async def test_the_client_stops_what_does_not_fit(
    people: People, shown: Shown, heard: Heard, block: dict[str, Any], given: Any, said: str
) -> None:
    await shown(block)

    answer = await people.submit("U0ANNA", {block["block_id"]: given})

    assert answer["errors"] == {block["block_id"]: said}
    assert heard == []


async def test_files_of_a_form_arrive_as_file_objects(
    people: People, shown: Shown, slack: AsyncWebClient, heard: Heard
) -> None:
    await shown(field("file_input", filetypes=["png"]))
    picture = {"filename": "graph.png", "base64": base64.b64encode(b"png").decode()}

    await people.submit("U0ANNA", {"file_input": [picture]})

    (file,) = heard[0][1]["view"]["state"]["values"]["file_input"]["a"]["files"]
    assert (file["name"], file["mimetype"], file["user"], file["size"]) == ("graph.png", "image/png", "U0ANNA", 3)
    assert (await slack.files_info(file=file["id"]))["file"]["url_private_download"] == file["url_private_download"]


async def test_a_press_in_a_form_carries_what_stands_in_its_other_fields(
    people: People, shown: Shown, heard: Heard
) -> None:
    button = {"type": "button", "action_id": "role", "text": {"type": "plain_text", "text": "More"}}
    acts = {"type": "actions", "block_id": "acts", "elements": [button]}
    view = await shown(acts, field("file_input"), field("plain_text_input"), field("datepicker"))
    beside = {"file_input": [{"filename": "a.txt", "content": "x"}], "plain_text_input": "half a sen"}

    await people.act("press", user="U0ANNA", view_id=view["id"], action_id="role", values=beside)

    values = heard[0][1]["view"]["state"]["values"]
    assert values["plain_text_input"]["a"]["value"] == "half a sen"
    assert values["file_input"]["a"]["files"][0]["name"] == "a.txt"
    assert values["datepicker"]["a"]["selected_date"] is None


async def test_an_external_menu_asks_the_app_and_takes_only_what_it_offered(
    people: People, shown: Shown, heard: Heard
) -> None:
    view = await shown(field("external_select") | {"block_id": "book", "element": EXTERNAL})
    with pytest.raises(Impossible, match="option_not_found"):
        await people.submit("U0ANNA", {"book": "failover"})

    offered = await people.act("options", user="U0ANNA", view_id=view["id"], action_id="runbook", value="f")
    await people.submit("U0ANNA", {"book": "failover"})

    asked = next(body for name, body in heard if name == "options")
    assert (asked["type"], asked["value"], asked["block_id"]) == ("block_suggestion", "f", "book")
    assert asked["container"] == {"type": "view", "view_id": view["id"]}
    assert asked["view"]["id"] == view["id"]
    assert [row["value"] for row in offered["options"]] == ["freeze", "failover"]
    sent = next(body for name, body in heard if name == "form")["view"]["state"]["values"]["book"]["runbook"]
    assert sent["selected_option"] == option("failover")


async def test_an_external_menu_in_a_message(
    people: People, slack: AsyncWebClient, incidents: str, heard: Heard
) -> None:
    menu = EXTERNAL | {"min_query_length": 2}
    blocks = [{"type": "actions", "block_id": "acts", "elements": [menu]}]
    ts = (await slack.chat_postMessage(channel=incidents, text="x", blocks=blocks))["ts"]
    where = {"user": "U0ANNA", "channel": incidents, "ts": ts, "action_id": "runbook"}
    with pytest.raises(Impossible, match="no_query"):
        await people.act("options", **where, value="r")

    grouped = await people.act("options", **where, value="all")
    await people.act("options", **where, value="rot")
    pressed = await people.press("U0ANNA", incidents, ts, "runbook", selected_option="rotate")

    assert grouped["option_groups"] == [{"label": {"type": "plain_text", "text": "Keys"}, "options": []}]
    asked = next(body for name, body in heard if name == "options")
    assert (asked["message"]["ts"], asked["channel"]["id"]) == (ts, incidents)
    assert pressed["ack"]["status"] == 404  # nobody listens to the pick; what counts is that it could be picked


@pytest.mark.parametrize(
    "body",
    [None, "x", {}, {"options": [1]}, {"options": [{"text": "x"}]}, {"options": [IC] * 101}, {"option_groups": {}}],
)
def test_an_answer_that_is_no_list_of_options_shows_none(body: Any) -> None:
    assert suggested(body) is None


async def test_a_picked_conversation_may_be_answered(
    people: People, shown: Shown, incidents: str, heard: Heard
) -> None:
    await shown(field("conversations_select", response_url_enabled=True))

    await people.submit("U0ANNA", {"conversations_select": incidents})

    (url,) = heard[0][1]["response_urls"]
    assert (url["channel_id"], url["block_id"], url["action_id"]) == (incidents, "conversations_select", "a")


async def test_actions_of_each_kind_name_what_was_picked(people: People, slack: AsyncWebClient, incidents: str) -> None:
    picks: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = [
        ({"type": "overflow", "options": [IC, OPS]}, {"selected_option": "ops"}, {"selected_option": OPS}),
        ({"type": "checkboxes", "options": [IC, OPS]}, {"selected_options": ["ic"]}, {"selected_options": [IC]}),
        ({"type": "radio_buttons", "options": [IC, OPS]}, {"selected_option": "ic"}, {"selected_option": IC}),
        ({"type": "multi_users_select"}, {"selected_users": ["U0BEN"]}, {"selected_users": ["U0BEN"]}),
        ({"type": "datepicker"}, {"selected_date": "2026-02-03"}, {"selected_date": "2026-02-03"}),
        ({"type": "timepicker"}, {"selected_time": "13:37"}, {"selected_time": "13:37"}),
        (
            {"type": "conversations_select"},
            {"selected_conversation": incidents},
            {"selected_conversation": incidents},
        ),
    ]
    elements = [element | {"action_id": element["type"]} for element, _, _ in picks]
    blocks = [{"type": "actions", "block_id": "acts", "elements": elements}]
    ts = (await slack.chat_postMessage(channel=incidents, text="x", blocks=blocks))["ts"]
    for element, given, _ in picks:
        await people.press("U0ANNA", incidents, ts, element["type"], **given)

    message = (await people.messages(incidents))[0]
    for element, _, state in picks[1:]:
        assert message["picked"]["U0ANNA"]["acts"][element["type"]] == {"type": element["type"], **state}
    assert "overflow" not in message["picked"]["U0ANNA"]["acts"]


async def test_a_closed_modal_is_told_with_whether_all_were(
    people: People, shown: Shown, office: Office, slack: AsyncWebClient, heard: Heard
) -> None:
    root = await shown(field("users_select"), callback_id="declare", notify_on_close=True)
    second = {"type": "modal", "title": {"type": "plain_text", "text": "2"}, "blocks": [{"type": "divider"}]}
    trigger = office.world.new_trigger("U0ANNA", view=root["id"])
    top = (await slack.views_push(trigger_id=trigger, view=second | {"clear_on_close": True}))["view"]
    assert (top["previous_view_id"], top["root_view_id"]) == (root["id"], root["id"])

    await people.act("close", user="U0ANNA")

    async with asyncio.timeout(3):
        while not heard:
            await asyncio.sleep(0.01)
    assert [(name, body["view"]["id"], body["is_cleared"]) for name, body in heard] == [("closed", root["id"], True)]


@pytest.mark.parametrize(
    ("element", "pointer"),
    [
        ({"type": "datepicker", "initial_date": "3.2.2026"}, "initial_date"),
        ({"type": "datepicker", "initial_date": "2026-13-01"}, "initial_date"),
        ({"type": "timepicker", "initial_time": "24:00"}, "initial_time"),
        ({"type": "multi_users_select", "max_selected_items": 0}, "max_selected_items"),
        ({"type": "file_input", "max_files": 11}, "max_files"),
        ({"type": "file_input", "filetypes": []}, "filetypes"),
        ({"type": "plain_text_input", "dispatch_action_config": {"trigger_actions_on": ["blur"]}}, "dispatch_action"),
        ({"type": "static_select", "options": [IC] * 101}, "options"),
        ({"type": "checkboxes", "options": [IC] * 11}, "options"),
        ({"type": "external_select", "options": [IC]}, ""),
        ({"type": "button", "text": {"type": "plain_text", "text": "x"}}, "type"),
    ],
)
def test_what_an_element_may_not_be(element: dict[str, Any], pointer: str) -> None:
    block = {"type": "input", "label": {"type": "plain_text", "text": "x"}, "element": element}

    problems = block_problems([block], surface="modal")

    assert any(problem.pointer.startswith(f"/blocks/0/element/{pointer}".rstrip("/")) for problem in problems)


async def test_only_one_field_is_focused_and_files_are_for_modals(
    shown: Shown, slack: AsyncWebClient, incidents: str
) -> None:
    with pytest.raises(SlackApiError, match="focus_on_load"):
        await shown(field("users_select", focus_on_load=True), field("datepicker", focus_on_load=True))
    with pytest.raises(SlackApiError, match="invalid_blocks"):
        await slack.chat_postMessage(channel=incidents, text="x", blocks=[field("file_input")])
