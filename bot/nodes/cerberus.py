"""Drive Cerberus, Eigen Labs' remote signer for BLS keys, over the gRPC of its administration.

Its LockKey is stored and read by nothing that signs, so here it is a marker only. What stops a key is a new API key:
the old one, which the AVS node has, is no longer accepted. Cerberus keeps a hash of it and cannot bring it back. So the
new one is sealed (`bot/nodes/sealed.py`), and people bring it to the node after an unfreeze.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from bot.domain.inventory import Capability, Node
from bot.domain.target import Answer, Effect, KeyReading, Reply, Sample, short
from bot.errors import Misconfigured, NoAnswer, NodeBroken, NodeError, NodeRefused, NotReached
from bot.nodes.cerberus_pb import admin_pb2 as pb
from bot.nodes.grpc_wire import GrpcCall, GrpcWire, grpc_wire
from bot.nodes.sealed import Sealed, Secret
from bot.nodes.way import Way
from bot.nodes.wire import Call, Wire, named
from bot.ports import Clock, Traits

ADMIN = "/admin.v1.Admin/"
SIGNER = "/signer.v1.Signer/"
METRIC = "cerberus_rpc_server_request_total"
STARTED = "process_start_time_seconds"
TRAITS = Traits(
    effect=Effect.SET_STATE,  # a repeat makes one more API key: stopped all the same, and the newest is the one sealed
    reversible=False,
    capabilities=(Capability.SIGNER,),
    proves_by="the sign calls that Cerberus answered OK, over all its keys, flat while it counts our own read-back; "
    "the locked mark is read back too, and proves nothing alone",
    needs="its admin port and its /metrics; a Cerberus that holds no other keys than those asked for, for it counts no "
    "single key; two samples of one process, a duty due between them",
    cannot_know="who else reaches the admin port, which asks for no credentials, and makes an API key there; "
    "signatures by another Cerberus process on the same database, or with the same key elsewhere; whether the AVS node "
    "has its new API key after an unfreeze",
    blast_radius="whoever signs with the API key of a named key; the node's other keys sign on. After an unfreeze the "
    "node signs only once people have given it the new API key",
    tested="a stub of Cerberus' published gRPC interface (cerberus-api 128070a, after the source of cerberus 621d517), "
    "never Cerberus itself",
    tier="emulated",
)
_REFERENCE = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*|file:/.+", re.ASCII)


def connect(way: Way) -> "Cerberus":
    """Return the driver of a node's Cerberus; its URL is the admin port's. Opens no connection. Raises Misconfigured.

    Options, all needed:
        metrics: base URL of its /metrics; it gets no token
        sealed: folder, absolute, for the new API keys
        seal: reference (env:NAME or file:/path) to the key that seals them
    """
    options = way.options("metrics", "sealed", "seal")
    name = way.node.name
    problems = [
        f"node {name}: cerberus needs the option {one}" for one in ("metrics", "sealed", "seal") if one not in options
    ]
    if "sealed" in options and not options["sealed"].startswith("/"):
        problems.append(f"node {name}: sealed must be an absolute path")
    if "seal" in options and not _REFERENCE.fullmatch(options["seal"]):
        problems.append(f"node {name}: seal must be a reference, never the key itself: write env:NAME or file:/path")
    if problems:
        raise Misconfigured(problems)
    # The seal is read when it is used: a lost one must not keep anybody from stopping a signer.
    store = Sealed(Path(options["sealed"]), lambda: way.secret(options["seal"]))
    return Cerberus(way.node, grpc_wire(way), way.wire(options["metrics"], token=None), store, way.clock)


@dataclass(frozen=True, slots=True)
class _Done:
    """What became of one key: `error` when it was not done, else `flaw`, what is wrong all the same."""

    key: str
    error: NodeError | None = None
    flaw: str = ""


@dataclass(frozen=True, slots=True)
class _Figures:
    """What /metrics says: which process counted, how many sign calls and how many ListAllKeys it answered OK."""

    instance: str
    signed: int
    listed: int


class Cerberus:
    """Signer over Cerberus' administration. A key is a G1 public key; Cerberus writes it without 0x."""

    traits = TRAITS

    def __init__(self, node: Node, wire: GrpcWire, metrics: Wire, store: Sealed, clock: Clock) -> None:
        self._node = node
        self._wire = wire
        self._metrics = metrics
        self._store = store
        self._clock = clock

    async def freeze(self, keys: Sequence[str], *, incident: str, request: str) -> Reply:
        """Make a new API key for each of `keys`, seal it, and mark the key as locked.

        Raises a NodeError only when it was done for no key. A seal or a mark that failed is told in the reply: the key
        is stopped all the same.
        """
        asked = _lower(keys)
        reply = await self._each(asked, lambda call, key: self._void(call, key, incident))
        if isinstance(reply, Reply):
            return reply
        said = f"{_count(asked)} a new API key, and the node's own is no longer accepted"
        return Reply(answer=Answer.ACKNOWLEDGED, detail="; ".join([said, *(reply or ["sealed for the unfreeze"])]))

    async def unfreeze(self, keys: Sequence[str], *, incident: str, request: str) -> Reply:
        """Take the mark of `keys` away; refused unless a new API key is sealed for each and can be opened.

        It makes nothing sign: the AVS node needs the new API key, which people bring. The reply says where it is.
        """
        asked = _lower(keys)
        try:
            for key in asked:
                await asyncio.to_thread(self._store.open, self._node.name, key)
        except ValueError as error:
            return Reply(answer=Answer.REFUSED, detail=f"nobody could sign: {error}; freeze again to make an API key")
        reply = await self._each(asked, self._unlock)
        if isinstance(reply, Reply):
            return reply
        first = self._store.path(self._node.name, asked[0])
        where = str(first) if len(asked) == 1 else f"{first} and {len(asked) - 1} more beside it"
        detail = f"the mark is gone, but {self._node.name} signs only once you give it the new API key: open {where}"
        return Reply(answer=Answer.ACKNOWLEDGED, detail=detail)

    async def sample(self, keys: Sequence[str]) -> Sample:
        """Read whether `keys` carry the mark, and the count of sign calls; one that Cerberus lacks is missing.

        The count is None unless it is of the process that was asked, is of now, and can be about `keys` alone.
        """
        asked = {key.lower(): key for key in named(keys)}
        until = self._wire.deadline()
        figures = self._metrics.call()
        before = await self._figures(figures, until=until, share=0.3)
        async with self._wire.call(until=until) as call:
            answer = await call.ask(f"{ADMIN}ListAllKeys", pb.ListAllKeysRequest(), pb.ListAllKeysResponse)
        listed = {_with_0x(one.public_key_g1): one.locked for one in answer.keys}
        after = await self._figures(figures, until=until, share=1) if before else None
        alive = before and after and before.instance == after.instance and before.listed < after.listed
        alone = set(listed) <= set(asked)
        counter = after.signed if after and alive and alone else None
        readings = {
            key: KeyReading(signing=not listed[lower], counter=counter)
            for lower, key in asked.items()
            if lower in listed
        }
        return Sample(at=self._clock.now(), instance=after.instance if after and alive else "", keys=readings)

    async def slashing_protection(self) -> bytes:
        """Raise NodeRefused: Cerberus signs what it is given and keeps no record of it."""
        raise NodeRefused(f"{self._node.name}: Cerberus keeps no slashing protection")

    async def _each(self, keys: Sequence[str], act: Callable[[GrpcCall, str], Awaitable[_Done]]) -> Reply | list[str]:
        """Do something for all keys at once; return the flaws when all were done, else the reply.

        Raises the gravest error when none was done.
        """
        async with self._wire.call() as call:
            results = await asyncio.gather(*(act(call, key) for key in keys))
        failed = {one.key: one.error for one in results if one.error is not None}
        flaws = sorted({one.flaw for one in results if one.flaw})
        if not failed:
            return flaws
        key, gravest = min(failed.items(), key=lambda one: _GRAVEST.index(type(one[1])))
        if len(failed) == len(keys):
            raise gravest
        answer = Answer.UNKNOWN if isinstance(gravest, (NoAnswer, NodeBroken)) else Answer.FAILED
        said = f"done for {len(keys) - len(failed)} of {len(keys)} keys; {short(key)}: {gravest}"
        return Reply(answer=answer, detail="; ".join([said, *flaws]))

    async def _void(self, call: GrpcCall, key: str, incident: str) -> _Done:
        """Void one key's API key by a new one: first that, then the seal, then the mark.

        Where the new one may exist and is not sealed, the older sealed one is forgotten: it may be void.
        """
        try:
            new = await call.ask(
                f"{ADMIN}GenerateNewApiKey",
                pb.GenerateNewApiKeyRequest(public_key_g1=_bare(key)),
                pb.GenerateNewApiKeyResponse,
            )
            if _with_0x(new.public_key_g1) != key or not new.api_key:
                raise NodeBroken(f"{self._node.name} answered GenerateNewApiKey with no API key, or of another key")
        except NodeError as error:
            found = _found(error, self._node.name)
            if isinstance(found, (NoAnswer, NodeBroken)):
                await self._forget(key)
            return _Done(key, found)
        flaw = await self._seal(key, new.api_key, incident, until=call.until)
        if flaw:
            await self._forget(key)
        try:
            await call.ask(f"{ADMIN}LockKey", pb.LockKeyRequest(public_key_g1=_bare(key)), pb.LockKeyResponse)
        except NodeError as error:
            flaw = "; ".join(filter(None, [flaw, f"the mark is missing: {error}"]))
        return _Done(key, flaw=flaw)

    async def _seal(self, key: str, api_key: str, incident: str, *, until: float) -> str:
        """Seal a new API key; return what kept it from that, or nothing. It is never lost for good: freeze again."""
        at = self._clock.now().isoformat(timespec="seconds")
        secret = Secret(node=self._node.name, key=key, api_key=api_key, incident=incident, at=at)
        try:
            async with asyncio.timeout_at(until):
                await asyncio.to_thread(self._store.keep, secret)
        except TimeoutError:
            return f"the new API key of {short(key)} could not be sealed in time: freeze again to make another"
        except ValueError as error:
            return f"the new API key of {short(key)} is lost, freeze again to make another: {error}"
        return ""

    async def _forget(self, key: str) -> None:
        with suppress(OSError, TimeoutError):  # at worst it is brought to the node, and does not sign
            async with asyncio.timeout(0.1):
                await asyncio.to_thread(self._store.forget, self._node.name, key)

    async def _unlock(self, call: GrpcCall, key: str) -> _Done:
        try:
            await call.ask(f"{ADMIN}UnlockKey", pb.UnlockKeyRequest(public_key_g1=_bare(key)), pb.UnlockKeyResponse)
        except NodeError as error:
            return _Done(key, error)
        return _Done(key)

    async def _figures(self, call: Call, *, until: float, share: float) -> _Figures | None:
        """Return the figures, or None when they cannot be had or read within a `share` of the time that is left."""
        now = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(max(until - now, 0) * share):
                text = await call.content("GET", "/metrics")
        except (NodeError, TimeoutError):
            return None
        return await asyncio.to_thread(_read, text)


