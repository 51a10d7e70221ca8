"""What the postmortem tells, read from the journal: who did what role, what became of each target, what was kept."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from bot.domain import journal as j
from bot.domain.config import Config
from bot.domain.incident import Incident
from bot.domain.journal import Written
from bot.domain.playbook import Verb
from bot.domain.target import State
from bot.render.step_sentences import NOUNS
from bot.render.words import clock, duration, everyone, names, plain, state_words, who


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """One person's time in one role; `until` None means to the end."""

    role: str
    person: str
    how: str
    since: datetime
    until: datetime | None = None
    n: int


def roles_held(entries: Sequence[Written], config: Config) -> list[Held]:
    """Return who held which role and when, in order of their beginning."""
    held: list[Held] = []
    for written in entries:
        e = written.entry
        if isinstance(e, j.RoleTaken):
            held = [replace(h, until=written.at) if h.role == e.role.title and h.until is None else h for h in held]
            person = who(e.person, config)
            held.append(Held(role=e.role.title, person=person, how=e.how, since=written.at, n=written.n))
    return held


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What became of one target in one step; `course` has each state that it passed."""

    step: str
    verb: Verb
    node: str
    course: list[State]
    began: datetime
    ended: datetime
    detail: str = ""
    item: str | None = None
    asked_again: int = 0
    sources: list[int] = field(default_factory=list)

    @property
    def noun(self) -> str:
        """Return the step's name for people."""
        return NOUNS[self.verb]

    @property
    def path(self) -> str:
        """Return the states passed, for people, such as `asked → answered yes → proven stopped`."""
        told = [_SHORT.get(state) or state_words(self.verb, state) for state in self.course[:-1]]
        return " → ".join([*told, state_words(self.verb, self.course[-1])])

    @property
    def took(self) -> str:
        """Return how long it took from the first request to the last change."""
        return duration(self.ended - self.began) if len(self.course) > 1 else "—"


_SHORT = {
    State.REQUESTED: "asked",
    State.ACKNOWLEDGED: "answered yes",
    State.VERIFIED: "proven",
    State.ALREADY: "proven",
}


def outcomes(entries: Sequence[Written]) -> list[Outcome]:
    """Return what became of each target in each step, in order; waiting for a person stays part of its course."""
    rows = _Rows()
    for written in entries:
        match written.entry:
            case j.TargetsHeld(verb=verb, targets=targets, reason=reason):
                for node in targets:
                    rows.decide(written, verb, node, State.HELD, reason)
            case j.StepSkipped(verb=verb, targets=targets, reason=reason):
                for node in targets:
                    rows.decide(written, verb, node, State.WAIVED, reason)
            case j.Waived(verb=verb, node=node, reason=reason):
                rows.decide(written, verb, node, State.WAIVED, reason)
            case j.StepStarted(step=step, verb=verb, targets=targets):
                for node in targets:
                    rows.begin(written, step, verb, node)
            case j.TargetsReported(step=step, verb=verb, reports=reports):
                for report in reports:
                    rows.report(written, step, verb, report)
            case j.ProofRevoked(node=node, state=state, reason=reason):
                _pass(rows.of(written, Verb.FREEZE, node), written, state, reason)
            case j.FreezeRepeated(node=node):
                rows.of(written, Verb.FREEZE, node).asked_again += 1
            case _:
                pass
    return rows.all


