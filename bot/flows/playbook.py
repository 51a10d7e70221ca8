"""The playbook: what the bot may begin now, judged for each target by itself.

`advance` compares what the playbook wants with what was already done or decided, and plans the difference. Calling it
again changes nothing by itself: it may be called after every entry, after a crash, twice.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from bot.domain import journal as j
from bot.domain.incident import Incident
from bot.domain.playbook import Needs, OnFailure, OnlyIf, PlannedStep, Playbook, Targets, Verb
from bot.domain.target import State
from bot.flows.book import Book, Command
from bot.flows.outcomes import BAD
from bot.flows.people import all_hands, page
from bot.flows.respond import plan
from bot.flows.rules import CAPABILITY, has_contract, signing_left, unescrowed


@dataclass(frozen=True, slots=True, kw_only=True)
class Advance(Command):
    """Look at an incident's playbook again. `symptom`: does it last (None: nobody can tell)?"""

    incident: int
    symptom: bool | None = None
    asked: bool = False
    """True when `symptom` was looked up for this very call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Next:
    """When to look again, and whether a step waits for word about the symptom."""

    at: datetime | None = None
    symptom: bool = False


def advance(book: Book, command: Advance) -> Next:
    """Plan whatever the playbook allows now; hold for people what it does not."""
    incident = book.incident(command.incident)
    playbook = book.config.playbooks.get(incident.playbook)
    if playbook is None or not incident.status.live:
        return Next()
    at: datetime | None = None
    symptom = False
    for planned in playbook.steps:
        ready = _ready(incident, planned, playbook)
        if not ready:
            continue
        if planned.wait is not None and incident.opened_at is not None:
            due = incident.opened_at + _wait(book, planned)
            if due > book.now:
                at = min(at, due) if at else due
                continue
        if planned.only_if is OnlyIf.SYMPTOM_PERSISTS:
            if not command.asked:
                symptom = True
                continue
            if command.symptom is False:
                incident = book.write(
                    incident, j.StepSkipped(verb=planned.step, targets=ready, reason="the symptom is gone")
                )
                continue
        incident = _begin_or_hold(book, incident, planned, ready, command.symptom)
    return Next(at=at, symptom=symptom)


def _wait(book: Book, planned: PlannedStep) -> timedelta:
    assert planned.wait is not None
    return planned.wait / book.config.policy.scale


def _ready(incident: Incident, planned: PlannedStep, playbook: Playbook) -> tuple[str, ...]:
    """Return the targets for which nothing was done or decided yet and whose predecessor has ended."""
    if planned.targets is Targets.NONE:
        done = any(step.verb is planned.step for step in incident.steps.values())
        before = (
            planned.after is None
            or not incident.suspects
            or any(_ended(incident, planned.after, n) for n in incident.suspects)
        )
        return () if done or not before else ("",)
    return tuple(
        node
        for node in incident.suspects
        if incident.state(planned.step, node) is None
        and not incident.waiting_for(node, planned.step)
        and (planned.after is None or _ended(incident, planned.after, node))
        and not _undone(incident, planned.step, node)
        and not _held_back(incident, playbook, planned.after, node)
        and not (planned.step is Verb.ISOLATE and incident.state(Verb.FREEZE, node) is State.HELD)
        and not (planned.step is Verb.ROLLBACK and not _captured(incident, node))
    )


def _held_back(incident: Incident, playbook: Playbook, before: Verb | None, node: str) -> bool:
    """Tell whether the step before failed for this target and its playbook says: hold what follows."""
    planned = playbook.step(before) if before else None
    return planned is not None and planned.on_failure is OnFailure.HOLD and incident.state(planned.step, node) in BAD


_OPPOSITE = {Verb.FREEZE: Verb.UNFREEZE, Verb.ISOLATE: Verb.RESTORE}


def _undone(incident: Incident, verb: Verb, node: str) -> bool:
    """Tell whether people took this step back, or are about to: the playbook does not overrule them."""
    opposite = _OPPOSITE.get(verb)
    return opposite is not None and (incident.state(opposite, node) is not None or incident.waiting_for(node, opposite))


def _ended(incident: Incident, verb: Verb, node: str) -> bool:
    state = incident.state(verb, node)
    return state is not None and state.settled


def _captured(incident: Incident, node: str) -> bool:
    """Tell whether the target's capture has kept something or was waived: a rollback destroys evidence."""
    return incident.state(Verb.CAPTURE, node) in {State.VERIFIED, State.ALREADY, State.WAIVED}


