"""Payloads read by slack_sdk's own models, which validate them, and written again: nothing may be lost."""

import logging
from typing import Any

from slack_sdk.errors import SlackObjectFormationError
from slack_sdk.models.blocks import Block
from slack_sdk.models.metadata import Metadata
from slack_sdk.models.views import View

from tests.conformance.payloads import Payload

Json = dict[str, Any]


def complaints(payload: Payload) -> list[str]:
    """Return what slack_sdk's models say against a payload: keys they do not know, limits, and what they lose."""
    heard = _Heard()
    logger = logging.getLogger("slack_sdk.models")
    logger.addHandler(heard)
    try:
        found = [said for index, block in enumerate(payload.blocks) for said in _block(index, block)]
        if payload.view is not None:
            found += _view(payload.view)
        if "metadata" in payload.body:
            Metadata(**payload.body["metadata"]).validate_json()
    except (SlackObjectFormationError, TypeError, ValueError, AttributeError) as error:
        found = [f"{type(error).__name__}: {error}"]
    finally:
        logger.removeHandler(heard)
    return found + heard.said


class _Heard(logging.Handler):
    """Collects what the models log: unknown keys and types are told there only."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


def _block(index: int, block: Json) -> list[str]:
    made = Block.parse(block)
    if made is None:
        return [f"blocks[{index}]: {block.get('type')} is no block that slack_sdk knows"]
    made.validate_json()
    return _lost(f"blocks[{index}]", block, made.to_dict())


def _view(view: Json) -> list[str]:
    made = View(**view)
    made.validate_json()
    return _lost("view", view, made.to_dict())


def _lost(at: str, sent: Any, kept: Any) -> list[str]:
    """Return where what the models write differs from what they read; empty values are left out by them."""
    if isinstance(sent, dict) and isinstance(kept, dict):
        return [
            said
            for key, value in sent.items()
            if value not in ([], "", None)
            for said in ([f"{at}.{key} is lost"] if key not in kept else _lost(f"{at}.{key}", value, kept[key]))
        ]
    if isinstance(sent, list) and isinstance(kept, list):
        if len(sent) != len(kept):
            return [f"{at} has {len(kept)} of {len(sent)} items"]
        return [said for n, (a, b) in enumerate(zip(sent, kept, strict=True)) for said in _lost(f"{at}[{n}]", a, b)]
    return [] if sent == kept else [f"{at} becomes {kept!r}"]
