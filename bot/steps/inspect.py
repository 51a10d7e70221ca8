"""Inspecting: the signed messages of an incident are compared, and what they show is written down.

All items are read again each time, in constant memory: what may be signed once only is a row in a temporary file, which
is gone with the process. So a run that was killed, or runs twice, changes nothing but the time that it took.
"""

import asyncio
import hashlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from threading import Event
from typing import BinaryIO, Final, Protocol

from bot.domain import findings as words
from bot.domain import signing
from bot.domain.authority import BOT
from bot.domain.counters import Counters
from bot.domain.findings import Cited, Finding, Item, Span
from bot.domain.journal import EvidenceExpired, EvidenceKept, Written
from bot.domain.work import Done, Result, Work
from bot.errors import NotFound
from bot.flows import findings
from bot.ledger import Ledger
from bot.steps.messages import Lines, Runs, Unreadable, fields_of

SIGNED: Final = "signed-messages"
_BLOCK: Final = 1 << 20
_ROWS: Final = 10_000
"""So many are sorted between two looks whether anybody still waits."""
_SPANS: Final = 10_000
COUNTED: Final = 10_000
"""So many findings of a kind are counted."""


class Vault(Protocol):
    """What holds the items' content."""

    def open(self, sha256: str) -> BinaryIO:
        """Open a blob for reading; raises NotFound."""
        ...


class Stopped(Exception):
    """Nobody waits for the comparison any more."""


class Inspector:
    """Handles `evidence.inspect`. One comparison runs at a time, in a thread."""

    def __init__(self, ledger: Ledger, vault: Vault) -> None:
        self._ledger = ledger
        self._vault = vault
        self._turn = asyncio.Lock()

    async def inspect(self, work: Work) -> Result:
        """Compare all signed messages of the incident and write down what is new; raises what reading raises."""
        number = work.incident or 0
        entries = await self._ledger.read(lambda rows: rows.entries(number))
        items, expired = _items(entries)
        if not items:
            return Done(note="no signed messages to compare")
        stop = Event()
        async with self._turn:
            try:
                report = await asyncio.to_thread(compared, self._vault, items, stop)
            except asyncio.CancelledError:
                stop.set()
                raise
        command = findings.Found(by=BOT, incident=number, findings=report.findings, total=report.total)
        new = await self._ledger.decide(findings.found, command, holding=work)
        gone = f"; expired before: {', '.join(expired)}" if expired else ""
        return Done(note=f"{report.messages} messages in {len(items)} items: {report.told}, {new} new{gone}")


def _items(entries: Sequence[Written]) -> tuple[dict[Item, str], list[str]]:
    """Return the items of signed messages with their hashes, in order, and the ids of those that have expired."""
    gone = {w.entry.item for w in entries if isinstance(w.entry, EvidenceExpired)}
    kept = [w.entry for w in entries if isinstance(w.entry, EvidenceKept) and w.entry.what == SIGNED]
    items = {_item(e): e.sha256 for e in kept if e.item not in gone}
    return items, [e.item for e in kept if e.item in gone]


def _item(e: EvidenceKept) -> Item:
    """Return the item; its log is its source without the node's name, which two nodes of one signer share."""
    log = e.source.removeprefix(e.node or "").strip()
    return Item(id=e.item, node=e.node, log=log or e.node or e.item)


@dataclass(slots=True)
class Report:
    """What a comparison showed: the first findings of each kind, the ids of all as far as counted, messages read."""

    findings: list[Finding] = field(default_factory=list)
    ids: dict[str, set[str]] = field(default_factory=dict)
    messages: int = 0

    def add(self, found: Iterable[Finding]) -> None:
        """Count findings, each id once, and keep those that may be told."""
        for one in found:
            ids = self.ids.setdefault(one.kind, set())
            if one.id in ids or len(ids) >= COUNTED:
                continue
            ids.add(one.id)
            if len(ids) <= findings.MOST:
                self.findings.append(one)

    @property
    def total(self) -> int:
        """Return how many findings there are."""
        return sum(map(len, self.ids.values()))

    @property
    def told(self) -> str:
        """Return the findings in a few words."""
        counts = [f"{len(ids)} {kind}" for kind, ids in sorted(self.ids.items())]
        return ", ".join(counts) or "nothing found"


