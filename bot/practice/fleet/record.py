"""Keep what a practice signer did: signed messages and decisions, in memory for queries and in files for rotation."""

import hashlib
import itertools
import json
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeVar

_KEPT = 50_000


def stamp(at: datetime) -> str:
    """Write a time as RFC 3339 in UTC with microseconds, ending in Z."""
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One signature that was really produced."""

    digest: str
    key: str
    avs: str
    duty: str
    slot: int
    nonce: int
    at: datetime
    result: str = "signed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One answer of the signer to a duty: allowed or denied, and why."""

    at: datetime
    key: str
    avs: str
    decision: str
    reason: str
    slot: int


def line(entry: Message | Decision) -> bytes:
    """Return an entry as one line of NDJSON."""
    return json.dumps(asdict(entry) | {"at": stamp(entry.at)}, separators=(",", ":")).encode() + b"\n"


class Record:
    """The log of one node: the last 50,000 entries in memory, all messages in `folder`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._current = folder / "messages.ndjson"
        self._file = self._current.open("ab")
        self._rotations = itertools.count(1)
        self.messages: deque[Message] = deque(maxlen=_KEPT)
        self.decisions: deque[Decision] = deque(maxlen=_KEPT)

    def signed(self, message: Message) -> None:
        """Append a message, in memory and to the current file."""
        self.messages.append(message)
        self._file.write(line(message))
        self._file.flush()

    def last_of(self, key: str) -> Message | None:
        """Return the last message signed with `key`, if it is still in memory."""
        return next((message for message in reversed(self.messages) if message.key == key), None)

    def rotate(self) -> list[Mapping[str, object]]:
        """Close the current file under a new name and begin another; an empty one is left alone."""
        if self._file.tell() == 0:
            return []
        self._file.close()
        closed = self._folder / f"messages-{next(self._rotations):04d}.ndjson"
        self._current.rename(closed)
        self._file = self._current.open("ab")
        content = closed.read_bytes()
        digest = "sha256:" + hashlib.sha256(content).hexdigest()
        return [{"name": closed.name, "sha256": digest, "size": len(content)}]

    def close(self) -> None:
        """Close the file."""
        self._file.close()


Entry = TypeVar("Entry", Message, Decision)


def window(entries: deque[Entry], since: datetime | None, until: datetime) -> Iterator[Entry]:
    """Yield the entries with since <= at < until, oldest first, as they were when asked."""
    for entry in tuple(entries):
        if (since is None or since <= entry.at) and entry.at < until:
            yield entry
