"""Blobs in a directory: `blobs/ab/cdef…` named by the SHA-256 of the content, written once, read-only.

A blob is streamed into `blobs/.incoming-…`, synced, and linked under its name; a link never replaces a file. What a
crash leaves behind is an incoming file that nobody holds locked: ignored by every reader, removed by `sweep`.
"""

import asyncio
import fcntl
import os
import re
from collections.abc import AsyncIterable, Iterable, Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from secrets import token_hex
from threading import Lock
from time import time
from typing import BinaryIO, Final

from bot.errors import Invalid, NotFound, Refused, StopsignError
from bot.ports import Kept
from bot.vault import files

_INCOMING: Final = ".incoming-"
_FRESH: Final = 3600.0
"""Seconds within which what was kept is never removed."""
_NAME: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_SHELF: Final = re.compile(r"[0-9a-f]{2}", re.ASCII)
_REST: Final = re.compile(r"[0-9a-f]{62}", re.ASCII)


class Damaged(StopsignError):
    """A blob's content is not what its name says: it was altered on disk. It was left as it is."""

    title = "Evidence is damaged"


class Folder:
    """The vault's blobs under `home`/blobs. Safe between threads and between processes on one machine."""

    def __init__(self, home: Path) -> None:
        self._blobs = home / "blobs"

    async def keep(self, chunks: AsyncIterable[bytes]) -> Kept:
        """Store a stream durably; on return the blob survives a power cut. The same content again is the same blob.

        Raises:
            Damaged: the blob was there already and is not what its name says.
        """
        incoming = _Incoming(self._blobs)
        try:
            waiting = bytearray()
            async for chunk in chunks:
                waiting += chunk
                if len(waiting) >= files.BLOCK:
                    await asyncio.to_thread(incoming.write, bytes(waiting))
                    waiting.clear()
            await asyncio.to_thread(incoming.write, bytes(waiting))
            return await asyncio.to_thread(incoming.settle)
        finally:
            incoming.close()

    def put(self, chunks: Iterable[bytes]) -> Kept:
        """Do what `keep` does, for a caller outside the event loop."""
        incoming = _Incoming(self._blobs)
        try:
            for chunk in chunks:
                incoming.write(chunk)
            return incoming.settle()
        finally:
            incoming.close()

    def open(self, sha256: str) -> BinaryIO:
        """Open a blob for reading, unchecked; raises NotFound."""
        try:
            return files.open_plain(_path(self._blobs, sha256))
        except (FileNotFoundError, files.NotPlain) as error:
            raise NotFound(f"the vault has no blob {sha256}") from error

    def read(self, sha256: str) -> bytes:
        """Return a blob's content, checked against its name; raises NotFound or Damaged."""
        with self.open(sha256) as blob:
            content = blob.read()
        _check(sha256, _sha256(content))
        return content

    def exists(self, sha256: str) -> bool:
        """Tell whether there is a plain file under the blob's name."""
        with suppress(NotFound), self.open(sha256):
            return True
        return False

    def remove(self, sha256: str) -> None:
        """Remove a blob for good, if it is there; whoever asks has written down first that it goes.

        Raises Refused for what was kept, or kept again, within the last hour: its record may be on its way.
        """
        path = _path(self._blobs, sha256)
        try:
            with files.directory(path.parent) as shelf:
                fcntl.flock(shelf, fcntl.LOCK_EX)  # nobody keeps it again between this look and the removal
                if time() - os.stat(path.name, dir_fd=shelf, follow_symlinks=False).st_mtime < _FRESH:
                    raise Refused(f"the content {sha256} was kept less than an hour ago: it stays")
                os.unlink(path.name, dir_fd=shelf)
                os.fsync(shelf)
        except FileNotFoundError:
            return

    def hold(self, sha256: str, on: bool) -> None:
        """Do nothing: a folder has no locks of its own, the journal's hold decides."""

    def all(self) -> Iterator[str]:
        """Yield the names of all blobs, sorted."""
        return (shelf + rest for shelf, rest, blob in self._walk() if blob)

    def strays(self) -> Iterator[str]:
        """Yield the paths under `blobs/` that no blob can have; incoming files are not among them."""
        return (f"{shelf}/{rest}" if rest else shelf for shelf, rest, blob in self._walk() if not blob)

    def sweep(self) -> int:
        """Remove the incoming files of writers that died; returns how many. Those of living writers stay."""
        if not self._blobs.is_dir():
            return 0
        with files.directory(self._blobs) as blobs:
            return sum(_swept(name, blobs) for name in os.listdir(blobs) if name.startswith(_INCOMING))

    def _walk(self) -> Iterator[tuple[str, str, bool]]:
        """Yield (shelf, rest, is a blob) of everything under `blobs/` but incoming files."""
        if not self._blobs.is_dir():
            return
        for shelf in sorted(os.scandir(self._blobs), key=lambda entry: entry.name):
            if shelf.name.startswith(_INCOMING):
                continue
            if not (_SHELF.fullmatch(shelf.name) and shelf.is_dir(follow_symlinks=False)):
                yield shelf.name, "", False
                continue
            for entry in sorted(os.scandir(shelf.path), key=lambda entry: entry.name):
                plain = entry.is_file(follow_symlinks=False)
                yield shelf.name, entry.name, plain and bool(_REST.fullmatch(entry.name))


