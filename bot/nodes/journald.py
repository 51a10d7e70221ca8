"""Capture from systemd's journal over its gateway (systemd-journal-gatewayd, GET /entries).

The export format is asked for, since the JSON of the gateway leaves out every field of more than 4,096 bytes. Older
gateways know no range of time, and ignore one. What all of them take is a cursor that has nothing but a time, with a
number of entries, which those of systemd 256 and 257 insist on.
"""

import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from bot.domain.inventory import Capability
from bot.domain.target import Effect
from bot.errors import Misconfigured, NodeBroken
from bot.nodes.recording import Collection, ending, with_query
from bot.nodes.way import Way
from bot.ports import Item, Traits

TRAITS = Traits(
    effect=Effect.SET_STATE,
    reversible=True,
    capabilities=(Capability.RECORDER,),
    proves_by="nothing: it reads. It keeps every field of every entry of the window, as the journal holds them",
    needs="the journal gateway on the node, and a clock that was not stepped by a minute or more in the window",
    cannot_know="entries that journald dropped by its rate limit or rotated away; how early the journal begins is in "
    "`journal-machine`",
    blast_radius="none",
    tested="systemd-journal-gatewayd 252",
)
FORMAT = "application/vnd.fdo.journal"
SLACK = timedelta(minutes=1)
"""How far outside of the window is read: entries stand in the order of writing, which a stepped clock leaves."""
MOST_OF_AN_ENTRY = 16 * 1024 * 1024
_ALL = 10**9
_FIELD = re.compile(r"[A-Z_][A-Z0-9_]{0,63}", re.ASCII)
_UNIT = re.compile(r"[A-Za-z0-9:_.@\\-]{1,255}", re.ASCII)
_AT = re.compile(rb"^__REALTIME_TIMESTAMP=(\d{1,20})$", re.MULTILINE)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def connect(way: Way) -> "Journald":
    """Return the driver of the gateway at the endpoint's URL; opens no connection. Raises Misconfigured."""
    matches = [option for option in way.endpoint.options if option.startswith("match.") and option != "match."]
    options = way.options("unit", "match.<FIELD>", *matches)
    units = options.get("unit", "").split()
    problems = [f"unit {unit!r} is no name of a unit" for unit in units if not _UNIT.fullmatch(unit)]
    problems += [f"{m}: the journal has no such field" for m in matches if not _FIELD.fullmatch(m[len("match.") :])]
    if problems:
        raise Misconfigured([f"node {way.node.name}: {problem}" for problem in problems])
    wanted = [("_SYSTEMD_UNIT", unit if "." in unit else f"{unit}.service") for unit in units]
    wanted += [(match.removeprefix("match."), options[match]) for match in matches]
    return Journald(way, wanted)


class Journald:
    """Recorder: `journal-machine`, which tells how far back the journal goes, and `journal`, the entries."""

    traits = TRAITS

    def __init__(self, way: Way, wanted: Sequence[tuple[str, str]]) -> None:
        self._way = way
        self._wire = way.wire()
        self._wanted = wanted

    async def capture(self, since: datetime, until: datetime) -> AsyncIterator[Item]:
        """Yield the entries of since <= t < until in journal export format, as `journalctl -o export` writes them."""
        collection = Collection(self._way)
        yield collection.item("journal-machine", "/machine", self._wire.call().stream("GET", "/machine"))
        path = with_query("/entries", *self._wanted)
        yield collection.item("journal", path, self._entries(path, since, until), media_type=FORMAT)

    async def _entries(self, path: str, since: datetime, until: datetime) -> AsyncIterator[bytes]:
        first, end = _microseconds(since), _microseconds(until)
        enough = _microseconds(until + SLACK)
        reader = EntryReader(self._way.node.name)
        async with ending(self._wire.call().stream("GET", path, headers=_headers(since - SLACK))) as chunks:
            async for chunk in chunks:
                inside = []
                for entry in reader.entries(chunk):
                    at = self._at(entry)
                    if first <= at < end:
                        inside.append(entry)
                    if at >= enough:
                        yield b"".join(inside)
                        return
                if inside:
                    yield b"".join(inside)
        reader.ended()

    def _at(self, entry: bytes) -> int:
        found = _AT.search(entry)
        if found is None:
            raise NodeBroken(f"{self._way.node.name} sent a journal entry without its time")
        return int(found[1])


class EntryReader:
    """Cuts the journal export format into entries, each with its empty line (systemd, JOURNAL_EXPORT_FORMATS).

    A field is `NAME=text`, or `NAME`, a line end, 64 bits of length (little endian), that many bytes, a line end.
    """

    def __init__(self, node: str) -> None:
        self._node = node
        self._held = bytearray()
        self._line = 0
        """Where in what is held the next field begins."""

    def entries(self, chunk: bytes) -> Iterator[bytes]:
        """Take the next bytes and yield the entries that they complete; raises NodeBroken for an endless one."""
        self._held += chunk
        begin = 0
        while (end := self._next_field()) is not None:
            if end == self._line + 1:
                if self._line > begin:
                    yield bytes(self._held[begin:end])
                begin = end
            self._line = end
        del self._held[:begin]
        self._line -= begin
        if len(self._held) > MOST_OF_AN_ENTRY:
            raise NodeBroken(f"{self._node} sent a journal entry of more than {MOST_OF_AN_ENTRY} bytes")

    def ended(self) -> None:
        """Raise NodeBroken when the last entry was cut off."""
        if self._held:
            raise NodeBroken(f"{self._node} broke off in the middle of a journal entry")

    def _next_field(self) -> int | None:
        """Return where the field at hand ends, or None when not all of it is here."""
        end = self._held.find(b"\n", self._line)
        if end < 0:
            return None
        if end == self._line or self._held.find(b"=", self._line, end) >= 0:
            return end + 1
        if len(self._held) < end + 9:
            return None
        after = end + 9 + int.from_bytes(self._held[end + 1 : end + 9], "little")
        if after - self._line > MOST_OF_AN_ENTRY:
            raise NodeBroken(f"{self._node} sent a journal field of more than {MOST_OF_AN_ENTRY} bytes")
        return after + 1 if len(self._held) > after else None


def _headers(since: datetime) -> Mapping[str, str]:
    return {"Accept": FORMAT, "Range": f"entries=t={_microseconds(since):x}:0:{_ALL}"}


def _microseconds(at: datetime) -> int:
    return (at - _EPOCH) // _MICROSECOND
