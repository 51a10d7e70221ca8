"""The log on both databases: leaves, tiles, checkpoints, proofs; and that reading all of it takes little memory."""

import tracemalloc
from itertools import combinations

import pytest
from sqlalchemy import Connection, event, insert, text

from bot.domain import merkle
from bot.domain.leaf import fields_of, leaf_hash
from bot.domain.merkle import MerkleError
from bot.store import database as db
from bot.store import sequencer
from bot.store.transaction import JOURNAL
from tests.fakes import Room, alert
from tests.store.rooms import assert_whole, room_at, sequence

MANY = 6000
"""More than one turn of the sequencer."""


def rows(first: int, count: int, incident: int = 77, size: int = 0) -> list[dict[str, object]]:
    """Return journal rows of an incident of their own."""
    body = f'{{"text":"{"x" * size}","source":"note"}}'
    same = {"incident": incident, "at": "2026-11-20T03:00:00.000000Z", "kind": "NoteAdded", "by": "bot", "body": body}
    return [{**same, "n": n, "salt": b"s" * 32, "hash": n.to_bytes(32, "big")} for n in range(first, first + count)]


async def fill(spine: Room, count: int, *, first: int = 1, size: int = 0) -> None:
    """Write journal rows as fast as can be."""
    await spine.database.writer.do(lambda c: c.execute(insert(JOURNAL), rows(first, count, size=size)) and None)


async def test_everything_gets_its_leaf_and_every_tree_is_proven_to_grow_out_of_those_before(spine: Room) -> None:
    sizes, first = [], 1
    for count in (1, 2, 253, 1, 300, MANY):
        await fill(spine, count, first=first)
        first += count
        assert await sequence(spine) == count
        sizes.append(first - 1)
    assert await sequence(spine) == 0
    assert await spine.database.reading(_whole(sizes)) == first - 1


def _whole(sizes: list[int]):  # type: ignore[no-untyped-def]
    def act(connection: Connection) -> int:
        head = sequencer.head(connection)
        assert head is not None
        assert sequencer.checkpoint_at(connection, head.size) == head
        assert sequencer.checkpoint_at(connection, head.size - 1) is None
        hashes = [bytes(r.hash) for r in connection.execute(text("SELECT hash FROM journal ORDER BY leaf"))]
        for old, new in combinations(sizes, 2):
            before, after = sequencer.checkpoint_at(connection, old), sequencer.checkpoint_at(connection, new)
            assert before is not None
            assert after is not None
            assert before.root == merkle.root(hashes[:old])
            proof = sequencer.consistency(connection, old, new)
            merkle.verify_consistency(old, new, before.root, after.root, proof)
            for leaf in {0, old - 1, old, new - 1}:
                path = sequencer.inclusion(connection, leaf, new)
                merkle.verify_inclusion(hashes[leaf], leaf, new, path, after.root)
        return head.size

    return act


async def test_proofs_about_a_tree_that_is_not_there_are_refused(spine: Room) -> None:
    await fill(spine, 300)
    await sequence(spine)
    for old, new in ((10, 301), (10, 1000), (10, 100_000), (301, 300)):
        with pytest.raises(MerkleError):
            await spine.database.reading(lambda c, o=old, n=new: sequencer.consistency(c, o, n))  # type: ignore[misc]
    for leaf, size in ((0, 301), (0, 100_000), (300, 300)):
        with pytest.raises(MerkleError):
            await spine.database.reading(lambda c, x=leaf, s=size: sequencer.inclusion(c, x, s))  # type: ignore[misc]


async def test_records_come_by_leaf_and_those_without_one_last(spine: Room) -> None:
    await spine.receive(alert(signer="s01"))
    await sequence(spine)
    await spine.receive(alert("NodeDown", signer="s02"))
    every = await spine.database.reading(lambda c: list(sequencer.records(c, every=True)))
    leaves = [record.leaf for record in every]
    sequenced = [leaf for leaf in leaves if leaf is not None]
    assert sequenced == list(range(len(sequenced)))
    assert leaves == [*sequenced, *[None] * (len(leaves) - len(sequenced))]
    assert len(sequenced) < len(leaves)
    for record in every:
        found = fields_of(
            incident=record.incident, n=record.n, at=record.at, kind=record.kind, by=record.by, body=record.body
        )
        assert leaf_hash(found, record.salt) == record.hash
    own = await spine.database.reading(lambda c: [record.n for record in sequencer.records(c, 1)])
    assert own == list(range(1, len(own) + 1))


