"""The ring of packets that tcpdump writes beside the signer: read a window of it, and keep a tcpdump running.

A ring is a folder of classic pcap files: a header of 24 bytes, then for each packet a record of 16 bytes and its bytes.
tcpdump alone writes them. Nothing here is waited for by a request to sign: files are read by a thread of their own, and
a tcpdump that is missing, or may not capture, is a line in the log and a metric.
"""

import asyncio
import logging
import os
import pwd
import re
import shutil
import signal
import stat
import struct
import time
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bot.sidecar.options import Capture

_LOG = logging.getLogger("bot.sidecar")
_NAME = re.compile(r"[\w.-]+\.pcap\d*", re.ASCII)
_OURS = re.compile(r"ring-\d+\.pcap\d*", re.ASCII)
_FILES = 8
_MILLION = 1_000_000
_MAGIC = {0xA1B2C3D4: 1000, 0xA1B23C4D: 1}
"""The two classic formats, with the nanoseconds of their unit of time."""
_SECOND = 1_000_000_000
_HEADER = 24
_HEAD = _HEADER + 16
_LONGEST = 262_144
"""Bytes of the longest packet that libpcap reads; a record that claims more is damaged."""
_STEP = 256 * 1024
_SLACK = 60 * _SECOND
"""How far the time of a file may lie before that of its last packet: clocks are set."""
_LONGEST_PAUSE = 60.0
_LONGEST_REST = 0.05
_TIDY_SECONDS = 30.0
_END_SECONDS = 2.0
_TEXT = 4096
_SYSTEM = "/usr/sbin:/sbin"
"""Where some systems keep tcpdump, and the paths of services do not lead."""


