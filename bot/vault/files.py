"""Files that are written once and read without following a link: the only way the vault touches a disk."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, Final

BLOCK: Final = 1 << 20

_NEW: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OLD: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class NotPlain(OSError):
    """The name is a link, a directory or a device, not a plain file; it was not read."""


@contextmanager
def directory(path: str | Path, *, within: int | None = None, create: bool = False) -> Iterator[int]:
    """Open a directory that is no symbolic link; `create` makes it (0700) durably when it is not there."""
    if create:
        _make(path, within)
    fd = os.open(path, _DIRECTORY, dir_fd=within)
    try:
        yield fd
    finally:
        os.close(fd)


def _make(path: str | Path, within: int | None) -> None:
    try:
        os.mkdir(path, 0o700, dir_fd=within)
    except FileExistsError:
        return
    if within is not None:
        os.fsync(within)
        return
    with directory(Path(path).absolute().parent) as parent:
        os.fsync(parent)


def create(name: str, *, within: int, mode: int = 0o600) -> int:
    """Return the descriptor of a new file; an existing name, even a dangling link, raises FileExistsError."""
    return os.open(name, _NEW, mode, dir_fd=within)


def open_plain(name: str | Path, *, within: int | None = None) -> BinaryIO:
    """Open an existing plain file for reading; raises NotPlain for anything that is not one."""
    try:
        fd = os.open(name, _OLD, dir_fd=within)
    except OSError as error:
        raise error if isinstance(error, FileNotFoundError | PermissionError) else NotPlain(*error.args) from error
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise NotPlain(f"{os.fspath(name)} is not a plain file")
    return os.fdopen(fd, "rb", buffering=BLOCK)


def write_new(name: str, content: bytes, *, within: int, mode: int = 0o600) -> None:
    """Write a whole new file durably; the caller syncs the directory."""
    with os.fdopen(create(name, within=within, mode=mode), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def blocks(file: BinaryIO) -> Iterator[bytes]:
    """Yield a file's content in blocks of a mebibyte."""
    while block := file.read(BLOCK):
        yield block


def digest(file: BinaryIO) -> tuple[str, int]:
    """Return the SHA-256 (hex) and size of what is left to read."""
    running, size = sha256(), 0
    for block in blocks(file):
        running.update(block)
        size += len(block)
    return running.hexdigest(), size
