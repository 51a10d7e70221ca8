"""The whole Slack side: a practice workspace, the real Bolt app behind its guard, a real ledger, a real worker."""

import asyncio
import hashlib
import hmac
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
import pytest_asyncio
import yaml
from sqlalchemy import text

from bot.chat import Chat, build
from bot.chat.manifest import manifest, scopes
from bot.domain.incident import Incident
from bot.domain.playbook import Verb
from bot.domain.policy import Policy
from bot.domain.team import Person, Team
from bot.domain.work import Work
from bot.ports import Kept
from bot.practice.workspace import Person as Account
from bot.practice.workspace import build as build_workspace
from bot.practice.workspace.app import APP_TOKEN
from bot.practice.workspace.client import People
from bot.practice.workspace.serving import served
from bot.worker import Worker
from tests.fakes import FrozenClock, Room, alert, config, room

SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
TOKEN = "xoxb-practice-token"
ACCOUNTS = [
    *(Account(id=f"U0{name.upper()}", name=name, real_name=name.capitalize()) for name in ("ada", "bo", "cyn", "dan")),
    Account(id="U0EVE", name="eve", real_name="Eve"),
    Account(id="U0MALLORY", name="mallory", real_name="Mallory"),
    Account(id="U0GUEST", name="gus", real_name="Gus", is_restricted=True),
    Account(id="U0OUT", name="olga", real_name="Olga", team_id="T0ELSEWHERE"),
]


EVENTS = yaml.safe_load(manifest(None, "/incident"))["settings"]["event_subscriptions"]["bot_events"]


class RealClock(FrozenClock):
    """Goes on by itself."""

    def now(self) -> datetime:
        """Return the machine's time."""
        return datetime.now(UTC)


class Shelf:
    """A vault in memory; what it never got is a draft."""

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}

    async def keep(self, chunks: AsyncIterator[bytes]) -> Kept:
        """Keep a stream."""
        whole = b"".join([chunk async for chunk in chunks])
        name = hashlib.sha256(whole).hexdigest()
        self.content[name] = whole
        return Kept(sha256=name, size=len(whole))

    def read(self, sha256: str) -> bytes:
        """Return what was kept, or a draft."""
        return self.content.get(sha256, b"# Postmortem\n\nDraft.")


@dataclass
class Stage:
    """What a test plays on. `buried` collects what the worker gave up."""

    room: Room
    hands: People
    chat: Chat
    worker: Worker
    bot_url: str
    buried: list[tuple[str, str]]
    shelf: Shelf

    async def opened(self, *signers: str) -> Incident:
        """Receive an equivocation alert and wait until its channel is furnished and everybody is in it."""
        await self.room.receive(*(alert(signer=s) for s in signers or ("s01",)))
        incident = await self.until(lambda i: i.header is not None)
        await self.hands.until(
            lambda s: any(c["id"] == incident.channel and "U0DAN" in c["members"] for c in s["channels"])
        )
        return incident

    async def until(self, fits: Callable[[Incident], bool], number: int = 1) -> Incident:
        """Return the incident once it fits."""
        async with asyncio.timeout(8):
            while True:
                found = await self.room.ledger.read(lambda rows: rows.incident(number))
                if found is not None and fits(found):
                    return found
                await asyncio.sleep(0.02)

    async def idle(self) -> None:
        """Wait until no work of ours is due any more."""

        def due(rows: Any) -> int:
            kinds = ",".join(f"'{kind}'" for kind in self.chat.handlers)
            query = text(f"SELECT count(*) FROM work WHERE state='ready' AND kind IN ({kinds}) AND due_at < :soon")
            return int(rows._do(query, {"soon": time.time() + 60}).scalar())

        async with asyncio.timeout(12):
            while await self.room.ledger.read(due):
                await asyncio.sleep(0.03)

    async def message(self, channel: str, ts: str) -> dict[str, Any]:
        """Return one message."""
        return next(m for m in await self.hands.messages(channel) if m["ts"] == ts)

    async def find(self, channel: str, words: str) -> dict[str, Any]:
        """Return the newest message whose fallback has these words, once it is there."""
        async with asyncio.timeout(8):
            while True:
                found = [m for m in await self.hands.messages(channel) if words in m["text"]]
                if found:
                    return found[-1]
                await asyncio.sleep(0.03)

    async def direct(self, user: str) -> str:
        """Return the id of the bot's direct messages with somebody, once they are open."""
        state = await self.hands.until(lambda s: any(c["kind"] == "im" and user in c["members"] for c in s["channels"]))
        return next(str(c["id"]) for c in state["channels"] if c["kind"] == "im" and user in c["members"])

    async def told(self, user: str, words: str) -> dict[str, Any]:
        """Return the ephemeral message to somebody that has these words, once it is there."""
        state = await self.hands.until(lambda s: any(words in m["text"] for m in s["notices"].get(user, [])))
        return next(m for m in state["notices"][user] if words in m["text"])

    async def run(self, verb: Verb, state: Any) -> None:
        """Let planned steps end in a state."""
        await self.room.run(verb, state)

    async def post(self, body: bytes, headers: dict[str, str]) -> httpx.Response:
        """Send a raw request to the bot."""
        async with httpx.AsyncClient(trust_env=False) as client:
            return await client.post(self.bot_url, content=body, headers=headers)


