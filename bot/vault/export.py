"""Write an evidence folder: one incident's records with their proofs, its items, and how to check them."""

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TypeAlias

from bot.domain.checkpoint import Checkpoint, VerifierKey, open_checkpoint
from bot.domain.leaf import JournalRecord
from bot.domain.merkle import verify_inclusion
from bot.errors import Invalid
from bot.vault import files, pack
from bot.vault.folder import Damaged

Proven: TypeAlias = tuple[JournalRecord, Sequence[bytes]]
"""A sequenced record and its inclusion proof in the checkpoint's tree."""
Redaction: TypeAlias = Callable[[JournalRecord], frozenset[str]]
"""Which fields (`by`, `body.note`) of a record to hide."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What was written; `manifest` is the SHA-256 of MANIFEST.json, which stands for the whole folder."""

    records: int
    items: int
    manifest: str


def nothing_hidden(_record: JournalRecord) -> frozenset[str]:
    """Redact nothing."""
    return frozenset()


def export_folder(
    target: Path,
    *,
    records: Iterable[Proven],
    shelf: pack.Shelf,
    checkpoint: str,
    vkey: str,
    redact: Redaction = nothing_hidden,
) -> Exported:
    """Write the evidence folder of one incident into `target`, which must be empty or not there.

    `records` are all records of the incident in order, the last an EvidenceExported that counts them, itself included.
    MANIFEST.json is written last: without it the folder is an unfinished export, and says so when verified.

    Raises:
        Invalid: the target is taken, or the records are not a whole incident that `checkpoint` covers.
        CheckpointError, MerkleError: the checkpoint is not the key's, a record is not under it.
        NotFound, Damaged: a blob is missing or altered.
    """
    point = open_checkpoint(checkpoint, VerifierKey.parse(vkey))
    with _empty(target) as root:
        contents = pack.Contents(origin=point.origin, size=point.size)
        seen = {pack.RECORDS: _write_records(root, records, point, redact, contents)}
        seen |= _write_items(root, contents, shelf)
        for name, content in {
            pack.CUSTODY: pack.custody_json(contents).encode(),
            pack.CHECKPOINT: checkpoint.encode(),
            pack.VKEY: f"{vkey}\n".encode(),
            pack.GUIDE: pack.guide(),
        }.items():
            files.write_new(name, content, within=root)
            seen[name] = pack.seen_bytes(content)
        manifest = pack.manifest_json(contents, seen).encode()
        files.write_new(pack.MANIFEST, manifest, within=root)
        os.fsync(root)
    return Exported(records=contents.records, items=len(contents.custody), manifest=sha256(manifest).hexdigest())


def _empty(target: Path) -> AbstractContextManager[int]:
    """Open the target, made if need be; a link or a folder with anything in it is refused."""
    if target.is_symlink():
        raise Invalid(f"{target} is a symbolic link; an export is written into a real folder", where=str(target))
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise Invalid(f"{target} is not an empty folder; nothing was written", where=str(target))
    return files.directory(target, create=True)


def _write_records(
    root: int, records: Iterable[Proven], point: Checkpoint, redact: Redaction, contents: pack.Contents
) -> pack.FileSeen:
    running, size, last = sha256(), 0, "missing"
    with os.fdopen(files.create(pack.RECORDS, within=root), "wb", buffering=files.BLOCK) as file:
        for record, proof in records:
            line = _checked_line(record, proof, point, redact, contents)
            file.write(line)
            running.update(line)
            size += len(line)
            last = record.kind
        if last != pack.EXPORTED:
            raise Invalid(f"the last record of an export is {pack.EXPORTED}, not {last}")
        file.flush()
        os.fsync(file.fileno())
    return pack.FileSeen(sha256=running.hexdigest(), size=size)


def _checked_line(
    record: JournalRecord, proof: Sequence[bytes], point: Checkpoint, redact: Redaction, contents: pack.Contents
) -> bytes:
    """Return the record's line and count it; a record that would not verify is refused."""
    contents.incident = contents.incident or record.incident
    if (record.incident, record.n) != (contents.incident, contents.records + 1):
        raise Invalid(f"{contents.incident} record {contents.records + 1} is expected, not {record!r}")
    if record.leaf is None:
        raise Invalid(f"{record!r} is not in the log yet")
    verify_inclusion(record.computed_hash(), record.leaf, point.size, proof, point.root)
    shown = pack.shown_record(record, proof, redact(record))
    if wrong := pack.count(contents, pack.values_of(shown), shown["redacted"], record.leaf):
        raise Invalid(f"{record!r}: {wrong[0]}")
    return pack.line_of(shown).encode()


def _write_items(root: int, contents: pack.Contents, shelf: pack.Shelf) -> dict[str, pack.FileSeen]:
    seen = {}
    with files.directory(pack.ITEMS, within=root, create=True) as items:
        for name in sorted(contents.items):
            size = 0
            running = sha256()
            with shelf.open(name) as blob, os.fdopen(files.create(name, within=items, mode=0o400), "wb") as copy:
                for block in files.blocks(blob):
                    copy.write(block)
                    running.update(block)
                    size += len(block)
                copy.flush()
                os.fsync(copy.fileno())
            if running.hexdigest() != name:
                raise Damaged(f"the blob {name} was altered: its content has the hash {running.hexdigest()}")
            seen[f"{pack.ITEMS}/{name}"] = pack.FileSeen(sha256=name, size=size)
        os.fsync(items)
    return seen
