"""What the API and the command line say of an incident, as JSON values; no web framework is needed for it."""

from datetime import datetime
from typing import Any

from bot.domain.cadence import owed
from bot.domain.incident import Incident
from bot.errors import NotFound
from bot.flows import status
from bot.flows.book import World


def number_of(text: str) -> int:
    """Return 7 for `inc-7`; raises NotFound for anything else."""
    digits = text.removeprefix("inc-")
    if not digits.isascii() or not digits.isdigit() or len(digits) > 9:
        raise NotFound(f"'{text[:40]}' is no incident id: write inc-7.", where="incident")
    return int(digits)


def summary(incident: Incident, world: World, now: datetime) -> dict[str, Any]:
    """Return what the API says of an incident: severity, status, roles, alerts, targets with states, clocks."""
    return {
        "id": incident.id,
        "severity": str(incident.severity),
        "peak": str(incident.peak),
        "status": incident.status.value,
        "summary": incident.summary,
        "avs": incident.avs,
        "key": incident.key,
        "reason": incident.reason,
        "playbook": incident.playbook,
        "recurrence_of": f"inc-{incident.recurrence_of}" if incident.recurrence_of else None,
        "opened_at": incident.opened_at,
        "acknowledged_at": incident.acknowledged_at,
        "contained_at": incident.contained_at,
        "resolved_at": incident.resolved_at,
        "roles": {role.value: person for role, person in incident.roles.items()},
        "alerts": {
            "firing": incident.firing,
            "seen": incident.seen,
            "truncated": incident.truncated,
            "names": list(incident.alert_names),
        },
        "suspects": list(incident.suspects),
        "unresolved": list(incident.unresolved),
        "targets": {
            node: {
                verb.value: {
                    "state": tracks[node].state.value,
                    "since": tracks[node].since,
                    "detail": tracks[node].detail,
                }
                for verb, tracks in incident.tracks.items()
                if node in tracks
            }
            for node in dict.fromkeys(n for tracks in incident.tracks.values() for n in tracks)
        },
        "steps": {
            s.id: {"state": s.state.value, "targets": list(s.targets), "summary": s.summary}
            for s in incident.steps.values()
        },
        "approvals": [
            {"verb": a.verb.value, "targets": list(a.targets), "requester": a.requester, "expires_at": a.expires_at}
            for a in incident.approvals.values()
            if a.pending
        ],
        "prompts": [
            {
                "id": p.id,
                "audience": p.audience,
                "marks": list(p.marks),
                "due_at": p.due_at,
                "answered_at": p.answered_at,
            }
            for p in incident.prompts.values()
        ],
        "clocks": clocks(incident, world, now),
        "channel": incident.channel_name,
        "evidence": incident.items,
        "postmortem_due": incident.postmortem_due,
    }


def clocks(incident: Incident, world: World, now: datetime) -> dict[str, datetime]:
    """Return when each audience's next status is due."""
    due: dict[str, datetime] = {}
    for audience in status.AUDIENCES:
        cadence = status.cadence_of(world.config.policy, incident.severity, audience)
        if cadence is not None and incident.severity_since is not None and incident.status.live:
            due[audience] = owed(cadence, incident.severity_since, now, now)[1].due
    return due
