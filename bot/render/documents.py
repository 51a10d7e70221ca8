"""Documents: the holding statement, the status draft, the postmortem. Values in, text out."""

from collections.abc import Sequence
from datetime import datetime

from bot.domain import journal as j
from bot.domain.cadence import business_days_after
from bot.domain.config import Config
from bot.domain.incident import Incident
from bot.domain.journal import Written
from bot.render import review, sensors
from bot.render.environment import render
from bot.render.statements import STAKEHOLDERS, facts_of
from bot.render.timeline import line, worth_reading
from bot.render.times import Times, first_sign, metrics_of
from bot.render.words import who

__all__ = ["Times", "holding_statement", "metrics_of", "postmortem", "status_draft"]


def holding_statement(incident: Incident, config: Config, now: datetime) -> str:
    """Return the first word to stakeholders: facts only, no internals, no guesses; plain, under 2,500 characters."""
    return render("holding_statement.txt.j2", facts=facts_of(incident, config, now, STAKEHOLDERS)).strip()


def status_draft(incident: Incident, config: Config, now: datetime, audience: str) -> str:
    """Return a status to start from, under 2,500 characters: the team reads targets by name, stakeholders do not."""
    if audience == STAKEHOLDERS:
        return holding_statement(incident, config, now)
    return render("status_internal.txt.j2", facts=facts_of(incident, config, now, audience)).strip()[:2500]


def postmortem(incident: Incident, entries: Sequence[Written], config: Config, now: datetime) -> str:
    """Return the blameless draft as Markdown, from the incident's whole journal; what strangers wrote is inert."""
    policy = config.policy
    start = (incident.resolved_at or now).date()
    raw, more = review.raw_alerts(entries)
    found, clear = sensors.findings(incident, entries)
    return render(
        "postmortem.md.j2",
        incident=incident,
        now=now,
        due=business_days_after(start, policy.postmortem_days, policy.country).isoformat(),
        due_days=policy.postmortem_days,
        times=metrics_of(incident, entries),
        detected=first_sign(entries),
        acknowledged_by=who(incident.acknowledged_by, config) if incident.acknowledged_at else None,
        roles=review.roles_held(entries, config),
        outcomes=review.outcomes(entries),
        prompts=review.prompts(incident, config, now),
        timeline=[(written, line(written, config)) for written in entries if worth_reading(written)],
        entries=len(entries),
        raw_alerts=raw,
        raw_more=more,
        signals=sensors.signals(entries),
        findings=found,
        clear=clear,
        actions=[(action, who(action.owner, config)) for action in incident.actions.values()],
        remaining=[(left, who(left.owner, config)) for left in incident.remaining],
        evidence=[written.entry for written in review.of_kind(entries, j.EvidenceKept)],
        missing=review.of_kind(entries, j.EvidenceMissing),
        own_effects=review.own_effects(entries),
    )
