"""What is checked: exhibits and recorded calls as payloads, and their shapes, of which each is checked once by tsc."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.chat.exhibits import EXHIBITS
from tests.conformance.recorder import ACK, RESPONSE, SUBMISSION

Json = dict[str, Any]
MESSAGES = frozenset({"chat.postMessage", "chat.update", "chat.postEphemeral", "chat.scheduleMessage", RESPONSE, ACK})
VIEWS = frozenset({"views.open", "views.update", "views.push", "views.publish"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """Something sent: `method` is a Web API method or one of the recorder's words, `whence` an exhibit or a test."""

    method: str
    body: Json
    whence: str

    @property
    def blocks(self) -> list[Json]:
        """Return its blocks, a view's included."""
        return list((self.view or self.body).get("blocks", []))

    @property
    def view(self) -> Json | None:
        """Return its view, if it carries one."""
        found = self.body.get("view")
        return found if isinstance(found, dict) else None

    def parts(self) -> Iterator[tuple[str, Json]]:
        """Yield as what its limits are looked up, with the object that they hold for."""
        yield self.method, self.body
        if self.method in MESSAGES:
            yield "message", self.body
        if self.view is not None:
            yield str(self.view.get("type")), self.view


async def exhibited() -> list[Payload]:
    """Return all exhibits as the calls that they are sent by."""
    return [payload for exhibit in EXHIBITS for payload in _calls(exhibit.slug, await exhibit.sent())]


def _calls(slug: str, sent: Json) -> Iterator[Payload]:
    body, whence = sent["body"], f"exhibit {slug}"
    match sent["as"]:
        case "message":
            yield Payload(method="chat.postMessage", body={"channel": "C0", **body}, whence=whence)
            yield Payload(method="chat.update", body={"channel": "C0", "ts": "1.2", **body}, whence=whence)
        case "modal":
            yield Payload(method="views.open", body={"trigger_id": "1.2", "view": body}, whence=whence)
        case "home":
            yield Payload(method="views.publish", body={"user_id": "U0ADA", "view": body}, whence=whence)
        case "answer":
            yield Payload(method=RESPONSE, body=body, whence=whence)
        case "name":
            yield Payload(method="conversations.create", body={"name": body}, whence=whence)
        case "topic":
            yield Payload(method="conversations.setTopic", body={"channel": "C0", "topic": body}, whence=whence)


def recorded(lines: Iterable[Json]) -> list[Payload]:
    """Return recorded lines as payloads."""
    return [Payload(method=str(x["method"]), body=x["body"], whence=str(x["test"])) for x in lines]


# ---- shapes

_FREE = frozenset(
    """
    text value action_id block_id callback_id private_metadata fallback url channel ts user_id
    channel_id trigger_id key users user name topic timestamp filename title initial_comment cursor
    latest oldest thread_ts file_id id length limit max_length min_length initial_value event_type
    alt_text external_id link
    """.split()  # noqa: SIM905
)
"""Keys under which Slack's types take any text or number: their values are no part of a shape."""


def shape(node: Any, key: str = "") -> Any:
    """Return JSON with free texts and numbers made one, and lists with one of a kind: what a type can tell apart."""
    if isinstance(node, dict):
        return {name: shape(value, name) for name, value in node.items()}
    if isinstance(node, list):
        return list({json.dumps(made, sort_keys=True): made for made in (shape(item) for item in node)}.values())
    if key in _FREE and isinstance(node, str | int | float) and not isinstance(node, bool):
        return "x" if isinstance(node, str) else 1
    return node


def distinct(payloads: Iterable[Payload]) -> dict[str, Payload]:
    """Return one payload for each shape, with that shape as its body; keys are unique, and stable over sessions."""
    found: dict[str, Payload] = {}
    for payload in payloads:
        body = shape(payload.body)
        if payload.method == SUBMISSION:
            body = body | ({"errors": {"x": "x"}} if "errors" in body else {})
        key = f"{payload.method} {json.dumps(body, sort_keys=True, ensure_ascii=False)}"
        found.setdefault(key, Payload(method=payload.method, body=body, whence=payload.whence))
    return found
