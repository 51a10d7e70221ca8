"""One of everything that the bot says in Slack, made from journals that never change: the golden files' subjects.

To add an exhibit is one line in `EXHIBITS`: `show("its name", builder, *arguments)`. A kind of journal entry that is
posted needs one line in `night` instead, and a command one in `COMMANDS`.
"""

import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import cycle
from types import ModuleType, SimpleNamespace
from typing import Any

from bot.chat import evidence, furniture, header, home, messages, oncall, rooms, settled, step_views, views
from bot.chat.answers import Answer, say, sorry
from bot.chat.forms import Forms
from bot.chat.front import Act, Caller, Front
from bot.chat.kit import Json, Message
from bot.chat.messages import Setting
from bot.chat.orders import Orders
from bot.chat.places import Places
from bot.chat.seals import Seals
from bot.domain import journal as j
from bot.domain.authority import BOT, Actor, Power
from bot.domain.config import Config
from bot.domain.incident import Incident, Status, fold
from bot.domain.inventory import Avs, Inventory
from bot.domain.playbook import Needs, Verb
from bot.domain.roles import Role
from bot.domain.severity import Severity
from bot.domain.target import State
from bot.domain.team import Person, Shift, Team
from bot.domain.watch import Watch
from bot.errors import Invalid, NotCommitted, NotFound, Refused
from bot.flows import consequences
from tests.fakes import config, node

START = datetime(2026, 11, 20, 3, 0, tzinfo=UTC)
NOW = START + timedelta(minutes=20)
CONFIG = config()
SEALS = Seals("the secret of the golden files")
SETTING = Setting(config=CONFIG, seals=SEALS, now=NOW)
URL = "https://bot.example"
PLAIN = "two signatures for slot 7"
NASTY = (
    "<!channel> <@U0ADA> <https://evil.example|good> *bold* `{{7*7}}` \u202eevil\u2066 :fire: \U0001f525 & \r\n\x00"
    "日本語 " + "x" * 4000
)
SIZES = (1, 12, 1000)
FEW = config(team=Team(people={}), inventory=Inventory(avs={}, nodes={}))
"""A config of nothing: no people, no nodes."""


def wide() -> Config:
    """Return a config of more people, services and nodes than a menu takes, each with a long and nasty name."""
    people = {
        f"p{n:03}": Person(id=f"p{n:03}", name=f"{n} {NASTY[:200]}", slack=f"U0{n:07}", powers=frozenset(Power))
        for n in range(130)
    }
    nodes = {name: node(name, avs="avs-0") for name in (f"{n:04}-{'n' * 58}" for n in range(1000, 2200))}
    avs = {f"avs-{n}": Avs(name=f"avs-{n}", quorum=2) for n in range(130)}
    shift = Shift(start=0, end=0, people=tuple(people)[:20], roles=dict(zip(Role, people, strict=False)))
    return config(team=Team(people=people, shifts=(shift,)), inventory=Inventory(avs=avs, nodes=nodes))


MANY = wide()
"""A config of too much of everything."""
ADA, BO = Actor(person="ada", via="slack"), Actor(person="bo", via="slack")
Told = tuple[float, Actor, j.Entry]


# ---- journals


def nodes_of(count: int, words: str) -> tuple[str, ...]:
    """Return so many names of nodes, as nasty as `words`."""
    stem = "s" if words == PLAIN else f"<!here>-\u202e{'n' * 40}-"
    return tuple(f"{stem}{n:02}" for n in range(1, count + 1))


def night(count: int = 3, words: str = PLAIN) -> tuple[j.Written, ...]:
    """Return the journal of inc-7 with `count` suspects: each kind of entry that is said in its channel, and more."""
    nodes = nodes_of(count, words)
    told = [*_alarm(nodes, words), *_effects(nodes, words), *_people(nodes, words), *_end(nodes, words)]
    return tuple(
        j.Written(incident=7, n=n, at=START + timedelta(seconds=after), by=by, entry=entry)
        for n, (after, by, entry) in enumerate(told, start=1)
    )


