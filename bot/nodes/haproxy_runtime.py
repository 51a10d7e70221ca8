"""Speak HAProxy's runtime API (management guide, 9.3), truthfully.

One command, or several of one kind, a connection. An order that was carried out is answered by an empty line, and one
that was not by a sentence. Even that empty line is not believed: `set map` with a value of the wrong type answers it
and changes nothing. So whoever gives an order reads it back.
"""

import asyncio
import csv
import io
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from bot.errors import Misconfigured, NoAnswer, NodeBroken, NodeRefused, NotReached
from bot.nodes.way import Way
from bot.nodes.wire import noted

LIMIT = 4 * 1024 * 1024
"""Bytes of one answer."""
ROOM = 8 * 1024
"""Bytes of one request: HAProxy drops, without a word, what does not fit into its buffer (16 KiB by default)."""
_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,128}", re.ASCII)
_FILE = re.compile(r"(?:(?:virt|opt)@)?/?[A-Za-z0-9_.@+/-]{1,256}|#\d{1,9}", re.ASCII)
_ROW = re.compile(r"0x[0-9a-f]+ (\S+)(?: (.*))?", re.ASCII)
_TRACKED = re.compile(r"0x[0-9a-f]+: key=(\S+) ", re.ASCII)
_NO = re.compile(r"([^\n]+)\n\n")
_NAMED_BY = {"map": "map", "table": "table", "servers": "server", "server": "server", "frontend": "frontend"}
"""What of the inventory a command's word comes from."""
_FORCED = 0x01
_MAINTENANCE = _FORCED | 0x02 | 0x04 | 0x20
_DRAINING = 0x08 | 0x10


def name(text: str, *, what: str, node: str) -> str:
    """Return `text` when it can be a name in HAProxy's configuration; raises Misconfigured."""
    if not _NAME.fullmatch(text):
        raise Misconfigured([f"node {node}: {what} {text!r} is no HAProxy name"])
    return text


def file(text: str, *, what: str, node: str) -> str:
    """Return `text` when it can be a map's file or #id; raises Misconfigured."""
    if not _FILE.fullmatch(text):
        raise Misconfigured([f"node {node}: {what} {text!r} is neither a map's file, as HAProxy names it, nor its #id"])
    return text


def servers(text: str, *, node: str) -> tuple[tuple[str, str], ...]:
    """Return the (backend, server) pairs of `be/n1,be2/n1`; raises Misconfigured."""
    found = []
    for one in text.split(","):
        backend, _, server = one.strip().partition("/")
        found.append((name(backend, what="backend", node=node), name(server, what="server", node=node)))
    return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server of a backend: `admin` is srv_admin_state, `sessions` how many go on now, `limit` its maxconn.

    `weight` is the one that it has now, and `weighed` the one that the configuration gives it.
    """

    admin: int
    weight: int
    weighed: int
    status: str
    sessions: int
    served: int
    mode: str
    limit: int | None

    @property
    def maintained(self) -> bool:
        """Tell whether it gets no traffic at all."""
        return bool(self.admin & _MAINTENANCE)

    @property
    def forced(self) -> bool:
        """Tell whether it is in maintenance by itself, and not because of its configuration, address or another."""
        return bool(self.admin & _FORCED)

    @property
    def denied(self) -> bool:
        """Tell whether its weight was set to 0: the mark of a freeze, which outlives `state ready`."""
        return self.weight == 0 < self.weighed

    @property
    def drained(self) -> bool:
        """Tell whether it gets no new traffic, but that of clients which stick to it."""
        return bool(self.admin & (_MAINTENANCE | _DRAINING))


class Runtime:
    """The runtime API at an endpoint."""

    def __init__(self, way: Way) -> None:
        """Take the way to a tcp:// or unix: endpoint; raises Misconfigured for another."""
        if not way.endpoint.url.startswith(("tcp://", "unix:")):
            raise Misconfigured(
                [f"node {way.node.name}: HAProxy's runtime API is reached at tcp://address:port or unix:/path"]
            )
        self._way = way

    @property
    def node(self) -> str:
        """Return the node's name."""
        return self._way.node.name

    def call(self) -> "Call":
        """Begin one driver call: all its commands together have the endpoint's timeout."""
        return Call(self._way)


