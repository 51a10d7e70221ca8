"""The database as a whole: opens it, migrates it, runs transactions; implements `ports.Store`."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from alembic import command
from alembic.config import Config as AlembicConfig
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, make_url
from sqlalchemy.exc import ArgumentError, OperationalError

from bot.errors import Misconfigured, NotCommitted
from bot.ports import Rows
from bot.store import held, postgresql, sqlite
from bot.store.spelling import SQLITE
from bot.store.transaction import Changed, Transaction
from bot.store.writer import Writer

T = TypeVar("T")
READERS = 4
"""Threads that read, and connections: what is slow elsewhere (the vault's disk) never keeps a reader waiting."""


def connect(url: str) -> Engine:
    """Return an engine for `sqlite:///…` or `postgresql://…` (also `postgres://` and `postgresql+psycopg://`).

    On both, a transaction that writes holds off all others that write, in every process, from its beginning; with the
    execution option `reading` it sees one consistent state and waits for nobody.
    Raises Misconfigured for any other database, and when the driver is not installed.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise Misconfigured(["STOPSIGN_DATABASE_URL: is not a URL like postgresql://user@host/name"]) from error
    if parsed.drivername == "sqlite":
        return sqlite.connect(parsed, connections=READERS + 1)
    if parsed.drivername in {"postgresql", "postgres", "postgresql+psycopg"}:
        return postgresql.connect(parsed, connections=READERS + 1)
    raise Misconfigured(
        [f"STOPSIGN_DATABASE_URL: must begin with sqlite:/// or postgresql://, not {parsed.drivername}:"]
    )


class Database:
    """Transactions for the ledger. `committed` is called after each commit, from the writer's thread."""

    def __init__(self, engine: Engine, *, now: Callable[[], datetime], salt: Callable[[], bytes]) -> None:
        self.engine = engine
        self._now = now
        self._salt = salt
        self._listeners: list[Callable[[], None]] = []
        self._changed = Changed()
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="stopsign-reader")
        commits = sqlite.Commits() if engine.dialect.name == SQLITE else postgresql.Commits()
        self.writer = Writer(engine, commits=commits, committed=self._committed, batch=self._changed)

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
            with _reading(self.engine) as connection:
                return act(connection)

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
    """Bring the database to the newest schema and return its revision; existing data stays.

    Raises NotCommitted when the database does not answer, Misconfigured when the log is not held append-only then.
    """
    with _answering():
        command.upgrade(_alembic(url), "head")
    engine = connect(url)
    try:
        if missing := unheld(engine):
            raise Misconfigured([f"the database does not hold the log append-only: {sentence_of(missing)}"])
    finally:
        engine.dispose()
    return newest(url)


def unheld(engine: Engine) -> list[str]:
    """Return the names of the triggers that hold the log append-only and are missing, disabled or altered."""
    with _reading(engine) as connection:
        return held.unheld(connection)


def sentence_of(missing: Sequence[str]) -> str:
    """Return what to say of triggers that do not stand, and what to do."""
    are = "is missing, disabled or altered" if len(missing) == 1 else "are missing, disabled or altered"
    todo = "check what is there with `stopsign evidence verify`, then `stopsign migrate --restore`"
    return f"{', '.join(missing)} {are}: {todo}"


def restore(engine: Engine) -> list[str]:
    """Make all triggers that do not stand anew; return their names. It says nothing about what happened meanwhile."""
    with _answering(), engine.connect() as connection, connection.begin():
        missing = held.unheld(connection)
        if missing:
            held.hold(connection, *held.TABLES)
        return missing


def newest(url: str) -> str:
    """Return the newest revision that this program knows."""
    return ScriptDirectory.from_config(_alembic(url)).get_current_head() or ""


def revision(engine: Engine) -> str | None:
    """Return the database's revision, or None when it was never migrated."""
    with _reading(engine) as connection:
        return MigrationContext.configure(connection).get_current_revision()


@contextmanager
def _reading(engine: Engine) -> Iterator[Connection]:
    """Open a transaction that reads one consistent state; raises NotCommitted when the database does not answer."""
    with _answering(), engine.connect().execution_options(reading=True) as connection, connection.begin():
        yield connection


@contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except OperationalError as error:
        why = str(error.orig).strip().splitlines()[0] if str(error.orig).strip() else type(error.orig).__name__
        raise NotCommitted(f"the database does not answer ({why})") from error
