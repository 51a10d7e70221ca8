"""What is said in Slack: one message for a journal entry, pages, requests and announcements, as pure functions."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from bot.chat import actions, buttons, kit, targets
from bot.chat.furniture import groups_line
from bot.chat.header import COLOURS, fallback, name_of
from bot.chat.kit import Json, Message, Part
from bot.chat.limits import cut
from bot.chat.seals import Seals
from bot.chat.words import clean, said
from bot.domain import journal as j
from bot.domain.config import Config
from bot.domain.incident import Approval, Incident, Page
from bot.domain.target import State
from bot.flows.stakes import stakes
from bot.flows.status import SPOKEN
from bot.render import timeline

_LONG = 2_500


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What messages may look at besides their entry."""

    config: Config
    seals: Seals
    now: datetime


def entry(written: j.Written, incident: Incident, setting: Setting) -> Message:
    """Return the message for one journal entry, with buttons where it asks for something that still stands."""
    line = timeline.line(written, setting.config)
    e = written.entry
    words = _words(e)
    blocks = [kit.rich([f"{line.icon} ", line.text])]
    if words:
        # The sentence repeats what was written; the whole of it stands below.
        blocks = [kit.rich([f"{line.icon} ", kit.bold(_by_line(written, setting))]), kit.quote(words, _LONG)]
    if (until := _until(e)) is not None:
        blocks.append(kit.rich([until[0], kit.moment(until[1])]))
    raised = isinstance(e, j.SeverityChanged) and e.now.worse_than(e.was)
    if raised and (called := groups_line(incident, setting.config)):
        blocks.append(kit.rich(called))
    blocks += _asking(e, incident, setting)
    return Message(text=said(f"{incident.id}: {line.icon} {line.text}", 600), blocks=tuple(blocks))


def tally(entries: Sequence[j.Written], incident: Incident, setting: Setting) -> Message:
    """Return one message for what some entries of one kind report: proofs and trouble, and how it stands by now.

    `entries` may hold others, too; the last one's kind (and verb) is meant. A single one is said as it is.
    """
    last = entries[-1]
    if isinstance(last.entry, j.ProofRevoked):
        return _revoked([w for w in entries if isinstance(w.entry, j.ProofRevoked)], incident, setting)
    assert isinstance(last.entry, j.TargetsReported)  # the only other kind that is told so
    verb = last.entry.verb
    told = [w for w in entries if isinstance(w.entry, j.TargetsReported) and w.entry.verb is verb]
    if len(told) == 1:
        return entry(told[0], incident, setting)
    newest = {r.node: r for w in told if isinstance(w.entry, j.TargetsReported) for r in w.entry.reports}
    news = tuple(r for r in newest.values() if r.state is not State.ACKNOWLEDGED) or tuple(newest.values())
    made = entry(replace(last, entry=replace(last.entry, reports=news)), incident, setting)
    return replace(made, blocks=(*made.blocks, kit.context(targets.counted(incident))))


def _revoked(told: Sequence[j.Written], incident: Incident, setting: Setting) -> Message:
    if len(told) == 1:
        return entry(told[0], incident, setting)
    lost = {w.entry.node: w.entry for w in told if isinstance(w.entry, j.ProofRevoked)}
    why = clean(next(iter(lost.values())).reason, 300)
    text = f"⚠ {len(lost)} targets are no longer proven stopped: {targets.names(tuple(lost), 12)}. The first: {why}"
    context = kit.context(targets.counted(incident))
    return Message(text=said(f"{incident.id}: {text}", 600), blocks=(kit.rich([kit.bold(text, 1000)]), context))


def _words(e: j.Entry) -> str:
    """Return a person's own words, which are shown whole."""
    match e:
        case j.StatusGiven(text=text) | j.NoteAdded(text=text):
            return text
        case _:
            return ""


