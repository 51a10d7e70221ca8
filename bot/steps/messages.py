"""Signed messages as they are kept, one JSON object a line: cut into lines, read whatever the bytes are, and sorted."""

import heapq
import json
import os
import tempfile
from collections.abc import Iterator
from typing import Any, Final

from pydantic_core import from_json

LONGEST: Final = 64 * 1024
"""Bytes that one line may have. The longest that a sidecar writes has about one thousand."""
_RUN: Final = 50_000
_MERGED: Final = 100_000
"""Rows that one run has, and that are read ahead from all runs together."""
_TOO_LONG: Final = b"\xff"
"""What stands for a line that was not held in memory: no JSON begins like that."""


class Lines:
    """Cuts chunks into lines. Holds no more than one line of `LONGEST` and the chunk itself."""

    def __init__(self) -> None:
        self._rest = b""
        self._over = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """Return the lines that end in this chunk, without their ends."""
        *whole, rest = (self._rest + chunk).split(b"\n")
        if whole and self._over:
            whole[0] = _TOO_LONG
            self._over = False
        if self._over or len(rest) > LONGEST:
            self._over, rest = True, b""
        self._rest = rest
        return whole

    def end(self) -> list[bytes]:
        """Return what came after the last line end, if anything did."""
        rest, self._rest = _TOO_LONG if self._over else self._rest, b""
        self._over = False
        return [rest] if rest else []


class Unreadable(ValueError):
    """A line is no JSON object that every reader reads alike; the text says why."""


def fields_of(line: bytes) -> dict[str, Any]:
    """Return the fields of a line; raises Unreadable, also when a name stands twice in one object (RFC 8259 §4)."""
    if len(line) > LONGEST or line == _TOO_LONG:
        raise Unreadable(f"it is longer than {LONGEST} bytes")
    try:
        fields = from_json(line, allow_inf_nan=False, cache_strings="keys")
        if not isinstance(fields, dict):
            raise Unreadable("it is no JSON object")
        # Without white space before a colon each name ends in `":`. So there are no more names than that, and a count
        # of the fields says cheaply that none stands twice; a text or an object within may only add to it.
        spaced = (b" " in line and b'" ' in line) or b"\t" in line or b"\r" in line
        if spaced or line.count(b'":') != len(fields):
            json.loads(line, object_pairs_hook=_once)
    except Unreadable:
        raise
    except (ValueError, RecursionError) as error:
        raise Unreadable("it is no JSON") from error
    return fields


def loosely(line: bytes) -> Any:
    """Return what `json.loads` reads, faster; raises ValueError, also for what is too long or too deep."""
    if len(line) > LONGEST:
        raise Unreadable(f"it is longer than {LONGEST} bytes")
    try:
        return from_json(line, cache_strings="keys")
    except ValueError:
        try:
            return json.loads(line)
        except RecursionError as error:
            raise Unreadable("it is nested too deeply") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise Unreadable("a name stands in it twice")
    return fields


class Runs:
    """Sorts millions of byte strings of one length in little memory: sorted runs in a file without a name.

    Ten million take 100 runs. The file is gone when the process is.
    """

    def __init__(self, length: int) -> None:
        self._length = length
        self._waiting: list[bytes] = []
        self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - closed by `close`
        self._ends: list[int] = []

    def add(self, row: bytes) -> None:
        """Take one in."""
        self._waiting.append(row)
        if len(self._waiting) >= _RUN:
            self._write()

    def sorted(self) -> Iterator[bytes]:
        """Yield all in order."""
        self._write()
        begins = [0, *self._ends]
        return heapq.merge(*(self._run(at, end) for at, end in zip(begins, self._ends, strict=False)))

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def _write(self) -> None:
        self._waiting.sort()
        content = memoryview(b"".join(self._waiting))
        self._waiting.clear()
        end = self._file.tell() + len(content)
        while content:
            content = content[self._file.write(content) :]
        self._ends.append(end)

    def _run(self, at: int, end: int) -> Iterator[bytes]:
        length = self._length
        step = length * max(64, min(2048, _MERGED // len(self._ends)))
        while at < end:
            rows = os.pread(self._file.fileno(), min(step, end - at), at)
            if not rows or len(rows) % length:
                raise OSError("the temporary file of the comparison is cut off")
            at += len(rows)
            yield from [rows[i : i + length] for i in range(0, len(rows), length)]
