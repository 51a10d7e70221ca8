"""What is on its way to S3: a local file without a name, hashed as it is written.

S3 wants the name (the hash) and the length before the first byte, so a stream is put down here first. The file has no
name in its folder: whatever ends this process, nothing of it is left.
"""

import mmap
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryFile
from threading import Lock
from typing import Final

from bot.errors import Invalid

MAX_PARTS: Final = 10_000
"""Parts of one multipart upload, by S3's limit."""


class Spool:
    """One blob on its way out, in parts of `part` bytes; a blob of one part has no parts.

    `close` may come at any time, from any thread: an upload under way fails at its next part.
    """

    def __init__(self, folder: Path, part: int) -> None:
        if part % mmap.ALLOCATIONGRANULARITY:
            raise ValueError(f"a part of {part} bytes is no multiple of a page")
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._file = TemporaryFile(dir=folder)  # noqa: SIM115 - open for as long as the blob is under way
        self._turn = Lock()
        self._part = part
        self._whole, self._running = sha256(), sha256()
        self._digests: list[bytes] = []
        self.size = 0

    def write(self, chunk: bytes) -> None:
        """Append to the file and to the running hashes; raises Invalid when S3 could not take that much."""
        rest = memoryview(chunk)
        with self._turn:
            while rest:
                piece = rest[: self._part - self.size % self._part]
                self._append(piece)
                rest = rest[len(piece) :]

    def _append(self, piece: memoryview) -> None:
        if self.size >= self._part * MAX_PARTS:
            raise Invalid(f"an item of more than {MAX_PARTS} parts of {self._part} bytes cannot be stored in S3")
        self._file.write(piece)
        self._whole.update(piece)
        if self.size >= self._part:  # the first part's hash is the whole's so far: most items are hashed once only
            self._running.update(piece)
        self.size += len(piece)
        if self.size % self._part == 0:
            self._digests.append((self._running if self._digests else self._whole).digest())
            self._running = sha256()

    @property
    def name(self) -> str:
        """The SHA-256 of all in hex: the blob's name."""
        return self._whole.hexdigest()

    @property
    def parts(self) -> list[str]:
        """The SHA-256 of each part in base64; one for a blob that is no larger than a part."""
        return [_base64(digest) for digest in self._each()]

    @property
    def checksum(self) -> str:
        """S3's SHA-256 of the object: of several parts it is that of their digests, with their number behind."""
        each = self._each()
        return _base64(each[0]) if len(each) == 1 else f"{_base64(sha256(b''.join(each)).digest())}-{len(each)}"

    def _each(self) -> list[bytes]:
        if self.size <= self._part:
            return [self._whole.digest()]
        return self._digests + ([self._running.digest()] if self.size % self._part else [])

    @contextmanager
    def part(self, index: int) -> Iterator[mmap.mmap | bytes]:
        """Lend one part's bytes without reading them into memory; raises ValueError when the spool was closed."""
        start = index * self._part
        length = min(self._part, self.size - start)
        if not length:
            yield b""
            return
        with self._turn:
            self._file.flush()
            lent = mmap.mmap(self._file.fileno(), length, access=mmap.ACCESS_READ, offset=start)
        with lent:
            yield lent

    def close(self) -> None:
        """Let go of the file, and so of its content."""
        with self._turn:
            self._file.close()


def _base64(digest: bytes) -> str:
    return b64encode(digest).decode()
