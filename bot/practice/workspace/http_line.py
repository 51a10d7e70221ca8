"""The line to the bot's request URL: signed requests, and what their answers mean."""

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import httpx

from bot.practice.workspace.acks import ACK_SECONDS, Ack, Parcel, Sealed

_FORM = "application/x-www-form-urlencoded"


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """Return Slack's `v0` signature of a request body."""
    base = b"v0:" + timestamp.encode() + b":" + body
    return "v0=" + hmac.new(secret.encode(), base, hashlib.sha256).hexdigest()


class HttpLine:
    """Posts to `bot_url`; None means that the app has no request URL, and nothing arrives."""

    def __init__(self, *, bot_url: str | None, signing_secret: str, clock: Callable[[], float]) -> None:
        """Keep where to send and how to sign."""
        self.bot_url = bot_url
        self._secret = signing_secret
        self._clock = clock
        self._http: httpx.AsyncClient | None = None

    async def open(self) -> None:
        """Open the connections."""
        # Kept connections would turn a bot's restart into a failed delivery; Slack's are fresh often enough.
        limits = httpx.Limits(max_connections=50, max_keepalive_connections=0)
        self._http = httpx.AsyncClient(trust_env=False, timeout=2 * ACK_SECONDS, limits=limits)

    async def close(self) -> None:
        """Close the connections."""
        if self._http is not None:
            await self._http.aclose()

    def seal(self, parcel: Parcel) -> Sealed:
        """Return the signed request."""
        body, content_type = _body(parcel)
        timestamp = str(int(self._clock()))
        headers = {
            "content-type": content_type,
            "user-agent": "Slackbot 1.0 (+https://api.slack.com/robots)",
            "x-slack-request-timestamp": timestamp,
            "x-slack-signature": signature(self._secret, timestamp, body.encode()),
        }
        if parcel.retry:
            headers |= {"x-slack-retry-num": str(parcel.retry), "x-slack-retry-reason": parcel.reason}
        return Sealed(by="http", body=body, headers=headers)

    async def send(self, sealed: Sealed) -> Ack:
        """Post it; a 2xx in time is the acknowledgement."""
        if self._http is None:
            raise RuntimeError("the workspace is not running")
        if self.bot_url is None:
            return Ack(None, 0, error="dispatch_failed")
        began = time.perf_counter()
        try:
            async with asyncio.timeout(ACK_SECONDS):
                answer = await self._http.post(self.bot_url, content=sealed.body.encode(), headers=sealed.headers)
            return _read(answer, _since(began))
        except TimeoutError:
            return Ack(None, _since(began), error="operation_timeout")
        except httpx.HTTPError:
            return Ack(None, _since(began), error="dispatch_failed")

    def reason(self, ack: Ack) -> str:
        """Return the `x-slack-retry-reason`."""
        if ack.error == "operation_timeout":
            return "http_timeout"
        return "http_error" if ack.status else "connection_failed"


def _body(parcel: Parcel) -> tuple[str, str]:
    if parcel.envelope == "slash_commands":
        return urlencode(parcel.payload), _FORM
    text = json.dumps(parcel.payload, ensure_ascii=False)
    if parcel.envelope == "interactive":
        return urlencode({"payload": text}), _FORM
    return text, "application/json"


def _read(answer: httpx.Response, ms: int) -> Ack:
    retry = answer.headers.get("x-slack-no-retry") != "1"
    body: Any = answer.text
    if "json" in answer.headers.get("content-type", "") and body:
        try:
            body = answer.json()
        except ValueError:
            return Ack(answer.status_code, ms, body, "dispatch_failed", retry)
    error = None if answer.is_success else "dispatch_failed"
    return Ack(answer.status_code, ms, body or None, error, retry)


def _since(began: float) -> int:
    return round((time.perf_counter() - began) * 1000)