def _until(e: j.Entry) -> tuple[str, datetime] | None:
    """Return the moment that readers need in their own zone, with what happens then."""
    match e:
        case j.ApprovalAsked(expires_at=at):
            return "Open until ", at
        case j.GlassBroken(acts_at=at):
            return "It begins ", at
        case j.ApprovalGiven(complete=True, until=at):
            return "It may begin until ", at
        case _:
            return None


def _by_line(written: j.Written, setting: Setting) -> str:
    e = written.entry
    if isinstance(e, j.StatusGiven):
        return f"{SPOKEN[e.audience].capitalize()} status by {name_of(setting.config, e.person)}"
    author = getattr(e, "author", None)
    return f"Note by {name_of(setting.config, author or written.by.person)}"


def _asking(e: j.Entry, incident: Incident, setting: Setting) -> list[Json]:
    """Return mentions and buttons for an entry that asks people for something."""
    seals, number = setting.seals, str(incident.number)
    match e:
        case j.TargetsHeld():
            now_held = targets.held(incident).get(e.verb, ())
            if not set(now_held) & set(e.targets) or not incident.status.live:
                return []
            return [kit.actions(buttons.held(incident, e.verb, now_held, e.reason, setting.config, seals))]
        case j.ApprovalAsked():
            asked = incident.approvals.get(e.approval)
            row = buttons.approval(incident, asked, setting.config, seals) if asked and asked.pending else ()
            return [kit.actions(*row)] if row else []
        case j.StatusPrompted() | j.PromptEscalated():
            prompt = incident.prompts.get(e.prompt)
            if prompt is None or prompt.answered_at or not incident.status.live:
                return []
            give = buttons.plain(actions.STATUS_FORM, "Give status", seals, number, prompt.id, style="primary")
            return [kit.rich(_mentions(setting.config, e.asked)), kit.actions(give)]
        case j.RoleAsked():
            if e.role in incident.roles or not incident.status.live:
                return []
            label = f"Take {e.role.title}"
            action = f"{actions.ROLE}:{e.role}"
            return [kit.actions(buttons.plain(action, label, seals, number, e.role.value, style="primary"))]
        case _:
            return []


def _mentions(config: Config, people: tuple[str, ...]) -> list[Part]:
    parts: list[Part] = []
    for person in people[:20]:
        found = config.team.people.get(person)
        parts += [kit.user(found.slack if found else None, name_of(config, person)), " "]
    return [*parts, "how does it stand? What is known, what is being done, and when does the next update come?"]


def announcement(incident: Incident, setting: Setting) -> Message:
    """Return what the incidents channel is told of a new incident."""
    where: list[Part] = [" → ", kit.channel(incident.channel)] if incident.channel else []
    number = str(incident.number)
    called = groups_line(incident, setting.config)
    blocks = [kit.rich([*_headline(incident), *where], [incident.reason], *([called] if called else []))]
    if incident.status.live and not incident.acknowledged_at and incident.pages:
        blocks.append(kit.actions(buttons.plain(actions.INCIDENT_ACK, "Acknowledge", setting.seals, number)))
    return Message(text=f"{COLOURS[incident.severity]} {fallback(incident)}", blocks=tuple(blocks))


def page(incident: Incident, paged: Page, setting: Setting) -> Message:
    """Return a page: what, where, how bad and why you, with the button that stops the paging."""
    lines: list[list[Part]] = [_headline(incident), [f"Why you are called: {clean(paged.reason, 500)}"]]
    if paged.level:
        lines.append([f"This is call {paged.level + 1} for it."])
    if incident.channel:
        lines.append(["Channel: ", kit.channel(incident.channel)])
    if not incident.calls(paged):
        return paged_done(incident, setting)
    value = (str(incident.number), paged.id)
    button = buttons.plain(actions.PAGE_ACK, "Acknowledge: I am on it", setting.seals, *value, style="primary")
    where = f" on {said(incident.avs, 60)}" if incident.avs else ""
    text = f"{COLOURS[incident.severity]} PAGE {incident.severity} {incident.id}{where}: {said(incident.summary, 200)}"
    return Message(text=f"{text}. Why: {said(paged.reason, 300)}", blocks=(kit.rich(*lines), kit.actions(button)))


