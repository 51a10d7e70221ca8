"""Verify an evidence pack: find whatever was altered, left out, put in, cut off, doubled or put in another order.

Stages, each from the inside out once it is clear what is there, so that the first problem is the most telling one:
the files, whose key, is the checkpoint signed, each record in turn, their order, each item, what is derived from these,
older keys, what others hold; then the manifest over all of it, its seal, and what makes the folder a bag.
"""

from pathlib import Path
from typing import Final

from bot.domain.checkpoint import Checkpoint, CheckpointError, VerifierKey, open_checkpoint
from bot.vault import contents, files, listing, pack
from bot.vault.held import Held
from bot.vault.live import verify_live
from bot.vault.opened import ALTERED, FOREIGN, Opened
from bot.vault.readings import teed
from bot.vault.records import Records
from bot.vault.report import Problem, Progress, Report
from bot.vault.sealing import Sealing

__all__ = ["verify_folder", "verify_live"]

_NOTHING: Final = "Nothing was verified"
_NOT_PROVEN: Final = "Nothing in this pack is proven to be in the log"


def verify_folder(
    path: Path,
    *,
    vkey: str | None = None,
    roots: bytes | None = None,
    progress: Progress | None = None,
    subject: str | None = None,
) -> Report:
    """Return what is wrong with the evidence pack at `path`; nothing in it is trusted, no link is followed.

    Args:
        path: the folder that `prepare` and `seal` wrote.
        vkey: the log's public key from elsewhere, or an older one from which data/keys leads to it. Without it a pack
            that was forged as a whole, key and all, passes: the report then has a note that says so.
        roots: PEM certificates of the timestamp authorities that are trusted. Without them a timestamp is only checked
            to be about the checkpoint beside it.
        progress: called with (bytes done, bytes in all).
        subject: how the report calls the pack, if not by its path.

    Raises:
        CheckpointError: the `vkey` given is itself malformed.
    """
    expected = VerifierKey.parse(vkey) if vkey is not None else None
    subject = subject or str(path)
    try:
        with files.directory(path) as root:
            return _Verification(Opened(root, progress), expected, roots).report(subject)
    except OSError as error:
        problem = Problem(where=subject, what=f"it cannot be read as a folder: {error}", means=_NOTHING)
        return Report(subject=subject, problems=(problem,), notes=(), records=0, items=0)


