"""A workspace on a free port with a small real Bolt app on the other side."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, async_playwright
from slack_bolt.adapter.starlette.async_handler import AsyncSlackRequestHandler
from slack_bolt.async_app import AsyncApp
from slack_sdk.web.async_client import AsyncWebClient
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bot.practice.workspace import Person, build
from bot.practice.workspace.client import People
from bot.practice.workspace.office import Office
from bot.practice.workspace.serving import served

SECRET = "8f742231b10e8888abcd99yyyzzz85a5"
TOKEN = "xoxb-practice-token"
APP_TOKEN = "xapp-practice-token"
CHROMIUM = Path("/usr/bin/chromium")
SWITCHES = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PEOPLE = [
    Person(id="U0ANNA", name="anna", real_name="Anna Berg", tz="Europe/Berlin"),
    Person(id="U0BEN", name="ben", real_name="Ben Okafor", tz="Africa/Lagos"),
    Person(id="U0GUEST", name="gus", real_name="Gus Guest", is_restricted=True),
    Person(id="U0GONE", name="gone", real_name="Gone Girl", deleted=True),
    Person(id="U0OUT", name="olga", real_name="Olga Outside", team_id="T0ELSEWHERE"),
]

INPUT: dict[str, Any] = {
    "type": "input",
    "block_id": "summary",
    "label": {"type": "plain_text", "text": "Summary"},
    "element": {"type": "plain_text_input", "action_id": "text", "max_length": 100},
}


def modal(title: str = "Declare", **more: Any) -> dict[str, Any]:
    """Return a modal with one required input."""
    return {
        "type": "modal",
        "callback_id": "declare",
        "notify_on_close": True,
        "private_metadata": "kept",
        "title": {"type": "plain_text", "text": title},
        "submit": {"type": "plain_text", "text": "Go"},
        "blocks": [INPUT],
        **more,
    }


def header(text: str = "frozen 0 of 3") -> list[dict[str, Any]]:
    """Return an incident header with a button and two menus."""
    button = {
        "type": "button",
        "action_id": "freeze",
        "value": "inc-1",
        "style": "danger",
        "text": {"type": "plain_text", "text": "Freeze"},
    }
    options = [{"text": {"type": "plain_text", "text": word}, "value": word} for word in ("ic", "ops")]
    role = {"type": "static_select", "action_id": "role", "options": options}
    person = {"type": "users_select", "action_id": "person"}
    return [
        {"type": "header", "text": {"type": "plain_text", "text": text}},
        {"type": "actions", "block_id": "acts", "elements": [button, role, person]},
    ]


@pytest.fixture
def heard() -> list[tuple[str, dict[str, Any]]]:
    """What the bot's listeners were called with: (name, body), in order."""
    return []


def bolt_app(heard: list[tuple[str, dict[str, Any]]], web: AsyncWebClient) -> AsyncApp:
    """Return a Bolt app that knows a little of everything."""
    app = AsyncApp(client=web, signing_secret=SECRET)

    @app.command("/incident")
    async def command(ack: Any, body: dict[str, Any], client: AsyncWebClient, respond: Any) -> None:
        heard.append(("command", body))
        word = body.get("text", "")
        if word == "slow":
            await asyncio.sleep(3.2)
        if word == "crash":
            raise ValueError("no ack")
        if word == "public":
            await ack(response_type="in_channel", text="for *all*")
        elif word == "bad":
            await ack(blocks=[{"type": "header", "text": {"type": "mrkdwn", "text": "no"}}], text="x")
        elif word in ("", "list"):
            await ack(text="no open incidents")
        else:
            await ack()
        if word in ("declare", "late"):
            await asyncio.sleep(3.1 if word == "late" else 0)
            await client.views_open(trigger_id=body["trigger_id"], view=modal())
        if word == "answer":
            for number in range(6):
                answer = await respond(text=f"answer {number}")
                heard.append(("respond", {"status": answer.status_code, "body": answer.body}))

    @app.action("freeze")
    async def freeze(ack: Any, body: dict[str, Any], respond: Any) -> None:
        heard.append(("freeze", body))
        await ack()
        await respond(text="frozen", blocks=header("frozen 3 of 3"), replace_original=True)

    @app.action("ack_page")
    async def ack_page(ack: Any, body: dict[str, Any], respond: Any) -> None:
        await ack()
        await respond(delete_original=True)

    @app.action("role")
    @app.action("person")
    async def pick(ack: Any, body: dict[str, Any]) -> None:
        heard.append(("pick", body))
        await ack()

    @app.view("declare")
    async def declare(ack: Any, body: dict[str, Any], view: dict[str, Any], client: AsyncWebClient) -> None:
        heard.append(("submit", body))
        said = view["state"]["values"]["summary"]["text"]["value"]
        if said == "short":
            await ack(response_action="errors", errors={"summary": "Say more."})
        elif said == "push":
            await ack(response_action="push", view=modal("Second"))
        elif said == "update":
            await ack(response_action="update", view=modal("Changed"))
        elif said == "clear":
            await ack(response_action="clear")
        elif said == "nonsense":
            await ack(response_action="errors", errors={"elsewhere": "?"})
        else:
            await ack()

    @app.view("form")
    async def form(ack: Any, body: dict[str, Any]) -> None:
        heard.append(("form", body))
        await ack()

    @app.view_closed("declare")
    async def closed(ack: Any, body: dict[str, Any]) -> None:
        heard.append(("closed", body))
        await ack()

    @app.shortcut("add_to_timeline")
    async def shortcut(ack: Any, body: dict[str, Any]) -> None:
        heard.append(("shortcut", body))
        await ack()

    @app.shortcut("declare_incident")
    async def anywhere(ack: Any, body: dict[str, Any], client: AsyncWebClient) -> None:
        heard.append(("global_shortcut", body))
        await ack()
        await client.views_open(trigger_id=body["trigger_id"], view=modal())

    @app.options("runbook")
    async def options(ack: Any, body: dict[str, Any]) -> None:
        heard.append(("options", body))
        found = [word for word in ("freeze", "failover", "rotate") if body["value"] in word]
        rows = [{"text": {"type": "plain_text", "text": word.title()}, "value": word} for word in found]
        if body["value"] == "all":
            await ack(option_groups=[{"label": {"type": "plain_text", "text": "Keys"}, "options": rows}])
        else:
            await ack(options=rows)

    for kind in ("reaction_added", "reaction_removed", "app_home_opened", "member_joined_channel", "file_shared"):

        @app.event(kind)
        async def event(event: dict[str, Any]) -> None:
            heard.append((event["type"], event))

    @app.event("message")
    async def message(event: dict[str, Any]) -> None:
        heard.append(("message", event))

    return app


