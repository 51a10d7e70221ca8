"""What people put into elements, in the shape of Slack's payloads; and what the client says before it sends a form."""

from typing import Any

import pytest

from bot.practice.workspace.refusals import Refusal
from bot.practice.workspace.values import complaints, filled_in, initial_states, state_of

IC = {"text": {"type": "plain_text", "text": "IC"}, "value": "ic"}
OPS = {"text": {"type": "plain_text", "text": "Ops"}, "value": "ops"}


def element(kind: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, "action_id": "a", **more}


def input_(block_id: str, of: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"type": "input", "block_id": block_id, "element": of, **more}


@pytest.mark.parametrize(
    ("of", "given", "state"),
    [
        (element("static_select", options=[IC, OPS]), "ops", {"selected_option": OPS}),
        (element("static_select", options=[IC]), IC, {"selected_option": IC}),
        (element("static_select", option_groups=[{"options": [IC, OPS]}]), "ic", {"selected_option": IC}),
        (element("static_select", options=[IC]), None, {"selected_option": None}),
        (element("radio_buttons", options=[IC]), "ic", {"selected_option": IC}),
        (element("overflow", options=[IC]), "ic", {"selected_option": IC}),
        (element("checkboxes", options=[IC, OPS]), ["ops", "ic"], {"selected_options": [OPS, IC]}),
        (element("checkboxes", options=[IC]), "ic", {"selected_options": [IC]}),
        (element("multi_static_select", options=[IC]), None, {"selected_options": []}),
        (element("users_select"), "U1", {"selected_user": "U1"}),
        (element("users_select"), "", {"selected_user": None}),
        (element("channels_select"), "C1", {"selected_channel": "C1"}),
        (element("multi_users_select"), ["U1"], {"selected_users": ["U1"]}),
        (element("datepicker"), "2026-01-02", {"selected_date": "2026-01-02"}),
        (element("datetimepicker"), 1700000000, {"selected_date_time": 1700000000}),
        (element("plain_text_input"), "x", {"value": "x"}),
        (element("plain_text_input"), "", {"value": None}),
        (element("number_input"), 7, {"value": "7"}),
        (element("file_input"), ["F1"], {"files": ["F1"]}),
        (element("rich_text_input"), {"type": "rich_text"}, {"rich_text_value": {"type": "rich_text"}}),
        (element("button"), None, {}),
    ],
)
def test_each_element_has_its_state(of: dict[str, Any], given: Any, state: dict[str, Any]) -> None:
    assert state_of(of, given) == {"type": of["type"], **state}


def test_an_option_that_is_not_there_is_refused_by_name() -> None:
    with pytest.raises(Refusal) as refused:
        state_of(element("static_select", options=[IC, OPS]), "boss")
    assert refused.value.extra == {"options": ["ic", "ops"]}


def test_untouched_blocks_have_their_initial_state() -> None:
    blocks = [
        input_("role", element("static_select", options=[IC, OPS], initial_option=OPS)),
        input_("who", element("users_select", initial_user="U1")),
        input_("text", element("plain_text_input", initial_value="seq-2")),
        {"type": "actions", "block_id": "acts", "elements": [element("button")]},
    ]

    assert initial_states(blocks) == {
        "role": {"a": {"type": "static_select", "selected_option": OPS}},
        "who": {"a": {"type": "users_select", "selected_user": "U1"}},
        "text": {"a": {"type": "plain_text_input", "value": "seq-2"}},
    }


def test_a_form_is_filled_in_by_block_or_by_action_or_with_whole_states() -> None:
    blocks = [input_("b", element("plain_text_input"))]
    whole = {"type": "plain_text_input", "value": "x"}

    assert filled_in(blocks, {"b": "x"}) == {"b": {"a": whole}}
    assert filled_in(blocks, {"b": {"a": "x"}}) == {"b": {"a": whole}}
    assert filled_in(blocks, {"b": {"a": whole}}) == {"b": {"a": whole}}
    with pytest.raises(Refusal, match="block_not_found"):
        filled_in(blocks, {"elsewhere": "x"})


@pytest.mark.parametrize(
    ("of", "given", "said"),
    [
        (element("plain_text_input"), None, "Please complete this required field."),
        (element("checkboxes", options=[IC]), [], "Please complete this required field."),
        (element("plain_text_input", min_length=3), "ab", "Please enter at least 3 characters."),
        (element("plain_text_input", max_length=3), "abcd", "Please enter no more than 3 characters."),
        (element("number_input", is_decimal_allowed=False), "x", "Please enter a number."),
        (element("number_input", is_decimal_allowed=False), "1.5", "Please enter a whole number."),
        (
            element("number_input", is_decimal_allowed=False, max_value="9"),
            "10",
            "Please enter a number between -inf and 9.",
        ),
        (element("number_input", is_decimal_allowed=True), "1.5", None),
        (element("plain_text_input"), "fine", None),
    ],
)
def test_the_client_complains_before_it_sends(of: dict[str, Any], given: Any, said: str | None) -> None:
    blocks = [input_("b", of)]

    assert complaints(blocks, {"b": {"a": state_of(of, given)}}) == ({"b": said} if said else {})


def test_an_optional_field_may_stay_empty() -> None:
    assert complaints([input_("b", element("plain_text_input"), optional=True)], {}) == {}
