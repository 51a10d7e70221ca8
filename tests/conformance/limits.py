"""Slack's documented limits that neither its types nor slack_sdk's models know, as tables and a walk over JSON.

Written from Slack's reference alone (https://docs.slack.dev/reference/block-kit and /reference/methods), without a look
at the bot's own numbers or the practice workspace's: three who agree are worth more than one.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]
Breach = str


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """At the object `kind`, what stands at `path` is at least `least` and at most `most` long (of a number: high)."""

    kind: str
    path: str
    most: int
    least: int = 1

    @property
    def name(self) -> str:
        """Return the limit as a sentence."""
        return f"{self.kind}.{self.path} is {self.least} to {self.most}"


def _limits(kind: str, **most: int | tuple[int, int]) -> list[Limit]:
    """Return a kind's limits; `__` in a name is a dot, a pair is (least, most)."""
    made = []
    for path, size in most.items():
        least, highest = size if isinstance(size, tuple) else (1, size)
        made.append(Limit(kind=kind, path=path.replace("__", "."), least=least, most=highest))
    return made


BLOCKS = ("section", "header", "context", "actions", "divider", "image", "input", "rich_text", "markdown")
SELECTS = ("static_select", "multi_static_select", "users_select", "conversations_select", "channels_select")
PICKERS = (*SELECTS, "datepicker", "timepicker", "checkboxes", "radio_buttons", "overflow", "plain_text_input")

LIMITS: tuple[Limit, ...] = (
    *_limits("message", blocks=(0, 50), text=40_000, thread_ts=64),
    *_limits("chat.update", text=4_000),
    *_limits("modal", blocks=100, title__text=24, submit__text=24, close__text=24),
    *_limits("modal", private_metadata=(0, 3_000), callback_id=255, external_id=255),
    *_limits("home", blocks=100, private_metadata=(0, 3_000), callback_id=255, external_id=255),
    *(limit for kind in BLOCKS for limit in _limits(kind, block_id=255)),
    *_limits("section", text__text=3_000, fields=10),
    *_limits("field", text=2_000),
    *_limits("header", text__text=150),
    *_limits("context", elements=10),
    *_limits("actions", elements=25),
    *_limits("image", alt_text=2_000, image_url=3_000, title__text=2_000),
    *_limits("input", label__text=2_000, hint__text=2_000),
    *_limits("markdown", text=12_000),
    *_limits("rich_text", elements=1_000),
    *_limits("rich_text_section", elements=5_000),
    *_limits("button", text__text=75, value=2_000, action_id=255, url=3_000, accessibility_label=75),
    *(limit for kind in PICKERS for limit in _limits(kind, action_id=255)),
    *(limit for kind in SELECTS for limit in _limits(kind, placeholder__text=150)),
    *_limits("static_select", options=100),
    *_limits("multi_static_select", options=100),
    *_limits("checkboxes", options=10),
    *_limits("radio_buttons", options=10),
    *_limits("overflow", options=5),
    *_limits("plain_text_input", placeholder__text=150, max_length=3_000, min_length=(0, 3_000)),
    *_limits("option", text__text=75, value=150, description__text=75),
    *_limits("confirm", title__text=100, text__text=300, confirm__text=30, deny__text=30),
    *_limits("conversations.setTopic", topic=(0, 250)),
    *_limits("conversations.create", name=80),
    *_limits("conversations.history", limit=999),
    *_limits("conversations.list", limit=999),
)
"""Lengths of texts and lists, heights of numbers; what is absent is within its limit."""


# ---- the walk


DEEP = frozenset({"message", "modal", "home"})
"""What is walked; of anything else only the arguments themselves are looked at."""


def breaches(kind: str, root: Json) -> list[Breach]:
    """Return every limit that `root`, sent as `kind` (message, modal, home, or a Web API method), does not keep."""
    nodes = _walk(kind, root, kind) if kind in DEEP else [(kind, kind, root)]
    found = [f"{at}: {text}" for at, name, node in nodes for text in _of(name, node)]
    return found + [f"{kind}: {text}" for rule in RULES.get(kind, ()) for text in rule(root)]


def _of(name: str, node: Json) -> Iterator[Breach]:
    for limit in LIMITS:
        if limit.kind == name:
            size = _size(_get(node, limit.path))
            if size is not None and not limit.least <= size <= limit.most:
                yield f"{limit.name}, not {size}"
    for rule in RULES.get(f"<{name}>", ()):
        yield from rule(node)


