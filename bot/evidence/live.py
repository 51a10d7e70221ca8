"""Check the running vault."""

from sqlalchemy import Connection, select

from bot.app import App
from bot.domain import journal as j
from bot.store import codec, sequencer
from bot.store.transaction import JOURNAL
from bot.vault.live import verify_live
from bot.vault.report import Report


async def verify(app: App) -> Report:
    """Check every journal record, checkpoint and blob of the live vault."""

    def act(connection: Connection) -> Report:
        return verify_live(
            records=sequencer.records(connection, every=True),
            checkpoints=sequencer.checkpoints(connection),
            vkey=app.keys.key.encode(),
            rotations=rotations(connection),
            blobs=app.blobs,
        )

    return await app.database.reading(act)


def rotations(connection: Connection) -> list[tuple[int, str, str]]:
    """Return (leaf, was, now) of each rotation of the log's key that is in the log, oldest first."""
    query = select(JOURNAL).where(JOURNAL.c.kind == "KeyRotated", JOURNAL.c.leaf.is_not(None)).order_by(JOURNAL.c.leaf)
    found = [(row.leaf, codec.entry_of(row.kind, row.body)) for row in connection.execute(query)]
    return [(leaf, e.was, e.now) for leaf, e in found if isinstance(e, j.KeyRotated)]