class _Incoming:
    """One blob on its way in: an open, locked file that has no name of its own yet.

    `close` waits for a call in another thread, so that a cancelled task never closes a descriptor under a write.
    """

    def __init__(self, blobs: Path) -> None:
        self._blobs = blobs
        self._turn = Lock()
        blobs.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with files.directory(blobs, create=True) as within:
            self._name, self._fd = _locked_file(within)
        self._hash = sha256()
        self._size = 0

    def write(self, chunk: bytes) -> None:
        """Append to the file and to the running hash."""
        with self._turn:
            self._hash.update(chunk)
            self._size += len(chunk)
            view = memoryview(chunk)
            while view:
                view = view[os.write(self._fd, view) :]

    def settle(self) -> Kept:
        """Make the content durable under its name: file, then link, then directory."""
        with self._turn:
            return self._linked()

    def close(self) -> None:
        """Remove the incoming name, whatever became of the content."""
        with self._turn, files.directory(self._blobs) as blobs:
            with suppress(FileNotFoundError):
                os.unlink(self._name, dir_fd=blobs)
            os.close(self._fd)
            self._fd = -1

    def _linked(self) -> Kept:
        name = self._hash.hexdigest()
        os.fchmod(self._fd, 0o400)
        os.fsync(self._fd)
        with (
            files.directory(self._blobs) as blobs,
            files.directory(name[:2], within=blobs, create=True) as shelf,
        ):
            fcntl.flock(shelf, fcntl.LOCK_EX)
            try:
                os.link(self._name, name[2:], src_dir_fd=blobs, dst_dir_fd=shelf, follow_symlinks=False)
            except FileExistsError:
                _verify_existing(name, shelf)
            os.fsync(shelf)
        return Kept(sha256=name, size=self._size)


def _locked_file(within: int) -> tuple[str, int]:
    """Return a new incoming file, locked so that no sweeper takes it for a dead writer's."""
    while True:
        name = _INCOMING + token_hex(8)
        fd = files.create(name, within=within)
        with suppress(BlockingIOError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(fd).st_nlink:
                return name, fd
        os.close(fd)  # a sweeper was between creation and lock: it removes the file, we take another


def _swept(name: str, blobs: int) -> bool:
    with suppress(FileNotFoundError, files.NotPlain), files.open_plain(name, within=blobs) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        os.unlink(name, dir_fd=blobs)
        return True
    return False


def _verify_existing(name: str, shelf: int) -> None:
    with files.open_plain(name[2:], within=shelf) as blob:
        os.utime(blob.fileno())  # kept again just now: whoever removes old contents leaves it alone
        _check(name, files.digest(blob)[0])


def _check(name: str, found: str) -> None:
    if found != name:
        raise Damaged(f"the blob {name} was altered: its content has the hash {found}")


def _path(blobs: Path, name: str) -> Path:
    if not _NAME.fullmatch(name):
        raise Invalid(f"{name!r} is not the SHA-256 of a blob in hex")
    return blobs / name[:2] / name[2:]


def _sha256(content: bytes) -> str:
    return sha256(content).hexdigest()
