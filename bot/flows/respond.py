"""Steps: who may ask for one, what must hold at the moment it begins, what its outcomes mean for the incident."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from bot.domain import journal as j
from bot.domain.authority import Power
from bot.domain.incident import Incident, Status, Step, StepState
from bot.domain.inventory import Capability, Node
from bot.domain.playbook import Needs, OnFailure, Verb
from bot.domain.roles import Role
from bot.domain.target import State, Track
from bot.errors import Halted, Invalid, NotFound, Refused
from bot.flows.book import Book, Command
from bot.flows.people import all_hands, must_be_live, page

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Request(Command):
    """A person asks for a step on named targets."""

    incident: int
    verb: Verb
    targets: tuple[str, ...] = ()
    reason: str = ""

    def power(self) -> Power | None:
        """Return the power that the verb takes."""
        return POWER[self.verb]


@dataclass(frozen=True, slots=True, kw_only=True)
class Requested:
    """What became of a request: a step that runs, or an approval that waits for a second person."""

    incident: Incident
    targets: tuple[str, ...]
    step: str | None = None
    approval: str | None = None
    text: str = ""


def request(book: Book, command: Request) -> Requested:
    """Plan the step, or ask for a second person when the verb starts something.

    Raises Invalid for unknown, empty or wildcard targets, Halted and Refused as the rules say.
    """
    incident = book.incident(command.incident)
    if command.verb not in AFTERWARDS:
        must_be_live(incident)
    targets = named_targets(book, incident, command.verb, command.targets)
    check_halt(book, command.verb, automatic=False)
    left = tuple(
        n for n in targets if not incident.waiting_for(n, command.verb) and not _done(incident, command.verb, n)
    )
    if not left:
        return Requested(
            incident=incident,
            targets=targets,
            text=f"Nothing to do: {command.verb} is done or under way for {_names(targets)}.",
        )
    pending = next(
        (a for a in incident.approvals.values() if a.pending and a.verb is command.verb and set(a.targets) & set(left)),
        None,
    )
    if pending is not None:
        return Requested(
            incident=incident,
            targets=left,
            approval=pending.id,
            text="That is already asked for and waits for a second person.",
        )
    reason = command.reason.strip() or f"asked for by {command.by.person}"
    if people_needed(book, command.verb, left) is Needs.TWO:
        return _ask(book, incident, command, left, reason)
    incident = plan(book, incident, command.verb, left, needs=Needs.ONE, automatic=False, reason=reason)
    return Requested(
        incident=incident,
        targets=left,
        step=list(incident.steps)[-1],
        text=f"{command.verb.capitalize()} of {_names(left)} begins.",
    )


def _ask(book: Book, incident: Incident, command: Request, targets: tuple[str, ...], reason: str) -> Requested:
    able = [p for p in book.config.team.holders(POWER[command.verb]) if p != command.by.person]
    if not able:
        raise Refused(
            f"{command.verb.capitalize()} takes two people, and nobody else in team.yaml holds '{POWER[command.verb]}'."
        )
    parameters = parameters_of(book, command.verb, targets)
    approval = book.unguessable()
    incident = book.write(
        incident,
        j.ApprovalAsked(
            approval=approval,
            verb=command.verb,
            targets=targets,
            parameters=parameters,
            digest=digest_of(book, incident.id, command.verb, targets, parameters),
            needs=Needs.TWO,
            requester=command.by.person,
            reason=reason,
            expires_at=book.now + book.config.policy.request_lives,
        ),
    )
    who = ", ".join(book.config.team.people[p].name for p in able)
    return Requested(
        incident=incident,
        targets=targets,
        approval=approval,
        text=f"{command.verb.capitalize()} of {_names(targets)} waits for a second person: {who}.",
    )


def plan(
    book: Book,
    incident: Incident,
    verb: Verb,
    targets: tuple[str, ...],
    *,
    needs: Needs,
    automatic: bool,
    reason: str,
    approval: str | None = None,
) -> Incident:
    """Write down that a step may run; the worker begins it."""
    parameters = parameters_of(book, verb, targets)
    count = sum(step.verb is verb for step in incident.steps.values())
    return book.write(
        incident,
        j.StepPlanned(
            step=f"{verb}-{count + 1}",
            verb=verb,
            targets=targets,
            needs=needs,
            reason=reason,
            automatic=automatic,
            approval=approval,
            parameters=parameters,
            digest=digest_of(book, incident.id, verb, targets, parameters),
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Begin(Command):
    """The worker is about to send a step's requests."""

    incident: int
    step: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Go:
    """What to do: `targets` have no outcome yet; `resumed` when an earlier run may have sent requests already."""

    incident: Incident
    step: Step
    targets: tuple[str, ...]
    resumed: bool = False
    off: str | None = None
    """Why the step does not run, when it does not."""
    config_nodes: Mapping[str, Node] = field(default_factory=dict)


