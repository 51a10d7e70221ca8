"""The pinned header: one message that says how an incident stands, whatever its size."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from bot.chat import actions, buttons, kit, limits, targets
from bot.chat.kit import Json, Message
from bot.chat.seals import Seals
from bot.chat.words import clean, said
from bot.domain import cadence
from bot.domain.config import Config
from bot.domain.incident import Incident, Prompt, Status
from bot.domain.playbook import Verb
from bot.domain.roles import Role
from bot.domain.severity import Severity
from bot.domain.watch import Watch
from bot.flows import status

COLOURS: Mapping[Severity, str] = {Severity.SEV1: "🔴", Severity.SEV2: "🟠", Severity.SEV3: "🟡"}
STANDING: Mapping[Status, str] = {
    Status.OPEN: "🔥 open",
    Status.CONTAINED: "🛡️ contained",
    Status.RESOLVED: "✅ resolved",
    Status.CLOSED: "📕 closed",
}
APPROVALS = (5, 2, 1)
"""So many requests are shown with their own buttons, the fewer the smaller the rest has to be."""


def header(
    incident: Incident,
    config: Config,
    now: datetime,
    seals: Seals,
    public_url: str | None = None,
    watch: Watch | None = None,
) -> Message:
    """Return the header as it stands now: at most some thirty blocks, for one target or a thousand.

    When long reasons would make it more than Slack takes, it is made again with less detail.
    """
    shown = Shown(incident=incident, config=config, now=now, seals=seals, public_url=public_url, watch=watch or Watch())
    made = [_blocks(shown, size) for size in targets.SIZES]
    blocks = next((blocks for blocks in made if kit.length(blocks) <= limits.BLOCKS_TEXT), made[-1])
    return Message(text=fallback(incident), blocks=tuple(blocks))


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What a header is made of."""

    incident: Incident
    config: Config
    now: datetime
    seals: Seals
    public_url: str | None
    watch: Watch


def _blocks(shown: Shown, size: targets.Size) -> list[Json]:
    incident, config = shown.incident, shown.config
    blocks = [
        kit.header(title(incident)),
        kit.rich([kit.bold(incident.summary or "no summary", 300)], [_standing(incident, config)]),
        *_halted(shown),
        kit.fields(*(_role(incident, config, role) for role in Role)),
        *targets.blocks(incident, size),
        *_clocks(incident, config, shown.now),
        *_waiting(shown, size),
        *_actions(incident, config),
        *_buttons(shown),
    ]
    if incident.status in {Status.RESOLVED, Status.CLOSED}:
        blocks += _after(incident, config)
    return blocks


def title(incident: Incident) -> str:
    """Return `🔴 SEV-1 · inc-7 · oracle`, literal."""
    where = f" · {clean(incident.avs, 60)}" if incident.avs else ""
    return f"{COLOURS[incident.severity]} {incident.severity} · {incident.id}{where}"


def fallback(incident: Incident) -> str:
    """Return the header in a sentence or two, escaped."""
    where = f" on {said(incident.avs, 60)}" if incident.avs else ""
    stand = incident.status.value
    return (
        f"{incident.severity} {incident.id}{where}, {stand}: {said(incident.summary, 300)}. {targets.counted(incident)}"
    )


def _standing(incident: Incident, config: Config) -> str:
    words = [STANDING[incident.status]]
    if incident.status is Status.CONTAINED and incident.contained_by_hand:
        words.append("on the IC's word, not proven")
    if incident.acknowledged_by:
        words.append(f"acknowledged by {name_of(config, incident.acknowledged_by)}")
    elif incident.pages:
        words.append("not acknowledged by anybody yet")
    if incident.firing:
        words.append(f"{incident.firing} alert{'s' if incident.firing > 1 else ''} firing")
    if incident.truncated:
        words.append(f"{incident.truncated} more alerts were not delivered")
    return " · ".join(words)


def _role(incident: Incident, config: Config, role: Role) -> str:
    person = incident.roles.get(role)
    if person is None:
        return f"*{role.title}*\n⚠️ nobody yet"
    found = config.team.people.get(person)
    return f"*{role.title}*\n{kit.mention(found.slack if found else None, name_of(config, person))}"


def name_of(config: Config, person: str | None) -> str:
    """Return a person's name, cleaned; the bot's own when there is none."""
    found = config.team.people.get(person or "")
    return clean(found.name if found else (person or "Stopsign"), 80)


def open_prompts(incident: Incident) -> tuple[Prompt, ...]:
    """Return the status requests that nobody has answered, oldest first."""
    return tuple(p for p in incident.prompts.values() if p.answered_at is None)


def _clocks(incident: Incident, config: Config, now: datetime) -> list[Json]:
    if not incident.status.live:
        return []
    words = []
    for audience in status.AUDIENCES:
        late = [p for p in open_prompts(incident) if p.audience == audience]
        if late:
            words.append(f"❗ {status.SPOKEN[audience]} status due since {kit.date(late[0].due_at)}")
        elif due := next_due(incident, config, audience, now):
            words.append(f"⏰ next {status.SPOKEN[audience]} status {kit.date(due)}")
    if incident.opened_at:
        words.append(f"opened {kit.date(incident.opened_at)}")
    return [kit.context(" · ".join(words))] if words else []


def next_due(incident: Incident, config: Config, audience: str, now: datetime) -> datetime | None:
    """Return when an audience is owed the next status, or None when it is owed none."""
    rule = status.cadence_of(config.policy, incident.severity, audience)
    if rule is None or incident.severity_since is None:
        return None
    return cadence.owed(rule, incident.severity_since, now, now)[1].due


