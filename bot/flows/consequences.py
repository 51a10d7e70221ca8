"""What follows from what was written: one pure function from entries to work.

A new pager or a new kind of message is one more line here and never an edit of a flow.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from bot.domain import journal as j
from bot.domain.incident import Incident
from bot.domain.playbook import Verb
from bot.domain.severity import Severity
from bot.domain.target import State
from bot.domain.work import Todo
from bot.flows import status
from bot.flows.book import World
from bot.flows.rules import POWER

ASK_AGAIN = timedelta(seconds=2)
MOMENT = timedelta(seconds=1)
"""So long things gather that are then told together."""
SOON = 1
"""Priority of effects on nodes: before anything that talks."""


def consequences(incident: Incident | None, written: j.Written, world: World) -> Sequence[Todo]:
    """Return the work that follows from one entry; `incident` is as it stands at the transaction's end."""
    if incident is None:
        return _watch(written)
    e = written.entry
    todo = [*_talk(incident, written, world)]
    match e:
        case j.IncidentOpened():
            todo += [_advance(incident, written), *_clocks(incident, written, world)]
        case j.SeverityChanged():
            todo += [_advance(incident, written), *_clocks(incident, written, world)]
        case j.AlertsJoined():
            if any(seen.suspects and not seen.own_effect for seen in e.alerts):
                todo.append(_advance(incident, written))
            if incident.firing == 0 and incident.severity is Severity.SEV3:
                due = written.at + world.config.policy.flap_window
                todo.append(_todo(incident, written, "quiet", due=due))
        case j.StepFinished() | j.TargetsHeld() | j.Waived() | j.StepSkipped():
            todo.append(_advance(incident, written))
        case j.StepPlanned():
            todo.append(_todo(incident, written, f"step.{e.verb}", {"step": e.step}, priority=SOON))
        case j.TargetsReported():
            todo.append(_advance(incident, written))
            if e.verb is Verb.FREEZE:
                todo += [_over_freeze(incident, written, e.step, r) for r in e.reports if _needs_watch(r)]
        case j.Paged():
            due = written.at + world.config.policy.paging.escalate_after
            todo += [
                *(
                    _todo(incident, written, "page.slack", {"page": e.page, "person": p}, suffix=f":{p}", priority=2)
                    for p in e.people
                ),
                _todo(incident, written, "page.escalate", {"page": e.page}, due=due),
            ]
        case j.RoleAsked():
            due = written.at + world.config.policy.paging.role_reminder
            todo.append(_todo(incident, written, "role.remind", {"role": e.role.value}, due=due))
        case j.ApprovalAsked():
            todo.append(_todo(incident, written, "approval.expire", {"approval": e.approval}, due=e.expires_at))
        case j.GlassBroken():
            todo.append(_todo(incident, written, "glass", {"approval": e.approval}, due=e.acts_at))
        case j.Reopened() if e.was != "contained":
            todo += [_advance(incident, written), *_clocks(incident, written, world)]
        case j.Closed():
            due = written.at + world.config.policy.archive_after
            todo.append(_todo(incident, written, "slack.archive", due=due))
        case j.StatusPrompted():
            due = written.at + world.config.policy.prompt_escalates
            todo.append(_todo(incident, written, "prompt.escalate", {"prompt": e.prompt}, due=due))
        case j.EvidenceKept(what="signed-messages"):
            merge = f"inspect:{incident.id}"
            todo.append(_todo(incident, written, "evidence.inspect", merge=merge, due=written.at + MOMENT))
        case j.Resolved():
            if incident.peak is not Severity.SEV3:
                todo.append(_todo(incident, written, "postmortem"))
        case _:
            pass
    return todo


_SILENT = (
    j.HeaderPosted,
    j.ChannelArchived,
    j.CommandRefused,
    j.EvidenceExported,
    j.EvidenceSealed,
    j.EvidenceRead,
    j.EvidenceExpired,
)


def _talk(incident: Incident, written: j.Written, world: World) -> list[Todo]:
    """Return what Slack is told: the channel, the header (merged), and a message for entries that people must see."""
    e = written.entry
    lane = f"slack:{incident.id}"
    body = {"n": written.n}
    if isinstance(e, j.IncidentOpened):
        return [
            _todo(incident, written, "slack.channel", lane=lane, priority=3),
            _todo(incident, written, "slack.announce", body, priority=4),
            _homes(written),
        ]
    todo = []
    if isinstance(e, _AT_HOME):
        todo.append(_homes(written))
    if isinstance(e, _SETTLING):
        settle = f"settle:{incident.id}"
        todo.append(_todo(incident, written, "slack.settle", merge=settle, priority=6, due=written.at + MOMENT))
    if isinstance(e, j.Reopened) and e.was != "contained":
        todo.append(_todo(incident, written, "slack.announce", body, priority=4))
    if isinstance(e, j.Reopened | j.ChannelArchived) and incident.channel is None and incident.status.live:
        # In no lane: what waits for the channel there must not keep it from being opened.
        todo.append(_todo(incident, written, "slack.channel", priority=3))
    if not isinstance(e, _SILENT):
        header = f"header:{incident.id}"
        todo.append(_todo(incident, written, "slack.header", lane=lane, merge=header, priority=4))
    if isinstance(e, j.TargetsReported | j.ProofRevoked) and _worth_saying(e):
        what = e.verb.value if isinstance(e, j.TargetsReported) else "revoked"
        merge = f"tally:{incident.id}:{what}"
        todo.append(_todo(incident, written, "slack.tally", body, lane=lane, merge=merge, priority=4))
    elif isinstance(e, _SPOKEN) and _worth_saying(e):
        todo.append(_todo(incident, written, "slack.post", body, lane=lane, priority=4, suffix=":post"))
    if isinstance(e, j.StatusGiven) and e.audience == status.STAKEHOLDERS:
        for name in status.channels(world.config, incident):
            to = {"lane": f"slack:{name}", "suffix": f":{name}"}
            todo.append(_todo(incident, written, "slack.share", {**body, "to": name}, priority=4, **to))
    if isinstance(e, j.ApprovalAsked):
        team = world.config.team
        able = [p for p in team.holders(POWER[e.verb]) if p != e.requester and team.people[p].slack] or [""]
        todo += [
            _todo(incident, written, "slack.ask", {"approval": e.approval, "person": p}, priority=3, suffix=f":{p}")
            for p in able
        ]
    if isinstance(e, j.RoleTaken):
        todo.append(_todo(incident, written, "slack.invite", {"person": e.person}, lane=lane, priority=4))
    if isinstance(e, j.PostmortemDrafted):
        todo.append(_todo(incident, written, "slack.file", {"item": e.item, "sha256": e.sha256}, lane=lane, priority=5))
    return todo


