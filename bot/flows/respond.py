"""Steps: who may ask for one, and what must hold at the moment its requests leave."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from bot.domain import journal as j
from bot.domain.authority import Power
from bot.domain.incident import Approval, Incident, Step, StepState
from bot.domain.inventory import Node
from bot.domain.playbook import Needs, Verb
from bot.domain.roles import Role
from bot.domain.target import State
from bot.errors import Halted, Invalid, Refused
from bot.flows.book import Book, Command
from bot.flows.outcomes import Report, interrupted, judge_containment, report
from bot.flows.people import all_hands, must_be_live, page
from bot.flows.rules import (
    AFTERWARDS,
    POWER,
    WILDCARDS,
    check_halt,
    digest_of,
    named_targets,
    names,
    other_holders,
    parameters_of,
    people_needed,
    signing_left,
    thawing,
    unescrowed,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request(Command):
    """A person asks for a step on named targets."""

    incident: int
    verb: Verb
    targets: tuple[str, ...] = ()
    reason: str = ""
    digest: str | None = None
    """What was shown before it was confirmed; None: nothing was."""

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
    if command.digest not in {None, _shown(book, incident, command.verb, targets)}:
        raise Refused("What would be done has changed since you were asked: look again.")
    left = tuple(
        n for n in targets if not incident.waiting_for(n, command.verb) and not _done(incident, command.verb, n)
    )
    if not left:
        return Requested(
            incident=incident,
            targets=targets,
            text=f"Nothing to do: {command.verb} is done or under way for {names(targets)}.",
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
    step = list(incident.steps)[-1]
    if command.verb is Verb.FREEZE and not incident.status.live:
        text = f"{names(left)}: frozen after the incident was over; bring it back or take it out for good"
        incident = book.write(
            incident, j.ActionAdded(action=f"act-{len(incident.actions) + 1}", text=text, owner=command.by.person or "")
        )
    return Requested(
        incident=incident,
        targets=left,
        step=step,
        text=f"{command.verb.capitalize()} of {names(left)} begins{_left_signing(book, command.verb, left)}.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What a request would mean: its targets, how many people it takes, what is proven stopped already."""

    targets: tuple[str, ...]
    people: int
    stopped: frozenset[str]
    digest: str
    text: str = ""


def preview(book: Book, command: Request) -> Preview:
    """Say what asking for this would mean; raises as `request` does. Writes nothing."""
    incident = book.incident(command.incident)
    if command.verb not in AFTERWARDS:
        must_be_live(incident)
    targets = named_targets(book, incident, command.verb, command.targets)
    check_halt(book, command.verb, automatic=False)
    parameters = parameters_of(book, command.verb, targets)
    told = [f"{node} → {build}" for node, build in parameters.items()]
    if command.verb is Verb.FREEZE:
        told = [f"{node}: its freeze deletes the key, and no escrow is attested" for node in unescrowed(book, targets)]
    return Preview(
        targets=targets,
        people=people_needed(book, command.verb, targets).people,
        stopped=frozenset(n for each in (*book.holding(), incident) for n in each.stopping),
        digest=_shown(book, incident, command.verb, targets),
        text="; ".join(told[:10]),
    )


def _shown(book: Book, incident: Incident, verb: Verb, targets: tuple[str, ...]) -> str:
    """Return what binds a confirmation to what was shown."""
    return digest_of(book, incident.id, verb, targets, parameters_of(book, verb, targets))


def _left_signing(book: Book, verb: Verb, targets: tuple[str, ...]) -> str:
    """Say for a freeze how many signers each service has left, against its quorum."""
    if verb is not Verb.FREEZE:
        return ""
    by_avs: dict[str, list[str]] = {}
    for node in targets:
        by_avs.setdefault(book.config.inventory.nodes[node].avs, []).append(node)
    return "".join(f"; {avs}: {signing_left(book, avs, nodes)}" for avs, nodes in by_avs.items())


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
        text=f"{command.verb.capitalize()} of {names(targets)} waits for a second person: {who}.",
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

    soon: ClassVar[bool] = True
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
            incident = interrupted(book, incident, step, left, why)
            return Go(incident=incident, step=incident.steps[step.id], targets=(), off=why)
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
            unproven = j.TargetReport(node=node, state=State.ACKNOWLEDGED, detail=why, watched=True)
            by_step.setdefault(incident.tracks[Verb.FREEZE][node].step, []).append(unproven)
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
    agreed = incident.approvals.get(step.approval or "")
    asker = step.requester or (agreed.broken_by if agreed else None)
    if not step.automatic and not team.may(asker, POWER[step.verb]):
        return f"{asker} no longer holds the power '{POWER[step.verb]}'"
    if step.needs is Needs.TWO and step.state is StepState.PLANNED:
        why = _not_agreed(book, step, agreed)
        if why is not None:
            return why
    if step.verb is Verb.UNFREEZE and (why := other_holders(book, incident, step)):
        return why
    if step.verb not in AFTERWARDS and not incident.status.live:
        return f"{incident.id} is {incident.status}"
    if step.verb is Verb.ROLLBACK and set(step.parameters) != set(step.targets):
        return "no rollback contract names the build to go back to"
    if people_needed(book, step.verb, step.targets).people > step.needs.people and not step.automatic:
        return "the rollback contract on file is gone: it takes two people now"
    return None


