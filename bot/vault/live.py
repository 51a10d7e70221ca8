"""Verify the running vault: rows against their leaves, leaves against signed checkpoints, blobs against both."""

from collections.abc import Iterable, Iterator, Sequence
from typing import BinaryIO, Final, Protocol

from bot.domain.checkpoint import Checkpoint, CheckpointError, open_checkpoint
from bot.domain.leaf import JournalRecord, LeafError
from bot.domain.merkle import Frontier
from bot.errors import Invalid, NotFound
from bot.vault import files, pack
from bot.vault.keys import Reign, reigns
from bot.vault.report import Problem, Progress, Report

EXPIRED: Final = "EvidenceExpired"
_STRIDE: Final = 1000


class Blobs(Protocol):
    """The vault's blobs, to be read and counted."""

    def open(self, sha256: str) -> BinaryIO:
        """Open a blob; raises NotFound."""
        ...

    def exists(self, sha256: str) -> bool:
        """Tell whether the blob is there."""
        ...

    def all(self) -> Iterable[str]:
        """Yield the names of all blobs."""
        ...

    def strays(self) -> Iterable[str]:
        """Yield what lies among the blobs and cannot be one."""
        ...


def verify_live(
    *,
    records: Iterable[JournalRecord],
    checkpoints: Sequence[str],
    vkey: str,
    blobs: Blobs,
    rotations: Sequence[tuple[int, str, str]] = (),
    progress: Progress | None = None,
) -> Report:
    """Return what is wrong with the log and its blobs.

    Args:
        records: every row of the journal by leaf, those not yet sequenced (`leaf` None) last, each stream by `n`.
        checkpoints: every signed checkpoint, oldest first.
        vkey: the key that signs now.
        rotations: (leaf, was, now) of each KeyRotated record, oldest first: which keys signed before it.
        blobs: the vault. A blob that a capture has just stored and not yet journalled is reported as unnamed.
        progress: called with (records done, 0).

    Raises:
        CheckpointError: `vkey` is malformed, or the rotations do not lead to it.
    """
    run = _Live(reigns(vkey, rotations), progress)
    run.take_checkpoints(checkpoints)
    for record in records:
        run.take(record)
    run.finish()
    run.take_blobs(blobs)
    return Report(
        subject=f"log {run.keys[-1].key.name}",
        problems=tuple(run.problems),
        notes=tuple(run.notes),
        records=run.count,
        items=len(run.kept),
    )