def begin(book: Book, command: Begin) -> Go:
    """Commit the intents, after checking everything once more: halt, authority, approval, the present targets.

    A step that no longer holds is ended here, with the reason in the journal; nothing is sent.
    """
    incident = book.incident(command.incident)
    step = incident.steps[command.step]
    if not step.state.live:
        return Go(incident=incident, step=step, targets=(), off=step.summary or "the step is over")
    nodes = {n: book.config.inventory.nodes[n] for n in step.targets if n in book.config.inventory.nodes}
    why = _why_not(book, incident, step)
    if why is not None and step.state is StepState.PLANNED:
        return _off(book, incident, step, why)
    if step.state is StepState.RUNNING:
        left = tuple(n for n in step.targets if incident.state(step.verb, n) is State.REQUESTED)
        if why is not None:
            return _interrupted(book, incident, step, left, why)
        return Go(incident=incident, step=step, targets=left, resumed=True, config_nodes=nodes)
    incident = book.write(
        incident, j.StepStarted(step=step.id, verb=step.verb, targets=step.targets, attempt=step.attempt + 1)
    )
    if step.verb is Verb.ROLLBACK:
        incident = _unproven_by_restart(book, incident, step)
    return Go(incident=incident, step=incident.steps[step.id], targets=step.targets, config_nodes=nodes)


def _unproven_by_restart(book: Book, incident: Incident, step: Step) -> Incident:
    """Take back the proof of freezes whose process a rollback restarts: by our own doing, so nobody is paged."""
    why = "our rollback restarts its process: to be proven again"
    by_step: dict[str, list[j.TargetReport]] = {}
    for node in step.targets:
        if node in incident.frozen:
            report = j.TargetReport(node=node, state=State.ACKNOWLEDGED, detail=why, watched=True)
            by_step.setdefault(incident.tracks[Verb.FREEZE][node].step, []).append(report)
    for freeze, reports in by_step.items():
        incident = book.write(incident, j.TargetsReported(step=freeze, verb=Verb.FREEZE, reports=tuple(reports)))
    return incident


def _why_not(book: Book, incident: Incident, step: Step) -> str | None:
    """Say why a step may not run now, or None."""
    if step.verb is not Verb.COMMUNICATE and (not step.targets or set(step.targets) & WILDCARDS):
        return "no targets are named: an empty set is never read as all"
    if digest_of(book, incident.id, step.verb, step.targets, step.parameters) != step.digest:
        return "the targets changed in the inventory since this was decided"
    try:
        check_halt(book, step.verb, automatic=step.automatic)
    except Halted as halted:
        return str(halted)
    team = book.config.team
    if not step.automatic and not team.may(step.requester, POWER[step.verb]):
        return f"{step.requester} no longer holds the power '{POWER[step.verb]}'"
    if step.needs is Needs.TWO and step.state is StepState.PLANNED:
        approval = incident.approvals.get(step.approval or "")
        if approval is None or approval.ended is not None or approval.granted_until is None:
            return "it takes two people, and there is no approval for it"
        if approval.granted_until < book.now:
            return "the approval expired before the step began"
        if approval.digest != step.digest:
            return "the approval was given for something else"
        if len({p for p in approval.given if team.may(p, POWER[step.verb])}) < Needs.TWO.people:
            return "of the two people who agreed, one no longer holds the power"
    if step.verb is Verb.UNFREEZE and (why := other_holders(book, incident, step)):
        return why
    if step.verb not in AFTERWARDS and not incident.status.live:
        return f"{incident.id} is {incident.status}"
    if step.verb is Verb.ROLLBACK and set(step.parameters) != set(step.targets):
        return "no rollback contract names the build to go back to"
    if people_needed(book, step.verb, step.targets).people > step.needs.people and not step.automatic:
        return "the rollback contract on file is gone: it takes two people now"
    return None


