"""Drive the Ethereum Keymanager API: a signer that is stopped by deleting its keys.

An answer of `deleted` is not believed: real clients have answered it, listed the key on, and gone on signing. So keys
are deleted until a GET no longer lists them, three times at most. The answer always has status 200: what failed
stands inside. Deleting destroys; each answer's `slashing_protection` comes back as an artifact, to be kept first, and
goes to the escrow, whose records decide what may come back (`bot/nodes/escrow.py`). A client that never held a key
does not list it either: so `not_found` is no success, unless this very incident deleted the key there.
API: https://ethereum.github.io/keymanager-APIs/
"""

import asyncio
import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

from pydantic import TypeAdapter

from bot.domain.inventory import Capability, Endpoint, Node
from bot.domain.target import Answer, Artifact, Effect, KeyReading, Reply, Sample, short
from bot.errors import Misconfigured, NoAnswer, NodeBroken, NodeError, NodeRefused, NotReached
from bot.nodes.escrow import Escrow, Record, apart, why_not
from bot.nodes.introduction import Introduction
from bot.nodes.prometheus_text import Counters, by_label, read_counters
from bot.nodes.way import Way
from bot.nodes.wire import Call, NodeClient, Wire, named
from bot.ports import Clock, Traits

KEYSTORES = "/eth/v1/keystores"
REMOTE_KEYS = "/eth/v1/remotekeys"
P = ParamSpec("P")
T = TypeVar("T")
ROUNDS = 3
DISK = 0.4
"""Share of the time limit that the escrow's disk may take for one thing; after that it is waited for no more."""
INLINE = 1_000_000
"""Bytes of an answer that are read at once; more are read beside, as the whole bot would wait."""
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
"""What Lodestar counts of all that it signs and publishes, without a label for the key; all from its start on."""
NEEDED = ("vc_published_attestations_total",)
"""Which of them must be there: every validator attests in every epoch. Other clients name fewer of the rest."""
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
    cannot_know="signatures made with the same key elsewhere; a restart, if /metrics lacks process_start_time_seconds; "
    "without the option escrow, and after a restart of the bot, whether a key that is not listed was ever there",
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


class _Hung(OSError):
    """The escrow's disk did not answer in time."""

    def __str__(self) -> str:
        """Return that as a sentence."""
        return "its disk did not answer in time"


@dataclass(slots=True, kw_only=True)
class _Seen:
    """What this process knows beside the records: where no escrow is named, and where it cannot be written."""

    gone: dict[tuple[str, str], str] = field(default_factory=dict)
    """URL and key of what was deleted there, with the incident."""
    strangers: set[tuple[str, str]] = field(default_factory=set)
    """URL and key of what that client was asked to delete and does not hold."""
    unnoted: set[str] = field(default_factory=set)
    """Keys whose last freeze could not be noted in the escrow."""


_SEEN: WeakKeyDictionary[NodeClient, _Seen] = WeakKeyDictionary()
"""By client, which outlives the drivers: they are made anew for each use."""


def connect(way: Way) -> "Keymanager":
    """Return the driver of a node's Keymanager API; opens no connection. Raises Misconfigured.

    Options:
        metrics: base URL of /metrics, when it is another; it gets no token
        counters: names of the counters that rise with each signature, by commas; unless each is there, none counts, so
            name only those that are there before the first signature (default `COUNTERS`, of which `NEEDED` must be)
        key_label: their label that holds the key (default `pubkey`)
        escrow: folder of `bot/nodes/escrow.py`; without it a freeze is undone by hand. Remote keys are only noted there
        remote_signer: URL with which remote keys are imported again; local keys are then never deleted
    """
    options = way.options("metrics", "counters", "key_label", "escrow", "remote_signer")
    if not options.get("escrow", "/").startswith("/"):
        raise Misconfigured([f"node {way.node.name}: keymanager's option escrow must be a folder's absolute path"])
    metrics = way.wire(options.get("metrics"), token=None)
    return Keymanager(way.node, way.wire(), metrics, options, way.clock, traits(way.endpoint))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Listed:
    """The keys that a node lists, in lower case; those that are remote with their signer's URL, if it is told."""

    keys: frozenset[str]
    remote: Mapping[str, str | None]


