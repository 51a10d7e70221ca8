"""Sentences about the incident itself: alerts, severity, people, status, documents, the kill switch."""

from collections.abc import Callable, Mapping
from typing import Any

from bot.domain import journal as j
from bot.render.saying import Room, Saying
from bot.render.words import clock, count, duration, everyone, lines, names, plain, who

AUDIENCES = {"internal": "the team", "stakeholders": "the stakeholders", "public": "the public"}
_CHANGES = {
    "fired": "fired",
    "resolved": "resolved",
    "missed": "had fired and resolved before Stopsign heard of it",
}


def _opened(e: j.IncidentOpened, room: Room) -> Saying:
    drill = "Drill. " if e.drill else ""
    again = f", a recurrence of inc-{e.recurrence_of}" if e.recurrence_of else ""
    how = f"{room.actor} declared {room.incident}" if e.declared else f"{room.incident} opened"
    on = f" on AVS {e.avs}" if e.avs and e.avs not in e.summary else ""
    return Saying(
        icon="⚑",
        text=f"{drill}{how} at {e.severity}{again}: {e.summary}{on}",
        detail=(f"why: {e.reason}", f"playbook {e.playbook or 'none'}", f"correlation {e.key}"),
    )


def _alerts(e: j.AlertsJoined, room: Room) -> Saying:
    groups: dict[tuple[str, str, bool], list[j.AlertSeen]] = {}
    for alert in e.alerts:
        groups.setdefault((alert.name, alert.change, alert.own_effect), []).append(alert)
    parts = [_group(group) for group in list(groups.values())[:6]]
    if len(groups) > 6:
        parts.append(f"and {count(len(groups) - 6, 'more kind')}")
    if e.truncated:
        parts.append(f"{count(e.truncated, 'further alert')} left out of the notification, unnamed")
    return Saying(
        icon="○" if all(alert.change == "resolved" for alert in e.alerts) else "◉",
        text="; ".join(parts) or "A notification brought nothing new",
        detail=(f"why: {e.reason}", *map(_alert_detail, e.alerts)),
    )


def _group(alerts: list[j.AlertSeen]) -> str:
    first = alerts[0]
    times = f" {len(alerts)} times" if len(alerts) > 1 else ""
    own = ", caused by our own freeze" if first.own_effect else ""
    suspects = tuple(dict.fromkeys(node for alert in alerts for node in alert.suspects))
    lost = tuple(dict.fromkeys(text for alert in alerts for text in alert.unresolved))
    aimed = f", pointing at {names(suspects)}" if suspects and first.change != "resolved" else ""
    unnamed = f", target not found: {names(lost, 3)}" if lost and first.change != "resolved" else ""
    name = plain(first.name, 80)
    return f"Alert {name} {_CHANGES.get(first.change, first.change)}{times}{own}{aimed}{unnamed}"


def _alert_detail(alert: j.AlertSeen) -> str:
    label = ", ".join(f"{k}={v}" for k, v in alert.labels.items() if k != "alertname")
    return f"{alert.name} {alert.change}, since {alert.starts_at} ({label})"


def _severity(e: j.SeverityChanged, room: Room) -> Saying:
    raised = e.now.worse_than(e.was)
    playbook = (f"playbook {e.playbook} from now on",) if e.playbook else ()
    return Saying(
        icon="▲" if raised else "▼",
        text=f"{'Raised' if raised else 'Lowered'} from {e.was} to {e.now}: {e.reason}",
        detail=playbook,
    )


def _acknowledged(e: j.Acknowledged, room: Room) -> Saying:
    return Saying(icon="✔", text=f"{who(e.person, room.config)} acknowledged: somebody is on it")


def _note(e: j.NoteAdded, room: Room) -> Saying:
    writer = who(e.author or room.by.person, room.config)
    pinned = f", pinned by {room.actor}" if e.author and e.author != room.by.person else ""
    return Saying(icon="✎", text=f"Note by {writer}{pinned}: {e.text}", detail=(*lines(e.text), f"source {e.source}"))


def _contained(e: j.Contained, room: Room) -> Saying:
    how = f"Contained on the word of {room.actor}, without proof" if e.by_hand else "Contained"
    return Saying(icon="◼", text=f"{how}: {e.reason}")


def _note_changed(e: j.NoteChanged, room: Room) -> Saying:
    what = f"was edited, and now reads: {e.text}" if e.text is not None else "was deleted; the note keeps its words"
    said = lines(e.text) if e.text is not None else ()
    return Saying(icon="✎", text=f"A noted message {what}", detail=(*said, f"source {e.source}"))


def _reopened(e: j.Reopened, room: Room) -> Saying:
    how = "No longer contained" if e.was == "contained" else f"{room.actor} reopened it (it was {e.was})"
    return Saying(icon="↺", text=f"{how}: {e.reason}")


def _closed(e: j.Closed, room: Room) -> Saying:
    return Saying(icon="■", text=f"Closed by {room.actor}: {e.reason}")


