"""Alertmanager's webhook (payload version 4): strict on shape, ignorant of unknown keys.

Any 2xx is final for Alertmanager, so it leaves only after the commit. 503 is retried within the flush; 4xx comes again
at the next group interval; a redirect loses the alert, so none is ever sent.
"""

import base64
import binascii
import hmac
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from bot.domain.alert import Alert, AlertStatus, Notification
from bot.domain.authority import Actor
from bot.errors import NotCommitted
from bot.flows import intake
from bot.ledger import Ledger
from bot.web.problems import of_error, problem

MOST_BYTES = 16 * 1024 * 1024
ALERTMANAGER = Actor(person=None, via="alertmanager")

Text = Annotated[str, StringConstraints(strict=True)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)


class AlertBody(_Strict):
    """One alert. `startsAt` is kept as text: it is half of the episode's identity."""

    status: Literal["firing", "resolved"]
    labels: dict[Text, Text]
    annotations: dict[Text, Text] = Field(default_factory=dict)
    startsAt: Annotated[
        str, StringConstraints(strict=True, pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$")
    ]
    fingerprint: Annotated[str, StringConstraints(strict=True, pattern=r"^[0-9a-f]{1,64}$")]
    generatorURL: Text = ""


class Body(_Strict):
    """One delivery."""

    version: Literal["4"]
    status: Literal["firing", "resolved"]
    groupKey: Text
    receiver: Text = ""
    alerts: list[AlertBody]
    truncatedAlerts: Annotated[int, Field(ge=0)] = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What the webhook accepts. All None: no authentication, which only the demo allows."""

    token: str | None = None
    user: str | None = None
    password: str | None = None

    @property
    def none_needed(self) -> bool:
        """Tell whether anybody may post."""
        return self.token is None and self.user is None

    def accept(self, header: str) -> bool:
        """Compare an Authorization header in constant time."""
        scheme, _, value = header.partition(" ")
        if scheme.lower() == "bearer" and self.token is not None:
            return _same(value.strip(), self.token)
        if scheme.lower() == "basic" and self.user is not None and self.password is not None:
            try:
                given = base64.b64decode(value.strip(), validate=True).decode()
            except (binascii.Error, ValueError):
                return False
            return _same(given, f"{self.user}:{self.password}")
        return False


def _same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), expected.encode())


class Webhook:
    """Answers `POST /v1/alertmanager`."""

    def __init__(self, ledger: Ledger, credentials: Credentials) -> None:
        self._ledger = ledger
        self._credentials = credentials

    async def receive(self, request: Request) -> Response:
        """Take one notification in; the answer names the incidents that it touched."""
        if not self._credentials.none_needed and not self._credentials.accept(request.headers.get("authorization", "")):
            challenge = {"WWW-Authenticate": 'Bearer realm="stopsign"'}
            return problem(
                401, "Not authenticated", "The webhook needs its bearer token or basic credentials.", headers=challenge
            )
        raw = await self._body(request)
        if isinstance(raw, Response):
            return raw
        try:
            body = Body.model_validate_json(raw)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"]) or "body"
            return problem(400, "Not an Alertmanager notification", f"{where}: {first['msg']}", where=where)
        command = intake.Receive(by=ALERTMANAGER, notification=notification_of(body))
        try:
            received = await self._ledger.decide(intake.receive, command)
        except NotCommitted as error:
            return of_error(error)
        return JSONResponse(
            {"incidents": list(received.incidents), "known": received.known, "ignored": len(received.ignored)}
        )

    async def _body(self, request: Request) -> bytes | Response:
        """Read the body, up to the limit and no byte more."""
        declared = request.headers.get("content-length", "")
        if declared.isascii() and declared.isdigit() and (len(declared) > 12 or int(declared) > MOST_BYTES):
            return _too_large()
        chunks: list[bytes] = []
        size = 0
        try:
            async for chunk in request.stream():
                size += len(chunk)
                if size > MOST_BYTES:
                    return _too_large()
                chunks.append(chunk)
        except ClientDisconnect:
            return problem(400, "Interrupted", "The connection ended before the body did; nothing was stored.")
        return b"".join(chunks)


def _too_large() -> Response:
    return problem(
        413,
        "Notification too large",
        "A notification has at most 16 MiB; set max_alerts, or group_by more labels.",
        headers={"Connection": "close"},
    )


def notification_of(body: Body) -> Notification:
    """Return the domain's value of a delivery."""
    return Notification(
        alerts=tuple(
            Alert(
                fingerprint=alert.fingerprint,
                starts_at=alert.startsAt,
                status=AlertStatus(alert.status),
                labels=alert.labels,
                annotations=alert.annotations,
                generator=alert.generatorURL,
            )
            for alert in body.alerts
        ),
        group_key=body.groupKey,
        truncated=body.truncatedAlerts,
    )
