"""A pack that is being verified: its files, read once each without following a link, and what was found wrong."""

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import BinaryIO, Final

from bot.errors import Invalid
from bot.vault import files, listing, pack
from bot.vault.pack import FileSeen
from bot.vault.report import Problem, Progress
from bot.vault.tree import parent

MAX_SMALL: Final = 1 << 26
ALTERED: Final = "It was altered after the export"
FOREIGN: Final = "It was put in from outside"


class Opened:
    """One pack under verification. `sizes` are the files that are there, `seen` those that were read, by path."""

    def __init__(self, root: int, progress: Progress | None) -> None:
        self.root = root
        self.progress = progress
        self.sizes, self.problems = listing.walk(root)
        self.problems += listing.absent(self.sizes)
        self.notes: list[str] = []
        self.seen: dict[str, FileSeen] = {}
        self.done, self.total = 0, sum(self.sizes.values())

    def wrong(self, where: str, what: object, means: str) -> None:
        """Add a problem."""
        self.problems.append(Problem(where=where, what=str(what), means=means))

    def advance(self, size: int) -> None:
        """Tell how far the reading has come."""
        self.done += size
        if self.progress is not None:
            self.progress(self.done, self.total)

    @contextmanager
    def reading(self, path: str) -> Iterator[BinaryIO]:
        """Open a file of the pack; no folder on the way may be a link."""
        with parent(self.root, path) as (within, name), files.open_plain(name, within=within) as file:
            yield file

    def blocks(self, path: str) -> Iterator[bytes]:
        """Yield a file's content; when it is through, `seen` has its hash and size."""
        running, size = sha256(), 0
        with self.reading(path) as file:
            for block in files.blocks(file):
                running.update(block)
                size += len(block)
                self.advance(len(block))
                yield block
        self.seen[path] = FileSeen(sha256=running.hexdigest(), size=size)

    def content(self, path: str) -> bytes | None:
        """Return a small file's content, None when it is not there."""
        if path not in self.sizes:
            return None
        with self.reading(path) as file:
            content = file.read(MAX_SMALL)
        self.advance(len(content))
        self.seen[path] = pack.seen_bytes(content)
        return content

    def text(self, path: str) -> str | None:
        """Return a small file's text, or None when it is not there or is no text (which is then reported)."""
        content = self.content(path)
        try:
            return None if content is None else content.decode()
        except UnicodeDecodeError:
            self.wrong(path, "it is not UTF-8 text", ALTERED)
            return None

    def hashes(self, path: str) -> list[bytes] | None:
        """Return the hashes in a proof's file, None when there are none (which is reported when it is there)."""
        text = self.text(path)
        try:
            return None if text is None else pack.hashes_of(text)
        except Invalid as error:
            self.wrong(path, error, ALTERED)
            return None
