"""The rules of steps: which power each takes, whom it may address, how many people, what binds an agreement."""

import hashlib
import json
from collections.abc import Mapping
from datetime import timedelta

from bot.domain.authority import Power
from bot.domain.incident import Incident, Step, StepState
from bot.domain.inventory import Capability
from bot.domain.playbook import Needs, Verb
from bot.domain.target import State
from bot.errors import Halted, Invalid, NotFound
from bot.flows.book import Book

POWER: Mapping[Verb, Power] = {
    Verb.FREEZE: Power.FREEZE,
    Verb.UNFREEZE: Power.UNFREEZE,
    Verb.ISOLATE: Power.ISOLATE,
    Verb.RESTORE: Power.ISOLATE,
    Verb.ROLLBACK: Power.ROLLBACK,
    Verb.CAPTURE: Power.CAPTURE,
    Verb.THROTTLE: Power.THROTTLE,
    Verb.COMMUNICATE: Power.RESPOND,
}
CAPABILITY: Mapping[Verb, Capability] = {
    Verb.FREEZE: Capability.SIGNER,
    Verb.UNFREEZE: Capability.SIGNER,
    Verb.ISOLATE: Capability.ROUTER,
    Verb.RESTORE: Capability.ROUTER,
    Verb.ROLLBACK: Capability.DEPLOYER,
    Verb.CAPTURE: Capability.RECORDER,
    Verb.THROTTLE: Capability.THROTTLE,
}
STARTS = frozenset({Verb.UNFREEZE, Verb.RESTORE, Verb.ROLLBACK})
"""Verbs that start something: never under halt."""
AFTERWARDS = frozenset({Verb.FREEZE, Verb.UNFREEZE, Verb.CAPTURE, Verb.RESTORE})
"""Verbs that people may use on a resolved incident too."""
WILDCARDS = frozenset({"*", "all", "any", "fleet", "everything"})
CONTRACT_AGE = timedelta(days=90)


def named_targets(book: Book, incident: Incident, verb: Verb, words: tuple[str, ...]) -> tuple[str, ...]:
    """Return the nodes that a person named; nothing named means what the bot holds back, else the suspects."""
    if not words:
        held = tuple(n for n, t in incident.tracks.get(verb, {}).items() if t.state is State.HELD)
        words = held or _default(incident, verb)
    if not words:
        raise Invalid(
            f"Name the targets: `{verb} seq-01 seq-02`. The incident has no suspects for it.", where="targets"
        )
    for word in words:
        if word.casefold() in WILDCARDS:
            raise Invalid(f"'{word}' is not a target: name each node. Nothing is ever done to 'all'.", where="targets")
        if word not in book.config.inventory.nodes:
            raise NotFound(f"There is no node '{word}' in the inventory: `stopsign nodes` lists them.", where="targets")
        if verb is Verb.ROLLBACK and book.config.inventory.nodes[word].rollback is None:
            raise Invalid(
                f"{word} has no rollback contract: write `rollback: {{build_hash}}` in inventory.yaml.", where="targets"
            )
        if CAPABILITY.get(verb) and CAPABILITY[verb] not in book.config.inventory.nodes[word].reach:
            raise Invalid(
                f"{word} has no '{CAPABILITY[verb]}' endpoint in the inventory: {verb} cannot reach it.",
                where="targets",
            )
    return tuple(dict.fromkeys(words))


def _default(incident: Incident, verb: Verb) -> tuple[str, ...]:
    if verb is Verb.UNFREEZE:
        return ()
    if verb is Verb.RESTORE:
        return tuple(n for n in incident.tracks.get(Verb.ISOLATE, {}))
    return tuple(n for n in incident.suspects if verb is not Verb.FREEZE or incident.state(Verb.UNFREEZE, n) is None)


def people_needed(book: Book, verb: Verb, targets: tuple[str, ...]) -> Needs:
    """Return how many people must agree: two for unfreeze, and for a rollback without a tested contract."""
    if verb is Verb.UNFREEZE:
        return Needs.TWO
    if verb is Verb.ROLLBACK and not all(has_contract(book, n) for n in targets):
        return Needs.TWO
    return Needs.ONE


