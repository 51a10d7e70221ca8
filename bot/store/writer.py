"""The writer thread: the only place of this process that writes to the database.

Acts that arrive while one commit is under way are run together, each in its own savepoint, and committed once. An act
that raises takes only its own savepoint down. Nobody's answer leaves before the commit. A batch that a deadlock or a
broken connection took down is run again from scratch, so an act does nothing but with its connection.
"""

import asyncio
import itertools
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from bot.errors import NotCommitted

T = TypeVar("T")
MOST_IN_A_BATCH = 24
"""More would save a little, and let everybody wait for all of it."""
TRIES = 4
"""So often a batch is run; the pauses between are short, since everybody waits."""
PAUSE = 0.05
_SOON, _LATER, _END = 0, 1, 2


class Commits(Protocol):
    """What a commit is on one kind of database (`sqlite.py`, `postgresql.py`)."""

    def mark(self, connection: Connection) -> int:
        """Return where the transaction begins."""
        ...

    def receipt(self, connection: Connection, mark: int) -> str | None:
        """Return what names this transaction when it has written anything since `mark`, else None."""
        ...

    def stands(self, engine: Engine, receipt: str) -> bool:
        """Tell whether a transaction was committed though its commit failed; raises NotCommitted if nobody knows."""
        ...

    def lost(self, error: DBAPIError) -> bool:
        """Tell whether the whole transaction is lost, not only one statement."""
        ...

    def passes(self, error: Exception) -> bool:
        """Tell whether the same acts may succeed a moment later."""
        ...


class Batch:
    """What the acts of one batch hold back, to be written once when it ends."""

    def flush(self, connection: Connection) -> None:
        """Write it."""

    def forget(self) -> None:
        """Drop it: nothing of the batch is stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ran:
    """What a batch came to: an answer or a failure for each, and whether it changed anything."""

    answers: list[tuple[Future[Any], Any]] = field(default_factory=list)
    failures: list[tuple[Future[Any], BaseException]] = field(default_factory=list)
    receipt: str | None = None


_Acts = list[tuple[Callable[[Connection], Any], Future[Any]]]


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

    def __init__(
        self, engine: Engine, *, commits: Commits, committed: Callable[[], None], batch: Batch | None = None
    ) -> None:
        self.dialect = engine.dialect.name
        self._engine = engine
        self._commits = commits
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
            batch: _Acts = [
                (a.act, a.future) for a in asked if a.rank != _END and a.future.set_running_or_notify_cancel()
            ]
            self._commit(batch)
            if asked[-1].rank == _END:
                return

    def _commit(self, batch: _Acts) -> None:
        if not batch:
            return
        try:
            ran = self._insist(batch)
        except Exception as error:  # noqa: BLE001 - whatever it was, nothing of this batch is stored: say so to each
            sentence = f"the database could not commit ({type(error).__name__}: {str(error).splitlines()[0]})"
            told = error if isinstance(error, NotCommitted) else NotCommitted(sentence)
            for _, future in batch:
                future.set_exception(told)
            return
        for future, failure in ran.failures:
            future.set_exception(failure)
        for future, value in ran.answers:
            future.set_result(value)
        if ran.receipt is not None:  # an empty claim is no news: announcing it would wake the worker to claim, for ever
            self._committed()

    def _insist(self, batch: _Acts) -> _Ran:
        """Run the batch, again when what stopped it passes."""
        for pause in range(1, TRIES):
            try:
                return self._once(batch)
            except Exception as error:
                if not self._commits.passes(error):
                    raise
                time.sleep(PAUSE * pause)
        return self._once(batch)

    def _once(self, batch: _Acts) -> _Ran:
        """Run the acts in one transaction and commit it."""
        with self._engine.connect() as connection:
            try:
                transaction = connection.begin()
                ran = self._run_all(connection, batch)
                try:
                    transaction.commit()
                except DBAPIError:
                    if ran.receipt is None or not self._commits.stands(self._engine, ran.receipt):
                        raise
                return ran
            except BaseException:
                self._batch.forget()
                raise

    def _run_all(self, connection: Connection, batch: _Acts) -> _Ran:
        ran, mark = _Ran(), self._commits.mark(connection)
        for act, future in batch:
            try:
                ran.answers.append((future, _apart(connection, act)))
            except DBAPIError as error:
                if self._commits.lost(error):
                    raise
                ran.failures.append((future, error))
            except Exception as error:  # noqa: BLE001 - the act's own answer, handed to whoever asked
                ran.failures.append((future, error))
        self._batch.flush(connection)
        return replace(ran, receipt=self._commits.receipt(connection, mark))


def _apart(connection: Connection, act: Callable[[Connection], T]) -> T:
    """Run `act` in a savepoint of its own: when it raises, nothing of it stays, and the others are untouched.

    By hand, since SQLAlchemy's own savepoint objects cost more than the savepoint.
    """
    connection.exec_driver_sql("SAVEPOINT act")
    try:
        value = act(connection)
    except BaseException:
        if connection.invalidated:  # there is no transaction any more, and nobody to say so to
            raise
        connection.exec_driver_sql("ROLLBACK TO act")
        connection.exec_driver_sql("RELEASE act")
        raise
    connection.exec_driver_sql("RELEASE act")
    return value
