"""Claims on the work table: implements `ports.Queue`.

Due times are by the process's clock, as they were written. Leases are by the database's clock on PostgreSQL, since the
clocks of several machines differ; on SQLite all processes have one machine's clock.
"""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, TextClause, bindparam, select, text, update

from bot.domain.work import Again, Dead, Done, Result, Work
from bot.store.spelling import CLOCK, POSTGRESQL, SQLITE, clock, storable
from bot.store.transaction import WORK
from bot.store.writer import Writer

_DUE = """
    SELECT w.id FROM work AS w
    WHERE w.state = 'ready' AND w.due_at <= :now AND (w.lease_until IS NULL OR w.lease_until <= {clock})
      AND w.kind IN :kinds AND (CAST(:incident AS INTEGER) IS NULL OR w.incident = :incident)
      AND (w.lane IS NULL OR NOT EXISTS (
          SELECT 1 FROM work AS o WHERE o.state = 'ready' AND o.lane = w.lane AND o.id < w.id))
    ORDER BY w.priority, w.due_at, w.id LIMIT :most"""
_LEASED = "RETURNING work.id, key, kind, body, incident, fence, attempts, due_at"


def _claim(statement: str) -> TextClause:
    return text(statement).bindparams(bindparam("kinds", expanding=True))


_CLAIM = {
    SQLITE: _claim(
        f"""
        UPDATE work SET lease_until = :now + :lease, fence = fence + 1, attempts = attempts + 1
        WHERE id IN ({_DUE.format(clock=":now")}) {_LEASED}
        """  # noqa: S608 - nothing in it comes from outside
    ),
    # Materialized: else the planner may run it more than once, and lease more than `most`.
    POSTGRESQL: _claim(
        f"""
        WITH due AS MATERIALIZED ({_DUE.format(clock=CLOCK[POSTGRESQL])} FOR UPDATE SKIP LOCKED)
        UPDATE work SET lease_until = {CLOCK[POSTGRESQL]} + :lease, fence = fence + 1, attempts = attempts + 1
        FROM due WHERE work.id = due.id {_LEASED}
        """  # noqa: S608
    ),
}


class Claims:
    """Leases rows and records their outcomes under the fence that the lease gave."""

    def __init__(self, writer: Writer, *, now: Callable[[], datetime]) -> None:
        self._writer = writer
        self._now = now

    async def claim(
        self, kinds: Sequence[str], *, limit: int, lease: timedelta, incident: int | None = None
    ) -> tuple[Work, ...]:
        """Lease at most `limit` due rows of `kinds`; of each lane only the oldest unfinished one."""
        now = self._now()
        values = {
            "lease": lease.total_seconds(),
            "now": now.timestamp(),
            "kinds": list(kinds),
            "incident": incident,
            "most": limit,
        }

        def act(connection: Connection) -> tuple[Work, ...]:
            return tuple(_work(row) for row in connection.execute(_CLAIM[connection.dialect.name], values))

        found = await self._writer.do(act, soon=True)
        return tuple(sorted(found, key=lambda work: (work.due, work.id)))

    async def finish(self, work: Work, result: Result) -> bool:
        """Record a result; False when another worker holds the row by now."""
        match result:
            case Done(note=note):
                values: dict[str, Any] = {"state": "done", "outcome": storable(note), "lease_until": None}
            case Dead(why=why):
                values = {"state": "dead", "outcome": storable(why), "lease_until": None}
            case Again(at=at, body=body):
                values = {"due_at": at.timestamp(), "lease_until": None, "attempts": 0}
                if body is not None:
                    values["body"] = json.dumps(dict(body))
        return await self._held(work, values)

    async def retry(self, work: Work, *, at: datetime, error: str) -> bool:
        """Give failed work back; its attempts stay counted."""
        return await self._held(work, {"due_at": at.timestamp(), "lease_until": None, "outcome": storable(error)})

    async def extend(self, work: Work, lease: timedelta) -> bool:
        """Renew a lease."""
        now: Any = clock() if self._writer.dialect == POSTGRESQL else self._now().timestamp()
        return await self._held(work, {"lease_until": now + lease.total_seconds()})

    async def next_due(self) -> datetime | None:
        """Return when the next row that nobody holds falls due."""

        def act(connection: Connection) -> float | None:
            query = select(WORK.c.due_at).where(WORK.c.state == "ready", WORK.c.lease_until.is_(None))
            due: float | None = connection.execute(query.order_by(WORK.c.due_at).limit(1)).scalar()
            return due

        due = await self._writer.do(act)
        return datetime.fromtimestamp(due, UTC) if due is not None else None

    async def _held(self, work: Work, values: dict[str, Any]) -> bool:
        ours = (
            (WORK.c.id == work.id)
            & (WORK.c.fence == work.fence)
            & (WORK.c.state == "ready")
            & WORK.c.lease_until.is_not(None)
        )

        def act(connection: Connection) -> bool:
            return connection.execute(update(WORK).where(ours).values(values)).rowcount == 1

        return await self._writer.do(act)


def _work(row: Any) -> Work:
    return Work(
        id=row.id,
        key=row.key,
        kind=row.kind,
        body=json.loads(row.body),
        incident=row.incident,
        fence=row.fence,
        attempt=row.attempts,
        due=datetime.fromtimestamp(row.due_at, UTC),
    )