def _alarm(nodes: tuple[str, ...], words: str) -> list[Told]:
    seen = j.AlertSeen(
        fingerprint="f",
        starts_at="2026-11-20T02:59:00Z",
        change="fired",
        name="EquivocationRiskSpike",
        labels={"avs": words},
        annotations={},
        suspects=nodes,
        unresolved=(f"signer={words}",) * min(len(nodes), 30),
        safety=True,
    )
    opened = j.IncidentOpened(
        key="avs", severity=Severity.SEV2, summary=words, avs=words, playbook="sev2", reason=words
    )
    return [
        (0, BOT, opened),
        (0, BOT, j.RoleTaken(role=Role.IC, person="ada", how="assigned")),
        (0, BOT, j.Paged(page="page-1", people=("ada", "bo"), level=0, reason=words)),
        (0, BOT, j.AlertsJoined(alerts=(seen,), reason=words, truncated=3)),
        (1, BOT, j.ChannelOpened(channel="C0INCIDENT", name="inc-7")),
        (2, BOT, j.HeaderPosted(ts="1700000000.000100")),
        (3, BOT, j.RoleAsked(role=Role.COMMS, reason=words)),
        (4, BOT, j.SeverityChanged(was=Severity.SEV2, now=Severity.SEV1, reason=words, playbook="sev1")),
        (300, BOT, j.Paged(page="page-2", people=("cyn",), level=1, reason=words)),
        (600, BOT, j.PagingExhausted(reason=words)),
    ]


def _effects(nodes: tuple[str, ...], words: str) -> list[Told]:
    states = cycle([State.VERIFIED, State.UNKNOWN, State.FAILED, State.ACKNOWLEDGED, State.REFUSED, State.ALREADY])
    every = tuple(j.TargetReport(node=n, state=s, detail=words) for n, s in zip(nodes, states, strict=False))
    proven = j.TargetReport(node=nodes[0], state=State.VERIFIED, detail="flat for 12.1 s over a due duty")
    plan = {"verb": Verb.FREEZE, "targets": nodes}
    return [
        (610, BOT, j.StepPlanned(step="freeze-1", needs=Needs.AUTO, reason=words, automatic=True, **plan)),  # type: ignore[arg-type]
        (611, BOT, j.StepStarted(step="freeze-1", attempt=1, **plan)),  # type: ignore[arg-type]
        (612, BOT, j.TargetsReported(step="freeze-1", verb=Verb.FREEZE, reports=every)),
        (613, BOT, j.TargetsReported(step="freeze-1", verb=Verb.FREEZE, reports=(proven,))),
        (614, BOT, j.ProofRevoked(node=nodes[0], state=State.FAILED, reason=words)),
        (615, BOT, j.TargetsHeld(verb=Verb.ISOLATE, targets=nodes, reason=words)),
        (616, BOT, j.StepSkipped(verb=Verb.CAPTURE, targets=nodes, reason=words)),
        *((617, BOT, _kept(n, node, words)) for n, node in enumerate(nodes[:30], 1)),
        (618, BOT, j.EvidenceMissing(what="network-capture", node=nodes[0], reason=words)),
        (
            619,
            BOT,
            j.EvidenceFound(finding="f", kind="equivocation", text=words, items=("ev-7-1", "ev-7-2"), key=words),
        ),
        (620, ADA, j.HoldPlaced(reason=words)),
        (621, ADA, j.HoldLifted(reason=words)),
        (622, ADA, j.HoldPlaced(reason=words)),
    ]


def _kept(n: int, node: str, words: str) -> j.EvidenceKept:
    return j.EvidenceKept(
        item=f"ev-7-{n}",
        sha256=f"{n:064x}",
        size=4000 + n,
        media_type="application/x-ndjson",
        what="signed-messages" if n == 1 else f"{words[:20]}-{n}",
        node=node,
        source=words[:200],
        collector="stopsign",
        tool="stopsign",
        collected_at=START,
        clock="system clock, UTC",
        window_from=None,
        window_to=None,
        reason=words,
    )


