"""What an alert means (the front matter of runbooks/<AlertName>.md)."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from string import Template

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
    `raises` says that this alert, while firing, raises an open SEV-2 to SEV-1.
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
    """PromQL that is non-empty while the symptom lasts; `$avs` and `$not_frozen` are filled in."""
    safety: bool = False
    heartbeat: bool = False
    caused_by_freeze: bool = False
    """True when a freeze of ours makes this alert fire for the frozen target (missed deadlines)."""
    body: str = ""

    def symptom(self, *, avs: str, frozen: Collection[str] = ()) -> str | None:
        """Return `persists` for one AVS without the nodes that we froze, or None when nothing can be asked.

        `$avs` becomes the name, fit to stand between double quotes; `$not_frozen` a matcher on the label that names
        targets, which matches every series while nothing is frozen.
        """
        if self.persists is None:
            return None
        label = next((label for label, attribute in self.suspects.by.items() if attribute == "name"), "signer")
        pattern = "|".join(re.escape(name) for name in sorted(frozen))
        matcher = f'{label}!~"{_quoted(pattern)}"' if frozen else f'{label}!="-"'
        return Template(self.persists).safe_substitute(avs=_quoted(avs), not_frozen=matcher)

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Tell whether an alert with `labels` is this runbook's."""
        return labels.get("alertname") == self.alert and all(labels.get(k) == v for k, v in self.matchers.items())


def _quoted(text: str) -> str:
    """Return `text` as it stands inside double quotes of PromQL."""
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
