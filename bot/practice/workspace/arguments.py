"""Reading the arguments of a Web API call: query string, form fields or JSON, as slack_sdk mixes them."""

import base64
import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import Request

from bot.practice.workspace.refusals import Json, Refusal


async def read_arguments(request: Request) -> Json:
    """Return all arguments of a call; the body wins over the query string."""
    args: Json = dict(request.query_params)
    body = await request.body()
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if not body:
        return args
    if kind == "application/json":
        return args | _json_object(body)
    if kind == "application/x-www-form-urlencoded":
        return args | dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
    raise Refusal("invalid_post_type")


def _json_object(body: bytes) -> Json:
    try:
        value = json.loads(body)
    except ValueError as exc:
        raise Refusal("invalid_json") from exc
    if not isinstance(value, dict):
        raise Refusal("json_not_object")
    return value


def text(args: Json, name: str, default: str = "") -> str:
    """Return an argument as text."""
    value = args.get(name)
    return default if value is None else str(value)


def need(args: Json, name: str) -> str:
    """Return a required argument, or refuse with invalid_arguments."""
    value = text(args, name)
    if not value:
        raise Refusal("invalid_arguments", messages=[f"missing required field: {name}"])
    return value


def flag(args: Json, name: str, *, default: bool = False) -> bool:
    """Return a boolean argument; `true`, `1` and JSON's true are true."""
    value = args.get(name)
    return default if value is None else str(value).lower() in ("true", "1")


def number(args: Json, name: str, default: int, *, most: int) -> int:
    """Return a whole number of 1 to `most`."""
    value = text(args, name, str(default))
    if not value.isdigit() or not 1 <= int(value) <= most:
        raise Refusal("invalid_limit" if name == "limit" else "invalid_arguments")
    return int(value)


def parsed(args: Json, name: str, error: str) -> Any:
    """Return an argument that is JSON, sent as such or as text in a form; None if absent."""
    value = args.get(name)
    if not isinstance(value, str):
        return value
    if not value:
        return None
    try:
        return json.loads(value)
    except ValueError as exc:
        raise Refusal(error) from exc


def names(args: Json, name: str) -> list[str]:
    """Return a comma separated list, or the items of a JSON array."""
    value = args.get(name)
    items = value if isinstance(value, list) else str(value or "").split(",")
    return [str(item).strip() for item in items if str(item).strip()]


def page(rows: Sequence[Any], args: Json, *, default: int, most: int) -> tuple[list[Any], str]:
    """Return one page of rows and the cursor of the next, empty at the end."""
    limit = number(args, "limit", default, most=most)
    start = _offset(text(args, "cursor"))
    after = start + limit
    cursor = base64.urlsafe_b64encode(f"offset:{after}".encode()).decode() if after < len(rows) else ""
    return list(rows[start:after]), cursor


def _offset(cursor: str) -> int:
    if not cursor:
        return 0
    try:
        word, _, offset = base64.urlsafe_b64decode(cursor.encode()).decode().partition(":")
        if word == "offset":
            return int(offset)
    except ValueError as exc:
        raise Refusal("invalid_cursor") from exc
    raise Refusal("invalid_cursor")
