"""What an alert means (the front matter of runbooks/<AlertName>.md)."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from bot.domain.severity import Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspects:
    """How an alert's labels name targets: alert label → inventory attribute (`name`, `key`, or an inventory label)."""

    by: Mapping[str, str] = field(default_factory=dict)
    avs: str | None = "avs"
    """The alert label that narrows the search to one AVS; None searches all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runbook:
    """One alert's single source: its rule, its severity and what the bot may do about it.

    `safety` marks conflicting signatures or signer misbehaviour, the only ones that may freeze automatically.
    """

    alert: str
    title: str
    expr: str
    severity: Severity
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    playbook: str
    correlate: tuple[str, ...]
    hold: str | None = None
    """Prometheus `for`; None leaves it out."""
    matchers: Mapping[str, str] = field(default_factory=dict)
    """Further labels that an alert must carry, as exact values; the alert's name is always matched."""
    suspects: Suspects = field(default_factory=Suspects)
    persists: str | None = None
    """PromQL that is non-empty while the symptom lasts; `$avs` is filled in, and so is `$not_frozen`, a
    regular expression of the nodes that we froze: write `signer!~"$not_frozen"`."""
    safety: bool = False
    heartbeat: bool = False
    caused_by_freeze: bool = False
    """True when a freeze of ours makes this alert fire for the frozen target (missed deadlines)."""
    body: str = ""

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Tell whether an alert with `labels` is this runbook's."""
        return labels.get("alertname") == self.alert and all(labels.get(k) == v for k, v in self.matchers.items())
