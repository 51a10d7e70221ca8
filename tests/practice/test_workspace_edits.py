"""What people and the bot write, change and take back, and the lines that Slack writes itself, as the bot hears it."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.practice.workspace.client import Impossible, People

Heard = list[tuple[str, dict[str, Any]]]


async def event(heard: Heard, fits: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    async with asyncio.timeout(3):
        while True:
            for _, body in heard:
                if fits(body):
                    return body
            await asyncio.sleep(0.01)


async def delivered(people: People, name: str) -> dict[str, Any]:
    """Return an event by its subtype as it was sent; Bolt passes over what its own bot did."""
    async with asyncio.timeout(3):
        while True:
            for row in await people.deliveries():
                body = json.loads(row["body"])["event"]
                if body.get("subtype") == name:
                    return dict(body)
            await asyncio.sleep(0.02)


async def subtype(heard: Heard, name: str) -> dict[str, Any]:
    return await event(heard, lambda body: body.get("subtype") == name)


async def test_a_message_is_a_message_event_without_subtype(people: People, incidents: str, heard: Heard) -> None:
    said = await people.say("U0ANNA", incidents, "hello")

    told = await event(heard, lambda body: body.get("ts") == said["ts"])

    assert "subtype" not in told
    assert (told["user"], told["text"], told["channel"], told["channel_type"]) == (
        "U0ANNA",
        "hello",
        incidents,
        "channel",
    )


async def test_an_edit_tells_before_and_after(people: People, incidents: str, heard: Heard) -> None:
    said = await people.say("U0ANNA", incidents, "seq-2")

    assert (await people.act("edit", user="U0ANNA", channel=incidents, ts=said["ts"], text="seq-2"))["changed"] is False
    await people.act("edit", user="U0ANNA", channel=incidents, ts=said["ts"], text="seq-3")

    told = await subtype(heard, "message_changed")
    assert (told["message"]["text"], told["previous_message"]["text"]) == ("seq-3", "seq-2")
    assert told["message"]["edited"]["user"] == "U0ANNA"
    assert (told["message"]["ts"], told["hidden"]) == (said["ts"], True)
    assert told["ts"] != said["ts"]
    assert "user" not in told


async def test_a_deletion_names_what_is_gone(people: People, incidents: str, heard: Heard) -> None:
    said = await people.say("U0ANNA", incidents, "oops")

    await people.act("delete", user="U0ANNA", channel=incidents, ts=said["ts"])

    told = await subtype(heard, "message_deleted")
    assert (told["deleted_ts"], told["previous_message"]["text"]) == (said["ts"], "oops")
    assert await people.messages(incidents) == []


async def test_a_deleted_root_with_replies_becomes_a_tombstone(
    people: People, slack: AsyncWebClient, incidents: str, heard: Heard
) -> None:
    root = await people.say("U0ANNA", incidents, "root")
    await people.say("U0BEN", incidents, "reply", thread_ts=root["ts"])

    await people.act("delete", user="U0ANNA", channel=incidents, ts=root["ts"])

    told = await subtype(heard, "message_changed")
    assert (told["message"]["subtype"], told["message"]["user"]) == ("tombstone", "USLACKBOT")
    assert told["previous_message"]["text"] == "root"
    history = (await slack.conversations_history(channel=incidents))["messages"]
    assert [(row["text"], row["reply_count"]) for row in history] == [("This message was deleted.", 1)]


async def test_the_bots_own_changes_come_back_to_it(slack: AsyncWebClient, people: People, incidents: str) -> None:
    ts = (await slack.chat_postMessage(channel=incidents, text="one"))["ts"]
    await slack.chat_update(channel=incidents, ts=ts, text="two")
    await slack.chat_delete(channel=incidents, ts=ts)

    changed, deleted = await delivered(people, "message_changed"), await delivered(people, "message_deleted")
    assert (changed["message"]["bot_id"], changed["message"]["text"]) == ("B0STOPSIGN", "two")
    assert deleted["previous_message"]["text"] == "two"


async def test_nothing_is_heard_where_the_bot_is_not(
    people: People, slack: AsyncWebClient, incidents: str, heard: Heard
) -> None:
    room = (await people.act("create", user="U0ANNA", name="elsewhere", is_private=True))["channel"]
    said = await people.say("U0ANNA", room, "secret")
    await people.act("edit", user="U0ANNA", channel=room, ts=said["ts"], text="more secret")
    with pytest.raises(SlackApiError, match="channel_not_found"):
        await slack.conversations_info(channel=room)
    await people.act("invite", user="U0ANNA", channel=room)
    await people.say("U0ANNA", room, "open")

    await event(heard, lambda body: body.get("text") == "open")
    assert not [body for _, body in heard if "secret" in str(body)]
    joined = await event(heard, lambda body: body["type"] == "member_joined_channel")
    assert (joined["user"], joined["inviter"], joined["channel_type"]) == ("U0STOPSIGN", "U0ANNA", "G")
    assert (await event(heard, lambda body: body.get("text") == "open"))["channel_type"] == "group"


async def test_a_channel_with_outsiders_is_marked_and_their_messages_carry_their_team(
    people: People, slack: AsyncWebClient, incidents: str
) -> None:
    own = (await slack.conversations_create(name="inc-7"))["channel"]["id"]
    await slack.conversations_invite(channel=own, users="U0ANNA")
    await people.say("U0OUT", incidents, "from outside")
    await people.say("U0ANNA", own, "from inside")

    async with asyncio.timeout(3):
        while True:
            rows = [json.loads(row["body"]) for row in await people.deliveries()]
            told = {row["event"].get("text"): (row["is_ext_shared_channel"], row["event"].get("team")) for row in rows}
            if {"from outside", "from inside"} <= told.keys():
                break
            await asyncio.sleep(0.02)
    assert told["from outside"] == (True, "T0ELSEWHERE")
    assert told["from inside"] == (False, "T0PRACTICE")


async def test_slack_writes_into_the_channel_what_was_done_to_it(
    people: People, slack: AsyncWebClient, heard: Heard
) -> None:
    room = (await slack.conversations_create(name="inc-7"))["channel"]["id"]
    await slack.conversations_invite(channel=room, users="U0ANNA")
    await people.act("change", user="U0ANNA", channel=room, topic="SEV-1")
    await people.act("change", user="U0ANNA", channel=room, topic="SEV-1")
    await slack.conversations_setPurpose(channel=room, purpose="two sequencers")
    await slack.conversations_rename(channel=room, name="inc-7-done")
    await people.act("archive", user="U0ANNA", channel=room)

    lines = [(row["subtype"], row["text"]) for row in await people.messages(room)]
    assert lines == [
        ("channel_join", "<@U0STOPSIGN> has joined the channel"),
        ("channel_join", "<@U0ANNA> has joined the channel"),
        ("channel_topic", "<@U0ANNA> set the channel topic: SEV-1"),
        ("channel_purpose", "<@U0STOPSIGN> set the channel description: two sequencers"),
        ("channel_name", '<@U0STOPSIGN> has renamed the channel from "inc-7" to "inc-7-done"'),
        ("channel_archive", "<@U0ANNA> archived the channel"),
    ]
    assert (await subtype(heard, "channel_topic"))["topic"] == "SEV-1"
    named = await delivered(people, "channel_name")
    assert (named["old_name"], named["name"]) == ("inc-7", "inc-7-done")
    assert (await event(heard, lambda b: b.get("subtype") == "channel_join" and b["user"] == "U0ANNA"))["inviter"]
    assert (await subtype(heard, "channel_archive"))["members"] == ["U0STOPSIGN", "U0ANNA"]


async def test_the_lines_of_slack_cannot_be_changed_or_answered(
    people: People, slack: AsyncWebClient, heard: Heard
) -> None:
    room = (await slack.conversations_create(name="inc-7"))["channel"]["id"]
    await slack.conversations_invite(channel=room, users="U0ANNA")
    bots, annas = await people.messages(room)

    with pytest.raises(SlackApiError, match="cant_update_message"):
        await slack.chat_update(channel=room, ts=bots["ts"], text="x")
    with pytest.raises(SlackApiError, match="cant_delete_message"):
        await slack.chat_delete(channel=room, ts=bots["ts"])
    with pytest.raises(SlackApiError, match="cannot_reply_to_message"):
        await slack.chat_postMessage(channel=room, text="x", thread_ts=bots["ts"])
    with pytest.raises(Impossible, match="not_your_message"):
        await people.act("delete", user="U0ANNA", channel=room, ts=annas["ts"])


async def test_an_archived_channel_lets_nobody_in_and_the_bot_cannot_open_it(
    people: People, slack: AsyncWebClient, incidents: str
) -> None:
    ts = (await slack.chat_postMessage(channel=incidents, text="x"))["ts"]
    await slack.conversations_archive(channel=incidents)

    refused = []
    for call in (
        slack.chat_postMessage(channel=incidents, text="x"),
        slack.chat_update(channel=incidents, ts=ts, text="x"),
        slack.chat_delete(channel=incidents, ts=ts),
        slack.conversations_join(channel=incidents),
        slack.conversations_invite(channel=incidents, users="U0ANNA"),
        slack.conversations_setTopic(channel=incidents, topic="x"),
        slack.pins_add(channel=incidents, timestamp=ts),
        slack.bookmarks_add(channel_id=incidents, title="x", type="link", link="https://x.example"),
        slack.conversations_archive(channel=incidents),
        slack.conversations_history(channel=incidents),
        slack.conversations_unarchive(channel=incidents),
    ):
        with pytest.raises(SlackApiError) as error:
            await call
        refused.append(error.value.response["error"])
    info = (await slack.conversations_info(channel=incidents))["channel"]
    with pytest.raises(Impossible, match="is_archived"):
        await people.say("U0ANNA", incidents, "x")
    await people.act("archive", user="U0ANNA", channel=incidents, undo=True)
    with pytest.raises(SlackApiError, match="not_in_channel"):
        await slack.chat_postMessage(channel=incidents, text="x")
    await slack.conversations_join(channel=incidents)

    assert refused == ["is_archived"] * 8 + ["already_archived", "not_in_channel", "not_in_channel"]
    assert (info["is_archived"], info["is_member"]) == (True, False)
    assert (await slack.chat_postMessage(channel=incidents, text="x"))["ok"]


async def test_a_reply_may_be_broadcast(people: People, slack: AsyncWebClient, incidents: str) -> None:
    root = await people.say("U0ANNA", incidents, "root")
    await slack.chat_postMessage(channel=incidents, text="quiet", thread_ts=root["ts"])
    loud = await slack.chat_postMessage(channel=incidents, text="loud", thread_ts=root["ts"], reply_broadcast=True)

    history = (await slack.conversations_history(channel=incidents))["messages"]
    assert [row["text"] for row in history] == ["loud", "root"]
    assert loud["message"]["subtype"] == "thread_broadcast"
    assert (await delivered(people, "thread_broadcast"))["parent_user_id"] == "U0ANNA"


async def test_markdown_text_stands_alone(slack: AsyncWebClient, incidents: str) -> None:
    sent = await slack.chat_postMessage(channel=incidents, markdown_text="**SEV-1**")
    assert sent["message"]["blocks"][0]["text"] == "**SEV-1**"
    with pytest.raises(SlackApiError, match="markdown_text_conflict"):
        await slack.chat_postMessage(channel=incidents, markdown_text="x", text="x")
    with pytest.raises(SlackApiError, match="msg_too_long"):
        await slack.chat_postMessage(channel=incidents, markdown_text="x" * 12_001)


async def test_other_events_come_on_subscription(
    people: People, slack: AsyncWebClient, incidents: str, heard: Heard
) -> None:
    wanted = ["app_mention", "channel_created", "channel_rename", "channel_archive", "channel_unarchive", "pin_added"]
    await people.act("app", events=wanted)
    said = await people.say("U0ANNA", incidents, "<@U0STOPSIGN> help")
    await slack.pins_add(channel=incidents, timestamp=said["ts"])
    await people.act("change", user="U0ANNA", channel=incidents, name="inc-all")
    await people.act("archive", user="U0ANNA", channel=incidents)
    await people.act("archive", user="U0ANNA", channel=incidents, undo=True)
    await people.act("create", user="U0ANNA", name="new")

    async with asyncio.timeout(3):
        while len({row["kind"] + row["body"] for row in await people.deliveries()}) < len(wanted):
            await asyncio.sleep(0.02)
    bodies = " ".join(row["body"] for row in await people.deliveries())
    assert all(f'"type": "{kind}"' in bodies for kind in wanted)
