"""The sequencer: gives journal rows their gap-free leaf numbers, grows the tree's tiles, signs checkpoints.

One at a time in all processes: on SQLite the writer's transaction is the lock, on PostgreSQL a lock of its own besides.
A crash before the commit changes nothing; after it, nothing is left to do.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Protocol

from sqlalchemy import ColumnElement, Connection, Table, bindparam, func, insert, select, text, update

from bot.domain import merkle
from bot.domain.checkpoint import Checkpoint
from bot.domain.leaf import JournalRecord
from bot.store import codec
from bot.store.postgresql import SEQUENCING
from bot.store.spelling import on_postgresql, upserts
from bot.store.tables import CheckpointRow, TileRow
from bot.store.transaction import JOURNAL, WATCH

TILE: Table = TileRow.__table__  # type: ignore[attr-defined]
CHECKPOINT: Table = CheckpointRow.__table__  # type: ignore[attr-defined]
MOST = 5000
AT_ONCE = 500
"""Records that are in memory while all are read."""
TILES_KEPT, NODES_KEPT = 64, 50_000
"""Of what was read for proofs: half a megabyte, and about ten."""
# By what has no number, not by what came last: ids are drawn before the commit, so that a lower one may come later.
_FRESH = select(JOURNAL.c.id, JOURNAL.c.hash).where(JOURNAL.c.leaf.is_(None)).order_by(JOURNAL.c.id).limit(MOST)
_NUMBERED = update(JOURNAL).where(JOURNAL.c.id == bindparam("row")).values(leaf=bindparam("number"))
_SAVE_TILE = upserts(
    TILE,
    lambda new: new.on_conflict_do_update(index_elements=["level", "idx"], set_={"hashes": new.excluded["hashes"]}),
)
_TILE = select(TILE.c.hashes).where(TILE.c.level == bindparam("level"), TILE.c.idx == bindparam("idx"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The newest checkpoint: how many leaves, their root, and the signed note."""

    size: int
    root: bytes
    note: str


class Sign(Protocol):
    """Signs a checkpoint; `due` is the verifier key that the log names since a rotation, None before any.

    `last` is the note of the newest checkpoint, None for the first.
    """

    def __call__(self, checkpoint: Checkpoint, *, due: str | None, last: str | None) -> str:
        """Return the signed note."""
        ...


class Sequencer:
    """Sequences inside a transaction. `sign` turns a checkpoint into a signed note under `origin`."""

    def __init__(self, *, origin: str, sign: Sign, now: Callable[[], datetime]) -> None:
        self._origin = origin
        self._sign = sign
        self._now = now

    def sequence(self, connection: Connection) -> int:
        """Number what is unnumbered and sign a checkpoint over it; return how many leaves were added."""
        if on_postgresql(connection):
            connection.execute(text(f"SELECT pg_advisory_xact_lock({SEQUENCING})"))
        fresh = connection.execute(_FRESH).all()
        if not fresh:
            return 0
        last = connection.execute(select(func.max(JOURNAL.c.leaf))).scalar()
        size = 0 if last is None else last + 1
        connection.execute(_NUMBERED, [{"row": row.id, "number": size + place} for place, row in enumerate(fresh)])
        grow(connection, size, [row.hash for row in fresh])
        self._checkpoint(connection, size + len(fresh))
        return len(fresh)

    def _checkpoint(self, connection: Connection, size: int) -> None:
        frontier = merkle.frontier_of_tiles(size, lambda level, index: read_tile(connection, level, index))
        root = frontier.root()
        watch = connection.execute(WATCH).scalar()
        due = codec.load_watch(watch).key if watch else None
        newest = head(connection)
        last = newest.note if newest else None
        note = self._sign(Checkpoint(origin=self._origin, size=size, root=root), due=due, last=last)
        row = {"size": size, "root": root, "note": note, "at": self._now().timestamp()}
        connection.execute(insert(CHECKPOINT).values(row))


def grow(connection: Connection, size: int, hashes: Sequence[bytes]) -> None:
    """Let the tree of `size` leaves grow by these leaf hashes."""
    edge = {
        level: read_tile(connection, level, full) for level, (full, width) in merkle.tile_widths(size).items() if width
    }
    rows = [{"level": tile.level, "idx": tile.index, "hashes": tile.hashes} for tile in merkle.grow(size, edge, hashes)]
    connection.execute(_SAVE_TILE[connection.dialect.name], rows)


def read_tile(connection: Connection, level: int, index: int) -> bytes:
    """Return a tile's hashes; raises MerkleError when the log has not grown so far."""
    hashes: bytes | None = connection.execute(_TILE, {"level": level, "idx": index}).scalar()
    if hashes is None:
        raise merkle.MerkleError(f"the log has no {merkle.tile_path(level, index)}")
    return hashes


def head(connection: Connection) -> Head | None:
    """Return the newest checkpoint, None while nothing was sequenced."""
    row = connection.execute(select(CHECKPOINT).order_by(CHECKPOINT.c.size.desc()).limit(1)).one_or_none()
    return Head(size=row.size, root=row.root, note=row.note) if row else None


def checkpoint_at(connection: Connection, size: int) -> Head | None:
    """Return the checkpoint over exactly `size` leaves, None when none was signed there."""
    row = connection.execute(select(CHECKPOINT).where(CHECKPOINT.c.size == size)).one_or_none()
    return Head(size=row.size, root=row.root, note=row.note) if row else None


def checkpoints(connection: Connection) -> tuple[str, ...]:
    """Return all signed checkpoints, oldest first."""
    return tuple(connection.execute(select(CHECKPOINT.c.note).order_by(CHECKPOINT.c.size)).scalars())


def records(connection: Connection, incident: int | None = None, *, every: bool = False) -> Iterator[JournalRecord]:
    """Yield journal records: of one stream in order of `n`, or of all in order of their leaf, those without one last.

    Few are in memory at a time, however many there are; the transaction stays open until the last one is taken.
    """
    if every:  # two queries, since each goes along an index, and sorting both together would hold them all
        yield from _streamed(connection, JOURNAL.c.leaf.is_not(None), JOURNAL.c.leaf)
        yield from _streamed(connection, JOURNAL.c.leaf.is_(None), JOURNAL.c.id)
    else:
        yield from _streamed(connection, JOURNAL.c.incident == (incident or 0), JOURNAL.c.n)


def _streamed(connection: Connection, which: ColumnElement[bool], order: ColumnElement[Any]) -> Iterator[JournalRecord]:
    query = select(JOURNAL).where(which).order_by(order).execution_options(yield_per=AT_ONCE)
    with connection.execute(query) as rows:
        for row in rows:
            yield codec.record_of(row)


def inclusion(connection: Connection, leaf: int, size: int) -> tuple[bytes, ...]:
    """Return the inclusion proof of one leaf in the tree of `size` (RFC 6962 §2.1.1)."""
    return merkle.inclusion_proof(leaf, size, nodes(connection))


def consistency(connection: Connection, old: int, new: int) -> tuple[bytes, ...]:
    """Return the proof that the tree of `new` leaves begins with the tree of `old` (RFC 6962 §2.1.2)."""
    return merkle.consistency_proof(old, new, nodes(connection))


def nodes(connection: Connection) -> merkle.Nodes:
    """Return the tree's hashes out of the stored tiles; keep it for many proofs in one reading."""
    read = lru_cache(TILES_KEPT)(lambda level, index: read_tile(connection, level, index))

    def node(height: int, index: int) -> bytes:
        return merkle.nodes_of_tiles(read)(height, index)  # made anew, since it keeps every tile that it has seen

    return lru_cache(NODES_KEPT)(node)
