"""Socket Mode: the same listeners over a connection that we open, for a bot that Slack cannot reach.

slack_sdk's own client tries a used address for ever when a connection fails, logs addresses with their ticket, and
closes the old connection before it opens the new one, losing what arrives between. So the protocol, which is small, is
spoken here: `apps.connections.open`, `hello`, envelopes, `disconnect`. Nothing in it is signed: that it comes through
the connection which our token opened is what vouches for it.
"""

import asyncio
import hashlib
import json
import logging
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import aiohttp
from slack_bolt.async_app import AsyncApp
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_bolt.response import BoltResponse

from bot.chat.client import Slack
from bot.chat.guard import Replays
from bot.errors import ChatError, ChatLost

log = logging.getLogger(__name__)

PATIENCE = 10.0
"""Seconds for the handshake, and again for Slack's hello."""
HEARTBEAT = 10.0
"""Seconds between our pings; one that is not answered within half of that ends the connection."""
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
STEADY = 30.0
"""A connection that lasted so many seconds was a good one: the next is opened at once."""
LINGER = 30.0
"""Seconds for which an old connection is still read after Slack asked for a new one."""
MOST_AT_ONCE = 64
OFF = "link_disabled"


@dataclass(eq=False, slots=True)
class Line:
    """One connection: `greeted` once Slack said hello, `over` once another one has to be opened."""

    ws: aiohttp.ClientWebSocketResponse
    greeted: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)


class Socket:
    """Keeps one connection open for as long as it runs; nothing that happens on it ends that."""

    def __init__(self, *, app: AsyncApp, slack: Slack, app_token: str, now: Callable[[], datetime]) -> None:
        self._app = app
        self._slack = slack
        self._token = app_token
        self._now = now
        self._replays = Replays()
        self._http: aiohttp.ClientSession | None = None
        self._lines: set[Line] = set()
        self._readers: set[asyncio.Task[None]] = set()
        self._acts: set[asyncio.Task[None]] = set()
        self._keeper: asyncio.Task[None] | None = None

    @property
    def connected(self) -> bool:
        """Tell whether Slack can reach us now."""
        return any(line.greeted.is_set() and not line.over.is_set() for line in self._lines)

    def start(self) -> None:
        """Begin to connect; needs a running loop."""
        self._keeper = asyncio.create_task(self._kept(), name="slack socket")

    async def stop(self) -> None:
        """Take nothing more, let what has begun be acknowledged for a moment, hang up."""
        lines, tasks = list(self._lines), [*([self._keeper] if self._keeper else []), *self._readers]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._acts:
            await asyncio.wait(self._acts, timeout=3)
        for line in lines:
            await line.ws.close()
        for act in self._acts:
            act.cancel()
        if self._http is not None:
            await self._http.close()

    # ---- the connection

    async def _kept(self) -> None:
        """Have a connection, and another when it is over, for ever."""
        tries = 0
        while True:
            began = time.monotonic()
            pause, why = 0.0, ""
            try:
                line = await self._opened()
                log.info("Slack's socket is open")
                await line.over.wait()
            except (ChatError, aiohttp.ClientError, TimeoutError, OSError) as error:
                pause, why = getattr(error, "after", 0.0), _told(error)
            except Exception as error:
                log.exception("Slack's socket broke")
                why = type(error).__name__
            tries = 0 if time.monotonic() - began > STEADY else tries + 1
            if why or tries > 1:
                pause = max(pause, pause_after(tries))
                log.warning("Slack's socket is closed%s; again in %.0f s", f" ({why})" if why else "", pause)
                await asyncio.sleep(pause)

    async def _opened(self) -> Line:
        """Return a connection on which Slack has said hello; raises when there is none."""
        address = await self._slack.socket_address(self._token)
        if self._http is None or self._http.closed:
            self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None))
        async with asyncio.timeout(PATIENCE):
            ws = await self._http.ws_connect(address, proxy=self._slack.proxy, heartbeat=HEARTBEAT)
        line = Line(ws)
        self._lines.add(line)
        reader = asyncio.create_task(self._read(line), name="slack socket reader")
        self._readers.add(reader)
        reader.add_done_callback(self._readers.discard)
        await _first(line.greeted, line.over)
        if not line.greeted.is_set():
            line.over.set()
            await ws.close()
            raise ChatLost("Slack opened a socket and did not say hello")
        return line

    async def _read(self, line: Line) -> None:
        """Take what comes until the connection ends, or for a while after a new one was asked for."""
        fading = asyncio.create_task(self._faded(line))
        try:
            async for message in line.ws:
                if message.type is aiohttp.WSMsgType.TEXT:
                    self._took(line, message.data)
                while len(self._acts) >= MOST_AT_ONCE:
                    await asyncio.wait(self._acts, return_when=asyncio.FIRST_COMPLETED)
        except (aiohttp.ClientError, OSError) as error:
            log.warning("Slack's socket was lost: %s", _told(error))
        except Exception:  # the line's outermost edge: another one is opened
            log.exception("Slack's socket broke")
        finally:
            fading.cancel()
            line.over.set()
            self._lines.discard(line)

    async def _faded(self, line: Line) -> None:
        """Hang up some time after Slack asked for a new connection, if Slack does not."""
        await line.over.wait()
        await asyncio.sleep(LINGER)
        await line.ws.close()

    def _took(self, line: Line, text: str) -> None:
        """Begin what one message asks for."""
        try:
            envelope = json.loads(text)
            kind = envelope.get("type")
        except (ValueError, AttributeError, RecursionError):
            log.warning("Slack's socket gave something that cannot be read")
            return
        if kind == "hello":
            line.greeted.set()
        elif kind == "disconnect":
            if envelope.get("reason") == OFF:
                log.error("Socket Mode is switched off for the app: switch it on at api.slack.com/apps, Socket Mode")
            line.over.set()
        elif envelope.get("envelope_id") and isinstance(envelope.get("payload"), dict):
            act = asyncio.create_task(self._acted(line, envelope))
            self._acts.add(act)
            act.add_done_callback(self._acts.discard)

    # ---- what comes over it

    async def _acted(self, line: Line, envelope: Mapping[str, Any]) -> None:
        """Hand one envelope to the listeners and acknowledge it; what came before is acknowledged without effect.

        What could not be stored is not acknowledged: Slack sends it again, and then it is new.
        """
        name = _name(envelope["payload"])
        first = self._replays.first(name, self._now())
        if first is not None:
            if await asyncio.shield(first) == 200:
                await self._acknowledge(line, envelope, None)
            return
        status = 500
        try:
            answer = await self._app.async_dispatch(_request(envelope))
            status = answer.status
        except Exception:
            log.exception("something that came over Slack's socket failed")
        finally:
            self._replays.answered(name, status)
        if status == 200:
            await self._acknowledge(line, envelope, answer)

    async def _acknowledge(self, line: Line, envelope: Mapping[str, Any], answer: BoltResponse | None) -> None:
        ack: dict[str, Any] = {"envelope_id": envelope["envelope_id"]}
        if answer is not None and answer.body and envelope.get("accepts_response_payload", True):
            ack["payload"] = _payload(answer)
        # Any open connection will do, but the one on which it came is surest.
        for one in [line, *(other for other in self._lines if other is not line)]:
            try:
                await one.ws.send_str(json.dumps(ack))
            except (aiohttp.ClientError, OSError):
                continue
            return
        log.warning("an acknowledgement found no open socket: Slack will send that again")


