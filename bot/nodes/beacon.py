"""Capture what a beacon node says now: of itself, its peers and its chain, and of the validators of the node's keys.

API: https://ethereum.github.io/beacon-APIs/. Every answer is checked to be whole JSON with `data`; what was read on the
way tells which validators and which epoch to ask duties for.
"""

import json
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import ijson

from bot.domain.inventory import Capability, same_key
from bot.domain.target import Effect, short
from bot.errors import NodeBroken
from bot.nodes.recording import Collection, ending, with_query
from bot.nodes.way import Way
from bot.ports import Item, Traits

TRAITS = Traits(
    effect=Effect.SET_STATE,
    reversible=True,
    capabilities=(Capability.RECORDER,),
    proves_by="nothing: it reads. It keeps what the beacon node says of itself, its peers, its chain, its validators",
    needs="the beacon node API, with the namespaces node, beacon, config and validator",
    cannot_know="the past: the answers are of now; what the validator client signed; whether other nodes see the same "
    "chain",
    blast_radius="none",
    tested="Lodestar 1.5.1",
)
HEALTH = "/eth/v1/node/health"
MEANS = {200: "ready", 206: "syncing: its answers may be incomplete", 503: "not initialised, or in trouble"}
"""The statuses of a health answer, which has no body."""
AT_ONCE = 32
"""Keys in one request: a key is 101 bytes of its URL, of which some servers take 4 KiB. The API allows 64."""
_STATE = "/eth/v1/beacon/states/head"
_SYNCING = "/eth/v1/node/syncing"
_FIRST = {
    "beacon-head": "/eth/v1/beacon/headers/head",
    "beacon-finality": f"{_STATE}/finality_checkpoints",
    "beacon-spec": "/eth/v1/config/spec",
}
_LAST = {
    "peers": "/eth/v1/node/peers",
    "beacon-peer-count": "/eth/v1/node/peer_count",
    "beacon-identity": "/eth/v1/node/identity",
    "beacon-version": "/eth/v1/node/version",
}
_READ = {
    "data.head_slot": "head_slot",
    "data.sync_distance": "sync_distance",
    "data.SLOTS_PER_EPOCH": "slots_per_epoch",
    "data.item.index": "index",
    "data.item.validator.pubkey": "pubkey",
}
MOST_READ = 10_000
"""So many values of a kind are remembered, however long an answer is."""
_KEY = re.compile(r"0x[0-9a-fA-F]{96}", re.ASCII)
_NUMBER = re.compile(r"[0-9]{1,20}", re.ASCII)


def connect(way: Way) -> "Beacon":
    """Return the driver of the beacon node at the endpoint's URL; opens no connection. Raises Misconfigured."""
    way.options()
    return Beacon(way)


@dataclass(slots=True)
class _Seen:
    """What was read in the answers that went by."""

    index: list[str] = field(default_factory=list)
    pubkey: list[str] = field(default_factory=list)
    head_slot: list[str] = field(default_factory=list)
    sync_distance: list[str] = field(default_factory=list)
    slots_per_epoch: list[str] = field(default_factory=list)

    @property
    def epoch(self) -> int | None:
        """Return the epoch of the present, in which duties can be asked for; None when it was not told."""
        told = [self.head_slot, self.sync_distance, self.slots_per_epoch]
        if not all(one and _NUMBER.fullmatch(one[0]) for one in told) or int(self.slots_per_epoch[0]) == 0:
            return None
        return (int(self.head_slot[0]) + int(self.sync_distance[0])) // int(self.slots_per_epoch[0])