class _Altered(Exception):
    """An item's content is not what its hash says."""


def compared(vault: Vault, items: dict[Item, str], stop: Event) -> Report:
    """Return what the items show. Blocks; raises Stopped soon after `stop` is set.

    An item that is not there, or not as it was kept, is left out and told.
    """
    unread: dict[Item, str] = {}
    while True:
        comparison = _Comparison(stop)
        try:
            for item, sha256 in items.items():
                if item in unread:
                    continue
                try:
                    comparison.take(vault, item, sha256)
                except NotFound as error:
                    unread[item] = str(error)
            comparison.report.add(words.unread(item, why) for item, why in unread.items())
            return comparison.end()
        except _Altered:  # what was read of it is in the rows already: again without it
            unread[item] = "its content is not what its hash says"
        finally:
            comparison.close()


class _Comparison:
    """One pass over items into rows, and the questions to the rows."""

    def __init__(self, stop: Event) -> None:
        self.report = Report()
        self._stop = stop
        self._items: list[Item] = []
        self._db = sqlite3.connect("", isolation_level=None)  # a file without a name, removed when it is closed
        self._db.executescript(_SCHEMA)
        self._rows = Runs(signing.LENGTH)
        self._texts: dict[bytes, str] = {}
        self._spans: dict[signing.Use, list[str | None]] = {}

    def take(self, vault: Vault, item: Item, sha256: str) -> None:
        """Read one item; raises NotFound before anything, _Altered after all."""
        digest = hashlib.sha256()
        with vault.open(sha256) as blob:
            self._items.append(item)
            self._db.execute("INSERT INTO items VALUES (?, ?, ?)", (len(self._items), item.node, item.log))
            self._read(item, _lines(blob, digest, self._stop))
        self._write()
        if digest.hexdigest() != sha256:
            raise _Altered

    def _read(self, item: Item, blocks: Iterator[list[bytes]]) -> None:
        """Go over the lines: rows and spans for all items; counters, told gaps, unreadable lines for this one."""
        counters = Counters(item)
        number = len(self._items)
        line = bad = first = 0
        why = ""
        for block in blocks:
            for content in block:
                line += 1
                if not content or content.isspace():
                    continue
                try:
                    said = signing.read(fields_of(content))
                except (Unreadable, signing.NoMessage) as error:
                    bad += 1
                    if bad == 1:
                        first, why = line, str(error)
                    continue
                if isinstance(said, signing.Message):
                    self._note(said, number, line)
                    if found := counters.take(said, line):
                        self.report.add(found)
                elif said is not None:
                    self.report.add([words.told_gap(item, said)])
        self.report.add(counters.end())
        if bad:
            self.report.add([words.unreadable(item, bad, first, why)])

    def _note(self, said: signing.Message, item: int, line: int) -> None:
        """Note one signature; what may be signed once only becomes a row."""
        self.report.messages += 1
        use, at = said.use, said.at
        span = self._spans.get(use)
        if span is None:
            if len(self._spans) >= _SPANS:
                self._write()
            self._spans[use] = [at, at]
        elif at is not None:
            if span[1] is None or at > span[1]:
                span[1] = at
            if span[0] is None or at < span[0]:
                span[0] = at
        if use.ladder is not None:
            self._rows.add(signing.row_of(said, item, line))
            if isinstance(said.digest, str) and len(self._texts) < COUNTED:
                self._texts[signing.hashed(said.digest)] = said.digest

    def _write(self) -> None:
        item = len(self._items)
        named = [(u.id, u.key, u.ladder) for u in self._spans if u.ladder]
        self._db.executemany("INSERT OR IGNORE INTO uses VALUES (?, ?, ?)", named)
        self._db.executemany(_SPAN, [(u.key, u.avs, item, *span) for u, span in self._spans.items()])
        self._spans.clear()

    # ---- questions

    def end(self) -> Report:
        """Ask the rows, and return everything."""
        for ask in (self._conflicts, self._services, self._nodes):
            self.report.add(ask())
        return self.report

    def close(self) -> None:
        """Let go of the rows."""
        self._rows.close()
        self._db.close()

    def _conflicts(self) -> Iterator[Finding]:
        for conflict in signing.conflicts(self._sorted()):
            if isinstance(conflict, signing.Twice):
                key, ladder = self._named(conflict.one.use)
                both = (self._cited(conflict.one), self._cited(conflict.other))
                yield words.equivocation(key, ladder, conflict.one.height, both, conflict.digests)
            else:
                key, _ = self._named(conflict.outer.use)
                yield words.surround(key, self._cited(conflict.outer), self._cited(conflict.inner))

    def _sorted(self) -> Iterator[bytes]:
        for number, row in enumerate(self._rows.sorted()):
            if number % _ROWS == 0 and self._stop.is_set():
                raise Stopped
            yield row

    def _services(self) -> Iterator[Finding]:
        for key, services in self._db.execute("SELECT * FROM many_avs ORDER BY key LIMIT ?", (COUNTED,)):
            one, other = (self._db.execute(sql, (key,)).fetchone() for sql in (_FIRST_AVS, _LAST_AVS))
            yield words.shared_by_services(key, self._span(*one), self._span(*other), services)

    def _nodes(self) -> Iterator[Finding]:
        for key, *both in self._db.execute("SELECT * FROM together ORDER BY key LIMIT ?", (COUNTED,)):
            yield words.shared_by_nodes(key, self._span("", *both[:3]), self._span("", *both[3:]))

    def _named(self, use: bytes) -> tuple[str, str]:
        key, ladder = self._db.execute("SELECT key, ladder FROM uses WHERE use = ?", (use,)).fetchone()
        return key, ladder

    def _cited(self, row: signing.Row) -> Cited:
        return Cited(
            digest=self._texts.get(row.digest, row.digest),
            item=self._items[row.item - 1],
            line=row.line,
            at=row.at,
            unknown=row.unknown,
            epochs=None if row.source is None else (row.source, row.height),
        )

    def _span(self, avs: str, item: int, first: str | None, last: str | None) -> Span:
        return Span(item=self._items[item - 1], avs=avs, first=first, last=last)


