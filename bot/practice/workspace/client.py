"""A client of the practice API: the people of scenario and tests act through it, over HTTP only."""

import asyncio
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

import httpx

Json = dict[str, Any]
BRIEF = httpx.Limits(keepalive_expiry=2)
"""Idle connections are dropped before the server drops them (after five seconds), which could meet a request."""


class Impossible(Exception):
    """The person could not do that in Slack either; nobody was told. The body says why."""

    def __init__(self, body: Json) -> None:
        """Keep the workspace's answer."""
        super().__init__(body.get("error", "bad_request"), body)
        self.body = body


class People:
    """The hands of everybody in the workspace at `base_url`."""

    def __init__(self, base_url: str) -> None:
        """Use the workspace at this address."""
        self._http = httpx.AsyncClient(base_url=base_url, trust_env=False, timeout=30, limits=BRIEF)

    async def __aenter__(self) -> Self:
        """Return itself."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def act(self, act: str, **body: Any) -> Json:
        """Do something by its name under /practice/; raises Impossible."""
        answer = await self._http.post(f"/practice/{act}", json=body)
        found: Json = answer.json()
        if answer.status_code != httpx.codes.OK:
            raise Impossible(found)
        return found

    async def command(self, user: str, channel: str, text: str, *, wait_view: bool = False) -> Json:
        """Type a slash command."""
        return await self.act("command", user=user, channel=channel, text=text, wait_view=wait_view)

    async def press(self, user: str, channel: str, ts: str, action_id: str, **more: Any) -> Json:
        """Press a button or pick from a menu in a message; `more` is block_id, value, selected_…, wait_view."""
        return await self.act("press", user=user, channel=channel, ts=ts, action_id=action_id, **more)

    async def submit(self, user: str, values: Mapping[str, Any], **more: Any) -> Json:
        """Submit the modal that is on top."""
        return await self.act("submit", user=user, values=dict(values), **more)

    async def say(self, user: str, channel: str, text: str, **more: Any) -> Json:
        """Write a message and return it."""
        message: Json = (await self.act("say", user=user, channel=channel, text=text, **more))["message"]
        return message

    async def fail(self, *rules: Mapping[str, Any]) -> None:
        """Put these faults in place of all others; none clears."""
        await self.act("fail", rules=[dict(rule) for rule in rules])

    async def state(self) -> Json:
        """Return everything in the workspace."""
        found: Json = (await self._http.get("/practice/state")).json()
        return found

    async def channel(self, name: str) -> Json:
        """Return the channel of that name; raises LookupError."""
        for channel in (await self.state())["channels"]:
            if channel["name"] == name:
                return dict(channel)
        raise LookupError(name)

    async def messages(self, channel: str) -> list[Json]:
        """Return the messages of a channel, given by id or name."""
        answer = await self._http.get(f"/practice/channels/{channel}/messages")
        found: list[Json] = answer.json()["messages"]
        return found

    async def calls(self, method: str | None = None) -> list[Json]:
        """Return the bot's API calls with arguments and results, the oldest first."""
        answer = await self._http.get("/practice/calls", params={"method": method} if method else {})
        found: list[Json] = answer.json()["calls"]
        return found

    async def deliveries(self) -> list[Json]:
        """Return what was delivered to the bot, with its acknowledgements."""
        found: list[Json] = (await self._http.get("/practice/deliveries")).json()["deliveries"]
        return found

    async def until(self, fits: Callable[[Json], bool], *, seconds: float = 5.0) -> Json:
        """Return the first state that fits; raises TimeoutError."""
        async with asyncio.timeout(seconds):
            while not fits(state := await self.state()):  # noqa: ASYNC110 - the workspace is another process
                await asyncio.sleep(0.02)
            return state
