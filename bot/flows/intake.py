"""Intake: a notification becomes incidents, or joins them, or is set aside, each with its reason."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar

from bot.domain import journal as j
from bot.domain.alert import Alert, AlertStatus, Notification
from bot.domain.authority import Power
from bot.domain.incident import Incident, Status
from bot.domain.inventory import Mapped
from bot.domain.playbook import Verb
from bot.domain.runbook import Runbook
from bot.domain.severity import Severity
from bot.domain.target import State
from bot.domain.watch import ignored_key
from bot.errors import Invalid
from bot.flows.book import Book, Command
from bot.flows.people import all_hands, gather, page
from bot.flows.playbook import Advance, advance
from bot.flows.resolve import still_stopped

AT_ONCE = 500
"""Alerts in one journal entry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receive(Command):
    """A notification arrived."""

    soon: ClassVar[bool] = True
    notification: Notification


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """What became of a notification: incidents touched, how many alerts were known already, which were heartbeats."""

    incidents: tuple[str, ...]
    known: int = 0
    ignored: tuple[str, ...] = ()
    beats: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What an alert means: its severity (None: no incident), where it belongs, and why."""

    severity: Severity | None
    key: str
    reason: str
    runbook: Runbook | None
    playbook: str
    avs: str | None
    summary: str


def receive(book: Book, command: Receive) -> Received:
    """Take a notification in. The same episode and status again changes nothing, in whatever order they come."""
    alerts = _distinct(command.notification.alerts)
    known = book.episodes([alert.episode for alert in alerts])
    touched: dict[int, list[j.AlertSeen]] = {}
    reasons: dict[int, list[str]] = {}
    answer: dict[str, list[str]] = {"ignored": [], "beats": []}
    duplicates = 0
    for alert in alerts:
        verdict = classify(alert, book)
        if verdict.severity is None:
            answer["beats"].append(alert.name)
            continue
        stored = known.get(alert.episode)
        resolved = alert.status is AlertStatus.RESOLVED
        if stored is not None:
            if stored.resolved or not resolved:
                duplicates += 1
                _also(touched, stored.incident)
            else:
                seen = _seen(alert, verdict, Mapped(), change="resolved", own_effect=stored.own_effect)
                touched.setdefault(stored.incident, []).append(seen)
                reasons.setdefault(stored.incident, []).append("its episode is over")
            continue
        mapped = suspects_of(alert, verdict.runbook, book)
        holder = _held_by(book, verdict, mapped)
        change = "missed" if resolved else "fired"
        seen = _seen(alert, verdict, mapped, change=change, own_effect=holder is not None)
        incident = book.live(verdict.key)
        if incident is None and holder is not None:
            why = f"caused by our own freeze of {', '.join(mapped.nodes)} in {holder.id}"
            if ignored_key(*alert.episode, alert.status.value) not in book.watch().ignored:
                book.write_watch(_ignored(alert, why))
            answer["ignored"].append(alert.name)
            continue
        if incident is None:
            incident, why = _open(book, verdict)
        else:
            why = f"same correlation key {verdict.key}"
        touched.setdefault(incident.number, []).append(seen)
        reasons.setdefault(incident.number, []).append("caused by our own freeze" if holder else why)
        if holder is None:
            _raise(book, incident, verdict)
    for number, seen_here in touched.items():
        _join(book, number, seen_here, reasons.get(number, []), command.notification.truncated)
        if any(seen.suspects and not seen.own_effect for seen in seen_here):
            # In the same transaction: a freeze that may begin shall not wait for another commit.
            advance(book, Advance(by=command.by, incident=number))
    return Received(
        incidents=tuple(f"inc-{number}" for number in touched),
        known=duplicates,
        ignored=tuple(answer["ignored"]),
        beats=tuple(answer["beats"]),
    )


def classify(alert: Alert, book: Book) -> Verdict:
    """Say what an alert means, by its runbook, else by its severity label; unknown means: assume worse."""
    config = book.config
    labels = alert.labels
    runbook = config.runbook_for(labels)
    avs = labels.get("avs")
    paging = config.policy.paging
    level = labels.get("severity", "")
    if runbook is not None:
        severity = None if runbook.heartbeat else runbook.severity
        key = correlation(alert, runbook.correlate)
        summary = f"{runbook.title}{f' on {avs}' if avs else ''}"
        reason = f"runbook {runbook.alert}"
        return Verdict(
            severity=severity,
            key=key,
            reason=reason,
            runbook=runbook,
            playbook=runbook.playbook,
            avs=avs,
            summary=summary,
        )
    severity, reason = Severity.SEV2, "no runbook, and no severity label that the policy knows: assumed worse"
    if level in paging.page:
        reason = f"no runbook for this paging alert (severity={level}): assumed worse"
    elif level in paging.ticket:
        severity, reason = Severity.SEV3, f"no runbook; severity={level} makes a ticket"
    elif level in paging.beat:
        return Verdict(
            severity=None, key="", reason="heartbeat", runbook=None, playbook="", avs=avs, summary=alert.name
        )
    return Verdict(
        severity=severity,
        key=correlation(alert, ("alertname", "avs")),
        reason=reason,
        runbook=None,
        playbook=f"sev{severity.value}",
        avs=avs,
        summary=f"{alert.name}{f' on {avs}' if avs else ''}",
    )


def correlation(alert: Alert, labels: tuple[str, ...]) -> str:
    """Return the key that joins alerts: `label=value` for each label; one without any of them stands by its name."""
    have = [f"{label}={alert.labels[label]}" for label in labels if alert.labels.get(label)]
    return ",".join(have) or f"alertname={alert.name}"


def suspects_of(alert: Alert, runbook: Runbook | None, book: Book) -> Mapped:
    """Map an alert's labels to nodes. What cannot be mapped is named for people, never widened."""
    if runbook is None or not runbook.suspects.by:
        return Mapped()
    inventory = book.config.inventory
    rule = runbook.suspects
    avs = alert.labels.get(rule.avs) if rule.avs else None
    unresolved: list[str] = []
    for label, attribute in rule.by.items():
        value = alert.labels.get(label)
        if not value:
            continue
        nodes = inventory.find(attribute, value, avs)
        if len(nodes) == 1 or (nodes and attribute == "key"):
            return Mapped(nodes=nodes, unresolved=tuple(unresolved))
        how = "names nobody in the inventory" if not nodes else f"names {len(nodes)} nodes"
        unresolved.append(f"{label}={value} ({how})")
    if not unresolved:
        unresolved.append(f"{alert.name}: no label of {', '.join(rule.by)}")
    return Mapped(unresolved=tuple(unresolved))