def _begin_or_hold(
    book: Book, incident: Incident, planned: PlannedStep, ready: tuple[str, ...], symptom: bool | None
) -> Incident:
    if planned.targets is Targets.NONE:
        return plan(
            book,
            incident,
            planned.step,
            (),
            needs=planned.authority,
            automatic=True,
            reason=f"playbook {incident.playbook}",
        )
    reachable = tuple(n for n in ready if _reachable(book, planned.step, n))
    for node in set(ready) - set(reachable):
        what = "rollback contract" if planned.step is Verb.ROLLBACK else CAPABILITY[planned.step]
        unreached = f"the inventory names no {what} for {node}"
        incident = book.write(incident, j.StepSkipped(verb=planned.step, targets=(node,), reason=unreached))
    if not reachable:
        return incident
    if planned.step is Verb.FREEZE:
        return _freeze(book, incident, planned, reachable)
    why = _why_people(book, incident, planned, reachable, symptom)
    if why is not None:
        return book.write(incident, j.TargetsHeld(verb=planned.step, targets=reachable, reason=why))
    doubted = tuple(n for n in reachable if planned.step is not Verb.CAPTURE and not _proven(book, planned.step, n))
    if doubted:  # a capture only reads
        incident = book.write(incident, j.TargetsHeld(verb=planned.step, targets=doubted, reason=EMULATED))
    if trusted := tuple(n for n in reachable if n not in doubted):
        because = f"playbook {incident.playbook}"
        incident = plan(book, incident, planned.step, trusted, needs=Needs.AUTO, automatic=True, reason=because)
    return incident


EMULATED = "its driver is proven only against an emulator: a person decides"


def _proven(book: Book, verb: Verb, node: str) -> bool:
    """Tell whether the driver that a step uses on a node was proven against the real program."""
    traits = book.world.traits(book.config.inventory.nodes[node].reach[CAPABILITY[verb]])
    return traits is not None and traits.tier == "real"


def _why_people(
    book: Book, incident: Incident, planned: PlannedStep, ready: tuple[str, ...], symptom: bool | None
) -> str | None:
    """Say why people must decide this step, or None when the bot may."""
    if planned.step is Verb.CAPTURE and planned.authority is Needs.AUTO:
        return None
    if book.watch().halted:
        return "automation is halted"
    if planned.step is Verb.ROLLBACK:
        told = "the symptom persists" if symptom else "nobody can tell whether the symptom persists"
        bare = [n for n in ready if not has_contract(book, n)]
        how = (
            f"two people, for {', '.join(bare)} has no tested rollback contract"
            if bare
            else "one person, the rollback contract was tested"
        )
        return f"{told}; it takes {how}"
    if planned.authority is not Needs.AUTO:
        return f"the playbook asks {planned.authority} person" + ("s" if planned.authority is Needs.TWO else "")
    if not incident.safety:
        return "no safety runbook is involved: a person decides"
    return None


def _freeze(book: Book, incident: Incident, planned: PlannedStep, ready: tuple[str, ...]) -> Incident:
    """Freeze what the bot may freeze by itself, up to the budget; hold the rest and page all hands."""
    held: dict[str, list[str]] = {}
    free: list[str] = []
    for node in ready:
        why = _why_not_alone(book, incident, planned, node)
        if why is not None:
            held.setdefault(why, []).append(node)
        else:
            free.append(node)
    by_avs: dict[str, list[str]] = {}
    for node in free:
        by_avs.setdefault(book.config.inventory.nodes[node].avs, []).append(node)
    now: list[str] = []
    for avs, nodes in by_avs.items():
        fleet = len(book.config.inventory.of_avs(avs))
        budget = book.config.policy.budget
        spent = book.watch().spent_on(avs, book.now, budget.window)
        fresh = [node for node in nodes if node not in spent]
        room = max(0, budget.size(fleet) - len(spent))
        now += [node for node in nodes if node in spent] + fresh[:room]
        if fresh[:room]:
            book.write_watch(j.BudgetSpent(avs=avs, nodes=tuple(fresh[:room]), incident=incident.id))
        if fresh[room:]:
            left = signing_left(book, avs, [*now, *fresh[room:]])
            over = f"the freeze budget of {budget.size(fleet)} of {fleet} is used; {left}"
            held.setdefault(over, []).extend(fresh[room:])
    if now:
        because = f"playbook {incident.playbook}, safety runbook"
        incident = plan(book, incident, Verb.FREEZE, tuple(now), needs=Needs.AUTO, automatic=True, reason=because)
    for reason, nodes in held.items():
        incident = book.write(incident, j.TargetsHeld(verb=Verb.FREEZE, targets=tuple(nodes), reason=reason))
    if held:
        count = sum(map(len, held.values()))
        incident = page(
            book, incident, all_hands(book), reason=f"{count} suspects wait for one person's freeze: {next(iter(held))}"
        )
    return incident


def _why_not_alone(book: Book, incident: Incident, planned: PlannedStep, node: str) -> str | None:
    """Say why the bot must not freeze `node` by itself, or None."""
    if book.watch().halted:
        return "automation is halted: freeze by hand"
    if planned.authority is not Needs.AUTO:
        return "the playbook asks one person"
    if not incident.safety or node not in incident.mapped:
        return "no safety runbook names it: a person decides"
    if not _proven(book, Verb.FREEZE, node):
        return EMULATED
    if book.config.policy.require_escrow and unescrowed(book, (node,)):
        return "its freeze deletes the key, and no escrow is attested: a person decides, since a slash is worse"
    return None


def _reachable(book: Book, verb: Verb, node: str) -> bool:
    found = book.config.inventory.nodes.get(node)
    named = verb is not Verb.ROLLBACK or (found is not None and found.rollback is not None)
    return found is not None and named and CAPABILITY[verb] in found.reach