def _asked(id_: str, verb: Verb, nodes: tuple[str, ...], words: str) -> j.ApprovalAsked:
    builds = dict.fromkeys(nodes, "sha256:" + "a" * 64) if verb is Verb.ROLLBACK else {}
    return j.ApprovalAsked(
        approval=id_,
        verb=verb,
        targets=nodes,
        parameters=builds,
        digest="d" * 64,
        needs=Needs.TWO,
        requester="ada",
        reason=words,
        expires_at=START + timedelta(minutes=45),
    )


def _people(nodes: tuple[str, ...], words: str) -> list[Told]:
    due = START + timedelta(minutes=15)
    prompt = j.StatusPrompted(prompt="internal-1", audience="internal", marks=("15 min",), due_at=due, asked=("bo",))
    return [
        (700, ADA, _asked("ask-1", Verb.ROLLBACK, nodes, words)),
        (701, ADA, _asked("ask-2", Verb.UNFREEZE, nodes[:1], words)),
        (702, BO, j.ApprovalGiven(approval="ask-2", person="bo", complete=True, until=due)),
        (703, ADA, _asked("ask-3", Verb.RESTORE, nodes, words)),
        (704, BO, j.ApprovalEnded(approval="ask-3", how="rejected", reason=words)),
        (705, ADA, j.GlassBroken(approval="ask-1", person="ada", reason=words, acts_at=START + timedelta(minutes=30))),
        (900, BOT, prompt),
        (960, BOT, j.PromptEscalated(prompt="internal-1", level=1, asked=("ada", "eve"))),
        (1000, BO, j.StatusGiven(prompt=None, audience="stakeholders", text=words[:2500], person="bo")),
        (1001, ADA, j.NoteAdded(text=words[:3000], source="slack:C0INCIDENT/1.2", author=words[:80])),
        (1002, BOT, j.WorkBuried(work="inc-7:9:page.slack", kind="page.pagerduty", reason=words)),
    ]


def _end(nodes: tuple[str, ...], words: str) -> list[Told]:
    left = tuple(j.Remaining(node=node, state=State.UNKNOWN, owner="cyn") for node in nodes)
    return [
        (1050, ADA, j.Acknowledged(person="ada")),
        (1060, BOT, j.Contained(reason=words)),
        (1070, BOT, j.Reopened(reason=words)),
        (1080, ADA, j.Contained(reason=words, by_hand=True)),
        (1090, ADA, j.Resolved(summary=words, remaining=left)),
        (1095, BOT, j.PostmortemDrafted(item="ev-7-1", sha256="e" * 64, due_on="2026-11-25")),
        (1100, ADA, j.ActionAdded(action="act-1", text=words, owner="cyn", due_on="2026-12-01")),
        (1110, ADA, j.Closed(reason=words)),
    ]


def until(written: Sequence[j.Written], kind: type[j.Entry]) -> Incident:
    """Return the incident just before the first entry of a kind."""
    return fold(7, [w for w in written if w.n < next(w.n for w in written if isinstance(w.entry, kind))])


def first(written: Sequence[j.Written], kind: type[j.Entry]) -> j.Written:
    """Return the first entry of a kind."""
    return next(w for w in written if isinstance(w.entry, kind))


def standing(count: int, words: str, status: Status) -> Incident:
    """Return inc-7 with `count` suspects as it stands at a status."""
    told = night(count, words)
    return {
        Status.OPEN: until(told, j.Acknowledged),
        Status.CONTAINED: until(told, j.Resolved),
        Status.RESOLVED: until(told, j.Closed),
        Status.CLOSED: fold(7, told),
    }[status]


