"""What the floors below need from the adapters: Protocols and nothing else.

Drivers of `bot/nodes/` implement `Signer`, `Router`, `Deployer`, `Recorder` (as many as their API offers). Each call
raises NotReached (cannot have arrived), NoAnswer (may have acted), NodeRefused (the node said no) or NodeBroken
(unreadable). Each call ends within the endpoint's timeout.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, Protocol, TypeVar, runtime_checkable

from bot.domain.incident import Incident
from bot.domain.inventory import Capability, Endpoint, Node
from bot.domain.journal import EvidenceKept, Written
from bot.domain.target import Effect, Release, Reply, Sample
from bot.domain.watch import Watch
from bot.domain.work import Backlog, Result, Todo, Work

T = TypeVar("T")


class Clock(Protocol):
    """Tells the time."""

    def now(self) -> datetime:
        """Return the current time, aware, in UTC."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What a driver promises, declared as data; docs/drivers.md is made of it.

    `reversible` False means that undoing takes more than one call; `destructive` that a freeze deletes keys, so that
    it needs an escrow. `proves_by` is the proof it gives, `needs` what that takes (which counters, which window),
    `cannot_know` what stays unknown, `blast_radius` what else is hit. `tested` names program and version it was proven
    against: when that was the real one, `tier` is `real`; `emulated` is never automatic.
    """

    effect: Effect
    reversible: bool
    proves_by: str
    cannot_know: str
    capabilities: tuple[Capability, ...]
    needs: str
    blast_radius: str
    tested: str
    tier: Literal["real", "emulated"] = "real"
    destructive: bool = False


@runtime_checkable
class Signer(Protocol):
    """Stops and starts signing on one node. `request` is the idempotency key of this very effect."""

    traits: Traits

    async def freeze(self, keys: Sequence[str], *, incident: str, request: str) -> Reply:
        """Ask the node to stop signing with `keys`; never an empty list (raises ValueError)."""
        ...

    async def unfreeze(self, keys: Sequence[str], *, incident: str, request: str) -> Reply:
        """Ask the node to sign again with `keys`."""
        ...

    async def sample(self, keys: Sequence[str]) -> Sample:
        """Read state, counters, instance and next duty of `keys`."""
        ...

    async def slashing_protection(self) -> bytes:
        """Return the EIP-3076 interchange JSON of the node's keys."""
        ...


@runtime_checkable
class Router(Protocol):
    """Takes one node out of traffic and back."""

    traits: Traits

    async def isolate(self, *, incident: str, request: str) -> Reply:
        """Quarantine the node: traffic goes to the others."""
        ...

    async def restore(self, *, incident: str, request: str) -> Reply:
        """Let the node serve again."""
        ...

    async def isolated(self) -> bool:
        """Read back whether the node is out of traffic."""
        ...


@runtime_checkable
class Deployer(Protocol):
    """Runs and reverts releases on one node."""

    traits: Traits

    async def rollback(self, to_build: str, *, incident: str, request: str) -> Reply:
        """Revert the node to build `to_build` (sha256:…)."""
        ...

    async def release(self) -> Release:
        """Read back what runs."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """Something to be kept as evidence, as a stream. `what` is one of the kinds in docs/evidence.md."""

    what: str
    source: str
    media_type: str
    chunks: AsyncIterator[bytes]
    tool: str
    acts: bool = False
    """True when asking for it changes something at the node, such as rotating its logs."""


@runtime_checkable
class Recorder(Protocol):
    """Captures what one node knows about a window of time."""

    traits: Traits

    def capture(self, since: datetime, until: datetime) -> AsyncIterator[Item]:
        """Yield items one after another; an item that cannot be had raises a NodeError from its own `chunks`."""
        ...


@runtime_checkable
class Throttle(Protocol):
    """Slows risky flows of one node down."""

    traits: Traits

    async def throttle(self, *, incident: str, request: str) -> Reply:
        """Limit the node's risky flows to the configured rate."""
        ...

    async def throttled(self) -> bool:
        """Read back whether the limit is in force."""
        ...


class Fleet(Protocol):
    """Gives the driver for a node's capability."""

    def reach(self, node: Node, capability: Capability) -> object | None:
        """Return the driver (a Signer, Router, …), or None when the inventory names no endpoint for it."""
        ...


class Recorders(Protocol):
    """Gives all that can be asked for a node's evidence."""

    def recorders(self, node: Node) -> Sequence[tuple[Endpoint, object]]:
        """Return the drivers that are asked for evidence, each with its endpoint."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A stored blob."""

    sha256: str
    size: int


class Blobs(Protocol):
    """The vault's store of content, addressed by its hash, written once."""

    async def keep(self, chunks: AsyncIterator[bytes]) -> Kept:
        """Store a stream durably; the same content again is the same blob."""
        ...

    def read(self, sha256: str) -> bytes:
        """Return a blob's content."""
        ...


