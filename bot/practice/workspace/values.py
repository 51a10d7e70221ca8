"""What a person picks or types, in the shape that Slack's payloads give it."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bot.practice.workspace.refusals import Refusal
from bot.practice.workspace.state import elements_of

Json = dict[str, Any]

_SINGLE = {
    "users_select": "selected_user",
    "conversations_select": "selected_conversation",
    "channels_select": "selected_channel",
    "datepicker": "selected_date",
    "timepicker": "selected_time",
    "datetimepicker": "selected_date_time",
}
_MANY = {
    "multi_users_select": "selected_users",
    "multi_conversations_select": "selected_conversations",
    "multi_channels_select": "selected_channels",
}
_TYPED = ("plain_text_input", "number_input", "email_text_input", "url_text_input")
_OPTION = ("static_select", "radio_buttons", "overflow", "external_select")
_OPTIONS = ("checkboxes", "multi_static_select", "multi_external_select")
SUGGESTED_MAX = 100
_INITIAL = {
    **dict.fromkeys((*_TYPED, "rich_text_input"), "initial_value"),
    **dict.fromkeys(_OPTION, "initial_option"),
    **dict.fromkeys(_OPTIONS, "initial_options"),
    **{kind: field.replace("selected", "initial") for kind, field in {**_SINGLE, **_MANY}.items()},
}


EXTERNAL = ("external_select", "multi_external_select")


def suggested(body: Any) -> list[Json] | None:
    """Return all options of an answer to a block_suggestion, or None for an answer that Slack would not take."""
    if not isinstance(body, dict):
        return None
    groups = body.get("option_groups")
    if groups is None:
        groups = [{"options": body.get("options")}]
    if not isinstance(groups, list) or len(groups) > SUGGESTED_MAX:
        return None
    found: list[Json] = []
    for group in groups:
        options = group.get("options") if isinstance(group, dict) else None
        if not isinstance(options, list) or len(options) > SUGGESTED_MAX:
            return None
        if not all(isinstance(option, dict) and {"text", "value"} <= option.keys() for option in options):
            return None
        found += options
    return found


def with_options(blocks: Sequence[Json], options: Callable[[str, str], list[Json]]) -> list[Json]:
    """Return the blocks, external menus with the options that `options(block_id, action_id)` has for them."""
    return [_with_options(block, options) for block in blocks]


def _with_options(block: Json, options: Callable[[str, str], list[Json]]) -> Json:
    def known(element: Json) -> Json:
        if element.get("type") not in EXTERNAL:
            return element
        first = [element["initial_option"]] if "initial_option" in element else element.get("initial_options", [])
        return element | {"options": [*options(block["block_id"], element["action_id"]), *first]}

    shown = dict(block)
    for key in ("accessory", "element"):
        if isinstance(block.get(key), dict):
            shown[key] = known(block[key])
    if block.get("type") == "actions":
        shown["elements"] = [known(element) for element in block["elements"]]
    return shown


def state_of(element: Json, given: Any) -> Json:
    """Return an element's state when a person gives it `given`; raises Refusal for an option that it has not.

    An option may be given as its value or whole; several as a list; None or "" is nothing.
    """
    kind = str(element["type"])
    empty = given is None or given == ""
    if kind in _OPTION:
        return {"type": kind, "selected_option": None if empty else _option(element, given)}
    if kind in _OPTIONS:
        return {"type": kind, "selected_options": [_option(element, item) for item in _listed(given)]}
    if kind in _SINGLE:
        return {"type": kind, _SINGLE[kind]: None if empty else given}
    if kind in _MANY:
        return {"type": kind, _MANY[kind]: _listed(given)}
    if kind == "rich_text_input":
        return {"type": kind, "rich_text_value": given}
    if kind == "file_input":
        return {"type": kind, "files": _listed(given)}
    if kind in _TYPED:
        return {"type": kind, "value": None if empty else str(given)}
    return {"type": kind}


def initial_states(blocks: Sequence[Json]) -> Json:
    """Return `state.values` of blocks that nobody has touched; buttons and overflow menus have no state."""
    values: Json = {}
    for block in blocks:
        for element in elements_of(block):
            if element.get("type") in ("button", "overflow", "image", "workflow_button"):
                continue
            state = state_of(element, element.get(_INITIAL.get(element["type"], ""), None))
            values.setdefault(block["block_id"], {})[element["action_id"]] = state
    return values


def merged(initial: Json, picked: Json) -> Json:
    """Return the state with what was picked over what stood there; keys of blocks that are gone are left out."""
    return {
        block_id: {action_id: picked.get(block_id, {}).get(action_id, state) for action_id, state in actions.items()}
        for block_id, actions in initial.items()
    }


def action_of(block: Json, element: Json, given: Any, action_ts: str) -> Json:
    """Return one entry of a payload's `actions`."""
    action: Json = {"action_id": element["action_id"], "block_id": block["block_id"], "action_ts": action_ts}
    if element["type"] == "button":
        kept = {key: element[key] for key in ("text", "value", "style", "url") if key in element}
        return action | kept | {"type": "button"}
    return action | state_of(element, given) | {key: element[key] for key in ("placeholder",) if key in element}


