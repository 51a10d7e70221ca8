"""One file of the record, and what is known of the disk when writing it fails."""

import errno
import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bot.sidecar import lines


@dataclass(slots=True, eq=False)
class Segment:
    """The file that is written to."""

    path: Path
    fd: int
    size: int = 0
    told: int = 0
    first_at: str | None = None
    last_at: str | None = None
    digest: Any = field(default_factory=hashlib.sha256)
    unsure: bool = False

    def append(self, content: bytes, entries: Iterable[Mapping[str, Any]], *, durable: bool) -> None:
        """Write lines, whole or not at all; raises OSError, after which what was written of them is cut off again."""
        view = memoryview(content)
        while view:
            view = view[os.write(self.fd, view) :]
        if durable:
            self.unsure = True  # after a failed fsync nobody knows what the disk holds
            os.fdatasync(self.fd)
            self.unsure = False
        self.size += len(content)
        self.digest.update(content)
        for entry in entries:
            if entry["what"] not in lines.FRAMING:
                self.told += 1
                self.first_at = min(filter(None, (self.first_at, lines.earliest(entry))))
                self.last_at = max(filter(None, (self.last_at, entry["at"])))


def reason(error: OSError) -> str:
    """Return why the disk failed, for people."""
    return {errno.ENOSPC: "the disk is full", errno.EFBIG: "the file may not grow"}.get(
        error.errno or 0, (error.strerror or str(error)).lower()
    )


def sync_folder(folder: Path) -> None:
    """Make names in a folder durable; raises OSError."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
