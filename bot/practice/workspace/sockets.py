"""Socket Mode: the websockets that the app has opened, and the envelopes that go over them.

Each envelope goes to exactly one of up to ten connections; the answer `{envelope_id, payload?}` acknowledges it.
"""

import asyncio
import itertools
import json
import secrets
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from bot.practice.workspace.acks import ACK_SECONDS, Ack, Parcel, Sealed
from bot.practice.workspace.refusals import Json, Refusal
from bot.practice.workspace.state import APP_ID

CONNECTIONS_MAX = 10
TICKET_SECONDS = 30.0
LIFE_SECONDS = 3_600
# What a connection may be told before it is closed, and how long it then still has; `drop` is told nothing.
LEAVE_SECONDS = {"warning": 10.0, "refresh_requested": 1.0, "link_disabled": 0.0, "drop": 0.0}


@dataclass(slots=True, eq=False)
class Connection:
    """One open websocket and the envelopes on it that wait for an answer."""

    number: int
    socket: WebSocket
    waiting: dict[str, asyncio.Future[Any]] = field(default_factory=dict)
    acked: int = 0
    leaving: bool = False


class Sockets:
    """All connections of the app."""

    def __init__(self) -> None:
        """Start without any."""
        self._tickets: dict[str, float] = {}
        self._open: list[Connection] = []
        self._numbers = itertools.count(1)
        self._turns = itertools.count()
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def connected(self) -> bool:
        """Return whether the app listens on a socket."""
        return bool(self._open)

    def rows(self) -> list[Json]:
        """Return the open connections for people."""
        return [{"number": one.number, "acked": one.acked, "waiting": len(one.waiting)} for one in self._open]

    def ticket(self) -> str:
        """Return what opens one connection within half a minute."""
        ticket = str(uuid.uuid4())
        self._tickets[ticket] = time.monotonic()
        return ticket

    async def serve(self, socket: WebSocket) -> None:
        """Keep one connection until either side closes it."""
        issued = self._tickets.pop(socket.query_params.get("ticket", ""), None)
        if issued is None or time.monotonic() - issued > TICKET_SECONDS:
            await socket.close(code=4001)
            return
        await socket.accept()
        if len(self._open) >= CONNECTIONS_MAX:
            await socket.send_json(_disconnect("too_many_websockets"))
            await socket.close()
            return
        one = Connection(next(self._numbers), socket)
        self._open.append(one)
        try:
            await socket.send_json(self._hello())
            while True:
                self._answered(await socket.receive_text(), one)
        except (WebSocketDisconnect, RuntimeError):
            return
        finally:
            self._gone(one)

    def _hello(self) -> Json:
        return {
            "type": "hello",
            "num_connections": len(self._open),
            "debug_info": {"host": "applink-practice", "build_number": 1, "approximate_connection_time": LIFE_SECONDS},
            "connection_info": {"app_id": APP_ID},
        }

    def _answered(self, text: str, one: Connection) -> None:
        """Take an answer; one that is late, unknown or no JSON object is passed over, as Slack does."""
        try:
            body = json.loads(text)
        except ValueError:
            return
        if not isinstance(body, dict):
            return
        for connection in (one, *self._open):
            waiting = connection.waiting.pop(str(body.get("envelope_id")), None)
            if waiting is not None and not waiting.done():
                one.acked += 1
                waiting.set_result(body.get("payload"))
                return

    def _gone(self, one: Connection) -> None:
        if one in self._open:
            self._open.remove(one)
        for waiting in one.waiting.values():
            if not waiting.done():
                waiting.set_exception(ConnectionError("closed before an answer came"))

    def seal(self, parcel: Parcel) -> Sealed:
        """Return the envelope."""
        envelope: Json = {
            "envelope_id": str(uuid.UUID(bytes=secrets.token_bytes(16), version=4)),
            "payload": parcel.payload,
            "type": parcel.envelope,
            "accepts_response_payload": parcel.envelope != "events_api",
        }
        if parcel.envelope == "events_api":
            envelope |= {"retry_attempt": parcel.retry, "retry_reason": parcel.reason}
        return Sealed(
            by="socket",
            body=json.dumps(envelope, ensure_ascii=False),
            id=str(envelope["envelope_id"]),
            answers=bool(envelope["accepts_response_payload"]),
        )

    async def send(self, sealed: Sealed) -> Ack:
        """Send it over the connection whose turn it is; the answer's payload counts only where it is accepted."""
        began = time.perf_counter()

        def since() -> int:
            return round((time.perf_counter() - began) * 1000)

        chosen = [one for one in self._open if not one.leaving] or self._open
        if not chosen:
            return Ack(None, 0, error="dispatch_failed")
        one = chosen[next(self._turns) % len(chosen)]
        one.waiting[sealed.id] = answer = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(ACK_SECONDS):
                await one.socket.send_text(sealed.body)
                payload = await answer
            return Ack(200, since(), payload if sealed.answers else None)
        except TimeoutError:
            return Ack(None, since(), error="operation_timeout")
        except (ConnectionError, WebSocketDisconnect, RuntimeError):
            return Ack(None, since(), error="dispatch_failed")
        finally:
            one.waiting.pop(sealed.id, None)

    def reason(self, ack: Ack) -> str:
        """Return the `retry_reason`; over a socket Slack knows no other."""
        return "timeout"

    async def disconnect(self, reason: str, number: int | None = None) -> int:
        """Tell connections (all, or one by its number) that they will be closed, and return how many there were.

        The app has LEAVE_SECONDS to come back on another connection, which then gets what there is to deliver.
        """
        if reason not in LEAVE_SECONDS:
            raise Refusal("unknown_reason", extra={"reasons": list(LEAVE_SECONDS)})
        chosen = [one for one in self._open if number in (None, one.number)]
        for one in chosen:
            if reason != "drop":
                await one.socket.send_json(_disconnect(reason))
            one.leaving = True
            task = asyncio.create_task(self._close(one, LEAVE_SECONDS[reason]))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
        return len(chosen)

    async def close(self) -> None:
        """Forget what is still to be closed; the server closes all connections when it stops."""
        for task in self._closing:
            task.cancel()
        await asyncio.gather(*self._closing, return_exceptions=True)

    async def _close(self, one: Connection, seconds: float) -> None:
        await asyncio.sleep(seconds)
        if one in self._open:
            self._gone(one)
            await one.socket.close(code=1001)


def _disconnect(reason: str) -> Json:
    return {"type": "disconnect", "reason": reason, "debug_info": {"host": "applink-practice"}}
