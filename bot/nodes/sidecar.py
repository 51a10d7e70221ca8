"""Drive Stopsign's own node API (docs/node-api.yaml): signer, router, deployer and recorder of one node."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from pydantic import AwareDatetime, TypeAdapter

from bot import __version__
from bot.domain.inventory import Capability, Node
from bot.domain.target import Answer, Effect, KeyReading, Release, Reply, Sample, short
from bot.errors import Misconfigured, NoAnswer, NodeError, NodeRefused, NotReached
from bot.nodes.introduction import Introduction
from bot.nodes.way import Way
from bot.nodes.wire import Wire, named
from bot.ports import Clock, Item, Traits

_V1 = "/stopsign/v1"
TRAITS = Traits(
    effect=Effect.SET_STATE,
    reversible=True,
    capabilities=(Capability.SIGNER, Capability.ROUTER, Capability.DEPLOYER, Capability.RECORDER),
    proves_by="read-back of each key's state, and its counter of signatures since process start, flat over a due duty",
    needs="one counter for each key in the answer, two samples of one process, a duty due between them",
    cannot_know="signatures made with the same key by another process",
    blast_radius="the named keys and no others; isolating takes the whole node out of traffic",
    tested="stopsign sidecar of this release (freeze, capture); routing and releases: the reference implementation of "
    "our own node API in the practice fleet",
)


@dataclass(frozen=True, slots=True)
class _KeySigning:
    key: str
    state: Literal["signing", "frozen"]
    counter: int
    last_signed_at: AwareDatetime | None
    next_duty_at: AwareDatetime | None


@dataclass(frozen=True, slots=True)
class _Signing:
    instance_id: str
    now: AwareDatetime
    keys: list[_KeySigning]


@dataclass(frozen=True, slots=True)
class _Node:
    node: str
    keys: list[str]


@dataclass(frozen=True, slots=True)
class _Result:
    key: str
    result: Literal["changed", "unchanged", "not_found", "error"]
    state: Literal["signing", "frozen"] | None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class _Results:
    results: list[_Result]


@dataclass(frozen=True, slots=True)
class _Routing:
    state: Literal["serving", "isolated"]


@dataclass(frozen=True, slots=True)
class _Release:
    version: str
    build_hash: str
    config_checksum: str


@dataclass(frozen=True, slots=True)
class _Releases:
    instance_id: str
    current: _Release
    previous: _Release | None


_NODE = TypeAdapter(_Node)
_SIGNING = TypeAdapter(_Signing)
_RESULTS = TypeAdapter(_Results)
_ROUTING = TypeAdapter(_Routing)
_RELEASES = TypeAdapter(_Releases)


def connect(way: Way) -> "Sidecar":
    """Return the driver of a node's sidecar; opens no connection. Raises Misconfigured for a bad URL or option.

    `network_capture` is `on` where the sidecar has a ring of packets that a capture shall take: `off` unless said.
    """
    packets = way.options("network_capture").get("network_capture", "off")
    if packets not in ("on", "off"):
        raise Misconfigured([f"node {way.node.name}: network_capture must be on or off, not {packets!r}"])
    return Sidecar(way.node, way.wire(), way.clock, packets=packets == "on")


class Sidecar:
    """Signer, Router, Deployer and Recorder over the sidecar API. Each request names its keys and its `request` key."""

    traits = TRAITS
    may_lack = frozenset({"slashing-protection"})
    """What `stopsign sidecar` does not offer, as it stands before a signer that keeps it (docs/sidecar.md)."""

    def __init__(self, node: Node, wire: Wire, clock: Clock, *, packets: bool = False) -> None:
        self._packets = packets
        self._node = node
        self._wire = wire
        self._clock = clock

    async def freeze(self, keys: Sequence[str], *, incident: str, request: str) -> Reply:
        """Set `keys` to frozen; acknowledged when the node says so of every one."""
        return await self._set("frozen", keys, incident=incident, request=request)

    async def unfreeze(self, keys: Sequence[str], *, incident: str, request: str) -> Reply:
        """Set `keys` to signing. A repeat of the same `request` starts nothing, and is told by the state answered."""
        return await self._set("signing", keys, incident=incident, request=request)

    async def sample(self, keys: Sequence[str]) -> Sample:
        """Read `keys`; one that the node does not hold is missing in the sample."""
        asked = {key.lower(): key for key in named(keys)}
        body = await self._wire.call().json(_SIGNING, "GET", f"{_V1}/signing")
        readings = {
            asked[one.key.lower()]: KeyReading(
                signing=one.state == "signing",
                counter=one.counter,
                last_signed_at=one.last_signed_at,
                next_duty_at=one.next_duty_at,
            )
            for one in body.keys
            if one.key.lower() in asked
        }
        return Sample(at=self._clock.now(), instance=body.instance_id, keys=readings, node_time=body.now)

    async def introduce(self) -> Introduction:
        """Read the node's name and all keys that it holds."""
        body = await self._wire.call().json(_NODE, "GET", f"{_V1}/node")
        return Introduction(keys=frozenset(body.keys), node=body.node)

    async def slashing_protection(self) -> bytes:
        """Return the interchange document as the node wrote it."""
        return await self._wire.call().content("GET", f"{_V1}/slashing-protection")

    async def isolate(self, *, incident: str, request: str) -> Reply:
        """Set the node's routing to isolated."""
        return await self._route("isolated", incident=incident, request=request)

    async def restore(self, *, incident: str, request: str) -> Reply:
        """Set the node's routing to serving."""
        return await self._route("serving", incident=incident, request=request)

    async def isolated(self) -> bool:
        """Read the node's routing."""
        return (await self._wire.call().json(_ROUTING, "GET", f"{_V1}/routing")).state == "isolated"

    async def rollback(self, to_build: str, *, incident: str, request: str) -> Reply:
        """Return to the previous release, which must be `to_build`; already when that build runs."""
        call = self._wire.call()
        body = {"to_build_hash": to_build, "incident": incident, "request": request}
        try:
            after = await call.json(_RELEASES, "POST", f"{_V1}/release/rollback", body=body)
        except NodeRefused as refusal:
            if refusal.status != 409:
                raise
            now = await call.json(_RELEASES, "GET", f"{_V1}/release")
            if now.current.build_hash != to_build:
                raise
            return Reply(answer=Answer.ALREADY, detail=f"{now.current.version} runs already")
        if after.current.build_hash != to_build:
            return Reply(
                answer=Answer.FAILED, detail=f"the node says that {after.current.version} runs, not the build asked for"
            )
        return Reply(answer=Answer.ACKNOWLEDGED, detail=f"the node says that it runs {after.current.version}")

    async def release(self) -> Release:
        """Read what runs."""
        body = await self._wire.call().json(_RELEASES, "GET", f"{_V1}/release")
        return Release(
            version=body.current.version,
            build_hash=body.current.build_hash,
            config_checksum=body.current.config_checksum,
            instance=body.instance_id,
            previous_build=body.previous.build_hash if body.previous else None,
        )

    async def capture(self, since: datetime, until: datetime) -> AsyncIterator[Item]:
        """Yield what the node knows of since <= t < until, the most perishable first.

        After one item got no answer at all, the rest are not waited for: their chunks raise that error at once.
        """
        window = {"since": _written(since), "until": _written(until)}
        lost: list[NodeError] = []
        for what, method, path, params in self._items(window):
            yield Item(
                what=what,
                source=f"{self._node.name} {method} {self._wire.base}{path}",
                media_type=_MEDIA.get(what, "application/json"),
                chunks=self._chunks(method, path, params, lost),
                tool=f"stopsign/{__version__} sidecar",
                acts=method != "GET",
            )

    def _items(self, window: Mapping[str, str]) -> list[tuple[str, str, str, Mapping[str, str] | None]]:
        signer = self._node.reach.get(Capability.SIGNER)
        state = [("signing-state", "GET", f"{_V1}/signing", None)] if signer and signer.driver == "sidecar" else []
        # After the small ones: a ring is megabytes, and what follows an item that got no answer is lost.
        packets = [("network-capture", "GET", f"{_V1}/network-capture", window)] if self._packets else []
        return [
            ("signed-messages", "GET", f"{_V1}/messages", window),
            ("signer-audit", "GET", f"{_V1}/audit", window),
            *state,
            *packets,
            ("node", "GET", f"{_V1}/node", None),
            ("release", "GET", f"{_V1}/release", None),
            ("peers", "GET", f"{_V1}/peers", None),
            ("slashing-protection", "GET", f"{_V1}/slashing-protection", None),
            ("metrics", "GET", "/metrics", None),
            ("rotated-logs", "POST", f"{_V1}/logs/rotate", None),
        ]

    async def _chunks(
        self, method: str, path: str, params: Mapping[str, str] | None, lost: list[NodeError]
    ) -> AsyncIterator[bytes]:
        if lost:
            raise type(lost[0])(f"not asked for: {lost[0]}")
        try:
            async for chunk in self._wire.call().stream(method, path, params=params):
                yield chunk
        except (NotReached, NoAnswer) as error:
            lost.append(error)
            raise

    async def _set(
        self, state: Literal["signing", "frozen"], keys: Sequence[str], *, incident: str, request: str
    ) -> Reply:
        asked = named(keys)
        body = {"state": state, "keys": [key.lower() for key in asked], "incident": incident, "request": request}
        answer = await self._wire.call().json(_RESULTS, "PUT", f"{_V1}/signing", body=body)
        results = {one.key.lower(): one for one in answer.results}
        return judged(state, {key: results.get(key.lower()) for key in asked})

    async def _route(self, state: Literal["serving", "isolated"], *, incident: str, request: str) -> Reply:
        body = {"state": state, "incident": incident, "request": request}
        answer = await self._wire.call().json(_ROUTING, "PUT", f"{_V1}/routing", body=body)
        if answer.state != state:
            return Reply(answer=Answer.FAILED, detail=f"the node says that it is {answer.state}")
        return Reply(answer=Answer.ACKNOWLEDGED, detail=f"the node says that it is {state}")