_SPOKEN = (
    j.SeverityChanged,
    j.Contained,
    j.Reopened,
    j.Resolved,
    j.Closed,
    j.RoleTaken,
    j.RoleAsked,
    j.PagingExhausted,
    j.TargetsHeld,
    j.TargetsReported,  # in tallies: a thousand targets are a few messages
    j.StepSkipped,
    j.ApprovalAsked,
    j.ApprovalGiven,
    j.ApprovalEnded,
    j.GlassBroken,
    j.ProofRevoked,
    j.StatusPrompted,
    j.PromptEscalated,
    j.StatusGiven,
    j.NoteAdded,
    j.ActionAdded,
    j.EvidenceFound,
    j.HoldPlaced,
    j.HoldLifted,
    j.WorkBuried,
)


_AT_HOME = (
    j.SeverityChanged,
    j.RoleTaken,
    j.ApprovalAsked,
    j.ApprovalGiven,
    j.ApprovalEnded,
    j.GlassBroken,
    j.TargetsHeld,
    j.Contained,
    j.Reopened,
    j.Resolved,
    j.Closed,
)
"""What changes people's home pages."""
_SETTLING = (
    j.GlassBroken,
    j.Acknowledged,
    j.RoleTaken,
    j.StatusGiven,
    j.ApprovalGiven,
    j.ApprovalEnded,
    j.StepPlanned,
    j.Waived,
    j.Resolved,
)
"""What answers a question that a message with buttons may have asked."""


def _homes(written: j.Written) -> Todo:
    key = f"homes:{written.incident}:{written.n}"
    return Todo(key=key, kind="slack.homes", merge="homes", due=written.at + MOMENT, priority=6)


_WEIGHTY = frozenset({Verb.FREEZE, Verb.UNFREEZE, Verb.ROLLBACK})


def _worth_saying(e: j.Entry) -> bool:
    """Tell whether an entry is news for the channel; the header has the rest.

    One message a second is all that Slack takes: what people must decide on shall not queue behind chatter.

    That Slack failed is not told through Slack.
    """
    match e:
        case j.TargetsReported():
            trouble = any(r.state in {State.FAILED, State.UNKNOWN, State.REFUSED} for r in e.reports)
            return trouble or (e.verb in _WEIGHTY and any(r.state.proven for r in e.reports))
        case j.WorkBuried():
            return not e.kind.startswith("slack.") or e.kind == "slack.share"  # another channel than this one
        case j.RoleTaken():
            return e.how != "assigned"  # the header has those
        case j.ActionAdded():
            return e.origin == "person"
    return True


def _needs_watch(report: j.TargetReport) -> bool:
    told = {State.ACKNOWLEDGED, State.FAILED, State.UNKNOWN, State.REFUSED}
    return report.state in told and not report.watched


def _over_freeze(incident: Incident, written: j.Written, step: str, report: j.TargetReport) -> Todo:
    """Watch over one frozen target: prove at once what was acknowledged, ask again in a moment what was not."""
    due = None if report.state is State.ACKNOWLEDGED else written.at + ASK_AGAIN
    body = {"node": report.node, "step": step, "already": report.already}
    return _todo(incident, written, "freeze.watch", body, suffix=f":{report.node}", priority=SOON, due=due)


def _advance(incident: Incident, written: j.Written) -> Todo:
    return _todo(incident, written, "playbook", merge=f"playbook:{incident.id}", priority=SOON)


def _clocks(incident: Incident, written: j.Written, world: World) -> list[Todo]:
    todo = []
    for audience in status.AUDIENCES:
        cadence = status.cadence_of(world.config.policy, incident.severity, audience)
        if cadence is not None and (due := status.first_due(incident, cadence)) is not None:
            body = {
                "audience": audience,
                "since": incident.severity_since.isoformat() if incident.severity_since else "",
            }
            todo.append(_todo(incident, written, "clock", body, due=due, suffix=f":{audience}"))
    return todo


def _watch(written: j.Written) -> list[Todo]:
    if isinstance(written.entry, j.AutomationHalted | j.AutomationRearmed | j.RearmAsked):
        told = Todo(key=f"watch:{written.n}:slack.watch", kind="slack.watch", body={"n": written.n}, priority=2)
        return [told, _homes(written)]
    return []


def _todo(incident: Incident, written: j.Written, kind: str, body: dict[str, Any] | None = None, **more: Any) -> Todo:
    suffix = more.pop("suffix", "")
    key = f"{incident.id}:{written.n}:{kind}{suffix}"
    return Todo(key=key, kind=kind, body=body or {}, incident=incident.number, **more)
