"""The evidence log as a whole: check the live vault, export an incident. Ties store and vault together."""

from collections.abc import Callable, Iterator
from pathlib import Path

from sqlalchemy import Connection

from bot.app import App
from bot.domain.authority import Actor
from bot.domain.leaf import JournalRecord
from bot.errors import Invalid
from bot.flows import custody
from bot.store import sequencer
from bot.vault.export import Exported, export_folder
from bot.vault.report import Report
from bot.vault.verify import verify_live

Progress = Callable[[int, int], None]


async def verify(app: App) -> Report:
    """Check every journal record, checkpoint and blob of the live vault."""

    def act(connection: Connection) -> Report:
        return verify_live(
            records=sequencer.records(connection, every=True),
            checkpoints=sequencer.checkpoints(connection),
            vkey=app.keys.key.encode(),
            blobs=app.blobs,
        )

    return await app.database.reading(act)


async def export(app: App, incident: int, target: Path, *, by: Actor, reason: str) -> Exported:
    """Write an incident's evidence folder; the export itself is the last record in it.

    Raises Invalid when the target is taken; the export is journalled all the same, since it was tried.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise Invalid(f"{target} is not an empty folder: name a new one.", where="out")
    last = await app.ledger.decide(custody.export, custody.Export(by=by, incident=incident, reason=reason))
    while await app.sequence():
        pass

    def act(connection: Connection) -> Exported:
        head = sequencer.head(connection)
        if head is None:
            raise Invalid("the log is empty: there is nothing to export")
        return export_folder(
            target,
            records=_proven(connection, incident, last, head.size),
            shelf=app.blobs,
            checkpoint=head.note,
            vkey=app.keys.key.encode(),
        )

    return await app.database.reading(act)


def _proven(
    connection: Connection, incident: int, last: int, size: int
) -> Iterator[tuple[JournalRecord, tuple[bytes, ...]]]:
    for found in sequencer.records(connection, incident):
        if found.n <= last and found.leaf is not None:
            yield found, sequencer.inclusion(connection, found.leaf, size)
