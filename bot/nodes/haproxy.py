"""Drive HAProxy over its runtime API: take one node's servers out of traffic, or slow their traffic down.

`maint` and `drain` leave the sessions alive that are there: in TCP mode they went on being answered. So isolating also
shuts them down, and a server counts as isolated only when none is left. A limit is only ever lowered.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from bot.domain.inventory import Capability
from bot.domain.target import Answer, Effect, Reply
from bot.errors import Misconfigured, NodeError
from bot.nodes.haproxy_runtime import Call, Runtime, Server, file, name, servers
from bot.nodes.way import Way
from bot.ports import Traits

PAUSE = 0.02
ROUNDS = 5
TRAITS = Traits(
    effect=Effect.SET_STATE,
    reversible=True,
    capabilities=(Capability.ROUTER, Capability.THROTTLE),
    proves_by="isolate: `show servers state` says maintenance or drain, and `show stat` counts no session that is left;"
    " throttle: the limit reads back",
    needs="isolate: `server`; throttle: `maxconn` and `frontend` or `server`, or `rate` and `map`, or `rate` alone; a"
    " runtime socket of `level admin`",
    cannot_know="traffic by another HAProxy, by another backend, or by the old process that a reload leaves behind"
    " (set hard-stop-after); whether the configuration"
    " looks a map's entry up; who else can reach the socket, which asks for no password; a reload undoes all of it",
    blast_radius="isolate: the named servers, and the requests that they were answering; throttle: all that comes by"
    " that frontend, server or map entry, and with a bare `rate` every session of that HAProxy",
    tested="HAProxy 2.6.12 (Debian 12)",
)
_ROUTER = ("server", "state")
_THROTTLE = ("maxconn", "rate", "frontend", "server", "map", "entry")


def connect(way: Way) -> "HaproxyRouter | HaproxyThrottle":
    """Return the driver: a throttle where `maxconn` or `rate` is given, else a router. Raises Misconfigured.

    Options of a router:
        server: backend/server, several by commas
        state: maint (default), or drain, in which clients that stick to the server still reach it

    Options of a throttle, the limits being positive whole numbers:
        maxconn: connections at once, of `frontend` or of `server` (backend/server)
        rate: requests a second, written as the value of `entry` (default: the node's name) in `map`, where it must be
            already, and where the configuration must look it up; without `map`, sessions a second of the whole HAProxy
    """
    if "maxconn" in way.endpoint.options or "rate" in way.endpoint.options:
        return HaproxyThrottle(Runtime(way), _limits(way))
    options = way.options(*_ROUTER, besides=_THROTTLE)
    node = way.node.name
    if "server" not in options:
        raise Misconfigured([f"node {node}: haproxy needs the option server (backend/server), or maxconn, or rate"])
    state = options.get("state", "maint")
    if state not in {"maint", "drain"}:
        raise Misconfigured([f"node {node}: the option state is maint or drain, not {state!r}"])
    return HaproxyRouter(Runtime(way), servers(options["server"], node=node), state)


@dataclass(frozen=True, slots=True)
class Out:
    """Servers of which no traffic may be left, and how far that is so: the mechanism that isolate and deny share.

    With `denies`, they also get the weight 0. That is the mark of a freeze: `state ready` alone gives them no traffic
    then, and whoever isolates does not give them back.
    """

    which: Sequence[tuple[str, str]]
    state: str = "maint"
    denies: bool = False

    async def look(self, call: Call) -> dict[str, Server]:
        """Return how each of them stands."""
        return {f"{backend}/{one}": await call.server(backend, one) for backend, one in self.which}

    def left(self, seen: dict[str, Server]) -> str | None:
        """Return what is not out yet, as a sentence, or None."""
        for label, server in seen.items():
            if not (server.maintained if self.state == "maint" else server.drained):
                return f"{label} is {server.status}, not in {self.state}"
        if alive := {label: server.sessions for label, server in seen.items() if server.sessions}:
            label, sessions = next(iter(alive.items()))
            return f"{label} is in {self.state}, but {sessions} session{'s' if sessions > 1 else ''} live on"
        return None

    async def take(self, call: Call) -> Reply:
        """Take them out, cut what goes on, and read back; raises a NodeError while nothing was done."""
        before = await self.look(call)
        if self._undone(before) is None:
            return Reply(answer=Answer.ALREADY, detail=f"{self.labels} in {self.state} before the request, no session")
        marks = [f"set server {label} weight 0%" for label in before if self.denies]
        # `drain` would end a maintenance that somebody else relies on.
        states = [
            f"set server {label} state {self.state}"
            for label, server in before.items()
            if self.state == "maint" or not server.forced
        ]
        await call.order(*marks, *states, *(f"shutdown sessions server {label}" for label in before))
        left = await read_back(call, self._left)
        if left is None:
            return Reply(answer=Answer.ACKNOWLEDGED, detail=f"{self.labels} in {self.state}, no session is left")
        return Reply(answer=Answer.FAILED, detail=left)

    async def give_back(self, call: Call) -> Reply:
        """Let them serve again, and read back; refused for one that is frozen, unless this is what freezes."""
        before = await self.look(call)
        if not self.denies and (frozen := _frozen(before)):
            return Reply(answer=Answer.REFUSED, detail=f"{frozen}: unfreeze it, nothing was changed")
        if not any(server.drained or (self.denies and server.denied) for server in before.values()):
            return Reply(answer=Answer.ALREADY, detail=f"{self.labels} ready before the request")
        marks = [f"set server {label} weight 100%" for label in before if self.denies]
        await call.order(*(f"set server {label} state ready" for label in before), *marks)
        seen = await self.look(call)
        if frozen := _frozen(seen):
            return Reply(answer=Answer.FAILED, detail=f"{frozen}, and gets no traffic")
        if away := [f"{label} is still {one.status}" for label, one in seen.items() if one.drained]:
            return Reply(answer=Answer.FAILED, detail=f"{away[0]}: not by the runtime API, or by a server it tracks")
        said = ", ".join(f"{label} is {one.status}" for label, one in seen.items())
        return Reply(answer=Answer.ACKNOWLEDGED, detail=f"ready: {said}")

    @property
    def labels(self) -> str:
        """Return the servers for people."""
        return ", ".join(f"{backend}/{one}" for backend, one in self.which[:3])

    def _undone(self, seen: dict[str, Server]) -> str | None:
        """Return what is not out yet or, where the mark of a freeze is wanted, lacks it."""
        unmarked = [label for label, server in seen.items() if self.denies and server.weight]
        return f"{unmarked[0]} has a weight, and `state ready` would give it traffic" if unmarked else self.left(seen)

    async def _left(self, call: Call) -> str | None:
        return self._undone(await self.look(call))


def _frozen(seen: dict[str, Server]) -> str | None:
    marked = [label for label, server in seen.items() if server.denied]
    return f"{marked[0]} is frozen (its weight was set to 0)" if marked else None


async def read_back(call: Call, left: Callable[[Call], Awaitable[str | None]]) -> str | None:
    """Return what is `left` to do; cut sessions and queues need a moment, so it is looked at a few times."""
    for _ in range(ROUNDS - 1):
        if await left(call) is None:
            return None
        await asyncio.sleep(min(PAUSE, call.remaining / ROUNDS))
    return await left(call)


class HaproxyRouter:
    """Router by the administrative state of servers."""

    traits = TRAITS

    def __init__(self, runtime: Runtime, which: Sequence[tuple[str, str]], state: str) -> None:
        self._runtime = runtime
        self._out = Out(which, state)

    async def isolate(self, *, incident: str, request: str) -> Reply:
        """Take the servers out of traffic and shut their sessions down; acknowledged when none is left."""
        return await self._out.take(self._runtime.call())

    async def restore(self, *, incident: str, request: str) -> Reply:
        """Set the servers ready; whether they are healthy is their health check's affair, and told."""
        return await self._out.give_back(self._runtime.call())

    async def isolated(self) -> bool:
        """Tell whether all the servers are out, with no session left."""
        return self._out.left(await self._out.look(self._runtime.call())) is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One limit at HAProxy: `read` returns what is in force, None for no limit; `write` sets it."""

    label: str
    wanted: int
    read: Callable[[Call], Awaitable[int | None]]
    write: Callable[[Call], Awaitable[None]]


class HaproxyThrottle:
    """Throttle by connections at once and by rate."""

    traits = TRAITS

    def __init__(self, runtime: Runtime, limits: Sequence[Limit]) -> None:
        self._runtime = runtime
        self._limits = limits

    async def throttle(self, *, incident: str, request: str) -> Reply:
        """Lower the limits to what is configured; one that is lower already stays. The detail names the old ones."""
        call = self._runtime.call()
        before = {one: await one.read(call) for one in self._limits}
        higher = [one for one, value in before.items() if not _holds(one, value)]
        if not higher:
            return Reply(answer=Answer.ALREADY, detail=f"limited before the request: {_said(before)}")
        done: list[str] = []
        try:
            for one in higher:
                await one.write(call)
                done.append(one.label)
        except NodeError as error:
            if not done:
                raise
            return Reply(answer=Answer.FAILED, detail=f"only {', '.join(done)} limited: {error}")
        after = {one: await one.read(call) for one in self._limits}
        if loose := [one for one, value in after.items() if not _holds(one, value)]:
            return Reply(
                answer=Answer.FAILED, detail=f"{loose[0].label} is not {loose[0].wanted}: {_said(after)} reads back"
            )
        return Reply(answer=Answer.ACKNOWLEDGED, detail=f"{_said(after)}; before: {_said(before)}")

    async def throttled(self) -> bool:
        """Tell whether each limit is in force, or a lower one."""
        call = self._runtime.call()
        return all([_holds(one, await one.read(call)) for one in self._limits])


def _holds(limit: Limit, value: int | None) -> bool:
    return value is not None and value <= limit.wanted


def _said(values: dict[Limit, int | None]) -> str:
    return ", ".join(f"{one.label} {'unlimited' if value is None else value}" for one, value in values.items())


def _limits(way: Way) -> tuple[Limit, ...]:
    """Return the limits that the options name; raises Misconfigured."""
    options, node = way.options(*_THROTTLE, besides=_ROUTER), way.node.name
    limits: list[Limit] = []
    if "maxconn" in options:
        wanted = _positive(options["maxconn"], "maxconn", node)
        if ("frontend" in options) == ("server" in options):
            raise Misconfigured([f"node {node}: maxconn needs either frontend or server (backend/server)"])
        if "frontend" in options:
            limits.append(_frontend(name(options["frontend"], what="frontend", node=node), wanted))
        else:
            limits += [_server(backend, one, wanted) for backend, one in servers(options["server"], node=node)]
    if "rate" in options:
        wanted = _positive(options["rate"], "rate", node)
        if "map" in options:
            entry = name(options.get("entry", node), what="entry", node=node)
            limits.append(_map(file(options["map"], what="map", node=node), entry, wanted))
        else:
            limits.append(_everything(wanted))
    if "maxconn" not in options and not {"frontend", "server"}.isdisjoint(options):
        raise Misconfigured([f"node {node}: frontend and server go with maxconn; HAProxy has no rate of one frontend"])
    if ("entry" in options and "map" not in options) or ("map" in options and "rate" not in options):
        raise Misconfigured([f"node {node}: rate, map and entry go together"])
    return tuple(limits)


def _frontend(frontend: str, wanted: int) -> Limit:
    return Limit(
        label=f"maxconn of {frontend}",
        wanted=wanted,
        read=lambda call: call.frontend_limit(frontend),
        write=lambda call: call.order(f"set maxconn frontend {frontend} {wanted}"),
    )


def _server(backend: str, server: str, wanted: int) -> Limit:
    async def read(call: Call) -> int | None:
        return (await call.server(backend, server)).limit or None  # 0 is no limit

    return Limit(
        label=f"maxconn of {backend}/{server}",
        wanted=wanted,
        read=read,
        write=lambda call: call.order(f"set maxconn server {backend}/{server} {wanted}"),
    )


def _map(path: str, entry: str, wanted: int) -> Limit:
    async def read(call: Call) -> int | None:
        entries = await call.map(path)
        if entry not in entries:  # to add it would prove nothing: it could be a name that nothing looks up
            there = ", ".join(list(entries)[:5]) or "nothing"
            raise call.lacks(f"entry {entry} in {path}, which has {there}: correct the option entry, or write it there")
        value = entries[entry]
        return int(value) if value.isascii() and value.isdigit() else None

    async def write(call: Call) -> None:
        await call.order(f"set map {path} {entry} {wanted}")

    return Limit(label=f"requests a second of {entry}", wanted=wanted, read=read, write=write)


def _everything(wanted: int) -> Limit:
    async def read(call: Call) -> int | None:
        value = (await call.info()).get("SessRateLimit", "0")
        return int(value) or None if value.isdigit() else None

    return Limit(
        label="sessions a second of all",
        wanted=wanted,
        read=read,
        write=lambda call: call.order(f"set rate-limit sessions global {wanted}"),
    )


def _positive(text: str, what: str, node: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 10**9):
        raise Misconfigured([f"node {node}: {what} is a positive whole number, not {text!r}"])
    return int(text)
