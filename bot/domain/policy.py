"""The operator's choices (policy.yaml): cadences, budgets, paging, windows."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import timedelta
from typing import Self

from bot.domain.severity import Severity


def _minutes(*values: int) -> tuple[timedelta, ...]:
    return tuple(timedelta(minutes=value) for value in values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cadence:
    """When a status is owed: at each of `at` after opening, then every `every`."""

    every: timedelta
    at: tuple[timedelta, ...] = ()

    def scaled(self, factor: float) -> Self:
        """Return the cadence `factor` times as fast."""
        return replace(self, every=self.every / factor, at=tuple(t / factor for t in self.at))


@dataclass(frozen=True, slots=True, kw_only=True)
class Paging:
    """Which severity labels page, make a ticket or only beat; how soon a page moves on to the next person."""

    page: frozenset[str] = frozenset({"page", "critical"})
    ticket: frozenset[str] = frozenset({"ticket", "warning"})
    beat: frozenset[str] = frozenset({"none"})
    escalate_after: timedelta = timedelta(minutes=5)
    role_reminder: timedelta = timedelta(minutes=5)
    rounds: int = 6
    """How many times the whole line is paged before the bot stops asking and says so."""
    slack_groups: Mapping[Severity, tuple[str, ...]] = field(default_factory=dict)
    """Ids of Slack user groups that the announcement of a new incident mentions; it gives them no power."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FreezeBudget:
    """How much of an AVS's fleet the bot may freeze by itself in a rolling `window`, across incidents."""

    fraction: float = 0.05
    at_least: int = 1
    window: timedelta = timedelta(hours=1)

    def size(self, fleet: int) -> int:
        """Return how many nodes of `fleet` the bot may freeze by itself in one window."""
        return max(self.at_least, int(fleet * self.fraction))


@dataclass(frozen=True, slots=True, kw_only=True)
class AnchorAt:
    """One place outside our reach that gets signed checkpoints; which fields it takes depends on `kind`."""

    name: str
    kind: str
    """`rfc3161`, `http`, `s3` or `slack`."""
    url: str | None = None
    roots: str | None = None
    """PEM file with the roots of a timestamp authority."""
    token: str | None = None
    """Reference (`env:NAME`, `file:/path`) of a bearer token."""
    channel: str | None = None
    retention: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """How long evidence is kept at least, and who else holds the log's checkpoints."""

    retention: timedelta = timedelta(days=90)
    anchors: tuple[AnchorAt, ...] = ()
    anchor_every: timedelta = timedelta(minutes=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """All choices with their defaults; times are durations."""

    internal: Mapping[Severity, Cadence] = field(
        default_factory=lambda: {
            Severity.SEV1: Cadence(every=timedelta(minutes=15)),
            Severity.SEV2: Cadence(every=timedelta(minutes=30)),
            Severity.SEV3: Cadence(every=timedelta(hours=1)),
        }
    )
    stakeholders: Mapping[Severity, Cadence] = field(
        default_factory=lambda: {Severity.SEV1: Cadence(at=_minutes(15, 30, 60), every=timedelta(hours=1))}
    )
    prompt_escalates: timedelta = timedelta(minutes=5)
    paging: Paging = field(default_factory=Paging)
    budget: FreezeBudget = field(default_factory=FreezeBudget)
    flap_window: timedelta = timedelta(minutes=10)
    """An alert that resolves and fires again within this time is one flapping alert."""
    capture_window: timedelta = timedelta(minutes=15)
    request_lives: timedelta = timedelta(minutes=30)
    approval_lives: timedelta = timedelta(minutes=5)
    break_glass_after: timedelta | None = None
    """How long one person who goes on alone must wait, so that others can say no; None: nobody may."""
    proof_windows: int = 1
    """Duty windows over which a counter must be flat before a freeze is verified."""
    unfreeze_windows: int = 2
    reprove_every: timedelta = timedelta(seconds=30)
    symptom_wait: timedelta = timedelta(minutes=5)
    deadline_objective: float = 0.0005
    """Missed share of required duties that the SLO allows; ten times it raises to SEV-1."""
    archive_after: timedelta = timedelta(days=7)
    """So long a closed incident's channel stays open."""
    postmortem_days: int = 5
    country: str | None = None
    """ISO country code whose public holidays are no business days; None counts weekends only."""
    incidents_channel: str = "incidents"
    stakeholder_channel: str | None = None
    runbook_hosts: tuple[str, ...] = ()
    """Hosts to whose runbooks an incident's channel may lead, besides our own public address."""
    require_escrow: bool = True
    evidence: Evidence = field(default_factory=Evidence)
    scale: float = 1.0
    """How much faster than real people's clocks run; more than 1 only in demo and drills."""

    def scaled(self, factor: float) -> Self:
        """Return the policy with people's clocks `factor` times as fast; node timings stay real."""
        return replace(
            self,
            scale=self.scale * factor,
            internal={sev: cadence.scaled(factor) for sev, cadence in self.internal.items()},
            stakeholders={sev: cadence.scaled(factor) for sev, cadence in self.stakeholders.items()},
            prompt_escalates=self.prompt_escalates / factor,
            symptom_wait=self.symptom_wait / factor,
            break_glass_after=self.break_glass_after / factor if self.break_glass_after else None,
            paging=replace(
                self.paging,
                escalate_after=self.paging.escalate_after / factor,
                role_reminder=self.paging.role_reminder / factor,
            ),
        )


def names() -> tuple[str, ...]:
    """Return the policy's field names, in order, for checks of documentation."""
    return tuple(f.name for f in fields(Policy))