class Beacon:
    """Recorder: the node, its chain, and the state and the duties of the validators of this node's keys."""

    traits = TRAITS

    def __init__(self, way: Way) -> None:
        self._way = way
        self._wire = way.wire()

    async def capture(self, since: datetime, until: datetime) -> AsyncIterator[Item]:
        """Yield what the node says now, the most perishable first; the window does not matter.

        The slot is read right before the duties, which are given for the present epoch only.
        """
        collection, seen = Collection(self._way), _Seen()
        for what, path in _FIRST.items():
            yield collection.item(what, path, self._document("GET", path, seen))
        for item in self._validators(collection, seen):
            yield item
        yield collection.item("beacon-syncing", _SYNCING, self._document("GET", _SYNCING, seen))
        for item in self._duties(collection, seen):
            yield item
        yield collection.item("beacon-health", HEALTH, self._health())
        for what, path in _LAST.items():
            yield collection.item(what, path, self._document("GET", path, seen))
        self._doubts(collection, seen)
        for item in collection.notes():
            yield item

    def _validators(self, collection: Collection, seen: _Seen) -> Iterator[Item]:
        """Yield what the chain says of the node's validators; without a key of one nothing is asked: that means all."""
        keys, path = self._keys, f"{_STATE}/validators"
        for first in range(0, len(keys), AT_ONCE):
            asked = with_query(path, *(("id", key) for key in keys[first : first + AT_ONCE]))
            about = f"of {len(keys[first : first + AT_ONCE])} keys"
            yield collection.item("beacon-validators", path, self._document("GET", asked, seen), about=about)

    def _duties(self, collection: Collection, seen: _Seen) -> Iterator[Item]:
        if seen.epoch is None or not seen.index:
            return
        path = f"/eth/v1/validator/duties/proposer/{seen.epoch}"
        yield collection.item("beacon-duties", path, self._document("GET", path, seen))
        path = f"/eth/v1/validator/duties/attester/{seen.epoch}"
        indices = [index for index in dict.fromkeys(seen.index) if _NUMBER.fullmatch(index)]
        item = collection.item("beacon-duties", path, self._document("POST", path, _Seen(), body=indices))
        yield replace(item, source=item.source.replace(" GET ", " POST ", 1))

    def _doubts(self, collection: Collection, seen: _Seen) -> None:
        """Note what the answers lack."""
        known = {same_key(key) for key in seen.pubkey}
        if known and (strange := [key for key in self._keys if same_key(key) not in known]):
            collection.note("beacon-validators", f"it knows no validator of key {', '.join(map(short, strange))}")
        if other := [key for key in self._way.node.keys if key not in self._keys]:
            collection.note("beacon-validators", f"key {', '.join(map(short, other))} is no validator's: not asked for")
        if self._keys and (seen.epoch is None or not seen.index):
            collection.note("beacon-duties", "not asked for: the epoch, or the validators' numbers, were not told")

    @property
    def _keys(self) -> Sequence[str]:
        return [key for key in self._way.node.keys if _KEY.fullmatch(key)]

    async def _document(
        self, method: str, path: str, seen: _Seen, *, body: Sequence[str] | None = None
    ) -> AsyncIterator[bytes]:
        """Pass an answer on, and read in it on the way; raises NodeBroken unless it is whole JSON with `data`."""
        events = ijson.sendable_list()
        parser = ijson.parse_coro(events)
        told = False
        try:
            async with ending(self._wire.call().stream(method, path, body=body)) as chunks:
                async for chunk in chunks:
                    parser.send(chunk)
                    told |= _read(events, seen)
                    yield chunk
            parser.close()
        except (ijson.JSONError, UnicodeDecodeError):
            told = False
        if not told:
            asked = f"{method} {path.partition('?')[0]}"
            raise NodeBroken(
                f"{self._way.node.name} answered {asked} with something that is no answer of a beacon node"
            )

    async def _health(self) -> AsyncIterator[bytes]:
        status, _ = await self._wire.call().answer("GET", HEALTH, accept=MEANS)
        if status not in MEANS:
            raise NodeBroken(f"{self._way.node.name} answered GET {HEALTH} with {status}, which is no health")
        yield json.dumps({"path": HEALTH, "status": status, "means": MEANS[status]}).encode() + b"\n"


def _read(events: "list[tuple[str, str, object]]", seen: _Seen) -> bool:
    """Note what is to be known later, forget the events, and tell whether one of them was the answer's `data`."""
    told = False
    for prefix, event, value in events:
        told |= prefix == "data"
        if event == "string" and prefix in _READ:
            values: list[str] = getattr(seen, _READ[prefix])
            if len(values) < MOST_READ:
                values.append(str(value))
    events.clear()
    return told