# ---- what is shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Exhibit:
    """Something that is sent: `make` returns a Message, a view, an Answer or a plain text, or awaits one of them."""

    name: str
    builder: Any
    make: Callable[[], Any]

    @property
    def slug(self) -> str:
        """Return the name of its golden file."""
        return re.sub(r"[^a-z0-9]+", "-", self.name.casefold()).strip("-")

    async def sent(self) -> Json:
        """Return what leaves: `as` says as what (message, modal, home, answer, name, topic), `body` what it is."""
        made = self.make()
        if inspect.isawaitable(made):
            made = await made
        if isinstance(made, str):
            return {"as": TEXTS[self.builder.__name__], "body": made}
        return _sent(made)


TEXTS = {"channel_name": "name", "topic": "topic"}
"""As what a plain text is sent, by the function that makes it."""


def _sent(made: Any) -> Json:
    match made:
        case Message():
            return {"as": "message", "body": made.arguments()}
        case Answer(form=dict() as form):
            return {"as": str(form["type"]), "body": form}
        case Answer():
            return {"as": "answer", "body": made.body()}
        case dict():
            return {"as": str(made["type"]), "body": made}
    raise TypeError(f"{type(made).__name__} is nothing that is sent")


def show(name: str, builder: Callable[..., Any], *given: Any, **named: Any) -> Exhibit:
    """Return the exhibit that a builder makes of these arguments."""
    return Exhibit(name=name, builder=builder, make=lambda: builder(*given, **named))


HALTED = Watch(version=4, halted_at=START, halted_by="ada", halted_why=NASTY)


class Library:
    """A ledger to read from: one incident, its journal, and a halted watch. Decides nothing."""

    def __init__(self, words: str) -> None:
        told = night(3, words)
        self.entries = tuple(w for w in told if w.n < first(told, j.Acknowledged).n)
        self.incident = fold(7, self.entries)
        self.world = SimpleNamespace(config=CONFIG)
        self.clock = SimpleNamespace(now=lambda: NOW)
        self._rows = SimpleNamespace(
            incident=lambda number: self.incident if number == 7 else None,
            incidents=lambda **which: (self.incident,),
            entries=lambda number: self.entries,
            watch=lambda: HALTED,
        )

    async def read(self, question: Callable[[Any], Any]) -> Any:
        """Answer a question about the rows."""
        return question(self._rows)


async def typed(text: str, words: str) -> Answer:
    """Return what Ada is answered when she types a command that only looks."""
    ledger: Any = Library(words)
    nobody: Any = None
    front = Front(
        ledger=ledger,
        directory=nobody,
        places=Places(ledger),
        slack=nobody,
        seals=SEALS,
        command="/incident",
    )
    caller = Caller(person=CONFIG.team.people["ada"], act=Act(id="t.1", user="U0ADA", response_url=f"{URL}/answer"))
    return await Orders(front, Forms(front), URL).typed(caller, text)


COMMANDS = (
    "help",
    "list",
    "show",
    "timeline",
    "evidence",
    "postmortem",
    "oncall",
    "console",
    "action list",
    "declare",
    "status",
    "resolve",
    "handover",
    "halt",
)
"""Commands that only look, or open a form."""


def _evidence() -> Iterator[Exhibit]:
    for count, words in ((1, PLAIN), (1000, NASTY)):
        told = night(count, words)
        what = (fold(7, told), [w.entry for w in told])
        yield show(f"evidence {count}", evidence.overview, *what)
    yield show("evidence none", evidence.overview, Incident(number=7), [])


def _headers() -> Iterator[Exhibit]:
    for status in Status:
        for count in SIZES:
            incident = standing(count, NASTY, status)
            given = (incident, CONFIG, NOW, SEALS, URL)
            yield show(f"header {status} {count} nasty", header.header, *given)
        yield show(f"header {status}", header.header, standing(3, PLAIN, status), CONFIG, NOW, SEALS, URL)
    busy = (standing(12, NASTY, Status.OPEN), MANY, NOW, SEALS, URL, HALTED)
    yield show("header halted and many", header.header, *busy)
    yield show("header without console", header.header, Incident(number=7), CONFIG, NOW, SEALS)


