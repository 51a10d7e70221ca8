"""Write the record: one thread appends, and one fsync serves all who wait for it (group commit).

An intent is durable before its request goes to the signer. A result is written behind it: a crash in between leaves an
intent without result, which says what is true, that the message may have been signed.
"""

import asyncio
import os
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from bot.errors import StopsignError
from bot.sidecar import lines
from bot.sidecar.recovery import recovered
from bot.sidecar.segment import Segment, reason, sync_folder
from bot.sidecar.words import now, stamp

_LAZY_SECONDS = 0.05
_HELD_AT_MOST = 100_000
SIGNATURES = frozenset({"signed", "unknown"})
"""Results after which a signature exists, or may exist: these are numbered by `nonce`."""


class NotRecorded(StopsignError):
    """The line could not be written durably; nothing was sent to the signer."""

    title = "Not recorded"


@dataclass(slots=True, eq=False)
class Entry:
    """One line to be written. `seq` is its number once it is in the record."""

    fields: dict[str, Any]
    durable: bool
    intent: "Entry | None" = None
    seq: int | None = None
    done: "asyncio.Future[None] | None" = None
    gap: "Gap | None" = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Lines that are not in the record: how many, when they would have been written (RFC 3339), and why not.

    `messages` of them are, or may be, of messages that were signed.
    """

    lost: int
    messages: int
    since: str
    until: str
    why: str

    def and_then(self, later: "Gap") -> "Gap":
        """Return both as one."""
        return Gap(
            lost=self.lost + later.lost,
            messages=self.messages + later.messages,
            since=min(self.since, later.since),
            until=max(self.until, later.until),
            why=later.why,
        )

    def told(self) -> str:
        """Return the sentence for people."""
        passed = f", {self.messages} of them of messages that may have been signed" if self.messages else ""
        return f"{self.lost} lines of {self.since} to {self.until} are missing{passed}: {self.why}"


@dataclass(slots=True, eq=False)
class _Turn:
    """A call to close the segment, or (`keep`) only to make all lines before it durable."""

    done: "asyncio.Future[list[dict[str, object]]]"
    keep: bool


class Record:
    """The record in `folder`. Built, then `open`ed once; all other methods are called on the event loop.

    `rotate_at` and `keep` are the sizes of one segment and of all closed ones together, `min_free` what stays free on
    the disk for results and for the denied keys: an intent that would go below it is refused.
    """

    def __init__(self, folder: Path, *, rotate_at: int, keep: int, min_free: int, about: Mapping[str, object]) -> None:
        self._folder = folder
        self._rotate_at, self._keep, self._min_free = rotate_at, keep, min_free
        self._about = dict(about)
        self._queue: deque[Entry | _Turn] = deque()
        self._wake = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="record", daemon=True)
        self._segment: Segment | None = None
        self._unsynced = False
        self._seq, self._prev, self._nonce = 0, lines.GENESIS, 0
        self._pending: dict[int, dict[str, Any]] = {}
        self._held: list[Entry] = []
        self._opening: dict[str, object] = {}
        self._gap: Gap | None = None
        self._gaps: Gap | None = None
        self.failing: str | None = None
        self._damage: list[str] = []
        self.marks: dict[tuple[str, tuple[str, int], str], None] = {}
        self.fsyncs = 0
        self.fsync_seconds = 0.0

    # ---- on the event loop

    def begin(self, fields: dict[str, Any]) -> Entry:
        """Hand over that something is about to be sent; nothing may be sent before it is `durable`."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = Entry(fields={"at": stamp(now()), "what": "intent", **fields}, durable=True, done=done)
        self._put(entry)
        return entry

    async def durable(self, entry: Entry) -> None:
        """Return when an intent is in the record, whatever happens to this machine; raises NotRecorded."""
        if entry.done is not None:
            await entry.done

    def note(self, what: str, fields: dict[str, Any], *, intent: Entry | None = None) -> None:
        """Write a line behind the caller's back: it is in the record soon, and in order."""
        self._put(Entry(fields={"at": stamp(now()), "what": what, **fields}, durable=False, intent=intent))

    def lose(self, count: int, *, messages: int = 0) -> None:
        """Count lines that are not in the record: the next line that is will tell of them."""
        if count <= 0:
            return
        at, why = stamp(now()), self.failing or "the record was not written in time"
        gap = Gap(lost=count, messages=messages, since=at, until=at, why=why)
        with self._wake:
            self._gap = self._gap.and_then(gap) if self._gap else gap

    @property
    def gap(self) -> Gap | None:
        """Return what is missing, and of which the record could not tell yet."""
        return self._gap

    @property
    def damage(self) -> list[str]:
        """Return what is wrong with the record, as sentences: since when it is read, and all gaps as one."""
        with self._wake:
            gap = self._gap
            if self._gaps is not None:
                gap = self._gaps.and_then(gap) if gap else self._gaps
        return self._damage + ([gap.told()] if gap else [])

    async def rotate(self) -> list[dict[str, object]]:
        """Close the segment and begin another; returns the closed one's name, hash and size, or nothing if empty."""
        return await self._turn(keep=False)

    async def parts(self) -> list[tuple[Path, int]]:
        """Return the segments with their sizes, after all that was handed over before is in them."""
        now_at = {one["name"]: one["size"] for one in await self._turn(keep=True)}
        found = lines.segments(self._folder)
        return [(path, int(str(now_at.get(path.name, path.stat().st_size)))) for path in found]

    def close(self) -> None:
        """Write what is left and end the thread; blocks."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        if self._thread.is_alive():
            self._thread.join()
        if self._segment:
            os.close(self._segment.fd)
            self._segment = None

    @property
    def head(self) -> dict[str, object]:
        """Return number and hash of the last line: who keeps them can tell later whether the end was cut off."""
        return {"seq": self._seq, "sha256": self._prev}

    @property
    def queued(self) -> int:
        """Return how many lines wait."""
        return len(self._queue) + len(self._held)

    @property
    def free(self) -> int:
        """Return the bytes that are free on the record's disk."""
        told = os.statvfs(self._folder)
        return told.f_bavail * told.f_frsize

    async def _turn(self, *, keep: bool) -> list[dict[str, object]]:
        done: asyncio.Future[list[dict[str, object]]] = asyncio.get_running_loop().create_future()
        self._put(_Turn(done=done, keep=keep))
        return await done

    def _put(self, one: Entry | _Turn) -> None:
        with self._wake:
            self._queue.append(one)
            self._wake.notify()

    # ---- at the start

    def open(self) -> None:
        """Go on from what a former process left, and start the thread. A full disk does not stop this; blocks."""
        found = recovered(self._folder)
        self._seq, self._prev, self._nonce = found.seq, found.prev, found.nonce
        self._pending, self._segment, self._opening = found.pending, found.segment, found.opening
        self._damage, self.marks = found.damage, found.marks
        self._held += [Entry(fields=note, durable=True) for note in found.notes]
        self._held.append(_framing("started", self._about))
        self._write([])
        self._thread.start()

    # ---- in the thread

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._queue and not self._closing:
                    if not self._wake.wait(_LAZY_SECONDS if self._unsynced else None):
                        break
                batch = list(self._queue)
                self._queue.clear()
            if batch:
                self._work_off(batch)
            elif self._closing:
                self._held.append(_framing("stopped", {}))
                self._write([])
                self._sync()
                return
            else:
                self._sync()

    def _work_off(self, batch: list[Entry | _Turn]) -> None:
        entries: list[Entry] = []
        for one in batch:
            if isinstance(one, Entry):
                entries.append(one)
                continue
            self._write(entries)
            entries = []
            self._take_turn(one)
        if entries or self._held:
            self._write(entries)
        if self._segment and self._segment.size >= self._rotate_at:
            with suppress(OSError):
                self._rotate()

    def _take_turn(self, turn: _Turn) -> None:
        if turn.keep:
            at = self._segment
            _settle([(turn.done, [{"name": at.path.name, "size": at.size}] if at else [])])
            return
        try:
            closed = self._rotate()
        except OSError as error:
            self.failing = reason(error)
            _settle([(turn.done, NotRecorded(f"the record cannot be closed: {reason(error)}"))])
        else:
            _settle([(turn.done, closed)])

    def _write(self, entries: list[Entry]) -> None:
        """Write what was held over and `entries` with at most one fsync, and tell those who wait."""
        batch, self._held = self._held + entries, []
        low = f"less than {self._min_free} bytes are free" if self._low_on_disk() else None
        if low:
            batch = self._refuse(batch, low)
        if not batch:
            return
        before = (self._seq, self._prev, self._nonce)
        durable = any(entry.durable for entry in batch)
        try:
            segment = self._writable()
            before = (self._seq, self._prev, self._nonce)
            written, content = self._formed(batch)
            if written:
                self._append(segment, content, [entry.fields for entry in written], durable=durable)
        except OSError as error:
            self._seq, self._prev, self._nonce = before
            for entry in batch:
                entry.seq = None
            self._give_up(batch, error)
            return
        if written:  # a batch of which nothing was left says nothing about the disk
            self.failing = low
        for entry in written:
            self._account(entry)
        _settle([(entry.done, None) for entry in batch])

    def _formed(self, batch: list[Entry]) -> tuple[list[Entry], bytes]:
        """Number and chain the lines; a result whose intent never came into the record is left out."""
        if (gap := self._gap) is not None:
            batch.insert(0, Entry(fields={"at": stamp(now()), "what": "gap", **asdict(gap)}, durable=True, gap=gap))
        written, content = [], []
        for entry in batch:
            if entry.intent is not None and entry.intent.seq is None:
                continue
            fields = {k: v for k, v in entry.fields.items() if k not in {"seq", "prev", "nonce"}}
            entry.seq = self._seq = self._seq + 1
            if entry.intent is not None:
                fields["intent"] = entry.intent.seq
            if fields["what"] == "result" and fields["result"] in SIGNATURES:
                self._nonce += 1
                fields["nonce"] = self._nonce
            entry.fields = {"seq": entry.seq, "prev": self._prev, **fields}
            content.append(lines.line(entry.fields))
            self._prev = lines.hashed(content[-1])
            written.append(entry)
        return written, b"".join(content)

    def _append(self, segment: Segment, content: bytes, entries: list[dict[str, Any]], *, durable: bool) -> None:
        begun = time.monotonic()
        try:
            segment.append(content, entries, durable=durable)
        except OSError:
            try:
                os.ftruncate(segment.fd, segment.size)
            except OSError:
                segment.unsure = True
            raise
        self._unsynced = not durable
        if durable:
            self.fsyncs += 1
            self.fsync_seconds += time.monotonic() - begun

    def _account(self, entry: Entry) -> None:
        what, fields = entry.fields["what"], entry.fields
        if what == "intent":
            self._pending[fields["seq"]] = fields
        elif what == "result":
            self._pending.pop(fields["intent"], None)
        elif entry.gap is not None:
            self._tell(entry.gap)

    def _tell(self, gap: Gap) -> None:
        """Go on after the record tells of a gap; what was lost meanwhile is the next one."""
        with self._wake:
            self._gaps = self._gaps.and_then(gap) if self._gaps else gap
            if (now_at := self._gap) is not None:
                rest, messages = now_at.lost - gap.lost, now_at.messages - gap.messages
                self._gap = replace(now_at, lost=rest, messages=messages, since=gap.until) if rest else None

    def _refuse(self, batch: list[Entry], why: str) -> list[Entry]:
        """Turn intents and denials away; return the lines that are written all the same."""
        self.failing = why
        error = NotRecorded(f"the record cannot be written: {why}")
        away = [entry for entry in batch if entry.fields["what"] in {"intent", "denied"}]
        self.lose(sum(entry.fields["what"] == "denied" for entry in away))
        _settle([(entry.done, error) for entry in away])
        return [entry for entry in batch if entry not in away]

    def _give_up(self, batch: list[Entry], error: OSError) -> None:
        """Tell those who wait that nothing was written, and hold over what must not be forgotten."""
        rest = [entry for entry in self._refuse(batch, reason(error)) if entry.fields["what"] != "gap"]
        self._held = rest[:_HELD_AT_MOST]
        over = rest[_HELD_AT_MOST:]
        self.lose(len(over), messages=sum(entry.fields["what"] == "result" for entry in over))

    def _low_on_disk(self) -> bool:
        try:
            return self.free < self._min_free
        except OSError:
            return True

    def _writable(self) -> Segment:
        """Return the segment to write to, a new one if the old one may not be trusted; raises OSError."""
        if self._segment is not None and self._segment.unsure:
            name, why = self._segment.path.name, "the disk failed while it was written"
            self._damage.append(f"{name}: {why}")
            self._opening["damaged"] = {"file": name, "why": why}
            os.close(self._segment.fd)
            self._segment = None
        if self._segment is None:
            self._segment = self._begin()
        return self._segment

    def _begin(self) -> Segment:
        """Create the next segment with its first line, durably; raises OSError and leaves nothing."""
        path = self._folder / lines.name_of(self._seq + 1)
        opened = {"at": stamp(now()), "what": "opened", "nonce": self._nonce, "pending": list(self._pending.values())}
        fields = {"seq": self._seq + 1, "prev": self._prev, **opened, **self._opening}
        content = lines.line(fields)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o640)
        segment = Segment(path, fd)
        try:
            segment.append(content, [fields], durable=True)
            sync_folder(self._folder)
        except OSError:
            os.close(fd)
            with suppress(OSError):
                path.unlink()
            raise
        self._seq, self._prev, self._opening = self._seq + 1, lines.hashed(content), {}
        return segment

    def _rotate(self) -> list[dict[str, object]]:
        """Close the segment and begin the next; raises OSError."""
        segment = self._writable()
        if not segment.told:
            return []
        last = {"at": stamp(now()), "what": "closed", "first_at": segment.first_at, "last_at": segment.last_at}
        fields = {"seq": self._seq + 1, "prev": self._prev, **last, "lines": segment.told}
        content = lines.line(fields)
        self._append(segment, content, [fields], durable=True)
        self._seq, self._prev = self._seq + 1, lines.hashed(content)
        os.fchmod(segment.fd, 0o440)
        os.close(segment.fd)
        self._segment = None
        closed: dict[str, object] = {"name": segment.path.name, "sha256": f"sha256:{segment.digest.hexdigest()}"}
        self._drop_oldest()
        with suppress(OSError):  # the segment is closed all the same; the next line tries again
            self._segment = self._begin()
        return [{**closed, "size": segment.size}]

    def _drop_oldest(self) -> None:
        """Remove the oldest segments while all together are larger than `keep`."""
        found = [(path, path.stat().st_size) for path in lines.segments(self._folder)]
        total = sum(size for _, size in found)
        for path, size in found[:-1]:
            if total <= self._keep:
                break
            path.unlink()
            total -= size
            self._held.append(_framing("dropped", {"file": path.name, "bytes": size}))

    def _sync(self) -> None:
        if self._segment is None or not self._unsynced:
            return
        try:
            os.fdatasync(self._segment.fd)
        except OSError as error:
            self._segment.unsure = True
            self.failing = reason(error)
        self._unsynced = False