def _off(book: Book, incident: Incident, step: Step, why: str) -> Go:
    if step.targets and step.verb not in {Verb.UNFREEZE, Verb.RESTORE}:
        incident = book.write(incident, j.TargetsHeld(verb=step.verb, targets=step.targets, reason=why))
    incident = book.write(incident, j.StepFinished(step=step.id, verb=step.verb, summary=f"not run: {why}"))
    if step.approval and step.approval in incident.approvals and incident.approvals[step.approval].ended is None:
        incident = book.write(incident, j.ApprovalEnded(approval=step.approval, how="void", reason=why))
    return Go(incident=incident, step=incident.steps[step.id], targets=(), off=why)


def _interrupted(book: Book, incident: Incident, step: Step, left: tuple[str, ...], why: str) -> Go:
    """End a step that was cut off and may not go on: what was under way is unknown, never assumed."""
    reports = tuple(
        j.TargetReport(node=n, state=State.UNKNOWN, detail=f"interrupted, and not repeated: {why}") for n in left
    )
    if reports:
        incident = book.write(incident, j.TargetsReported(step=step.id, verb=step.verb, reports=reports))
    incident = book.write(incident, j.StepFinished(step=step.id, verb=step.verb, summary=f"interrupted: {why}"))
    return Go(incident=incident, step=incident.steps[step.id], targets=(), off=why)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report(Command):
    """Outcomes of some targets of a step."""

    incident: int
    step: str
    verb: Verb
    reports: tuple[j.TargetReport, ...]


def report(book: Book, command: Report) -> Incident:
    """Write outcomes down; judge containment by them. A report that says nothing new writes nothing."""
    incident = book.incident(command.incident)
    old = incident.tracks.get(command.verb, {})
    told = tuple(r for r in command.reports if not r.watched or _still_watched(incident, command.step, r.node))
    revoked = [
        r
        for r in told
        if command.verb is Verb.FREEZE and r.node in old and old[r.node].state.proven and not r.state.proven
    ]
    for r in revoked:
        incident = book.write(incident, j.ProofRevoked(node=r.node, state=r.state, reason=r.detail))
    fresh = tuple(
        r
        for r in told
        if r not in revoked and (r.node not in old or (old[r.node].state, old[r.node].detail) != (r.state, r.detail))
    )
    if fresh:
        incident = book.write(incident, j.TargetsReported(step=command.step, verb=command.verb, reports=fresh))
    incident = _page_for(book, incident, command.verb, old, revoked, fresh)
    if command.verb is Verb.UNFREEZE:
        _let_go_elsewhere(book, incident, command.step, fresh)
    if revoked and incident.status is Status.CONTAINED:
        incident = book.write(
            incident, j.Reopened(reason=f"the proof for {revoked[0].node} is gone: {revoked[0].detail}")
        )
    return judge_containment(book, incident)


BAD = frozenset({State.FAILED, State.UNKNOWN, State.REFUSED})


def _page_for(
    book: Book,
    incident: Incident,
    verb: Verb,
    old: Mapping[str, Track],
    revoked: Sequence[j.TargetReport],
    fresh: Sequence[j.TargetReport],
) -> Incident:
    """Page all hands for a proof that is gone, and for each freeze that is not in force, when that is news."""
    if revoked:
        names = _names(tuple(r.node for r in revoked))
        why = f"freeze no longer proven on {names}: {revoked[0].detail}"
        incident = page(book, incident, all_hands(book), reason=why)
    bad = [r for r in fresh if r.state in BAD and (r.node not in old or old[r.node].state not in BAD)]
    if verb is Verb.FREEZE and bad:
        names = _names(tuple(r.node for r in bad))
        why = f"freeze not in force on {names}: {bad[0].detail}"
        incident = page(book, incident, all_hands(book), reason=why)
    return incident


