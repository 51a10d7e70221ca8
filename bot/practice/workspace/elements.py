"""The limits of interactive elements, options and confirm dialogs: one table, one walk."""

import re
from collections.abc import Iterator, Mapping

from bot.practice.workspace.problems import Json, Problem, over, present, text_problems, unknown_keys

_COMMON = "type action_id confirm focus_on_load placeholder"
_SELECT = _COMMON + " initial_option options option_groups"
_MULTI = _COMMON + " initial_options options option_groups max_selected_items"

ELEMENTS: Mapping[str, frozenset[str]] = {
    kind: frozenset(keys.split())
    for kind, keys in {
        "button": "type action_id text url value style confirm accessibility_label",
        "workflow_button": "type action_id text workflow style accessibility_label",
        "image": "type image_url slack_file alt_text",
        "overflow": "type action_id options confirm",
        "static_select": _SELECT,
        "external_select": _COMMON + " initial_option min_query_length",
        "users_select": _COMMON + " initial_user",
        "conversations_select": _COMMON
        + " initial_conversation default_to_current_conversation response_url_enabled filter",
        "channels_select": _COMMON + " initial_channel response_url_enabled",
        "multi_static_select": _MULTI,
        "multi_external_select": _COMMON + " initial_options min_query_length max_selected_items",
        "multi_users_select": _COMMON + " initial_users max_selected_items",
        "multi_conversations_select": _COMMON
        + " initial_conversations default_to_current_conversation filter max_selected_items",
        "multi_channels_select": _COMMON + " initial_channels max_selected_items",
        "datepicker": _COMMON + " initial_date",
        "timepicker": _COMMON + " initial_time timezone",
        "datetimepicker": "type action_id confirm focus_on_load initial_date_time",
        "checkboxes": "type action_id options initial_options confirm focus_on_load",
        "radio_buttons": "type action_id options initial_option confirm focus_on_load",
        "plain_text_input": "type action_id initial_value multiline min_length max_length dispatch_action_config "
        "focus_on_load placeholder",
        "number_input": "type action_id is_decimal_allowed initial_value min_value max_value dispatch_action_config "
        "focus_on_load placeholder",
        "email_text_input": "type action_id initial_value dispatch_action_config focus_on_load placeholder",
        "url_text_input": "type action_id initial_value dispatch_action_config focus_on_load placeholder",
        "rich_text_input": "type action_id initial_value dispatch_action_config focus_on_load placeholder",
        "file_input": "type action_id filetypes max_files",
    }.items()
}

_OPTIONS_MAX = {"static_select": 100, "multi_static_select": 100, "overflow": 5, "checkboxes": 10, "radio_buttons": 10}
_CONFIRM = (("title", 100), ("text", 300), ("confirm", 30), ("deny", 30))


def element_problems(element: object, allowed: frozenset[str], at: str) -> Iterator[Problem]:
    """Check one element; `allowed` are the kinds that its container takes."""
    if not isinstance(element, dict):
        yield Problem("must be an object", at)
        return
    kind = element.get("type")
    if kind not in allowed:
        yield Problem(f"unsupported type: {kind}", f"{at}/type")
        return
    yield from unknown_keys(element, ELEMENTS[kind], at)
    yield from over(element.get("action_id"), 255, f"{at}/action_id")
    if "placeholder" in element:
        yield from text_problems(element["placeholder"], 150, f"{at}/placeholder", plain=True)
    if "confirm" in element:
        yield from _confirm(element["confirm"], f"{at}/confirm")
    if kind in ("button", "workflow_button"):
        yield from _button(element, at)
    elif kind == "image":
        yield from _image(element, at)
    elif kind in _OPTIONS_MAX:
        yield from _choices(element, kind, at)
    elif kind == "plain_text_input":
        yield from _text_input(element, at)
    elif kind == "number_input" and "is_decimal_allowed" not in element:
        yield Problem("missing required field: is_decimal_allowed", at)
    yield from _details(element, at)


# What a key has to look like wherever it stands, with Slack's words for what it is not.
_FORMS: Mapping[str, tuple[str, str]] = {
    "initial_date": (r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])", "must be a valid date in YYYY-MM-DD format"),
    "initial_time": (r"([01]\d|2[0-3]):[0-5]\d", "must be a valid time in HH:mm format"),
}
_RANGES: Mapping[str, tuple[int, int]] = {
    "max_selected_items": (1, 100),
    "min_query_length": (0, 100),
    "max_files": (1, 10),
    "initial_date_time": (1_000_000_000, 9_999_999_999),
}
_TRIGGERS = ("on_enter_pressed", "on_character_entered")


