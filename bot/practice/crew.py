"""People of the demo, acting through the practice workspace's hands: they read messages and press what they see."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx

Json = dict[str, Any]
T = TypeVar("T")

PEOPLE: tuple[Json, ...] = (
    {"id": "U0ADA", "name": "ada", "real_name": "Ada (IC)"},
    {"id": "U0BO", "name": "bo", "real_name": "Bo (Comms)"},
    {"id": "U0CYN", "name": "cyn", "real_name": "Cyn (Ops)"},
    {"id": "U0DAN", "name": "dan", "real_name": "Dan (Evidence)"},
    {"id": "U0YOU", "name": "you", "real_name": "You"},
)


class Missed(AssertionError):
    """Something that should have happened did not, within its time."""


class Moved(Missed):
    """The button was there when the person looked, and gone when the finger came down."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Button:
    """A button on a message: where it is and what it says."""

    channel: str
    ts: str
    action_id: str
    block_id: str
    text: str
    value: str


class Crew:
    """Everybody's hands and eyes in one workspace."""

    def __init__(self, client: httpx.AsyncClient, url: str, *, command: str = "/incident") -> None:
        self._client = client
        self._url = url
        self._command = command

    async def state(self) -> Json:
        """Return all that there is to see in the workspace."""
        answer = await self._client.get(f"{self._url}/practice/state")
        state: Json = answer.raise_for_status().json()
        return state

    async def type(self, user: str, channel: str, text: str) -> str:
        """Type a slash command; return what the person is answered."""
        told = await self._act("command", user=user, channel=channel, text=f"{self._command} {text}")
        return " ".join(str(message.get("text", "")) for message in told.get("saw", []))

    async def press(self, user: str, button: Button, *, wait_view: bool = False) -> Json:
        """Press a button."""
        return await self._act(
            "press",
            user=user,
            channel=button.channel,
            ts=button.ts,
            action_id=button.action_id,
            block_id=button.block_id,
            wait_view=wait_view,
        )

    async def find_and_press(self, user: str, what: Callable[[Button], bool], *, within: float = 20, why: str) -> None:
        """Find a button and press it; when the message was updated under the person's finger, look and press again."""
        for _ in range(3):
            button = await self.find(user, what, within=within, why=why)
            try:
                await self.press(user, button)
            except Moved:
                continue
            return
        raise Missed(f"the button kept moving: {why}")

    async def submit(self, user: str, view: Json, text: str) -> Json:
        """Fill every text field of a modal with `text` and submit it."""
        values = {
            block["block_id"]: {block["element"]["action_id"]: text}
            for block in view["blocks"]
            if block["type"] == "input" and block["element"]["type"] == "plain_text_input"
        }
        return await self._act("submit", user=user, view_id=view["id"], values=values)

    async def say(self, user: str, channel: str, text: str) -> str:
        """Post a message; return its ts."""
        told = await self._act("say", user=user, channel=channel, text=text)
        return str(told["message"]["ts"])

    async def pin(self, user: str, channel: str, ts: str) -> None:
        """Put a pushpin on a message."""
        await self._act("react", user=user, channel=channel, ts=ts, name="pushpin")

    async def find(self, user: str, what: Callable[[Button], bool], *, within: float = 20, why: str) -> Button:
        """Wait until the person sees a button that `what` accepts; the newest counts. Raises Missed."""

        async def look() -> Button | None:
            found = [button for button in buttons(await self.state(), user) if what(button)]
            return max(found, key=lambda button: float(button.ts)) if found else None

        return await until(look, within=within, why=why)

    async def channel(self, prefix: str, *, within: float = 20) -> Json:
        """Wait for a channel whose name begins with `prefix`; return it."""

        async def look() -> Json | None:
            return next((c for c in (await self.state())["channels"] if str(c["name"]).startswith(prefix)), None)

        return await until(look, within=within, why=f"a channel {prefix}…")

    async def _act(self, act: str, **body: Any) -> Json:
        answer = await self._client.post(f"{self._url}/practice/{act}", json=body)
        told: Json = answer.json()
        if answer.status_code >= 400:
            kind = Moved if told.get("error") in {"action_not_found", "message_not_found"} else Missed
            raise kind(f"{act} by {body.get('user')}: the workspace says {told.get('error')} {told.get('detail', '')}")
        return told


async def until(look: Callable[[], Awaitable[T | None]], *, within: float, why: str) -> T:
    """Call `look` until it returns something; raise Missed with `why` after `within` seconds."""
    loop = asyncio.get_running_loop()
    end = loop.time() + within
    while True:
        if found := await look():
            return found
        if loop.time() > end:
            raise Missed(f"waited {within:.0f} s in vain for {why}")
        await asyncio.sleep(0.15)


def buttons(state: Json, user: str) -> Iterator[Button]:
    """Yield the buttons on all messages that a person can see."""
    for channel in state["channels"]:
        if user not in channel["members"]:
            continue
        for message in channel["messages"]:
            if message.get("ephemeral_to") not in {None, user}:
                continue
            yield from _buttons(str(channel["id"]), message)


def _buttons(channel: str, message: Json) -> Iterator[Button]:
    for block in message.get("blocks") or []:
        elements = [*block.get("elements", []), *([block["accessory"]] if "accessory" in block else [])]
        for element in elements:
            if element.get("type") == "button":
                yield Button(
                    channel=channel,
                    ts=str(message["ts"]),
                    action_id=element["action_id"],
                    block_id=block["block_id"],
                    text=element["text"]["text"],
                    value=element.get("value", ""),
                )
