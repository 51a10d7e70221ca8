"""Outcomes: what reports mean for the incident, for its containment, and for whom they wake."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bot.domain import journal as j
from bot.domain.authority import Power
from bot.domain.incident import Incident, Page, Status, Step, StepState
from bot.domain.playbook import OnFailure, Verb
from bot.domain.roles import Role
from bot.domain.target import State, Track
from bot.domain.work import Todo
from bot.errors import Invalid, Refused
from bot.flows.book import Book, Command
from bot.flows.people import all_hands, must_be_live, page
from bot.flows.rules import names, thawing

BAD = frozenset({State.FAILED, State.UNKNOWN, State.REFUSED})


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
        incident = _page_once(book, incident, NOT_PROVEN, revoked)
    bad = [r for r in fresh if r.state in BAD and (r.node not in old or old[r.node].state not in BAD)]
    if verb is Verb.FREEZE and bad:
        incident = _page_once(book, incident, NOT_IN_FORCE, bad)
    return incident


NOT_PROVEN, NOT_IN_FORCE = "freeze no longer proven on", "freeze not in force on"
TOGETHER = timedelta(minutes=1)
"""What goes wrong so soon after a page for the same cause is paged together: a thousand targets are not a thousand."""


def _page_once(book: Book, incident: Incident, cause: str, reports: Sequence[j.TargetReport]) -> Incident:
    """Page all hands for a cause; within a moment of the last such page, later and together."""
    wait = TOGETHER / book.config.policy.scale
    last = _last_page(incident, cause)
    if last is None or last.at + wait <= book.now:
        return _page_about(book, incident, cause, {r.node: r.detail for r in reports})
    # Once for each page: who is called then is told of everything since.
    key = f"{incident.id}:page.more:{last.at.timestamp():.3f}:{cause}"
    body = {"cause": cause, "since": last.at.isoformat()}
    book.todo(Todo(key=key, kind="page.more", body=body, incident=incident.number, due=last.at + wait))
    return incident


def _page_about(book: Book, incident: Incident, cause: str, worse: Mapping[str, str]) -> Incident:
    """Page all hands for a cause; `worse` maps each target to what is wrong with it."""
    nodes = tuple(worse)
    why = f"{cause} {names(nodes)}: {worse[nodes[0]]}"
    return page(book, incident, all_hands(book), reason=why, cause=cause, nodes=nodes)


def _last_page(incident: Incident, cause: str) -> Page | None:
    found = [p for p in incident.pages.values() if p.cause == cause and not p.level]
    return found[-1] if found else None


@dataclass(frozen=True, slots=True, kw_only=True)
class PageMore(Command):
    """The moment after a page is over in which more went wrong for the same cause."""

    incident: int
    cause: str
    since: datetime
    """When the page was sent after which things were held together."""


def page_more(book: Book, command: PageMore) -> None:
    """Page all hands for what was held since the first page: what is not in force by now, and each proof that was lost.

    A counter that rose has risen, also when it stands still again.
    """
    incident = book.incident(command.incident)
    if command.cause == NOT_PROVEN:
        entries = [w.entry for w in book.journal(incident.number) if w.at > command.since]
        worse = {e.node: e.reason for e in entries if isinstance(e, j.ProofRevoked)}
    else:
        tracks = incident.tracks.get(Verb.FREEZE, {}).items()
        worse = {n: t.detail for n, t in tracks if t.state in BAD and t.since > command.since}
    told = {n for p in incident.pages.values() if p.cause == command.cause and p.at > command.since for n in p.nodes}
    left = {n: why for n, why in worse.items() if n not in told}
    if left:
        _page_about(book, incident, command.cause, left)


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
        return book.write(incident, j.Reopened(reason=f"no longer verified stopped: {names(tuple(moving))}"))
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
        return page(book, incident, all_hands(book), reason=f"{step.verb} failed on {names(bad)}: {summary}")
    return incident  # a freeze that is not in force has paged with its report


def interrupted(book: Book, incident: Incident, step: Step, left: tuple[str, ...], why: str) -> Incident:
    """End a step that was cut off and may not go on: what was under way is unknown, never assumed."""
    reports = tuple(
        j.TargetReport(node=n, state=State.UNKNOWN, detail=f"interrupted, and not repeated: {why}") for n in left
    )
    if reports:
        incident = book.write(incident, j.TargetsReported(step=step.id, verb=step.verb, reports=reports))
    return book.write(incident, j.StepFinished(step=step.id, verb=step.verb, summary=f"interrupted: {why}"))


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
        incident = interrupted(book, incident, step, left, why)
    elif command.step is None:
        return
    page(book, incident, all_hands(book), reason=f"{command.entry.kind} was {why}")


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