def filled_in(blocks: Sequence[Json], given: Mapping[str, Any]) -> Json:
    """Return `state.values` for what a person put into a form.

    `given` maps a block_id to the element's value, or to {action_id: value or whole state}. Raises Refusal for a block
    that the form has not.
    """
    values: Json = {}
    inputs = {block["block_id"]: block for block in blocks if elements_of(block)}
    for block_id, value in given.items():
        if block_id not in inputs:
            raise Refusal("block_not_found", extra={"block_id": block_id, "blocks": list(inputs)})
        values[block_id] = _block_values(inputs[block_id], value)
    return values


def _block_values(block: Json, value: Any) -> Json:
    elements = {element["action_id"]: element for element in elements_of(block)}
    if isinstance(value, dict) and value and set(value) <= set(elements):
        return {
            action_id: item if _whole(item) else state_of(elements[action_id], item)
            for action_id, item in value.items()
        }
    first = next(iter(elements.values()))
    return {first["action_id"]: state_of(first, value)}


def _whole(item: Any) -> bool:
    return isinstance(item, dict) and "type" in item and len(item) > 1 and "text" not in item


def complaints(blocks: Sequence[Json], values: Json) -> dict[str, str]:
    """Return what Slack's client says about a form before it sends it: block_id to sentence."""
    found: dict[str, str] = {}
    for block in blocks:
        if block["type"] != "input":
            continue
        element = block["element"]
        state = values.get(block["block_id"], {}).get(element["action_id"], {})
        content = next((value for key, value in state.items() if key != "type"), None)
        if content in (None, "", []):
            if not block.get("optional"):
                found[block["block_id"]] = "Please complete this required field."
            continue
        if said := _complaint(element, content):
            found[block["block_id"]] = said
    return found


def _complaint(element: Json, content: Any) -> str | None:
    if isinstance(content, list):
        return _too_many(element, content)
    checks = _CHECKS.get(element["type"], ())
    return next((said for check in checks if (said := check(element, str(content)))), None)


def _too_many(element: Json, content: list[Any]) -> str | None:
    most = element.get("max_selected_items")
    if most is not None and len(content) > most:
        return f"Please select no more than {most}."
    if element["type"] != "file_input":
        return None
    most, kinds = element.get("max_files", 10), element.get("filetypes")
    if len(content) > most:
        return f"Please upload no more than {most} files."
    wrong = [file["name"] for file in content if kinds and file["filetype"] not in kinds]
    return f"Files of this type cannot be uploaded here: {wrong[0]}" if wrong else None


def _too_short(element: Json, content: str) -> str | None:
    least = element.get("min_length", 0)
    return f"Please enter at least {least} characters." if len(content) < least else None


def _too_long(element: Json, content: str) -> str | None:
    most = element.get("max_length", 3_000)
    return f"Please enter no more than {most} characters." if len(content) > most else None


def _no_email(element: Json, content: str) -> str | None:
    fits = re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", content)
    return None if fits else "Please enter a valid email address."


def _no_url(element: Json, content: str) -> str | None:
    fits = re.fullmatch(r"https?://[^\s/]+\S*", content)
    return None if fits else "Please enter a valid URL."


def _no_number(element: Json, content: str) -> str | None:
    try:
        value = float(content)
    except ValueError:
        return "Please enter a number."
    if not element.get("is_decimal_allowed") and value != int(value):
        return "Please enter a whole number."
    low, high = float(element.get("min_value", "-inf")), float(element.get("max_value", "inf"))
    return None if low <= value <= high else f"Please enter a number between {low:g} and {high:g}."


_CHECKS: Mapping[str, Sequence[Callable[[Json, str], str | None]]] = {
    "plain_text_input": (_too_short, _too_long),
    "number_input": (_no_number,),
    "email_text_input": (_no_email,),
    "url_text_input": (_no_url,),
}


def _option(element: Json, given: Any) -> Json:
    wanted = given.get("value") if isinstance(given, dict) else given
    groups = element.get("option_groups") or []
    options = [*(element.get("options") or []), *(option for group in groups for option in group["options"])]
    for option in options:
        if option["value"] == wanted:
            return dict(option)
    raise Refusal("option_not_found", extra={"options": [option["value"] for option in options]})


def _listed(given: Any) -> list[Any]:
    if given is None or given == "":
        return []
    return list(given) if isinstance(given, (list, tuple)) else [given]
