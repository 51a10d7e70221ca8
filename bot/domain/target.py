"""Target states, and what it takes to call a freeze proven.

A node API's "OK" is not a freeze. `prove` compares two samples of a signer, and only what they show counts.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum


class State(StrEnum):
    """Where one target stands in one kind of step."""

    HELD = "held"  # nothing was sent: a person decides
    REQUESTED = "requested"  # the intent is committed; the request may be on its way
    ACKNOWLEDGED = "acknowledged"  # the node said yes; nothing is proven
    VERIFIED = "verified"  # proven
    ALREADY = "already"  # was so before we asked, and proven
    REFUSED = "refused"  # the node, or the rules, said no: nothing happened
    FAILED = "failed"  # known not to be in force
    UNKNOWN = "unknown"  # nobody can tell: never final, people are told
    WAIVED = "waived"  # a person decided to go on without it

    @property
    def proven(self) -> bool:
        """Tell whether the state rests on proof."""
        return self in {State.VERIFIED, State.ALREADY}

    @property
    def settled(self) -> bool:
        """Tell whether nothing of ours is under way for the target."""
        return self is not State.REQUESTED

    @property
    def left(self) -> str:
        """Return how a target in this state is left behind when an incident ends, for people."""
        return {
            State.VERIFIED: "stopped, proven",
            State.ALREADY: "stopped, proven",
            State.HELD: "not stopped: a person's word was waited for",
            State.REQUESTED: "asked to stop, without an answer",
            State.ACKNOWLEDGED: "asked to stop, not proven",
            State.UNKNOWN: "unknown: treat as signing",
            State.FAILED: "not stopped",
            State.REFUSED: "not stopped: it refused",
            State.WAIVED: "left alone",
        }[self]

    @property
    def next_means(self) -> str:
        """Return what may be done next, for people."""
        return {
            State.HELD: "decide: freeze it, or leave it signing",
            State.REQUESTED: "wait for the answer",
            State.ACKNOWLEDGED: "wait for the proof",
            State.VERIFIED: "nothing; the proof is renewed",
            State.ALREADY: "nothing; the proof is renewed",
            State.REFUSED: "read the node's reason; deny at a gate or isolate",
            State.FAILED: "it is asked again; deny at a gate, isolate, or cut its power",
            State.UNKNOWN: "treat as signing: it is asked again; deny at a gate, isolate, or cut its power",
            State.WAIVED: "nothing",
        }[self]


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """One target's state in one verb, with its reason and since when; `item` names the evidence of its proof."""

    state: State
    step: str
    since: datetime
    detail: str = ""
    attempt: int = 0
    item: str | None = None


class Effect(StrEnum):
    """What a node API promises about repeated requests."""

    SET_STATE = "set_state"  # repeating sets the same state again
    KEYED = "keyed"  # repeating under the same key does nothing
    AT_MOST_ONCE = "at_most_once"  # repeating acts again


class Answer(StrEnum):
    """What a node said to a request, before any proof."""

    ACKNOWLEDGED = "acknowledged"
    ALREADY = "already"
    REFUSED = "refused"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """Something that came with an answer and must be kept: `content` as bytes, `what` names it for people."""

    what: str
    content: bytes
    media_type: str = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A driver's translated answer; `detail` is a sentence, `artifacts` are kept before anything else happens."""

    answer: Answer
    detail: str
    artifacts: tuple[Artifact, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyReading:
    """One key in a sample: does its signer say that it signs, how many signatures so far, when is a duty due."""

    signing: bool
    counter: int | None
    """Signatures since the process started; None when no telemetry counts this key."""
    last_signed_at: datetime | None = None
    next_duty_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What a signer looked like at `at` (our clock); `instance` changes when its process restarts."""

    at: datetime
    instance: str
    keys: Mapping[str, KeyReading]
    node_time: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """What runs on a node."""

    version: str
    build_hash: str
    config_checksum: str
    instance: str = ""
    previous_build: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What two samples show: a state that may be reported, and why.

    `ready` is False while no conclusion is possible yet: take another sample at `again_at`.
    """

    state: State
    why: str
    ready: bool = True
    again_at: datetime | None = None
    counters: Mapping[str, tuple[int | None, int | None]] = field(default_factory=dict)


def window(sample: Sample, keys: tuple[str, ...], period: timedelta, windows: int) -> datetime:
    """Return when a second sample can prove something: `windows` periods on, and after each key's next duty."""
    floor = sample.at + period * windows
    skew = (sample.node_time - sample.at) if sample.node_time else timedelta()
    duties = [r.next_duty_at - skew for k in keys if (r := sample.keys.get(k)) and r.next_duty_at]
    return max([floor, *(duty + period * (windows - 1) for duty in duties)]) + period * 0.1


def prove(
    before: Sample,
    after: Sample,
    keys: tuple[str, ...],
    *,
    period: timedelta,
    windows: int = 1,
    was_frozen: bool = False,
) -> Proof:
    """Judge whether `keys` have stopped signing between two samples.

    Verified needs, for each key: read back as not signing, a counter in both samples that is equal, the same process
    instance, time passing on the node, and a duty due in between. Anything less is unknown; a rise is failed.
    """
    counters = {k: (_count(before, k), _count(after, k)) for k in keys}
    if not keys:
        return Proof(state=State.UNKNOWN, why="no key is listed for this node in the inventory")
    if before.instance != after.instance:
        return Proof(
            state=State.UNKNOWN,
            why="the signer restarted between the samples: counters cannot be compared",
            counters=counters,
        )
    for key, (first, second) in counters.items():
        if first is None or second is None:
            if not after.keys.get(key) and not before.keys.get(key):
                return Proof(state=State.UNKNOWN, why=f"no telemetry for key {short(key)}", counters=counters)
            return Proof(state=State.UNKNOWN, why=f"no signature counter for key {short(key)}", counters=counters)
        if second < first:
            return Proof(
                state=State.UNKNOWN,
                why=f"the counter of key {short(key)} went back {first} to {second}",
                counters=counters,
            )
        if second > first:
            return Proof(
                state=State.FAILED,
                why=f"still signing: counter of key {short(key)} rose {first} to {second}",
                counters=counters,
            )
    still = [k for k in keys if after.keys[k].signing]
    if still:
        return Proof(state=State.FAILED, why=f"key {short(still[0])} reads back as signing", counters=counters)
    if before.node_time and after.node_time and after.node_time <= before.node_time:
        return Proof(
            state=State.UNKNOWN, why="the node's clock stands still: its telemetry is stale", counters=counters
        )
    due = window(before, keys, period, windows)
    if after.at < due:
        return Proof(state=State.ACKNOWLEDGED, why="no duty was due yet", ready=False, again_at=due, counters=counters)
    seconds = (after.at - before.at).total_seconds()
    why = (
        f"read back stopped; {len(keys)} counter{'s' if len(keys) > 1 else ''} flat for {seconds:.1f} s over a due duty"
    )
    return Proof(state=State.ALREADY if was_frozen else State.VERIFIED, why=why, counters=counters)


def _count(sample: Sample, key: str) -> int | None:
    reading = sample.keys.get(key)
    return reading.counter if reading else None


def short(key: str) -> str:
    """Return a key shortened for people: `0x1234…cdef`."""
    return key if len(key) <= 14 else f"{key[:6]}…{key[-4:]}"
