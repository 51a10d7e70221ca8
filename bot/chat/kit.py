"""Block Kit's smallest parts as functions. Outside text goes into `rich` blocks, where nothing is ever markup."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bot.chat import limits
from bot.chat.words import clean, cut_escaped, escape

Json = dict[str, Any]
Part = Json | str


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message: `text` is what notifications and screen readers say, escaped for mrkdwn."""

    text: str
    blocks: tuple[Json, ...] = ()

    def arguments(self) -> Json:
        """Return it as arguments of a Web API call, within Slack's limits."""
        return {"text": cut_escaped(self.text, limits.TEXT), "blocks": list(self.blocks[: limits.BLOCKS])}


# ---- literal text


def bold(text: str, most: int = 500) -> Json:
    """Return literal text in bold."""
    return {"type": "text", "text": clean(text, most) or "-", "style": {"bold": True}}


def plain(text: str, most: int = limits.RICH, *, lines: bool = False) -> Json:
    """Return literal text; leading and trailing spaces are ours, and kept."""
    inner = clean(text, most, lines=lines)
    lead = " " if text[:1] == " " else ""
    tail = " " if text[-1:] == " " and inner else ""
    return {"type": "text", "text": f"{lead}{inner}{tail}"}


def user(slack: str | None, name: str) -> Json:
    """Return a mention where there is an account, else the name."""
    return {"type": "user", "user_id": slack} if slack else bold(name)


def channel(id_: str) -> Json:
    """Return a channel's name that leads there."""
    return {"type": "channel", "channel_id": id_}


def moment(at: datetime) -> Json:
    """Return a moment that every reader sees in his own zone."""
    return {
        "type": "date",
        "timestamp": int(at.timestamp()),
        "format": "{date_short_pretty} {time}",
        "fallback": utc(at),
    }


def rich(*lines: Sequence[Part]) -> Json:
    """Return a rich text block of lines; strings are literal text."""
    elements = [part if isinstance(part, dict) else plain(part) for part in _joined(lines)]
    elements = [part for part in elements if part.get("text") != ""]
    return {"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": elements or [plain("-")]}]}


def quote(text: str, most: int = limits.RICH) -> Json:
    """Return somebody's words as a quotation block."""
    inner = plain(text, most, lines=True)
    elements = [inner if inner["text"] else plain("-")]
    return {"type": "rich_text", "elements": [{"type": "rich_text_quote", "elements": elements}]}


def _joined(lines: Iterable[Sequence[Part]]) -> Iterable[Part]:
    for index, line in enumerate(lines):
        if index:
            yield {"type": "text", "text": "\n"}
        yield from line


# ---- our own words


def section(text: str) -> Json:
    """Return a section of our own mrkdwn; whatever stands in it from outside was escaped by the caller."""
    return {"type": "section", "text": _mrkdwn(text, limits.SECTION)}


def fields(*texts: str) -> Json:
    """Return a section of up to ten short mrkdwn fields."""
    return {"type": "section", "fields": [_mrkdwn(text, limits.FIELD) for text in texts[:10]]}


def context(text: str) -> Json:
    """Return a small grey line of our own mrkdwn."""
    return {"type": "context", "elements": [_mrkdwn(text, limits.FIELD)]}


def header(text: str) -> Json:
    """Return a headline; literal text, no emoji codes."""
    return {"type": "header", "text": _plain(clean(text, limits.HEADER), limits.HEADER)}


def actions(*buttons: Json) -> Json:
    """Return a row of buttons; Slack shows at most 25."""
    return {"type": "actions", "elements": list(buttons[: limits.ACTIONS])}


def button(action_id: str, label: str, value: str, *, style: str | None = None, confirm: Json | None = None) -> Json:
    """Return a button; `value` is sealed by the caller. `style` is `primary` or `danger`."""
    made: Json = {
        "type": "button",
        "action_id": action_id,
        "text": _plain(label, limits.BUTTON),
        "value": value,
    }
    return made | ({"style": style} if style else {}) | ({"confirm": confirm} if confirm else {})


def link_button(action_id: str, label: str, url: str) -> Json:
    """Return a button that opens one of our own pages."""
    return {"type": "button", "action_id": action_id, "text": _plain(label, limits.BUTTON), "url": url}


def confirm(title: str, text: str, yes: str, *, danger: bool = True) -> Json:
    """Return the question that stands between a button and its effect; literal text."""
    return {
        "title": _plain(clean(title, limits.CONFIRM_TITLE), limits.CONFIRM_TITLE),
        "text": _plain(clean(text, limits.CONFIRM_TEXT, lines=True), limits.CONFIRM_TEXT),
        "confirm": _plain(yes, limits.CONFIRM_BUTTON),
        "deny": _plain("Not now", limits.CONFIRM_BUTTON),
    } | ({"style": "danger"} if danger else {})


def option(text: str, value: str) -> Json:
    """Return one choice of a menu."""
    return {"text": _plain(clean(text, limits.OPTION) or "-", limits.OPTION), "value": limits.cut(value, 150)}


def length(blocks: Iterable[Json]) -> int:
    """Return how many characters of text blocks hold, as Slack counts them together."""
    return sum(_length(block) for block in blocks)


def _length(node: Any) -> int:
    if isinstance(node, dict):
        return sum(len(v) if k in {"text", "fallback"} and isinstance(v, str) else _length(v) for k, v in node.items())
    return sum(_length(item) for item in node) if isinstance(node, list) else 0


def utc(at: datetime) -> str:
    """Return `14:32 UTC`."""
    return f"{at.astimezone(UTC):%H:%M} UTC"


def date(at: datetime) -> str:
    """Return a moment in mrkdwn, in the reader's own zone, with a fallback."""
    return f"<!date^{int(at.timestamp())}^{{date_short_pretty}} {{time}}|{utc(at)}>"


def mention(slack: str | None, name: str) -> str:
    """Return a mention in mrkdwn where there is an account, else the name."""
    return f"<@{slack}>" if slack else escape(clean(name, 80))


def text(text: str) -> Json:
    """Return our own short words as plain text."""
    return {"type": "plain_text", "text": text, "emoji": False}


def _plain(text: str, most: int) -> Json:
    return {"type": "plain_text", "text": limits.cut(text, most) or "-", "emoji": False}


def _mrkdwn(text: str, most: int) -> Json:
    return {"type": "mrkdwn", "text": limits.cut(text, most) or "-", "verbatim": True}
