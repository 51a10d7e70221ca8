"""Socket Mode through slack_sdk's and Bolt's own clients: envelopes, acks, several connections, going away."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_sdk.errors import SlackApiError
from slack_sdk.socket_mode.aiohttp import SocketModeClient
from slack_sdk.socket_mode.async_client import AsyncBaseSocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest
from slack_sdk.socket_mode.response import SocketModeResponse
from slack_sdk.web.async_client import AsyncWebClient

from bot.practice.workspace.client import Impossible, People
from bot.practice.workspace.office import Office
from tests.practice.conftest import APP_TOKEN, TOKEN, Bot, bolt_app

Heard = list[tuple[str, dict[str, Any]]]
Opened = Callable[[Callable[[SocketModeRequest], Any] | None], Awaitable[list[SocketModeRequest]]]


async def until(fits: Callable[[], bool], seconds: float = 5) -> None:
    async with asyncio.timeout(seconds):
        while not fits():
            await asyncio.sleep(0.01)


@pytest.fixture
async def connect(workspace: tuple[str, Office]) -> AsyncIterator[Opened]:
    """Open one more connection that answers with `answer(request)`; False is silence. Returns what it hears."""
    web = AsyncWebClient(base_url=f"{workspace[0]}/api/")
    async with AsyncExitStack() as stack:

        async def opened(answer: Callable[[SocketModeRequest], Any] | None = None) -> list[SocketModeRequest]:
            client = SocketModeClient(app_token=APP_TOKEN, web_client=web, ping_interval=1)
            heard: list[SocketModeRequest] = []

            async def listen(client: AsyncBaseSocketModeClient, request: SocketModeRequest) -> None:
                heard.append(request)
                payload = answer(request) if answer else None
                if payload is not False:
                    await client.send_socket_mode_response(SocketModeResponse(request.envelope_id, payload))

            client.socket_mode_request_listeners.append(listen)
            before = len(workspace[1].deliveries.sockets.rows())
            await client.connect()  # type: ignore[no-untyped-call]
            stack.push_async_callback(client.close)
            await until(lambda: len(workspace[1].deliveries.sockets.rows()) > before)
            return heard

        yield opened


@pytest.mark.parametrize(
    ("token", "error"),
    [(TOKEN, "not_allowed_token_type"), ("xapp-other", "invalid_auth"), (None, "not_authed")],
)
async def test_an_address_is_for_app_level_tokens(slack: AsyncWebClient, token: str | None, error: str) -> None:
    slack.token = token
    with pytest.raises(SlackApiError, match=error):
        await slack.api_call("apps.connections.open")
    with pytest.raises(SlackApiError, match="not_allowed_token_type"):
        await slack.auth_test(token=APP_TOKEN)


async def test_a_ticket_opens_one_connection_that_says_hello(slack: AsyncWebClient) -> None:
    opened = await slack.apps_connections_open(app_token=APP_TOKEN)
    assert opened.headers["x-oauth-scopes"] == "connections:write"
    async with aiohttp.ClientSession() as http:
        async with http.ws_connect(opened["url"]) as socket:
            hello = await socket.receive_json(timeout=3)
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await http.ws_connect(opened["url"])

    assert (hello["type"], hello["num_connections"]) == ("hello", 1)
    assert hello["connection_info"] == {"app_id": "A0STOPSIGN"}


async def test_a_whole_bolt_app_lives_behind_a_socket(
    workspace: tuple[str, Office], people: People, bot: Bot, heard: Heard, incidents: str
) -> None:
    workspace[1].deliveries.http.bot_url = None
    app = bolt_app(heard, AsyncWebClient(token=TOKEN, base_url=f"{workspace[0]}/api/"))
    handler = AsyncSocketModeHandler(app, app_token=APP_TOKEN)
    await handler.connect_async()  # type: ignore[no-untyped-call]
    await until(lambda: workspace[1].deliveries.sockets.connected)
    try:
        listed = await people.command("U0ANNA", incidents, "/incident list")
        opened = await people.command("U0ANNA", incidents, "/incident declare", wait_view=True)
        refused = await people.submit("U0ANNA", {"summary": "short"})
        done = await people.submit("U0ANNA", {"summary": "two sequencers sign"})
        said = await people.say("U0BEN", incidents, "hello")
        await until(lambda: any(event.get("ts") == said["ts"] for name, event in heard if name == "message"))
    finally:
        await handler.close_async()  # type: ignore[no-untyped-call]

    assert listed["saw"][0]["text"] == "no open incidents"
    assert opened["view"]["callback_id"] == "declare"
    assert refused["errors"] == {"summary": "Say more."}
    assert (done["ok"], done["open"]) == (True, [])
    assert {row["by"] for row in await people.deliveries()} == {"socket"}


async def test_envelopes_have_slacks_shape(connect: Opened, people: People, incidents: str) -> None:
    heard = await connect(lambda request: {"text": "hi"} if request.type == "slash_commands" else None)

    answer = await people.command("U0ANNA", incidents, "/incident x")
    await people.say("U0ANNA", incidents, "hello")
    await until(lambda: len(heard) == 2)

    command, event = heard
    assert answer["saw"][0]["text"] == "hi"
    assert (command.type, command.accepts_response_payload) == ("slash_commands", True)
    assert command.payload["command"] == "/incident"
    assert (event.type, event.accepts_response_payload) == ("events_api", False)
    assert (event.retry_attempt, event.retry_reason) == (0, "")
    assert event.payload["event"]["text"] == "hello"
    assert command.envelope_id != event.envelope_id
    (_, row) = await people.deliveries()
    assert json.loads(row["body"])["envelope_id"] == event.envelope_id


async def test_each_envelope_goes_to_exactly_one_connection(connect: Opened, people: People, incidents: str) -> None:
    first, second = await connect(None), await connect(None)

    for number in range(4):
        assert (await people.command("U0ANNA", incidents, f"/incident {number}"))["ok"]

    assert sorted(request.payload["text"] for request in first + second) == ["0", "1", "2", "3"]
    assert (len(first), len(second)) == (2, 2)


async def test_a_silent_app_is_told_to_the_person_after_three_seconds(
    connect: Opened, people: People, incidents: str
) -> None:
    await connect(lambda request: False)

    answer = await people.command("U0ANNA", incidents, "/incident x")

    assert answer["saw"][0]["text"] == '/incident failed with the error "operation_timeout"'
    assert 3000 <= answer["ack"]["ms"] < 4000


async def test_an_event_comes_again_over_the_socket_until_it_is_acknowledged(
    connect: Opened, people: People, incidents: str
) -> None:
    await people.fail({"method": "event", "count": 2, "drop_after_processing": True})
    heard = await connect(None)

    await people.say("U0ANNA", incidents, "hello")

    await until(lambda: len(heard) == 3)
    assert [(r.retry_attempt, r.retry_reason) for r in heard] == [(0, ""), (1, "timeout"), (2, "timeout")]
    assert len({r.payload["event_id"] for r in heard}) == 1
    assert len({r.envelope_id for r in heard}) == 3


async def test_an_event_that_found_no_socket_comes_once_there_is_one(
    connect: Opened, people: People, office: Office, incidents: str
) -> None:
    office.deliveries.http.bot_url = None
    office.deliveries._redelivery = (0.0, 0.4)
    await people.say("U0ANNA", incidents, "while you were away")
    lost = await people.command("U0ANNA", incidents, "/incident list")

    heard = await connect(None)

    await until(lambda: len(heard) == 1)
    assert (heard[0].retry_attempt, heard[0].retry_reason) == (2, "timeout")
    assert heard[0].payload["event"]["text"] == "while you were away"
    assert lost["ack"]["error"] == "dispatch_failed"


@pytest.mark.parametrize("reason", ["warning", "refresh_requested"])
async def test_a_client_told_to_go_comes_back_on_another_connection(
    connect: Opened, people: People, office: Office, incidents: str, reason: str
) -> None:
    heard = await connect(None)
    (before,) = office.deliveries.sockets.rows()

    told = await people.act("socket", disconnect=reason)
    await until(lambda: before["number"] not in [r["number"] for r in office.deliveries.sockets.rows()])
    await until(lambda: office.deliveries.sockets.connected)

    assert told["told"] == 1
    assert (await people.command("U0ANNA", incidents, "/incident x"))["ok"]
    assert len(heard) == 1


async def test_what_a_broken_connection_has_not_acknowledged_failed_and_http_takes_over(
    connect: Opened, people: People, office: Office, heard: Heard, incidents: str
) -> None:
    mute = await connect(lambda request: False)
    pending = asyncio.create_task(people.command("U0ANNA", incidents, "/incident list"))
    await until(lambda: len(mute) == 1)

    await people.act("socket", disconnect="drop")

    assert (await pending)["ack"]["error"] == "dispatch_failed"
    if not office.deliveries.sockets.connected:
        assert (await people.command("U0ANNA", incidents, "/incident list"))["saw"][0]["text"] == "no open incidents"
    with pytest.raises(Impossible, match="unknown_reason"):
        await people.act("socket", disconnect="boredom")


async def test_an_eleventh_connection_is_turned_away(slack: AsyncWebClient, office: Office) -> None:
    async with aiohttp.ClientSession() as http, AsyncExitStack() as stack:
        for _ in range(11):
            url = (await slack.apps_connections_open(app_token=APP_TOKEN))["url"]
            socket = await stack.enter_async_context(http.ws_connect(url))
            first = await socket.receive_json(timeout=3)

        assert (first["type"], first["reason"]) == ("disconnect", "too_many_websockets")
        assert len(office.deliveries.sockets.rows()) == 10
