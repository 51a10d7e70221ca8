"""Say what a practice fleet consists of: values only, readable from JSON."""

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path

from pydantic import TypeAdapter


class Character(StrEnum):
    """How a node behaves towards those who call its API. Only `down` signs nothing."""

    HONEST = "honest"
    LYING = "lying"  # the first freeze of a key is answered with yes and not done; the second is done
    SILENT = "silent"  # accepts connections, never answers, goes on signing
    DOWN = "down"  # nothing listens, nothing is signed
    SLOW = "slow"  # acts at once, answers after `delay_seconds`
    ERRORING = "erroring"  # answers 500 and does nothing
    HALF = "half"  # freezes the first half of the keys asked for; the others are errors inside a 200
    UNAUTHORISED = "unauthorised"  # answers 401 and does nothing
    DEAF = "deaf"  # says that it is frozen, reads back as frozen, goes on signing
    RESTARTING = "restarting"  # freezes, then restarts at the next duty: new instance, counters from 0, still frozen


class Api(StrEnum):
    """By which API a node's signer is frozen. Everything else is reached by the sidecar API on every node."""

    SIDECAR = "sidecar"
    KEYMANAGER = "keymanager"


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSpec:
    """One node. Without `keys` it gets one of its own, derived from AVS and name; `remote_keys` are read-only ones."""

    name: str
    avs: str
    api: Api = Api.SIDECAR
    character: Character = Character.HONEST
    keys: tuple[str, ...] = ()
    remote_keys: tuple[str, ...] = ()
    region: str = "eu-central"
    cohort: str = "fleet"
    client: str = "sequin"
    version: str = "2.4.0"
    previous_version: str | None = "2.3.1"
    rollback_tested_at: datetime | None = None
    duty: str = "sequence"
    delay_seconds: float = 3.0

    @property
    def all_keys(self) -> tuple[str, ...]:
        """Return the keys that the node holds at its start."""
        return (self.keys or (key_of(self.avs, self.name),)) + self.remote_keys


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetSpec:
    """A fleet: its nodes, how often each key has a duty, and the bearer token of every node."""

    nodes: tuple[NodeSpec, ...]
    duty_period_seconds: float = 1.0
    token: str = field(default="practice-node-token", repr=False)

    def __post_init__(self) -> None:
        """Refuse two nodes of one name, and a duty period that is no period."""
        names = [node.name for node in self.nodes]
        if len(set(names)) != len(names):
            raise ValueError("two nodes have the same name")
        if self.duty_period_seconds <= 0:
            raise ValueError("duty_period_seconds must be above 0")


def key_of(avs: str, name: str, index: int = 0) -> str:
    """Return a 48-byte key, as 0x-hex, that is the same on every run and differs for each AVS, name and index."""
    return "0x" + hashlib.sha384(f"stopsign practice key {avs}/{name}/{index}".encode()).hexdigest()


def build_hash(client: str, version: str) -> str:
    """Return the build hash of a client's version."""
    return "sha256:" + hashlib.sha256(f"practice build {client} {version}".encode()).hexdigest()


def config_checksum(name: str, version: str) -> str:
    """Return the configuration checksum of a node that runs `version`."""
    return "sha256:" + hashlib.sha256(f"practice config {name} {version}".encode()).hexdigest()


def load(path: Path) -> FleetSpec:
    """Read a FleetSpec from a JSON file; raises pydantic's ValidationError naming the field."""
    return TypeAdapter(FleetSpec).validate_json(path.read_bytes())


_REGIONS = ("eu-central", "us-east", "ap-south")
_CHARACTERS = {2: Character.LYING, 3: Character.SILENT, 4: Character.DOWN}
_KEYMANAGERS = {2, 6, 10}
_TESTED = timedelta(days=12)
"""How long before the fleet is made its rollbacks were tested."""


def default_fleet(*, duty_period_seconds: float = 1.0) -> FleetSpec:
    """Return the fleet of demo and drills: twelve sequencers, of which three misbehave, and four honest oracles."""
    tested = datetime.now(UTC) - _TESTED
    sequencers = tuple(_sequencer(number, tested) for number in range(1, 13))
    oracles = tuple(
        NodeSpec(
            name=f"orc-{number:02d}",
            avs="oracle",
            region=_REGIONS[number % 3],
            cohort="canary" if number == 1 else "fleet",
            version="2.3.1",
            previous_version="2.3.0",
            rollback_tested_at=tested,
            duty="report",
        )
        for number in range(1, 5)
    )
    return FleetSpec(nodes=sequencers + oracles, duty_period_seconds=duty_period_seconds)


def _sequencer(number: int, tested: datetime) -> NodeSpec:
    keymanager = number in _KEYMANAGERS
    canary = number <= 4
    version = ("1.5.1" if canary else "1.5.0") if keymanager else ("2.4.0" if canary else "2.3.1")
    return NodeSpec(
        name=f"seq-{number:02d}",
        avs="shared-sequencer",
        api=Api.KEYMANAGER if keymanager else Api.SIDECAR,
        character=_CHARACTERS.get(number, Character.HONEST),
        region=_REGIONS[(number - 1) % 3],
        cohort="canary" if canary else "cohort" if number <= 8 else "fleet",
        client="ordo" if keymanager else "sequin",
        version=version,
        previous_version={"1.5.1": "1.5.0", "1.5.0": "1.4.3", "2.4.0": "2.3.1", "2.3.1": "2.3.0"}[version],
        rollback_tested_at=tested,
    )
