"""The line to the bot: signed requests, the three seconds to acknowledge, redelivered events."""

import asyncio
import hashlib
import hmac
import json
import time
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlencode

import httpx

from bot.practice.workspace.failures import Faults
from bot.practice.workspace.people import HOME_TEAM
from bot.practice.workspace.state import APP_ID, BOT_USER

Json = dict[str, Any]

ACK_SECONDS = 3.0
REDELIVERY_SECONDS = (0.0, 60.0, 300.0)
KEPT = 5_000
_FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class Ack:
    """What came of a delivery; `error` is None exactly when the bot acknowledged with a 2xx in time."""

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


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """Return Slack's `v0` signature of a request body."""
    base = b"v0:" + timestamp.encode() + b":" + body
    return "v0=" + hmac.new(secret.encode(), base, hashlib.sha256).hexdigest()


class Deliveries:
    """Sends to one bot; `log` keeps the newest deliveries with their acknowledgements."""

    def __init__(
        self,
        *,
        bot_url: str,
        signing_secret: str,
        clock: Callable[[], float],
        faults: Faults,
        redelivery: Sequence[float] = REDELIVERY_SECONDS,
    ) -> None:
        """Keep where to send and how to sign; `redelivery` are the waits before each repeat of an event."""
        self.log: deque[Json] = deque(maxlen=KEPT)
        self._bot_url = bot_url
        self._secret = signing_secret
        self._clock = clock
        self._faults = faults
        self._redelivery = tuple(redelivery)
        self._http: httpx.AsyncClient | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._events = 0

    async def __aenter__(self) -> Self:
        """Open the connections."""
        # Kept connections would turn a bot's restart into a failed delivery; Slack's are fresh often enough.
        limits = httpx.Limits(max_connections=50, max_keepalive_connections=0)
        self._http = httpx.AsyncClient(trust_env=False, timeout=2 * ACK_SECONDS, limits=limits)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Drop what is under way and close."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._http is not None:
            await self._http.aclose()

    async def command(self, form: Mapping[str, str]) -> Ack:
        """Deliver a slash command."""
        return await self._deliver("command", urlencode(form).encode(), _FORM, {})

    async def interaction(self, payload: Json) -> Ack:
        """Deliver an interactive payload: block_actions, view_submission, view_closed, message_action."""
        body = urlencode({"payload": json.dumps(payload, ensure_ascii=False)}).encode()
        return await self._deliver(payload["type"], body, _FORM, {})

    async def challenge(self) -> Ack:
        """Deliver a url_verification; the bot must answer the challenge."""
        body = {"token": "practice", "challenge": "is-this-your-address", "type": "url_verification"}
        return await self._deliver("url_verification", json.dumps(body).encode(), "application/json", {})

    def event(self, event: Json) -> None:
        """Deliver an event in the background, again up to as often as `redelivery` says until it is acknowledged."""
        self._events += 1
        envelope = {
            "token": "practice",
            "team_id": HOME_TEAM,
            "context_team_id": HOME_TEAM,
            "context_enterprise_id": None,
            "api_app_id": APP_ID,
            "event": event,
            "type": "event_callback",
            "event_id": f"Ev{self._events:010d}",
            "event_time": int(self._clock()),
            "authorizations": [
                {
                    "enterprise_id": None,
                    "team_id": HOME_TEAM,
                    "user_id": BOT_USER,
                    "is_bot": True,
                    "is_enterprise_install": False,
                }
            ],
            "is_ext_shared_channel": False,
            "event_context": f"4-{self._events:010d}",
        }
        self.spawn(self._event_until_acked(json.dumps(envelope, ensure_ascii=False).encode()))

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something in the background until it ends or the workspace closes."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _event_until_acked(self, body: bytes) -> None:
        ack = await self._deliver("event", body, "application/json", {})
        for number, wait in enumerate(self._redelivery, start=1):
            if ack.ok or not ack.retry:
                return
            await asyncio.sleep(wait)
            headers = {"x-slack-retry-num": str(number), "x-slack-retry-reason": _reason(ack)}
            ack = await self._deliver("event", body, "application/json", headers)

    async def _deliver(self, kind: str, body: bytes, content_type: str, headers: Mapping[str, str]) -> Ack:
        fault = self._faults.delivery(kind)
        if fault.latency_ms:
            await asyncio.sleep(fault.latency_ms / 1000)
        timestamp = str(int(self._clock()))
        signed = {
            "content-type": content_type,
            "user-agent": "Slackbot 1.0 (+https://api.slack.com/robots)",
            "x-slack-request-timestamp": timestamp,
            "x-slack-signature": signature(self._secret, timestamp, body),
            **headers,
        }
        ack = await self._once(kind, body, signed)
        if fault.duplicate_delivery:
            await self._once(kind, body, signed)
        if fault.drop_after_processing:
            ack = Ack(None, int(ACK_SECONDS * 1000), error="operation_timeout")
        return ack

    async def _once(self, kind: str, body: bytes, headers: Mapping[str, str]) -> Ack:
        if self._http is None:
            raise RuntimeError("the workspace is not running")
        began = time.perf_counter()
        try:
            async with asyncio.timeout(ACK_SECONDS):
                answer = await self._http.post(self._bot_url, content=body, headers=dict(headers))
            ack = _read_ack(answer, _since(began))
        except TimeoutError:
            ack = Ack(None, _since(began), error="operation_timeout")
        except httpx.HTTPError:
            ack = Ack(None, _since(began), error="dispatch_failed")
        row = {"kind": kind, "at": self._clock(), "headers": dict(headers), "body": body.decode(), "ack": ack.row()}
        self.log.append(row)
        return ack


def _read_ack(answer: httpx.Response, ms: int) -> Ack:
    retry = answer.headers.get("x-slack-no-retry") != "1"
    body: Any = answer.text
    if "json" in answer.headers.get("content-type", "") and body:
        try:
            body = answer.json()
        except ValueError:
            return Ack(answer.status_code, ms, body, "dispatch_failed", retry)
    error = None if answer.is_success else "dispatch_failed"
    return Ack(answer.status_code, ms, body or None, error, retry)


def _reason(ack: Ack) -> str:
    if ack.error == "operation_timeout":
        return "http_timeout"
    return "http_error" if ack.status else "connection_failed"


def _since(began: float) -> int:
    return round((time.perf_counter() - began) * 1000)