def _get(node: Any, path: str) -> Any:
    for key in path.split("."):
        node = node.get(key) if isinstance(node, dict) else None
    return node


def _size(value: Any) -> int | None:
    if isinstance(value, bool) or value is None:
        return None
    return value if isinstance(value, int) else len(value)


def _walk(kind: str, node: Any, at: str) -> Iterator[tuple[str, str, Json]]:
    """Yield each object with its kind; options, fields and confirmations have no `type` of their own."""
    if isinstance(node, list):
        for index, item in enumerate(node):
            yield from _walk(kind, item, f"{at}[{index}]")
    if not isinstance(node, dict):
        return
    own = str(node["type"]) if kind == "*" and isinstance(node.get("type"), str) else kind
    yield at, own, node
    for key, value in node.items():
        yield from _walk(_CHILDREN.get(key, "*"), value, f"{at}.{key}")


_CHILDREN = {
    "options": "option",
    "initial_option": "option",
    "initial_options": "option",
    "fields": "field",
    "confirm": "confirm",
    "metadata": "metadata",
}


# ---- what is more than a length


def _unique_actions(root: Json) -> Iterator[Breach]:
    yield from _twice("action_id", [n["action_id"] for b in root.get("blocks", []) for n in _acting(b)])


def _unique_actions_in_each_block(root: Json) -> Iterator[Breach]:
    for block in root.get("blocks", []):
        yield from _twice("action_id", [n["action_id"] for n in _acting(block)])


def _acting(block: Json) -> list[Json]:
    inner = [*block.get("elements", []), block.get("accessory"), block.get("element")]
    return [node for node in inner if isinstance(node, dict) and "action_id" in node]


def _unique_blocks(root: Json) -> Iterator[Breach]:
    yield from _twice("block_id", [b["block_id"] for b in root.get("blocks", []) if "block_id" in b])


def _twice(what: str, names: list[str]) -> Iterator[Breach]:
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"{what} '{name}' is there more than once"


def _not_too_much_text(root: Json) -> Iterator[Breach]:
    total = sum(len(text) for text in _texts(root.get("blocks", [])))
    if total > 13_200:
        yield f"all blocks together hold {total} characters, over 13200 (msg_blocks_too_long)"


