"""What Slack sends to the bot: by socket while the app has one open, else to its request URL; events until acked."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

from bot.practice.workspace.acks import ACK_SECONDS, Ack, Json, Line, Parcel, Sealed
from bot.practice.workspace.failures import Faults
from bot.practice.workspace.http_line import HttpLine
from bot.practice.workspace.people import HOME_TEAM
from bot.practice.workspace.sockets import Sockets
from bot.practice.workspace.state import APP_ID, BOT_USER

REDELIVERY_SECONDS = (0.0, 60.0, 300.0)
KEPT = 5_000


class Deliveries:
    """Sends to one bot; `log` keeps the newest deliveries with their acknowledgements."""

    def __init__(
        self,
        *,
        http: HttpLine,
        sockets: Sockets,
        clock: Callable[[], float],
        faults: Faults,
        redelivery: Sequence[float] = REDELIVERY_SECONDS,
    ) -> None:
        """Use these lines; `redelivery` are the waits before each repeat of an event."""
        self.log: deque[Json] = deque(maxlen=KEPT)
        self.http = http
        self.sockets = sockets
        self._clock = clock
        self._faults = faults
        self._redelivery = tuple(redelivery)
        self._tasks: set[asyncio.Task[None]] = set()
        self._events = 0

    async def __aenter__(self) -> Self:
        """Open the connections."""
        await self.http.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Drop what is under way and close."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.sockets.close()
        await self.http.close()

    async def command(self, form: Mapping[str, str]) -> Ack:
        """Deliver a slash command."""
        return (await self._deliver(Parcel(kind="command", envelope="slash_commands", payload=dict(form))))[0]

    async def interaction(self, payload: Json) -> Ack:
        """Deliver an interactive payload: block_actions, view_submission, view_closed, message_action, shortcut, …"""
        return (await self._deliver(Parcel(kind=payload["type"], envelope="interactive", payload=payload)))[0]

    async def challenge(self) -> Ack:
        """Deliver a url_verification to the request URL; the bot must answer the challenge."""
        body = {"token": "practice", "challenge": "is-this-your-address", "type": "url_verification"}
        parcel = Parcel(kind="url_verification", envelope="events_api", payload=body)
        return await self._once(parcel, self.http, self.http.seal(parcel))

    def event(self, event: Json, *, shared: bool = False) -> None:
        """Deliver an event in the background, again up to as often as `redelivery` says until it is acknowledged."""
        self._events += 1
        authorization = {
            "enterprise_id": None,
            "team_id": HOME_TEAM,
            "user_id": BOT_USER,
            "is_bot": True,
            "is_enterprise_install": False,
        }
        payload = {
            "token": "practice",
            "team_id": HOME_TEAM,
            "context_team_id": HOME_TEAM,
            "context_enterprise_id": None,
            "api_app_id": APP_ID,
            "event": event,
            "type": "event_callback",
            "event_id": f"Ev{self._events:010d}",
            "event_time": int(self._clock()),
            "authorizations": [authorization],
            "is_ext_shared_channel": shared,
            "event_context": f"4-{self._events:010d}",
        }
        self.spawn(self._event_until_acked(Parcel(kind="event", envelope="events_api", payload=payload)))

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something in the background until it ends or the workspace closes."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _event_until_acked(self, parcel: Parcel) -> None:
        ack, line = await self._deliver(parcel)
        for number, wait in enumerate(self._redelivery, start=1):
            if ack.ok or not ack.retry:
                return
            await asyncio.sleep(wait)
            ack, line = await self._deliver(replace(parcel, retry=number, reason=line.reason(ack)))

    async def _deliver(self, parcel: Parcel) -> tuple[Ack, Line]:
        fault = self._faults.delivery(parcel.kind)
        if fault.latency_ms:
            await asyncio.sleep(fault.latency_ms / 1000)
        by_socket = self.sockets.connected or self.http.bot_url is None
        line: Line = self.sockets if by_socket else self.http
        sealed = line.seal(parcel)
        ack = await self._once(parcel, line, sealed)
        if fault.duplicate_delivery:
            await self._once(parcel, line, sealed)
        if fault.drop_after_processing:
            ack = Ack(None, int(ACK_SECONDS * 1000), error="operation_timeout")
        return ack, line

    async def _once(self, parcel: Parcel, line: Line, sealed: Sealed) -> Ack:
        ack = await line.send(sealed)
        self.log.append(
            {
                "kind": parcel.kind,
                "by": sealed.by,
                "at": self._clock(),
                "headers": sealed.headers,
                "body": sealed.body,
                "ack": ack.row(),
            }
        )
        return ack
