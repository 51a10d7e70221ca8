"""Verify an evidence folder: find whatever was altered, left out, put in, cut off, doubled or put in another order.

Stages, each from the outside in, so that the first problem is the most telling one: which files are there, whose key,
is the checkpoint signed, each record in turn, their order, each item, and last what is derived from all these.
"""

from array import array
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from bot.domain.checkpoint import Checkpoint, CheckpointError, VerifierKey, open_checkpoint
from bot.domain.leaf import leaf_hash_of_revealed
from bot.domain.merkle import MerkleError, verify_inclusion
from bot.errors import Invalid
from bot.vault import files, listing, pack
from bot.vault.live import verify_live
from bot.vault.report import Problem, Progress, Report

__all__ = ["verify_folder", "verify_live"]

MAX_LINE: Final = 1 << 26
MAX_SMALL: Final = 1 << 26


def verify_folder(path: Path, *, vkey: str | None = None, progress: Progress | None = None) -> Report:
    """Return what is wrong with the evidence folder at `path`; nothing in it is trusted, no link is followed.

    Args:
        path: the folder that `export_folder` wrote.
        vkey: the log's public key from elsewhere. Without it a folder that was forged as a whole, key and all, passes:
            the report then has a note that says so.
        progress: called with (bytes done, bytes in all).

    Raises:
        CheckpointError: the `vkey` given is itself malformed.
    """
    expected = VerifierKey.parse(vkey) if vkey is not None else None
    try:
        with files.directory(path) as root:
            return _Verification(root, expected, progress).report(str(path))
    except OSError as error:
        problem = Problem(where=str(path), what=f"it cannot be read as a folder: {error}", means=_NOTHING)
        return Report(subject=str(path), problems=(problem,), notes=(), records=0, items=0)


_UNDER: Final = f"{pack.ITEMS}/"
_NOTHING: Final = "Nothing was verified"
_ALTERED: Final = "It was altered after the export"
_NOT_PROVEN: Final = "Nothing in this folder is proven to be in the log"
_FOREIGN: Final = "It was put in from outside"
_RECORD_ALTERED: Final = "The record was altered, or put in from outside"


_CONTENT, _ORDER, _COUNT = range(3)  # which of one line's problems is told first


def _unproven(leaf: bytes, shown: Mapping[str, Any], point: Checkpoint | None) -> Iterator[str]:
    if point is None:
        return
    try:
        proof = [bytes.fromhex(value) for value in shown["proof"]]
        verify_inclusion(leaf, shown["leaf"], point.size, proof, point.root)
    except MerkleError as error:
        yield f"its content is not in the log under the checkpoint: {error}"


