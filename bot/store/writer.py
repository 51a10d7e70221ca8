"""The writer thread: the only place that writes to SQLite.

Acts that arrive while one commit is under way are run together, each in its own savepoint, and committed once
(synchronous=FULL). An act that raises takes only its own savepoint down. Nobody's answer leaves before the commit.
"""

import asyncio
import itertools
import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from bot.errors import NotCommitted

T = TypeVar("T")
MOST_IN_A_BATCH = 24
"""More would save a little, and let everybody wait for all of it."""
_SOON, _LATER, _END = 0, 1, 2


class Batch:
    """What the acts of one batch hold back, to be written once when it ends."""

    def flush(self, connection: Connection) -> None:
        """Write it."""

    def forget(self) -> None:
        """Drop it: nothing of the batch is stored."""


@dataclass(frozen=True, slots=True, order=True, kw_only=True)
class _Asked:
    """One act in the inbox, in the order in which they are run."""

    rank: int
    turn: int
    act: Callable[[Connection], Any] = field(compare=False, default=lambda connection: None)
    future: Future[Any] = field(compare=False, default_factory=Future)


class Writer:
    """Runs acts on one connection of `engine`: those that somebody waits for first, each kind in order of arrival.

    `committed` is called after each commit; what `batch` holds back is written before it.
    """

    def __init__(self, engine: Engine, *, committed: Callable[[], None], batch: Batch | None = None) -> None:
        self._engine = engine
        self._committed = committed
        self._batch = batch or Batch()
        self._inbox: queue.PriorityQueue[_Asked] = queue.PriorityQueue()
        self._turn = itertools.count()
        self._thread = threading.Thread(target=self._run, name="stopsign-writer", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Finish what was asked for, then end the thread."""
        self._inbox.put(_Asked(rank=_END, turn=next(self._turn)))
        self._thread.join(timeout=30)

    async def do(self, act: Callable[[Connection], T], *, soon: bool = False) -> T:
        """Run `act` in a transaction; return its value after the commit. `soon` overtakes what nobody looks at.

        Raises:
            NotCommitted: the database could not begin or commit; nothing was stored.
            Exception: whatever `act` raised; nothing of it was stored.
        """
        future: Future[T] = Future()
        self._inbox.put(_Asked(rank=_SOON if soon else _LATER, turn=next(self._turn), act=act, future=future))
        return await asyncio.wrap_future(future)

    def _run(self) -> None:
        while True:
            asked = [self._inbox.get()]
            while len(asked) < MOST_IN_A_BATCH and not self._inbox.empty() and asked[-1].rank != _END:
                asked.append(self._inbox.get())
            # Who has stopped waiting before we began gets nothing done; from here on nobody can stop waiting.
            batch = [(a.act, a.future) for a in asked if a.rank != _END and a.future.set_running_or_notify_cancel()]
            self._commit(batch)
            if asked[-1].rank == _END:
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
                self._batch.flush(connection)
                changed = _changes(connection) > before
        except Exception as error:  # noqa: BLE001 - whatever it was, nothing of this batch is stored: say so to each
            self._batch.forget()
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
