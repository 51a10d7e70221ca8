"""The four roles of an incident."""

from enum import StrEnum


class Role(StrEnum):
    """Who does what while the incident lasts."""

    IC = "ic"
    COMMS = "comms"
    OPS = "ops"
    EVIDENCE = "evidence"

    @property
    def title(self) -> str:  # type: ignore[override]
        """Return the role's name for people."""
        return {"ic": "Incident Commander", "comms": "Comms Lead", "ops": "Ops Lead", "evidence": "Evidence Lead"}[self]

    @property
    def duty(self) -> str:
        """Return one line that says what its holder does."""
        return {
            "ic": "decides, assigns, owns the timeline",
            "comms": "status page, stakeholders, AVS channel",
            "ops": "mitigations, rollback, routing",
            "evidence": "signed messages, logs, chain of custody",
        }[self]