def _details(element: Json, at: str) -> Iterator[Problem]:
    for key, (form, message) in _FORMS.items():
        if key in element and not re.fullmatch(form, str(element[key])):
            yield Problem(message, f"{at}/{key}")
    for key, (low, high) in _RANGES.items():
        value = element.get(key, low)
        if not isinstance(value, int) or not low <= value <= high:
            yield Problem(f"must be between {low} and {high}", f"{at}/{key}")
    if "filetypes" in element:
        yield from present(element["filetypes"], 100, f"{at}/filetypes")
    config = element.get("dispatch_action_config")
    if config is not None:
        triggers = config.get("trigger_actions_on") if isinstance(config, dict) else None
        if not isinstance(triggers, list) or not triggers or not set(triggers) <= set(_TRIGGERS):
            yield Problem(f"must be a valid enum value: {' or '.join(_TRIGGERS)}", f"{at}/dispatch_action_config")


def _button(element: Json, at: str) -> Iterator[Problem]:
    if "text" not in element:
        yield Problem("missing required field: text", at)
    else:
        yield from text_problems(element["text"], 75, f"{at}/text", plain=True)
    yield from over(element.get("value"), 2_000, f"{at}/value")
    yield from over(element.get("url"), 3_000, f"{at}/url")
    yield from over(element.get("accessibility_label"), 75, f"{at}/accessibility_label")
    if element.get("style", "primary") not in ("primary", "danger"):
        yield Problem("must be a valid enum value: primary or danger", f"{at}/style")


def _image(element: Json, at: str) -> Iterator[Problem]:
    if "alt_text" not in element:
        yield Problem("missing required field: alt_text", at)
    yield from over(element.get("image_url"), 3_000, f"{at}/image_url")


def _choices(element: Json, kind: str, at: str) -> Iterator[Problem]:
    groups = element.get("option_groups")
    if groups is not None:
        yield from present(groups, 100, f"{at}/option_groups")
        for index, group in enumerate(groups if isinstance(groups, list) else ()):
            yield from text_problems(group.get("label"), 75, f"{at}/option_groups/{index}/label", plain=True)
            yield from _options(group.get("options"), kind, f"{at}/option_groups/{index}/options")
        return
    if "options" not in element:
        yield Problem("missing required field: options", at)
        return
    yield from _options(element["options"], kind, f"{at}/options")
    initial = element.get("initial_options", [element["initial_option"]] if "initial_option" in element else [])
    for option in initial:
        if isinstance(element["options"], list) and option not in element["options"]:
            yield Problem("must match an option in `options`", f"{at}/initial_option")


def _options(options: object, kind: str, at: str) -> Iterator[Problem]:
    yield from present(options, _OPTIONS_MAX[kind], at)
    plain = kind not in ("checkboxes", "radio_buttons")
    for index, option in enumerate(options if isinstance(options, list) else ()):
        pointer = f"{at}/{index}"
        if not isinstance(option, dict):
            yield Problem("must be an object", pointer)
            continue
        yield from unknown_keys(option, frozenset({"text", "value", "description", "url"}), pointer)
        yield from text_problems(option.get("text"), 75, f"{pointer}/text", plain=plain)
        if "value" not in option:
            yield Problem("missing required field: value", pointer)
        yield from over(option.get("value"), 150, f"{pointer}/value")
        if "description" in option:
            yield from text_problems(option["description"], 75, f"{pointer}/description", plain=plain)


def _text_input(element: Json, at: str) -> Iterator[Problem]:
    for key, least in (("min_length", 0), ("max_length", 1)):
        value = element.get(key, least)
        if not isinstance(value, int) or not least <= value <= 3_000:
            yield Problem(f"must be between {least} and 3000", f"{at}/{key}")
    yield from over(element.get("initial_value"), 3_000, f"{at}/initial_value", least=0)


def _confirm(confirm: object, at: str) -> Iterator[Problem]:
    if not isinstance(confirm, dict):
        yield Problem("must be an object", at)
        return
    yield from unknown_keys(confirm, frozenset({"title", "text", "confirm", "deny", "style"}), at)
    for key, most in _CONFIRM:
        if key in confirm:
            yield from text_problems(confirm[key], most, f"{at}/{key}", plain=key != "text")
        else:
            yield Problem(f"missing required field: {key}", at)