class NoCapture(Exception):
    """The ring holds no file of packets; the sentence says why as far as is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """One file of a ring as it was found. `head` tells it from what tcpdump writes under the same name later.

    Times are in nanoseconds since 1970; `first` is None before the first packet.
    """

    path: Path
    inode: int
    head: bytes
    order: str
    unit: int
    link: int
    first: int | None
    written: int


def files(folder: Path) -> list[File]:
    """Return the pcap files of a folder, oldest first packet first; links, pipes and other files are left out.

    Raises NoCapture when the folder cannot be read.
    """
    try:
        names = [name for name in os.listdir(folder) if _NAME.fullmatch(name)]
    except OSError as error:
        raise NoCapture(f"{folder} cannot be read ({error.strerror})") from None
    found = [one for name in names if (one := _seen(folder / name))]
    return sorted(found, key=lambda one: (one.first or 0, one.path.name))


def window(folder: Path, since: int, until: int) -> Iterator[bytes]:
    """Yield one pcap stream with the packets of since <= time < until (nanoseconds since 1970); some chunks are empty.

    Files are read in the order of their first packets, and those that tcpdump began meanwhile after them. A packet that
    is torn, or was overwritten while it was read, is left out, and so are files of another link type than the newest.
    Holds one step of one file in memory. Raises NoCapture before the first chunk, OSError when a disk fails.
    """
    found = files(folder)
    if not found:
        raise NoCapture(f"{folder} holds no file of packets")
    link = max(found, key=lambda one: one.written).link
    unit = min(one.unit for one in found)
    magic = next(magic for magic, length in _MAGIC.items() if length == unit)
    yield struct.pack("<IHHiIII", magic, 2, 4, 0, 0, _LONGEST, link)
    for path in sorted({one.path.name for one in found if one.link != link}):
        _LOG.warning("network capture: %s is of another kind of network than the newest file, and left out", path)
    done: set[tuple[int, bytes]] = set()
    while fresh := [one for one in files(folder) if one.link == link and (one.inode, one.head) not in done]:
        for one in fresh:
            done.add((one.inode, one.head))
            if one.first is not None and one.first < until and one.written + _SLACK >= since:
                yield from _cut(one, since, until, unit)


def _open(path: Path) -> int | None:
    """Open a regular file and nothing else, without waiting for anybody at its other end."""
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            return None
        opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        _LOG.warning("network capture: %s is left out: it cannot be read (%s)", path, error.strerror)
        return None
    if stat.S_ISREG(os.fstat(opened).st_mode):
        return opened
    os.close(opened)
    return None


def _seen(path: Path) -> File | None:
    """Return what a path holds, if that is classic pcap."""
    opened = _open(path)
    if opened is None:
        return None
    try:
        head, told = os.pread(opened, _HEAD, 0), os.fstat(opened)
    finally:
        os.close(opened)
    for order in "<>" if len(head) >= _HEADER else "":
        magic, major, _, _, _, _, link = struct.unpack_from(f"{order}IHHiIII", head)
        if magic not in _MAGIC or major != 2:
            continue
        first = None
        if len(head) == _HEAD:
            seconds, fraction = struct.unpack_from(f"{order}II", head, _HEADER)
            first = seconds * _SECOND + fraction * _MAGIC[magic]
        return File(
            path=path,
            inode=told.st_ino,
            head=head if first is not None else head[:_HEADER],
            order=order,
            unit=_MAGIC[magic],
            link=link,
            first=first,
            written=told.st_mtime_ns,
        )
    return None


def _cut(one: File, since: int, until: int, unit: int) -> Iterator[bytes]:
    """Yield the records of one file that lie in the window; ends early where tcpdump began the file anew."""
    opened = _open(one.path)
    if opened is None:
        return
    record, written = struct.Struct(f"{one.order}IIII"), struct.Struct("<IIII")
    at, rest = _HEADER, b""
    try:
        while chunk := os.pread(opened, _STEP, at):
            # What was read before this look, while the head is still the old one, is of the old file throughout.
            if os.pread(opened, _HEAD, 0) != one.head:
                return
            at += len(chunk)
            content, here, chosen, damaged = rest + chunk, 0, bytearray(), False
            while here + record.size <= len(content):
                seconds, fraction, size, real = record.unpack_from(content, here)
                end, damaged = here + record.size + size, size > _LONGEST
                if damaged or end > len(content):
                    break
                if since <= seconds * _SECOND + fraction * one.unit < until:
                    chosen += written.pack(seconds, fraction * one.unit // unit, size, real)
                    chosen += content[here + record.size : end]
                here = end
            yield bytes(chosen)
            if damaged:
                _LOG.warning("network capture: %s is damaged; what follows is left out", one.path)
                return
            rest = content[here:]
    finally:
        os.close(opened)


class Ring:
    """One ring: its window for the control port, and the tcpdump that writes it, if that is ours to run."""

    def __init__(self, capture: Capture, *, control: int, memory: Path) -> None:
        """`control` is the port whose own traffic is not captured, `memory` a file for the id of our tcpdump."""
        self._capture = capture
        self._control = control
        self._memory = memory
        self._folder = capture.folder.absolute()
        self._each = max(1, capture.size // _FILES // _MILLION)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="pcap")
        self._told = ""
        self._current = ""
        self.managed = capture.interface is not None
        self.running = False
        self.starts = 0

    async def window(self, since: int, until: int) -> AsyncGenerator[bytes, None]:
        """Yield what `window` of this module does, without empty chunks; raises NoCapture and OSError likewise."""
        loop = asyncio.get_running_loop()
        chunks = window(self._folder, since, until)
        try:
            while True:
                began = loop.time()
                chunk = await loop.run_in_executor(self._thread, _next, chunks)
                if chunk is None:
                    return
                # Half of the time is left to what signs.
                await asyncio.sleep(min(_LONGEST_REST, loop.time() - began))
                if chunk:
                    yield chunk
        except NoCapture as error:
            raise NoCapture(f"{error}; {self._told}" if self._told else str(error)) from None
        finally:
            self._thread.submit(_close, chunks)

    @asynccontextmanager
    async def kept(self) -> AsyncIterator["Ring"]:
        """Keep tcpdump running for the length of a block, if that is ours to do."""
        keeper = asyncio.create_task(self._keep()) if self.managed else None
        try:
            yield self
        finally:
            if keeper is not None:
                keeper.cancel()
                (ended,) = await asyncio.gather(keeper, return_exceptions=True)
                if not isinstance(ended, asyncio.CancelledError):
                    _LOG.error("network capture: it ended unexpectedly: %r", ended)
            self._thread.shutdown(wait=False, cancel_futures=True)

    async def _keep(self) -> None:
        pause = 1.0
        while True:
            began = time.monotonic()
            try:
                told = await self._run()
            except OSError as error:
                told = f"tcpdump cannot run ({error.filename or self._folder}: {error.strerror})"
            self.running = False
            if told != self._told:
                _LOG.warning("network capture: %s; it is tried again, and signing goes on without", told)
            self._told = told
            pause = 1.0 if time.monotonic() - began >= _LONGEST_PAUSE else pause
            await asyncio.sleep(pause)
            pause = min(_LONGEST_PAUSE, 2 * pause)

    async def _run(self) -> str:
        """Run one tcpdump to its end; return why it ended."""
        program = shutil.which("tcpdump", path=f"{os.environ.get('PATH', os.defpath)}:{_SYSTEM}")
        if program is None:
            return "tcpdump is not installed"
        loop = asyncio.get_running_loop()
        owner = await loop.run_in_executor(self._thread, self._prepare)
        process = await asyncio.create_subprocess_exec(
            *self._command(program, owner),
            stdin=DEVNULL,
            stdout=DEVNULL,
            stderr=PIPE,
            env={"LC_ALL": "C"},
            umask=0o077,
            start_new_session=True,
        )
        self.starts += 1
        reading = asyncio.create_task(self._listen(process))
        try:
            await loop.run_in_executor(self._thread, self._remember, process.pid)
            while not reading.done():
                await asyncio.wait({reading}, timeout=_TIDY_SECONDS)
                await loop.run_in_executor(self._thread, self._tidy)
            said, code = await reading, await process.wait()
            how = f"was ended by signal {-code}" if code < 0 else f"ended with {code}"
            return f"tcpdump {how}{': ' if said else ''}{said}"
        finally:
            reading.cancel()
            await _end(process)

    def _command(self, program: str, owner: str) -> list[str]:
        """Return the arguments; the packets of a capture must not push out of the ring what is being captured."""
        others = f"not tcp port {self._control}"
        chosen = f"({self._capture.filter}) and {others}" if self._capture.filter else others
        to = str(self._folder / self._current)
        # As root tcpdump becomes another user: let it be the one whose folder this is.
        drop = ["-Z", owner] if os.geteuid() == 0 else []
        ring = ["-C", str(self._each), "-W", str(_FILES), "-U"]
        return [program, "-p", "-n", "-i", str(self._capture.interface), "-w", to, *ring, *drop, chosen]

    def _prepare(self) -> str:
        """Make ready for another tcpdump, which begins files of its own; return whose the folder is."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._end_left_behind()
        self._current = f"ring-{time.time_ns()}.pcap"
        self._tidy()
        number = self._folder.stat().st_uid
        try:
            return pwd.getpwuid(number).pw_name
        except KeyError:
            return str(number)

    def _remember(self, number: int) -> None:
        with suppress(OSError):
            self._memory.write_text(f"{number}\n", encoding="utf-8")

    def _end_left_behind(self) -> None:
        """End the tcpdump of a sidecar that was killed: known by its id, and by our folder in its arguments."""
        with suppress(OSError, ValueError):
            left = int(self._memory.read_text(encoding="utf-8"))
            words = Path(f"/proc/{left}/cmdline").read_bytes().split(b"\0")
            if any(word.startswith(os.fsencode(self._folder / "ring-")) for word in words):
                os.kill(left, signal.SIGTERM)

    def _tidy(self) -> None:
        """Drop the files of earlier runs, oldest first, as far as they and those of this run are too large."""
        told = []
        for name in filter(_OURS.fullmatch, os.listdir(self._folder)):
            with suppress(FileNotFoundError):
                one = os.lstat(self._folder / name)
                told.append((one.st_mtime_ns, name, one.st_size))
        # A ring that goes round has one file that is only begun.
        excess = sum(size for _, _, size in told) - (_FILES - 1) * self._each * _MILLION
        for _, name, size in sorted(told):
            if not name.startswith(self._current) and (excess > 0 or size <= _HEADER):
                (self._folder / name).unlink(missing_ok=True)
                excess -= size

    async def _listen(self, process: Process) -> str:
        """Read what tcpdump says to the end; return the last of its own complaints."""
        said, rest = "", b""
        assert process.stderr is not None
        while content := await process.stderr.read(_TEXT):
            # It writes the beginning of a line and the rest of it one after the other.
            *lines, rest = (rest + content).split(b"\n")
            rest = rest[-_TEXT:]
            for line in (one.decode(errors="replace") for one in lines):
                if "listening on" in line:
                    self.running, self._told = True, ""
                    _LOG.info("network capture: %s", line.strip()[:200])
                elif line.startswith("tcpdump: "):
                    said = line.removeprefix("tcpdump: ").strip()[:200]
        return said


def _next(chunks: Iterator[bytes]) -> bytes | None:
    return next(chunks, None)


def _close(chunks: Iterator[bytes]) -> None:
    chunks.close()  # type: ignore[attr-defined]


async def _end(process: Process) -> None:
    """End a process in order, by its id; kill it when it takes too long."""
    for end in (process.terminate, process.kill):
        if process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            end()
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), _END_SECONDS)
