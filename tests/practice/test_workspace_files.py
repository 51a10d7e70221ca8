"""Files of people: the message that shows them, the events, and the download that answers strangers with HTML."""

import asyncio
import base64
import json
from typing import Any

import aiohttp
import httpx
import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.practice.workspace.client import Impossible, People
from tests.practice.conftest import TOKEN

Heard = list[tuple[str, dict[str, Any]]]
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


@pytest.fixture
async def shared(people: People, incidents: str) -> dict[str, Any]:
    """A message of Anna's with a picture and a log."""
    files = [
        {"filename": "graph.png", "title": "Graph", "base64": base64.b64encode(PNG).decode()},
        {"filename": "trace.log", "content": "panic"},
    ]
    return await people.act("upload", user="U0ANNA", channel=incidents, text="look", files=files)


async def test_the_event_shows_the_files(people: People, incidents: str, shared: dict[str, Any], heard: Heard) -> None:
    async with asyncio.timeout(3):
        while [name for name, _ in heard].count("file_shared") < 2:
            await asyncio.sleep(0.01)

    event = next(body for name, body in heard if name == "message")
    assert (event["subtype"], event["text"], event["user"]) == ("file_share", "look", "U0ANNA")
    graph, trace = event["files"]
    assert (graph["name"], graph["title"], graph["mimetype"]) == ("graph.png", "Graph", "image/png")
    assert (graph["size"], graph["user"], trace["filetype"]) == (len(PNG), "U0ANNA", "log")
    assert {"id", "created", "url_private", "url_private_download", "permalink"} <= graph.keys()
    told = [body for name, body in heard if name == "file_shared"]
    assert sorted(body["file_id"] for body in told) == sorted(shared["files"])
    assert (told[0]["channel_id"], told[0]["user_id"], told[0]["file"]) == (
        incidents,
        "U0ANNA",
        {"id": told[0]["file_id"]},
    )


async def test_history_shows_them_too(slack: AsyncWebClient, incidents: str, shared: dict[str, Any]) -> None:
    (row,) = (await slack.conversations_history(channel=incidents))["messages"]

    assert [file["id"] for file in row["files"]] == shared["files"]
    info = (await slack.files_info(file=shared["file"]))["file"]
    assert info["shares"]["public"][incidents][0]["ts"] == row["ts"]


async def test_the_bytes_are_for_a_token_with_files_read(
    slack: AsyncWebClient, people: People, shared: dict[str, Any]
) -> None:
    url = (await slack.files_info(file=shared["file"]))["file"]["url_private_download"]
    async with httpx.AsyncClient(trust_env=False) as http:
        good = await http.get(url, headers={"authorization": f"Bearer {TOKEN}"})
        other = await http.get(url, headers={"authorization": "Bearer xoxb-other"})
        none = await http.get(url)
        await people.act("app", scopes=["channels:read"])
        unscoped = await http.get(url, headers={"authorization": f"Bearer {TOKEN}"})

    assert (good.content, good.headers["content-type"]) == (PNG, "image/png")
    for answer in (other, unscoped):
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert answer.text.startswith("<!DOCTYPE html>")
    assert (none.status_code, none.headers["location"][:8]) == (302, "/?redir=")


async def test_a_client_that_follows_redirects_gets_html_and_status_200(
    slack: AsyncWebClient, shared: dict[str, Any]
) -> None:
    url = (await slack.files_info(file=shared["file"]))["file"]["url_private"]
    async with aiohttp.ClientSession() as http, http.get(url) as answer:
        assert answer.status == 200
        assert "html" in answer.headers["content-type"]


async def test_a_picture_is_shown_and_text_is_only_ever_downloaded(
    slack: AsyncWebClient, people: People, incidents: str
) -> None:
    page = await people.act("upload", user="U0ANNA", channel=incidents, filename="x.html", content="<script>1</script>")
    picture = await people.act("upload", user="U0ANNA", channel=incidents, filename="x.png", content="png")
    shown = {}
    async with httpx.AsyncClient(trust_env=False, headers={"sec-fetch-site": "same-origin"}) as http:
        for id_ in (page["file"], picture["file"]):
            answer = await http.get((await slack.files_info(file=id_))["file"]["url_private"])
            shown[id_] = (answer.headers["content-type"], answer.headers["content-disposition"])

    assert shown[page["file"]] == ("application/octet-stream", "attachment")
    assert shown[picture["file"]] == ("image/png", "inline")


async def test_the_bots_own_upload_does_not_say_where_it_was_shared_but_files_info_does(
    slack: AsyncWebClient, incidents: str
) -> None:
    private = (await slack.conversations_create(name="war-room", is_private=True))["channel"]["id"]
    answer = await slack.files_upload_v2(channel=private, filename="pm.md", content="# inc-7")

    assert answer["files"][0]["shares"] == {}
    file = (await slack.files_info(file=answer["file"]["id"]))["file"]
    assert list(file["shares"]) == ["private"]
    assert (file["groups"], file["channels"], file["is_public"]) == ([private], [], False)


async def test_without_its_scope_the_app_hears_of_no_file(
    people: People, slack: AsyncWebClient, incidents: str
) -> None:
    await people.act("app", scopes=["channels:history"])

    await people.act("upload", user="U0ANNA", channel=incidents, filename="a.log", content="x")
    await people.say("U0ANNA", incidents, "after")

    async with asyncio.timeout(3):
        while len(await people.deliveries()) < 2:
            await asyncio.sleep(0.02)
    kinds = [json.loads(row["body"])["event"]["type"] for row in await people.deliveries()]
    assert kinds == ["message", "message"]
    with pytest.raises(SlackApiError, match="missing_scope"):
        await slack.files_info(file="F0")


async def test_what_is_no_upload_is_refused(people: People, incidents: str) -> None:
    for body in ({"content": "x"}, {"files": [{"filename": "x"}] * 11}):
        with pytest.raises(Impossible, match="invalid_arguments"):
            await people.act("upload", user="U0ANNA", channel=incidents, **body)