def _let_go_elsewhere(book: Book, incident: Incident, step: str, reports: Sequence[j.TargetReport]) -> None:
    """Tell every other incident that holds a node what became of its unfreeze: they all speak of one machine."""
    for other in book.holding():
        theirs = tuple(
            r for r in reports if r.state is not State.REFUSED and r.node in other.tracks.get(Verb.FREEZE, {})
        )
        if theirs and other.number != incident.number:
            book.write(other, j.TargetsReported(step=f"{incident.id}:{step}", verb=Verb.UNFREEZE, reports=theirs))


def _still_watched(incident: Incident, step: str, node: str) -> bool:
    """Tell whether a watch over a freeze still has something to say.

    Not when it looked before its target was let go or taken over by another step, and not while an unfreeze runs, which
    looks for itself.
    """
    track = incident.tracks.get(Verb.FREEZE, {}).get(node)
    return track is not None and track.step == step and node not in thawing(incident)


def judge_containment(book: Book, incident: Incident) -> Incident:
    """Contain an open incident whose suspects are all verified stopped; reopen a contained one where that ended."""
    if incident.status is Status.OPEN and incident.all_stopped:
        return book.write(incident, j.Contained(reason=f"all {len(incident.suspects)} suspects are verified stopped"))
    by_proof = incident.status is Status.CONTAINED and not incident.contained_by_hand
    if by_proof and not incident.all_stopped:
        moving = [n for n in incident.suspects if not incident.stopped(n)]
        return book.write(incident, j.Reopened(reason=f"no longer verified stopped: {_names(tuple(moving))}"))
    return incident


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish(Command):
    """All targets of a step have an outcome."""

    incident: int
    step: str


def finish(book: Book, command: Finish) -> Incident:
    """Close a step with a summary of its outcomes."""
    incident = book.incident(command.incident)
    step = incident.steps[command.step]
    if not step.state.live:
        return incident
    states = [incident.state(step.verb, n) or State.UNKNOWN for n in step.targets]
    counts = {state: states.count(state) for state in State if state in states}
    summary = ", ".join(f"{count} {state}" for state, count in counts.items()) or "done"
    incident = book.write(incident, j.StepFinished(step=step.id, verb=step.verb, summary=summary))
    playbook = book.config.playbooks.get(incident.playbook)
    planned = playbook.step(step.verb) if playbook else None
    bad = tuple(n for n in step.targets if incident.state(step.verb, n) in BAD)
    if bad and planned is not None and planned.on_failure is OnFailure.PAGE and step.verb is not Verb.FREEZE:
        return page(book, incident, all_hands(book), reason=f"{step.verb} failed on {_names(bad)}: {summary}")
    return incident  # a freeze that is not in force has paged with its report


@dataclass(frozen=True, slots=True, kw_only=True)
class Release(Command):
    """An unfreeze request is about to leave, after its checks."""

    incident: int
    step: str
    node: str


def release(book: Book, command: Release) -> str | None:
    """Check everything a last time and take the freeze's proof back; return why the request must not leave, or None."""
    incident = book.incident(command.incident)
    if (why := _why_not(book, incident, incident.steps[command.step])) is not None:
        return why
    reason = f"{command.step}: the request to sign again is on its way"
    for each in (incident, *(i for i in book.holding() if i.number != incident.number)):
        if command.node in each.tracks.get(Verb.FREEZE, {}):
            book.write(each, j.ProofRevoked(node=command.node, state=State.UNKNOWN, reason=reason))
    judge_containment(book, book.incident(command.incident))
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bury(Command):
    """Work is given up for good. `step` and `node` name what it was about, when it was about a step."""

    incident: int
    entry: j.WorkBuried
    step: str | None = None
    node: str | None = None


