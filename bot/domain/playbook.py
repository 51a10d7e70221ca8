"""What the bot does about an incident (playbooks/<name>.yaml): ordered steps and nothing cleverer."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum


class Verb(StrEnum):
    """A kind of step."""

    FREEZE = "freeze"
    CAPTURE = "capture"
    ISOLATE = "isolate"
    ROLLBACK = "rollback"
    THROTTLE = "throttle"
    COMMUNICATE = "communicate"
    UNFREEZE = "unfreeze"
    RESTORE = "restore"


class Needs(StrEnum):
    """Who must agree before a step runs."""

    AUTO = "auto"
    ONE = "one"
    TWO = "two"

    @property
    def people(self) -> int:
        """Return how many different people must agree."""
        return {"auto": 0, "one": 1, "two": 2}[self]


class Targets(StrEnum):
    """Whom a step addresses."""

    SUSPECTS = "suspects"
    NONE = "none"


class OnlyIf(StrEnum):
    """The fixed set of conditions."""

    SYMPTOM_PERSISTS = "symptom-persists"


class OnFailure(StrEnum):
    """What a failed target does besides being told in the channel.

    `page` pages all hands, `hold` keeps the steps that follow from that target until people act, `go-on` does neither.
    """

    PAGE = "page"
    HOLD = "hold"
    GO_ON = "go-on"


class Pages(StrEnum):
    """Whom an incident pages first."""

    ALL_HANDS = "all-hands"
    PRIMARY = "primary"
    NOBODY = "nobody"  # a ticket: the on-call sees it, nobody is woken


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedStep:
    """One line of a playbook.

    `after` names a verb that must have ended *for the same target*; `wait` is measured from the incident's opening.
    """

    step: Verb
    targets: Targets = Targets.SUSPECTS
    authority: Needs = Needs.ONE
    after: Verb | None = None
    wait: timedelta | None = None
    only_if: OnlyIf | None = None
    timeout: timedelta = timedelta(seconds=30)
    on_failure: OnFailure = OnFailure.PAGE


@dataclass(frozen=True, slots=True, kw_only=True)
class Playbook:
    """A named, ordered list of steps; `page` says whom an incident under it pages first."""

    name: str
    summary: str
    steps: tuple[PlannedStep, ...]
    page: Pages = Pages.PRIMARY

    def step(self, verb: Verb) -> PlannedStep | None:
        """Return the playbook's line about a verb, or None when it has none."""
        return next((planned for planned in self.steps if planned.step is verb), None)