class Symptoms(Protocol):
    """Tells whether a symptom lasts, from monitoring."""

    async def persists(self, query: str) -> bool | None:
        """Run PromQL: non-empty → True, empty → False, no answer → None (unknown)."""
        ...

    async def series(self, query: str, since: datetime, until: datetime) -> bytes | None:
        """Return the query_range JSON of a window, or None when monitoring is not configured or silent."""
        ...


class Chat(Protocol):
    """The chat service, as the communicate handlers need it. Raises ChatLater, ChatLost or ChatError."""

    async def call(self, method: str, arguments: Mapping[str, object]) -> Mapping[str, object]:
        """Call one Web API method."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """What is stored of one alert episode."""

    incident: int
    resolved: bool
    own_effect: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Stood:
    """Where a row of work stands: its `state` (ready, done or dead) and what its handler noted last."""

    state: str
    outcome: str | None


class Rows(Protocol):
    """The tables, inside one transaction. Only `bot/flows/book.py` and the ledger use it."""

    def incident(self, number: int) -> Incident | None:
        """Return an incident, its row locked until the transaction ends."""
        ...

    def live(self, key: str) -> Incident | None:
        """Return the open or contained incident with a correlation key."""
        ...

    def latest(self, key: str) -> Incident | None:
        """Return the newest incident with a correlation key, whatever its status."""
        ...

    def incidents(self, *, live_only: bool, limit: int) -> tuple[Incident, ...]:
        """Return incidents, newest first."""
        ...

    def by_channel(self, channel: str) -> Incident | None:
        """Return the incident whose channel this is, or None."""
        ...

    def told(self, audience: str, *, limit: int) -> tuple[Incident, ...]:
        """Return the newest incidents of which an audience was ever told something."""
        ...

    def holding(self) -> tuple[Incident, ...]:
        """Return the incidents, resolved ones too, that hold a target stopped."""
        ...

    def new_number(self) -> int:
        """Return the number of the next incident."""
        ...

    def episodes(self, wanted: Sequence[tuple[str, str]]) -> Mapping[tuple[str, str], Episode]:
        """Return what is stored of alert episodes (fingerprint, startsAt)."""
        ...

    def watch(self) -> Watch:
        """Return the watch, its row locked until the transaction ends."""
        ...

    def entries(self, incident: int | None) -> tuple[Written, ...]:
        """Return a stream's whole journal in order."""
        ...

    def entry(self, incident: int | None, n: int) -> Written | None:
        """Return one entry of a stream, or None."""
        ...

    def kept(self, incident: int, sha256: str) -> tuple[EvidenceKept, ...]:
        """Return the evidence items of an incident that have this content."""
        ...

    def alerts(self, incident: int) -> tuple[Mapping[str, object], ...]:
        """Return the alert bodies of an incident as received, oldest first."""
        ...

    def backlog(self, now: datetime) -> Backlog:
        """Return how much of what people should be told in Slack was due by `now` and waits; furniture aside."""
        ...

    def save(
        self, incidents: Sequence[Incident], watch: Watch | None, entries: Sequence[Written], todo: Sequence[Todo]
    ) -> None:
        """Store everything that a decision changed."""
        ...

    def outcome(self, key: str) -> "Stood | None":
        """Return where the work of a key stands, or None when there is none."""
        ...

    def holds(self, work: Work) -> bool:
        """Tell whether `work` is still leased under its fence."""
        ...


class Store(Protocol):
    """The database: short transactions off the event loop."""

    async def write(self, act: Callable[[Rows], T], *, soon: bool = False) -> T:
        """Run `act` in one transaction and commit; raises NotCommitted when the database could not.

        `soon` overtakes what nobody waits for.
        """
        ...

    async def read(self, act: Callable[[Rows], T]) -> T:
        """Run `act` on a consistent reading; nothing that it does is kept."""
        ...


class Queue(Protocol):
    """The work table."""

    async def claim(
        self, kinds: Sequence[str], *, limit: int, lease: timedelta, incident: int | None
    ) -> tuple[Work, ...]:
        """Lease due work of these kinds, lanes in order."""
        ...

    async def finish(self, work: Work, result: Result) -> bool:
        """Record a handler's result under the work's fence; False when the lease was lost."""
        ...

    async def retry(self, work: Work, *, at: datetime, error: str) -> bool:
        """Give failed work back, to be tried again at `at`."""
        ...

    async def extend(self, work: Work, lease: timedelta) -> bool:
        """Renew a lease; False when it was lost."""
        ...

    async def next_due(self) -> datetime | None:
        """Return when the next unfinished row falls due."""
        ...


class Tokens(Protocol):
    """API tokens, and figures about the tables."""

    async def person_of(self, token_hash: str, now: float) -> str | None:
        """Return whose valid token this is; None for unknown, expired and revoked ones."""
        ...

    async def stats(self) -> Mapping[str, float]:
        """Return figures for /metrics by metric name; raises NotCommitted when the database does not answer."""
        ...
