"""What `pack.json` tells out of an item's content: the chain of a slashing protection, the release that a node runs.

Readings are fed with the blocks of an item as it is copied or checked, so that each byte is read once.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

import ijson

from bot.domain.leaf import Json

INTERCHANGE: Final = "interchange"
RELEASE: Final = "release"
_METADATA: Final = ("interchange_format_version", "genesis_validators_root")
_RUNS: Final = ("version", "build_hash", "config_checksum")
_MOST_RELEASE: Final = 1 << 16
_LONGEST_TEXT: Final = 1 << 10


class Reading(Protocol):
    """Something that is read while an item streams by."""

    def feed(self, block: bytes) -> None:
        """Take the next block."""
        ...

    def result(self) -> Mapping[str, Json] | None:
        """Return what was read, None when the item is nothing of that sort."""
        ...


class Interchange:
    """EIP-3076: `interchange_format_version` and `genesis_validators_root` of the document's `metadata`.

    Read until both are known: they stand at the beginning as a rule, and the rest may be hundreds of megabytes.
    """

    def __init__(self) -> None:
        self._events: Any = ijson.sendable_list()
        self._parser = ijson.basic_parse_coro(self._events)
        self._path: list[str] = []
        self._found: dict[str, str] = {}
        self._over = False

    def feed(self, block: bytes) -> None:
        """Parse on; what is no JSON is no interchange."""
        if self._over:
            return
        try:
            self._parser.send(block)
        except (ijson.JSONError, ValueError, RecursionError):
            self._over = True
        for event, value in self._events:
            self._event(event, value)
        del self._events[:]
        self._over = self._over or len(self._found) == len(_METADATA)

    def result(self) -> Mapping[str, Json] | None:
        """Return both fields, None unless the document names both as texts."""
        return {name: self._found[name] for name in _METADATA} if len(self._found) == len(_METADATA) else None

    def _event(self, event: str, value: Any) -> None:
        if event == "map_key":
            self._path[-1] = value
        elif event in ("start_map", "start_array"):
            self._path.append("")
        elif event in ("end_map", "end_array"):
            self._path.pop()
        elif event == "string" and self._path[:1] == ["metadata"] and len(self._path) == 2:
            self._named(self._path[1], value)

    def _named(self, name: str, value: str) -> None:
        if name in _METADATA and _plain(value):
            self._found.setdefault(name, value)


class Release:
    """A node's release (docs/node-api.yaml, `Releases`): version, build hash and checksum of the configuration."""

    def __init__(self) -> None:
        self._content = b""

    def feed(self, block: bytes) -> None:
        """Keep the beginning: a release is small."""
        self._content = (self._content + block)[: _MOST_RELEASE + 1]

    def result(self) -> Mapping[str, Json] | None:
        """Return the three fields, those that the node does not tell as null; None when the item tells none."""
        if len(self._content) > _MOST_RELEASE:
            return None
        try:
            told = json.loads(self._content)
        except (ValueError, RecursionError):
            return None
        for place in ("current", "after"):
            told = told.get(place, told) if isinstance(told, dict) else told
        if not isinstance(told, dict):
            return None
        found = {name: told.get(name) for name in _RUNS}
        shown = {name: value if _plain(value) else None for name, value in found.items()}
        return shown if any(shown.values()) else None


def _plain(value: object) -> bool:
    """Tell whether it is a text that has a UTF-8 form."""
    return isinstance(value, str) and len(value) <= _LONGEST_TEXT and not any("\ud800" <= c <= "\udfff" for c in value)


def teed(blocks: Iterator[bytes], readings: Sequence[Reading]) -> Iterator[bytes]:
    """Yield the blocks on, each read on its way."""
    for block in blocks:
        for reading in readings:
            reading.feed(block)
        yield block
