"""What is known of an incident, as facts for people outside and inside. Nothing here guesses."""

from dataclasses import dataclass
from datetime import datetime

from bot.domain.cadence import business_days_after, owed
from bot.domain.config import Config
from bot.domain.incident import Incident, Status
from bot.domain.inventory import Node
from bot.domain.playbook import Verb
from bot.domain.target import State
from bot.render.step_sentences import NOUNS
from bot.render.words import count, minute, names, plain, state_words

STAKEHOLDERS = "stakeholders"
LONGEST_LINE = 420


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """One incident in sentences. Only `headline`, `targets` and `waiting` name nodes: they are for the team."""

    incident: str
    headline: str
    known: str
    affected: str
    stopped: str
    done: str
    targets: tuple[str, ...]
    waiting: str
    next_update: str


def facts_of(incident: Incident, config: Config, now: datetime, audience: str) -> Facts:
    """Return what may be told about `incident` at `now`."""
    return Facts(
        incident=incident.id,
        headline=f"{incident.id} {incident.severity}, {incident.status}: {plain(incident.summary, 200)}",
        known=_known(incident, config, now),
        affected=_affected(incident, config),
        stopped=_stopped(incident, config),
        done=" ".join(_done(incident, now)),
        targets=tuple(_targets(incident)),
        waiting="; ".join(_waiting(incident)),
        next_update=next_update(incident, config, now, audience),
    )


def _known(incident: Incident, config: Config, now: datetime) -> str:
    """Say what is known without anybody's own words: they were meant for the team."""
    since = f"Since {minute(incident.opened_at, now)}" if incident.opened_at else "Since a short while"
    titles = [config.runbooks[name].title for name in incident.runbooks if name in config.runbooks]
    if titles:
        return f"{since}, our monitoring reports: {names(titles, 3)}."
    who = "our operators report" if incident.declared else "our monitoring reports"
    return f"{since}, {who} a problem that we treat as serious until shown otherwise."


def _services(incident: Incident, config: Config) -> tuple[str, ...]:
    nodes = config.inventory.nodes
    found = [nodes[name].avs for name in (*incident.suspects, *incident.touched) if name in nodes]
    known = [incident.avs] if incident.avs and incident.avs in config.inventory.avs else []
    return tuple(dict.fromkeys([*known, *found]))


def _affected(incident: Incident, config: Config) -> str:
    services = _services(incident, config)
    if not services:
        return "Which services are affected is being established."
    told = [f"{name} ({config.inventory.avs[name].network})" for name in services]
    return f"{names(told)}."


def _fleet(incident: Incident, config: Config) -> dict[str, Node]:
    return {node.name: node for avs in _services(incident, config) for node in config.inventory.of_avs(avs)}


def _stopped(incident: Incident, config: Config) -> str:
    fleet = _fleet(incident, config)
    proven = [name for name in incident.frozen if name in fleet]
    tracks = incident.tracks.get(Verb.FREEZE, {})
    asked = [n for n, t in tracks.items() if n in fleet and not t.state.proven and t.state not in _NOT_ASKED]
    if not proven and not asked:
        return "No signer has been stopped for this incident."
    verb = "is" if len(proven) == 1 else "are"
    text = f"{len(proven)} of {count(len(fleet), 'signer')} {verb} confirmed stopped, as a precaution."
    if asked:
        text += f" {len(asked)} more {'was' if len(asked) == 1 else 'were'} asked to stop; that is not confirmed yet."
    return text


_NOT_ASKED = frozenset({State.HELD, State.WAIVED})


def _done(incident: Incident, now: datetime) -> list[str]:
    told = []
    if incident.resolved_at:
        told.append(f"The incident is resolved since {minute(incident.resolved_at, now)}.")
    elif incident.acknowledged_at:
        told.append(f"Our on-call team is at work since {minute(incident.acknowledged_at, now)}.")
    elif incident.pages:
        told.append("Our on-call team has been called.")
    if _proven(incident, Verb.CAPTURE):
        told.append("Records of what was signed are being preserved.")
    if moved := _proven(incident, Verb.ISOLATE):
        told.append(f"Traffic was moved away from {count(moved, 'signer')}.")
    if back := _proven(incident, Verb.ROLLBACK):
        told.append(f"{count(back, 'signer')} went back to the previous release.")
    if incident.contained_at and not incident.resolved_at:
        word = "is considered contained" if incident.contained_by_hand else "is contained"
        told.append(f"The incident {word} since {minute(incident.contained_at, now)}.")
    return told or ["We are looking into it."]


def _proven(incident: Incident, verb: Verb) -> int:
    return sum(track.state.proven for track in incident.tracks.get(verb, {}).values())


def _targets(incident: Incident) -> list[str]:
    """Return one line a verb: which targets stand where."""
    told = []
    for verb, tracks in incident.tracks.items():
        groups: dict[State, list[str]] = {}
        for node, track in tracks.items():
            groups.setdefault(track.state, []).append(node)
        parts = [f"{names(nodes, 5)} {state_words(verb, state)}" for state, nodes in groups.items()]
        if parts:
            told.append(plain(f"{NOUNS[verb]}: {'; '.join(parts)}", LONGEST_LINE))
    if incident.unresolved:
        told.append(plain(f"Named by alerts but not found: {names(incident.unresolved, 3)}", LONGEST_LINE))
    return told


def _waiting(incident: Incident) -> list[str]:
    asked = [f"{NOUNS[a.verb]} of {names(a.targets, 5)}" for a in incident.approvals.values() if a.pending]
    held = [
        f"{NOUNS[verb]} of {names(nodes, 5)}"
        for verb, tracks in incident.tracks.items()
        if (nodes := [node for node, track in tracks.items() if track.state is State.HELD])
    ]
    return list(dict.fromkeys([*asked, *held]))


def next_update(incident: Incident, config: Config, now: datetime, audience: str) -> str:
    """Return when the next update to `audience` comes."""
    policy = config.policy
    if not incident.status.live:
        if incident.status is Status.RESOLVED and incident.peak.value < 3 and incident.resolved_at:
            review = business_days_after(incident.resolved_at.date(), policy.postmortem_days, policy.country)
            return f"a review of the incident, by {review.isoformat()}."
        return "none is planned."
    due = next_due(incident, config, now, audience)
    return f"{minute(due, now)}, or earlier if something important changes." if due else "when there is news."


def next_due(incident: Incident, config: Config, now: datetime, audience: str) -> datetime | None:
    """Return the next point of an audience's clock after `now`, or None when the severity owes it none."""
    cadences = config.policy.stakeholders if audience == STAKEHOLDERS else config.policy.internal
    cadence = cadences.get(incident.severity)
    if cadence is None or incident.severity_since is None or not incident.status.live:
        return None
    _, following = owed(cadence, incident.severity_since, now, now)
    return following.due