class _Verification:
    """One run over one pack."""

    def __init__(self, opened: Opened, expected: VerifierKey | None, roots: bytes | None) -> None:
        self.pack = opened
        self.expected = expected
        self.roots = roots
        self.blind = False

    def report(self, subject: str) -> Report:
        """Run all stages."""
        inside = self._key()
        held = Held(self.pack, inside)
        key = self._trusted(inside, held.older())
        point = self._checkpoint(key)
        records = Records(self.pack, point)
        records.run()
        self._items(records)
        self._derived(records.total)
        held.check(point, key, self.roots)
        Sealing(self.pack, key, point, records.total).run()
        self._told(records)
        return Report(
            subject=subject,
            problems=tuple(self.pack.problems),
            notes=tuple(self.pack.notes),
            records=records.total.records,
            items=len(records.total.named),
        )

    # ---- key and checkpoint ------------------------------------------------------------------------------------------

    def _key(self) -> VerifierKey | None:
        text = self.pack.text(pack.VKEY)
        if text is None:
            return None
        try:
            key = VerifierKey.parse(text.removesuffix("\n"))
        except CheckpointError as error:
            self.pack.wrong(pack.VKEY, error, ALTERED)
            return None
        if text != f"{key.encode()}\n":
            self.pack.wrong(pack.VKEY, "the key is not one line", ALTERED)
        return key

    def _trusted(self, inside: VerifierKey | None, older: tuple[VerifierKey, ...]) -> VerifierKey | None:
        """Return the key that everything is checked with: that of the pack where the expected one leads to it."""
        if inside is None or self.expected in (None, inside):
            if self.expected is None and inside is not None:
                self.pack.notes.append(
                    f"the key was taken from the pack itself: compare it with a copy from elsewhere: {inside.encode()}"
                )
            return inside or self.expected
        assert self.expected is not None
        if self.expected in older:
            times = len(older) - older.index(self.expected)
            self.pack.notes.append(
                f"the key that you gave is an older one: the log's key was changed {times} times since, "
                f"each time signed by the one before, and is now {inside.encode()}"
            )
            return inside
        what = f"it holds {inside.encode()}, not the key that you gave, {self.expected.encode()}"
        self.pack.wrong(pack.VKEY, what, "The pack is of another log, or was forged with another key")
        return self.expected

    def _checkpoint(self, key: VerifierKey | None) -> Checkpoint | None:
        """Return the checkpoint; an unsigned one too, so that what contradicts it is still found."""
        note, point = self.pack.text(pack.CHECKPOINT), None
        if note is not None:
            try:
                point = Checkpoint.parse(note.rpartition("\n\n")[0] + "\n")
                if key is not None:
                    open_checkpoint(note, key)
                    if pack.single(note, key) != note:
                        self.pack.wrong(pack.CHECKPOINT, "it has more than the key's own signature", ALTERED)
            except CheckpointError as error:
                self.pack.wrong(pack.CHECKPOINT, error, _NOT_PROVEN)
        return point

    # ---- items -------------------------------------------------------------------------------------------------------

    def _items(self, records: Records) -> None:
        absent = records.total.absent()
        for path in [path for path in self.pack.sizes if path.startswith(pack.ITEMS)]:
            name = path.removeprefix(pack.ITEMS)
            readings = records.total.readings(name)
            for _ in teed(self.pack.blocks(path), list(readings.values())):
                pass
            records.total.tell(name, readings)
            before = len(self.pack.problems)
            self._item(path, name, records, name in absent)
            self.blind |= bool(readings) and len(self.pack.problems) > before
        for name, (item, _, where) in records.kept.items():
            if pack.ITEMS + name not in self.pack.sizes and name not in absent:
                what = f"{item}, which {where} names, is missing"
                self.pack.wrong(pack.ITEMS + name, what, "Evidence was left out")
                self.blind |= bool(records.total.readings(name))

    def _item(self, path: str, name: str, records: Records, absent: bool) -> None:
        found = self.pack.seen[path]
        item, expected, where = records.kept.get(name, ("", found.size, ""))
        if not item:
            self.pack.wrong(path, "no record names this item", f"{FOREIGN}, or its record was left out")
        elif found.sha256 != name:
            what = f"the content of {item} is not what {where} names: its hash is {found.sha256}"
            self.pack.wrong(path, what, "The item was altered or exchanged")
        elif found.size != expected:
            self.pack.wrong(path, f"{item} has {found.size} bytes, but {where} says {expected}", "The record is wrong")
        elif absent:
            self.pack.wrong(path, f"{item} is here, but the records say that it was withheld or has expired", FOREIGN)

    # ---- what follows from the rest ----------------------------------------------------------------------------------

    def _derived(self, total: contents.Contents) -> None:
        text = self.pack.text(pack.PACK)
        if self.blind:
            return  # it repeats what an item said that is gone: that is the thing to tell
        if text is not None and text != (expected := contents.pack_json(total)):
            what = listing.difference(text, expected)
            self.pack.wrong(pack.PACK, f"it is not what the records say: {what}", ALTERED)

    def _told(self, records: Records) -> None:
        if records.hidden:
            self.pack.notes.append(f"{records.hidden} fields are redacted; their commitments are in the log")
        if absent := records.total.absent():
            withheld = len(absent & set(records.total.withheld))
            gone = f", {len(absent) - withheld} have expired" if len(absent) > withheld else ""
            self.pack.notes.append(f"{withheld} items are withheld{gone}; their hashes are in the log")
