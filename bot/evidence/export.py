"""Write an incident's evidence pack: the payload, then its manifest into the log, then the seal."""

import asyncio
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection, select

from bot.app import App
from bot.domain import merkle
from bot.domain.authority import BOT, Actor
from bot.domain.checkpoint import CheckpointError
from bot.domain.journal import Written
from bot.domain.leaf import JournalRecord
from bot.errors import Invalid
from bot.evidence.live import rotations
from bot.flows import custody
from bot.render import reading_copies
from bot.render.reading_copies import HIDDEN, Shown
from bot.store import anchors, codec, sequencer
from bot.store.sequencer import CHECKPOINT
from bot.vault import export as packs
from bot.vault import pack
from bot.vault.archive import check_name, pack_into
from bot.vault.export import Exported, Prepared
from bot.vault.redaction import Redaction

SUFFIXES = (".tar.zst", ".zip")
MOST_ANCHORS = 50
"""Checkpoints of one anchor that go into a pack."""


async def export(
    app: App,
    incident: int,
    target: Path,
    *,
    by: Actor,
    reason: str,
    redaction: Redaction = Redaction(),  # noqa: B008 - frozen, and empty
    withhold: tuple[str, ...] = (),
) -> Exported:
    """Write an incident's evidence pack into a new folder, or an archive (`.tar.zst`, `.zip`).

    The export itself is the last record in it; its manifest is sealed in the log. Raises Invalid when the target is
    taken, and what `custody.export` raises.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise Invalid(f"{target} is taken: name a new folder or file.", where="out")
    if not target.absolute().parent.is_dir() or not os.access(target.absolute().parent, os.W_OK | os.X_OK):
        raise Invalid(f"{target.parent} is no folder that can be written: make it first.", where="out")
    if target.name.endswith(SUFFIXES):
        check_name(target)
    command = custody.Export(by=by, incident=incident, reason=reason, withheld=withhold, redacted=redaction.rules)
    last = await app.ledger.decide(custody.export, command)
    with _folder(target) as folder:
        try:
            prepared = await _prepared(app, incident, last, folder, redaction)
            sealing = custody.Seal(by=BOT, incident=incident, exported=last, manifest=prepared.manifest)
            done = await _sealed(app, incident, await app.ledger.decide(custody.seal, sealing), folder, prepared)
        except CheckpointError as error:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
            raise Invalid(f"The log's key was rotated meanwhile ({error}): export again.") from error
        if folder != target:
            await asyncio.to_thread(pack_into, folder, target)
    await app.anchorer.tick(wanted=True)
    return done


@contextmanager
def _folder(target: Path) -> Iterator[Path]:
    """Yield the folder to write into: the target, or a passing one beside the archive that it becomes."""
    if not target.name.endswith(SUFFIXES):
        yield target
        return
    passing = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.absolute().parent))
    try:
        yield passing / target.name.removesuffix(".zip").removesuffix(".tar.zst")
    finally:
        shutil.rmtree(passing)


async def _prepared(app: App, incident: int, last: int, folder: Path, redaction: Redaction) -> Prepared:
    while await app.sequence():
        pass
    vkey = app.keys.key.encode()

    def act(connection: Connection) -> Prepared:
        head = sequencer.head(connection)
        if head is None:
            raise Invalid("the log is empty: there is nothing to export")
        nodes = sequencer.nodes(connection)

        def proven() -> Iterator[packs.Proven]:
            for found in sequencer.records(connection, incident):
                if found.n <= last and found.leaf is not None:
                    yield found, merkle.inclusion_proof(found.leaf, head.size, nodes)

        def documents(shown: Iterable[Mapping[str, Any]]) -> Mapping[str, bytes]:
            rows = [_shown(one) for one in shown]
            return reading_copies.documents(
                rows, config=app.config, entry=_entry, origin=app.keys.key.name, size=head.size
            )

        return packs.prepare(
            folder,
            records=proven(),
            shelf=app.blobs,
            checkpoint=head.note,
            vkey=vkey,
            redaction=redaction,
            anchors=_anchors(connection, incident, head.size),
            keys=_keys(connection, head.size),
            documents=documents,
        )

    return await app.database.reading(act)


async def _sealed(app: App, incident: int, number: int, folder: Path, prepared: Prepared) -> Exported:
    """Add the seal, once the record that names the manifest is under a checkpoint."""
    while await app.sequence():
        pass

    def act(connection: Connection) -> Exported:
        head = sequencer.head(connection)
        record = _record(connection, incident, number)
        if head is None or record.leaf is None:
            raise Invalid("the seal is not in the log yet: export again")
        return packs.seal(
            folder,
            prepared,
            record=record,
            proof=sequencer.inclusion(connection, record.leaf, head.size),
            checkpoint=head.note,
            consistency=sequencer.consistency(connection, prepared.checkpoint.size, head.size),
            note=app.keys.sign_manifest(prepared.text),
        )

    return await app.database.reading(act)


def _record(connection: Connection, incident: int, number: int) -> JournalRecord:
    return next(one for one in sequencer.records(connection, incident) if one.n == number)


def _anchors(connection: Connection, incident: int, size: int) -> list[pack.Anchored]:
    """Return the anchored checkpoints that say when the incident's records were there at the latest.

    Of each anchor those from the first that covers a record to the first that covers all.
    """
    leaves = [one.leaf for one in sequencer.records(connection, incident) if one.leaf is not None]
    found: dict[str, list[anchors.Anchored]] = {}
    for one in anchors.all_of(connection, up_to_size=size):
        mine = found.setdefault(one.anchor, [])
        if one.size > leaves[0] and not (mine and mine[-1].size > leaves[-1]):
            mine.append(one)
    return [
        pack.Anchored(
            name=one.anchor,
            kind=one.kind,
            size=one.size,
            note=one.note,
            at=datetime.fromtimestamp(one.at, UTC),
            proof=one.proof,
            consistency=sequencer.consistency(connection, one.size, size),
        )
        for mine in found.values()
        for one in (mine if len(mine) <= MOST_ANCHORS else [*mine[: MOST_ANCHORS - 1], mine[-1]])
    ]


def _keys(connection: Connection, size: int) -> list[pack.Rotated]:
    """Return, for each older key, the checkpoint that it and the next one signed."""
    made = []
    for leaf, was, _ in rotations(connection):
        query = select(CHECKPOINT.c.size, CHECKPOINT.c.note).where(CHECKPOINT.c.size > leaf).order_by(CHECKPOINT.c.size)
        row = connection.execute(query.limit(1)).one()
        proof = sequencer.consistency(connection, row.size, size)
        made.append(pack.Rotated(was=was, note=row.note, consistency=proof))
    return made


def _shown(record: Mapping[str, Any]) -> Shown:
    return Shown(values=pack.values_of(record), hidden=frozenset(record["redacted"]), leaf=record["leaf"])


def _entry(one: Shown) -> Written | None:
    """Return the journal entry that a shown record is, None where what is hidden leaves no sentence."""
    body = {name.removeprefix("body."): value for name, value in one.values.items() if name.startswith("body.")}
    body |= {name.removeprefix("body."): HIDDEN for name in one.hidden if name.startswith("body.")}
    try:
        entry = codec.entry_of(str(one.values["kind"]), json.dumps(body))
    except (ValidationError, KeyError):
        return None
    return Written(
        incident=codec.stream_number(str(one.values["incident"])),
        n=one.values["n"],
        at=datetime.fromisoformat(one.values["at"]),
        by=Actor.parse(one.by),
        entry=entry,
        leaf=one.leaf,
    )
