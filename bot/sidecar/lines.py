"""The format of the record: lines of JSON, each naming the SHA-256 of the line before it. Reading and checking them.

A segment is a file `signing-<seq of its first line>.ndjson`. Each begins with an `opened` line, which repeats the
intents that had no result yet, so that one segment is enough to go on from. A finished one ends with a `closed` line,
which names the earliest and the latest time in it, and is read-only.
"""

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

GENESIS = "0" * 64
"""What the very first line names as the line before it."""
FRAMING = frozenset({"opened", "closed", "started", "stopped"})
"""Lines about the record itself: a segment with no other line is empty."""
_NAME = re.compile(r"signing-\d{12,}\.ndjson")
_TAIL = 8 * 1024
_CHUNK = 64 * 1024


def line(fields: Mapping[str, object]) -> bytes:
    """Return one line of the record, with its end."""
    return json.dumps(fields, separators=(",", ":")).encode() + b"\n"


def hashed(content: bytes) -> str:
    """Return what the next line names: the SHA-256 of the line without its end."""
    return hashlib.sha256(content.removesuffix(b"\n")).hexdigest()


def name_of(seq: int) -> str:
    """Return the name of the segment whose first line is `seq`."""
    return f"signing-{seq:012d}.ndjson"


def segments(folder: Path) -> list[Path]:
    """Return the segments, oldest first."""
    found = [path for path in folder.iterdir() if _NAME.fullmatch(path.name)]
    return sorted(found, key=lambda path: (len(path.name), path.name))


@dataclass(slots=True)
class Scan:
    """What one segment holds, read from its beginning to the first line that is not as it should be.

    `good` is the size up to there, `torn` whether only the end of a line follows, `damage` what is wrong otherwise.
    """

    seq: int = 0
    prev: str = GENESIS
    nonce: int = 0
    good: int = 0
    told: int = 0
    torn: bool = False
    damage: str | None = None
    closed: bool = False
    first_at: str | None = None
    last_at: str | None = None
    digest: Any = field(default_factory=hashlib.sha256)
    pending: dict[int, dict[str, Any]] = field(default_factory=dict)
    marks: dict[tuple[str, tuple[str, int], str], None] = field(default_factory=dict)

    def take(self, content: bytes, entry: Mapping[str, Any]) -> None:
        """Go on over one good line."""
        what = entry["what"]
        self.seq, self.prev = entry["seq"], hashed(content)
        self.good += len(content)
        self.digest.update(content)
        self.closed = what == "closed"
        self.told += what not in FRAMING
        if what == "opened":
            self.nonce = entry["nonce"]
            self.pending = {one["seq"]: one for one in entry["pending"]}
        elif what == "intent":
            self.pending[entry["seq"]] = dict(entry)
            if entry.get("mark"):
                self.marks[_marked(entry)] = None
        elif what == "result":
            self.pending.pop(entry["intent"], None)
            self.nonce = entry.get("nonce", self.nonce)
            if entry["result"] in {"failed", "unsent"} and entry.get("mark"):
                self.marks.pop(_marked(entry), None)
        if what not in FRAMING:
            self.first_at = min(filter(None, (self.first_at, earliest(entry))))
            self.last_at = max(filter(None, (self.last_at, entry["at"])))


def scan(path: Path, *, before: tuple[int, str] | None = None) -> Scan:
    """Read a whole segment; `before` is the number and hash that its first line must follow, if known."""
    seen = Scan()
    with path.open("rb") as file:
        for content in file:
            entry = parsed(content)
            if entry is None or not _shaped(entry):
                seen.torn = not content.endswith(b"\n")
                seen.damage = None if seen.torn else f"line {seen.seq + 1} cannot be read"
                return seen
            follows = (seen.seq, seen.prev) if seen.good else before
            if follows is not None and (entry["seq"] - 1, entry["prev"]) != follows:
                seen.damage = f"line {entry['seq']} does not follow line {follows[0]}"
                return seen
            seen.take(content, entry)
    return seen


