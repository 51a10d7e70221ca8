"""What is sent to the bot, and what comes back: values that both lines, HTTP and socket, share."""

from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

Json = dict[str, Any]

ACK_SECONDS = 3.0

Envelope = Literal["events_api", "slash_commands", "interactive"]


@dataclass(frozen=True, slots=True)
class Ack:
    """What came of a delivery; `error` is None exactly when the bot acknowledged in time."""

    status: int | None
    ms: int
    body: Any = None
    error: str | None = None
    retry: bool = True

    @property
    def ok(self) -> bool:
        """Return whether the bot acknowledged."""
        return self.error is None

    def row(self) -> Json:
        """Return it for people and logs."""
        return {"ok": self.ok, "status": self.status, "ms": self.ms, "body": self.body, "error": self.error}


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """One thing to deliver; `retry` is 0 at first, `reason` says why it comes again, in the line's own words."""

    kind: str
    envelope: Envelope
    payload: Json
    retry: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """A parcel as it goes over a line: sent twice, it is the same to the last byte."""

    by: str
    body: str
    headers: Json = field(default_factory=dict)
    id: str = ""
    answers: bool = True


class Line(Protocol):
    """A way to the bot."""

    def seal(self, parcel: Parcel) -> Sealed:
        """Return the parcel as it will be sent."""
        ...

    async def send(self, sealed: Sealed) -> Ack:
        """Send it and wait for the acknowledgement, no longer than ACK_SECONDS."""
        ...

    def reason(self, ack: Ack) -> str:
        """Return how this line calls the failure, for the repeat of an event."""
        ...
