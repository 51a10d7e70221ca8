"""A team, a small fleet and one long night: the journal of inc-7, as flows write it."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from bot.domain import journal as j
from bot.domain.authority import BOT, Actor
from bot.domain.config import Config
from bot.domain.incident import Incident, fold
from bot.domain.inventory import Avs, Inventory, Node
from bot.domain.journal import Entry, Written
from bot.domain.playbook import Needs, Verb
from bot.domain.policy import Policy
from bot.domain.roles import Role
from bot.domain.runbook import Runbook
from bot.domain.severity import Severity
from bot.domain.target import State
from bot.domain.team import Person, Team

START = datetime(2026, 3, 13, 3, 12, 4, tzinfo=UTC)
ADA, BEN = Actor(person="ada", via="slack"), Actor(person="ben", via="cli")
ALERTMANAGER = Actor(person=None, via="alertmanager")
Told = tuple[float, Actor, Entry]
Journal = Callable[[Sequence[Told]], tuple[Written, ...]]


@pytest.fixture
def config() -> Config:
    """Return four signers of one AVS and three people."""
    nodes = {f"seq-0{i}": Node(name=f"seq-0{i}", avs="oracle", keys=(f"0xkey{i}",)) for i in range(1, 5)}
    people = {p.id: p for p in (Person(id="ada", name="Ada"), Person(id="ben", name="Ben"), Person(id="cy", name="Cy"))}
    runbook = Runbook(
        alert="EquivocationRiskSpike",
        title="Conflicting signatures seen",
        expr="x",
        severity=Severity.SEV1,
        labels={},
        annotations={},
        playbook="sev1",
        correlate=("avs",),
        safety=True,
    )
    return Config(
        inventory=Inventory(avs={"oracle": Avs(name="oracle", quorum=2)}, nodes=nodes),
        team=Team(people=people),
        policy=Policy(),
        runbooks={runbook.alert: runbook},
    )


def seen(name: str, starts: float, change: str = "fired", **more: object) -> j.AlertSeen:
    """Return one alert; `starts` counts seconds from the opening."""
    values: dict[str, object] = {
        "fingerprint": f"fp-{name}",
        "starts_at": (START + timedelta(seconds=starts)).isoformat().replace("+00:00", "Z"),
        "labels": {"alertname": name, "avs": "oracle"},
        "annotations": {},
        "runbook": name,
    }
    return j.AlertSeen(name=name, change=change, **{**values, **more})  # type: ignore[arg-type]


def report(node: str, state: State, detail: str, item: str | None = None) -> j.TargetReport:
    """Return what is known of one target."""
    return j.TargetReport(node=node, state=state, detail=detail, item=item)


def kept(number: int, what: str, node: str | None) -> j.EvidenceKept:
    """Return the custody of one item."""
    return j.EvidenceKept(
        item=f"ev-7-{number}",
        sha256=f"{number:x}" * 64,
        size=1000 * number,
        media_type="application/json",
        what=what,
        node=node,
        source="http://10.0.0.1:9000",
        collector="stopsign, for cy (Evidence Lead)",
        tool="sidecar",
        collected_at=START + timedelta(seconds=40),
        clock="system clock, UTC",
        window_from=None,
        window_to=None,
        reason="inc-7 SEV-1",
    )


@pytest.fixture
def journal() -> Journal:
    """Return what puts told entries into their places: numbers, times, leaves."""

    def write(told: Sequence[Told]) -> tuple[Written, ...]:
        return tuple(
            Written(incident=7, n=n, at=START + timedelta(seconds=after), by=by, entry=entry, leaf=100 + n)
            for n, (after, by, entry) in enumerate(told, start=1)
        )

    return write


@pytest.fixture
def night(journal: Journal) -> tuple[Written, ...]:
    """Return the whole journal of the night."""
    return journal([*alarm(), *effects(), *people(), *the_end()])


@pytest.fixture
def incident(night: tuple[Written, ...]) -> Incident:
    """Return the incident that the night's journal tells of."""
    return fold(7, night)


def alarm() -> list[Told]:
    """Tell how it began."""
    first = seen("EquivocationRiskSpike", -12, suspects=("seq-01", "seq-02"), safety=True)
    return [
        (0, ALERTMANAGER, opened()),
        *((0.0, ALERTMANAGER, j.RoleTaken(role=r, person=p, how="assigned")) for r, p in _ROLES),
        (0, ALERTMANAGER, j.Paged(page="SECRET-page", people=("ada", "ben"), level=0, reason="SEV-1: conflicting")),
        (
            0,
            ALERTMANAGER,
            j.AlertsJoined(
                alerts=(first,),
                reason="runbook EquivocationRiskSpike",
                truncated=3,
            ),
        ),
        (1, BOT, j.ChannelOpened(channel="C7", name="inc-7-oracle")),
        (1, BOT, j.HeaderPosted(ts="1.2")),
        (20, ADA, j.Acknowledged(person="ada")),
    ]


_ROLES = ((Role.IC, "ada"), (Role.COMMS, "ben"), (Role.OPS, "ben"), (Role.EVIDENCE, "cy"))


def opened() -> j.IncidentOpened:
    """Return the first entry."""
    return j.IncidentOpened(
        key="avs=oracle",
        severity=Severity.SEV1,
        summary="Conflicting signatures seen on oracle",
        avs="oracle",
        playbook="sev1",
        reason="runbook EquivocationRiskSpike",
        recurrence_of=3,
    )


