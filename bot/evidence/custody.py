"""Reading, expiring, rotating: what a person does to the vault, written down before it is done."""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import BinaryIO

from sqlalchemy import Connection, select

from bot.app import App
from bot.domain import journal as j
from bot.domain.authority import Actor
from bot.domain.incident import Incident
from bot.errors import NotFound, Refused
from bot.flows import custody
from bot.flows.book import authorise
from bot.store import codec
from bot.store.transaction import JOURNAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Old:
    """An item whose time is over: nothing forbids to remove its content."""

    incident: int
    item: str
    what: str
    sha256: str
    size: int
    since: datetime


def content_of(app: App, item: j.EvidenceKept) -> BinaryIO:
    """Open an item's content for reading; who reads it has been written down by `read`."""
    return app.blobs.open(item.sha256)


async def read(app: App, incident: int, item: str, *, by: Actor, reason: str) -> j.EvidenceKept:
    """Write down who reads an item and why; return its custody. Raises Refused, Invalid or NotFound."""
    return await app.ledger.decide(custody.read, custody.Read(by=by, incident=incident, item=item, reason=reason))


async def old(app: App) -> list[Old]:
    """Return the items whose content may be removed, oldest first."""
    before = app.ledger.clock.now() - app.config.policy.evidence.retention

    def act(connection: Connection) -> list[Old]:
        kept, gone = _standing(connection)
        last: dict[tuple[int, str], datetime] = {}
        for number, at, e in kept:
            last[number, e.sha256] = max(at, last.get((number, e.sha256), at))
        return [
            Old(incident=number, item=e.item, what=e.what, sha256=e.sha256, size=e.size, since=at)
            for number, at, e in kept
            if (number, e.item) not in gone and last[number, e.sha256] <= before
        ]

    found = await app.database.reading(act)
    ready: set[int] = set()
    for number in {one.incident for one in found}:
        incident = await _incident(app, number)
        if incident is not None and not incident.hold and not incident.status.live:
            ready.add(number)
    return [one for one in found if one.incident in ready]


async def _incident(app: App, number: int) -> Incident | None:
    return await app.ledger.read(lambda rows: rows.incident(number))


async def expire(app: App, items: list[Old], *, by: Actor, reason: str) -> int:
    """Let items expire; return how many contents were removed.

    The record comes first. A content that another record still names, or that the store still locks, stays; what an
    earlier try has left behind goes too. Raises what the first refusal says, once everything else is done.
    """
    refused: Refused | None = None
    for one in items:
        command = custody.Expire(by=by, incident=one.incident, item=one.item, reason=reason)
        try:
            await app.ledger.decide(custody.expire, command)
        except Refused as error:
            refused = refused or error
    removed = 0
    for name in await app.database.reading(_let_go):
        try:
            if await asyncio.to_thread(app.blobs.exists, name):
                await asyncio.to_thread(app.blobs.remove, name)
                removed += 1
        except (Refused, NotFound, OSError):
            continue  # locked for longer than our own policy asks, or the store is away: it goes the next time
    if refused is not None:
        raise refused
    return removed


async def hold_contents(app: App, incident: int, *, on: bool) -> None:
    """Place or lift the hold at the store of contents too, where that can lock them.

    A content that another incident under hold names as well stays held.
    """
    kept, _ = await app.database.reading(_standing)
    wanted = {e.sha256 for number, _, e in kept if number == incident}
    if not on:
        for number in {number for number, _, e in kept if number != incident and e.sha256 in wanted}:
            other = await _incident(app, number)
            if other is not None and other.hold:
                wanted -= {e.sha256 for n, _, e in kept if n == number}
    for name in sorted(wanted):
        if await asyncio.to_thread(app.blobs.exists, name):
            await asyncio.to_thread(app.blobs.hold, name, on)


async def rotate(app: App, *, by: Actor, reason: str) -> str:
    """Give the log a new key; return its verifier key. The next checkpoint bears both signatures."""
    was = app.keys.key.encode()
    authorise(custody.RotateKey(by=by, reason=reason, was=was, now=""), app.config)  # before a key is made
    now = app.keys.successor().encode()
    await app.ledger.decide(custody.rotate_key, custody.RotateKey(by=by, reason=reason, was=was, now=now))
    while await app.sequence():
        pass
    return now


def _standing(connection: Connection) -> tuple[list[tuple[int, datetime, j.EvidenceKept]], set[tuple[int, str]]]:
    """Return what was kept (incident, when, what), and which items (incident, id) have expired since."""
    kept: list[tuple[int, datetime, j.EvidenceKept]] = []
    gone: set[tuple[int, str]] = set()
    kinds = JOURNAL.c.kind.in_(("EvidenceKept", "EvidenceExpired"))
    for row in connection.execute(select(JOURNAL).where(kinds).order_by(JOURNAL.c.id)):
        written = codec.written_of(row)
        e, number = written.entry, written.incident or 0
        if isinstance(e, j.EvidenceKept):
            kept.append((number, written.at, e))
        elif isinstance(e, j.EvidenceExpired):
            gone.add((number, e.item))
    return kept, gone


def _let_go(connection: Connection) -> list[str]:
    """Return the hashes of contents all of whose items have expired."""
    kept, gone = _standing(connection)
    named = {e.sha256 for number, _, e in kept if (number, e.item) not in gone}
    return sorted({e.sha256 for _, _, e in kept} - named)


def removable(retention: timedelta) -> str:
    """Return the rule in words."""
    return f"older than {retention.days} days, of an incident that is resolved and under no legal hold"