@dataclass(slots=True, kw_only=True)
class _Freeze:
    """What one freeze has learned so far."""

    incident: str
    artifacts: list[Artifact] = field(default_factory=list)
    deletes: int = 0
    deleted: bool = False
    said: dict[str, str] = field(default_factory=dict)
    prior: dict[str, Record] = field(default_factory=dict)
    held: set[str] = field(default_factory=set)
    """Keys that the client is known to hold, or to have held when it was first asked in this incident."""
    absent: set[str] = field(default_factory=set)
    """Keys of which each answer said that they were not there any more."""
    unknown: set[str] = field(default_factory=set)
    """Those among them of which it said that nothing is known."""
    lost: set[str] = field(default_factory=set)
    """Keys for which an answer gave something out that could not be stored."""
    stored: set[str] = field(default_factory=set)
    """Keys whose last answer's slashing protection is in the escrow."""
    hung: bool = False
    """The escrow's disk did not answer in time once: it is not waited for again."""
    trouble: str = ""
    warning: str = ""

    def reply(self, answer: Answer, detail: str) -> Reply:
        told = self.warning or (f"; {self.trouble}" if self.trouble else "")
        return Reply(answer=answer, detail=detail + told, artifacts=tuple(self.artifacts))


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
        self._seen = _SEEN.setdefault(wire.client, _Seen())

    async def freeze(self, keys: Sequence[str], *, incident: str, request: str) -> Reply:
        """Delete `keys` until none of them is listed; local ones by keystore, those listed as remote as remote keys.

        Raises a NodeError only when nothing was answered. Later failures are told in the reply, with what must be kept.
        """
        asked = [key.lower() for key in named(keys)]
        freeze, limit = _Freeze(incident=incident), self._wire.timeout.total_seconds()
        try:
            async with asyncio.timeout(limit):
                await self._begin(asked, freeze)
                left = await self._until_absent(asked, freeze)
                await self._end(asked, left, freeze)
        except (NodeError, TimeoutError) as error:
            late = NoAnswer(f"{self._node.name} did not answer all requests within {limit:g} s")
            why = late if isinstance(error, TimeoutError) else error
            if not freeze.artifacts and not freeze.said:
                if isinstance(error, NotReached | NodeRefused):
                    await self._noted({key: freeze.prior.get(key) for key in asked}, freeze)  # nothing happened
                raise why from None
            return freeze.reply(Answer.UNKNOWN, f"keys were asked to be deleted, but then: {why}")
        return self._judged(asked, left, freeze)

    async def _begin(self, asked: Sequence[str], freeze: _Freeze) -> None:
        """Note in the escrow, before anything is deleted, that the protection kept so far is not that of this freeze.

        Where it cannot be noted the freeze goes on: a key that comes back by hand is better than one that signs.
        """
        freeze.held |= {key for key in asked if self._seen.gone.get((self._wire.base, key)) == freeze.incident}
        if self._escrow is None:
            return
        try:
            found = await self._disk(self._escrow.records, asked)
            unnoted = self._seen.unnoted
            freeze.prior |= {k: replace(one, kept=one.kept and k not in unnoted) for k, one in found.items()}
        except OSError:
            freeze.hung = True
        same = {key for key, record in freeze.prior.items() if record.incident == freeze.incident}
        freeze.held |= {key for key in same if freeze.prior[key].deleted}
        self._seen.unnoted |= set(asked)
        await self._noted(
            {key: Record(incident=freeze.incident, deleted=key in same and freeze.prior[key].deleted) for key in asked},
            freeze,
        )

    async def _end(self, asked: Sequence[str], left: Mapping[str, bool], freeze: _Freeze) -> None:
        """Note in the escrow what this freeze came to, key by key; a key that is still listed may sign on."""
        if self._escrow is None:
            return
        records: dict[str, Record | None] = {}
        for key in asked:
            prior = freeze.prior.get(key)
            if key in freeze.stored and key not in left:
                records[key] = Record(incident=freeze.incident, deleted=True, kept=True)
            elif key in freeze.unknown or (key in freeze.absent - freeze.lost and prior is not None and prior.kept):
                records[key] = prior  # it was gone before, and nothing new is known
        failed = not await self._noted(records, freeze)
        kept = {key for key, record in records.items() if record is not None and record.kept and not failed}
        lacking = [key for key in asked if key in freeze.held and key not in kept and key not in left]
        if lacking and not self._remote_only:
            which = short(lacking[0]) + (f" and {len(lacking) - 1} more" if lacking[1:] else "")
            why = freeze.trouble or "the client gave none out"
            freeze.warning = (
                f"; DO NOT BRING BACK AUTOMATICALLY: no slashing protection of this freeze is kept for {which} ({why})"
            )

    async def _noted(self, records: Mapping[str, Record | None], freeze: _Freeze | None = None) -> bool:
        """Write records; tell whether they are on disk. What went wrong is told by the freeze."""
        if self._escrow is None or not records:
            return True
        try:
            if freeze is not None and freeze.hung:
                raise _Hung
            await self._disk(self._escrow.write, records)
        except OSError as error:
            self._seen.unnoted |= set(records)
            if freeze is not None:
                freeze.hung |= isinstance(error, _Hung)
                freeze.trouble = freeze.trouble or f"the escrow cannot be written: {error}"
            return False
        self._seen.unnoted -= set(records)
        return True

    async def _disk(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what `call` returns, if the disk gives it in time; raises OSError."""
        try:
            async with asyncio.timeout(self._wire.timeout.total_seconds() * DISK):
                return await apart(call, *args, **kwargs)
        except TimeoutError:
            raise _Hung from None

    async def _until_absent(self, asked: Sequence[str], freeze: _Freeze) -> Mapping[str, bool]:
        """Delete and read back, ROUNDS times at most; return the keys that are still listed, and whether as remote."""
        call = self._wire.call()
        left = dict.fromkeys(asked, self._remote_only)
        for _ in range(ROUNDS):
            await self._delete(call, left, freeze)
            listed = await self._listed(call)
            left = {key: key in listed.remote for key in asked if key in listed.keys}
            freeze.held |= set(left)
            freeze.absent -= set(left)
            freeze.unknown -= set(left)
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
            records = {}
            if self._escrow is not None:
                with contextlib.suppress(OSError):
                    records = await self._disk(self._escrow.records, asked)
            return await self._import(asked, REMOTE_KEYS, {"remote_keys": remote_keys}, records)
        if self._escrow is None:
            return Reply(answer=Answer.REFUSED, detail=BY_HAND)
        try:
            asked = await self._returnable(asked, incident, self._escrow)
            if not asked:
                return Reply(answer=Answer.ALREADY, detail="listed before the request")
            body = await self._disk(self._escrow.import_body, asked)
            kept = await self._disk(self._escrow.records, asked)
            await self._disk(self._escrow.write, {key: replace(record, kept=False) for key, record in kept.items()})
        except ValueError as error:
            return Reply(answer=Answer.REFUSED, detail=str(error))
        except OSError as error:
            return Reply(answer=Answer.REFUSED, detail=f"the escrow cannot be read and written: {error}")
        try:
            return await self._import(asked, KEYSTORES, body, kept)
        except (NotReached, NodeRefused):
            await self._noted(kept)  # nothing was imported
            raise

    async def _returnable(self, asked: Sequence[str], incident: str, escrow: Escrow) -> list[str]:
        """Return which of `asked` are to be imported: not those that are listed since an earlier import.

        Raises ValueError, a sentence, for a key that must not be: see the table in `bot/nodes/escrow.py`.
        """
        records = await self._disk(escrow.records, asked)
        usable = [
            key
            for key in asked
            if (record := records.get(key)) and record.kept and record.incident == incident
            if key not in self._seen.unnoted
        ]
        others = [key for key in asked if key not in usable]
        listed: frozenset[str] = frozenset()
        if others and all(key in records for key in others):
            with contextlib.suppress(NodeError):
                listed = (await self._listed(self._wire.call())).keys
        for key in others:
            if key not in listed:
                raise ValueError(why_not(key, records.get(key), incident))
        return usable

    async def sample(self, keys: Sequence[str]) -> Sample:
        """Read whether `keys` are listed, and their counters; without telemetry the counters are None.

        A key that is not listed is missing in the sample when a freeze did not find it here; with an escrow also when
        that has no record of its being deleted here.
        """
        asked = named(keys)
        counting = asyncio.create_task(self._counters())  # beside the listing: together they have one time limit
        try:
            listed = await self._listed(self._wire.call())
            counters = await counting
        finally:
            counting.cancel()
        whole = {key.lower() for key in asked} >= {key.lower() for key in self._node.keys}
        return await self._sampled(asked, listed, counters, whole=whole)

    async def _sampled(self, asked: Sequence[str], listed: _Listed, counters: Counters, *, whole: bool) -> Sample:
        known = listed.keys | {key for url, key in self._seen.gone if url == self._wire.base}
        if self._escrow is None:
            known |= {key.lower() for key in asked if (self._wire.base, key.lower()) not in self._seen.strangers}
        elif missing := [key.lower() for key in asked if key.lower() not in known]:
            with contextlib.suppress(OSError):
                records = await self._disk(self._escrow.records, missing)
                known |= {key for key, record in records.items() if record.deleted}
        readings = {
            key: KeyReading(signing=key.lower() in listed.keys, counter=counters.of(key, whole=whole))
            for key in asked
            if key.lower() in known
        }
        return Sample(at=self._clock.now(), instance=counters.instance, keys=readings)

    async def introduce(self) -> Introduction:
        """Read all keys that the node lists, remote ones too. It has no name for itself."""
        return Introduction(keys=(await self._listed(self._wire.call())).keys)

    async def lacking(self, keys: Sequence[str]) -> str | None:
        """Return what can be seen to be missing of what brings `keys` back; None without an escrow to look into."""
        if self._escrow is None or self._remote_only:
            return None
        try:
            return await self._disk(self._escrow.lacking, keys)
        except OSError as error:
            return f"{self._options['escrow']} cannot be read: {error}"

    async def slashing_protection(self) -> bytes:
        """Return the slashing protection with which the node's keys would be imported, from the escrow.

        The API itself gives it out only when it deletes. Raises NodeRefused when there is none.
        """
        if self._escrow is None:
            raise NodeRefused(f"{self._node.name}: {BY_HAND}")
        try:
            return await self._disk(self._escrow.protection, [key.lower() for key in self._node.keys])
        except (OSError, ValueError) as error:
            raise NodeRefused(f"{self._node.name}: {error}") from error

    async def _delete(self, call: Call, left: Mapping[str, bool], freeze: _Freeze) -> None:
        """Delete the keys `left`, whose values say which are remote, and note what was answered."""
        for path, keys in ((KEYSTORES, [k for k in left if not left[k]]), (REMOTE_KEYS, [k for k in left if left[k]])):
            if not keys:
                continue
            freeze.deletes += 1
            freeze.stored -= set(keys)
            answer = await self._answer(call, path, keys, freeze)
            document = answer.get("slashing_protection") if isinstance(answer, dict) else None
            stored = await self._keep(document, keys, freeze) if document else frozenset[str]()
            fresh = self._note(keys, answer, freeze)
            freeze.stored |= fresh & stored
            self._seen.gone |= {(self._wire.base, key): freeze.incident for key in fresh}
            self._seen.strangers -= {(self._wire.base, key) for key in fresh}
            await self._noted({key: Record(incident=freeze.incident, deleted=True) for key in fresh}, freeze)

    async def _answer(self, call: Call, path: str, keys: Sequence[str], freeze: _Freeze) -> Any:
        """Return the answer to one DELETE, with its slashing protection among the artifacts before anything else.

        A year of one key's history is 10 MB of JSON: more than other answers.
        """
        body = b"".join([chunk async for chunk in call.stream("DELETE", path, body={"pubkeys": keys})])
        raw = Artifact(what=f"slashing-protection, delete {freeze.deletes}, as answered", content=body)
        freeze.artifacts.append(raw)  # what awaits from here on may run out of time
        try:
            answer = json.loads(body) if len(body) <= INLINE else await apart(json.loads, body)
        except (ValueError, RecursionError):
            raise NodeBroken(f"{self._node.name} answered a DELETE with something that is not JSON") from None
        freeze.artifacts.remove(raw)
        document = answer.get("slashing_protection") if isinstance(answer, dict) else None
        if document:
            what = f"slashing-protection, delete {freeze.deletes}"
            freeze.artifacts.append(Artifact(what=what, content=_bytes(document)))
        return answer

    def _note_urls(self, urls: Mapping[str, str | None], freeze: _Freeze) -> None:
        """Keep the signers' URLs of remote keys that are about to be deleted: nobody else may know them."""
        if urls and not self._remote_only and all(one.what != "remote-keys" for one in freeze.artifacts):
            listing = [{"pubkey": key, "url": url} for key, url in urls.items()]
            freeze.artifacts.append(Artifact(what="remote-keys", content=json.dumps(listing).encode()))

    async def _keep(self, document: object, keys: Sequence[str], freeze: _Freeze) -> frozenset[str]:
        """Put an answer's slashing protection into the escrow; return the keys of which it is there now."""
        if self._escrow is None:
            return frozenset()
        try:
            if freeze.hung:
                raise _Hung
            return await self._disk(self._escrow.keep, _bytes(document), keys)
        except (OSError, ValueError) as error:
            # It is still an artifact: stopping goes on.
            freeze.hung |= isinstance(error, _Hung)
            freeze.lost |= set(keys)
            freeze.trouble = f"the escrow could not keep its slashing protection: {error}"
            return frozenset()

    def _note(self, keys: Sequence[str], answer: object, freeze: _Freeze) -> frozenset[str]:
        """Note the statuses of an answer; return the keys that the client held, of which it gives out protection."""
        try:
            statuses = _STATUSES.validate_python(answer).data
        except ValueError:
            raise NodeBroken(f"{self._node.name} answered a DELETE without readable statuses") from None
        if len(statuses) != len(keys):
            raise NodeBroken(f"{self._node.name} answered {len(statuses)} statuses for {len(keys)} keys")
        words = {key: one.status for key, one in zip(keys, statuses, strict=True)}
        first = {key for key in keys if key not in freeze.said}
        freeze.said |= {
            key: f"{one.status} {one.message or ''}".strip() for key, one in zip(keys, statuses, strict=True)
        }
        freeze.deleted |= "deleted" in words.values()
        fresh = frozenset(key for key, word in words.items() if word in {"deleted", "not_active"})
        freeze.held |= fresh
        for gone, ways in ((freeze.absent, {"not_active", "not_found"}), (freeze.unknown, {"not_found"})):
            gone -= {key for key in keys if words[key] not in ways}
            gone |= {key for key in first if words[key] in ways}
        return fresh

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
        if strangers := [key for key in asked if key not in freeze.held]:
            return self._not_held(asked, strangers, freeze)
        if freeze.deleted:
            return freeze.reply(Answer.ACKNOWLEDGED, "deleted, and no longer listed")
        return freeze.reply(Answer.ALREADY, f"not listed before the request: {freeze.said[asked[0]]}")

    def _not_held(self, asked: Sequence[str], strangers: Sequence[str], freeze: _Freeze) -> Reply:
        """Return the reply when keys are not listed that this client was never seen to hold in this incident."""
        self._seen.strangers |= {(self._wire.base, key) for key in strangers}
        first = strangers[0]
        which = f"{len(strangers)} of {len(asked)} keys: {short(first)} {freeze.said[first]}"
        record = freeze.prior.get(first)
        if record is not None and record.incident == freeze.incident:
            detail = f"{which}; whether this client held it when it was first asked nobody can tell"
            return freeze.reply(Answer.UNKNOWN, detail)
        return freeze.reply(Answer.FAILED, f"{which}; this client does not hold the key: look where it really signs")

    async def _import(
        self, keys: Sequence[str], path: str, body: Mapping[str, object], kept: Mapping[str, Record]
    ) -> Reply:
        """Import `keys`; note for each that came back that it did, and for each that did not what `kept` says."""
        statuses = (await self._wire.call().json(_STATUSES, "POST", path, body=body)).data
        if len(statuses) != len(keys):
            return Reply(
                answer=Answer.UNKNOWN, detail=f"the node answered {len(statuses)} statuses for {len(keys)} keys"
            )
        wrong = {
            key: one for key, one in zip(keys, statuses, strict=True) if one.status not in {"imported", "duplicate"}
        }
        back = {key: Record(incident=record.incident) for key, record in kept.items() if key not in wrong}
        for key in set(keys) - set(wrong):
            self._seen.gone.pop((self._wire.base, key), None)
        await self._noted({**back, **{key: kept[key] for key in wrong if key in kept}})
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
        needed = names if "counters" in self._options else NEEDED
        label = self._options.get("key_label", "pubkey")
        counters = await asyncio.to_thread(read_counters, text, names, label, needed)
        return by_label(counters, self._options, self._node.name)


def _bytes(document: object) -> bytes:
    """Return slashing protection byte for byte where it is a string, as the API prescribes."""
    return (document if isinstance(document, str) else json.dumps(document)).encode()