_GRAVEST: list[type[NodeError]] = [NoAnswer, NodeBroken, NodeRefused, NotReached]


def _found(error: NodeError, node: str) -> NodeError:
    """Return the error of GenerateNewApiKey; that a key is not found is a refusal, which Cerberus calls UNKNOWN."""
    if isinstance(error, NodeBroken) and str(error).endswith("UNKNOWN key not found"):
        return NodeRefused(f"{node} does not hold the key")
    return error


def _read(text: bytes) -> _Figures | None:
    """Return the figures of Cerberus' /metrics; None when it is unreadable, or not that of a running Cerberus.

    No sign call counted is a figure as well: nought. Cerberus has no line for what never happened.
    """
    wanted = (METRIC.encode(), STARTED.encode())
    lines = [line for line in text.splitlines() if line.startswith(wanted)]
    instance, signed, listed = "", 0, 0
    try:
        for family in text_string_to_metric_families(b"\n".join(lines).decode() + "\n"):
            for sample in family.samples:
                if sample.name == STARTED:
                    instance = repr(float(sample.value))
                elif sample.name == METRIC and _ok(sample.labels):
                    signed += int(sample.value) if sample.labels["method"].startswith(SIGNER) else 0
                    listed += int(sample.value) if sample.labels["method"] == f"{ADMIN}ListAllKeys" else 0
    except (ValueError, OverflowError):
        return None
    return _Figures(instance, signed, listed) if instance else None


def _ok(labels: Mapping[str, str]) -> bool:
    return labels.get("code") == "OK" and "method" in labels


def _lower(keys: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(key.lower() for key in named(keys)))


def _bare(key: str) -> str:
    """Return a key as Cerberus writes it; it compares letter by letter."""
    return key.lower().removeprefix("0x")


def _with_0x(key: str) -> str:
    return f"0x{_bare(key)}"


def _count(keys: Sequence[str]) -> str:
    return "1 key has" if len(keys) == 1 else f"{len(keys)} keys have"
