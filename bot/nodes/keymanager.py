"""Drive the Ethereum Keymanager API: a signer that is stopped by deleting its keys.

An answer of `deleted` is not believed: real clients have answered it, listed the key on, and gone on signing. So keys
are deleted until a GET no longer lists them, three times at most. The answer always has status 200: what failed
stands inside. Deleting destroys; each answer's `slashing_protection` comes back as an artifact, to be kept first.
API: https://ethereum.github.io/keymanager-APIs/
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from bot.domain.inventory import Capability, Endpoint, Node
from bot.domain.target import Answer, Artifact, Effect, KeyReading, Reply, Sample, short
from bot.errors import NoAnswer, NodeBroken, NodeError, NodeRefused
from bot.nodes.escrow import Escrow
from bot.nodes.prometheus_text import Counters, read_counters
from bot.nodes.way import Way
from bot.nodes.wire import Call, Wire, named
from bot.ports import Clock, Traits

KEYSTORES = "/eth/v1/keystores"
REMOTE_KEYS = "/eth/v1/remotekeys"
ROUNDS = 3
COUNTERS = ",".join(
    f"vc_{what}_total"
    for what in (
        "published_attestations",
        "block_published",
        "published_aggregates",
        "published_sync_committee_message",
        "published_sync_committee_contribution",
    )
)
"""What Lodestar counts of all that it signs and publishes, without a label for the key."""
BY_HAND = "no escrow is named in the inventory: import keystore and slashing protection by hand"
TRAITS = Traits(
    effect=Effect.SET_STATE,
    reversible=False,
    destructive=True,
    capabilities=(Capability.SIGNER,),
    needs="published messages counted by key, or by a node whose keys are all asked for; two samples over a due duty",
    blast_radius="the named keys are deleted from the validator client; its other keys sign on",
    tested="Lodestar 1.5.1",
    proves_by="the key is no longer listed, and its counters of published messages in the node's /metrics are flat",
    cannot_know="signatures made with the same key elsewhere; a restart, if /metrics lacks process_start_time_seconds",
    tier="real",
)


@dataclass(frozen=True, slots=True)
class _Status:
    status: str
    message: str | None = ""


@dataclass(frozen=True, slots=True)
class _Statuses:
    data: list[_Status]


@dataclass(frozen=True, slots=True)
class _Keystore:
    validating_pubkey: str
    readonly: bool | None = False


@dataclass(frozen=True, slots=True)
class _Keystores:
    data: list[_Keystore]


@dataclass(frozen=True, slots=True)
class _RemoteKey:
    pubkey: str
    url: str | None = None


@dataclass(frozen=True, slots=True)
class _RemoteKeys:
    data: list[_RemoteKey]


_STATUSES = TypeAdapter(_Statuses)
_LIST = TypeAdapter(_Keystores)
_REMOTE_LIST = TypeAdapter(_RemoteKeys)
_WITHOUT_REMOTE_KEYS = {404, 405}


def traits(endpoint: Endpoint) -> Traits:
    """Return what the driver promises at `endpoint`: remote keys are imported again, and need no escrow."""
    return replace(TRAITS, reversible=True, destructive=False) if endpoint.options.get("remote_signer") else TRAITS


def connect(way: Way) -> "Keymanager":
    """Return the driver of a node's Keymanager API; opens no connection. Raises Misconfigured.

    Options:
        metrics: base URL of /metrics, when it is another; it gets no token
        counters: names of the counters that rise with each signature, by commas
        key_label: their label that holds the key (default `pubkey`)
        escrow: folder of `bot/nodes/escrow.py`; without it a freeze is undone by hand
        remote_signer: URL with which remote keys are imported again; local keys are then never deleted
    """
    options = way.options("metrics", "counters", "key_label", "escrow", "remote_signer")
    metrics = way.wire(options.get("metrics"), token=None)
    return Keymanager(way.node, way.wire(), metrics, options, way.clock, traits(way.endpoint))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Listed:
    """The keys that a node lists, in lower case; those that are remote with their signer's URL, if it is told."""

    keys: frozenset[str]
    remote: Mapping[str, str | None]


@dataclass(slots=True)
class _Freeze:
    """What one freeze has learned so far."""

    artifacts: list[Artifact] = field(default_factory=list)
    deletes: int = 0
    deleted: bool = False
    said: dict[str, str] = field(default_factory=dict)
    unkept: str = ""

    def reply(self, answer: Answer, detail: str) -> Reply:
        return Reply(answer=answer, detail=detail + self.unkept, artifacts=tuple(self.artifacts))


