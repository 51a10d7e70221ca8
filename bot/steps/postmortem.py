"""The postmortem's draft: written from the journal and the vault, kept, and put on disk for people."""

import asyncio
from pathlib import Path

from bot.domain.authority import BOT
from bot.domain.work import Done, Result, Work
from bot.flows import record
from bot.ledger import Ledger
from bot.render import documents
from bot.steps.evidence import Keeper, Where, once


class PostmortemWriter:
    """Handles `postmortem`. `folder` receives `postmortem-inc-7.md`."""

    def __init__(self, ledger: Ledger, keeper: Keeper, folder: Path) -> None:
        self._ledger = ledger
        self._keeper = keeper
        self._folder = folder

    async def draft(self, work: Work) -> Result:
        """Render, keep, write to disk and enter the draft."""
        number = work.incident or 0
        incident = await self._ledger.read(lambda rows: rows.incident(number))
        entries = await self._ledger.read(lambda rows: rows.entries(number))
        if incident is None:
            return Done(note="no such incident")
        text = documents.postmortem(incident, entries, self._ledger.world.config, self._ledger.clock.now())
        where = Where(incident=number, node=None, source="journal", tool="stopsign postmortem")
        item = await self._keeper.keep(where, what="postmortem", media_type="text/markdown", chunks=once(text.encode()))
        await asyncio.to_thread(self._write, incident.id, text)
        entries = await self._ledger.read(lambda rows: rows.entries(number))
        sha256 = next(
            w.entry.sha256 for w in entries if getattr(w.entry, "item", None) == item and hasattr(w.entry, "sha256")
        )
        await self._ledger.decide(
            record.drafted, record.Drafted(by=BOT, incident=number, item=item, sha256=sha256), holding=work
        )
        return Done(note=item)

    def _write(self, incident: str, text: str) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        target = self._folder / f"postmortem-{incident}.md"
        partial = target.with_suffix(".md.part")
        partial.write_text(text, encoding="utf-8")
        partial.replace(target)