class _Live:
    """One pass over the log; memory grows with streams, checkpoints and items, not with records."""

    def __init__(self, keys: Sequence[Reign], progress: Progress | None) -> None:
        self.keys = keys
        self.progress = progress
        self.problems: list[Problem] = []
        self.notes: list[str] = []
        self.kept: dict[str, tuple[str, int, str]] = {}
        self.naming: dict[str, set[tuple[str, str]]] = {}
        self.expired: set[tuple[str, str]] = set()
        self.count = self.waiting = 0
        self.signed: list[Checkpoint] = []
        self.frontier, self.batch = Frontier(), list[bytes]()
        self.next_n: dict[str, int] = {}
        self.next_leaf = self.next_signed = self.agreed = 0
        self.forked = False

    def _wrong(self, where: str, what: str, means: str) -> None:
        self.problems.append(Problem(where=where, what=what, means=means))

    def take_checkpoints(self, notes: Sequence[str]) -> None:
        """Open all checkpoints; keep those that are signed and do not contradict the one before."""
        for number, note in enumerate(notes, 1):
            try:
                point = self._opened(note)
            except CheckpointError as error:
                self._wrong(f"checkpoint {number}", str(error), "It was altered, or signed by another key")
                continue
            last = self.signed[-1] if self.signed else point
            if point.size < last.size:
                self._wrong(_name(point), f"it is smaller than the one before, of {last.size}", "The log was cut back")
            elif point.size == last.size and point.root != last.root:
                self._wrong(_name(point), "two roots are signed for this size", "The log was forked")
            else:
                self.signed.append(point)

    def _opened(self, note: str) -> Checkpoint:
        """Return a checkpoint that bears the signature of the key that reigned at its size."""
        size = Checkpoint.parse(note.rpartition("\n\n")[0] + "\n").size
        return open_checkpoint(note, next(one.key for one in reversed(self.keys) if one.since <= size))

    def take(self, record: JournalRecord) -> None:
        """Check one row: its place, its number, its content; then grow the tree by its stored hash."""
        place = "not yet in the log" if record.leaf is None else f"leaf {record.leaf}"
        where = f"{record.incident} record {record.n} ({record.kind}, {place})"
        self._place(record, where)
        self._number(record, where)
        self._content(record, where)
        self.count += 1
        if record.kind == pack.KEPT:
            self._kept(record, where)
        if record.kind == EXPIRED:
            self.expired.add((record.incident, str(record.body.get("item"))))
        if self.progress is not None and self.count % _STRIDE == 0:
            self.progress(self.count, 0)

    def _place(self, record: JournalRecord, where: str) -> None:
        expected = self.next_leaf
        if record.leaf is None:
            self.waiting += 1
            return
        if self.waiting:
            self._wrong(where, "it stands behind rows that are not in the log", "The order was changed")
        if record.leaf > expected:
            gone = (
                f"leaf {expected} is" if record.leaf == expected + 1 else f"leaves {expected} to {record.leaf - 1} are"
            )
            self._wrong(where, f"{gone} missing before it", "Rows were removed from the journal")
        elif record.leaf < expected:
            self._wrong(where, f"leaf {expected} was expected", "A row was put in, doubled or moved")
        self._settle(record.leaf)
        self.batch.append(record.hash)
        self.next_leaf = max(expected, record.leaf + 1)

    def _number(self, record: JournalRecord, where: str) -> None:
        expected = self.next_n.get(record.incident, 1)
        if record.n > expected:
            gone = f"record {expected} is" if record.n == expected + 1 else f"records {expected} to {record.n - 1} are"
            self._wrong(where, f"{gone} missing before it in {record.incident}", "Rows were removed from the journal")
        elif record.n < expected:
            self._wrong(where, f"{record.incident} was at record {expected}", "A row was put in, doubled or moved")
        self.next_n[record.incident] = max(expected, record.n + 1)

    def _content(self, record: JournalRecord, where: str) -> None:
        try:
            intact = record.computed_hash() == record.hash
        except LeafError as error:
            self._wrong(where, f"it cannot be hashed: {error}", "The row was altered")
            return
        if not intact:
            self._wrong(where, "its content does not give its stored leaf hash", "The row was altered")

    def _kept(self, record: JournalRecord, where: str) -> None:
        try:
            item, name, size = pack.custody_of({f"body.{key}": value for key, value in record.body.items()})
        except Invalid as error:
            self._wrong(where, str(error), "The item cannot be found")
            return
        self.kept.setdefault(name, (item, size, where))
        self.naming.setdefault(name, set()).add((record.incident, item))

    # ---- checkpoints -------------------------------------------------------------------------------------------------

    def _settle(self, size: int) -> None:
        """Compare the tree with every checkpoint up to `size` leaves that was not compared yet."""
        due = self.next_signed < len(self.signed) and self.signed[self.next_signed].size <= size
        if due or len(self.batch) >= _STRIDE:
            self.frontier, self.batch = self.frontier.extended(self.batch), []
        while self.next_signed < len(self.signed) and self.signed[self.next_signed].size <= size:
            point = self.signed[self.next_signed]
            self.next_signed += 1
            if self.frontier.root() == point.root:
                self.agreed = point.size
            elif not self.forked:
                self.forked = True
                what = f"the log's leaves {self.agreed} to {point.size - 1} do not give the root that was signed"
                self._wrong(_name(point), what, "Leaves were altered, removed, put in or moved after the signature")

    def finish(self) -> None:
        """Settle what is left, and say what no checkpoint covers."""
        size = self.next_leaf
        self._settle(size)
        if self.next_signed < len(self.signed):
            point = self.signed[-1]
            self._wrong(_name(point), f"the log has only {size} leaves", "The end of the log was cut off")
        covered = self.signed[-1].size if self.signed else 0
        if size > covered:
            self.notes.append(f"{size - covered} leaves are not yet under a signed checkpoint")
        if self.waiting:
            self.notes.append(f"{self.waiting} records are not yet in the log")

    # ---- blobs -------------------------------------------------------------------------------------------------------

    def take_blobs(self, blobs: Blobs) -> None:
        """Check every item that a record names, then look for what none names."""
        gone = {name for name, items in self.naming.items() if items <= self.expired and not blobs.exists(name)}
        if gone:
            self.notes.append(f"{len(gone)} items have expired: their content is gone, their hashes are in the log")
        for name, (item, size, where) in self.kept.items():
            if name in gone:
                continue
            for what, means in _blob(blobs, name, size):
                self._wrong(where, f"{item} ({name}): {what}", means)
        for name in blobs.all():
            if name not in self.kept:
                # A capture that was killed between its blob and its record leaves one: it hides nothing.
                cut = "its capture was cut off or still runs, or it was added"
                self.notes.append(f"blob {name}: no record names it: {cut}; it is evidence of nothing")
        for name in blobs.strays():
            self._wrong(f"blobs/{name}", "this is no blob", "It was added")


def _blob(blobs: Blobs, name: str, size: int) -> Iterator[tuple[str, str]]:
    try:
        with blobs.open(name) as blob:
            found, length = files.digest(blob)
    except NotFound:
        yield "the blob is missing", "Evidence was removed"
        return
    if found != name:
        yield f"the blob has another content, with the hash {found}", "Evidence was altered"
    elif length != size:
        yield f"the blob has {length} bytes, but the record says {size}", "The record is wrong"


def _name(point: Checkpoint) -> str:
    return f"checkpoint of {point.size} leaves"
