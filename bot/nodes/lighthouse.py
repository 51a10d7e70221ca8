"""Drive a Lighthouse validator client: a validator is disabled and enabled again, and its key stays on disk.

Its API takes one key a request (PATCH /lighthouse/validators/:voting_pubkey) and answers an empty 200, whether it
changed something or not. So the list of validators is read before and after.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pydantic import TypeAdapter

from bot.domain.inventory import Capability, Node
from bot.domain.target import Answer, Effect, KeyReading, Reply, Sample
from bot.errors import NodeError, NodeRefused, NotReached
from bot.nodes.prometheus_text import Counters, by_label, read_counters
from bot.nodes.several import each, failure, together, told, worst
from bot.nodes.way import Way
from bot.nodes.wire import Call, Wire, named
from bot.ports import Clock, Traits

VALIDATORS = "/lighthouse/validators"
HEALTH = "/lighthouse/health"
COUNTERS = "vc_signing_times_seconds_count"
LOOK = 0.25
"""Share of the time limit that the look at the list before a change may take."""
TRAITS = Traits(
    effect=Effect.SET_STATE,
    reversible=True,
    capabilities=(Capability.SIGNER,),
    proves_by="the validator reads back as disabled, and the client's number of signatures in its /metrics is flat",
    needs="the option metrics; no other validator of the client enabled than those asked about, as its metrics name "
    "no key; one signature since its start, before which there is no counter; two samples over a due duty",
    cannot_know="signatures of the same key elsewhere, which key signed while others are enabled, and a restart in a "
    "container, where the process has the same number again",
    blast_radius="the named validators only; the client's others sign on",
    tested="an imitation written from the source and the book of Lighthouse 8.0",
    tier="emulated",  # a Rust program that no package registry offers
)


@dataclass(frozen=True, slots=True)
class _Validator:
    voting_pubkey: str
    enabled: bool


@dataclass(frozen=True, slots=True)
class _Validators:
    data: list[_Validator]


@dataclass(frozen=True, slots=True)
class _Process:
    pid: int
    misc_node_boot_ts_seconds: int


@dataclass(frozen=True, slots=True)
class _Health:
    data: _Process


_LIST = TypeAdapter(_Validators)
_HEALTH = TypeAdapter(_Health)


def connect(way: Way) -> "Lighthouse":
    """Return the driver of a Lighthouse validator client; opens no connection. Raises Misconfigured.

    The endpoint's token is the content of `validators/api-token.txt`: write `file:/path`.

    Options:
        metrics: base URL of /metrics, which the client serves on a port of its own (5064); it gets no token
        counters: names of the counters that rise with each signature, by commas (default `COUNTERS`); unless each of
            them is there, none counts
        key_label: their label that holds the key, if there is one (default `pubkey`)
    """
    options = way.options("metrics", "counters", "key_label")
    return Lighthouse(way.node, way.wire(), way.wire(options.get("metrics"), token=None), options, way.clock)


class Lighthouse:
    """Signer over the validator client's own API."""

    traits = TRAITS

    def __init__(self, node: Node, wire: Wire, metrics: Wire, options: Mapping[str, str], clock: Clock) -> None:
        self._node = node
        self._wire = wire
        self._metrics = metrics
        self._options = options
        self._clock = clock

    async def freeze(self, keys: Sequence[str], *, incident: str, request: str) -> Reply:
        """Disable the validators `keys`; each is asked for, and the list is read back."""
        return await self._set(named(keys), enabled=False)

    async def unfreeze(self, keys: Sequence[str], *, incident: str, request: str) -> Reply:
        """Enable the validators `keys` again."""
        return await self._set(named(keys), enabled=True)

    async def sample(self, keys: Sequence[str]) -> Sample:
        """Read which of `keys` are enabled, and how often the client signed, if it signs with no other key.

        A key that the client does not hold is missing in the sample.
        """
        asked = named(keys)
        call = self._wire.call()
        listed, counters = await together(self._listed(call), self._counters())
        others = {key for key, enabled in listed.items() if enabled} - {key.lower() for key in asked}
        readings = {
            key: KeyReading(signing=listed[key.lower()], counter=counters.of(key, whole=not others))
            for key in asked
            if key.lower() in listed
        }
        instance = counters.instance or await self._process(call)
        return Sample(at=self._clock.now(), instance=instance, keys=readings)

    async def slashing_protection(self) -> bytes:
        """Raise NodeRefused: the client gives it out only for keys that it deletes, which is not done here."""
        raise NodeRefused(
            f"{self._node.name}: Lighthouse gives out slashing protection over HTTP only when it deletes keys; "
            "run `lighthouse account validator slashing-protection export` on its machine"
        )

    async def _set(self, asked: Sequence[str], *, enabled: bool) -> Reply:
        """Set every key, and tell what the list says afterwards.

        Raises a NodeError only when no key got an answer: then nothing else is known.
        """
        call = self._wire.call()
        before = await self._look()

        async def patched(key: str) -> None:
            await call.content("PATCH", f"{VALIDATORS}/{key.lower()}", body={"enabled": enabled})

        answers = await each(asked, patched)
        errors = {key: error for key, error in answers.items() if error is not None}
        if len(errors) == len(asked) and not all(_absent(error) for error in errors.values()):
            raise worst(errors.values())
        try:
            after = await self._listed(call)
        except NodeError as error:
            return _unread(errors, error, enabled=enabled)
        return _judged(asked, errors, before, after, enabled=enabled)

    async def _look(self) -> Mapping[str, bool]:
        """Return the list before a change; empty when it is not to be had soon: that must not cost a freeze.

        Raises NotReached and NodeRefused: nothing was asked for yet.
        """
        wire = replace(self._wire, timeout=self._wire.timeout * LOOK)
        try:
            return await self._listed(wire.call())
        except (NotReached, NodeRefused):
            raise
        except NodeError:
            return {}

    async def _listed(self, call: Call) -> dict[str, bool]:
        """Return the validators that the client holds, in lower case, and whether each is enabled."""
        return {one.voting_pubkey.lower(): one.enabled for one in (await call.json(_LIST, "GET", VALIDATORS)).data}

    async def _counters(self) -> Counters:
        """Return the signature counters; empty when the client's metrics cannot be had or read."""
        try:
            text = await self._metrics.call().content("GET", "/metrics")
        except NodeError:
            return Counters()
        names = [name.strip() for name in self._options.get("counters", COUNTERS).split(",")]
        counters = await asyncio.to_thread(read_counters, text, names, self._options.get("key_label", "pubkey"))
        return by_label(counters, self._options, self._node.name)

    async def _process(self, call: Call) -> str:
        """Return boot time and process number, for a client whose metrics do not tell when it started."""
        try:
            told = (await call.json(_HEALTH, "GET", HEALTH)).data
        except NodeError:
            return ""
        return f"{told.misc_node_boot_ts_seconds}-{told.pid}"


