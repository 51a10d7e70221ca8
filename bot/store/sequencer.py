"""The sequencer: gives journal rows their gap-free leaf numbers, grows the tree's tiles, signs checkpoints.

One at a time: on SQLite the writer's transaction is the lock. A crash before the commit changes nothing; after it,
nothing is left to do.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Table, bindparam, func, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from bot.domain import merkle
from bot.domain.checkpoint import Checkpoint
from bot.domain.leaf import JournalRecord
from bot.store import codec
from bot.store.tables import CheckpointRow, TileRow
from bot.store.transaction import JOURNAL

TILE: Table = TileRow.__table__  # type: ignore[attr-defined]
CHECKPOINT: Table = CheckpointRow.__table__  # type: ignore[attr-defined]
MOST = 5000


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The newest checkpoint: how many leaves, their root, and the signed note."""

    size: int
    root: bytes
    note: str


class Sequencer:
    """Sequences inside a transaction. `sign` turns a checkpoint into a signed note under `origin`."""

    def __init__(self, *, origin: str, sign: Callable[[Checkpoint], str], now: Callable[[], datetime]) -> None:
        self._origin = origin
        self._sign = sign
        self._now = now

    def sequence(self, connection: Connection) -> int:
        """Number what is unnumbered and sign a checkpoint over it; return how many leaves were added."""
        query = select(JOURNAL.c.id, JOURNAL.c.hash).where(JOURNAL.c.leaf.is_(None)).order_by(JOURNAL.c.id).limit(MOST)
        fresh = connection.execute(query).all()
        if not fresh:
            return 0
        last = connection.execute(select(func.max(JOURNAL.c.leaf))).scalar()
        size = 0 if last is None else last + 1
        numbered = update(JOURNAL).where(JOURNAL.c.id == bindparam("row")).values(leaf=bindparam("number"))
        connection.execute(numbered, [{"row": row.id, "number": size + place} for place, row in enumerate(fresh)])
        edge = {
            level: self._tile(connection, level, full)
            for level, (full, width) in merkle.tile_widths(size).items()
            if width
        }
        for tile in merkle.grow(size, edge, [row.hash for row in fresh]):
            statement = upsert(TILE).values(level=tile.level, idx=tile.index, hashes=tile.hashes)
            connection.execute(
                statement.on_conflict_do_update(
                    index_elements=["level", "idx"], set_={"hashes": statement.excluded.hashes}
                )
            )
        self._checkpoint(connection, size + len(fresh))
        return len(fresh)

    def _checkpoint(self, connection: Connection, size: int) -> None:
        frontier = merkle.frontier_of_tiles(size, lambda level, index: self._tile(connection, level, index))
        root = frontier.root()
        note = self._sign(Checkpoint(origin=self._origin, size=size, root=root))
        row = {"size": size, "root": root, "note": note, "at": self._now().timestamp()}
        connection.execute(insert(CHECKPOINT).values(row))

    def _tile(self, connection: Connection, level: int, index: int) -> bytes:
        return read_tile(connection, level, index)


def read_tile(connection: Connection, level: int, index: int) -> bytes:
    """Return a tile's hashes."""
    value: bytes = connection.execute(
        select(TILE.c.hashes).where(TILE.c.level == level, TILE.c.idx == index)
    ).scalar_one()
    return value


def head(connection: Connection) -> Head | None:
    """Return the newest checkpoint, None while nothing was sequenced."""
    row = connection.execute(select(CHECKPOINT).order_by(CHECKPOINT.c.size.desc()).limit(1)).one_or_none()
    return Head(size=row.size, root=row.root, note=row.note) if row else None


def checkpoints(connection: Connection) -> tuple[str, ...]:
    """Return all signed checkpoints, oldest first."""
    return tuple(connection.execute(select(CHECKPOINT.c.note).order_by(CHECKPOINT.c.size)).scalars())


def records(connection: Connection, incident: int | None = None, *, every: bool = False) -> Iterator[JournalRecord]:
    """Yield journal records: of one stream in order of `n`, or of all in order of their leaf."""
    query: Any = select(JOURNAL)
    query = (
        query.order_by(JOURNAL.c.leaf.is_(None), JOURNAL.c.leaf, JOURNAL.c.id)
        if every
        else query.where(JOURNAL.c.incident == (incident or 0)).order_by(JOURNAL.c.n)
    )
    for row in connection.execute(query):
        yield codec.record_of(row)


def inclusion(connection: Connection, leaf: int, size: int) -> tuple[bytes, ...]:
    """Return the inclusion proof of one leaf in the tree of `size`."""
    nodes = merkle.nodes_of_tiles(lambda level, index: read_tile(connection, level, index))
    return merkle.inclusion_proof(leaf, size, nodes)