async def test_reading_all_records_takes_no_more_memory_for_more_of_them(spine: Room) -> None:
    async def peak(count: int) -> int:
        def act(connection: Connection) -> int:
            tracemalloc.start()
            assert sum(1 for _ in sequencer.records(connection, every=True)) == count
            _, most = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            return most

        return await spine.database.reading(act)

    await fill(spine, 1500, size=2000)
    few = await peak(1500)
    for turn in range(1, 5):
        await fill(spine, 1500, first=1 + 1500 * turn, size=2000)
    assert await peak(7500) < few + 500_000  # all together are 15 MB


async def test_a_reading_that_is_left_early_leaves_a_connection_that_can_be_used(spine: Room) -> None:
    await fill(spine, 3000)

    def act(connection: Connection) -> int:
        found = next(sequencer.records(connection, 77))
        return found.n + len(list(sequencer.records(connection, 77)))

    assert await spine.database.reading(act) == 3001


@pytest.mark.peer("postgresql")
async def test_an_entry_that_becomes_visible_after_later_ones_were_sequenced_is_not_left_out(
    postgresql_url: str,
) -> None:
    """Ids are drawn before the commit: here by somebody who does not take our lock."""
    slow = db.connect(postgresql_url)
    async with room_at(postgresql_url) as spine:
        with slow.connect().execution_options(reading=True) as late:
            raw = late.connection.driver_connection
            assert raw is not None
            statement = (
                "INSERT INTO journal (incident, n, at, kind, by, body, salt, hash) VALUES (78,1,'','','','','',%s)"
            )
            raw.execute(statement, (b"l" * 32,))
            await fill(spine, 5)
            assert await sequence(spine) == 5
            raw.commit()
        assert await sequence(spine) == 1
        query = "SELECT leaf FROM journal ORDER BY id"
        assert await spine.database.reading(lambda c: list(c.execute(text(query)).scalars())) == [5, 0, 1, 2, 3, 4]
        assert await spine.database.reading(sequencer.head) is not None
    slow.dispose()


@pytest.mark.peer("postgresql")
async def test_records_are_read_by_a_cursor_of_the_server(postgresql_url: str) -> None:
    async with room_at(postgresql_url) as spine:
        await fill(spine, 3000)

        def act(connection: Connection) -> int:
            reading = sequencer.records(connection, 77)
            next(reading)
            query = text("SELECT count(*) FROM pg_cursors WHERE statement LIKE '%journal%'")
            count: int = connection.execute(query).scalar_one()
            return count

        assert await spine.database.reading(act) == 1


async def test_a_sequencer_that_fails_in_the_middle_changes_nothing(spine: Room) -> None:
    await fill(spine, 10)
    await sequence(spine)
    await fill(spine, 10, first=11)

    def breaks(_c: object, _cursor: object, statement: str, *_more: object) -> None:
        if statement.startswith("INSERT INTO checkpoint"):
            raise OSError("power")

    event.listen(spine.database.engine, "before_cursor_execute", breaks)
    with pytest.raises(OSError, match="power"):
        await sequence(spine)
    event.remove(spine.database.engine, "before_cursor_execute", breaks)
    head = await spine.database.reading(sequencer.head)
    assert head is not None
    assert head.size == 10
    assert await sequence(spine) == 10
    found = await spine.database.reading(sequencer.head)
    assert found is not None
    assert found.root == merkle.root([n.to_bytes(32, "big") for n in range(1, 21)])


async def test_the_check_that_these_tests_rest_on_finds_a_hole(spine: Room) -> None:
    await spine.receive(alert(signer="s01"))
    await sequence(spine)
    assert await assert_whole(spine) > 0
    await spine.receive(alert("NodeDown", signer="s02"))
    await spine.database.writer.do(lambda c: c.execute(text("UPDATE journal SET leaf = id + 50 WHERE leaf IS NULL")))
    with pytest.raises(AssertionError, match="gaps"):
        await assert_whole(spine)