def _resolved(e: j.Resolved, room: Room) -> Saying:
    left = f"; {count(len(e.remaining), 'target')} left for an owner" if e.remaining else ""
    return Saying(
        icon="■",
        text=f"Resolved: {e.summary}{left}",
        detail=tuple(f"{r.node}: {r.state.left}, owner {who(r.owner, room.config)}" for r in e.remaining),
    )


def _refused(e: j.CommandRefused, room: Room) -> Saying:
    whose = f"account {e.account}'s" if e.account else f"{room.actor}'s"
    return Saying(icon="⊘", text=f"Refused {whose} {_spaced(e.command)}: {e.reason}")


def _spaced(command: str) -> str:
    """Return `give status` for GiveStatus."""
    return "".join(f" {c.lower()}" if c.isupper() else c for c in command).strip()


def _role(e: j.RoleTaken, room: Room) -> Saying:
    person = who(e.person, room.config)
    how = {
        "assigned": f"{person} is {e.role.title}, assigned from on-call",
        "taken": f"{person} took {e.role.title}",
        "handed over": f"{room.actor} made {person} {e.role.title}",
    }.get(e.how, f"{person} is {e.role.title} ({e.how})")
    return Saying(icon="☺", text=f"{how}, from {who(e.was, room.config)}" if e.was else how)


def _role_asked(e: j.RoleAsked, room: Room) -> Saying:
    return Saying(icon="?", text=f"Nobody is {e.role.title} ({e.role.duty}): {e.reason}")


def _paged(e: j.Paged, room: Room) -> Saying:
    again = f" (escalation {e.level})" if e.level else ""
    return Saying(icon="☎", text=f"Paged {everyone(e.people, room.config)}{again}: {e.reason}")


def _exhausted(e: j.PagingExhausted, room: Room) -> Saying:
    return Saying(icon="⚠", text=f"Paging has stopped: {e.reason}")


def _prompted(e: j.StatusPrompted, room: Room) -> Saying:
    audience = AUDIENCES.get(e.audience, e.audience)
    late = room.written.at - e.due_at
    behind = f", {duration(late)} late" if late.total_seconds() >= 1 else ""
    marks = names(e.marks, 8)
    asked = everyone(e.asked, room.config)
    return Saying(icon="⌛", text=f"Status for {audience} is due ({marks}){behind}: {asked} asked")


def _escalated(e: j.PromptEscalated, room: Room) -> Saying:
    audience = AUDIENCES.get(e.prompt.rpartition("-")[0], e.prompt)
    asked = f"{everyone(e.asked, room.config)} asked" if e.asked else "nobody is left to ask"
    return Saying(icon="⌛", text=f"Status for {audience} is still missing: {asked}")


def _status(e: j.StatusGiven, room: Room) -> Saying:
    audience = AUDIENCES.get(e.audience, e.audience)
    return Saying(icon="✉", text=f"{who(e.person, room.config)} told {audience}: {e.text}", detail=lines(e.text))


def _drafted(e: j.PostmortemDrafted, room: Room) -> Saying:
    return Saying(icon="☰", text=f"Postmortem drafted, due {e.due_on} ({e.item})", detail=(f"sha256 {e.sha256}",))


def _action(e: j.ActionAdded, room: Room) -> Saying:
    due = f", due {e.due_on}" if e.due_on else ""
    return Saying(icon="☐", text=f"Action {e.action} for {who(e.owner, room.config)}{due}: {e.text}")


def _action_done(e: j.ActionDone, room: Room) -> Saying:
    return Saying(icon="☑", text=f"{room.actor} says that action {e.action} is done{f': {e.note}' if e.note else ''}")


def _archived(e: j.ChannelArchived, room: Room) -> Saying:
    return Saying(icon="#", text="The channel was archived", detail=(f"channel id {e.channel}",))


def _channel(e: j.ChannelOpened, room: Room) -> Saying:
    return Saying(icon="#", text=f"Channel #{e.name.removeprefix('#')} opened", detail=(f"channel id {e.channel}",))


def _header(e: j.HeaderPosted, room: Room) -> Saying:
    return Saying(icon="·", text="Header posted in the channel", detail=(f"message {e.ts}",))


def _buried(e: j.WorkBuried, room: Room) -> Saying:
    return Saying(icon="⚠", text=f"Gave up on {e.kind}: {e.reason}", detail=(f"work {e.work}",))


def _evidence(e: j.EvidenceKept, room: Room) -> Saying:
    return Saying(
        icon="▣",
        text=f"Evidence {e.item} kept: {e.what}{f' of {e.node}' if e.node else ''}, {e.size:,} bytes",
        detail=(
            f"sha256 {e.sha256}",
            f"from {e.source} by {e.tool}, collected {clock(e.collected_at)} ({e.clock})",
            f"collector {e.collector}; {e.reason}",
        ),
    )


def _missing(e: j.EvidenceMissing, room: Room) -> Saying:
    return Saying(icon="⚠", text=f"Could not capture {e.what}{f' of {e.node}' if e.node else ''}: {e.reason}")


