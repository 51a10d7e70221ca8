"""SQLite: one file, one writer at a time."""

import sqlite3
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError

PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "busy_timeout=5000",
    "recursive_triggers=ON",  # else INSERT OR REPLACE would delete a row of the journal without asking its trigger
)


def connect(url: URL, *, connections: int) -> Engine:
    """Return an engine whose transactions hold the write lock from their beginning, but for those that only read."""
    engine = create_engine(url, connect_args={"timeout": 5, "check_same_thread": False}, pool_size=connections)

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # SQLAlchemy begins; BEGIN IMMEDIATE below
        for pragma in PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        reading = connection.get_execution_options().get("reading")
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    return engine


class Commits:
    """What a commit on SQLite is: it has happened or not, and who waited five seconds for the lock was told."""

    def mark(self, connection: Connection) -> int:
        """Return how many rows this connection has changed since it was opened."""
        raw: sqlite3.Connection = connection.connection.driver_connection  # type: ignore[assignment]
        return raw.total_changes

    def receipt(self, connection: Connection, mark: int) -> str | None:
        """Return something when rows were changed since `mark`, else None."""
        return "changed" if self.mark(connection) > mark else None

    def stands(self, engine: Engine, receipt: str) -> bool:
        """Tell whether a commit that failed is there after all: never."""
        return False

    def lost(self, error: DBAPIError) -> bool:
        """Tell whether the transaction is lost (locked, disk, corruption), not only one statement (constraint)."""
        return type(error.orig).__name__ in {"OperationalError", "DatabaseError", "InternalError"}

    def passes(self, error: Exception) -> bool:
        """Tell whether the same acts may succeed a moment later: SQLite has waited long enough itself."""
        return False
