"""The database as a whole: opens it, migrates it, runs transactions; implements `ports.Store`."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from alembic import command
from alembic.config import Config as AlembicConfig
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import OperationalError

from bot.errors import Misconfigured, NotCommitted
from bot.ports import Rows
from bot.store.transaction import Changed, Transaction
from bot.store.writer import Writer

T = TypeVar("T")
READERS = 4
"""Threads that read, and connections: what is slow elsewhere (the vault's disk) never keeps a reader waiting."""


def connect(url: str) -> Engine:
    """Return an engine for `sqlite:///…`: WAL, synchronous=FULL, foreign keys, five seconds of patience.

    Raises Misconfigured for any other database.
    """
    if not url.startswith("sqlite:///"):
        raise Misconfigured(
            [f"STOPSIGN_DATABASE_URL: only sqlite:///PATH is supported by this version, not {url.split(':')[0]}:"]
        )
    engine = create_engine(url, connect_args={"timeout": 5, "check_same_thread": False}, pool_size=READERS + 1)

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # SQLAlchemy begins; BEGIN IMMEDIATE below
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "busy_timeout=5000"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        reading = connection.get_execution_options().get("reading")
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    return engine


class Database:
    """Transactions for the ledger. `committed` is called after each commit, from the writer's thread."""

    def __init__(self, engine: Engine, *, now: Callable[[], datetime], salt: Callable[[], bytes]) -> None:
        self.engine = engine
        self._now = now
        self._salt = salt
        self._listeners: list[Callable[[], None]] = []
        self._changed = Changed()
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="stopsign-reader")
        self.writer = Writer(engine, committed=self._committed, batch=self._changed)

    def start(self) -> None:
        """Start the writer."""
        self.writer.start()

    def stop(self) -> None:
        """Finish what was asked for and close all connections."""
        self.writer.stop()
        self._readers.shutdown()
        self.engine.dispose()

    def on_commit(self, listener: Callable[[], None]) -> None:
        """Have `listener` called after each commit; it must be quick and thread-safe."""
        self._listeners.append(listener)

    async def write(self, act: Callable[[Rows], T], *, soon: bool = False) -> T:
        """Run `act` in one transaction and commit; `soon` when somebody waits for it."""

        def run(connection: Connection) -> T:
            transaction = Transaction(connection, now=self._now, salt=self._salt, changed=self._changed)
            value = act(transaction)
            transaction.settle()
            return value

        return await self.writer.do(run, soon=soon)

    async def read(self, act: Callable[[Rows], T]) -> T:
        """Run `act` on a consistent reading, in a thread of its own."""
        return await self.reading(lambda connection: act(Transaction(connection, now=self._now, salt=self._salt)))

    async def reading(self, act: Callable[[Connection], T]) -> T:
        """Run `act` on a connection that reads; raises NotCommitted when the database does not answer."""

        def run() -> T:
            try:
                with self.engine.connect().execution_options(reading=True) as connection, connection.begin():
                    return act(connection)
            except OperationalError as error:
                raise NotCommitted(f"the database does not answer ({error.orig})") from error

        return await asyncio.get_running_loop().run_in_executor(self._readers, run)

    def _committed(self) -> None:
        for listener in self._listeners:
            listener()


def _alembic(url: str) -> AlembicConfig:
    config = AlembicConfig()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    return config


def migrate(url: str) -> str:
    """Bring the database to the newest schema and return its revision; existing data stays."""
    command.upgrade(_alembic(url), "head")
    return newest(url)


def newest(url: str) -> str:
    """Return the newest revision that this program knows."""
    return ScriptDirectory.from_config(_alembic(url)).get_current_head() or ""


def revision(engine: Engine) -> str | None:
    """Return the database's revision, or None when it was never migrated."""
    with engine.connect().execution_options(reading=True) as connection, connection.begin():
        return MigrationContext.configure(connection).get_current_revision()
