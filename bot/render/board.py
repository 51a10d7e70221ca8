"""What the console's incident page shows, as rows: targets, clocks, what waits for people, alerts. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from bot.domain import journal as j
from bot.domain.config import Config
from bot.domain.incident import Incident
from bot.domain.journal import Written
from bot.domain.playbook import Verb
from bot.domain.target import State, Track
from bot.render.incident_sentences import AUDIENCES
from bot.render.statements import next_due
from bot.render.step_sentences import NOUNS
from bot.render.words import count, everyone, names, plain, state_words, who

ALWAYS = (Verb.FREEZE, Verb.CAPTURE, Verb.ISOLATE, Verb.ROLLBACK)
SOMETIMES = (Verb.THROTTLE, Verb.UNFREEZE, Verb.RESTORE)
MOST_TARGETS = 200
MOST_ALERTS = 60
SYMBOLS: Mapping[State, tuple[str, str]] = {
    State.VERIFIED: ("✔", "good"),
    State.ALREADY: ("✔", "good"),
    State.FAILED: ("✖", "bad"),
    State.UNKNOWN: ("?", "bad"),
    State.REFUSED: ("⊘", "bad"),
    State.HELD: ("‖", "wait"),
    State.REQUESTED: ("…", "busy"),
    State.ACKNOWLEDGED: ("◌", "busy"),
    State.WAIVED: ("–", "calm"),
}
"""A state's sign and tone: the sign and the words tell the same, so that colour is never alone."""
_WORST = {state: place for place, state in enumerate((State.FAILED, State.UNKNOWN, State.REFUSED, State.HELD))}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One target's state in one verb."""

    sign: str
    tone: str
    words: str
    detail: str = ""
    since: datetime | None = None
    item: str | None = None
    next_means: str = ""


NOTHING = Cell(sign="·", tone="none", words="not asked")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One row of the table; `place` says what the inventory knows of the node."""

    node: str
    place: str
    suspect: bool
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How many targets stand in one state of the freeze."""

    sign: str
    tone: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """Something that falls due. `tone` is `bad` when it already has."""

    name: str
    due: datetime
    text: str
    tone: str = "calm"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Something that waits for people; `how` says what to type."""

    sign: str
    what: str
    why: str
    how: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """One alert episode; `key` stays the same while the page lives."""

    key: str
    name: str
    firing: bool
    state: str
    starts_at: str
    suspects: str
    unresolved: str
    own_effect: bool
    labels: tuple[str, ...]


def columns(incident: Incident) -> tuple[Verb, ...]:
    """Return the verbs that the table has columns for: the playbook's four, and what was used besides."""
    return (*ALWAYS, *(verb for verb in SOMETIMES if incident.tracks.get(verb)))


def nodes_of(incident: Incident) -> tuple[str, ...]:
    """Return every node that the incident suspects or touched."""
    touched = (node for tracks in incident.tracks.values() for node in tracks)
    return tuple(node for node in dict.fromkeys([*incident.suspects, *touched]) if node)


def targets(incident: Incident, config: Config) -> list[Target]:
    """Return the table's rows, what is worst first."""
    order = sorted(nodes_of(incident), key=lambda node: _worst(incident.state(Verb.FREEZE, node)))
    verbs = columns(incident)
    return [
        Target(
            node=node,
            place=_place(node, config),
            suspect=node in incident.suspects,
            cells=tuple(cell(verb, incident.tracks.get(verb, {}).get(node)) for verb in verbs),
        )
        for node in order[:MOST_TARGETS]
    ]


def _worst(state: State | None) -> int:
    return len(_WORST) if state is None else _WORST.get(state, len(_WORST) + 1)


def _place(node: str, config: Config) -> str:
    found = config.inventory.nodes.get(node)
    if found is None:
        return "not in the inventory"
    return ", ".join(part for part in (found.avs, str(found.cohort), found.region, found.client) if part)


def cell(verb: Verb, track: Track | None) -> Cell:
    """Return what a table cell says."""
    if track is None:
        return NOTHING
    sign, tone = SYMBOLS[track.state]
    return Cell(
        sign=sign,
        tone=tone,
        words=state_words(verb, track.state),
        detail=plain(track.detail, 300),
        since=track.since,
        item=track.item,
        next_means="" if track.state.proven or verb is not Verb.FREEZE else track.state.next_means,
    )


def tally(incident: Incident) -> list[Tally]:
    """Return how many targets stand where in the freeze, worst first."""
    nodes = nodes_of(incident)
    states = [incident.state(Verb.FREEZE, node) for node in nodes]
    told = []
    for state in sorted({s for s in states if s is not None}, key=_worst):
        sign, tone = SYMBOLS[state]
        told.append(Tally(sign=sign, tone=tone, text=f"{states.count(state)} {state_words(Verb.FREEZE, state)}"))
    if None in states:
        told.append(Tally(sign=NOTHING.sign, tone=NOTHING.tone, text=f"{states.count(None)} not asked to stop"))
    return told


