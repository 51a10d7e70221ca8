"""Migrations: they make exactly the tables that the code knows, on both databases, and leave data alone."""

import json
import subprocess
import sys
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text
from sqlmodel import SQLModel

from bot.store import database as db
from bot.store import sequencer
from bot.store.tables import IncidentRow
from tests.fakes import Room, alert
from tests.processes import ROOT
from tests.store.rooms import assert_whole, room_at, sequence

REVISIONS = ("0001", "0002", "0003", "0004")
LATER = {"0002": {"work": {"since"}}, "0003": {"incident": {"channel"}}}
"""The columns that a revision added."""
TABLES = ("incident", "alert", "journal", "work", "tile", "checkpoint", "setting")


def test_the_migrated_schema_is_the_schema_of_the_code(fresh: str) -> None:
    assert IncidentRow.metadata is SQLModel.metadata
    assert db.migrate(fresh) == db.newest(fresh) == REVISIONS[-1]
    engine = db.connect(fresh)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), SQLModel.metadata) == []
    engine.dispose()


async def test_migrating_again_with_data_in_it_changes_nothing(spine: Room, url: str) -> None:
    await spine.receive(alert(signer="s01"))
    before = await spine.journal()
    db.migrate(url)
    assert await spine.journal() == before


def test_a_database_that_was_never_migrated_has_no_revision(fresh: str) -> None:
    engine = db.connect(fresh)
    assert db.revision(engine) is None
    engine.dispose()


def rows_of(connection: Connection) -> dict[str, list[dict[str, Any]]]:
    """Return all rows of all tables."""
    every = {t: connection.execute(text(f'SELECT * FROM "{t}" ORDER BY 1, 2')).mappings() for t in TABLES}
    return {table: [dict(row) for row in rows] for table, rows in every.items()}


def put(connection: Connection, rows: dict[str, list[dict[str, Any]]], without: dict[str, set[str]]) -> None:
    """Write rows into an older schema, which has not all of the columns."""
    for table, found in rows.items():
        for row in found:
            kept = {name: value for name, value in row.items() if name not in without.get(table, set())}
            columns, values = ", ".join(f'"{c}"' for c in kept), ", ".join(f":{c}" for c in kept)
            connection.execute(text(f'INSERT INTO "{table}" ({columns}) VALUES ({values})'), kept)


@pytest.mark.parametrize("revision", REVISIONS)
async def test_a_database_of_each_earlier_revision_keeps_its_data_and_goes_on(
    spine: Room, fresh_too: str, revision: str
) -> None:
    await spine.receive(alert(signer="s01"), alert("NodeDown", signer="s02"))
    await sequence(spine)
    rows = await spine.database.reading(rows_of)
    assert all(rows[table] for table in TABLES if table != "setting")
    bodies = [row["body"] for row in rows["incident"]]
    for row in rows["incident"]:
        row["body"] = json.dumps({**json.loads(row["body"]), "channel": f"C{row['id']}"})
    command.upgrade(db._alembic(fresh_too), revision)
    missing = {t: c for later, tables in LATER.items() if later > revision for t, c in tables.items()}
    engine = db.connect(fresh_too)
    with engine.connect() as connection, connection.begin():
        put(connection, rows, missing)
        if spine.database.engine.dialect.name == "postgresql":  # ids were written by hand: the next ones follow them
            for table in ("journal", "work"):
                connection.execute(text(f"SELECT setval('{table}_id_seq', (SELECT max(id) FROM {table}))"))
    assert db.revision(engine) == revision
    engine.dispose()
    assert db.migrate(fresh_too) == REVISIONS[-1]
    async with room_at(fresh_too, clock=spine.clock) as later:
        after = await later.database.reading(rows_of)
        assert after["journal"] == rows["journal"]
        assert after["checkpoint"] == rows["checkpoint"]
        if "incident" in missing:
            assert [row["channel"] for row in after["incident"]] == [f"C{row['id']}" for row in rows["incident"]]
        if "work" in missing:
            assert {row["since"] == row["due_at"] for row in after["work"] if row["state"] == "ready"} == {True}
        with later.database.engine.connect() as connection, connection.begin():
            for row, body in zip(rows["incident"], bodies, strict=True):
                connection.execute(
                    text("UPDATE incident SET body = :body WHERE id = :id"), {"body": body, "id": row["id"]}
                )
        await later.receive(alert("NodeDown", signer="s03"))
        await sequence(later)
        assert await assert_whole(later) > len(rows["journal"])
        assert await later.database.reading(lambda c: len(sequencer.checkpoints(c))) == 2
        assert len(await later.due(*{row["kind"] for row in after["work"]})) >= 1


def test_replicas_that_migrate_at_once_do_it_once(fresh: str) -> None:
    code = f"from bot.store import database as db; print(db.migrate({fresh!r}))"
    command_line = [sys.executable, "-c", code]
    replicas = [
        subprocess.Popen(command_line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for _ in range(3)
    ]
    assert [replica.communicate(timeout=60)[0] for replica in replicas] == [f"{REVISIONS[-1]}\n"] * 3