def _entries() -> Iterator[Exhibit]:
    """Yield each posted entry as it is said when it is new, plain and nasty; kinds told twice get a number."""
    for words, tail in ((PLAIN, ""), (NASTY, " nasty")):
        told, counts = night(3, words), dict[str, int]()
        for written in told:
            kind = type(written.entry)
            if kind not in consequences._SPOKEN:
                continue
            counts[kind.__name__] = number = counts.get(kind.__name__, 0) + 1
            name = f"entry {kind.__name__}{f' {number}' if number > 1 else ''}{tail}"
            yield show(name, messages.entry, written, fold(7, told[: written.n]), SETTING)


def _messages() -> Iterator[Exhibit]:
    for words, tail in ((PLAIN, ""), (NASTY, " nasty")):
        told = night(3, words)
        now = until(told, j.Acknowledged)
        given = first(told, j.StatusGiven)
        reported = [w for w in told if isinstance(w.entry, j.TargetsReported)]
        lost = [w for w in told if isinstance(w.entry, j.ProofRevoked)]
        twice = [*lost, replace(lost[0], entry=j.ProofRevoked(node="o1", state=State.UNKNOWN, reason=words))]
        yield show(f"tally reported{tail}", messages.tally, reported, now, SETTING)
        yield show(f"tally revoked{tail}", messages.tally, twice, now, SETTING)
        yield show(f"announcement{tail}", messages.announcement, now, SETTING)
        yield show(f"page{tail}", messages.page, now, now.pages["page-1"], SETTING)
        yield show(f"page second{tail}", messages.page, now, now.pages["page-2"], SETTING)
        yield show(f"page done{tail}", messages.paged_done, until(told, j.Resolved), SETTING)
        yield show(f"ask rollback{tail}", messages.ask, now, now.approvals["ask-1"], SETTING)
        yield show(f"share{tail}", messages.share, given, now, given.entry, SETTING)
        for asking in (j.Paged, j.TargetsHeld, j.ApprovalAsked, j.StatusPrompted, j.RoleAsked):
            yield show(f"settled {asking.__name__}{tail}", settled.anew, first(told, asking), fold(7, told), SETTING)
        for kind, halted in _watches(words):
            written = j.Written(incident=None, n=4, at=START, by=ADA, entry=kind)
            name = f"watch {type(kind).__name__}{tail}"
            yield show(name, messages.watch, written, SETTING, halted=halted)
    many = until(night(1000, PLAIN), j.Acknowledged)
    yield show("ask rollback 1000", messages.ask, many, many.approvals["ask-1"], SETTING)


def _watches(words: str) -> list[tuple[j.Entry, bool]]:
    return [
        (j.AutomationHalted(reason=words), True),
        (j.RearmAsked(approval="r", person="ada", expires_at=NOW), True),
        (j.AutomationRearmed(approval="r", people=("ada", "bo")), False),
    ]


