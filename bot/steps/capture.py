"""Capture: what a node knows about the window before the incident, into the vault, item by item."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from bot.domain.protection import mark_of
from bot.domain.target import State
from bot.domain.work import Result, Work
from bot.errors import NodeError, NotCommitted, Stale
from bot.flows import respond
from bot.ledger import Ledger
from bot.ports import Item, Recorder, Recorders, Symptoms
from bot.steps.evidence import Keeper, Where, once
from bot.steps.fanout import Outcome, run_step
from bot.steps.messages import Lines, loosely

SIGNED = "signed-messages"
METRICS = (
    'avs_signatures_total{{avs="{avs}"}}',
    'avs_conflicting_signatures_seen_total{{avs="{avs}"}}',
    'avs_missed_deadlines_total{{avs="{avs}"}}',
)


EPOCH = datetime.fromtimestamp(0, UTC)
_BLOCK = 1 << 20


@dataclass(slots=True)
class _Take:
    """What one recorder gave."""

    kept: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    messages: bool = False
    why: str = ""


class Capturer:
    """Handles `step.capture`. Read-only on the nodes: it runs under halt too."""

    def __init__(self, ledger: Ledger, fleet: Recorders, keeper: Keeper, symptoms: Symptoms) -> None:
        self._ledger = ledger
        self._fleet = fleet
        self._keeper = keeper
        self._symptoms = symptoms

    async def step(self, work: Work) -> Result:
        """Capture the incident's own documents, then each target's."""
        if work.attempt > 1:
            where = Where(incident=work.incident or 0, node=None, source="", tool="")
            cut = "an earlier try was cut off: what it had acknowledged is kept, everything is asked for again"
            await self._keeper.missing(where, "the rest of a capture", cut)
        await self._incident_wide(work)
        return await run_step(self._ledger, work, self._one)

    async def _incident_wide(self, work: Work) -> None:
        """Keep the alert bodies, and the metrics around the window where monitoring is configured."""
        number = work.incident or 0
        since, until = await self._window(number)
        where = Where(
            incident=number, node=None, source="alertmanager", tool="stopsign intake", since=since, until=until
        )
        alerts = await self._ledger.read(lambda rows: rows.alerts(number))
        await self._keeper.keep_json(where, "alerts", list(alerts))
        incident = await self._ledger.read(lambda rows: rows.incident(number))
        if incident is None or incident.avs is None or work.body["step"] != "capture-1":
            return  # the first capture has asked monitoring already
        monitored = Where(incident=number, node=None, source="prometheus", tool="query_range", since=since, until=until)
        for query in METRICS:
            text = query.format(avs=incident.avs)
            content = await self._symptoms.series(text, since, until)
            if content is None:
                await self._keeper.missing(monitored, "metrics", f"monitoring gave no answer for {text}")
                return
            await self._keeper.keep(monitored, what="metrics", media_type="application/json", chunks=once(content))

    async def _window(self, number: int) -> tuple[datetime, datetime]:
        now = self._ledger.clock.now()
        return now - self._ledger.world.config.policy.capture_window, now

    async def _one(self, go: respond.Go, name: str) -> Outcome:
        node = go.config_nodes[name]
        recorders = self._fleet.recorders(node)
        if not recorders:
            return Outcome(state=State.REFUSED, detail="the inventory names no recorder endpoint")
        since, until = await self._window(go.incident.number)
        where = Where(incident=go.incident.number, node=name, source="", tool="", since=since, until=until)
        each = [self._all_of(replace(where, source=at.url), recorder) for at, recorder in recorders]
        takes = await asyncio.gather(*each)
        kept, lost = [one for take in takes for one in take.kept], [one for take in takes for one in take.lost]
        if not kept:
            why = next((take.why for take in takes if take.why), "the node offers nothing")
            return Outcome(state=State.FAILED, detail=f"nothing could be captured: {why}")
        told = f"{len(kept)} items kept, hashed and logged" + (f"; missing: {', '.join(lost)}" if lost else "")
        if not any(take.messages for take in takes):  # what was signed is what a dispute is about
            return Outcome(state=State.FAILED, detail=f"no signed messages; {told}", item=kept[0])
        return Outcome(state=State.VERIFIED, detail=told, item=kept[0])

    async def _all_of(self, where: Where, recorder: object) -> "_Take":
        """Keep all that one recorder offers; what it lost is written down, with the first reason."""
        if not isinstance(recorder, Recorder):
            return _Take(why="the driver keeps no records")
        take = _Take()
        try:
            async for item in recorder.capture(where.since or EPOCH, where.until or EPOCH):
                try:
                    kept = await self._keep(replace(where, source=item.source or where.source, tool=item.tool), item)
                    take.kept.append(kept)
                    take.messages |= item.what == SIGNED
                except (NodeError, OSError) as error:
                    take.why = take.why or str(error)
                    take.lost.append(item.what)
        except (Stale, NotCommitted):
            raise
        except Exception as error:  # noqa: BLE001 - it could not even say what it has: what others keep is kept
            take.why = take.why or (str(error) if isinstance(error, NodeError) else f"{type(error).__name__}: {error}")
            take.lost.append("its records")
        if take.lost:
            await self._keeper.missing(where, ", ".join(take.lost), take.why)
        return take

    async def _keep(self, where: Where, item: Item) -> str:
        highest: dict[str, int] = {}
        chunks = noting_highest(item.chunks, highest) if item.what == SIGNED else item.chunks
        return await self._keeper.keep(
            where,
            what=item.what,
            media_type=item.media_type,
            chunks=chunks,
            marks=lambda: {f"highest:{mark}": str(height) for mark, height in highest.items()},
        )


async def noting_highest(chunks: AsyncIterator[bytes], highest: dict[str, int]) -> AsyncIterator[bytes]:
    """Pass newline-delimited signed messages through, noting in `highest` how far each key has come, by mark.

    Lines are read in a thread while later chunks pass; a line longer than `messages.LONGEST` is not read. `highest` is
    complete when the stream has ended.
    """
    lines, waiting, size = Lines(), list[bytes](), 0
    reading: asyncio.Task[None] | None = None
    async for chunk in chunks:
        yield chunk
        waiting.append(chunk)
        size += len(chunk)
        if size >= _BLOCK:
            if reading is not None:
                await reading
            reading = asyncio.create_task(asyncio.to_thread(_note, waiting, lines, highest))
            waiting, size = [], 0
    if reading is not None:
        await reading
    await asyncio.to_thread(_note, waiting, lines, highest, last=True)


def _note(chunks: list[bytes], lines: Lines, highest: dict[str, int], *, last: bool = False) -> None:
    """Note the messages of some chunks; a line that is no message is kept as evidence all the same."""
    whole = lines.feed(b"".join(chunks))
    for line in [*whole, *lines.end()] if last else whole:
        try:
            found = mark_of(loosely(line))
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
            continue
        if found is not None:
            mark, height = found
            highest[mark] = max(height, highest.get(mark, -1))