class _Rows:
    """The outcomes so far, found by step and by what a target did last."""

    def __init__(self) -> None:
        self.all: list[Outcome] = []
        self._by_step: dict[tuple[str, str], Outcome] = {}
        self._last: dict[tuple[Verb, str], Outcome] = {}

    def decide(self, written: Written, verb: Verb, node: str, state: State, reason: str) -> None:
        """Enter a decision that sends nothing."""
        row = self._last.get((verb, node))
        if row is None or row.course[-1].proven:
            row = self._new(written, "—", verb, node)
        _pass(row, written, state, reason)

    def begin(self, written: Written, step: str, verb: Verb, node: str) -> None:
        """Enter that a request may have left; a target that only waited goes on in its row."""
        row = self._last.get((verb, node))
        if row is None or row.course != [State.HELD]:
            row = self._new(written, step, verb, node)
        row.step, row.began = step, written.at
        self._by_step[step, node] = row
        _pass(row, written, State.REQUESTED, "")

    def report(self, written: Written, step: str, verb: Verb, report: j.TargetReport) -> None:
        """Enter what is now known of a target."""
        row = self._by_step.get((step, report.node)) or self.of(written, verb, report.node)
        _pass(row, written, report.state, report.detail, report.item)

    def of(self, written: Written, verb: Verb, node: str) -> Outcome:
        """Return a target's last row in a verb."""
        return self._last.get((verb, node)) or self._new(written, "—", verb, node)

    def _new(self, written: Written, step: str, verb: Verb, node: str) -> Outcome:
        row = Outcome(step=step, verb=verb, node=node, course=[], began=written.at, ended=written.at)
        self.all.append(row)
        self._last[verb, node] = row
        return row


def _pass(row: Outcome, written: Written, state: State, detail: str, item: str | None = None) -> None:
    """Let a row pass into a state; evidence of an earlier state does not speak for a later one."""
    if not row.course or row.course[-1] is not state:
        row.course.append(state)
        row.ended = written.at
        row.item = None
    row.item = item or row.item
    row.detail = detail
    row.sources.append(written.n)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A status that was owed, and how late it came."""

    audience: str
    marks: str
    due: datetime
    asked: str
    answer: str


def prompts(incident: Incident, config: Config, now: datetime) -> list[Asked]:
    """Return every status prompt with its lateness."""
    told = []
    for prompt in incident.prompts.values():
        if prompt.answered_at is not None:
            late = prompt.answered_at - prompt.due_at
            by = who(prompt.answered_by, config)
            answer = f"{clock(prompt.answered_at)} by {by}, {duration(max(late, timedelta()))} after it was due"
        else:
            end = incident.resolved_at or now
            answer = f"never answered; {duration(end - prompt.due_at)} overdue at the end"
        marks = names(prompt.marks, 8)
        asked = everyone(prompt.asked, config)
        told.append(Asked(audience=prompt.audience, marks=marks, due=prompt.due_at, asked=asked, answer=answer))
    return told


def of_kind(entries: Sequence[Written], kind: type[j.Entry]) -> list[Written]:
    """Return the entries of one kind."""
    return [written for written in entries if isinstance(written.entry, kind)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """An alert that our own freeze caused."""

    n: int
    name: str
    nodes: str
    starts_at: str


def own_effects(entries: Sequence[Written]) -> list[Effect]:
    """Return the alerts that were marked as caused by our own freeze."""
    return [
        Effect(n=written.n, name=alert.name, nodes=names(alert.suspects), starts_at=alert.starts_at)
        for written in entries
        if isinstance(written.entry, j.AlertsJoined)
        for alert in written.entry.alerts
        if alert.own_effect and alert.change != "resolved"
    ]


MOST_RAW = 25


def raw_alerts(entries: Sequence[Written]) -> tuple[list[dict[str, object]], int]:
    """Return the first alerts as they were received, and how many more there are."""
    received = [
        {
            "n": written.n,
            "change": alert.change,
            "startsAt": alert.starts_at,
            "fingerprint": alert.fingerprint,
            "labels": {plain(k): plain(v) for k, v in alert.labels.items()},
            "annotations": {plain(k): plain(v) for k, v in alert.annotations.items()},
        }
        for written in entries
        if isinstance(written.entry, j.AlertsJoined)
        for alert in written.entry.alerts
        if alert.change != "resolved"
    ]
    return received[:MOST_RAW], max(0, len(received) - MOST_RAW)
