"""The workspace as a process, and the doors of its practice API."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from slack_sdk.web.async_client import AsyncWebClient

from bot.practice.workspace.client import Impossible, People
from bot.practice.workspace.office import Office
from bot.practice.workspace.people import parse_people

ROOT = Path(__file__).parents[2]
SECRETS = {"SLACK_SIGNING_SECRET": "s3cret", "SLACK_BOT_TOKEN": "xoxb-1"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def started(people: Path, port: int, secrets: dict[str, str], *more: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bot.practice.workspace", "--port", str(port), "--people", str(people)),
        *("--channels", "general,war-room", "--shortcut", "note=Add a note", *more),
        cwd=ROOT,
        env={**os.environ, "SLACK_SIGNING_SECRET": "", "SLACK_BOT_TOKEN": "", **secrets},
        stderr=asyncio.subprocess.PIPE,
    )


async def answered(http: httpx.AsyncClient) -> httpx.Response:
    async with asyncio.timeout(20):
        while True:
            try:
                return await http.get("/practice/state")
            except httpx.TransportError:
                await asyncio.sleep(0.05)


async def test_it_serves_until_told_to_stop_even_with_a_page_open(tmp_path: Path) -> None:
    people, port = tmp_path / "people.json", free_port()
    people.write_text(json.dumps([{"id": "U1", "name": "anna", "tz": "Europe/Berlin"}]))
    process = await started(people, port, SECRETS)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
        state = (await answered(http)).json()
        assert [channel["name"] for channel in state["channels"]] == ["general", "war-room"]
        assert state["shortcuts"] == [{"callback_id": "note", "name": "Add a note"}]
        slack = AsyncWebClient(token="xoxb-1", base_url=f"http://127.0.0.1:{port}/api/")
        assert (await slack.auth_test())["url"] == f"http://127.0.0.1:{port}/"
        async with http.stream("GET", "/practice/events") as events:
            assert "event: change" in await anext(events.aiter_lines())
            process.send_signal(signal.SIGTERM)
            _, said = await asyncio.wait_for(process.communicate(), 10)

    assert said == b""


async def test_its_options_install_the_app(tmp_path: Path) -> None:
    people, port = tmp_path / "people.json", free_port()
    people.write_text(json.dumps([{"id": "U1", "name": "anna"}]))
    options = ("--bot-url", "", "--scopes", "chat:write,commands", "--events", "app_mention", "--commands", "/outage")
    secrets = SECRETS | {"SLACK_APP_TOKEN": "xapp-1"}
    process = await started(people, port, secrets, *options, "--global-shortcut", "declare=Declare")
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
        state = (await answered(http)).json()
        slack = AsyncWebClient(base_url=f"http://127.0.0.1:{port}/api/")
        opened = await slack.apps_connections_open(app_token="xapp-1")
        body = {"user": "U1", "channel": "general", "text": "/outage"}
        told = (await http.post("/practice/command", json=body)).json()
    process.send_signal(signal.SIGTERM)
    await asyncio.wait_for(process.communicate(), 10)

    assert state["app"] == {"scopes": ["chat:write", "commands"], "events": ["app_mention"], "commands": ["/outage"]}
    assert state["global_shortcuts"] == [{"callback_id": "declare", "name": "Declare"}]
    assert opened["url"].startswith(f"ws://127.0.0.1:{port}/link/?ticket=")
    assert told["ack"]["error"] == "dispatch_failed"


@pytest.mark.parametrize(
    ("people", "secrets", "said"),
    [
        ("[]", {}, "SLACK_SIGNING_SECRET and SLACK_BOT_TOKEN must be set"),
        ("{}", SECRETS, "a JSON array of objects is expected"),
        ('[{"id": "U1"}]', SECRETS, "name"),
    ],
)
async def test_it_says_what_is_missing(tmp_path: Path, people: str, secrets: dict[str, str], said: str) -> None:
    path = tmp_path / "people.json"
    path.write_text(people)
    process = await started(path, free_port(), secrets)
    _, stderr = await asyncio.wait_for(process.communicate(), 20)

    assert process.returncode == 2
    assert said in stderr.decode()


def test_people_come_from_json() -> None:
    (person,) = parse_people('[{"id": "U1", "name": "olga", "team_id": "T9", "is_restricted": true}]')

    assert (person.team_id, person.local) == ("T9", False)


async def lines(http: httpx.AsyncClient) -> AsyncIterator[int]:
    async with http.stream("GET", "/practice/events") as events:
        async for line in events.aiter_lines():
            if line.startswith("data: "):
                yield int(json.loads(line[6:])["seq"])


async def test_a_change_is_announced(workspace: tuple[str, Office], people: People, incidents: str) -> None:
    async with httpx.AsyncClient(base_url=workspace[0], trust_env=False) as http:
        notices = lines(http)
        first = await anext(notices)
        await people.say("U0ANNA", incidents, "hello")
        assert await asyncio.wait_for(anext(notices), 3) > first
        await notices.aclose()  # type: ignore[attr-defined]


async def test_another_sites_form_cannot_act(workspace: tuple[str, Office]) -> None:
    async with httpx.AsyncClient(base_url=workspace[0], trust_env=False) as http:
        answer = await http.post("/practice/say", content='{"user": "U0ANNA"}', headers={"content-type": "text/plain"})
        incomplete = await http.post("/practice/say", json={"user": "U0ANNA"})
        page = await http.get("/")
        outside = await http.get("/page/..%2fapp.py")

    assert answer.status_code == 415
    assert incomplete.status_code == 400
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert outside.status_code == 404


@pytest.mark.parametrize(
    ("act", "body", "error"),
    [
        ("say", {"user": "U0NOBODY", "channel": "incidents", "text": "x"}, "person_not_found"),
        ("say", {"user": "U0STOPSIGN", "channel": "incidents", "text": "x"}, "person_not_found"),
        ("say", {"user": "U0ANNA", "channel": "nowhere", "text": "x"}, "channel_not_found"),
        ("say", {"user": "U0ANNA", "channel": "incidents", "text": " "}, "no_text"),
        ("say", {"user": "U0GUEST", "channel": "general", "text": "x"}, "not_in_channel"),
        ("command", {"user": "U0ANNA", "channel": "incidents", "text": "incident"}, "not_a_command"),
        ("press", {"user": "U0ANNA", "channel": "incidents", "ts": "1.0", "action_id": "a"}, "message_not_found"),
        ("press", {"user": "U0ANNA", "view_id": "V0", "action_id": "a"}, "view_not_found"),
        ("submit", {"user": "U0ANNA", "values": {}}, "view_not_found"),
        ("close", {"user": "U0ANNA"}, "view_not_found"),
        ("delete", {"user": "U0ANNA", "channel": "incidents", "ts": "1.0"}, "message_not_found"),
    ],
)
async def test_what_cannot_be_done_reaches_nobody(
    people: People, act: str, body: dict[str, object], error: str
) -> None:
    with pytest.raises(Impossible, match=error):
        await people.act(act, **body)
    assert await people.deliveries() == []


async def test_an_unknown_button_names_those_there_are(people: People, slack: AsyncWebClient, incidents: str) -> None:
    button = {"type": "button", "action_id": "freeze", "text": {"type": "plain_text", "text": "Freeze"}}
    blocks = [{"type": "actions", "elements": [button]}]
    ts = (await slack.chat_postMessage(channel=incidents, text="x", blocks=blocks))["ts"]

    with pytest.raises(Impossible) as refused:
        await people.press("U0ANNA", incidents, ts, "thaw")

    assert refused.value.body["actions"] == ["freeze"]
