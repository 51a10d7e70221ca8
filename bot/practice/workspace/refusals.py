"""The one error of the Web API: a method that refuses, spelled as Slack spells it."""

from collections.abc import Sequence
from typing import Any

Json = dict[str, Any]


class Refusal(Exception):
    """The call had no effect; `error` is Slack's name for why.

    `messages` become `response_metadata.messages` (and `errors` without their level), `extra` joins the body.
    """

    def __init__(self, error: str, *, messages: Sequence[str] = (), extra: Json | None = None) -> None:
        """Keep the name and what explains it."""
        super().__init__(error)
        self.error = error
        self.messages = tuple(messages)
        self.extra = extra or {}

    def body(self) -> Json:
        """Return the JSON body that Slack would answer."""
        body: Json = {"ok": False, "error": self.error, **self.extra}
        if self.messages:
            body["errors"] = list(self.messages)
            body["response_metadata"] = {"messages": [f"[ERROR] {line}" for line in self.messages]}
        return body
