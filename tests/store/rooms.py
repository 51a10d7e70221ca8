"""What the tests of the store share: a room on a given database, its log, and a check of everything that it holds."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

from sqlalchemy import Connection, text

from bot.domain import merkle
from bot.domain.checkpoint import Checkpoint
from bot.domain.incident import fold
from bot.flows.book import World
from bot.store import database as db
from bot.store import sequencer
from bot.store.sequencer import Sequencer
from bot.store.spelling import on_postgresql
from tests.fakes import TRAITS, FrozenClock, Room, config

ORIGIN = "stopsign.test/log"


@asynccontextmanager
async def room_at(url: str, *, clock: FrozenClock | None = None) -> AsyncIterator[Room]:
    """Open a room on a migrated database; several may be open on the same one, as several processes are."""
    ticking = clock or FrozenClock()
    database = db.Database(db.connect(url), now=ticking.now, salt=lambda: b"s" * 32)
    database.start()
    try:
        yield Room(database, World(config=config(), traits=lambda e: TRAITS.get(e.driver)), ticking)
    finally:
        database.stop()


def log_of(spine: Room) -> Sequencer:
    """Return a sequencer whose checkpoints are not signed."""
    return Sequencer(origin=ORIGIN, sign=unsigned, now=spine.clock.now)


def unsigned(checkpoint: Checkpoint, *, due: str | None, last: str | None) -> str:
    """Return the checkpoint's text, which nobody signed."""
    return checkpoint.text()


async def sequence(spine: Room) -> int:
    """Sequence all that is unsequenced; return how many leaves that were."""
    added, more = 0, 1
    while more:
        more = await spine.database.writer.do(log_of(spine).sequence)
        added += more
    return added


async def quiet(spine: Room) -> None:
    """Wait until whoever listens has heard of all that was committed: answers leave before."""
    await spine.database.writer.do(lambda connection: None)


async def wait(spine: Room, *, seconds: int) -> None:
    """Let so many seconds pass: on the room's clock, and for leases on PostgreSQL, which has a clock of its own."""
    spine.clock.go(seconds=seconds)

    def age(connection: Connection) -> None:
        if on_postgresql(connection):
            connection.execute(text("UPDATE work SET lease_until = lease_until - :seconds"), {"seconds": seconds})

    await spine.database.writer.do(age)


async def assert_whole(spine: Room) -> int:
    """Check every stream, every fold and the whole log against the rows; return how many leaves there are."""
    size = await spine.database.reading(_assert_log)
    incidents = await spine.ledger.read(lambda rows: rows.incidents(live_only=False, limit=10_000))
    assert sorted(i.number for i in incidents) == list(range(1, len(incidents) + 1))
    for incident in incidents:
        journal = await spine.journal(incident.number)
        assert [w.n for w in journal] == list(range(1, len(journal) + 1)), f"inc-{incident.number} has gaps"
        assert fold(incident.number, journal) == incident, f"inc-{incident.number} is not the fold of its journal"
    watch = await spine.ledger.read(lambda rows: rows.watch())
    assert [w.n for w in await spine.journal(None)] == list(range(1, watch.version + 1))
    return size


def _assert_log(connection: Connection) -> int:
    rows = connection.execute(text("SELECT leaf, hash FROM journal WHERE leaf IS NOT NULL ORDER BY leaf")).all()
    assert [row.leaf for row in rows] == list(range(len(rows))), "the leaves have gaps"
    hashes = [bytes(row.hash) for row in rows]
    signed = connection.execute(text("SELECT size, root, note FROM checkpoint ORDER BY size")).all()
    if not hashes:
        assert not signed
        return 0
    assert signed[-1].size == len(hashes), "the newest checkpoint is not over all leaves"
    frontier, roots = merkle.Frontier(), dict[int, bytes]()
    for checkpoint in signed:
        frontier = frontier.extended(hashes[frontier.size : checkpoint.size])
        assert frontier.root() == checkpoint.root, f"the root over {checkpoint.size} leaves is wrong"
        assert checkpoint.note == Checkpoint(origin=ORIGIN, size=checkpoint.size, root=checkpoint.root).text()
        roots[checkpoint.size] = checkpoint.root
    for old, new in [*pairwise(roots), *((size, len(hashes)) for size in roots)]:
        merkle.verify_consistency(old, new, roots[old], roots[new], sequencer.consistency(connection, old, new))
    _assert_tiles(connection, hashes)
    return len(hashes)


def _assert_tiles(connection: Connection, hashes: list[bytes]) -> None:
    stored: dict[tuple[int, int], Any] = {
        (row.level, row.idx): bytes(row.hashes) for row in connection.execute(text("SELECT * FROM tile"))
    }
    assert stored == {(tile.level, tile.index): tile.hashes for tile in merkle.grow(0, {}, hashes)}