def has_contract(book: Book, node: str) -> bool:
    """Tell whether a rollback of `node` was tested within the last 90 days."""
    found = book.config.inventory.nodes.get(node)
    contract = found.rollback if found else None
    return (
        contract is not None
        and contract.tested_on is not None
        and contract.tested_on >= (book.now - CONTRACT_AGE).date()
    )


def parameters_of(book: Book, verb: Verb, targets: tuple[str, ...]) -> dict[str, str]:
    """Return what a step will do besides its targets: for a rollback, the build of each."""
    if verb is not Verb.ROLLBACK:
        return {}
    nodes = book.config.inventory.nodes
    return {n: contract.build_hash for n in targets if n in nodes and (contract := nodes[n].rollback) is not None}


def digest_of(book: Book, incident: str, verb: Verb, targets: tuple[str, ...], parameters: Mapping[str, str]) -> str:
    """Return what binds an agreement: sha256 over action, targets with their present keys, parameters and incident."""
    nodes = book.config.inventory.nodes
    what = {
        "action": verb.value,
        "targets": {n: sorted(nodes[n].keys) if n in nodes else None for n in targets},
        "parameters": dict(parameters),
        "incident": incident,
    }
    canonical = json.dumps(what, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(b"stopsign/approval/v1\x00" + canonical.encode()).hexdigest()


def check_halt(book: Book, verb: Verb, *, automatic: bool) -> None:
    """Raise Halted when the kill switch forbids this verb now."""
    watch = book.watch()
    if not watch.halted or verb in {Verb.CAPTURE, Verb.COMMUNICATE}:
        return
    if automatic or verb in STARTS:
        raise Halted(
            f"automation is halted since {watch.halted_at:%H:%M} UTC ({watch.halted_why}): re-arm takes two people"
        )


def other_holders(book: Book, incident: Incident, step: Step) -> str | None:
    """Say which other holder of a target's key is not proven stopped, or None.

    The step's own targets, what another unfreeze is waking, and what any incident doubts are not stopped.
    """
    held = {i.number: i for i in (*book.holding(), incident)}.values()
    doubted = {n for i in held for n, t in i.tracks.get(Verb.FREEZE, {}).items() if not t.state.proven}
    waking = {n for i in held for n in thawing(i)} | set(step.targets)
    stopped = {n for i in held for n in i.frozen} - doubted - waking
    inventory = book.config.inventory
    for target in step.targets:
        for key in inventory.nodes[target].keys:
            for holder in inventory.holders(key):
                if holder != target and holder not in stopped:
                    return f"{holder} holds the same key as {target} and is not proven stopped"
    return None


def unescrowed(book: Book, targets: tuple[str, ...]) -> tuple[str, ...]:
    """Return the targets whose freeze deletes keys of which no escrow is attested in the inventory."""
    nodes = book.config.inventory.nodes
    reached = {n: nodes[n].reach.get(Capability.SIGNER) for n in targets if n in nodes and not nodes[n].escrow}
    promised = {n: book.world.traits(endpoint) for n, endpoint in reached.items() if endpoint is not None}
    return tuple(n for n, traits in promised.items() if traits is not None and traits.destructive)


def signing_left(book: Book, avs: str, stopping: list[str]) -> str:
    """Say how many signers of an AVS would be left after stopping some, against its quorum."""
    fleet = {node.name for node in book.config.inventory.of_avs(avs)}
    stopped = {n for incident in book.holding() for n in incident.frozen}
    left = len(fleet - stopped - set(stopping))
    return f"freezing these leaves {left} of {len(fleet)} signing, quorum {book.config.inventory.avs[avs].quorum}"


def thawing(incident: Incident) -> frozenset[str]:
    """Return the targets of unfreezes that are under way."""
    return frozenset(
        n
        for s in incident.steps.values()
        if s.verb is Verb.UNFREEZE and s.state is StepState.RUNNING
        for n in s.targets
    )


def names(nodes: tuple[str, ...], most: int = 5) -> str:
    return ", ".join(nodes[:most]) + (f" and {len(nodes) - most} more" if len(nodes) > most else "")
