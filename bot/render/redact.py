"""Slack never sees a secret: known values and everything that looks like one are blotted out at the wall."""

import re
from collections.abc import Iterable
from typing import Any

BLOT = "[redacted]"
_PATTERNS = (
    (re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://)[^\s/@:]+:[^\s/@]+@"), rf"\1{BLOT}@"),
    (re.compile(r"(?i)\b((?:bearer|basic)\s+)[a-z0-9._~+/=-]{8,}"), rf"\1{BLOT}"),
    (re.compile(r"\b(?:xox[abeprs]|xapp|xwfp)-[A-Za-z0-9-]{8,}"), BLOT),
    (re.compile(r"\bAKIA[0-9A-Z]{16}\b"), BLOT),
    (re.compile(r"\bgh[pousr]_[A-Za-z0-9]{20,}"), BLOT),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"), BLOT),
    (re.compile(r"(?i)\b((?:api[_-]?key|token|password|passwd|secret)\s*[=:]\s*)(?!\[)[^\s,;&\"']{6,}"), rf"\1{BLOT}"),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"), BLOT),
)
_OURS = frozenset({"value", "action_id", "block_id", "callback_id", "private_metadata", "trigger_id", "event_payload"})
"""Keys whose values we made ourselves and must come back unchanged."""
_SHORTEST = 8
"""A known value shorter than this would blot out ordinary words."""


class Redactor:
    """Blots secrets out of everything that leaves; `values` are the secrets that the process knows."""

    def __init__(self, values: Iterable[str]) -> None:
        self._values = sorted((value for value in values if len(value) >= _SHORTEST), key=len, reverse=True)

    def text(self, text: str) -> str:
        """Return `text` without secrets."""
        for value in self._values:
            text = text.replace(value, BLOT)
        for pattern, blot in _PATTERNS:
            text = pattern.sub(blot, text)
        return text

    def walk(self, node: Any) -> Any:
        """Return JSON with every text in it redacted, but for the ids that we made ourselves."""
        if isinstance(node, str):
            return self.text(node)
        if isinstance(node, dict):
            return {key: value if key in _OURS else self.walk(value) for key, value in node.items()}
        if isinstance(node, list | tuple):
            return [self.walk(item) for item in node]
        return node
