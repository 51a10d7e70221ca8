"""The writer thread: the only place that writes to SQLite.

Acts that arrive while one commit is under way are run together, each in its own savepoint, and committed once
(synchronous=FULL). An act that raises takes only its own savepoint down. Nobody's answer leaves before the commit.
"""

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from bot.errors import NotCommitted

T = TypeVar("T")
MOST_IN_A_BATCH = 64


class Writer:
    """Runs acts on one connection of `engine`, in order of arrival. `committed` is called after each commit."""

    def __init__(self, engine: Engine, *, committed: Callable[[], None]) -> None:
        self._engine = engine
        self._committed = committed
        self._inbox: queue.SimpleQueue[tuple[Callable[[Connection], Any], Future[Any]] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="stopsign-writer", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Finish what was asked for, then end the thread."""
        self._inbox.put(None)
        self._thread.join(timeout=30)

    async def do(self, act: Callable[[Connection], T]) -> T:
        """Run `act` in a transaction; return its value after the commit.

        Raises:
            NotCommitted: the database could not begin or commit; nothing was stored.
            Exception: whatever `act` raised; nothing of it was stored.
        """
        future: Future[T] = Future()
        self._inbox.put((act, future))
        return await asyncio.wrap_future(future)

    def _run(self) -> None:
        while True:
            first = self._inbox.get()
            if first is None:
                return
            batch = [first]
            ending = False
            while len(batch) < MOST_IN_A_BATCH and not self._inbox.empty():
                more = self._inbox.get()
                if more is None:
                    ending = True
                    break
                batch.append(more)
            # Who has stopped waiting before we began gets nothing done; from here on nobody can stop waiting.
            self._commit([(act, future) for act, future in batch if future.set_running_or_notify_cancel()])
            if ending:
                return

    def _commit(self, batch: list[tuple[Callable[[Connection], Any], Future[Any]]]) -> None:
        if not batch:
            return
        answers: list[tuple[Future[Any], Any]] = []
        failures: list[tuple[Future[Any], BaseException]] = []
        try:
            with self._engine.connect() as connection, connection.begin():
                before = _changes(connection)
                for act, future in batch:
                    try:
                        answers.append((future, _apart(connection, act)))
                    except DBAPIError as error:
                        if not isinstance(error.orig, Exception) or _broken(error):
                            raise
                        failures.append((future, error))
                    except Exception as error:  # noqa: BLE001 - the act's own answer, handed to whoever asked
                        failures.append((future, error))
                changed = _changes(connection) > before
        except Exception as error:  # noqa: BLE001 - whatever it was, nothing of this batch is stored: say so to each
            sentence = f"the database could not commit ({type(error).__name__}: {str(error).splitlines()[0]})"
            for _, future in batch:
                future.set_exception(NotCommitted(sentence))
            return
        for future, failure in failures:
            future.set_exception(failure)
        for future, value in answers:
            future.set_result(value)
        if changed:  # an empty claim is no news: announcing it would wake the worker to claim again, for ever
            self._committed()


def _broken(error: DBAPIError) -> bool:
    """Tell whether the whole transaction is lost (locked, disk, corruption), not only one statement (constraint)."""
    return type(error.orig).__name__ in {"OperationalError", "DatabaseError", "InternalError"}


def _apart(connection: Connection, act: Callable[[Connection], T]) -> T:
    """Run `act` in a savepoint of its own: when it raises, nothing of it stays, and the others are untouched.

    By hand, since SQLAlchemy's own savepoint objects cost more than the savepoint.
    """
    connection.exec_driver_sql("SAVEPOINT act")
    try:
        value = act(connection)
    except BaseException:
        connection.exec_driver_sql("ROLLBACK TO act")
        connection.exec_driver_sql("RELEASE act")
        raise
    connection.exec_driver_sql("RELEASE act")
    return value


def _changes(connection: Connection) -> int:
    """Return how many rows this connection has changed since it was opened."""
    raw: sqlite3.Connection = connection.connection.driver_connection  # type: ignore[assignment]
    return raw.total_changes
