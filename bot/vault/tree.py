"""Folders within folders, opened one by one so that no link on the way is followed."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from hashlib import sha256

from bot.vault import files
from bot.vault.pack import FileSeen


@contextmanager
def parent(root: int, path: str, *, create: bool = False) -> Iterator[tuple[int, str]]:
    """Open the folder that `path` (relative, with slashes) lies in, made if need be; yield it and the file's name."""
    *folders, name = path.split("/")
    with ExitStack() as stack:
        within = root
        for folder in folders:
            within = stack.enter_context(files.directory(folder, within=within, create=create))
        yield within, name


class Writer:
    """Writes new files under a folder, and keeps what a manifest says of them; no file is ever replaced."""

    def __init__(self, root: int) -> None:
        self.root = root
        self.seen: dict[str, FileSeen] = {}

    def write(self, path: str, content: bytes) -> None:
        """Write a whole file durably."""
        self.stream(path, iter((content,)))

    def stream(self, path: str, blocks: Iterator[bytes], *, mode: int = 0o600) -> None:
        """Write a file durably, block by block."""
        with parent(self.root, path, create=True) as (within, name):
            with os.fdopen(files.create(name, within=within, mode=mode), "wb", buffering=files.BLOCK) as file:
                running, size = sha256(), 0
                for block in blocks:
                    file.write(block)
                    running.update(block)
                    size += len(block)
                file.flush()
                os.fsync(file.fileno())
            os.fsync(within)
        self.seen[path] = FileSeen(sha256=running.hexdigest(), size=size)
