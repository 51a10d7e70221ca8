"""Write an evidence pack in two steps: the payload and its manifest; then, when the log has the manifest, the seal."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from bot.domain.checkpoint import Checkpoint, CheckpointError, VerifierKey, open_checkpoint, open_note
from bot.domain.leaf import JournalRecord
from bot.domain.merkle import verify_inclusion
from bot.errors import Invalid
from bot.vault import bag, contents, files, links, pack
from bot.vault.contents import Contents
from bot.vault.folder import Damaged
from bot.vault.pack import Anchored, Rotated
from bot.vault.readings import teed
from bot.vault.redaction import Redaction
from bot.vault.tree import Writer, parent

Proven: TypeAlias = tuple[JournalRecord, Sequence[bytes]]
"""A sequenced record and its inclusion proof in the checkpoint's tree."""
Documents: TypeAlias = Callable[[Iterable[Mapping[str, Any]]], Mapping[str, bytes]]
"""Makes the reading copies (names of `pack.DOCUMENTS`) out of the records as the pack shows them; may iterate twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """The payload is written; `manifest`, the SHA-256 of its manifest, is now to be journalled, and `text` signed."""

    incident: str
    records: int
    items: int
    exported: int
    exported_at: str
    manifest: str
    redaction: Redaction
    checkpoint: Checkpoint
    vkey: str
    seen: Mapping[str, pack.FileSeen]

    @property
    def text(self) -> str:
        """Return the text to sign as a C2SP note with the log's key."""
        return pack.manifest_text(self.incident, self.manifest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What was written; `manifest` is the SHA-256 that the log and the signature name."""

    records: int
    items: int
    manifest: str


def no_documents(_records: Iterable[Mapping[str, Any]]) -> Mapping[str, bytes]:
    """Add no reading copies."""
    return {}


def prepare(
    target: Path,
    *,
    records: Iterable[Proven],
    shelf: pack.Shelf,
    checkpoint: str,
    vkey: str,
    redaction: Redaction = Redaction(),  # noqa: B008 - frozen, and empty
    anchors: Sequence[Anchored] = (),
    keys: Sequence[Rotated] = (),
    documents: Documents = no_documents,
) -> Prepared:
    """Write data/ and its manifest into `target`, which must be empty or not there.

    `records` are all records of the incident in order, the last an EvidenceExported that counts them, itself included,
    and names what is withheld and redacted. `keys` are the keys before `vkey`, oldest first.

    Raises:
        Invalid: the target is taken, or the records are not a whole incident that `checkpoint` covers, or `redaction`
            is not what the last record says.
        CheckpointError, MerkleError: the checkpoint is not the key's, a record is not under it, an anchored checkpoint
            or an older key does not lead to it.
        NotFound, Damaged: a blob is missing or altered.
    """
    key = VerifierKey.parse(vkey)
    note = pack.single(checkpoint, key)
    point = open_checkpoint(note, key)
    with _empty(target) as root:
        writer, total = Writer(root), Contents()
        writer.stream(pack.RECORDS, _lines(records, point, redaction, total))
        _ended(total, redaction)
        items = _write_items(writer, total, shelf)
        writer.write(pack.PACK, contents.pack_json(total).encode())
        writer.write(pack.CHECKPOINT, note.encode())
        writer.write(pack.VKEY, f"{vkey}\n".encode())
        chain = _write_keys(writer, keys, key, point)
        _write_anchors(writer, anchors, chain, point)
        for name, content in documents(_Shown(root)).items():
            if name not in pack.DOCUMENTS:
                raise Invalid(f"{name!r} is no document of a pack")
            writer.write(pack.DATA + name, content)
        manifest = bag.manifest(writer.seen).encode()
        writer.write(pack.MANIFEST, manifest)
    return Prepared(
        incident=total.incident,
        records=total.records,
        items=items,
        exported=total.exported,
        exported_at=total.exported_at,
        manifest=pack.seen_bytes(manifest).sha256,
        redaction=redaction,
        checkpoint=point,
        vkey=vkey,
        seen=writer.seen,
    )


def seal(
    target: Path,
    prepared: Prepared,
    *,
    record: JournalRecord,
    proof: Sequence[bytes],
    checkpoint: str,
    consistency: Sequence[bytes],
    note: str,
) -> Exported:
    """Add what could only be had after the manifest was final, and make the folder a bag.

    Args:
        target: the folder that `prepare` wrote.
        prepared: what it returned.
        record: the EvidenceSealed that names the manifest, sequenced.
        proof: its inclusion proof in the tree of `checkpoint`.
        checkpoint: a checkpoint that covers the record, signed by the same key.
        consistency: the proof from `prepared.checkpoint` to it.
        note: `prepared.text`, signed by the same key.

    Raises:
        Invalid: the record is not the seal of this manifest.
        CheckpointError, MerkleError: a signature or a proof does not hold.
    """
    key = VerifierKey.parse(prepared.vkey)
    checkpoint, note = pack.single(checkpoint, key), pack.single(note, key)
    point = open_checkpoint(checkpoint, key)
    if open_note(note, key) != prepared.text:
        raise CheckpointError("the signed note is not about this manifest")
    if record.leaf is None:
        raise Invalid(f"{record!r} is not in the log yet")
    verify_inclusion(record.computed_hash(), record.leaf, point.size, proof, point.root)
    links.grown(prepared.checkpoint, point, consistency)
    links.sealed(record.fields(), prepared.incident, prepared.exported, prepared.manifest)
    with files.directory(target) as root:
        writer = Writer(root)
        writer.seen.update(prepared.seen)
        whole = {
            pack.NOTE: note.encode(),
            pack.SEAL_RECORD: pack.line_of(pack.shown_record(record, proof, prepared.redaction)).encode(),
            pack.SEAL_CHECKPOINT: checkpoint.encode(),
            pack.SEAL_CONSISTENCY: pack.hashes_text(consistency).encode(),
            pack.GUIDE: pack.guide(),
            pack.DECLARATION: bag.DECLARATION.encode(),
            pack.INFO: bag.info(
                incident=prepared.incident, exported_at=prepared.exported_at, vkey=prepared.vkey, seen=prepared.seen
            ).encode(),
        }
        for path, content in whole.items():
            writer.write(path, content)
        writer.write(pack.TAGMANIFEST, bag.tagmanifest(writer.seen).encode())
    return Exported(records=prepared.records, items=prepared.items, manifest=prepared.manifest)


def _empty(target: Path) -> AbstractContextManager[int]:
    """Open the target, made if need be; a link or a folder with anything in it is refused."""
    if target.is_symlink():
        raise Invalid(f"{target} is a symbolic link; an export is written into a real folder", where=str(target))
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise Invalid(f"{target} is not an empty folder; nothing was written", where=str(target))
    return files.directory(target, create=True)


def _lines(records: Iterable[Proven], point: Checkpoint, redaction: Redaction, total: Contents) -> Iterator[bytes]:
    last = "missing"
    for record, proof in records:
        yield _checked_line(record, proof, point, redaction, total)
        last = record.kind
    if last != pack.EXPORTED:
        raise Invalid(f"the last record of an export is {pack.EXPORTED}, not {last}")


def _checked_line(
    record: JournalRecord, proof: Sequence[bytes], point: Checkpoint, redaction: Redaction, total: Contents
) -> bytes:
    """Return the record's line and count it; a record that would not verify is refused."""
    total.incident = total.incident or record.incident
    if (record.incident, record.n) != (total.incident, total.records + 1):
        raise Invalid(f"{total.incident} record {total.records + 1} is expected, not {record!r}")
    if record.leaf is None:
        raise Invalid(f"{record!r} is not in the log yet")
    verify_inclusion(record.computed_hash(), record.leaf, point.size, proof, point.root)
    line = pack.line_of(pack.shown_record(record, proof, redaction)).encode()
    # What a reader of the line sees, not what we hold: 1.0 and 1 are spelled alike there.
    shown = pack.shown(line)
    if wrong := contents.count(total, pack.values_of(shown), shown["redacted"], record.leaf):
        raise Invalid(f"{record!r}: {wrong[0]}")
    return line


def _ended(total: Contents, redaction: Redaction) -> None:
    if total.redaction != redaction:
        said, done = ", ".join(total.redaction.rules) or "nothing", ", ".join(redaction.rules) or "nothing"
        raise Invalid(f"the record of the export says that {said} is redacted, but {done} is")


def _write_items(writer: Writer, total: Contents, shelf: pack.Shelf) -> int:
    present = sorted(total.items - total.absent())
    for name in present:
        path, readings = pack.ITEMS + name, total.readings(name)
        with shelf.open(name) as blob:
            writer.stream(path, teed(files.blocks(blob), list(readings.values())), mode=0o400)
        if (found := writer.seen[path].sha256) != name:
            raise Damaged(f"the blob {name} was altered: its content has the hash {found}")
        total.tell(name, readings)
    return len(present)


def _write_keys(writer: Writer, keys: Sequence[Rotated], key: VerifierKey, point: Checkpoint) -> list[VerifierKey]:
    """Write the older keys; return all keys of the log, the newest first."""
    chain = [*(VerifierKey.parse(rotated.was) for rotated in keys), key]
    for number, rotated in enumerate(keys, 1):
        links.grown(links.handed_over(rotated.note, chain[number - 1], chain[number]), point, rotated.consistency)
        folder = f"data/keys/{number}/"
        writer.write(f"{folder}vkey.txt", f"{rotated.was}\n".encode())
        writer.write(f"{folder}checkpoint.txt", rotated.note.encode())
        writer.write(f"{folder}consistency.txt", pack.hashes_text(rotated.consistency).encode())
    return chain[::-1]


def _write_anchors(writer: Writer, anchors: Sequence[Anchored], keys: list[VerifierKey], point: Checkpoint) -> None:
    for anchored in anchors:
        held = links.opened(anchored.note, keys)
        if held.size != anchored.size:
            raise Invalid(f"the checkpoint of the anchor {anchored.name} has {held.size} leaves, not {anchored.size}")
        links.grown(held, point, anchored.consistency)
        for path, content in links.files_of(anchored).items():
            writer.write(path, content)


class _Shown:
    """The records that were written, read back line by line each time that they are iterated."""

    def __init__(self, root: int) -> None:
        self._root = root

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        with parent(self._root, pack.RECORDS) as (within, name), files.open_plain(name, within=within) as file:
            for line in file:
                yield pack.shown(line)