def _absent(error: NodeError) -> bool:
    return isinstance(error, NodeRefused) and error.status == 404


def _unread(errors: Mapping[str, NodeError], why: NodeError, *, enabled: bool) -> Reply:
    """Return the reply when each key was asked for and the list could not be read back."""
    if not errors:
        detail = f"the client said yes for every key, but {_word(enabled)} could not be read back: {why}"
        return Reply(answer=Answer.ACKNOWLEDGED, detail=detail)
    return Reply(answer=failure(errors.values()), detail=f"{told(errors)}; nor could the list be read back: {why}")


def _judged(
    asked: Sequence[str],
    errors: Mapping[str, NodeError],
    before: Mapping[str, bool],
    after: Mapping[str, bool],
    *,
    enabled: bool,
) -> Reply:
    """Return what the answers and the list afterwards amount to; for a key the list counts more than its answer."""
    wrong = {key: errors.get(key) for key in asked if after.get(key.lower()) is not enabled}
    if not wrong:
        already = all(before.get(key.lower()) is enabled for key in asked)
        detail = f"listed as {_word(enabled)}{' before the request' if already else ''}"
        return Reply(answer=Answer.ALREADY if already else Answer.ACKNOWLEDGED, detail=detail)
    reasons = {
        key: error or ("not held by the client" if key.lower() not in after else f"listed as {_word(not enabled)}")
        for key, error in wrong.items()
    }
    detail = f"{len(wrong)} of {len(asked)} keys are not {_word(enabled)}: {told(reasons)}"
    return Reply(answer=failure([error for error in wrong.values() if error]), detail=detail)


def _word(enabled: bool) -> str:
    return "enabled" if enabled else "disabled"
