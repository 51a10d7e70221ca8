"""What the anchoring step needs to know of the log: implements its `Checkpoints` over the store."""

from collections.abc import Mapping
from datetime import UTC, datetime

from sqlalchemy import Connection, func, select

from bot.steps.anchor import Held
from bot.store import anchors, sequencer
from bot.store.anchors import ANCHOR
from bot.store.database import Database
from bot.store.transaction import JOURNAL

ABOUT_ANCHORS = ("AnchorLost", "AnchorBack")


class AnchorLog:
    """Reads beside the writer; `add` goes through it, so that a name and size have one row."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def newest(self) -> tuple[int, str] | None:
        """Return size and note of the newest checkpoint."""
        head = await self._database.reading(sequencer.head)
        return (head.size, head.note) if head else None

    async def news(self) -> int:
        """Return the log's size up to its newest sequenced entry that is not about anchors."""
        query = (
            select(JOURNAL.c.leaf)
            .where(JOURNAL.c.leaf.is_not(None), JOURNAL.c.kind.not_in(ABOUT_ANCHORS))
            .order_by(JOURNAL.c.leaf.desc())
            .limit(1)
        )
        leaf = await self._database.reading(lambda connection: connection.execute(query).scalar())
        return 0 if leaf is None else leaf + 1

    async def held(self) -> Mapping[str, Held]:
        """Return what each anchor holds, by name."""
        query = select(ANCHOR.c.anchor, func.max(ANCHOR.c.size), func.max(ANCHOR.c.at)).group_by(ANCHOR.c.anchor)
        rows = await self._database.reading(lambda connection: connection.execute(query).all())
        return {name: Held(size=size, at=datetime.fromtimestamp(at, UTC)) for name, size, at in rows}

    async def anchored(self, name: str) -> int:
        """Return the largest size that an anchor holds, 0 for none."""
        found = await self._database.reading(lambda connection: anchors.newest(connection, name))
        return found.size if found else 0

    async def add(self, name: str, kind: str, size: int, note: str, at: datetime, proof: bytes) -> None:
        """Store a proof durably, once for a name and size."""
        row = anchors.Anchored(anchor=name, kind=kind, size=size, note=note, at=at.timestamp(), proof=proof)

        def act(connection: Connection) -> None:
            known = anchors.newest(connection, name)
            if known is None or known.size < size:
                anchors.add(connection, row)

        await self._database.writer.do(act)