def judged(state: Literal["signing", "frozen"], results: Mapping[str, _Result | None]) -> Reply:
    """Return the reply that the per-key results of one request to set `state` amount to, the worst key first."""
    for key, one in results.items():
        if one is None:
            return Reply(answer=Answer.UNKNOWN, detail=f"the node said nothing about key {short(key)}")
    known = {key: one for key, one in results.items() if one is not None}
    if unsure := [key for key, one in known.items() if one.result == "error" and one.state is None]:
        return Reply(answer=Answer.UNKNOWN, detail=_about(unsure, "failed in the node, state not told"))
    if absent := [key for key, one in known.items() if one.result == "not_found"]:
        return Reply(answer=Answer.FAILED, detail=_about(absent, "is not held by the node"))
    if other := [key for key, one in known.items() if one.state != state]:
        return Reply(answer=Answer.FAILED, detail=_about(other, f"is still {known[other[0]].state}"))
    if errors := [key for key, one in known.items() if one.result == "error"]:
        why = known[errors[0]].detail[:300] or "it does not say which"
        return Reply(answer=Answer.FAILED, detail=_about(errors, f"is {state} now, with an error: {why}"))
    if all(one.result == "unchanged" for one in known.values()):
        return Reply(answer=Answer.ALREADY, detail=f"the node says {state} before the request")
    return Reply(answer=Answer.ACKNOWLEDGED, detail=f"the node says {state}")


def _about(keys: Sequence[str], what: str) -> str:
    return f"key {', '.join(short(key) for key in keys[:3])}{' and others' if len(keys) > 3 else ''} {what}"


def _written(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


_MEDIA = {
    "signed-messages": "application/x-ndjson",
    "signer-audit": "application/x-ndjson",
    "network-capture": "application/vnd.tcpdump.pcap",
    "metrics": "text/plain; version=0.0.4",
}