def bury(book: Book, command: Bury) -> None:
    """Write it down, end the step or the proof that nobody looks after any more, and page all hands."""
    incident = book.incident(command.incident)
    if any(
        isinstance(w.entry, j.WorkBuried) and w.entry.work == command.entry.work for w in book.journal(incident.number)
    ):
        return
    incident = book.write(incident, command.entry)
    why = f"given up: {command.entry.reason}"
    step = incident.steps.get(command.step or "")
    track = incident.tracks.get(Verb.FREEZE, {}).get(command.node or "")
    if command.node is not None and track is not None and track.step == command.step:
        revoked = j.ProofRevoked(node=command.node, state=State.UNKNOWN, reason=f"nobody watches over it: {why}")
        incident = judge_containment(book, book.write(incident, revoked))
    elif step is not None and step.state.live:
        planned = step.state is StepState.PLANNED
        left = tuple(n for n in step.targets if planned or incident.state(step.verb, n) is State.REQUESTED)
        incident = _interrupted(book, incident, step, left, why).incident
    elif command.step is None:
        return
    page(book, incident, all_hands(book), reason=f"{command.entry.kind} was {why}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Waive(Command):
    """A person decides to go on without a capture that failed, or without a held step."""

    incident: int
    verb: Verb
    targets: tuple[str, ...]
    reason: str

    def power(self) -> Power | None:
        """Return the power that the verb takes."""
        return POWER[self.verb]


def waive(book: Book, command: Waive) -> Incident:
    """Mark targets as waived in a verb, with the reason; what is frozen or under way cannot be waived."""
    incident = book.incident(command.incident)
    must_be_live(incident)
    if command.by.person not in {incident.roles.get(Role.IC), incident.roles.get(Role.EVIDENCE)}:
        raise Refused("Only the Incident Commander or the Evidence Lead may waive. Take the role first: `role ic`.")
    if not command.reason.strip():
        raise Invalid("Say why: `waive capture seq-03 its disk is gone`.", where="reason")
    for node in named_targets(book, incident, command.verb, command.targets):
        state = incident.state(command.verb, node)
        over = state in {None, State.HELD, State.FAILED, State.REFUSED, State.UNKNOWN}
        if not over or command.verb is Verb.FREEZE or incident.waiting_for(node, command.verb):
            raise Refused(f"{command.verb} of {node} is {state or 'not asked'}: that cannot be waived.")
        incident = book.write(incident, j.Waived(verb=command.verb, node=node, reason=command.reason.strip()))
    return incident


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeat(Command):
    """A freeze that is not proven is about to be sent again."""

    incident: int
    node: str
    reason: str


def repeat(book: Book, command: Repeat) -> bool:
    """Commit the intent of sending a freeze again; False when it must not be sent (let go, or automation halted)."""
    incident = book.incident(command.incident)
    track = incident.tracks.get(Verb.FREEZE, {}).get(command.node)
    if track is None or track.state.proven:
        return False
    if any(command.node in thawing(i) for i in (*book.holding(), incident)):
        return False
    step = incident.steps.get(track.step)
    if book.watch().halted and (step is None or step.automatic):
        return False
    book.write(incident, j.FreezeRepeated(node=command.node, attempt=track.attempt + 1, reason=command.reason))
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Contain(Command):
    """The IC says that the incident is contained, though the bot cannot prove it."""

    incident: int
    reason: str

    def power(self) -> Power | None:
        """Return what it takes besides being IC."""
        return Power.RESPOND


def contain(book: Book, command: Contain) -> Incident:
    """Mark the incident contained on the IC's word, with the reason."""
    incident = book.incident(command.incident)
    must_be_live(incident)
    if command.by.person != incident.roles.get(Role.IC):
        raise Refused("Only the Incident Commander may say that without proof. Take the role first: `role ic`.")
    if not command.reason.strip():
        raise Invalid("Say why it is contained: `contained power of seq-03 cut by Dan at 03:20`.", where="reason")
    if incident.status is Status.CONTAINED:
        return incident
    return book.write(incident, j.Contained(reason=command.reason.strip(), by_hand=True))


# ---- what the rules above are made of


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
    return incident.suspects


def _done(incident: Incident, verb: Verb, node: str) -> bool:
    state = incident.state(verb, node)
    return verb is Verb.FREEZE and state is not None and (state.proven or state is State.ACKNOWLEDGED)


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


def thawing(incident: Incident) -> frozenset[str]:
    """Return the targets of unfreezes that are under way."""
    return frozenset(
        n
        for s in incident.steps.values()
        if s.verb is Verb.UNFREEZE and s.state is StepState.RUNNING
        for n in s.targets
    )


def _names(nodes: tuple[str, ...], most: int = 5) -> str:
    return ", ".join(nodes[:most]) + (f" and {len(nodes) - most} more" if len(nodes) > most else "")