class Call:
    """The commands of one driver call, under one deadline."""

    def __init__(self, way: Way) -> None:
        self._way = way
        self._node = way.node.name
        self._until = asyncio.get_running_loop().time() + way.endpoint.timeout.total_seconds()
        self._ordered = False

    @property
    def remaining(self) -> float:
        """Return the seconds that are left."""
        return max(self._until - asyncio.get_running_loop().time(), 0.0)

    async def order(self, *commands: str) -> None:
        """Give orders that are answered by nothing; raises NodeRefused with HAProxy's sentence, or another NodeError.

        They are sent together where they fit, in this order. HAProxy goes on with the next when one fails, so that
        NodeRefused is said only where all of them were refused, and none was given before in this call.
        """
        for batch in _batches(commands):
            earlier = self._ordered
            answer = await self._asked("; ".join(batch), orders=True)
            if answer.strip("\n"):
                self._ordered = earlier or not _none_done(answer, len(batch))
                raise self._refusal(answer, batch[0])
            if answer != "\n" * len(batch):
                raise NodeBroken(f"{self._node} answered {answer.count(chr(10))} of {len(batch)} orders")

    async def add(self, file: str, keys: Sequence[str], value: str) -> None:
        """Add entries to a map, of which none is there yet: HAProxy would hold it twice."""
        for batch in _batches([f"{key} {value}" for key in keys]):
            earlier = self._ordered
            answer = await self._asked(f"add map {file} <<\n" + "\n".join(batch) + "\n", orders=True)
            if answer != "\n":
                self._ordered = earlier or not _none_done(answer, 1)
                raise self._refusal(answer, f"add map {file}")

    async def map(self, file: str) -> dict[str, str]:
        """Return a map's entries, the first of each key, as HAProxy matches it."""
        entries: dict[str, str] = {}
        for line in await self._lines(f"show map {file}"):
            row = _ROW.fullmatch(line)
            if row is None:
                raise self._refusal(line, f"show map {file}")
            entries.setdefault(row[1], row[2] or "")
        return entries

    async def table(self, table: str, counter: str) -> dict[str, int]:
        """Return a counter of each key that a stick table tracks."""
        lines = await self._lines(f"show table {table}")
        if not lines or not lines[0].startswith(f"# table: {table}, "):
            raise self._refusal(lines[0] if lines else "", f"show table {table}")
        found: dict[str, int] = {}
        counted = re.compile(rf" {counter}=(\d{{1,20}})(?: |$)", re.ASCII)
        for line in lines[1:]:
            key, count = _TRACKED.match(line), counted.search(line)
            if key is None or count is None:
                raise NodeBroken(f"{self._node}: the stick table {table} holds no {counter}")
            found[key[1]] = int(count[1])
        return found

    async def server(self, backend: str, server: str) -> Server:
        """Return how one server stands."""
        state = await self._state(backend, server)
        shown = await self._row(f"{state.get('be_id')} 4 {state.get('srv_id')}", backend, server)
        try:
            return Server(
                admin=int(state["srv_admin_state"]),
                weight=int(state["srv_uweight"]),
                weighed=int(state["srv_iweight"]),
                status=shown["status"],
                sessions=int(shown["scur"]) + int(shown["qcur"]),
                served=int(shown["stot"]),
                mode=shown["mode"],
                limit=int(shown["slim"]) if shown["slim"] else None,
            )
        except (KeyError, ValueError):
            raise NodeBroken(f"{self._node}: HAProxy's figures of {backend}/{server} cannot be read") from None

    async def frontend_limit(self, frontend: str) -> int:
        """Return a frontend's maxconn."""
        row = await self._row("-1 1 -1", frontend, "FRONTEND")
        try:
            return int(row["slim"])
        except (KeyError, ValueError):
            raise NodeBroken(f"{self._node}: HAProxy's figures of {frontend} cannot be read") from None

    async def info(self) -> dict[str, str]:
        """Return what `show info` says."""
        lines = await self._lines("show info")
        found = dict(line.split(": ", 1) for line in lines if ": " in line)
        if found.get("Name") != "HAProxy" or not found.get("Pid"):
            raise self._refusal(lines[0] if lines else "", "show info")
        return found

    async def instance(self) -> str:
        """Return what changes when the process that answers is another: after a restart, and after a reload."""
        info = await self.info()
        return f"haproxy {info['Pid']} since {info.get('Start_time_sec', '?')}"

    async def _state(self, backend: str, server: str) -> dict[str, str]:
        command = f"show servers state {backend}"
        lines = await self._lines(command)
        if lines[:1] != ["1"] or len(lines) < 2 or not lines[1].startswith("# be_id "):
            raise self._refusal(lines[0] if lines else "", command)
        fields = lines[1].removeprefix("# ").split(" ")
        for line in lines[2:]:
            row = dict(zip(fields, line.split(" "), strict=False))
            if (row.get("be_name"), row.get("srv_name")) == (backend, server):
                return row
        raise self.lacks(f"server {backend}/{server}: correct the option server")

    async def _row(self, which: str, proxy: str, service: str) -> dict[str, str]:
        """Return a row of figures; `which` has numbers: a name would mean the frontend that is called the same."""
        command = f"show stat {which}"
        lines = await self._lines(command)
        if not lines or not lines[0].startswith("# pxname,svname,"):
            raise self._refusal(lines[0] if lines else "", command)
        for row in csv.DictReader(io.StringIO("\n".join(lines).removeprefix("# "))):
            if (row["pxname"], row["svname"]) == (proxy, service):
                return {field: text or "" for field, text in row.items() if isinstance(field, str)}
        raise self.lacks(f"{proxy}/{service}: correct the option {'frontend' if service == 'FRONTEND' else 'server'}")

    async def _lines(self, command: str) -> list[str]:
        answer = await self._asked(command, orders=False)
        if answer != "\n" and not answer.endswith("\n\n"):
            raise NodeBroken(f"{self._node} broke its answer to {command} off")
        return [line for line in answer.split("\n") if line]

    async def _asked(self, command: str, *, orders: bool) -> str:
        """Send one request and return its answer; raises NotReached, NoAnswer or NodeBroken.

        NotReached is said only while no order of this call was sent: afterwards something may have been done.
        """
        shown = command.split("\n", 1)[0][:200]
        async with self._connected(shown) as (reader, writer):
            self._ordered |= orders
            with noted(shown) as came:
                answer = await self._answer(reader, writer, command, shown)
                came.append((answer.strip().split("\n", 1)[0] or "an empty line")[:100])
        return answer

    async def _answer(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, command: str, shown: str
    ) -> str:
        received = bytearray()
        try:
            async with asyncio.timeout_at(self._until):
                writer.write(command.encode("ascii") + b"\n")
                await writer.drain()
                while chunk := await reader.read(65536):
                    received += chunk
                    if len(received) > LIMIT:
                        raise NodeBroken(f"{self._node} sent more than {LIMIT} bytes")
        except TimeoutError:
            raise NoAnswer(
                f"{self._node} did not answer {shown} within {self._way.endpoint.timeout.total_seconds():g} s"
            ) from None
        except OSError as error:
            raise NoAnswer(f"{self._node} gave no answer to {shown}: {error.strerror or error}") from error
        if not received:
            raise NoAnswer(f"{self._node} closed the connection without an answer to {shown}")
        try:
            return received.decode()
        except UnicodeDecodeError:
            raise NodeBroken(f"{self._node} answered {shown} with something that is not text") from None

    @asynccontextmanager
    async def _connected(self, shown: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        try:
            async with asyncio.timeout(self.remaining * 0.9):
                reader, writer = await self._way.dial()
        except (NotReached, TimeoutError) as error:
            why = str(error) or f"{self._node} could not be reached in time"
            raise (NoAnswer if self._ordered else NotReached)(f"{why}, for {shown}") from error
        try:
            yield reader, writer
        finally:
            writer.close()

    def _refusal(self, answer: str, command: str) -> NodeRefused | NodeBroken:
        """Return what an answer that was not hoped for means: a sentence that HAProxy says, or nothing known."""
        said = answer.strip().split("\n", 1)[0][:200]
        if said.startswith("Permission denied"):
            where = self._way.endpoint.url
            return self._no(f"{self._node} refused {command}: {where} lacks `level admin` in its configuration", 403)
        if said.startswith(("No such ", "Can't find ", "Unknown map ", "Unknown table", "Key not found", "entry not")):
            option = next(
                (f": correct the option {one}" for word, one in _NAMED_BY.items() if f" {word} " in command), ""
            )
            return self._no(f"{self._node} refused {command}: {said.rstrip('.')}{option}", 404)
        if said.startswith("Unknown command"):
            return self._no(f"{self._node} does not know {command}: HAProxy 2.6 or later is needed", 400)
        return NodeBroken(f"{self._node} answered {command} unreadably: {said or 'nothing'}")

    def lacks(self, what: str) -> NodeRefused | NodeBroken:
        """Return the refusal that HAProxy has no such thing as the inventory names."""
        return self._no(f"{self._node}: HAProxy has no {what}", 404)

    def _no(self, sentence: str, status: int) -> NodeRefused | NodeBroken:
        """Return a refusal; after an order that may have been carried out it is none, whatever HAProxy says."""
        if self._ordered:
            return NodeBroken(f"{sentence}; other orders of the same call may have been carried out")
        return NodeRefused(sentence, status=status)


def _none_done(answer: str, orders: int) -> bool:
    """Tell whether an answer to orders says no to each: a sentence and an empty line for every one of them.

    One order may be answered by several lines. Without the level, all are denied.
    """
    if orders == 1:
        return not answer.startswith("\n")
    said = _NO.findall(answer)
    whole = "".join(f"{one}\n\n" for one in said) == answer
    return whole and (len(said) == orders or set(said) == {"Permission denied"})


def _batches(lines: Sequence[str]) -> list[list[str]]:
    """Return `lines` in runs that fit into one request."""
    batches: list[list[str]] = []
    room = 0
    for line in lines:
        if not batches or len(line) + 2 > room:
            batches.append([])
            room = ROOM
        batches[-1].append(line)
        room -= len(line) + 2
    return batches