def _lines(blob: BinaryIO, digest: "hashlib._Hash", stop: Event) -> Iterator[list[bytes]]:
    """Yield the lines of a blob, block by block, and hash what was read."""
    lines = Lines()
    while block := blob.read(_BLOCK):
        if stop.is_set():
            raise Stopped
        digest.update(block)
        yield lines.feed(block)
    yield lines.end()


_SCHEMA: Final = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA cache_size = -8192;
PRAGMA temp_store = FILE;
BEGIN;
CREATE TABLE items (item INTEGER PRIMARY KEY, node TEXT, log TEXT);
CREATE TABLE uses (use BLOB PRIMARY KEY, key TEXT, ladder TEXT) WITHOUT ROWID;
CREATE TABLE spans (
  key TEXT, avs TEXT, item INTEGER, first TEXT, last TEXT, PRIMARY KEY (key, avs, item)
) WITHOUT ROWID;
CREATE VIEW many_avs AS
  SELECT key, count(DISTINCT avs) FROM spans WHERE avs <> '' GROUP BY key HAVING min(avs) <> max(avs);
CREATE VIEW by_item AS
  SELECT key, item, node, log, min(first) AS first, max(last) AS last
  FROM spans JOIN items USING (item) WHERE node IS NOT NULL AND first IS NOT NULL GROUP BY key, item;
CREATE VIEW together AS
  SELECT a.key, a.item, a.first, a.last, b.item, b.first, b.last
  FROM by_item a JOIN by_item b ON b.key = a.key AND b.item > a.item AND b.node <> a.node AND b.log <> a.log
  WHERE a.first <= b.last AND b.first <= a.last GROUP BY a.key;
"""
_SPAN: Final = """
INSERT INTO spans VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
first = min(coalesce(first, excluded.first), coalesce(excluded.first, first)),
last = max(coalesce(last, excluded.last), coalesce(excluded.last, last))
"""
_FIRST_AVS: Final = "SELECT avs, item, first, last FROM spans WHERE key = ? AND avs <> '' ORDER BY avs, item LIMIT 1"
_LAST_AVS: Final = (
    "SELECT avs, item, first, last FROM spans WHERE key = ? AND avs <> '' ORDER BY avs DESC, item LIMIT 1"
)
