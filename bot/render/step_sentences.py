"""Sentences about steps: what was planned, held, agreed to, sent, reported and proven."""

from collections.abc import Callable, Mapping
from typing import Any

from bot.domain import journal as j
from bot.domain.playbook import Needs, Verb
from bot.domain.target import State
from bot.render.saying import Room, Saying
from bot.render.words import clock, count, names, state_words, who

NOUNS: Mapping[Verb, str] = {
    Verb.FREEZE: "Freeze",
    Verb.CAPTURE: "Capture",
    Verb.ISOLATE: "Isolation",
    Verb.ROLLBACK: "Rollback",
    Verb.THROTTLE: "Throttling",
    Verb.COMMUNICATE: "Holding statement",
    Verb.UNFREEZE: "Unfreeze",
    Verb.RESTORE: "Return to traffic",
}
_ICONS = {State.VERIFIED: "✔", State.ALREADY: "✔", State.FAILED: "✖", State.UNKNOWN: "⚠", State.REFUSED: "⊘"}
_WORST_FIRST = (State.UNKNOWN, State.FAILED, State.REFUSED, State.ACKNOWLEDGED, State.REQUESTED, State.HELD)
FEW = 3
"""Targets that are told one by one, each with its proof; more are counted."""


def _of(verb: Verb, targets: tuple[str, ...]) -> str:
    named = tuple(target for target in targets if target)
    return f"{NOUNS[verb]} of {names(named)}" if named else NOUNS[verb]


def _planned(e: j.StepPlanned, room: Room) -> Saying:
    if e.automatic:
        why = f"Stopsign decided by itself, {e.reason}"
    elif e.needs is Needs.TWO or e.reason.startswith("asked for by"):
        why = e.reason
    else:
        why = f"asked for by {room.actor}, {e.reason}"
    return Saying(
        icon="▷",
        text=f"{_of(e.verb, e.targets)} may begin: {why}",
        detail=(f"step {e.step}", *(f"{node}: {value}" for node, value in e.parameters.items())),
    )


def _held(e: j.TargetsHeld, room: Room) -> Saying:
    return Saying(icon="‖", text=f"{_of(e.verb, e.targets)} waits for a person: {e.reason}", detail=e.targets)


def _asked(e: j.ApprovalAsked, room: Room) -> Saying:
    need = "a second person" if e.needs is Needs.TWO else "a person"
    asks = f"{who(e.requester, room.config)} asks {need} to agree to {_lower(_of(e.verb, e.targets))}"
    return Saying(
        icon="?",
        text=f"{asks}, until {clock(e.expires_at)}: {e.reason}",
        detail=tuple(f"{node}: {value}" for node, value in e.parameters.items()),
    )


def _given(e: j.ApprovalGiven, room: Room) -> Saying:
    person = who(e.person, room.config)
    if not e.complete:
        return Saying(icon="✔", text=f"{person} agreed; one more person is needed")
    return Saying(icon="✔", text=f"{person} agreed; it may begin until {clock(e.until)}")


def _broken(e: j.GlassBroken, room: Room) -> Saying:
    person = who(e.person, room.config)
    return Saying(
        icon="⚠",
        text=f"Break-glass: {person} goes on alone at {clock(e.acts_at)} unless somebody rejects it: {e.reason}",
    )


def _ended(e: j.ApprovalEnded, room: Room) -> Saying:
    how = {
        "rejected": f"{room.actor} rejected the request",
        "expired": "The request for agreement expired",
        "void": "The agreement is void",
    }.get(e.how, f"The request for agreement ended ({e.how})")
    return Saying(icon="⊘", text=f"{how}: {e.reason}")


def _skipped(e: j.StepSkipped, room: Room) -> Saying:
    return Saying(icon="·", text=f"{_of(e.verb, e.targets)} left out: {e.reason}")


def _started(e: j.StepStarted, room: Room) -> Saying:
    again = f" (attempt {e.attempt})" if e.attempt > 1 else ""
    sent = "begins" if e.verb is Verb.COMMUNICATE else "begins: requests are on their way"
    return Saying(icon="▶", text=f"{_of(e.verb, e.targets)} {sent}{again}", detail=(f"step {e.step}",))


def _reported(e: j.TargetsReported, room: Room) -> Saying:
    states = [report.state for report in e.reports]
    worst = next((state for state in _WORST_FIRST if state in states), State.VERIFIED)
    told = _each(e) if len(e.reports) <= FEW else _counted(e)
    return Saying(
        icon=_ICONS.get(worst, "…"),
        text=f"{NOUNS[e.verb]}: {told}",
        detail=(f"step {e.step}", *(_report(e.verb, report) for report in e.reports)),
    )


def _each(e: j.TargetsReported) -> str:
    return "; ".join(_report(e.verb, report) for report in e.reports) or "nothing reported"


def _counted(e: j.TargetsReported) -> str:
    groups: dict[State, list[str]] = {}
    for report in e.reports:
        groups.setdefault(report.state, []).append(report.node)
    order = sorted(groups, key=list(State).index)
    return "; ".join(
        f"{count(len(groups[state]), 'target')} {state_words(e.verb, state)} ({names(groups[state], FEW)})"
        for state in order
    )


def _report(verb: Verb, report: j.TargetReport) -> str:
    already = ", says that it was so before" if report.already and report.state is State.ACKNOWLEDGED else ""
    item = f" [{report.item}]" if report.item else ""
    because = f" ({report.detail})" if report.detail else ""
    return f"{report.node} {state_words(verb, report.state)}{already}{because}{item}"


def _finished(e: j.StepFinished, room: Room) -> Saying:
    return Saying(icon="◦", text=f"{NOUNS[e.verb]} ended: {e.summary}", detail=(f"step {e.step}",))


def _revoked(e: j.ProofRevoked, room: Room) -> Saying:
    now = state_words(Verb.FREEZE, e.state)
    return Saying(icon="⚠", text=f"{e.node} is no longer proven stopped, now {now}: {e.reason}")


def _repeated(e: j.FreezeRepeated, room: Room) -> Saying:
    return Saying(icon="↻", text=f"Freeze of {e.node} is sent again (attempt {e.attempt}): {e.reason}")


def _waived(e: j.Waived, room: Room) -> Saying:
    return Saying(icon="⊘", text=f"{room.actor} goes on without {_lower(_of(e.verb, (e.node,)))}: {e.reason}")


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


SAYINGS: Mapping[type[j.Entry], Callable[[Any, Room], Saying]] = {
    j.StepPlanned: _planned,
    j.TargetsHeld: _held,
    j.ApprovalAsked: _asked,
    j.ApprovalGiven: _given,
    j.GlassBroken: _broken,
    j.ApprovalEnded: _ended,
    j.StepSkipped: _skipped,
    j.StepStarted: _started,
    j.TargetsReported: _reported,
    j.StepFinished: _finished,
    j.ProofRevoked: _revoked,
    j.FreezeRepeated: _repeated,
    j.Waived: _waived,
}
