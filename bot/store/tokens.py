"""API tokens (hashed) and figures about the tables: implements `ports.Tokens`."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection, Select, Table, func, insert, select, update

from bot.store.database import Database
from bot.store.spelling import clock
from bot.store.tables import TokenRow
from bot.store.transaction import INCIDENT, JOURNAL, WORK, Transaction

TOKEN: Table = TokenRow.__table__  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A token as listed: never the token itself."""

    hash: str
    person: str
    expires_at: float
    revoked: bool


class TokenTable:
    """Tokens of persons. Times are seconds since the epoch."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def issue(self, token_hash: str, person: str, *, now: float, lives: float) -> None:
        """Store a new token's hash."""
        row = {"hash": token_hash, "person": person, "issued_at": now, "expires_at": now + lives}
        await self._database.writer.do(lambda connection: connection.execute(insert(TOKEN).values(row)) and None)

    async def revoke(self, person: str, *, now: float) -> int:
        """Revoke all valid tokens of a person; return how many."""
        valid = update(TOKEN).where(TOKEN.c.person == person, TOKEN.c.revoked_at.is_(None)).values(revoked_at=now)
        return await self._database.writer.do(lambda connection: connection.execute(valid).rowcount)

    async def listed(self) -> tuple[Issued, ...]:
        """Return all tokens, newest first."""

        def act(connection: Connection) -> tuple[Issued, ...]:
            rows = connection.execute(select(TOKEN).order_by(TOKEN.c.issued_at.desc()))
            return tuple(
                Issued(hash=r.hash, person=r.person, expires_at=r.expires_at, revoked=r.revoked_at is not None)
                for r in rows
            )

        return await self._database.reading(act)

    async def person_of(self, token_hash: str, now: float) -> str | None:
        """Return whose valid token this is."""
        valid = (TOKEN.c.hash == token_hash) & (TOKEN.c.expires_at > now) & TOKEN.c.revoked_at.is_(None)

        def act(connection: Connection) -> str | None:
            person: str | None = connection.execute(select(TOKEN.c.person).where(valid)).scalar()
            return person

        return await self._database.reading(act)

    async def stats(self) -> Mapping[str, float]:
        """Return figures for /metrics."""

        def act(connection: Connection) -> Mapping[str, float]:
            ready = WORK.c.state == "ready"
            oldest = connection.execute(
                select(func.min(WORK.c.due_at)).where(ready, WORK.c.lease_until.is_(None))
            ).scalar()
            now = connection.execute(select(clock())).scalar_one()
            moment = datetime.fromtimestamp(now, UTC)
            outbox = Transaction(connection, now=lambda: moment, salt=bytes).backlog(moment)
            return {
                "stopsign_outbox_waiting": float(outbox.waiting),
                "stopsign_outbox_oldest_seconds": outbox.age(moment).total_seconds(),
                "stopsign_incidents_live": _count(
                    connection, select(func.count()).select_from(INCIDENT).where(INCIDENT.c.live)
                ),
                "stopsign_incidents_total": _count(connection, select(func.count()).select_from(INCIDENT)),
                "stopsign_work_ready": _count(connection, select(func.count()).select_from(WORK).where(ready)),
                "stopsign_work_dead": _count(
                    connection, select(func.count()).select_from(WORK).where(WORK.c.state == "dead")
                ),
                "stopsign_work_overdue_seconds": max(0.0, now - oldest) if oldest else 0.0,
                "stopsign_journal_unsequenced": _count(
                    connection, select(func.count()).select_from(JOURNAL).where(JOURNAL.c.leaf.is_(None))
                ),
            }

        return await self._database.reading(act)


def _count(connection: Connection, query: Select[int]) -> float:
    return float(connection.execute(query).scalar() or 0)
