"""A second look at a configuration that is valid: what will hurt on the night it is needed. Pure."""

import posixpath
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum

from bot.domain.authority import Power
from bot.domain.config import Config
from bot.domain.inventory import Capability, Endpoint, Inventory, Node, same_key
from bot.domain.runbook import Runbook
from bot.domain.target import short
from bot.domain.team import HOURS_A_WEEK, Team

CONTRACT_LIVES = timedelta(days=90)
NEED_TWO = (Power.UNFREEZE, Power.ROLLBACK, Power.REARM)

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


class State(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One line of the doctor: what was looked at, what was found, and what to do unless it is well."""

    name: str
    state: State
    what: str
    todo: str = ""


def ok(name: str, what: str) -> Check:
    """Return a line that needs no action."""
    return Check(name=name, state=State.OK, what=what)


def warn(name: str, what: str, todo: str) -> Check:
    """Return a line about something that will hurt under circumstances."""
    return Check(name=name, state=State.WARN, what=what, todo=todo)


def fail(name: str, what: str, todo: str) -> Check:
    """Return a line about something that does not work, or is dangerous now."""
    return Check(name=name, state=State.FAIL, what=what, todo=todo)


def review(
    config: Config, *, today: date, destructive: Callable[[Endpoint], bool], escrows: Iterable[Check] = ()
) -> Iterator[Check]:
    """Yield what can be said about `config` without looking outside, one line for each subject at least.

    `destructive` tells whether a freeze at a signer's endpoint deletes keys; `escrows` is what was seen of those that
    are attested.
    """
    inventory = config.inventory
    yield _fleet(config)
    yield from blast_radius(inventory)
    yield from _or_ok("reach", "every node can be asked to stop", _reach(inventory))
    yield from _or_ok("alerts", "safety alerts can name every node", _nameable(config))
    yield from _or_ok("escrow", "no freeze destroys what cannot be restored", [*_escrow(config, destructive), *escrows])
    yield from _or_ok("rollback", "every node has a rollback contract tested lately", _contracts(inventory, today))
    yield from _or_ok("on-call", "two people who may start things again, at every hour", _hours(config.team))
    yield from _or_ok("people", "everybody on call can be reached", _people(config.team))


def blast_radius(inventory: Inventory) -> Iterator[Check]:
    """Yield what one mistake or one failure would take along: shared keys, signers, gates and zones."""
    yield from _or_ok("keys", "no key is in two places", _keys(inventory))
    yield from _or_ok("signers", "no signer serves two services", _signers(inventory))
    yield from _or_ok("gates", "no freeze of a whole signer can be undone as something else", _gates(inventory))
    yield from _or_ok("zones", "no zone takes a service below its quorum", _zones(inventory))


def spans(hours: Iterable[int]) -> str:
    """Return hours of the week compactly: `Sat 00:00–08:00, Sun 22:00–Mon 06:00`."""
    left = sorted(set(hours))
    if len(left) == HOURS_A_WEEK:
        return "the whole week"
    found: list[tuple[int, int]] = []
    for hour in left:
        if found and found[-1][1] == hour:
            found[-1] = (found[-1][0], hour + 1)
        else:
            found.append((hour, hour + 1))
    if len(found) > 1 and found[0][0] == 0 and found[-1][1] == HOURS_A_WEEK:
        found[-1] = (found[-1][0], found.pop(0)[1])
    return ", ".join(_span(start, end) for start, end in found)


def _span(start: int, end: int) -> str:
    last_day = (end - 1) % HOURS_A_WEEK // 24
    closing = f"{end % 24:02}:00" if end % 24 else "24:00"
    day = "" if last_day == start // 24 and 0 < (end - start) % HOURS_A_WEEK <= 24 else f"{_DAYS[last_day]} "
    return f"{_DAYS[start // 24]} {start % 24:02}:00–{day}{closing}"


def some(names: Sequence[str], most: int = 5) -> str:
    """Return names for a sentence, the rest counted."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _or_ok(name: str, well: str, found: Iterable[Check]) -> Iterator[Check]:
    lines = list(found)
    yield from lines or [ok(name, well)]


def _fleet(config: Config) -> Check:
    nodes, services = len(config.inventory.nodes), len(config.inventory.avs)
    content = f"{len(config.runbooks)} runbooks, {len(config.playbooks)} playbooks"
    return ok("files", f"{nodes} nodes of {services} services, {len(config.team.people)} people, {content}")


def _keys(inventory: Inventory) -> Iterator[Check]:
    for key, names in inventory.shared_keys().items():
        services = sorted({inventory.nodes[name].avs for name in names})
        what = f"key {short(key)} is in {len(names)} places: {some(names)}"
        if len(services) > 1:
            what += f", and serves {some(services)}: one mistake is slashed {len(services)} times"
        yield fail("keys", what, "give each node, and each service, its own key; prove the others stopped first")


def _signers(inventory: Inventory) -> Iterator[Check]:
    """Say which signers stand behind nodes of several services: stopping one stops the others' too."""
    behind: dict[str, list[Node]] = {}
    for node in inventory.nodes.values():
        if signer := node.reach.get(Capability.SIGNER):
            behind.setdefault(signer.url.rstrip("/"), []).append(node)
    for url, nodes in behind.items():
        services = sorted({node.avs for node in nodes})
        if len(services) > 1:
            keys = len({same_key(key) for node in nodes for key in node.keys})
            yield warn(
                "signers",
                f"{url} signs for {some(services)} ({some([n.name for n in nodes])}): who takes it over holds "
                f"{keys} keys of {len(services)} services, and if it goes down all of them stand still",
                "give each service its own signer, or accept it in your risk register",
            )


def _gates(inventory: Inventory) -> Iterator[Check]:
    """Say which whole signers are stopped at a place where somebody else starts them: a router, or another node."""
    at: dict[str, dict[tuple[str, Capability], None]] = {}
    for node in inventory.nodes.values():
        for capability in (Capability.SIGNER, Capability.ROUTER):
            endpoint = node.reach.get(capability)
            for place in _stopped_at(endpoint) if endpoint else ():
                at.setdefault(place, {})[node.name, capability] = None
    for place, holders in at.items():
        for name, capability in holders:
            others = [f"the {can} of {other}" for other, can in holders if (other, can) != (name, capability)]
            if capability is Capability.SIGNER and others:
                yield fail(
                    "gates",
                    f"{name} is frozen at {place}, where {some(others)} acts as well: giving back one thaws the other",
                    "let signer_gate deny by key (map or filter), or give it a server, or an endpoint, of its own",
                )


def _stopped_at(endpoint: Endpoint) -> Iterator[str]:
    """Yield the servers of a HAProxy, or the endpoint in a file of Envoy, that a driver takes out as a whole."""
    options = endpoint.options
    if endpoint.driver not in {"signer_gate", "haproxy", "envoy"} or not {"map", "filter"}.isdisjoint(options):
        return
    if "file" in options and "endpoint" in options:
        yield f"{options['endpoint'].strip()} in {posixpath.normpath(options['file'])}"
    for server in options.get("server", "").split(","):
        if server.strip():
            yield f"{server.strip()} of {endpoint.url.rstrip('/')}"


def _zones(inventory: Inventory) -> Iterator[Check]:
    for service in inventory.avs.values():
        nodes = inventory.of_avs(service.name)
        unplaced = [node.name for node in nodes if not node.zone]
        if unplaced:
            yield warn(
                "zones",
                f"{service.name}: nobody knows which zone {some(unplaced)} stand in",
                "write zone for each node in inventory.yaml",
            )
        for (provider, zone), count in Counter((n.provider, n.zone) for n in nodes if n.zone).items():
            left = len(nodes) - count
            if left >= service.quorum or len(nodes) < service.quorum:
                continue
            place = f"{provider} {zone}".strip()
            share = f"all {count} nodes" if count == len(nodes) else f"{count} of {len(nodes)} nodes"
            yield warn(
                "zones",
                f"{service.name}: {share} are in {place}: losing it leaves {left}, the quorum is {service.quorum}",
                "move nodes to another zone or provider",
            )


def _reach(inventory: Inventory) -> Iterator[Check]:
    lacking = [node.name for node in inventory.nodes.values() if Capability.SIGNER not in node.reach]
    if lacking:
        yield fail(
            "reach",
            f"{some(lacking)} cannot be frozen: no signer endpoint is written",
            "add signer: (or api:) with driver, url and token in inventory.yaml",
        )


def _nameable(config: Config) -> Iterator[Check]:
    for runbook in config.runbooks.values():
        if not runbook.safety:
            continue
        nameless = [node.name for node in config.inventory.nodes.values() if not _names(runbook, node)]
        if nameless:
            wanted = ", ".join(sorted(runbook.suspects.by.values()))
            yield fail(
                "alerts",
                f"{runbook.alert} cannot name {some(nameless)}: no label of theirs is {wanted}",
                "add the label to each node's labels in inventory.yaml, or change suspects in the runbook",
            )
    for node_names, label in _ambiguous(config):
        yield warn(
            "alerts",
            f"the label {label} names {some(node_names)} alike, so an alert with it names nobody",
            "give each node its own value, or let the runbook use a label that differs",
        )


def _names(runbook: Runbook, node: Node) -> bool:
    attributes = set(runbook.suspects.by.values())
    return "name" in attributes or ("key" in attributes and bool(node.keys)) or bool(attributes & set(node.labels))


def _ambiguous(config: Config) -> Iterator[tuple[list[str], str]]:
    used = {attribute for runbook in config.runbooks.values() for attribute in runbook.suspects.by.values()}
    for attribute in sorted(used - {"name", "key"}):
        holders: dict[tuple[str, str], list[str]] = {}
        for node in config.inventory.nodes.values():
            if attribute in node.labels:
                holders.setdefault((node.avs, node.labels[attribute]), []).append(node.name)
        for (_, value), names in holders.items():
            if len(names) > 1:
                yield names, f"{attribute}={value}"


def _escrow(config: Config, destructive: Callable[[Endpoint], bool]) -> Iterator[Check]:
    exposed = [
        node.name
        for node in config.inventory.nodes.values()
        if not node.escrow and (signer := node.reach.get(Capability.SIGNER)) and destructive(signer)
    ]
    if not exposed:
        return
    todo = "keep keystore and password elsewhere, try to restore them, then write escrow: true"
    if config.policy.require_escrow:
        yield fail("escrow", f"{some(exposed)} will not be frozen: that deletes keys that nobody else holds", todo)
    else:
        yield warn("escrow", f"freezing {some(exposed)} deletes keys for good", todo)


def _contracts(inventory: Inventory, today: date) -> Iterator[Check]:
    found: Mapping[str, list[str]] = {"missing": [], "untested": [], "old": []}
    for node in inventory.nodes.values():
        contract = node.rollback
        if contract is None:
            found["missing"].append(node.name)
        elif contract.tested_on is None or contract.tested_on > today:
            found["untested"].append(node.name)
        elif today - contract.tested_on > CONTRACT_LIVES:
            found["old"].append(node.name)
    sentences = {
        "missing": "no rollback contract",
        "untested": "a rollback contract that was never tested",
        "old": f"a rollback contract tested more than {CONTRACT_LIVES.days} days ago",
    }
    for kind, names in found.items():
        if names:
            yield warn(
                "rollback",
                f"{some(names)}: {sentences[kind]}, so a rollback takes two people",
                "try the way back and write rollback: {build_hash, tested_on} in inventory.yaml",
            )


def _hours(team: Team) -> Iterator[Check]:
    if not team.shifts:
        yield fail("on-call", "nobody is on call at any hour", "write shifts in team.yaml")
        return
    empty = [h for h in range(HOURS_A_WEEK) if not any(shift.covers(h) for shift in team.shifts)]
    if empty:
        yield fail("on-call", f"nobody is on call {spans(empty)}", "add a shift for these hours in team.yaml")
    by_hours: dict[tuple[int, ...], list[str]] = {}
    for power in NEED_TWO:
        thin = tuple(hour for hour in team.thin_hours(power) if hour not in empty)
        if thin:
            by_hours.setdefault(thin, []).append(str(power))
    for hours, powers in by_hours.items():
        yield fail(
            "on-call",
            f"fewer than two people on call may {' or '.join(powers)}: {spans(hours)}",
            "put a second lead on these shifts in team.yaml, or nothing can be started again in them",
        )


def _people(team: Team) -> Iterator[Check]:
    on_call = {person for shift in team.shifts for person in shift.people}
    silent = [p.name for p in team.people.values() if p.id in on_call and p.slack is None]
    if silent:
        yield warn(
            "people", f"{some(silent)} on call cannot be written to in Slack", "add their slack member id in team.yaml"
        )