def signed(body: bytes, *, at: float | None = None, secret: str = SECRET) -> dict[str, str]:
    """Return the headers of a request that Slack signed."""
    timestamp = str(int(at if at is not None else time.time()))
    mac = hmac.new(secret.encode(), b"v0:" + timestamp.encode() + b":" + body, hashlib.sha256).hexdigest()
    return {
        "content-type": "application/x-www-form-urlencoded",
        "x-slack-request-timestamp": timestamp,
        "x-slack-signature": f"v0={mac}",
    }


def slash(
    text: str, *, user: str = "U0ADA", channel: str = "C1", trigger: str = "t.1", team: str = "T0PRACTICE"
) -> bytes:
    """Return a slash command's body."""
    form = {
        "command": "/incident",
        "text": text,
        "user_id": user,
        "team_id": team,
        "channel_id": channel,
        "channel_name": "general",
        "trigger_id": trigger,
        "response_url": "http://127.0.0.1:9/respond/x",
    }
    return urlencode(form).encode()


def crew() -> Team:
    """Return the usual team, with a guest's and an outsider's account added by mistake."""
    found = config().team
    extra = {
        n: Person(id=n, name=n.capitalize(), slack=f"U0{n.upper()}", powers=found.people["ada"].powers)
        for n in ("guest", "out")
    }
    return replace(found, people={**found.people, **extra})


@pytest.fixture
def spacing() -> float:
    """Seconds between two messages in a channel; a test of the pace overrides it."""
    return 0.0


@pytest.fixture
def policy() -> Policy:
    """The operator's choices; a test of one of them overrides it."""
    return Policy(stakeholder_channel="avs-operators")


@pytest_asyncio.fixture
async def stage(tmp_path: Path, spacing: float, policy: Policy) -> AsyncIterator[Stage]:
    """Everything, running."""
    async with staged(tmp_path, spacing, policy) as set_up:
        yield set_up


@asynccontextmanager
async def staged(
    folder: Path, spacing: float = 0.0, policy: Policy | None = None, *, socket: bool = False
) -> AsyncIterator[Stage]:
    """Run everything, on a database in `folder`; with `socket` Slack has no address of ours, and we call it."""
    chosen = config(team=crew(), policy=policy or Policy(stakeholder_channel="avs-operators"))
    holder: dict[str, Any] = {}

    async def bot(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        await holder["asgi"](scope, receive, send)

    async with room(folder, chosen, RealClock()) as spine, served(bot) as base:
        url = f"{base}/slack/events"
        workspace = build_workspace(
            bot_url=None if socket else url,
            signing_secret=SECRET,
            bot_token=TOKEN,
            people=ACCOUNTS,
            rate_limits=False,
            scopes=scopes(),
            events=EVENTS,
            redelivery=(0.0, 0.05),
        )
        shelf = Shelf()
        async with served(workspace) as slack, People(slack) as hands:
            chat = build(
                ledger=spine.ledger,
                bot_token=TOKEN,
                signing_secret=None if socket else SECRET,
                app_token=APP_TOKEN if socket else None,
                api_url=f"{slack}/api/",
                command="/incident",
                public_url="https://stopsign.example",
                blobs=shelf,
                clock=spine.clock,
                spacing=spacing,
            )
            holder["asgi"] = chat.asgi
            if chat.socket:
                chat.socket.start()
            buried: list[tuple[str, str]] = []

            async def bury(work: Work, why: str) -> None:
                buried.append((work.key, why))

            worker = Worker(spine.claims, chat.handlers, clock=spine.clock, buried=bury)
            spine.database.on_commit(worker.wake)
            task = asyncio.create_task(worker.run())
            try:
                yield Stage(spine, hands, chat, worker, url, buried, shelf)
            finally:
                await worker.close()
                await task
                await chat.aclose()