def _exported(e: j.EvidenceExported, room: Room) -> Saying:
    what = f"{count(e.records, 'record')} and {count(len(e.items), 'item')}"
    return Saying(icon="▣", text=f"{room.actor} exported the evidence: {what}; {e.reason}", detail=tuple(e.items))


def _sealed(e: j.EvidenceSealed, room: Room) -> Saying:
    return Saying(icon="▣", text="The exported pack is sealed", detail=(f"sha256 of its manifest {e.manifest}",))


def _read(e: j.EvidenceRead, room: Room) -> Saying:
    return Saying(icon="▣", text=f"{room.actor} read {e.item}: {e.reason}", detail=(f"sha256 {e.sha256}",))


def _finding(e: j.EvidenceFound, room: Room) -> Saying:
    return Saying(icon="⚠", text=e.text, detail=(f"shown by {', '.join(e.items)}",))


def _expired(e: j.EvidenceExpired, room: Room) -> Saying:
    return Saying(icon="▣", text=f"The content of {e.item} was removed: {e.reason}", detail=(f"sha256 {e.sha256}",))


def _hold(e: j.HoldPlaced, room: Room) -> Saying:
    return Saying(icon="▣", text=f"{room.actor} placed a legal hold on the evidence: {e.reason}")


def _lifted(e: j.HoldLifted, room: Room) -> Saying:
    return Saying(icon="▣", text=f"{room.actor} lifted the legal hold: {e.reason}")


def _rotated(e: j.KeyRotated, room: Room) -> Saying:
    text = f"{room.actor} gave the evidence log a new key: {e.reason}"
    return Saying(icon="▣", text=text, detail=(f"from {e.was}", f"to {e.now}"))


def _anchor_lost(e: j.AnchorLost, room: Room) -> Saying:
    return Saying(icon="⚠", text=f"The anchor {e.anchor} takes no checkpoints: {e.reason}")


def _anchor_back(e: j.AnchorBack, room: Room) -> Saying:
    return Saying(icon="▣", text=f"The anchor {e.anchor} has caught up, at {count(e.size, 'record')}")


def _ignored(e: j.AlertIgnored, room: Room) -> Saying:
    return Saying(icon="○", text=f"Alert {plain(e.name, 80)} ({e.status}) set aside: {e.reason}")


def _halted(e: j.AutomationHalted, room: Room) -> Saying:
    return Saying(icon="⊗", text=f"{room.actor} halted automation: {e.reason}")


def _rearm_asked(e: j.RearmAsked, room: Room) -> Saying:
    person = who(e.person, room.config)
    return Saying(
        icon="?", text=f"{person} asks a second person to re-arm automation, valid until {clock(e.expires_at)}"
    )


def _rearmed(e: j.AutomationRearmed, room: Room) -> Saying:
    return Saying(icon="▶", text=f"Automation re-armed by {everyone(e.people, room.config)}")


def _budget(e: j.BudgetSpent, room: Room) -> Saying:
    spent = count(len(e.nodes), "automatic freeze")
    return Saying(icon="·", text=f"{spent} counted against the budget of {e.avs} for {e.incident}: {names(e.nodes)}")


SAYINGS: Mapping[type[j.Entry], Callable[[Any, Room], Saying]] = {
    j.IncidentOpened: _opened,
    j.AlertsJoined: _alerts,
    j.SeverityChanged: _severity,
    j.Acknowledged: _acknowledged,
    j.NoteAdded: _note,
    j.NoteChanged: _note_changed,
    j.Contained: _contained,
    j.Reopened: _reopened,
    j.Resolved: _resolved,
    j.Closed: _closed,
    j.CommandRefused: _refused,
    j.RoleTaken: _role,
    j.RoleAsked: _role_asked,
    j.Paged: _paged,
    j.PagingExhausted: _exhausted,
    j.StatusPrompted: _prompted,
    j.PromptEscalated: _escalated,
    j.StatusGiven: _status,
    j.PostmortemDrafted: _drafted,
    j.ActionAdded: _action,
    j.ActionDone: _action_done,
    j.ChannelOpened: _channel,
    j.ChannelArchived: _archived,
    j.HeaderPosted: _header,
    j.WorkBuried: _buried,
    j.EvidenceKept: _evidence,
    j.EvidenceMissing: _missing,
    j.EvidenceExported: _exported,
    j.EvidenceSealed: _sealed,
    j.EvidenceRead: _read,
    j.EvidenceFound: _finding,
    j.EvidenceExpired: _expired,
    j.HoldPlaced: _hold,
    j.HoldLifted: _lifted,
    j.KeyRotated: _rotated,
    j.AnchorLost: _anchor_lost,
    j.AnchorBack: _anchor_back,
    j.AlertIgnored: _ignored,
    j.AutomationHalted: _halted,
    j.RearmAsked: _rearm_asked,
    j.AutomationRearmed: _rearmed,
    j.BudgetSpent: _budget,
}
