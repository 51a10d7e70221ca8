"""Find out, at the start, where a former process left the record, and what it left undone."""

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bot.sidecar import lines
from bot.sidecar.segment import Segment, reason, sync_folder
from bot.sidecar.words import now, stamp


@dataclass(slots=True)
class Found:
    """The end of a record: its last line, what is `pending`, and the `segment` to go on with, if there is one.

    `notes` are lines to be written about what was found, `opening` what the next segment's first line says besides.
    """

    seq: int = 0
    prev: str = lines.GENESIS
    nonce: int = 0
    pending: dict[int, dict[str, Any]] = field(default_factory=dict)
    marks: dict[tuple[str, tuple[str, int], str], None] = field(default_factory=dict)
    segment: Segment | None = None
    notes: list[dict[str, Any]] = field(default_factory=list)
    damage: list[str] = field(default_factory=list)
    opening: dict[str, object] = field(default_factory=dict)


def recovered(folder: Path) -> Found:
    """Return the end of the record in `folder`, after its torn last line, if any, was set aside."""
    found, paths = Found(), lines.segments(folder)
    while paths:
        path = paths[-1]
        seen = lines.scan(path)
        if seen.torn:
            try:
                _set_aside(path, seen.good, found)
            except OSError as error:
                seen.damage = f"its last line is torn and could not be moved: {reason(error)}"
        if not seen.good and not seen.damage:
            path.unlink()
            paths.pop()
            continue
        _go_on(path, seen, found)
        for earlier in paths[-2:-1]:
            found.marks = lines.scan(earlier).marks | found.marks
        break
    found.notes += [_unfinished(one) for one in found.pending.values()]
    return found


def _go_on(path: Path, seen: lines.Scan, found: Found) -> None:
    found.seq, found.prev, found.nonce = seen.seq, seen.prev, seen.nonce
    found.pending, found.marks = dict(seen.pending), seen.marks
    if seen.damage:
        _skip(path, seen, found)
    elif not seen.closed:
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        known = (seen.good, seen.told, seen.first_at, seen.last_at)
        found.segment = Segment(path, fd, *known, digest=seen.digest.copy())


def _skip(path: Path, seen: lines.Scan, found: Found) -> None:
    """Leave a damaged segment as it is, and go on behind everything in it that can still be read."""
    found.damage.append(f"{path.name}: {seen.damage}")
    found.opening["damaged"] = {"file": path.name, "why": seen.damage}
    with path.open("rb") as file:
        file.seek(seen.good)
        for content in file:
            entry = lines.parsed(content)
            if not entry or not isinstance(entry.get("seq"), int):
                continue
            found.seq, found.prev = max(found.seq, entry["seq"]), lines.hashed(content)
            found.nonce = max(found.nonce, entry["nonce"] if isinstance(entry.get("nonce"), int) else 0)
            if entry.get("what") == "intent" and "key" in entry and "digest" in entry:
                found.pending[entry["seq"]] = entry
            elif entry.get("what") == "result":
                found.pending.pop(entry.get("intent", 0), None)
    with suppress(OSError):
        path.chmod(0o440)


def _set_aside(path: Path, good: int, found: Found) -> None:
    """Move the torn end of a segment into a file of its own; raises OSError."""
    with path.open("r+b") as file:
        file.seek(good)
        rest = file.read()
        torn = path.with_name(f"torn-{path.stem.removeprefix('signing-')}-{good}.bin")
        with torn.open("wb") as kept:
            kept.write(rest)
            kept.flush()
            os.fsync(kept.fileno())
        sync_folder(path.parent)  # the copy is safe before the original is cut
        file.truncate(good)
        os.fsync(file.fileno())
    found.damage.append(f"{path.name}: its last line was torn, {len(rest)} bytes were moved to {torn.name}")
    told = {"file": torn.name, "bytes": len(rest), "sha256": f"sha256:{lines.hashed(rest)}"}
    found.notes.append({"at": stamp(now()), "what": "torn", **told})


def _unfinished(intent: Mapping[str, Any]) -> dict[str, Any]:
    """Return the result of an intent that a former process left open: the message may have been signed."""
    kept = {k: v for k, v in intent.items() if k not in {"seq", "prev", "what", "decision", "reason"}}
    ended = {"what": "result", "result": "unknown", "why": "the sidecar ended before the signer's answer"}
    return {**kept, **ended, "intent": intent["seq"]}
