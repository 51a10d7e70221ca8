"""The watch: what belongs to no incident. Like an incident it is the fold of its journal stream."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from bot.domain import journal as j


@dataclass(frozen=True, slots=True, kw_only=True)
class Rearm:
    """A request to re-arm automation; a second person completes it."""

    approval: str
    person: str
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """Nodes that were frozen without a person, counted against an AVS's budget."""

    at: datetime
    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """Whether automation is halted, and how much of each AVS's freeze budget is spent."""

    version: int = 0
    halted_at: datetime | None = None
    halted_by: str | None = None
    halted_why: str = ""
    rearm: Rearm | None = None
    spent: Mapping[str, tuple[Spent, ...]] = field(default_factory=dict)
    key: str | None = None
    """The verifier key that the evidence log is signed with, once it was rotated."""
    lost_anchors: tuple[str, ...] = ()
    """Anchors that take no checkpoints at present."""
    ignored: tuple[str, ...] = ()
    """The alert episodes set aside last, so that their repeats are not written down again."""

    @property
    def halted(self) -> bool:
        """Tell whether the kill switch is on."""
        return self.halted_at is not None

    def spent_on(self, avs: str, now: datetime, window: timedelta) -> frozenset[str]:
        """Return the nodes of `avs` that automatic freezes of the last `window` addressed."""
        return frozenset(n for s in self.spent.get(avs, ()) if s.at > now - window for n in s.nodes)


def evolve(watch: Watch, written: j.Written) -> Watch:
    """Return the watch after one more entry."""
    if written.n != watch.version + 1:
        raise ValueError(f"watch: entry {written.n} cannot follow {watch.version}")
    e = written.entry
    changed = watch
    match e:
        case j.AutomationHalted():
            changed = replace(watch, halted_at=written.at, halted_by=written.by.person, halted_why=e.reason, rearm=None)
        case j.RearmAsked():
            changed = replace(watch, rearm=Rearm(approval=e.approval, person=e.person, expires_at=e.expires_at))
        case j.KeyRotated():
            changed = replace(watch, key=e.now)
        case j.AnchorLost():
            changed = replace(watch, lost_anchors=(*watch.lost_anchors, e.anchor))
        case j.AnchorBack():
            changed = replace(watch, lost_anchors=tuple(a for a in watch.lost_anchors if a != e.anchor))
        case j.AutomationRearmed():
            changed = replace(watch, halted_at=None, halted_by=None, halted_why="", rearm=None)
        case j.AlertIgnored():
            changed = replace(watch, ignored=(*watch.ignored, ignored_key(e.fingerprint, e.starts_at, e.status))[-500:])
        case j.BudgetSpent():
            # A day is far beyond any window: older spending can be forgotten without a setting.
            kept = tuple(s for s in watch.spent.get(e.avs, ()) if s.at > written.at - timedelta(days=1))
            changed = replace(watch, spent={**watch.spent, e.avs: (*kept, Spent(at=written.at, nodes=e.nodes))})
        case _:
            pass
    return replace(changed, version=written.n)


def ignored_key(fingerprint: str, starts_at: str, status: str) -> str:
    """Return how a watch remembers an episode that was set aside."""
    return f"{fingerprint} {starts_at} {status}"