def effects() -> list[Told]:
    """Tell what was done to the nodes."""
    freeze, both = Verb.FREEZE, ("seq-01", "seq-02")
    flat = "read back stopped; 1 counter flat for 12.1 s over a due duty"
    lost = j.EvidenceMissing(what="slashing-protection", node="seq-02", reason="no answer within 5 s")
    return [
        (0.1, BOT, _plan("freeze-1", freeze, both)),
        (0.2, BOT, j.StepStarted(step="freeze-1", verb=freeze, targets=both, attempt=1)),
        (0.3, BOT, _report("freeze-1", freeze, report("seq-01", State.ACKNOWLEDGED, "frozen"))),
        (5.2, BOT, _report("freeze-1", freeze, report("seq-02", State.UNKNOWN, "no answer within 5 s"))),
        (5.2, BOT, j.StepFinished(step="freeze-1", verb=freeze, summary="1 acknowledged, 1 unknown")),
        (7.2, BOT, j.FreezeRepeated(node="seq-02", attempt=2, reason="no answer within 5 s")),
        (12.4, BOT, _report("freeze-1", freeze, report("seq-01", State.VERIFIED, flat, "ev-7-1"))),
        (12.4, BOT, kept(1, "freeze-proof", "seq-01")),
        (40, BOT, kept(2, "signed-messages", "seq-01")),
        (40, BOT, kept(3, "metrics", None)),
        (41, BOT, lost),
        (60, BOT, j.TargetsHeld(verb=Verb.ROLLBACK, targets=("seq-01",), reason="the symptom persists")),
        (200, BOT, j.ProofRevoked(node="seq-01", state=State.FAILED, reason="counter rose 7 to 8")),
        (240, BOT, _report("freeze-1", freeze, report("seq-01", State.VERIFIED, flat, "ev-7-4"))),
    ]


def _plan(step: str, verb: Verb, targets: tuple[str, ...], *, by_bot: bool = True) -> j.StepPlanned:
    needs = Needs.AUTO if by_bot else Needs.TWO
    return j.StepPlanned(
        step=step, verb=verb, targets=targets, needs=needs, reason="playbook sev1, safety runbook", automatic=by_bot
    )


def _report(step: str, verb: Verb, *reports: j.TargetReport) -> j.TargetsReported:
    return j.TargetsReported(step=step, verb=verb, reports=reports)


def people() -> list[Told]:
    """Tell what people did meanwhile."""
    due = START + timedelta(minutes=15)
    own = seen("DeadlineMiss", 90, own_effect=True, suspects=("seq-01",), runbook="AVSDeadlineMissRateHigh")
    flap = seen("EquivocationRiskSpike", 290, suspects=("seq-01",))
    missed = seen("Blip", 280, "missed", unresolved=("signer=ghost (names nobody in the inventory)",), runbook=None)
    return [
        (95, ALERTMANAGER, j.AlertsJoined(alerts=(own,), reason="caused by our own freeze")),
        (305, ALERTMANAGER, j.AlertsJoined(alerts=(flap, missed), reason="same correlation key")),
        (400, BEN, j.RoleTaken(role=Role.OPS, person="cy", how="handed over", was="ben")),
        (410, ADA, _ask()),
        (420, BEN, j.ApprovalGiven(approval="SECRET-ask", person="ben", complete=True, until=due)),
        (421, BEN, _plan("rollback-1", Verb.ROLLBACK, ("seq-01",), by_bot=False)),
        (422, BOT, j.StepStarted(step="rollback-1", verb=Verb.ROLLBACK, targets=("seq-01",), attempt=1)),
        (425, BOT, _report("rollback-1", Verb.ROLLBACK, report("seq-01", State.VERIFIED, "runs sha256:good"))),
        (900, BOT, _prompt(due)),
        (1200, BOT, j.PromptEscalated(prompt="stakeholders-1", level=1, asked=("ada",))),
        (1260, BEN, _status()),
        (1300, BEN, j.CommandRefused(command="Request", reason="Only the Incident Commander may")),
        (1400, BOT, j.WorkBuried(work="inc-7:9:page", kind="page.slack", reason="channel_not_found")),
    ]


def _ask() -> j.ApprovalAsked:
    return j.ApprovalAsked(
        approval="SECRET-ask",
        verb=Verb.ROLLBACK,
        targets=("seq-01",),
        parameters={"seq-01": "sha256:good"},
        digest="d" * 64,
        needs=Needs.TWO,
        requester="ada",
        reason="bad build",
        expires_at=START + timedelta(minutes=30),
    )


def _prompt(due: datetime) -> j.StatusPrompted:
    return j.StatusPrompted(
        prompt="stakeholders-1", audience="stakeholders", marks=("15 min",), due_at=due, asked=("ben",)
    )


def _status() -> j.StatusGiven:
    text = "Two signers are stopped.\nNext update at 04:00."
    return j.StatusGiven(prompt="stakeholders-1", audience="stakeholders", text=text, person="ben")


def the_end() -> list[Told]:
    """Tell how it was contained and resolved."""
    left = j.Remaining(node="seq-02", state=State.UNKNOWN, owner="cy")
    text = "seq-02 is unknown: bring it back or take it out for good"
    return [
        (1500, ADA, j.Contained(reason="power of seq-02 cut", by_hand=True)),
        (2000, ADA, j.ActionAdded(action="act-1", text=text, owner="cy")),
        (2000, ADA, j.Resolved(summary="bad build reverted on seq-01", remaining=(left,))),
    ]
