"""The incident: the fold of its journal.

`evolve` is the only place where an incident changes. The row that the store keeps is this value; folding the journal
from the start gives the same value (a test does it).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from bot.domain import journal as j
from bot.domain.playbook import Needs, Verb
from bot.domain.roles import Role
from bot.domain.severity import Severity
from bot.domain.target import State, Track


class Status(StrEnum):
    """Where an incident stands."""

    OPEN = "open"
    CONTAINED = "contained"
    RESOLVED = "resolved"
    CLOSED = "closed"

    @property
    def live(self) -> bool:
        """Tell whether alerts may still join."""
        return self in {Status.OPEN, Status.CONTAINED}


class StepState(StrEnum):
    """Where a step stands."""

    PLANNED = "planned"
    RUNNING = "running"
    DONE = "done"
    OFF = "off"

    @property
    def live(self) -> bool:
        """Tell whether the step may still do something."""
        return self not in {StepState.DONE, StepState.OFF}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One run of one verb over some targets."""

    id: str
    verb: Verb
    targets: tuple[str, ...]
    state: StepState
    needs: Needs
    automatic: bool
    reason: str
    planned_at: datetime
    approval: str | None = None
    parameters: Mapping[str, str] = field(default_factory=dict)
    digest: str = ""
    requester: str | None = None
    attempt: int = 0
    summary: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One call for people; `acknowledged` once anybody answered."""

    id: str
    people: tuple[str, ...]
    level: int
    reason: str
    at: datetime
    acknowledged: bool = False
    approval: str | None = None
    """The request with which one person goes on alone, when that is what people are called for."""
    cause: str = ""
    nodes: tuple[str, ...] = ()
    """What went wrong, and on which targets, when that is what people are called for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """A request for agreement, bound by `digest` to what would be done. `given` are persons, each once."""

    id: str
    verb: Verb
    targets: tuple[str, ...]
    parameters: Mapping[str, str]
    digest: str
    needs: Needs
    requester: str | None
    given: tuple[str, ...]
    reason: str
    asked_at: datetime
    expires_at: datetime
    granted_until: datetime | None = None
    ended: str | None = None
    broken_by: str | None = None
    """Who goes on alone; `acts_at` is when."""
    acts_at: datetime | None = None

    @property
    def pending(self) -> bool:
        """Tell whether somebody's agreement is still awaited."""
        return self.ended is None and self.granted_until is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A status that was asked for."""

    id: str
    audience: str
    marks: tuple[str, ...]
    due_at: datetime
    asked: tuple[str, ...]
    level: int = 0
    answered_by: str | None = None
    answered_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """Something that somebody promised to do."""

    id: str
    text: str
    owner: str
    due_on: str | None = None
    done_at: datetime | None = None
    done_by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """One incident at version `version` (the number of its last journal entry)."""

    number: int
    version: int = 0
    key: str = ""
    status: Status = Status.OPEN
    severity: Severity = Severity.SEV3
    peak: Severity = Severity.SEV3
    summary: str = ""
    avs: str | None = None
    playbook: str = ""
    reason: str = ""
    declared: bool = False
    declared_by: str | None = None
    recurrence_of: int | None = None
    opened_at: datetime | None = None
    severity_since: datetime | None = None
    detected_at: str | None = None
    acknowledged_at: datetime | None = None
    acknowledged_by: str | None = None
    first_freeze_at: datetime | None = None
    contained_at: datetime | None = None
    contained_by_hand: bool = False
    resolved_at: datetime | None = None
    resolution: str = ""
    closed_at: datetime | None = None
    lowered: bool = False
    safety: bool = False
    firing: int = 0
    symptoms: int = 0
    seen: int = 0
    truncated: int = 0
    alert_names: tuple[str, ...] = ()
    runbooks: tuple[str, ...] = ()
    suspects: tuple[str, ...] = ()
    mapped: tuple[str, ...] = ()
    """Suspects that alerts of safety runbooks named uniquely: only these may be frozen automatically."""
    unresolved: tuple[str, ...] = ()
    roles: Mapping[Role, str] = field(default_factory=dict)
    pages: Mapping[str, Page] = field(default_factory=dict)
    tracks: Mapping[Verb, Mapping[str, Track]] = field(default_factory=dict)
    steps: Mapping[str, Step] = field(default_factory=dict)
    approvals: Mapping[str, Approval] = field(default_factory=dict)
    highest: Mapping[str, int] = field(default_factory=dict)
    """How far each key had come by the captured messages, by mark (`bot/domain/protection.py`)."""
    findings: tuple[str, ...] = ()
    """What the evidence was found to show, so that it is told once."""
    hold: str | None = None
    """Why the evidence is under legal hold, None when it is not."""
    items: int = 0
    noted: tuple[str, ...] = ()
    """The messages that notes were taken from (`slack:C1/1.2`)."""
    prompts: Mapping[str, Prompt] = field(default_factory=dict)
    told_at: Mapping[str, datetime] = field(default_factory=dict)
    actions: Mapping[str, Action] = field(default_factory=dict)
    channel: str | None = None
    channel_name: str | None = None
    header: str | None = None
    postmortem_due: str | None = None
    remaining: tuple[j.Remaining, ...] = ()

    @property
    def id(self) -> str:
        """Return `inc-7`."""
        return f"inc-{self.number}"

    @property
    def people(self) -> tuple[str, ...]:
        """Return the persons who hold a role, each once."""
        return tuple(dict.fromkeys(self.roles.values()))

    def calls(self, page: Page) -> bool:
        """Tell whether a page still calls people: while nobody acknowledged it and what it is about goes on.

        An incident that is over goes on where a node is still frozen: what happened since calls people all the same.
        """
        if page.acknowledged:
            return False
        if page.approval is not None:
            return page.approval in self.approvals and self.approvals[page.approval].pending
        return self.status.live or (self.resolved_at is not None and page.at >= self.resolved_at)

    @property
    def alone(self) -> tuple[Approval, ...]:
        """Return the requests with which one person is about to go on alone."""
        return tuple(a for a in self.approvals.values() if a.pending and a.broken_by is not None)

    def state(self, verb: Verb, node: str) -> State | None:
        """Return where `node` stands in `verb`, or None when nothing was ever asked of it."""
        track = self.tracks.get(verb, {}).get(node)
        return track.state if track else None

    @property
    def frozen(self) -> tuple[str, ...]:
        """Return the targets whose freeze is proven."""
        return tuple(node for node, track in self.tracks.get(Verb.FREEZE, {}).items() if track.state.proven)

    @property
    def touched(self) -> tuple[str, ...]:
        """Return the targets that a freeze of ours was ever asked of and that were not let go since."""
        return tuple(
            node
            for node, track in self.tracks.get(Verb.FREEZE, {}).items()
            if track.state not in {State.HELD, State.WAIVED}
        )

    @property
    def stopping(self) -> frozenset[str]:
        """Return the targets that a freeze was asked of, or is about to be: none is counted on to go on signing."""
        planned = (s.targets for s in self.steps.values() if s.verb is Verb.FREEZE and s.state.live)
        return frozenset(self.touched).union(*planned)

    def stopped(self, node: str) -> bool:
        """Tell whether `node` is verified stopped: frozen with proof, or isolated with proof.

        Where signatures themselves are the danger (safety), being out of traffic stops nothing: only a freeze counts.
        """
        verbs = (Verb.FREEZE,) if self.safety else (Verb.FREEZE, Verb.ISOLATE)
        return any((state := self.state(verb, node)) is not None and state.proven for verb in verbs)

    @property
    def all_stopped(self) -> bool:
        """Tell whether there are suspects, all named ones are verified stopped, and none is unnamed."""
        return (
            bool(self.suspects) and not self.unresolved and not self.truncated and all(map(self.stopped, self.suspects))
        )

    def waiting_for(self, node: str, verb: Verb) -> bool:
        """Tell whether a live step of `verb` has `node` among its targets."""
        return any(step.verb is verb and node in step.targets and step.state.live for step in self.steps.values())


def fold(number: int, entries: Iterable[j.Written]) -> Incident:
    """Return the incident that a whole journal tells of."""
    incident = Incident(number=number)
    for written in entries:
        incident = evolve(incident, written)
    return incident


def evolve(incident: Incident, written: j.Written) -> Incident:
    """Return the incident after one more entry; entries must come in order of `n`, without gaps."""
    if written.n != incident.version + 1:
        raise ValueError(f"{incident.id}: entry {written.n} cannot follow {incident.version}")
    change = _CHANGES.get(type(written.entry))
    changed = change(incident, written.entry, written) if change else incident
    return replace(changed, version=written.n)


def _opened(i: Incident, e: j.IncidentOpened, w: j.Written) -> Incident:
    return replace(
        i,
        key=e.key,
        severity=e.severity,
        peak=e.severity,
        summary=e.summary,
        avs=e.avs,
        playbook=e.playbook,
        reason=e.reason,
        declared=e.declared,
        declared_by=w.by.person,
        recurrence_of=e.recurrence_of,
        opened_at=w.at,
        severity_since=w.at,
    )


def _joined(i: Incident, e: j.AlertsJoined, w: j.Written) -> Incident:
    fired = [a for a in e.alerts if a.change == "fired"]
    over = [a for a in e.alerts if a.change == "resolved"]
    fresh = [a for a in e.alerts if a.change != "resolved"]
    blamed = [a for a in fresh if not a.own_effect]
    starts = [a.starts_at for a in fresh] + ([i.detected_at] if i.detected_at else [])
    return replace(
        i,
        firing=i.firing + len(fired) - len(over),
        symptoms=i.symptoms + sum(not a.own_effect for a in fired) - sum(not a.own_effect for a in over),
        seen=i.seen + len(fresh),
        truncated=max(i.truncated, e.truncated),
        safety=i.safety or any(a.safety for a in blamed),
        alert_names=_more(i.alert_names, (a.name for a in fresh)),
        runbooks=_more(i.runbooks, (a.runbook for a in fresh if a.runbook)),
        suspects=_more(i.suspects, (node for a in blamed for node in a.suspects)),
        mapped=_more(i.mapped, (node for a in blamed if a.safety for node in a.suspects)),
        unresolved=_more(i.unresolved, (name for a in blamed for name in a.unresolved)),
        detected_at=min(starts) if starts else None,
    )


def _severity(i: Incident, e: j.SeverityChanged, w: j.Written) -> Incident:
    lowered = i.severity.worse_than(e.now)
    peak = e.now if e.now.worse_than(i.peak) else i.peak
    return replace(
        i,
        severity=e.now,
        severity_since=w.at,
        peak=peak,
        lowered=lowered,
        playbook=e.playbook or i.playbook,
        summary=e.summary or i.summary,
    )


def _acknowledged(i: Incident, e: j.Acknowledged, w: j.Written) -> Incident:
    own = {a.id for a in i.alone if a.broken_by == e.person}  # nobody silences the alarm about themselves
    pages = {k: p if p.approval in own else replace(p, acknowledged=True) for k, p in i.pages.items()}
    if i.acknowledged_at:
        return replace(i, pages=pages)
    return replace(i, pages=pages, acknowledged_at=w.at, acknowledged_by=e.person)


def _note(i: Incident, e: j.NoteAdded, w: j.Written) -> Incident:
    return replace(i, noted=_more(i.noted, (e.source,))) if "/" in e.source else i


def _contained(i: Incident, e: j.Contained, w: j.Written) -> Incident:
    return replace(i, status=Status.CONTAINED, contained_at=w.at, contained_by_hand=e.by_hand)


def _reopened(i: Incident, e: j.Reopened, w: j.Written) -> Incident:
    again = replace(i, status=Status.OPEN, contained_at=None, resolved_at=None, closed_at=None, remaining=())
    if e.was == Status.CONTAINED:
        return again
    # It begins anew for people: nobody is on it yet, and the clocks of its severity start now.
    prompts = {k: p if p.answered_at else replace(p, answered_at=w.at) for k, p in i.prompts.items()}
    fresh = replace(again, severity_since=w.at, acknowledged_at=None, acknowledged_by=None, prompts=prompts)
    return replace(fresh, resolution="", postmortem_due=None)


def _closed(i: Incident, e: j.Closed, w: j.Written) -> Incident:
    return replace(i, status=Status.CLOSED, closed_at=w.at)


def _resolved(i: Incident, e: j.Resolved, w: j.Written) -> Incident:
    return replace(i, status=Status.RESOLVED, resolved_at=w.at, resolution=e.summary, remaining=e.remaining)


def _role(i: Incident, e: j.RoleTaken, w: j.Written) -> Incident:
    return replace(i, roles={**i.roles, e.role: e.person})


def _paged(i: Incident, e: j.Paged, w: j.Written) -> Incident:
    page = Page(
        id=e.page,
        people=e.people,
        level=e.level,
        reason=e.reason,
        at=w.at,
        approval=e.approval,
        cause=e.cause,
        nodes=e.nodes,
    )
    return replace(i, pages={**i.pages, e.page: page})


def _planned(i: Incident, e: j.StepPlanned, w: j.Written) -> Incident:
    step = Step(
        id=e.step,
        verb=e.verb,
        targets=e.targets,
        state=StepState.PLANNED,
        needs=e.needs,
        automatic=e.automatic,
        reason=e.reason,
        planned_at=w.at,
        approval=e.approval,
        parameters=e.parameters,
        digest=e.digest,
        requester=w.by.person,
    )
    return replace(i, steps={**i.steps, e.step: step})


def _held(i: Incident, e: j.TargetsHeld, w: j.Written) -> Incident:
    return _tracked(i, e.verb, {n: Track(state=State.HELD, step="", since=w.at, detail=e.reason) for n in e.targets})


def _asked(i: Incident, e: j.ApprovalAsked, w: j.Written) -> Incident:
    approval = Approval(
        id=e.approval,
        verb=e.verb,
        targets=e.targets,
        parameters=e.parameters,
        digest=e.digest,
        needs=e.needs,
        requester=e.requester,
        given=(e.requester,) if e.requester else (),
        reason=e.reason,
        asked_at=w.at,
        expires_at=e.expires_at,
    )
    return replace(i, approvals={**i.approvals, e.approval: approval})


def _given(i: Incident, e: j.ApprovalGiven, w: j.Written) -> Incident:
    was = i.approvals[e.approval]
    now = replace(was, given=_more(was.given, (e.person,)), granted_until=e.until if e.complete else None)
    return replace(i, approvals={**i.approvals, e.approval: now})


def _broken(i: Incident, e: j.GlassBroken, w: j.Written) -> Incident:
    was = i.approvals[e.approval]
    lasts = max(was.expires_at, e.acts_at + (was.expires_at - was.asked_at))
    now = replace(was, broken_by=e.person, acts_at=e.acts_at, expires_at=lasts)
    return replace(i, approvals={**i.approvals, e.approval: now})


def _approval_ended(i: Incident, e: j.ApprovalEnded, w: j.Written) -> Incident:
    now = replace(i.approvals[e.approval], ended=e.how)
    steps = {
        k: replace(s, state=StepState.OFF, summary=e.reason)
        if s.approval == e.approval and s.state is StepState.PLANNED
        else s
        for k, s in i.steps.items()
    }
    return replace(i, approvals={**i.approvals, e.approval: now}, steps=steps)


def _skipped(i: Incident, e: j.StepSkipped, w: j.Written) -> Incident:
    return _tracked(i, e.verb, {n: Track(state=State.WAIVED, step="", since=w.at, detail=e.reason) for n in e.targets})


def _started(i: Incident, e: j.StepStarted, w: j.Written) -> Incident:
    was = i.steps[e.step]
    steps = {**i.steps, e.step: replace(was, state=StepState.RUNNING, attempt=e.attempt)}
    approvals = i.approvals
    if was.approval and was.approval in approvals:
        approvals = {**approvals, was.approval: replace(approvals[was.approval], ended="used")}
    first = i.first_freeze_at or (w.at if e.verb is Verb.FREEZE else None)
    tracks = {n: Track(state=State.REQUESTED, step=e.step, since=w.at, attempt=e.attempt) for n in e.targets}
    return _tracked(replace(i, steps=steps, approvals=approvals, first_freeze_at=first), e.verb, tracks)


def _reported(i: Incident, e: j.TargetsReported, w: j.Written) -> Incident:
    old = i.tracks.get(e.verb, {})
    tracks: dict[str, Track] = {}
    for r in e.reports:
        was = old.get(r.node)
        same = was is not None and was.state is r.state
        tracks[r.node] = Track(
            state=r.state,
            step=e.step,
            since=was.since if same and was else w.at,
            detail=r.detail,
            attempt=was.attempt if was else 0,
            item=r.item or (was.item if same and was else None),
        )
    changed = _tracked(i, e.verb, tracks)
    return _let_go(changed, [n for n, t in tracks.items() if t.state.proven], e.verb)


def _let_go(i: Incident, nodes: list[str], verb: Verb) -> Incident:
    """Forget a freeze once its opposite is proven (and an isolation once traffic is back)."""
    opposite = {
        Verb.UNFREEZE: Verb.FREEZE,
        Verb.RESTORE: Verb.ISOLATE,
        Verb.FREEZE: Verb.UNFREEZE,
        Verb.ISOLATE: Verb.RESTORE,
    }.get(verb)
    if opposite is None or not nodes or opposite not in i.tracks:
        return i
    left = {n: t for n, t in i.tracks[opposite].items() if n not in nodes}
    return replace(i, tracks={**i.tracks, opposite: left})


def _finished(i: Incident, e: j.StepFinished, w: j.Written) -> Incident:
    step = replace(i.steps[e.step], state=StepState.DONE, summary=e.summary)
    return replace(i, steps={**i.steps, e.step: step})


def _revoked(i: Incident, e: j.ProofRevoked, w: j.Written) -> Incident:
    was = i.tracks[Verb.FREEZE][e.node]
    return _tracked(i, Verb.FREEZE, {e.node: replace(was, state=e.state, since=w.at, detail=e.reason)})


def _waived(i: Incident, e: j.Waived, w: j.Written) -> Incident:
    return _tracked(i, e.verb, {e.node: Track(state=State.WAIVED, step="", since=w.at, detail=e.reason)})


def _repeated(i: Incident, e: j.FreezeRepeated, w: j.Written) -> Incident:
    was = i.tracks[Verb.FREEZE][e.node]
    return _tracked(i, Verb.FREEZE, {e.node: replace(was, attempt=e.attempt)})


def _kept(i: Incident, e: j.EvidenceKept, w: j.Written) -> Incident:
    highest = dict(i.highest)
    for name, value in e.marks.items():
        if name.startswith("highest:"):
            key = name.removeprefix("highest:")
            highest[key] = max(int(value), highest.get(key, 0))
    return replace(i, items=i.items + 1, highest=highest)


def _found(i: Incident, e: j.EvidenceFound, w: j.Written) -> Incident:
    return replace(i, findings=(*i.findings, e.finding))


def _hold(i: Incident, e: j.HoldPlaced, w: j.Written) -> Incident:
    return replace(i, hold=e.reason)


def _lifted(i: Incident, e: j.HoldLifted, w: j.Written) -> Incident:
    return replace(i, hold=None)


def _prompted(i: Incident, e: j.StatusPrompted, w: j.Written) -> Incident:
    prompt = Prompt(id=e.prompt, audience=e.audience, marks=e.marks, due_at=e.due_at, asked=e.asked)
    return replace(i, prompts={**i.prompts, e.prompt: prompt}, told_at={**i.told_at, f"asked:{e.audience}": w.at})


def _escalated(i: Incident, e: j.PromptEscalated, w: j.Written) -> Incident:
    was = i.prompts[e.prompt]
    return replace(i, prompts={**i.prompts, e.prompt: replace(was, level=e.level, asked=_more(was.asked, e.asked))})


def _told(i: Incident, e: j.StatusGiven, w: j.Written) -> Incident:
    prompts = dict(i.prompts)
    for k, p in prompts.items():
        if e.person is not None and p.answered_at is None and p.audience == e.audience:
            prompts[k] = replace(p, answered_by=e.person, answered_at=w.at)
    return replace(i, prompts=prompts, told_at={**i.told_at, e.audience: w.at})


def _drafted(i: Incident, e: j.PostmortemDrafted, w: j.Written) -> Incident:
    return replace(i, postmortem_due=e.due_on)


def _action(i: Incident, e: j.ActionAdded, w: j.Written) -> Incident:
    return replace(i, actions={**i.actions, e.action: Action(id=e.action, text=e.text, owner=e.owner, due_on=e.due_on)})


def _action_done(i: Incident, e: j.ActionDone, w: j.Written) -> Incident:
    done = replace(i.actions[e.action], done_at=w.at, done_by=w.by.person)
    return replace(i, actions={**i.actions, e.action: done})


def _channel(i: Incident, e: j.ChannelOpened, w: j.Written) -> Incident:
    return replace(i, channel=e.channel, channel_name=e.name)


def _archived(i: Incident, e: j.ChannelArchived, w: j.Written) -> Incident:
    return replace(i, channel=None, channel_name=None, header=None)


def _header(i: Incident, e: j.HeaderPosted, w: j.Written) -> Incident:
    return replace(i, header=e.ts)


def _tracked(i: Incident, verb: Verb, tracks: Mapping[str, Track]) -> Incident:
    return replace(i, tracks={**i.tracks, verb: {**i.tracks.get(verb, {}), **tracks}})


def _more(have: tuple[str, ...], new: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys([*have, *new]))


_CHANGES: Mapping[type[j.Entry], Callable[[Incident, Any, j.Written], Incident]] = {
    j.IncidentOpened: _opened,
    j.AlertsJoined: _joined,
    j.SeverityChanged: _severity,
    j.Acknowledged: _acknowledged,
    j.NoteAdded: _note,
    j.Contained: _contained,
    j.Reopened: _reopened,
    j.Resolved: _resolved,
    j.Closed: _closed,
    j.RoleTaken: _role,
    j.Paged: _paged,
    j.StepPlanned: _planned,
    j.TargetsHeld: _held,
    j.ApprovalAsked: _asked,
    j.ApprovalGiven: _given,
    j.GlassBroken: _broken,
    j.ApprovalEnded: _approval_ended,
    j.StepSkipped: _skipped,
    j.StepStarted: _started,
    j.TargetsReported: _reported,
    j.StepFinished: _finished,
    j.ProofRevoked: _revoked,
    j.Waived: _waived,
    j.FreezeRepeated: _repeated,
    j.EvidenceKept: _kept,
    j.EvidenceFound: _found,
    j.HoldPlaced: _hold,
    j.HoldLifted: _lifted,
    j.StatusPrompted: _prompted,
    j.PromptEscalated: _escalated,
    j.StatusGiven: _told,
    j.PostmortemDrafted: _drafted,
    j.ActionAdded: _action,
    j.ActionDone: _action_done,
    j.ChannelOpened: _channel,
    j.ChannelArchived: _archived,
    j.HeaderPosted: _header,
}
"""The table of changes; an entry that is not in it is a record only."""
