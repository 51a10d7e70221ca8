"""An alert as Alertmanager tells it: identity, episode, labels."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class AlertStatus(StrEnum):
    """Whether an episode of an alert lasts."""

    FIRING = "firing"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One alert of a notification. `starts_at` stays the sender's own text: it is half of the episode's identity."""

    fingerprint: str
    starts_at: str
    status: AlertStatus
    labels: Mapping[str, str]
    annotations: Mapping[str, str] = field(default_factory=dict)
    generator: str = ""

    @property
    def name(self) -> str:
        """Return the alert's name, or a placeholder that says it has none."""
        return self.labels.get("alertname") or "(unnamed alert)"

    @property
    def episode(self) -> tuple[str, str]:
        """Return what identifies this episode: the fingerprint and when it began."""
        return (self.fingerprint, self.starts_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """One delivery. `truncated` is how many alerts Alertmanager left out of it."""

    alerts: tuple[Alert, ...]
    group_key: str = ""
    truncated: int = 0
