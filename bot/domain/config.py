"""Everything the operator decided, in one value."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from bot.domain.inventory import Inventory
from bot.domain.playbook import Playbook
from bot.domain.policy import Policy
from bot.domain.runbook import Runbook
from bot.domain.team import Team


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The operator's files and the shipped content, read and checked: `runbooks` by alert name, `playbooks` by name."""

    inventory: Inventory
    team: Team
    policy: Policy = field(default_factory=Policy)
    runbooks: Mapping[str, Runbook] = field(default_factory=dict)
    playbooks: Mapping[str, Playbook] = field(default_factory=dict)

    def runbook_for(self, labels: Mapping[str, str]) -> Runbook | None:
        """Return the runbook of an alert with `labels`, or None when nobody wrote one."""
        found = self.runbooks.get(labels.get("alertname", ""))
        return found if found is not None and found.matches(labels) else None
