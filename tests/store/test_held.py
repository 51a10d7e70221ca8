"""The log is append-only in the database itself, and triggers that do not stand are named."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import IntegrityError

from bot.errors import Misconfigured
from bot.store import anchors, held
from bot.store import database as db
from bot.store.anchors import Anchored
from tests.fakes import Room, alert
from tests.store.rooms import sequence

COLUMNS = ("id", "incident", "n", "at", "kind", "by", "body", "salt", "hash")
FORBIDDEN = [
    "DELETE FROM journal",
    *(
        f"UPDATE journal SET leaf = 7000, {c} = {c} || 'x' WHERE leaf IS NULL"
        for c in ("at", "kind", "by", "body", "salt", "hash")
    ),
    *(f"UPDATE journal SET leaf = 7000, {c} = {c} + 7 WHERE leaf IS NULL" for c in ("id", "incident", "n")),
    *(f"UPDATE journal SET {c} = {c}" for c in COLUMNS),
    "UPDATE journal SET leaf = NULL",
    "UPDATE journal SET leaf = leaf + 7000 WHERE leaf IS NOT NULL",
    "DELETE FROM checkpoint",
    "UPDATE checkpoint SET note = note",
    "DELETE FROM anchor",
    "UPDATE anchor SET note = note",
]
ON_SQLITE = ["INSERT OR REPLACE INTO journal SELECT * FROM journal", "REPLACE INTO anchor SELECT * FROM anchor"]
ON_POSTGRESQL = [
    *(f"TRUNCATE {table}" for table in held.TABLES),
    "TRUNCATE incident, journal CASCADE",
    "SET LOCAL session_replication_role = replica; DELETE FROM journal",
    "SET LOCAL session_replication_role = replica; TRUNCATE journal",
]
ALTERED_ON_SQLITE = {
    "journal_no_delete": "CREATE TRIGGER journal_no_delete BEFORE DELETE ON journal WHEN 0 BEGIN SELECT 1; END",
    "checkpoint_no_change": "CREATE TRIGGER checkpoint_no_change BEFORE UPDATE ON tile BEGIN SELECT 1; END",
}
ALTERED_ON_POSTGRESQL = [
    ("journal_no_delete", "ALTER TABLE journal DISABLE TRIGGER journal_no_delete"),
    ("journal_no_delete", "ALTER TABLE journal ENABLE TRIGGER journal_no_delete"),
    ("journal_no_delete", "ALTER TABLE journal ENABLE REPLICA TRIGGER journal_no_delete"),
    ("anchor_no_truncate", "ALTER TRIGGER anchor_no_truncate ON anchor RENAME TO other"),
    ("checkpoint_no_change", "DROP TRIGGER checkpoint_no_change ON checkpoint"),
    *(
        (
            "checkpoint_no_change",
            f"DROP TRIGGER checkpoint_no_change ON checkpoint; CREATE TRIGGER checkpoint_no_change {instead}; "
            "ALTER TABLE checkpoint ENABLE ALWAYS TRIGGER checkpoint_no_change",
        )
        for instead in (
            "BEFORE UPDATE ON checkpoint FOR EACH ROW WHEN (false) EXECUTE FUNCTION stopsign_refuse()",
            "BEFORE UPDATE OF at ON checkpoint FOR EACH ROW EXECUTE FUNCTION stopsign_refuse()",
            "BEFORE INSERT ON checkpoint FOR EACH ROW EXECUTE FUNCTION stopsign_refuse()",
            "BEFORE UPDATE ON checkpoint FOR EACH STATEMENT EXECUTE FUNCTION stopsign_refuse()",
            "BEFORE UPDATE ON checkpoint FOR EACH ROW EXECUTE FUNCTION stopsign_refuse('x')",
            "BEFORE UPDATE ON checkpoint FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        )
    ),
    (
        "journal_no_change",
        "CREATE OR REPLACE FUNCTION stopsign_only_leaf() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    ),
]


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    """Return an engine of the test's database."""
    opened = db.connect(url)
    yield opened
    opened.dispose()