def paged_done(incident: Incident, setting: Setting) -> Message:
    """Return what takes the place of a page that was acknowledged."""
    who = name_of(setting.config, incident.acknowledged_by)
    live = f"✅ {incident.id} is acknowledged by {who}."
    text = live if incident.status.live else f"✅ {incident.id} is {incident.status}."
    where: list[Part] = [" ", kit.channel(incident.channel)] if incident.channel else []
    return Message(text=said(text, 200), blocks=(kit.rich([text, *where]),))


def ask(incident: Incident, asked: Approval, setting: Setting) -> Message:
    """Return the request for agreement that each eligible person gets: what exactly, asked by whom, until when."""
    who = name_of(setting.config, asked.requester)
    title = f"{asked.verb.capitalize()} of {targets.names(asked.targets, 12)} on {incident.id} waits for you"
    lines: list[list[Part]] = [
        ["🖐️ ", kit.bold(title)],
        [f"Asked by {who}: {clean(asked.reason, 400)}"],
        [f"{incident.severity} ", incident.summary],
        ["Open until ", kit.moment(asked.expires_at)],
    ]
    for node, build in list(asked.parameters.items())[:10]:
        lines.append([f"{clean(node, 60)} → {clean(build, 80)}"])
    if incident.channel:
        lines.append(["Channel: ", kit.channel(incident.channel)])
    text = said(f"{title}. Asked by {who}: {asked.reason}", 600)
    if not asked.pending:
        over = f"✔️ {title.removesuffix(' waits for you')}: {_how_it_ended(asked, setting.config)}"
        return Message(text=said(over, 600), blocks=(kit.rich([over]),))
    lines.insert(1, [stakes(setting.config.inventory, asked.verb, asked.targets, incident.stopping)])
    if asked.broken_by is not None and asked.acts_at is not None:
        alone = f"⚠️ {name_of(setting.config, asked.broken_by)} goes on alone, unless somebody rejects it, "
        lines.insert(1, [kit.bold(alone), kit.moment(asked.acts_at)])
    row = kit.actions(*buttons.approval(incident, asked, setting.config, setting.seals))
    return Message(text=text, blocks=(kit.rich(*lines), row))


def _how_it_ended(asked: Approval, config: Config) -> str:
    if asked.granted_until is not None:
        return "agreed by " + " and ".join(name_of(config, p) for p in asked.given)
    return asked.ended or "over"


def share(written: j.Written, incident: Incident, given: j.StatusGiven, setting: Setting) -> Message:
    """Return a stakeholder status: the person's words, and nothing internal."""
    title = f"{COLOURS[incident.severity]} Status update"
    about = f" · {clean(incident.avs, 60)}" if incident.avs else ""
    lines = [kit.rich([kit.bold(title + about), " "], [kit.moment(written.at)]), kit.quote(given.text, _LONG)]
    return Message(text=said(f"{title}{about}: {cut(given.text, 500)}", 600), blocks=tuple(lines))


def watch(written: j.Written, setting: Setting, *, halted: bool) -> Message:
    """Return what the incidents channel is told of the kill switch, with the way back while it is on."""
    line = timeline.line(written, setting.config)
    blocks = [kit.rich([f"{line.icon} ", kit.bold(line.text, 600)])]
    if halted:
        asked = isinstance(written.entry, j.RearmAsked)
        blocks.append(kit.actions(buttons.rearm(written.n, setting.seals, asked=asked)))
    return Message(text=said(f"{line.icon} {line.text}", 600), blocks=tuple(blocks))


def _headline(incident: Incident) -> list[Part]:
    where = f" on {clean(incident.avs, 60)}" if incident.avs else ""
    head = f"{COLOURS[incident.severity]} {incident.severity} {incident.id}{where}: "
    return [kit.bold(head + clean(incident.summary, 300), 500)]