def pause_after(tries: int) -> float:
    """Return the seconds to wait after so many tries in a row: doubled each time up to a minute, never in step."""
    return float(min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(max(tries, 1) - 1, 10)) * (0.5 + random.random() / 2))  # noqa: S311 - jitter


def _request(envelope: Mapping[str, Any]) -> AsyncBoltRequest:
    headers: dict[str, str | Sequence[str]] = {"content-type": ["application/json"]}
    if envelope.get("retry_attempt"):
        headers["x-slack-retry-num"] = [str(envelope["retry_attempt"])]
        headers["x-slack-retry-reason"] = [str(envelope.get("retry_reason") or "")]
    return AsyncBoltRequest(mode="socket_mode", body=envelope["payload"], headers=headers)


def _payload(answer: BoltResponse) -> Any:
    try:
        return json.loads(answer.body)
    except ValueError:
        return {"text": answer.body}


def _name(payload: Mapping[str, Any]) -> bytes:
    """Return what is the same for the same act: a repeat has another envelope, and the same payload."""
    if isinstance(payload.get("event_id"), str):
        return str(payload["event_id"]).encode()
    return hashlib.sha256(json.dumps(payload, sort_keys=True).encode()).digest()


async def _first(*events: asyncio.Event) -> None:
    """Wait until one of them is set, or for `PATIENCE` seconds."""
    waits = [asyncio.create_task(event.wait()) for event in events]
    await asyncio.wait(waits, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
    await asyncio.gather(*waits, return_exceptions=True)


def _told(error: Exception) -> str:
    """Return an error without the connection's address, in which a ticket stands."""
    if isinstance(error, aiohttp.WSServerHandshakeError):
        return f"the handshake was answered with {error.status}"
    return str(error) if isinstance(error, ChatError) else type(error).__name__
