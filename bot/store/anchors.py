"""Checkpoints that lie outside our reach: the table `anchor`, which only grows. Times are seconds since the epoch."""

from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, Table, insert, select

from bot.store.tables import AnchorRow

ANCHOR: Table = AnchorRow.__table__  # type: ignore[attr-defined]
_COLUMNS = [column for column in ANCHOR.columns if column.name != "id"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchored:
    """That `anchor` (its name in policy.yaml) has the checkpoint `note` over `size` leaves, and its `proof` of it."""

    anchor: str
    kind: str
    size: int
    note: str
    at: float
    proof: bytes


def add(connection: Connection, anchored: Anchored) -> None:
    """Write down that an anchor has a checkpoint; in a writing transaction."""
    connection.execute(insert(ANCHOR).inline(), asdict(anchored))


def newest(connection: Connection, anchor: str) -> Anchored | None:
    """Return the largest checkpoint that an anchor has, the first time it had it; None when it has none."""
    query = select(*_COLUMNS).where(ANCHOR.c.anchor == anchor).order_by(ANCHOR.c.size.desc(), ANCHOR.c.id).limit(1)
    row = connection.execute(query).one_or_none()
    return _anchored(row) if row else None


def all_of(connection: Connection, *, up_to_size: int | None = None) -> tuple[Anchored, ...]:
    """Return what all anchors have, the smallest checkpoints first; none that is larger than `up_to_size`."""
    query = select(*_COLUMNS).order_by(ANCHOR.c.size, ANCHOR.c.id)
    if up_to_size is not None:
        query = query.where(ANCHOR.c.size <= up_to_size)
    return tuple(_anchored(row) for row in connection.execute(query))


def _anchored(row: Any) -> Anchored:
    return Anchored(**row._mapping)
