"""The home tab: what is open, what waits for whoever looks, who is on call, the card for the first minutes. Pure."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from bot.chat import actions, buttons, kit, targets
from bot.chat.header import COLOURS, STANDING, name_of, open_prompts
from bot.chat.kit import Json, Part
from bot.chat.seals import Seals
from bot.chat.words import clean, said
from bot.domain.config import Config
from bot.domain.incident import Approval, Incident
from bot.domain.roles import Role
from bot.domain.severity import Severity
from bot.domain.team import HOURS_A_WEEK, Person, Team
from bot.domain.watch import Watch
from bot.flows import status
from bot.flows.rules import POWER
from bot.render.words import duration

BLOCKS = 100
INCIDENTS, APPROVALS, HELD, PROMPTS = 12, 6, 6, 4
"""So many of each are shown with their own blocks; the rest is counted."""


def home(
    person: Person,
    incidents: Sequence[Incident],
    watch: Watch,
    config: Config,
    now: datetime,
    seals: Seals,
    public_url: str | None,
    *,
    command: str = "/incident",
    behind: str = "",
) -> Json:
    """Return one person's home tab, at most a hundred blocks whatever the night is like.

    `incidents` are the live ones, and those whose approvals may still wait; `behind` is what is wrong with Slack.
    """
    live = sorted((i for i in incidents if i.status.live), key=lambda i: (i.severity, i.number))
    blocks = [
        kit.header(_title(live)),
        *_halted(watch, config, now, seals),
        *([kit.context(f"◷ {said(behind, 500)}")] if behind else []),
        *_mine(person, incidents, config, now, seals),
        *_anybodys(person, live, config, seals),
        *_open(person, live, config, now),
        _buttons(seals, public_url),
        kit.header("On call"),
        *_on_call(config.team, now),
        kit.header("SEV-1: the first 15 minutes"),
        kit.section(card(config, command)),
        kit.context(f"As of {kit.date(now)}. It follows by itself while you are here."),
    ]
    return {"type": "home", "blocks": blocks[:BLOCKS]}


def stranger(why: str) -> Json:
    """Return the home tab of somebody who may see nothing, and what to do about it."""
    text = f"This is the incident-response bot of the people who run these nodes.\n{said(why, 500)}"
    return {"type": "home", "blocks": [kit.header("Stopsign"), kit.section(text)]}


def _title(live: Sequence[Incident]) -> str:
    if not live:
        return "🌙 Nothing is open"
    return f"{COLOURS[live[0].severity]} {len(live)} open"


def _halted(watch: Watch, config: Config, now: datetime, seals: Seals) -> list[Json]:
    if watch.halted_at is None:
        return []
    why = f" since {kit.utc(watch.halted_at)} by {name_of(config, watch.halted_by)}: {clean(watch.halted_why, 200)}"
    asked = watch.rearm is not None and watch.rearm.expires_at > now
    return [
        kit.rich(["🛑 ", kit.bold("Automation is halted"), f"{why}. Freeze by hand."]),
        kit.actions(buttons.rearm(watch.version, seals, asked=asked)),
    ]


# ---- what waits


def _mine(person: Person, incidents: Iterable[Incident], config: Config, now: datetime, seals: Seals) -> list[Json]:
    """Return what this very person is asked for: agreement first, then a status."""
    found = [
        (incident, asked)
        for incident in incidents
        for asked in incident.approvals.values()
        if _may_agree(person, asked, config, now)
    ]
    blocks: list[Json] = []
    for incident, asked in found[:APPROVALS]:
        who = name_of(config, asked.requester) if asked.requester else "Stopsign"
        title = f"{asked.verb.capitalize()} of {targets.names(asked.targets, 8)} on {incident.id} waits for you"
        until: list[Part] = [f"Asked by {who}: {clean(asked.reason, 200)}. Open until ", kit.moment(asked.expires_at)]
        blocks.append(kit.rich(["🖐️ ", kit.bold(title)], until))
        place = f"{incident.number}.{asked.id}"
        blocks.append(kit.actions(*buttons.approval(incident, asked, config, seals, place=place)))
    if len(found) > APPROVALS:
        blocks.append(kit.context(f"and {len(found) - APPROVALS} more requests wait for you: see their channels"))
    owed = [(i, p) for i in incidents if i.status.live for p in open_prompts(i) if person.id in p.asked]
    for incident, prompt in owed[:PROMPTS]:
        action = f"{actions.STATUS_FORM}:{incident.number}.{prompt.id}"
        row = buttons.plain(action, "Give status", seals, str(incident.number), prompt.id, style="primary")
        what = f"The {status.SPOKEN[prompt.audience]} status of {incident.id} is due since "
        blocks += [kit.rich(["❗ ", kit.bold(what), kit.moment(prompt.due_at)]), kit.actions(row)]
    return [kit.header("Waits for you"), *blocks] if blocks else []


def _may_agree(person: Person, asked: Approval, config: Config, now: datetime) -> bool:
    mine = person.id in {asked.requester, *asked.given}
    return asked.pending and asked.expires_at > now and not mine and config.team.may(person.id, POWER[asked.verb])


def _anybodys(person: Person, live: Iterable[Incident], config: Config, seals: Seals) -> list[Json]:
    """Return what the bot holds back until anybody decides, with the button for whom it would let."""
    found = [(incident, verb, nodes) for incident in live for verb, nodes in targets.held(incident).items()]
    blocks: list[Json] = []
    for incident, verb, nodes in found[:HELD]:
        why = next(iter(dict.fromkeys(incident.tracks[verb][n].detail for n in nodes)), "")
        title = f"{verb.capitalize()} of {targets.names(nodes, 8)} on {incident.id} is held"
        blocks.append(kit.rich(["✋ ", kit.bold(title), f": {clean(why, 200)}"]))
        if config.team.may(person.id, POWER[verb]):
            made = buttons.held(incident, verb, nodes, why, config, seals)
            blocks.append(kit.actions(made | {"action_id": f"{made['action_id']}:{incident.number}"}))
    if len(found) > HELD:
        blocks.append(kit.context(f"and {len(found) - HELD} more are held: see their channels"))
    return [kit.header("Waits for anybody"), *blocks] if blocks else []


# ---- what is open


def _open(person: Person, live: Sequence[Incident], config: Config, now: datetime) -> list[Json]:
    blocks = [kit.rich(*_lines(person, incident, config, now)) for incident in live[:INCIDENTS]]
    rest = Counter(incident.severity for incident in live[INCIDENTS:])
    if rest:
        counts = ", ".join(f"{rest[severity]} {severity}" for severity in Severity if rest[severity])
        blocks.append(kit.context(f"and {sum(rest.values())} more: {counts}. `list` and the console name them all."))
    return [kit.header("Open incidents"), *blocks] if blocks else []


def _lines(person: Person, incident: Incident, config: Config, now: datetime) -> list[list[Part]]:
    where = f" on {clean(incident.avs, 60)}" if incident.avs else ""
    head = f"{COLOURS[incident.severity]} {incident.severity} {incident.id}{where}: {clean(incident.summary, 160)}"
    ic = incident.roles.get(Role.IC)
    words = [STANDING[incident.status], f"IC {name_of(config, ic)}" if ic else "⚠️ no IC"]
    if mine := [role.title for role in Role if incident.roles.get(role) == person.id]:
        words.append(f"you are {' and '.join(mine)}")
    if incident.opened_at:
        minutes = int((now - incident.opened_at).total_seconds()) // 60
        words.append(f"for {duration(timedelta(minutes=minutes))}" if minutes > 0 else "just now")
    line: list[Part] = [" · ".join(words)]
    if incident.channel:
        line += [" · ", kit.channel(incident.channel)]
    return [[kit.bold(head, 300)], line]


def _buttons(seals: Seals, public_url: str | None) -> Json:
    declare = buttons.plain(actions.DECLARE_FORM, "Declare an incident", seals, style="danger")
    url = f"{public_url.rstrip('/')}/console" if public_url else ""
    return kit.actions(declare, *([kit.link_button(actions.LINK, "Console", url)] if url else []))


# ---- who is on call


def _on_call(team: Team, now: datetime) -> list[Json]:
    line = team.on_call(now)
    if not line:
        return [kit.context("⚠️ team.yaml has nobody on call at this hour: whoever may respond is paged.")]
    blocks = [kit.fields(*(f"*{role.title}*\n{_who(team, team.assigned(role, now))}" for role in Role))]
    told = " → ".join(_who(team, person) for person in line[:8])
    after = change(team, now)
    if after is not None:
        told += f". From {kit.date(after[0])}: {' → '.join(_who(team, p) for p in after[1][:8]) or 'nobody'}"
    return [*blocks, kit.context(f"Paged in this order: {told}")]


def _who(team: Team, person: str | None) -> str:
    """Return a name: a mention here would call people each time somebody looks."""
    found = team.people.get(person or "")
    return said(found.name, 60) if found else "nobody"


def change(team: Team, now: datetime) -> tuple[datetime, tuple[str, ...]] | None:
    """Return when the line of who is on call changes next, and to whom; None when it never does."""
    line = team.on_call(now)
    hour = now.astimezone(ZoneInfo(team.timezone)).replace(minute=0, second=0, microsecond=0).astimezone(UTC)
    for _ in range(HOURS_A_WEEK):
        hour += timedelta(hours=1)
        if team.on_call(hour) != line:
            return hour, team.on_call(hour)
    return None


# ---- the card


def card(config: Config, command: str) -> str:
    """Return the SEV-1 card in mrkdwn, with the policy's own times and the commands to type."""
    moments = config.policy.stakeholders[Severity.SEV1].at if Severity.SEV1 in config.policy.stakeholders else ()
    told = ", ".join(duration(at) for at in moments)
    lines = [
        f"Declare it and take command: `{command} declare SEV-1 oracle what is wrong`, then `{command} role me ic`. "
        "The timeline begins by itself.",
        f"Freeze every suspect signer: `{command} freeze seq-01 why`. One person may. Wait for *verified*: "
        "a node's OK proves nothing.",
        f"Take the bad region out of traffic and lean on peers known to be good: `{command} isolate seq-01`.",
        f"Capture before anything restarts: `{command} capture seq-01`. It is filed under the incident.",
        f"Symptom still there after {duration(config.policy.symptom_wait)}? Go back to the last good build: "
        f"`{command} rollback seq-01`.",
        f"Tell those who depend on you{f' at {told}' if told else ''}: "
        f"`{command} status stakeholders what is known`. Facts, no guesses.",
        f"Does the bot do harm? `{command} halt why` stops all automation; freezing by hand goes on.",
    ]
    return "\n".join(f"*{number}.* {line}" for number, line in enumerate(lines, 1))
