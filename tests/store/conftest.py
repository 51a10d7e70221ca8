"""Every test of the store that takes `url` or `spine` runs on SQLite and on PostgreSQL."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from bot.store import database as db
from tests.fakes import Room
from tests.store.rooms import room_at
from tests.store.servers import TEMPLATE, Server, postgresql

BOTH = ["sqlite", pytest.param("postgresql", marks=pytest.mark.peer("postgresql"))]


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """Return a PostgreSQL for all tests of this process, with a migrated database to copy."""
    with postgresql() as running:
        running.do(f"CREATE DATABASE {TEMPLATE}")
        db.migrate(running.url(TEMPLATE))
        yield running


@pytest.fixture(params=BOTH)
def fresh(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of an empty database that was never migrated."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'stopsign.db'}"
    running: Server = request.getfixturevalue("server")
    return running.new()


@pytest.fixture
def fresh_too(url: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of another empty database of the same kind as `url`."""
    if url.startswith("sqlite"):
        return f"sqlite:///{tmp_path / 'other.db'}"
    running: Server = request.getfixturevalue("server")
    return running.new()


@pytest.fixture(params=BOTH)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of a migrated database with nothing in it."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'stopsign.db'}"
        db.migrate(url)
        return url
    running: Server = request.getfixturevalue("server")
    return running.new(TEMPLATE)


@pytest_asyncio.fixture
async def spine(url: str) -> AsyncIterator[Room]:
    """Return an incident room on a migrated database."""
    async with room_at(url) as opened:
        yield opened


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """Return the URL of a migrated SQLite file."""
    url = f"sqlite:///{tmp_path / 'stopsign.db'}"
    db.migrate(url)
    return url


@pytest.fixture
def postgresql_url(server: Server) -> str:
    """Return the URL of a migrated database on PostgreSQL."""
    return server.new(TEMPLATE)