def _texts(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            if key in {"text", "fallback"} and isinstance(value, str):
                yield value
            else:
                yield from _texts(value)
    elif isinstance(node, list):
        for item in node:
            yield from _texts(item)


_ENTITY = re.compile(r"<[@#!][^>]*>|:[a-z0-9_+-]+:|&[a-z]+;")


def _fallback_has_whole_entities(root: Json) -> Iterator[Breach]:
    yield from _whole_entities({"type": "mrkdwn", "text": root.get("text") or ""})


def _readable_without_blocks(root: Json) -> Iterator[Breach]:
    """What notifications and screen readers say: some words, not only mentions, pictures and signs."""
    words = _ENTITY.sub("", str(root.get("text") or ""))
    if sum(letter.isalnum() for letter in words) < 3:
        yield f"`text` says nothing that can be read aloud: {root.get('text')!r}"


def _only_one_takes_the_focus(root: Json) -> Iterator[Breach]:
    taking = [e for b in root.get("blocks", []) for e in _acting(b) if e.get("focus_on_load")]
    if len(taking) > 1:
        yield f"{len(taking)} elements want focus_on_load, one may"


def _inputs_need_submit(root: Json) -> Iterator[Breach]:
    if any(block.get("type") == "input" for block in root.get("blocks", [])) and not root.get("submit"):
        yield "inputs, but no submit"


def _small_view(root: Json) -> Iterator[Breach]:
    size = len(json.dumps(root).encode())
    if size > 250_000:
        yield f"a view of {size} bytes, over 250000 (view_too_large)"


def _section_says_something(node: Json) -> Iterator[Breach]:
    if not node.get("text") and not node.get("fields"):
        yield "a section with neither text nor fields"


def _initial_is_an_option(node: Json) -> Iterator[Breach]:
    first = node.get("initial_option")
    if first is not None and first not in node.get("options", []):
        yield "initial_option is none of the options, exactly"
    for first in node.get("initial_options", []):
        if first not in node.get("options", []):
            yield "one of initial_options is none of the options, exactly"


def _initial_fits(node: Json) -> Iterator[Breach]:
    if len(node.get("initial_value", "")) > node.get("max_length", 3_000):
        yield "initial_value is longer than max_length"
    if node.get("min_length", 0) > node.get("max_length", 3_000):
        yield "min_length is over max_length"


def _style(node: Json) -> Iterator[Breach]:
    if node.get("style", "primary") not in {"primary", "danger"}:
        yield f"a style {node['style']!r}"
    if "url" in node and not str(node["url"]).startswith(("https://", "http://")):
        yield f"a url that is no web address: {str(node['url'])[:80]}"


def _plain(*paths: str) -> Callable[[Json], Iterator[Breach]]:
    """Return the rule that these texts are plain_text."""

    def rule(node: Json) -> Iterator[Breach]:
        for path in paths:
            text = _get(node, path)
            if text is not None and text.get("type") != "plain_text":
                yield f"{path} is {text.get('type')}, not plain_text"

    return rule


def _no_lone_surrogate(root: Json) -> Iterator[Breach]:
    if any("\ud800" <= letter <= "\udfff" for letter in json.dumps(root, ensure_ascii=False)):
        yield "half a surrogate pair, which cannot be sent"


_HALF = re.compile(r"&(?!amp;|lt;|gt;)|<[^<>]*$|<[^<>]*<")


def _whole_entities(node: Json) -> Iterator[Breach]:
    if node.get("type") == "mrkdwn" and (found := _HALF.search(str(node.get("text", "")))):
        yield f"mrkdwn with half an entity or link: {found[0][:40]!r}"


def _name(root: Json) -> Iterator[Breach]:
    if not re.fullmatch(r"[a-z0-9_-]{1,80}", root["name"]) or not re.search(r"[a-z0-9]", root["name"]):
        yield f"'{root['name']}' is no name for a channel"


def _invited(root: Json) -> Iterator[Breach]:
    users = [user for user in root["users"].split(",") if user]
    if not 1 <= len(users) <= 100:
        yield f"{len(users)} users invited at once, 1 to 100 may be"


def _metadata(root: Json) -> Iterator[Breach]:
    size = len(json.dumps(root.get("metadata", {})).encode())
    if size > 16_384:
        yield f"metadata of {size} bytes, over 16384 (metadata_too_large)"
    if "metadata" in root and not re.fullmatch(r"[A-Za-z0-9_.:/#-]+", str(root["metadata"].get("event_type", ""))):
        yield "metadata without a plain event_type"


def _said(root: Json) -> Iterator[Breach]:
    for block, text in root.get("errors", {}).items():
        if not block or not text.strip():
            yield "an error without its field or without words"


_PLACEHOLDER = _plain("placeholder")
_MESSAGE = (
    _unique_actions,
    _unique_blocks,
    _not_too_much_text,
    _readable_without_blocks,
    _fallback_has_whole_entities,
    _metadata,
    _no_lone_surrogate,
)
_VIEW = (
    _unique_actions_in_each_block,
    _unique_blocks,
    _only_one_takes_the_focus,
    _small_view,
    _no_lone_surrogate,
)

RULES: dict[str, tuple[Callable[[Json], Iterator[Breach]], ...]] = {
    "message": _MESSAGE,
    "modal": (*_VIEW, _inputs_need_submit, _plain("title", "submit", "close")),
    "home": _VIEW,
    "conversations.create": (_name,),
    "conversations.invite": (_invited,),
    "conversations.setTopic": (_no_lone_surrogate,),
    "view_submission": (_said, _no_lone_surrogate),
    "<mrkdwn>": (_whole_entities,),
    "<field>": (_whole_entities,),
    "<section>": (_section_says_something,),
    "<static_select>": (_initial_is_an_option, _PLACEHOLDER),
    "<multi_static_select>": (_initial_is_an_option, _PLACEHOLDER),
    "<radio_buttons>": (_initial_is_an_option,),
    "<checkboxes>": (_initial_is_an_option,),
    "<plain_text_input>": (_initial_fits, _PLACEHOLDER),
    "<button>": (_style, _plain("text")),
    "<header>": (_plain("text"),),
    "<input>": (_plain("label", "hint"),),
    "<confirm>": (_style, _plain("title", "confirm", "deny")),
}
"""Checks of whole things, by what they are sent as; in `<…>` those of each object of a kind."""
