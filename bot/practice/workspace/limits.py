"""What Slack refuses in blocks, messages, views and names, as tables and pure checks.

Each check returns `Problem`s: Slack's sentence and the JSON pointer it names; an empty list means accepted. The
numbers are Slack's documented limits. `action_id`s must be unique in a whole message and in each block of a view.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from bot.practice.workspace.elements import ELEMENTS, element_problems
from bot.practice.workspace.problems import Json, Problem, over, present, text_problems, unknown_keys

Surface = Literal["message", "modal", "home"]

MESSAGE_TEXT_CUT = 40_000
UPDATE_TEXT_MAX = 4_000
BLOCKS_TEXT_MAX = 13_200
MARKDOWN_MAX = 12_000
METADATA_BYTES = 16_384
REMARKS = frozenset(f"channel_{what}" for what in ("join", "leave", "topic", "purpose", "name", "archive", "unarchive"))
VIEW_BYTES = 250_000
BLOCKS_MAX: Mapping[Surface, int] = {"message": 50, "modal": 100, "home": 100}

_INPUTS = frozenset(ELEMENTS) - {"button", "overflow", "image", "workflow_button"}
_ACTIONS = frozenset(ELEMENTS) - {
    "plain_text_input",
    "number_input",
    "email_text_input",
    "url_text_input",
    "rich_text_input",
    "file_input",
    "image",
}


@dataclass(frozen=True, slots=True)
class Shape:
    """The keys of a block type, beside `type` and `block_id`."""

    required: frozenset[str] = frozenset()
    optional: frozenset[str] = frozenset()


def _shape(required: str = "", optional: str = "") -> Shape:
    return Shape(frozenset(required.split()), frozenset(optional.split()))


SHAPES: Mapping[str, Shape] = {
    "section": _shape("", "text fields accessory expand"),
    "header": _shape("text", "level"),
    "divider": _shape(),
    "context": _shape("elements"),
    "actions": _shape("elements"),
    "image": _shape("alt_text", "image_url slack_file title"),
    "input": _shape("label element", "hint optional dispatch_action"),
    "rich_text": _shape("elements"),
    "markdown": _shape("text"),
    "video": _shape(
        "alt_text title video_url thumbnail_url",
        "author_name description provider_icon_url provider_name title_url",
    ),
    "file": _shape("external_id source"),
}
_MODAL = _shape(
    "type title blocks",
    "close submit private_metadata callback_id clear_on_close notify_on_close external_id submit_disabled",
)
_HOME = _shape("type blocks", "private_metadata callback_id external_id")


def block_problems(blocks: object, *, surface: Surface, at: str = "/blocks") -> list[Problem]:
    """Return everything that Slack refuses in a list of blocks shown on `surface`; `at` is its JSON pointer."""
    if not isinstance(blocks, list):
        return [Problem("must be provided an array", at)]
    if len(blocks) > BLOCKS_MAX[surface]:
        return [Problem(f"no more than {BLOCKS_MAX[surface]} items allowed", at)]
    found: list[Problem] = []
    for index, block in enumerate(blocks):
        found += list(_one_block(block, surface, f"{at}/{index}"))
    return found + list(_repeated_ids(blocks, surface, at)) + list(_two_focused(blocks, at))


def text_length(blocks: Sequence[Json]) -> int:
    """Return how many characters of text all blocks hold together."""
    return sum(len(text) for text in _texts(blocks))


def view_problems(view: object, *, kinds: Sequence[str] = ("modal", "home")) -> list[Problem]:
    """Return everything that Slack refuses in a view payload; pointers begin with `/view`."""
    if not isinstance(view, dict):
        return [Problem("must be an object", "/view")]
    kind = view.get("type")
    if kind not in kinds:
        return [Problem("unsupported type: " + str(kind), "/view/type")]
    surface: Surface = "modal" if kind == "modal" else "home"
    if "blocks" not in view:
        return [Problem("missing required field: blocks", "/view")]
    found = block_problems(view["blocks"], surface=surface, at="/view/blocks")
    found += over(view.get("private_metadata"), 3_000, "/view/private_metadata", least=0)
    found += over(view.get("callback_id"), 255, "/view/callback_id", least=0)
    found += over(view.get("external_id"), 255, "/view/external_id", least=0)
    return found + (_modal_problems(view) if surface == "modal" else _home_problems(view))


def name_problem(name: str) -> str | None:
    """Return Slack's error for a channel name that it refuses, or None."""
    if not name:
        return "invalid_name_required"
    if len(name) > 80:
        return "invalid_name_maxlength"
    if not any(letter.isalnum() for letter in name):
        return "invalid_name_punctuation"
    if name != name.lower() or not all(letter.isalnum() or letter in "-_" for letter in name):
        return "invalid_name_specials"
    return None