def clocks(incident: Incident, config: Config, now: datetime) -> list[Clock]:
    """Return what falls due, overdue things first."""
    found = [*_status_clocks(incident, config, now), *_page_clocks(incident, config)]
    found += [
        Clock(name=f"Agreement to {NOUNS[a.verb].lower()}", due=a.expires_at, text="expires")
        for a in incident.approvals.values()
        if a.pending
    ]
    marked = [c if c.due > now else Clock(name=c.name, due=c.due, text=c.text, tone="bad") for c in found]
    return sorted(marked, key=lambda clock: clock.due)


def _status_clocks(incident: Incident, config: Config, now: datetime) -> Iterable[Clock]:
    if not incident.status.live:
        return
    for audience, told in AUDIENCES.items():
        waiting = [p for p in incident.prompts.values() if p.audience == audience and p.answered_at is None]
        if waiting:
            asked = everyone(waiting[-1].asked, config)
            yield Clock(name=f"Status for {told}", due=waiting[0].due_at, text=f"asked of {asked}")
        elif (due := next_due(incident, config, now, audience)) is not None:
            yield Clock(name=f"Status for {told}", due=due, text="next due")


def _page_clocks(incident: Incident, config: Config) -> Iterable[Clock]:
    waiting = [page for page in incident.pages.values() if not page.acknowledged]
    if waiting and incident.status.live:
        last = waiting[-1]
        due = last.at + config.policy.paging.escalate_after
        yield Clock(name="Page", due=due, text=f"moves on; {everyone(last.people, config)} called")


def wanted(incident: Incident, config: Config) -> list[Wanted]:
    """Return what waits for people: decisions that are held, agreements, then an acknowledgement."""
    live = incident.status.live
    return [*(_held(incident) if live else ()), *_agreements(incident, config), *(_calls(incident) if live else ())]


def _held(incident: Incident) -> Iterable[Wanted]:
    for verb, tracks in incident.tracks.items():
        nodes = [node for node, track in tracks.items() if track.state is State.HELD]
        if not nodes:
            continue
        how = f"stopsign incident approve {incident.id}"
        if verb is Verb.FREEZE:
            how = f"stopsign incident freeze {incident.id} {' '.join(nodes[:6])}"
        why = tracks[nodes[0]].detail
        yield Wanted(sign="‖", what=f"{NOUNS[verb]} of {names(nodes)} waits for a person", why=why, how=how)


def _agreements(incident: Incident, config: Config) -> Iterable[Wanted]:
    for asked in incident.approvals.values():
        if asked.pending:
            left = count(max(1, asked.needs.people - len(asked.given)), "more person", "more people")
            yield Wanted(
                sign="?",
                what=f"{NOUNS[asked.verb]} of {names(asked.targets)} needs {left}",
                why=f"asked for by {who(asked.requester, config)}: {asked.reason}",
                how=f"stopsign incident approve {incident.id}",
                until=asked.expires_at,
            )


def _calls(incident: Incident) -> Iterable[Wanted]:
    waiting = [page for page in incident.pages.values() if not page.acknowledged]
    if waiting:
        how = f"stopsign incident ack {incident.id}"
        yield Wanted(sign="☎", what="Nobody has acknowledged the last page", why=waiting[-1].reason, how=how)


def alarms(entries: Sequence[Written]) -> tuple[list[Alarm], int]:
    """Return the alert episodes, firing ones first and then the newest, and how many more there are."""
    first: dict[tuple[str, str], tuple[str, j.AlertSeen]] = {}
    state: dict[tuple[str, str], str] = {}
    for written in entries:
        if isinstance(written.entry, j.AlertsJoined):
            for place, alert in enumerate(written.entry.alerts):
                episode = (alert.fingerprint, alert.starts_at)
                first.setdefault(episode, (f"{written.n}-{place}", alert))
                state[episode] = alert.change
    told = [_alarm(key, alert, state[episode]) for episode, (key, alert) in reversed(first.items())]
    told.sort(key=lambda alarm: not alarm.firing)
    return told[:MOST_ALERTS], max(0, len(told) - MOST_ALERTS)


def _alarm(key: str, alert: j.AlertSeen, change: str) -> Alarm:
    words = {"fired": "firing", "resolved": "resolved", "missed": "ended before it was heard of"}
    return Alarm(
        key=key,
        name=plain(alert.name, 100),
        firing=change == "fired",
        state=words.get(change, change),
        starts_at=plain(alert.starts_at, 40),
        suspects=names(alert.suspects),
        unresolved=plain(names(alert.unresolved, 3), 300),
        own_effect=alert.own_effect,
        labels=tuple(plain(f"{key}={value}", 200) for key, value in list(alert.labels.items())[:30]),
    )