def _open(book: Book, verdict: Verdict) -> tuple[Incident, str]:
    assert verdict.severity is not None  # heartbeats were set aside by the caller
    before = book.latest(verdict.key)
    incident = book.open(
        j.IncidentOpened(
            key=verdict.key,
            severity=verdict.severity,
            summary=verdict.summary,
            avs=verdict.avs if verdict.avs in book.config.inventory.avs else None,
            playbook=verdict.playbook,
            reason=verdict.reason,
            recurrence_of=before.number if before else None,
        )
    )
    return gather(book, incident, reason=f"{incident.severity}: {incident.summary}"), verdict.reason


def _raise(book: Book, incident: Incident, verdict: Verdict) -> None:
    """Raise the incident when the alert means worse. Lowering is for people."""
    if verdict.severity is None or not verdict.severity.worse_than(incident.severity):
        return
    incident = book.write(
        incident,
        j.SeverityChanged(
            was=incident.severity,
            now=verdict.severity,
            reason=f"{verdict.summary} ({verdict.reason}) joined an open {incident.severity}",
            playbook=verdict.playbook,
            summary=verdict.summary,
        ),
    )
    gather(book, incident, reason=f"raised to {verdict.severity}: {incident.summary}")


def _join(book: Book, number: int, seen: list[j.AlertSeen], reasons: list[str], truncated: int) -> None:
    incident = book.incident(number)
    if not seen and truncated <= incident.truncated:
        return
    before = incident.truncated
    why = "; ".join(dict.fromkeys(reasons)) or "the notification says that more alerts were left out"
    for start in range(0, len(seen) or 1, AT_ONCE):
        part = tuple(seen[start : start + AT_ONCE])
        incident = book.write(incident, j.AlertsJoined(alerts=part, reason=why, truncated=truncated))
    incident = _named_again(book, incident, seen)
    fresh = [s for s in seen if not s.own_effect and s.change != "resolved" and (s.suspects or s.unresolved)]
    if incident.status is Status.CONTAINED and not incident.all_stopped and (fresh or truncated > before):
        incident = book.write(incident, j.Reopened(reason="an alert names a suspect that is not verified stopped"))
        page(book, incident, all_hands(book), reason="reopened: a suspect is not verified stopped")


def _named_again(book: Book, incident: Incident, seen: list[j.AlertSeen]) -> Incident:
    """Hold targets that people let go and that a new safety alert names again: the bot does not overrule them."""
    again = tuple(
        dict.fromkeys(
            node
            for alert in seen
            if alert.safety and alert.change == "fired" and not alert.own_effect
            for node in alert.suspects
            if incident.state(Verb.FREEZE, node) is None and incident.state(Verb.UNFREEZE, node) is not None
        )
    )
    if not again:
        return incident
    why = "people let it go, and a new alert names it again: a person decides"
    incident = book.write(incident, j.TargetsHeld(verb=Verb.FREEZE, targets=again, reason=why))
    return page(book, incident, all_hands(book), reason=f"{', '.join(again)}: {why}")


