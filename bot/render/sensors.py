"""Where the sensors failed: what the journal shows about late, noisy, missing and lying signals."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bot.domain import journal as j
from bot.domain.incident import Incident
from bot.domain.journal import AlertSeen, Written
from bot.domain.target import State
from bot.render.times import first_sign
from bot.render.words import count, duration, names, parsed, plain


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """All episodes of one alert name, told together."""

    name: str
    series: int
    episodes: int
    began: datetime | None
    heard: datetime
    slowest: timedelta | None
    remark: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One way in which a sensor failed, with the numbers of the journal entries that show it."""

    what: str
    text: str
    sources: tuple[int, ...] = ()


Seen = tuple[Written, AlertSeen]


def _seen(entries: Sequence[Written]) -> list[Seen]:
    """Return every alert episode that began, with the entry that tells of it."""
    return [
        (written, alert)
        for written in entries
        if isinstance(written.entry, j.AlertsJoined)
        for alert in written.entry.alerts
        if alert.change != "resolved"
    ]


def signals(entries: Sequence[Written]) -> list[Signal]:
    """Return what each alert name told, and how late, in order of the first word."""
    groups: dict[str, list[Seen]] = {}
    for written, alert in _seen(entries):
        groups.setdefault(alert.name, []).append((written, alert))
    return [_signal(name, group) for name, group in groups.items()]


def _signal(name: str, group: list[Seen]) -> Signal:
    starts = [(written.at, at) for written, alert in group if (at := parsed(alert.starts_at))]
    remarks = {
        "flapped": len({alert.fingerprint for _, alert in group}) < len(group),
        "ended unseen": any(alert.change == "missed" for _, alert in group),
        "own effect": any(alert.own_effect for _, alert in group),
        "no runbook": any(alert.runbook is None for _, alert in group),
        "target not found": any(alert.unresolved for _, alert in group),
    }
    return Signal(
        name=name,
        series=len({alert.fingerprint for _, alert in group}),
        episodes=len(group),
        began=min((at for _, at in starts), default=None),
        heard=min(written.at for written, _ in group),
        slowest=max((heard - at for heard, at in starts), default=None),
        remark=", ".join(remark for remark, true in remarks.items() if true),
    )


def findings(incident: Incident, entries: Sequence[Written]) -> tuple[list[Finding], list[str]]:
    """Return what failed, and the names of the checks that found nothing."""
    checks = {
        "detection": _detection(incident, entries),
        "episodes that ended unseen": _missed(entries),
        "flapping": _flapping(entries),
        "alerts left out of a notification": _truncated(entries),
        "labels that name no target": _unresolved(entries),
        "alerts without a runbook": _without_runbook(entries),
        "proof that was revoked": _revoked(entries),
        "nodes that never answered": _silent(entries),
        "Stopsign's own deliveries": _own(entries),
    }
    found = [finding for finding in checks.values() if finding is not None]
    return found, [name for name, finding in checks.items() if finding is None]


def _detection(incident: Incident, entries: Sequence[Written]) -> Finding | None:
    if incident.opened_at is None:
        return None
    if incident.declared:
        return Finding(what="Detection", text="People declared this incident: no alert had found it.", sources=(1,))
    first = first_sign(entries)
    if first is None:
        return Finding(what="Detection", text="No alert gives a time at which it began: the delay cannot be told.")
    delay = incident.opened_at - first
    if delay < timedelta():
        text = f"The monitoring's clock is ahead of ours by at least {duration(-delay)}: delays cannot be trusted."
    else:
        text = f"The first alert began {duration(delay)} before the incident opened, grouping and delivery included."
    return Finding(what="Detection", text=text, sources=tuple(written.n for written, _ in _seen(entries)[:1]))


def _told(what: str, seen: list[Seen], text: str) -> Finding | None:
    if not seen:
        return None
    kinds = [plain(name, 60) for name in dict.fromkeys(alert.name for _, alert in seen)]
    sources = tuple(dict.fromkeys(written.n for written, _ in seen))
    number = count(len(seen), "episode")
    return Finding(what=what, text=f"{number} of {names(kinds)} {text}", sources=sources)


def _missed(entries: Sequence[Written]) -> Finding | None:
    missed = [(w, a) for w, a in _seen(entries) if a.change == "missed"]
    return _told("Ended unseen", missed, "had fired and resolved before we heard of it.")


def _flapping(entries: Sequence[Written]) -> Finding | None:
    seen: set[str] = set()
    again: list[Seen] = []
    for written, alert in _seen(entries):
        if alert.fingerprint in seen:
            again.append((written, alert))
        seen.add(alert.fingerprint)
    return _told("Flapping", again, "came again after the same alert had resolved.")


def _truncated(entries: Sequence[Written]) -> Finding | None:
    cut = [(w.n, w.entry.truncated) for w in entries if isinstance(w.entry, j.AlertsJoined) and w.entry.truncated]
    if not cut:
        return None
    most = max(number for _, number in cut)
    text = f"Alertmanager left up to {count(most, 'alert')} out of a notification: their targets were never named."
    return Finding(what="Truncated", text=text, sources=tuple(n for n, _ in cut))


def _unresolved(entries: Sequence[Written]) -> Finding | None:
    lost = [(w, text) for w, alert in _seen(entries) for text in alert.unresolved]
    if not lost:
        return None
    texts = [plain(text, 120) for text in dict.fromkeys(text for _, text in lost)]
    text = f"The inventory could not place: {names(texts, 10)}."
    return Finding(what="Target not found", text=text, sources=tuple(dict.fromkeys(w.n for w, _ in lost)))


def _without_runbook(entries: Sequence[Written]) -> Finding | None:
    bare = [(w, a) for w, a in _seen(entries) if a.runbook is None]
    return _told("No runbook", bare, "had no runbook: severity and targets were assumed.")


def _revoked(entries: Sequence[Written]) -> Finding | None:
    revoked = [(w.n, w.entry) for w in entries if isinstance(w.entry, j.ProofRevoked)]
    if not revoked:
        return None
    told = [f"{e.node}: {e.reason}" for _, e in revoked]
    return Finding(what="Proof revoked", text=f"{names(told, 5)}.", sources=tuple(n for n, _ in revoked))


def _silent(entries: Sequence[Written]) -> Finding | None:
    """Name the nodes of which not one report is an answer."""
    spoke: dict[str, bool] = {}
    last: dict[str, tuple[int, str]] = {}
    for written in entries:
        if isinstance(written.entry, j.TargetsReported):
            for report in written.entry.reports:
                answered = report.state not in {State.UNKNOWN, State.FAILED}
                spoke[report.node] = spoke.get(report.node, False) or answered
                last[report.node] = (written.n, report.detail)
    silent = [node for node, answered in spoke.items() if not answered]
    if not silent:
        return None
    told = [f"{node} ({last[node][1]})" for node in silent]
    return Finding(what="Never answered", text=f"{names(told, 5)}.", sources=tuple(last[node][0] for node in silent))


def _own(entries: Sequence[Written]) -> Finding | None:
    lost: list[str] = []
    sources: list[int] = []
    for written in entries:
        match written.entry:
            case j.WorkBuried(kind=kind, reason=reason):
                lost.append(f"{kind} ({reason})")
                sources.append(written.n)
            case j.PagingExhausted(reason=reason):
                lost.append(reason)
                sources.append(written.n)
            case _:
                pass
    if not lost:
        return None
    return Finding(what="Stopsign itself", text=f"Gave up: {names(lost, 5)}.", sources=tuple(sources))