class Bot:
    """The HTTP side of the bot; the first `fail_events` event deliveries get a 500."""

    def __init__(self) -> None:
        """Start without failures; `app` is set once the workspace's address is known."""
        self.app: AsyncApp | None = None
        self.fail_events = 0
        self.retries: list[tuple[str | None, str | None]] = []

    async def serve(self, request: Request) -> Response:
        """Hand a request to Bolt."""
        if "json" in request.headers.get("content-type", "") and self.fail_events:
            self.fail_events -= 1
            return Response(status_code=500)
        self.retries.append((request.headers.get("x-slack-retry-num"), request.headers.get("x-slack-retry-reason")))
        assert self.app is not None
        return await AsyncSlackRequestHandler(self.app).handle(request)


@pytest.fixture
def bot() -> Bot:
    """The bot's HTTP side."""
    return Bot()


@pytest.fixture
def rate_limits() -> bool:
    """Whether the workspace limits rates; a test module may override it."""
    return False


@pytest.fixture
async def workspace(
    bot: Bot, heard: list[tuple[str, dict[str, Any]]], rate_limits: bool
) -> AsyncIterator[tuple[str, Office]]:
    """A running workspace and bot; yields the workspace's base URL and its inside."""
    async with served(Starlette(routes=[Route("/slack/events", bot.serve, methods=["POST"])])) as bot_base:
        app = build(
            bot_url=f"{bot_base}/slack/events",
            signing_secret=SECRET,
            bot_token=TOKEN,
            app_token=APP_TOKEN,
            people=PEOPLE,
            global_shortcuts={"declare_incident": "Declare an incident"},
            rate_limits=rate_limits,
            redelivery=(0.0, 0.05, 0.05),
        )
        async with served(app) as base:
            bot.app = bolt_app(heard, AsyncWebClient(token=TOKEN, base_url=f"{base}/api/"))
            yield base, app.state.office


@pytest.fixture
def office(workspace: tuple[str, Office]) -> Office:
    """The inside of the running workspace."""
    return workspace[1]


@pytest.fixture
def slack(workspace: tuple[str, Office]) -> AsyncWebClient:
    """Slack's own client, pointed at the workspace."""
    return AsyncWebClient(token=TOKEN, base_url=f"{workspace[0]}/api/")


@pytest.fixture
async def people(workspace: tuple[str, Office]) -> AsyncIterator[People]:
    """People's hands."""
    async with People(workspace[0]) as hands:
        yield hands


@pytest.fixture
async def incidents(people: People) -> str:
    """The id of #incidents."""
    return str((await people.channel("incidents"))["id"])


@pytest.fixture
async def page(workspace: tuple[str, Office]) -> AsyncIterator[Page]:
    """A browser's page that fails the test on any script error."""
    if not CHROMIUM.exists():
        if os.environ.get("CI"):
            pytest.fail("chromium is missing")
        pytest.skip("chromium is missing")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=str(CHROMIUM), args=SWITCHES)
        page = await browser.new_page(viewport={"width": 1280, "height": 800})
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda line: errors.append(line.text) if line.type == "error" else None)
        yield page
        await browser.close()
        assert errors == []