def _not_agreed(book: Book, step: Step, agreed: Approval | None) -> str | None:
    """Say why what people agreed to does not carry this step, or None."""
    if agreed is None or agreed.ended is not None or agreed.granted_until is None:
        return "it takes two people, and there is no approval for it"
    if agreed.granted_until < book.now:
        return "the approval expired before the step began"
    if agreed.digest != step.digest:
        return "the approval was given for something else"
    alone = agreed.broken_by is not None and set(agreed.given) == {agreed.broken_by}
    if alone and book.config.policy.break_glass_after is None:
        return "policy no longer lets one person go on alone"
    able = {p for p in agreed.given if book.config.team.may(p, POWER[step.verb])}
    if len(able) < (Needs.ONE if alone else Needs.TWO).people:
        return "of the people who agreed, one no longer holds the power"
    return None


def _off(book: Book, incident: Incident, step: Step, why: str) -> Go:
    if step.targets and step.verb not in {Verb.UNFREEZE, Verb.RESTORE}:
        incident = book.write(incident, j.TargetsHeld(verb=step.verb, targets=step.targets, reason=why))
    incident = book.write(incident, j.StepFinished(step=step.id, verb=step.verb, summary=f"not run: {why}"))
    if step.approval and step.approval in incident.approvals and incident.approvals[step.approval].ended is None:
        incident = book.write(incident, j.ApprovalEnded(approval=step.approval, how="void", reason=why))
    return Go(incident=incident, step=incident.steps[step.id], targets=(), off=why)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stands(Command):
    """What was seen of targets that an earlier step had proven."""

    incident: int
    step: str
    verb: Verb
    reports: tuple[j.TargetReport, ...]


def stands(book: Book, command: Stands) -> Incident:
    """Write down what has changed, and page all hands for what is no longer so; what was let go meanwhile is left."""
    incident = book.incident(command.incident)
    tracks = incident.tracks.get(command.verb, {})
    mine = tuple(r for r in command.reports if r.node in tracks and tracks[r.node].step == command.step)
    lost = [r for r in mine if r.state is State.FAILED and tracks[r.node].state is not State.FAILED]
    told = Report(by=command.by, incident=incident.number, step=command.step, verb=command.verb, reports=mine)
    incident = report(book, told)
    if lost:
        why = f"{command.verb} no longer in force on {names(tuple(r.node for r in lost))}: {lost[0].detail}"
        incident = page(book, incident, all_hands(book), reason=why)
    return incident


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldBack(Command):
    """What the bot was about to do by itself was seen to be more than it may: `why` by target."""

    soon: ClassVar[bool] = True
    incident: int
    step: str
    why: Mapping[str, str]


def hold_back(book: Book, command: HoldBack) -> Incident:
    """Let these targets of a step wait for a person, page all hands, and plan the others anew.

    Only while nothing of the step was sent, and only if no person asked for it: what a person said is not overruled.
    """
    incident = book.incident(command.incident)
    step = incident.steps[command.step]
    reasons: dict[str, list[str]] = {}
    for node in step.targets:
        if node in command.why:
            reasons.setdefault(command.why[node], []).append(node)
    if not reasons or not step.automatic or step.state is not StepState.PLANNED:
        return incident
    summary = f"not run: {next(iter(reasons))}"
    incident = book.write(incident, j.StepFinished(step=step.id, verb=step.verb, summary=summary))
    for reason, nodes in reasons.items():
        incident = book.write(incident, j.TargetsHeld(verb=step.verb, targets=tuple(nodes), reason=reason))
    if others := tuple(node for node in step.targets if node not in command.why):
        incident = plan(book, incident, step.verb, others, needs=step.needs, automatic=True, reason=step.reason)
    held = tuple(node for nodes in reasons.values() for node in nodes)
    waits = f"{step.verb} of {names(held)} waits for one person's word: {next(iter(reasons))}"
    return page(book, incident, all_hands(book), reason=waits)


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


def _done(incident: Incident, verb: Verb, node: str) -> bool:
    state = incident.state(verb, node)
    return verb is Verb.FREEZE and state is not None and (state.proven or state is State.ACKNOWLEDGED)