async def filled(spine: Room) -> None:
    """Put sequenced and unsequenced entries into the journal, and a row into each other table."""
    await spine.receive(alert(signer="s01"))
    await sequence(spine)
    await spine.receive(alert(signer="s02"))
    anchored = Anchored(anchor="tsa", kind="rfc3161", size=1, note="n", at=1.0, proof=b"p")
    await spine.database.writer.do(lambda connection: anchors.add(connection, anchored))


def contents(connection: Connection) -> list[list[object]]:
    """Return everything that is held."""
    return [list(connection.execute(text(f"SELECT * FROM {table} ORDER BY 1"))) for table in held.TABLES]


async def test_nothing_but_a_leaf_is_ever_changed(spine: Room) -> None:
    await filled(spine)
    before = await spine.database.reading(contents)
    assert all(before)
    own = ON_SQLITE if spine.database.engine.dialect.name == "sqlite" else ON_POSTGRESQL
    for statement in [*FORBIDDEN, *own]:
        with pytest.raises(IntegrityError, match="append-only"):
            await spine.database.writer.do(lambda c, s=statement: c.exec_driver_sql(s))  # type: ignore[misc]
    assert await spine.database.reading(contents) == before
    assert await sequence(spine) > 0


def test_who_migrated_has_all_triggers(engine: Engine, url: str) -> None:
    assert db.unheld(engine) == []
    assert db.migrate(url) == db.newest(url)


def _do(engine: Engine, *statements: str) -> None:
    with engine.connect() as connection, connection.begin():
        for statement in statements:
            connection.exec_driver_sql(statement)


def _assert_told_and_restored(engine: Engine, url: str, name: str) -> None:
    assert name in db.unheld(engine)
    with pytest.raises(Misconfigured, match=name):
        db.migrate(url)
    assert name in db.restore(engine)
    assert db.unheld(engine) == []
    assert db.restore(engine) == []


@pytest.mark.parametrize("name", sorted(held.names("sqlite")))
def test_a_trigger_that_is_missing_on_sqlite_is_named(sqlite_url: str, name: str) -> None:
    engine = db.connect(sqlite_url)
    _do(engine, f"DROP TRIGGER {name}")
    assert db.unheld(engine) == [name]
    _assert_told_and_restored(engine, sqlite_url, name)
    engine.dispose()


@pytest.mark.parametrize("name", sorted(ALTERED_ON_SQLITE))
def test_a_trigger_that_was_altered_on_sqlite_is_named(sqlite_url: str, name: str) -> None:
    engine = db.connect(sqlite_url)
    _do(engine, f"DROP TRIGGER {name}", ALTERED_ON_SQLITE[name])
    _assert_told_and_restored(engine, sqlite_url, name)
    engine.dispose()


@pytest.mark.peer("postgresql")
@pytest.mark.parametrize("name", sorted(held.names("postgresql")))
def test_a_trigger_that_is_missing_on_postgresql_is_named(postgresql_url: str, name: str) -> None:
    engine = db.connect(postgresql_url)
    _do(engine, f"DROP TRIGGER {name} ON {name.partition('_')[0]}")
    assert db.unheld(engine) == [name]
    _assert_told_and_restored(engine, postgresql_url, name)
    engine.dispose()


@pytest.mark.peer("postgresql")
@pytest.mark.parametrize(("name", "statement"), ALTERED_ON_POSTGRESQL, ids=range(len(ALTERED_ON_POSTGRESQL)))
def test_a_trigger_that_was_altered_on_postgresql_is_named(postgresql_url: str, name: str, statement: str) -> None:
    engine = db.connect(postgresql_url)
    _do(engine, statement)
    _assert_told_and_restored(engine, postgresql_url, name)
    engine.dispose()


@pytest.mark.peer("postgresql")
def test_a_function_that_was_altered_takes_all_its_triggers_with_it(postgresql_url: str) -> None:
    engine = db.connect(postgresql_url)
    body = "CREATE OR REPLACE FUNCTION stopsign_refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END'"
    _do(engine, body)
    assert set(db.unheld(engine)) == set(held.names("postgresql")) - {"journal_no_change"}
    engine.dispose()