def parsed(content: bytes) -> dict[str, Any] | None:
    """Return a line's fields; None when it is no whole line of JSON."""
    if not content.endswith(b"\n"):
        return None
    try:
        tree = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return tree if isinstance(tree, dict) else None


def _shaped(entry: Mapping[str, Any]) -> bool:
    need = {
        "opened": ("nonce", "pending"),
        "intent": ("key", "digest"),
        "result": ("key", "digest", "intent", "result"),
    }
    texts = all(isinstance(entry.get(name), str) for name in ("prev", "at", "what"))
    return (
        texts and isinstance(entry.get("seq"), int) and all(name in entry for name in need.get(str(entry["what"]), ()))
    )


def _marked(entry: Mapping[str, Any]) -> tuple[str, tuple[str, int], str]:
    kind, number = entry["mark"]
    return entry["key"], (kind, number), entry["digest"]


def earliest(entry: Mapping[str, Any]) -> str:
    """Return the time from which on a line tells of something: a gap's is before the line itself."""
    since = entry.get("since")
    return since if entry["what"] == "gap" and isinstance(since, str) else str(entry["at"])


def latest(entry: Mapping[str, Any]) -> str:
    """Return the time up to which a line tells of something."""
    until = entry.get("until")
    return until if entry["what"] == "gap" and isinstance(until, str) else str(entry["at"])


def span(path: Path) -> tuple[str, str] | None:
    """Return the earliest and latest time in a finished segment; None when it does not say."""
    with path.open("rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
        entry = parsed((file.read().splitlines(keepends=True) or [b""])[-1])
    if not entry or entry.get("what") != "closed" or not entry.get("first_at"):
        return None
    return entry["first_at"], entry["last_at"]


def window(
    parts: list[tuple[Path, int]], since: str | None, until: str, wanted: Callable[[Mapping[str, Any]], bool]
) -> Iterator[bytes]:
    """Yield the lines with since <= at < until that are `wanted`, in chunks, as they stand in the record.

    `parts` are the segments with the size up to which each is read. Holds one line and one chunk in memory. A line that
    cannot be read is left out: `check` tells of it. Raises OSError when a segment has gone meanwhile.
    """
    gathered, size = [], 0
    for path, end in parts:
        told = span(path)
        if told and ((since is not None and told[1] < since) or told[0] >= until):
            continue
        with path.open("rb") as file:
            at = 0
            for content in file:
                at += len(content)
                if at > end:
                    break
                entry = parsed(content)
                if not entry or not _shaped(entry) or not wanted(entry):
                    continue
                if (since is None or since <= latest(entry)) and earliest(entry) < until:
                    gathered.append(content)
                    size += len(content)
                if size >= _CHUNK:
                    yield b"".join(gathered)
                    gathered, size = [], 0
    if gathered:
        yield b"".join(gathered)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """The result of checking a whole record: how many lines and segments, from where to where, and what is wrong."""

    lines: int
    files: int
    first: int
    last: int
    wrong: tuple[str, ...]


def check(folder: Path) -> Checked:
    """Check the chain of a whole record. A segment that was dropped by age at the beginning is not missed."""
    wrong: list[str] = []
    before: tuple[int, str] | None = None
    lines = first = last = 0
    found = segments(folder)
    for number, path in enumerate(found):
        seen = scan(path, before=before)
        newest = number == len(found) - 1
        begin = int(path.name.split("-")[1].split(".")[0])
        first = first or begin
        if seen.good:
            lines += seen.seq - begin + 1
            last = seen.seq
        if seen.damage or seen.torn:
            wrong.append(f"{path.name}: {seen.damage or 'its last line is torn'}")
        elif not newest and not seen.closed:
            wrong.append(f"{path.name}: ends without a closing line after line {seen.seq}")
        before = (seen.seq, seen.prev) if seen.good and not seen.damage else None
    return Checked(lines=lines, files=len(found), first=first, last=last, wrong=tuple(wrong))
