"""Migrations: they make exactly the tables that the code knows, and leave data alone."""

from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlmodel import SQLModel

from bot.store import database as db
from bot.store.tables import IncidentRow
from tests.fakes import alert, room


def test_the_migrated_schema_is_the_schema_of_the_code(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'stopsign.db'}"
    assert IncidentRow.metadata is SQLModel.metadata
    assert db.migrate(url) == db.newest(url)
    engine = db.connect(url)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), SQLModel.metadata) == []
    engine.dispose()


async def test_migrating_again_with_data_in_it_changes_nothing(tmp_path: Path) -> None:
    async with room(tmp_path) as spine:
        await spine.receive(alert(signer="s01"))
        before = await spine.journal()
        db.migrate(f"sqlite:///{tmp_path / 'stopsign.db'}")
        assert await spine.journal() == before


def test_a_database_that_was_never_migrated_has_no_revision(tmp_path: Path) -> None:
    engine = db.connect(f"sqlite:///{tmp_path / 'new.db'}")
    assert db.revision(engine) is None
    engine.dispose()