class _Verification:
    """One run over one folder; gathers problems in order."""

    def __init__(self, root: int, expected: VerifierKey | None, progress: Progress | None) -> None:
        self.root = root
        self.expected = expected
        self.progress = progress
        self.problems: list[Problem] = []
        self.notes: list[str] = []
        self.contents = pack.Contents()
        self.seen: dict[str, pack.FileSeen] = {}
        self.sizes: dict[str, int] = {}
        self.kept: dict[str, tuple[str, int, str]] = {}
        self.hidden = self.done = self.total = 0

    def report(self, subject: str) -> Report:
        """Run all stages."""
        self.sizes, odd = listing.walk(self.root)
        self.problems += odd
        self.total = sum(self.sizes.values())
        key = self._key()
        self._records(self._checkpoint(key))
        self._items()
        self._derived()
        if self.hidden:
            self.notes.append(f"{self.hidden} fields are redacted; their commitments are in the log")
        return Report(
            subject=subject,
            problems=tuple(self.problems),
            notes=tuple(self.notes),
            records=self.contents.records,
            items=len(self.contents.custody),
        )

    def _wrong(self, where: str, what: str, means: str) -> None:
        self.problems.append(Problem(where=where, what=what, means=means))

    # ---- key and checkpoint ------------------------------------------------------------------------------------------

    def _key(self) -> VerifierKey | None:
        text, inside = self._small(pack.VKEY), None
        if text is not None:
            try:
                inside = VerifierKey.parse(text.removesuffix("\n"))
            except CheckpointError as error:
                self._wrong(pack.VKEY, str(error), _ALTERED)
        if self.expected is None and inside is not None:
            self.notes.append(
                f"the key was taken from the folder itself: compare it with a copy from elsewhere: {inside.encode()}"
            )
        if self.expected is not None and inside is not None and inside != self.expected:
            what = f"it holds {inside.encode()}, not the key that you gave, {self.expected.encode()}"
            self._wrong(pack.VKEY, what, "The folder is of another log, or was forged with another key")
        return self.expected or inside

    def _checkpoint(self, key: VerifierKey | None) -> Checkpoint | None:
        """Return the checkpoint; an unsigned one too, so that what contradicts it is still found."""
        note, point = self._small(pack.CHECKPOINT), None
        if note is not None:
            try:
                point = Checkpoint.parse(note.rpartition("\n\n")[0] + "\n")
                self.contents.origin, self.contents.size = point.origin, point.size
                if key is not None:
                    open_checkpoint(note, key)
            except CheckpointError as error:
                self._wrong(pack.CHECKPOINT, str(error), _NOT_PROVEN)
        return point

    # ---- records -----------------------------------------------------------------------------------------------------

    def _records(self, point: Checkpoint | None) -> None:
        if pack.RECORDS not in self.sizes:
            return
        numbers, last, running, size = array("q"), "", sha256(), 0
        found: list[tuple[int, int, Problem]] = []
        with files.open_plain(pack.RECORDS, within=self.root) as file:
            for number, line in enumerate(iter(lambda: file.readline(MAX_LINE), b""), 1):
                running.update(line)
                size += len(line)
                self._advance(len(line))
                n, kind, wrong = self._record(f"{pack.RECORDS} line {number}", line, point)
                found += [(number, rank, problem) for rank, problem in wrong]
                numbers.append(n)
                last = kind or last
        self.seen[pack.RECORDS] = pack.FileSeen(sha256=running.hexdigest(), size=size)
        found += [(number, _ORDER, problem) for number, problem in listing.disorder(numbers)]
        self.problems += [problem for _, _, problem in sorted(found, key=lambda entry: entry[:2])]
        if last != pack.EXPORTED:
            what = f"the last record is {last or 'missing'}, not {pack.EXPORTED}"
            self._wrong(pack.RECORDS, what, "The end of the incident was cut off")

    def _record(self, where: str, line: bytes, point: Checkpoint | None) -> tuple[int, str, list[tuple[int, Problem]]]:
        """Check one line; return its n (0 if it cannot be read), its kind, and what is wrong with it by rank."""
        try:
            shown = pack.shown(line)
            leaf = leaf_hash_of_revealed({"fields": shown["fields"], "redacted": shown["redacted"]})
        except Invalid as error:
            problem = Problem(where=where, what=f"this is not a record: {error}", means=_RECORD_ALTERED)
            return 0, "", [(_CONTENT, problem)]
        values = pack.values_of(shown)
        n, incident, kind = values["n"], listing.readable(values["incident"]), listing.readable(values["kind"])
        where = f"{where} ({incident} record {n}, {kind})"
        self.contents.incident = self.contents.incident or values["incident"]
        wrong = [
            (rank, Problem(where=where, what=what, means=means))
            for rank, what, means in self._contradictions(leaf, shown, values, point)
        ]
        if kind == pack.KEPT and not wrong:
            item, name, size = pack.custody_of(values)
            self.kept.setdefault(name, (listing.readable(item), size, where))
        self.hidden += len(shown["redacted"])
        return n, kind, wrong

    def _contradictions(
        self, leaf: bytes, shown: Mapping[str, Any], values: Mapping[str, Any], point: Checkpoint | None
    ) -> Iterator[tuple[int, str, str]]:
        """Yield (rank, what, means) where a well-formed record is at odds with the log or with the other records."""
        for what in _unproven(leaf, shown, point):
            yield _CONTENT, what, _RECORD_ALTERED
        if values["incident"] != self.contents.incident:
            yield _CONTENT, f"it does not belong to {listing.readable(self.contents.incident)}", _FOREIGN
        for what in pack.count(self.contents, values, shown["redacted"], shown["leaf"]):
            yield _COUNT, what, "Something was left out or altered"

    # ---- items -------------------------------------------------------------------------------------------------------

    def _items(self) -> None:
        present = [path.removeprefix(_UNDER) for path in self.sizes if path.startswith(_UNDER)]
        with files.directory(pack.ITEMS, within=self.root) if present else nullcontext(self.root) as items:
            for name in present:
                with files.open_plain(name, within=items) as file:
                    found, size = files.digest(file)
                self._advance(size)
                self.seen[_UNDER + name] = pack.FileSeen(sha256=found, size=size)
                self._item(_UNDER + name, name, found, size)
        for name, (item, _, where) in self.kept.items():
            if _UNDER + name not in self.sizes:
                self._wrong(_UNDER + name, f"{item}, which {where} names, is missing", "Evidence was left out")

    def _item(self, path: str, name: str, found: str, size: int) -> None:
        item, expected, where = self.kept.get(name, ("", size, ""))
        if not item:
            self._wrong(path, "no record names this item", f"{_FOREIGN}, or its record was left out")
        elif found != name:
            what = f"the content of {item} is not what {where} names: its hash is {found}"
            self._wrong(path, what, "The item was altered or exchanged")
        elif size != expected:
            self._wrong(path, f"{item} has {size} bytes, but {where} says {expected}", "The record is wrong")

    # ---- what follows from the rest ----------------------------------------------------------------------------------

    def _derived(self) -> None:
        custody = self._small(pack.CUSTODY)
        if custody is not None and custody != pack.custody_json(self.contents):
            what = listing.difference(custody, pack.custody_json(self.contents))
            self._wrong(pack.CUSTODY, f"it is not what the records say: {what}", _ALTERED)
        self._small(pack.GUIDE)
        if pack.GUIDE in self.seen and self.seen[pack.GUIDE].sha256 not in pack.GUIDES:
            self._wrong(pack.GUIDE, "its text is none that Stopsign ever wrote", f"{_ALTERED}: do not follow it")
        manifest = self._small(pack.MANIFEST)
        expected = pack.manifest_json(self.contents, self.seen)
        if manifest is not None and manifest != expected:
            what = listing.difference(manifest, expected)
            self._wrong(pack.MANIFEST, f"it does not describe this folder: {what}", f"{_ALTERED}, or a file was")

    def _small(self, name: str) -> str | None:
        """Return a small file's text, or None when it is not there or is no text (which is then reported)."""
        if name not in self.sizes:
            return None
        with files.open_plain(name, within=self.root) as file:
            content = file.read(MAX_SMALL)
        self._advance(len(content))
        self.seen[name] = pack.seen_bytes(content)
        try:
            return content.decode()
        except UnicodeDecodeError:
            self._wrong(name, "it is not UTF-8 text", _ALTERED)
            return None

    def _advance(self, size: int) -> None:
        self.done += size
        if self.progress is not None:
            self.progress(self.done, self.total)