def metadata_problem(metadata: object) -> str | None:
    """Return Slack's error for message metadata that it refuses, or None."""
    if not isinstance(metadata, dict) or not isinstance(metadata.get("event_type"), str):
        return "invalid_metadata_format"
    if not isinstance(metadata.get("event_payload"), dict):
        return "invalid_metadata_format"
    if len(json.dumps(metadata).encode()) > METADATA_BYTES:
        return "metadata_too_large"
    return None


def _one_block(block: object, surface: Surface, at: str) -> Iterator[Problem]:
    if not isinstance(block, dict):
        yield Problem("must be an object", at)
        return
    kind = block.get("type")
    shape = SHAPES.get(str(kind))
    if shape is None:
        yield Problem(f"unsupported type: {kind}", f"{at}/type")
        return
    yield from unknown_keys(block, shape.required | shape.optional | {"type", "block_id"}, at)
    for key in sorted(shape.required - block.keys()):
        yield Problem(f"missing required field: {key}", at)
    yield from over(block.get("block_id"), 255, f"{at}/block_id", least=0)
    if shape.required <= block.keys():
        yield from _BLOCKS[str(kind)](block, surface, at)


def _section(block: Json, surface: Surface, at: str) -> Iterator[Problem]:
    if "text" not in block and "fields" not in block:
        yield Problem("missing required field: text", at)
    if "text" in block:
        yield from text_problems(block["text"], 3_000, f"{at}/text")
    if "fields" in block:
        yield from present(block["fields"], 10, f"{at}/fields")
        for index, field in enumerate(block["fields"] if isinstance(block["fields"], list) else ()):
            yield from text_problems(field, 2_000, f"{at}/fields/{index}")
    if "accessory" in block:
        yield from element_problems(block["accessory"], _ACTIONS | {"image"}, f"{at}/accessory")


def _header(block: Json, surface: Surface, at: str) -> Iterator[Problem]:
    yield from text_problems(block["text"], 150, f"{at}/text", plain=True)


def _nothing(block: Json, surface: Surface, at: str) -> Iterator[Problem]:
    yield from ()


def _context(block: Json, surface: Surface, at: str) -> Iterator[Problem]:
    yield from present(block["elements"], 10, f"{at}/elements")
    for index, element in enumerate(block["elements"] if isinstance(block["elements"], list) else ()):
        pointer = f"{at}/elements/{index}"
        if isinstance(element, dict) and element.get("type") == "image":
            yield from element_problems(element, frozenset({"image"}), pointer)
        else:
            yield from text_problems(element, 3_000, pointer)


def _actions(block: Json, surface: Surface, at: str) -> Iterator[Problem]:
    yield from present(block["elements"], 25, f"{at}/elements")
    for index, element in enumerate(block["elements"] if isinstance(block["elements"], list) else ()):
        yield from element_problems(element, _ACTIONS, f"{at}/elements/{index}")


def _image(block: Json, surface: Surface, at: str) -> Iterator[Problem]:
    if ("image_url" in block) == ("slack_file" in block):
        yield Problem("must provide exactly one of image_url or slack_file", at)
    yield from over(block.get("image_url"), 3_000, f"{at}/image_url")
    yield from over(block["alt_text"], 2_000, f"{at}/alt_text")
    if "title" in block:
        yield from text_problems(block["title"], 2_000, f"{at}/title", plain=True)


