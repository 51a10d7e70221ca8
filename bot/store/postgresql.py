"""PostgreSQL: many processes, and still one decision after the other (decision 0010).

Each writing transaction begins with one lock that is the whole database's, as BEGIN IMMEDIATE is on SQLite.
"""

import time
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from bot.errors import Misconfigured, NotCommitted

WRITING, SEQUENCING = 0x53544F50_00000001, 0x53544F50_00000002
"""Advisory locks: the first half says "STOP"."""
PATIENCE = {
    "connect_timeout": "5",
    "keepalives_idle": "5",
    "keepalives_interval": "2",
    "keepalives_count": "3",
    "tcp_user_timeout": "10000",
}
"""libpq's settings by which a server that vanished is noticed in about ten seconds, unless the URL says otherwise."""
SETTLED_WITHIN = 20.0
"""Seconds in which we try to learn what became of a commit whose answer was lost."""
PAUSE = 0.25

# No transaction waits for the lock for more than five seconds, nor holds it for more than fifteen while its process
# stands still or its machine is gone. Never in one statement with a query: its snapshot would be older than the lock.
_BEGIN = f"""
SET LOCAL lock_timeout = '5s'; SET LOCAL idle_in_transaction_session_timeout = '15s';
SELECT pg_advisory_xact_lock({WRITING})
"""
_DURABLE = """
SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'
"""
_AGAIN = ("40", "57P", "08")
"""SQLSTATE of what passes: serialization and deadlocks, a server that restarts, connections that broke."""
_LOST = (*_AGAIN, "25P", "53", "55P03", "57", "58", "XX")
"""SQLSTATE of what takes a whole transaction down, or should: also time limits, full disks, broken files."""


def connect(url: URL, *, connections: int) -> Engine:
    """Return an engine whose writing transactions follow one another in all processes; others only read.

    Raises Misconfigured when psycopg is not installed.
    """
    arguments = {name: value for name, value in PATIENCE.items() if name not in url.query}
    try:
        engine = create_engine(
            url.set(drivername="postgresql+psycopg"),
            connect_args={"application_name": "stopsign", **arguments, **url.query},
            pool_size=connections,
            pool_pre_ping=True,
        )
        from psycopg import IsolationLevel
    except ImportError as error:
        sentence = (
            f"STOPSIGN_DATABASE_URL: names PostgreSQL, which needs psycopg ({error}): install stopsign[postgresql]"
        )
        raise Misconfigured([sentence]) from error

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        connection.execute(_DURABLE)
        connection.commit()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        raw: Any = connection.connection.driver_connection
        reading = bool(connection.get_execution_options().get("reading"))
        if raw.read_only is not reading:
            raw.isolation_level = IsolationLevel.REPEATABLE_READ if reading else IsolationLevel.READ_COMMITTED
            raw.read_only = reading
        if not reading:
            connection.exec_driver_sql(_BEGIN)

    return engine


class Commits:
    """What a commit on PostgreSQL is: its answer can be lost on the way, and then it is asked for."""

    def mark(self, connection: Connection) -> int:
        """Return nothing of use: the transaction's number says later whether anything was written."""
        return 0

    def receipt(self, connection: Connection, mark: int) -> str | None:
        """Return the transaction's number when it has written anything, else None."""
        number: str | None = connection.exec_driver_sql("SELECT pg_current_xact_id_if_assigned()::text").scalar()
        return number

    def stands(self, engine: Engine, receipt: str) -> bool:
        """Tell whether the transaction with this number was committed, though nobody answered.

        Raises NotCommitted when that cannot be learnt.
        """
        end = time.monotonic() + SETTLED_WITHIN
        while time.monotonic() < end:
            try:
                with engine.connect().execution_options(reading=True) as connection, connection.begin():
                    asked = "SELECT pg_xact_status(%s::xid8)"
                    status = connection.exec_driver_sql(asked, (receipt,)).scalar()
            except DBAPIError:
                status = "in progress"
            if status != "in progress":
                return bool(status == "committed")
            time.sleep(PAUSE)
        raise NotCommitted(
            "the database was lost while it committed, and does not answer: whether this is stored is not known"
        )

    def lost(self, error: DBAPIError) -> bool:
        """Tell whether the whole transaction is lost, not only one statement (constraint, trigger)."""
        return error.connection_invalidated or _state(error).startswith(_LOST)

    def passes(self, error: Exception) -> bool:
        """Tell whether the same acts may succeed a moment later: after a deadlock, or over another connection."""
        return isinstance(error, DBAPIError) and (error.connection_invalidated or _state(error).startswith(_AGAIN))


def _state(error: DBAPIError) -> str:
    """Return the SQLSTATE: where nobody answered, a broken connection's; of what was never sent, a bad value's."""
    unanswered = isinstance(error, OperationalError | InterfaceError)
    return getattr(error.orig, "sqlstate", None) or ("08" if unanswered else "22")