def _settle(waiting: list[tuple["asyncio.Future[Any] | None", object]]) -> None:
    """Give each who waits a result or an error, in one step of its event loop."""
    futures = [(future, value) for future, value in waiting if future is not None]

    def give() -> None:
        for future, value in futures:
            if future.done():
                continue
            if isinstance(value, Exception):
                future.set_exception(value)
            else:
                future.set_result(value)

    if futures:
        with suppress(RuntimeError):  # the loop has ended: nobody waits any more
            futures[0][0].get_loop().call_soon_threadsafe(give)


def _framing(what: str, fields: Mapping[str, object]) -> Entry:
    return Entry(fields={"at": stamp(now()), "what": what, **fields}, durable=True)


def text_of(
    parts: list[tuple[Path, int]], since: str | None, until: str, *, audit: bool, gap: Gap | None = None
) -> Iterator[bytes]:
    """Yield the signed messages of a window, or (`audit`) the decisions, as lines of the record, and what is missing.

    `gap` is one of which the record could not tell yet: its line has no number, and comes last.
    """

    def message(entry: Mapping[str, Any]) -> bool:
        if entry["what"] == "gap":
            return entry.get("messages") != 0
        return entry["what"] == "result" and entry["result"] in SIGNATURES

    def decision(entry: Mapping[str, Any]) -> bool:
        return entry["what"] == "gap" or "decision" in entry

    yield from lines.window(parts, since, until, decision if audit else message)
    if gap is not None and (audit or gap.messages) and (since is None or since <= gap.until) and gap.since < until:
        yield lines.line({"at": stamp(now()), "what": "gap", **asdict(gap)})