def _views() -> Iterator[Exhibit]:
    sealed = SEALS.seal("a form", "7", "internal-1", f"{URL}/answer")
    for words, tail in ((PLAIN, ""), (NASTY, " nasty")):
        now = standing(12, words, Status.CONTAINED)
        left = dict.fromkeys(nodes_of(40, words), State.UNKNOWN)
        yield show(f"form status{tail}", views.give_status, now, "stakeholders", sealed, words)
        yield show(f"form resolve{tail}", views.resolve, now, left, CONFIG, sealed)
        yield show(f"form hand over{tail}", views.hand_over, now, CONFIG, sealed)
    for size, setting in (("few", FEW), ("many", MANY)):
        now = standing(12, NASTY, Status.CONTAINED)
        everybody = tuple(setting.inventory.nodes)[:100]
        left = dict.fromkeys(everybody, State.UNKNOWN)
        yield show(f"form declare {size}", views.declare, setting, sealed)
        yield show(f"form hand over {size}", views.hand_over, now, setting, sealed)
        yield show(f"form resolve {size}", views.resolve, now, left, setting, sealed)
        yield show(f"oncall {size}", oncall.message, setting, NOW)
    many = tuple(MANY.inventory.nodes)
    yield show("form step many", step_views.choose, standing(12, NASTY, Status.CONTAINED), MANY, None, sealed)
    told = (NASTY, PLAIN, "")
    now = standing(3, PLAIN, Status.OPEN)
    for verb in (Verb.FREEZE, Verb.UNFREEZE, Verb.ROLLBACK):
        yield show(f"form {verb}", step_views.choose, now, CONFIG, verb, sealed)
    yield show("form sure", step_views.sure, now, Verb.FREEZE, many, told, 1, sealed)
    yield show("form sure of two", step_views.sure, now, Verb.UNFREEZE, many[:1], told, 2, sealed)
    yield show("form go alone", views.go_alone, now.approvals["ask-1"], "15 minutes", sealed)
    yield show("form severity", views.severity, now, sealed)
    yield show("form reopen", views.reopen, now, sealed)
    yield show("form resolve nothing left", views.resolve, standing(1, PLAIN, Status.CONTAINED), {}, CONFIG, sealed)
    yield show("form declare", views.declare, CONFIG, sealed)
    yield show("form halt", views.halt, sealed)


def _homes() -> Iterator[Exhibit]:
    nights = [replace(standing(12, NASTY, Status.OPEN), number=n) for n in range(1, 40)]
    for size, setting, live in (("few", FEW, []), ("usual", CONFIG, nights[:1]), ("many", MANY, nights)):
        for name, person in (("bo", "bo"), ("eve", "eve")):
            given = (
                setting.team.people.get(person, CONFIG.team.people[person]),
                live,
                HALTED,
                setting,
                NOW,
                SEALS,
                URL,
            )
            yield show(f"home {size} {name}", home.home, *given, behind=NASTY[:200])
    yield show("home quiet", home.home, CONFIG.team.people["bo"], [], Watch(), CONFIG, NOW, SEALS, None)
    yield show("home stranger", home.stranger, NASTY)


def _answers() -> Iterator[Exhibit]:
    for words, tail in ((PLAIN, ""), (NASTY, " nasty")):
        for command in COMMANDS:
            yield show(f"typed {command}{tail}", typed, command, words)
        for kind in (Invalid, NotFound, Refused, NotCommitted):
            yield show(f"sorry {kind.__name__}{tail}", sorry, kind(words))
        yield show(f"topic{tail}", furniture.topic, standing(1, words, Status.CONTAINED))
        yield show(f"channel name{tail}", rooms.channel_name, Incident(number=7, summary=words))
    yield show("said nothing", say, "")
    long = Incident(number=10**9, summary=" ".join(["conflicting"] * 20))
    yield show("channel name long and taken", rooms.channel_name, long, 9)


def exhibits() -> tuple[Exhibit, ...]:
    """Return all exhibits, each under its own name."""
    return (*_evidence(), *_headers(), *_entries(), *_messages(), *_views(), *_homes(), *_answers())


EXHIBITS: tuple[Exhibit, ...] = exhibits()


# ---- what must be shown

PARTS = frozenset({"kit", "buttons", "targets", "answers", "views.modal", "views.choice", "views.line"})
"""Rooms and functions that make parts, which are only sent inside of something else."""


def builders(module: ModuleType) -> Iterator[Callable[..., Any]]:
    """Yield a module's public functions that return a whole message or view."""
    room = module.__name__.rpartition(".")[2]
    for name, found in inspect.getmembers(module, inspect.isfunction):
        if name.startswith("_") or found.__module__ != module.__name__ or {room, f"{room}.{name}"} & PARTS:
            continue
        if inspect.get_annotations(found, eval_str=True).get("return") in (Message, Json):
            yield found