def _held_by(book: Book, verdict: Verdict, mapped: Mapped) -> Incident | None:
    """Return the incident whose freeze explains this alert, if every node that it names is stopped by us."""
    if verdict.runbook is None or not verdict.runbook.caused_by_freeze or not mapped.nodes or mapped.unresolved:
        return None
    for incident in book.holding():
        if set(mapped.nodes) <= _stopped_by(incident):
            return incident
    return None


def _stopped_by(incident: Incident) -> set[str]:
    """Return the nodes whose missed duties an incident's freeze explains: proven, or on the way while it is open."""
    on_the_way = {State.REQUESTED, State.ACKNOWLEDGED} if incident.status.live else set()
    return {n for n, t in incident.tracks.get(Verb.FREEZE, {}).items() if t.state.proven or t.state in on_the_way}


def _distinct(alerts: tuple[Alert, ...]) -> tuple[Alert, ...]:
    """Drop repeats within one delivery; firing before resolved, so that an episode told whole is read in order."""
    ordered = sorted(alerts, key=lambda alert: alert.status is AlertStatus.RESOLVED)
    resolved = {alert.episode for alert in alerts if alert.status is AlertStatus.RESOLVED}
    kept = {(a.episode, a.status): a for a in ordered if a.status is AlertStatus.RESOLVED or a.episode not in resolved}
    return tuple(kept.values())


def _seen(alert: Alert, verdict: Verdict, mapped: Mapped, *, change: str, own_effect: bool) -> j.AlertSeen:
    return j.AlertSeen(
        fingerprint=alert.fingerprint,
        starts_at=alert.starts_at,
        change=change,
        name=alert.name,
        labels=alert.labels,
        annotations=alert.annotations,
        suspects=mapped.nodes,
        unresolved=mapped.unresolved,
        own_effect=own_effect,
        safety=verdict.runbook is not None and verdict.runbook.safety,
        runbook=verdict.runbook.alert if verdict.runbook else None,
    )


def _ignored(alert: Alert, reason: str) -> j.AlertIgnored:
    return j.AlertIgnored(
        name=alert.name,
        fingerprint=alert.fingerprint,
        starts_at=alert.starts_at,
        status=alert.status.value,
        reason=reason,
    )


def _also(touched: dict[int, list[j.AlertSeen]], number: int) -> None:
    touched.setdefault(number, [])


@dataclass(frozen=True, slots=True, kw_only=True)
class Quiet(Command):
    """The flap window has passed since an incident's last alert ended."""

    incident: int


def settle(book: Book, command: Quiet) -> datetime | None:
    """Resolve a SEV-3 whose alerts have stayed quiet for the flap window; never a SEV-1 or SEV-2."""
    incident = book.incident(command.incident)
    if incident.peak is not Severity.SEV3 or still_stopped(incident):
        return None
    if incident.severity is not Severity.SEV3 or incident.declared or incident.firing or not incident.status.live:
        return None
    last = max((w.at for w in book.journal(incident.number) if isinstance(w.entry, j.AlertsJoined)), default=book.now)
    due = last + book.config.policy.flap_window
    if due > book.now:
        return due
    window = int(book.config.policy.flap_window / timedelta(minutes=1))
    book.write(incident, j.Resolved(summary=f"all alerts resolved and quiet for {window} min"))
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Declare(Command):
    """A person declares an incident."""

    needs: ClassVar[Power | None] = Power.RESPOND
    severity: Severity
    summary: str
    avs: str | None = None


def declare(book: Book, command: Declare) -> Incident:
    """Open an incident without an alert. It has no suspects: nothing is frozen until a person names targets."""
    if not command.summary.strip():
        raise Invalid(
            "Say in a few words what is wrong: `declare SEV-1 oracle two signatures for slot 7`.", where="summary"
        )
    if command.avs is not None and command.avs not in book.config.inventory.avs:
        known = ", ".join(book.config.inventory.avs)
        raise Invalid(f"There is no AVS '{command.avs}' in the inventory. Known: {known}.", where="avs")
    incident = book.open(
        j.IncidentOpened(
            key=f"declared={book.unguessable()}",
            severity=command.severity,
            summary=command.summary.strip()[:200],
            avs=command.avs,
            playbook=f"sev{command.severity.value}",
            reason=f"declared by {command.by.person or 'the bot'}",
            declared=True,
        )
    )
    return gather(book, incident, reason=f"{incident.severity}: {incident.summary}")