class Keymanager:
    """Signer over the Keymanager API, for local keystores and for remote keys."""

    def __init__(
        self, node: Node, wire: Wire, metrics: Wire, options: Mapping[str, str], clock: Clock, promised: Traits
    ) -> None:
        self.traits = promised
        self._node = node
        self._wire = wire
        self._metrics = metrics
        self._options = options
        self._escrow = Escrow(Path(options["escrow"])) if "escrow" in options else None
        self._remote_only = bool(options.get("remote_signer"))
        self._clock = clock

    async def freeze(self, keys: Sequence[str], *, incident: str, request: str) -> Reply:
        """Delete `keys` until none of them is listed; local ones by keystore, those listed as remote as remote keys.

        Raises a NodeError only when nothing was answered. Later failures are told in the reply, with what must be kept.
        """
        asked = [key.lower() for key in named(keys)]
        freeze, limit = _Freeze(), self._wire.timeout.total_seconds()
        try:
            async with asyncio.timeout(limit):
                left = await self._until_absent(asked, freeze)
        except (NodeError, TimeoutError) as error:
            late = NoAnswer(f"{self._node.name} did not answer all requests within {limit:g} s")
            why = late if isinstance(error, TimeoutError) else error
            if not freeze.artifacts and not freeze.said:
                raise why from None
            return freeze.reply(Answer.UNKNOWN, f"keys were deleted, but then: {why}")
        return self._judged(asked, left, freeze)

    async def _until_absent(self, asked: Sequence[str], freeze: _Freeze) -> Mapping[str, bool]:
        """Delete and read back, ROUNDS times at most; return the keys that are still listed, and whether as remote."""
        call = self._wire.call()
        left = dict.fromkeys(asked, self._remote_only)
        for _ in range(ROUNDS):
            await self._delete(call, left, freeze)
            listed = await self._listed(call)
            left = {key: key in listed.remote for key in asked if key in listed.keys}
            if not left or (self._remote_only and not any(left.values())):
                break
            self._note_urls({key: listed.remote[key] for key, remote in left.items() if remote}, freeze)
        return left

    async def unfreeze(self, keys: Sequence[str], *, incident: str, request: str) -> Reply:
        """Import `keys` again from the escrow, never without slashing protection for each of them.

        Remote keys, with the option `remote_signer`, need none. Refused, with the reason, when something is missing.
        """
        asked = [key.lower() for key in named(keys)]
        if url := self._options.get("remote_signer"):
            remote_keys = [{"pubkey": key, "url": url} for key in asked]
            return await self._import(asked, REMOTE_KEYS, {"remote_keys": remote_keys})
        if self._escrow is None:
            return Reply(answer=Answer.REFUSED, detail=BY_HAND)
        try:
            body = await asyncio.to_thread(self._escrow.import_body, asked)
        except ValueError as error:
            return Reply(answer=Answer.REFUSED, detail=str(error))
        return await self._import(asked, KEYSTORES, body)

    async def sample(self, keys: Sequence[str]) -> Sample:
        """Read whether `keys` are listed, and their counters; without telemetry the counters are None."""
        asked = named(keys)
        counting = asyncio.create_task(self._counters())  # beside the listing: together they have one time limit
        try:
            listed = await self._listed(self._wire.call())
            counters = await counting
        finally:
            counting.cancel()
        whole = {key.lower() for key in asked} >= {key.lower() for key in self._node.keys}
        readings = {
            key: KeyReading(signing=key.lower() in listed.keys, counter=counters.of(key, whole=whole)) for key in asked
        }
        return Sample(at=self._clock.now(), instance=counters.instance, keys=readings)

    async def slashing_protection(self) -> bytes:
        """Return the slashing protection with which the node's keys would be imported, from the escrow.

        The API itself gives it out only when it deletes. Raises NodeRefused when there is none.
        """
        if self._escrow is None:
            raise NodeRefused(f"{self._node.name}: {BY_HAND}")
        try:
            return await asyncio.to_thread(self._escrow.protection, [key.lower() for key in self._node.keys])
        except ValueError as error:
            raise NodeRefused(f"{self._node.name}: {error}") from error

    async def _delete(self, call: Call, left: Mapping[str, bool], freeze: _Freeze) -> None:
        """Delete the keys `left`, whose values say which are remote, and note what was answered."""
        for path, keys in ((KEYSTORES, [k for k in left if not left[k]]), (REMOTE_KEYS, [k for k in left if left[k]])):
            if not keys:
                continue
            freeze.deletes += 1
            answer = await self._answer(call, path, keys)
            if isinstance(answer, dict) and answer.get("slashing_protection"):
                await self._keep(answer["slashing_protection"], keys, freeze)
            self._note(keys, answer, freeze)

    async def _answer(self, call: Call, path: str, keys: Sequence[str]) -> Any:
        """Return the answer to one DELETE. A year of one key's history is 10 MB of JSON: more than other answers."""
        chunks = [chunk async for chunk in call.stream("DELETE", path, body={"pubkeys": keys})]
        try:
            return await asyncio.to_thread(json.loads, b"".join(chunks))
        except (ValueError, RecursionError):
            raise NodeBroken(f"{self._node.name} answered a DELETE with something that is not JSON") from None

    def _note_urls(self, urls: Mapping[str, str | None], freeze: _Freeze) -> None:
        """Keep the signers' URLs of remote keys that are about to be deleted: nobody else may know them."""
        if urls and not self._remote_only and all(one.what != "remote-keys" for one in freeze.artifacts):
            listing = [{"pubkey": key, "url": url} for key, url in urls.items()]
            freeze.artifacts.append(Artifact(what="remote-keys", content=json.dumps(listing).encode()))

    async def _keep(self, document: object, keys: Sequence[str], freeze: _Freeze) -> None:
        """Keep an answer's slashing protection, byte for byte where it is a string, as the API prescribes."""
        content = (document if isinstance(document, str) else json.dumps(document)).encode()
        freeze.artifacts.append(Artifact(what=f"slashing-protection, delete {freeze.deletes}", content=content))
        if self._escrow is None:
            return
        try:
            await asyncio.to_thread(self._escrow.keep, content, keys)
        except (OSError, ValueError) as error:
            # It is still an artifact: stopping goes on.
            freeze.unkept = f"; the escrow could not keep its slashing protection: {error}"

    def _note(self, keys: Sequence[str], answer: object, freeze: _Freeze) -> None:
        try:
            statuses = _STATUSES.validate_python(answer).data
        except ValueError:
            raise NodeBroken(f"{self._node.name} answered a DELETE without readable statuses") from None
        if len(statuses) != len(keys):
            raise NodeBroken(f"{self._node.name} answered {len(statuses)} statuses for {len(keys)} keys")
        for key, one in zip(keys, statuses, strict=True):
            freeze.said[key] = f"{one.status} {one.message or ''}".strip()
            freeze.deleted |= one.status == "deleted"

    async def _listed(self, call: Call) -> _Listed:
        """Return all keys that the node lists. Not every client lists remote keys among the keystores."""
        local = (await call.json(_LIST, "GET", KEYSTORES)).data
        remote: dict[str, str | None] = {one.validating_pubkey.lower(): None for one in local if one.readonly}
        try:
            answer = await call.json(_REMOTE_LIST, "GET", REMOTE_KEYS)
            remote |= {one.pubkey.lower(): one.url for one in answer.data}
        except NodeRefused as refusal:
            if refusal.status not in _WITHOUT_REMOTE_KEYS:
                raise
        return _Listed(keys=frozenset({one.validating_pubkey.lower() for one in local} | set(remote)), remote=remote)

    def _judged(self, asked: Sequence[str], left: Mapping[str, bool], freeze: _Freeze) -> Reply:
        if left:
            first = next(iter(left))
            said = f"{short(first)} {freeze.said[first]}"
            if self._remote_only and not left[first]:
                said = f"{short(first)} is a local key, and `remote_signer` says that this node has none"
            detail = f"{len(left)} of {len(asked)} keys still listed after {freeze.deletes} deletes: {said}"
            return freeze.reply(Answer.FAILED, detail)
        if freeze.deleted:
            return freeze.reply(Answer.ACKNOWLEDGED, "deleted, and no longer listed")
        return freeze.reply(Answer.ALREADY, f"not listed before the request: {freeze.said[asked[0]]}")

    async def _import(self, keys: Sequence[str], path: str, body: Mapping[str, object]) -> Reply:
        statuses = (await self._wire.call().json(_STATUSES, "POST", path, body=body)).data
        if len(statuses) != len(keys):
            return Reply(
                answer=Answer.UNKNOWN, detail=f"the node answered {len(statuses)} statuses for {len(keys)} keys"
            )
        wrong = {
            key: one for key, one in zip(keys, statuses, strict=True) if one.status not in {"imported", "duplicate"}
        }
        if wrong:
            key, one = next(iter(wrong.items()))
            return Reply(answer=Answer.FAILED, detail=f"key {short(key)}: {one.status} {one.message or ''}".strip())
        if all(one.status == "duplicate" for one in statuses):
            return Reply(answer=Answer.ALREADY, detail="listed before the request")
        return Reply(answer=Answer.ACKNOWLEDGED, detail="imported")

    async def _counters(self) -> Counters:
        """Return the signature counters; empty when the node's metrics cannot be had or read."""
        try:
            text = await self._metrics.call().content("GET", "/metrics")
        except NodeError:
            return Counters()
        names = [name.strip() for name in self._options.get("counters", COUNTERS).split(",")]
        return await asyncio.to_thread(read_counters, text, names, self._options.get("key_label", "pubkey"))
