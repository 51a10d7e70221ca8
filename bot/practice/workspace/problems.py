"""The smallest checks that blocks and elements share; each yields `Problem`s in Slack's wording."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Problem:
    """A sentence of Slack's validator and the place it names."""

    message: str
    pointer: str

    def __str__(self) -> str:
        """Return it as Slack writes it in `response_metadata.messages`."""
        return f"{self.message} [json-pointer:{self.pointer}]"


def over(value: object, most: int, at: str, *, least: int = 1) -> Iterator[Problem]:
    """Check an optional string of `least` to `most` characters; None is absent and fine."""
    if value is None:
        return
    if not isinstance(value, str):
        yield Problem("must be a string", at)
    elif len(value) > most:
        yield Problem(f"must be less than {most + 1} characters", at)
    elif len(value) < least:
        yield Problem(f"must be more than {least - 1} characters", at)


def present(value: object, most: int, at: str, *, least: int = 1) -> Iterator[Problem]:
    """Check a list of `least` to `most` items."""
    if not isinstance(value, list):
        yield Problem("must be provided an array", at)
    elif len(value) > most:
        yield Problem(f"no more than {most} items allowed", at)
    elif len(value) < least:
        yield Problem(f"no less than {least} items allowed" if least > 1 else "no less than 1 item allowed", at)


def unknown_keys(value: Json, allowed: frozenset[str], at: str) -> Iterator[Problem]:
    """Refuse every key that the schema does not have."""
    for key in value:
        if key not in allowed:
            yield Problem(f"invalid additional property: {key}", at)


def text_problems(value: object, most: int, at: str, *, plain: bool = False) -> Iterator[Problem]:
    """Check a text object of 1 to `most` characters; `plain` refuses mrkdwn."""
    if not isinstance(value, dict):
        yield Problem("must be an object", at)
        return
    kinds = ("plain_text",) if plain else ("plain_text", "mrkdwn")
    if value.get("type") not in kinds:
        yield Problem(f"must be a valid enum value: {' or '.join(kinds)}", f"{at}/type")
        return
    extra = "emoji" if value["type"] == "plain_text" else "verbatim"
    yield from unknown_keys(value, frozenset({"type", "text", extra}), at)
    if "text" not in value:
        yield Problem("missing required field: text", at)
    yield from over(value.get("text"), most, f"{at}/text")