def _waiting(shown: Shown, size: targets.Size) -> list[Json]:
    """Return what waits for people: approvals, each with its buttons, then what the bot holds back."""
    incident, config, seals = shown.incident, shown.config, shown.seals
    blocks: list[Json] = []
    most = APPROVALS[targets.SIZES.index(size)]
    pending = [a for a in incident.approvals.values() if a.pending and a.expires_at > shown.now]
    for place, approval in enumerate(pending[:most]):
        who = name_of(config, approval.requester) if approval.requester else "Stopsign"
        asked = f"{approval.verb.capitalize()} of {targets.names(approval.targets)} waits for a second person"
        told: list[list[kit.Part]] = [["🖐️ ", kit.bold(asked), f" (asked by {who}: {clean(approval.reason, 200)})"]]
        if approval.broken_by is not None and approval.acts_at is not None:
            alone = f"⚠️ {name_of(config, approval.broken_by)} goes on alone, unless somebody rejects it, "
            told.append([kit.bold(alone), kit.moment(approval.acts_at)])
        blocks.append(kit.rich(*told))
        blocks.append(kit.actions(*buttons.approval(incident, approval, config, seals, place=str(place))))
    if len(pending) > most:
        blocks.append(kit.context(f"and {len(pending) - most} more requests; see the messages below"))
    if not incident.status.live:
        return blocks
    for verb, nodes in targets.held(incident).items():
        reasons: dict[str, list[str]] = {}
        for node in nodes:
            reasons.setdefault(incident.tracks[verb][node].detail, []).append(node)
        title = f"{verb.capitalize()} of {targets.names(nodes)} waits for one person's word"
        because = [[f"{targets.names(tuple(some))}: {clean(why, 200)}"] for why, some in list(reasons.items())[:4]]
        blocks.append(kit.rich(["✋ ", kit.bold(title)], *because))
        blocks.append(kit.actions(buttons.held(incident, verb, nodes, "", config, seals)))
    return blocks


def _halted(shown: Shown) -> list[Json]:
    """Return what must be known before anything else: that the bot does nothing by itself."""
    watch = shown.watch
    if watch.halted_at is None or not shown.incident.status.live:
        return []
    who = name_of(shown.config, watch.halted_by)
    why = f" by {who}: {clean(watch.halted_why, 200)}. Freeze by hand."
    return [kit.rich(["🛑 ", kit.bold("Automation is halted"), why])]


def _actions(incident: Incident, config: Config) -> list[Json]:
    """Return the open actions in one line."""
    left = [a for a in incident.actions.values() if a.done_at is None]
    if not left:
        return []
    some = "; ".join(f"{a.id} {said(a.text, 80)} ({said(name_of(config, a.owner), 40)})" for a in left[:3])
    return [kit.context(f"☐ {len(left)} open: {some}" + (f" and {len(left) - 3} more" if len(left) > 3 else ""))]


def _buttons(shown: Shown) -> list[Json]:
    incident, seals = shown.incident, shown.seals
    number = str(incident.number)
    console = []
    if shown.public_url:
        url = f"{shown.public_url.rstrip('/')}/console/{incident.id}"
        console = [kit.link_button(actions.LINK, "Console", url)]
    if not incident.status.live:
        row = [buttons.plain(actions.REOPEN_FORM, "Reopen", seals, number)]
        row += [buttons.close(incident, seals)] if incident.status is Status.RESOLVED else []
        return [kit.actions(*row, *console)]
    hurry = []
    if not incident.acknowledged_at and incident.pages:
        hurry.append(buttons.plain(actions.INCIDENT_ACK, "Acknowledge", seals, number, style="primary"))
    hurry += [
        buttons.plain(f"{actions.ROLE}:{role}", f"Take {role.title}", seals, number, role.value)
        for role in Role
        if role not in incident.roles
    ]
    hurry += [
        buttons.form(Verb.FREEZE, incident, seals),
        buttons.plain(actions.STATUS_FORM, "Give status", seals, number, ""),
    ]
    rearm = shown.watch.rearm
    calm = [
        buttons.form(None, incident, seals),
        buttons.plain(actions.ROLES_FORM, "Roles…", seals, number),
        buttons.plain(actions.SEVERITY_FORM, "Severity…", seals, number),
        buttons.plain(actions.RESOLVE_FORM, "Resolve…", seals, number),
        buttons.rearm(shown.watch.version, seals, asked=rearm is not None and rearm.expires_at > shown.now)
        if shown.watch.halted
        else buttons.plain(actions.HALT_FORM, "Halt automation…", seals, number),
    ]
    return [kit.actions(*hurry), kit.actions(*calm, *console)]


def _after(incident: Incident, config: Config) -> list[Json]:
    blocks = []
    if incident.resolution:
        blocks.append(kit.quote(incident.resolution, 1000))
    if incident.remaining:
        left = [
            f"{clean(r.node, 60)}: {r.state.left}; {name_of(config, r.owner)} looks after it"
            for r in incident.remaining[:20]
        ]
        more = len(incident.remaining) - len(left)
        blocks.append(
            kit.rich(
                [kit.bold("Left behind")], *([f"• {line}"] for line in left), *([[f"and {more} more"]] if more else [])
            )
        )
    if incident.postmortem_due:
        blocks.append(kit.context(f"📄 Postmortem due {said(incident.postmortem_due, 20)}"))
    return blocks