def _input(block: Json, surface: Surface, at: str) -> Iterator[Problem]:
    yield from text_problems(block["label"], 2_000, f"{at}/label", plain=True)
    if "hint" in block:
        yield from text_problems(block["hint"], 2_000, f"{at}/hint", plain=True)
    if surface != "modal" and isinstance(block["element"], dict) and block["element"].get("type") == "file_input":
        yield Problem("unsupported type: file_input", f"{at}/element/type")
    yield from element_problems(block["element"], _INPUTS, f"{at}/element")


def _rich_text(block: Json, surface: Surface, at: str) -> Iterator[Problem]:
    if not isinstance(block["elements"], list):
        yield Problem("must be provided an array", f"{at}/elements")
        return
    kinds = {"rich_text_section", "rich_text_list", "rich_text_preformatted", "rich_text_quote"}
    for index, element in enumerate(block["elements"]):
        if not isinstance(element, dict) or element.get("type") not in kinds:
            yield Problem("unsupported rich text element", f"{at}/elements/{index}")


def _markdown(block: Json, surface: Surface, at: str) -> Iterator[Problem]:
    if surface != "message":
        yield Problem("unsupported type: markdown", f"{at}/type")
    yield from over(block["text"], 12_000, f"{at}/text")


_BLOCKS = {
    "section": _section,
    "header": _header,
    "divider": _nothing,
    "context": _context,
    "actions": _actions,
    "image": _image,
    "input": _input,
    "rich_text": _rich_text,
    "markdown": _markdown,
    "video": _nothing,
    "file": _nothing,
}


def _modal_problems(view: Json) -> list[Problem]:
    found = list(unknown_keys(view, _MODAL.required | _MODAL.optional, "/view"))
    if "title" not in view:
        found.append(Problem("missing required field: title", "/view"))
    for key in ("title", "submit", "close"):
        if view.get(key) is not None:
            found += list(text_problems(view[key], 24, f"/view/{key}", plain=True))
    blocks = view["blocks"] if isinstance(view["blocks"], list) else []
    first = next(
        (i for i, block in enumerate(blocks) if isinstance(block, dict) and block.get("type") == "input"), None
    )
    if first is not None and not view.get("submit"):
        message = "must define `submit` to use an `input` block in modals"
        found.append(Problem(message, f"/view/blocks/{first}/input"))
    return found


def _home_problems(view: Json) -> list[Problem]:
    return list(unknown_keys(view, _HOME.required | _HOME.optional, "/view"))


def _elements(block: Json, at: str) -> Iterator[tuple[Json, str]]:
    many = block.get("elements")
    if block.get("type") == "actions" and isinstance(many, list):
        yield from ((element, f"{at}/elements/{index}") for index, element in enumerate(many))
    for key in ("accessory", "element"):
        if isinstance(block.get(key), dict):
            yield block[key], f"{at}/{key}"


def _repeated_ids(blocks: Sequence[Any], surface: Surface, at: str) -> Iterator[Problem]:
    blocks_seen: set[str] = set()
    actions_seen: set[str] = set()
    for index, block in enumerate(blocks):
        if not isinstance(block, dict):
            continue
        if surface != "message":
            actions_seen = set()
        block_id = block.get("block_id")
        if isinstance(block_id, str) and block_id:
            if block_id in blocks_seen:
                yield Problem(f"`block_id` '{block_id}' already exists", f"{at}/{index}/block_id")
            blocks_seen.add(block_id)
        for element, pointer in _elements(block, f"{at}/{index}"):
            action_id = element.get("action_id") if isinstance(element, dict) else None
            if isinstance(action_id, str) and action_id:
                if action_id in actions_seen:
                    yield Problem(f"`action_id` '{action_id}' already exists", f"{pointer}/action_id")
                actions_seen.add(action_id)


def _two_focused(blocks: Sequence[Any], at: str) -> Iterator[Problem]:
    focused = [
        pointer
        for index, block in enumerate(blocks)
        if isinstance(block, dict)
        for element, pointer in _elements(block, f"{at}/{index}")
        if isinstance(element, dict) and element.get("focus_on_load")
    ]
    for pointer in focused[1:]:
        yield Problem("only one element can have `focus_on_load` set to true", f"{pointer}/focus_on_load")


def _texts(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "text" and isinstance(value, str):
                yield value
            else:
                yield from _texts(value)
    elif isinstance(node, list):
        for item in node:
            yield from _texts(item)
