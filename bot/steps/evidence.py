"""Keeping: bytes go to the vault first, then into the journal; only then does an outcome name them."""

import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from bot.domain.authority import BOT, Actor
from bot.domain.journal import EvidenceMissing
from bot.domain.target import Artifact
from bot.domain.work import Work
from bot.flows import record
from bot.ledger import Ledger
from bot.ports import Blobs


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """Where an item comes from and which window it covers."""

    incident: int
    node: str | None
    source: str
    tool: str
    since: datetime | None = None
    until: datetime | None = None
    by: Actor = BOT
    reason: str = ""
    """Who took it into custody, and why, when that was not a step of the bot's own."""


class Keeper:
    """Puts things into the vault and their custody into the journal."""

    def __init__(self, ledger: Ledger, blobs: Blobs) -> None:
        self._ledger = ledger
        self._blobs = blobs

    async def keep(
        self,
        where: Where,
        *,
        what: str,
        media_type: str,
        chunks: AsyncIterator[bytes],
        marks: Callable[[], Mapping[str, str]] | None = None,
        holding: Work | None = None,
    ) -> str:
        """Store a stream and return its item id; raises what `chunks` raises, with nothing journalled.

        `marks` is asked for after the stream has ended; `holding` ties the record to work that is still ours.
        """
        kept = await self._blobs.keep(chunks)
        command = record.Keep(
            by=where.by,
            incident=where.incident,
            sha256=kept.sha256,
            size=kept.size,
            media_type=media_type,
            what=what,
            node=where.node,
            source=where.source,
            tool=where.tool,
            collected_at=self._ledger.clock.now(),
            window_from=where.since,
            window_to=where.until,
            marks=marks() if marks else {},
            reason=where.reason,
        )
        return await self._ledger.decide(record.keep, command, holding=holding)

    async def keep_json(self, where: Where, what: str, value: object) -> str:
        """Store a value as JSON."""
        return await self.keep(where, what=what, media_type="application/json", chunks=once(as_json(value)))

    async def keep_artifact(self, where: Where, artifact: Artifact) -> str:
        """Store what came with a node's answer."""
        return await self.keep(where, what=artifact.what, media_type=artifact.media_type, chunks=once(artifact.content))

    async def missing(self, where: Where, what: str, reason: str) -> None:
        """Write down that something could not be captured, and why."""
        entry = EvidenceMissing(what=what, node=where.node, reason=reason)
        await self._ledger.decide(record.note, record.Note(by=where.by, incident=where.incident, entry=entry))


def as_json(value: object) -> bytes:
    """Return readable JSON bytes; times become text."""
    return json.dumps(value, indent=1, ensure_ascii=False, sort_keys=True, default=str).encode() + b"\n"


async def once(content: bytes) -> AsyncIterator[bytes]:
    """Yield one chunk."""
    yield content
