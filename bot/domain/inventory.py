"""The fleet (inventory.yaml): which node holds which key, for which AVS, reached how."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import StrEnum


class Capability(StrEnum):
    """What a node can be asked to do; each is reached by a driver of its own."""

    SIGNER = "signer"
    ROUTER = "router"
    DEPLOYER = "deployer"
    RECORDER = "recorder"
    THROTTLE = "throttle"


class Cohort(StrEnum):
    """Where a node stands in a rollout."""

    CANARY = "canary"
    COHORT = "cohort"
    FLEET = "fleet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where one capability is reached.

    `driver` names a module of `bot/nodes/`; `url` is http(s)://…, tcp://host:port or unix:/path, as the driver needs;
    `token` is a reference `env:NAME` or `file:/path`, never a secret itself; `options` are the driver's own. `ca`,
    `client_cert` and `client_key` are absolute paths of PEM files.
    """

    driver: str
    url: str
    token: str | None = None
    timeout: timedelta = timedelta(seconds=5)
    options: Mapping[str, str] = field(default_factory=dict)
    ca: str | None = None
    """Who signs the node's certificate, instead of the authorities that the system trusts."""
    client_cert: str | None = None
    client_key: str | None = None
    line: int | None = field(default=None, compare=False, repr=False)
    """Where it stands in inventory.yaml; its options, if it has any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RollbackContract:
    """A documented, automated and tested way back to the last good build."""

    build_hash: str
    config_checksum: str | None = None
    tested_on: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One machine that signs. `labels` are the values by which alerts may name it (instance, validator, …)."""

    name: str
    avs: str
    keys: tuple[str, ...]
    cohort: Cohort = Cohort.FLEET
    region: str = ""
    zone: str = ""
    provider: str = ""
    client: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    reach: Mapping[Capability, Endpoint] = field(default_factory=dict)
    """Where it is asked; of several recorders, the first."""
    more_recorders: tuple[Endpoint, ...] = ()
    rollback: RollbackContract | None = None
    escrow: bool = False
    """True when keystore and password are attested to be kept elsewhere: a destructive freeze can be undone."""

    @property
    def endpoints(self) -> tuple[tuple[Capability, Endpoint], ...]:
        """Return all endpoints, in the order of the capabilities."""
        more = ((Capability.RECORDER, endpoint) for endpoint in self.more_recorders)
        return (*self.reach.items(), *more)

    @property
    def recorders(self) -> tuple[Endpoint, ...]:
        """Return the endpoints that are asked for evidence, in the order of the inventory."""
        return tuple(endpoint for capability, endpoint in self.endpoints if capability is Capability.RECORDER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Avs:
    """One service. `quorum` is how many of its signers must go on signing; `duty_period` how often a key has a duty."""

    name: str
    quorum: int = 1
    duty_period: timedelta = timedelta(seconds=12)
    network: str = "testnet"
    channel: str | None = None
    """The Slack channel of those who depend on it; None: the policy's `stakeholder_channel`."""


def same_key(key: str) -> str:
    """Return the one spelling of a key: hexadecimal digits have two cases and mean the same."""
    return key.lower() if key[:2].lower() == "0x" else key


def told_apart(keys: Sequence[str], among: Collection[str] = ()) -> list[str]:
    """Return keys shortened for people, with as many digits as tell each from the others and from those `among` them.

    Keys of a test network often differ in a few digits only, at the end or in the middle.
    """
    every = {same_key(key) for key in (*keys, *among)}
    for digits in (4, 8, 16, 32):
        shown = {key: _shortened(key, digits) for key in every}
        if len(set(shown.values())) == len(every):
            return [shown[same_key(key)] for key in keys]
    return [same_key(key) for key in keys]


def _shortened(key: str, digits: int) -> str:
    return key if len(key) <= 2 * digits + 6 else f"{key[: digits + 2]}…{key[-digits:]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapped:
    """Which nodes an alert points at: `nodes` uniquely found, `unresolved` as `label=value` texts for people."""

    nodes: tuple[str, ...] = ()
    unresolved: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """The whole fleet by name."""

    avs: Mapping[str, Avs]
    nodes: Mapping[str, Node]
    networks: tuple[str, ...] = ("127.0.0.0/8",)
    """CIDR ranges in which node URLs may lie."""

    def of_avs(self, avs: str) -> tuple[Node, ...]:
        """Return the AVS's nodes in file order."""
        return tuple(node for node in self.nodes.values() if node.avs == avs)

    def holders(self, key: str) -> tuple[str, ...]:
        """Return the names of all nodes that hold `key`."""
        wanted = same_key(key)
        return tuple(node.name for node in self.nodes.values() if wanted in map(same_key, node.keys))

    def find(self, by: str, value: str, avs: str | None) -> tuple[str, ...]:
        """Return nodes whose attribute `by` (name, key, or an entry of `labels`) equals `value`, within `avs` if given.

        A key names every node that holds it: when one key signs in two places, all of them are suspects.
        """
        return tuple(
            node.name
            for node in self.nodes.values()
            if (avs is None or node.avs == avs)
            and (
                (by == "name" and node.name == value)
                or (by == "key" and same_key(value) in map(same_key, node.keys))
                or (by not in {"name", "key"} and node.labels.get(by) == value)
            )
        )

    def shared_keys(self) -> Mapping[str, tuple[str, ...]]:
        """Return each key that more than one node holds, with those nodes."""
        keys = {same_key(key) for node in self.nodes.values() for key in node.keys}
        return {key: names for key in sorted(keys) if len(names := self.holders(key)) > 1}
