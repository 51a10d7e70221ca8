"""Scopes: what is granted shows in a header, what is not is refused as Slack refuses it, and events stay away."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.practice.workspace.client import Impossible, People
from bot.practice.workspace.installation import ALL_SCOPES
from bot.practice.workspace.methods import APP_LEVEL, METHODS
from bot.practice.workspace.office import Office
from bot.practice.workspace.scopes import METHOD_SCOPES

Call = Callable[[AsyncWebClient, str, str], Awaitable[Any]]
Heard = list[tuple[str, dict[str, Any]]]
VIEW: dict[str, Any] = {"type": "home", "blocks": [{"type": "divider"}]}

# the scope that alone is missing, and a call (client, public channel, private channel) that needs it
NEEDED: list[tuple[str, Call]] = [
    ("channels:read", lambda s, c, p: s.conversations_info(channel=c)),
    ("groups:read", lambda s, c, p: s.conversations_info(channel=p)),
    ("groups:read", lambda s, c, p: s.conversations_list(types="public_channel,private_channel")),
    ("channels:read", lambda s, c, p: s.users_conversations()),
    ("im:read", lambda s, c, p: s.users_conversations(types="im")),
    ("channels:history", lambda s, c, p: s.conversations_history(channel=c)),
    ("groups:history", lambda s, c, p: s.conversations_history(channel=p)),
    ("channels:manage", lambda s, c, p: s.conversations_create(name="x")),
    ("groups:write", lambda s, c, p: s.conversations_create(name="x", is_private=True)),
    ("channels:manage", lambda s, c, p: s.conversations_setTopic(channel=c, topic="x")),
    ("groups:write", lambda s, c, p: s.conversations_archive(channel=p)),
    ("channels:join", lambda s, c, p: s.conversations_join(channel=c)),
    ("im:write", lambda s, c, p: s.conversations_open(users="U0ANNA")),
    ("mpim:write", lambda s, c, p: s.conversations_open(users="U0ANNA,U0BEN")),
    ("chat:write", lambda s, c, p: s.chat_postMessage(channel=c, text="x")),
    ("chat:write", lambda s, c, p: s.chat_update(channel=c, ts="1.000001", text="x")),
    ("users:read", lambda s, c, p: s.users_info(user="U0ANNA")),
    ("users:read.email", lambda s, c, p: s.users_lookupByEmail(email="anna@practice.example")),
    ("usergroups:read", lambda s, c, p: s.usergroups_list()),
    ("pins:write", lambda s, c, p: s.pins_add(channel=c, timestamp="1.000001")),
    ("pins:read", lambda s, c, p: s.pins_list(channel=c)),
    ("reactions:write", lambda s, c, p: s.reactions_add(channel=c, timestamp="1.000001", name="eyes")),
    ("reactions:read", lambda s, c, p: s.reactions_get(channel=c, timestamp="1.000001")),
    ("bookmarks:write", lambda s, c, p: s.bookmarks_add(channel_id=c, title="x", type="link", link="https://x.y")),
    ("bookmarks:read", lambda s, c, p: s.bookmarks_list(channel_id=c)),
    ("files:read", lambda s, c, p: s.files_info(file="F0")),
    ("files:write", lambda s, c, p: s.files_getUploadURLExternal(filename="x", length=1)),
    ("team:read", lambda s, c, p: s.team_info()),
]


async def test_each_method_refuses_without_its_scope(slack: AsyncWebClient, people: People, incidents: str) -> None:
    private = (await slack.conversations_create(name="war-room", is_private=True))["channel"]["id"]
    said = []
    for scope, call in NEEDED:
        await people.act("app", scopes=sorted(ALL_SCOPES - {scope}))
        with pytest.raises(SlackApiError) as refused:
            await call(slack, incidents, private)
        answer = refused.value.response
        said.append((answer["error"], answer["needed"], scope in answer["provided"].split(",")))

    assert said == [("missing_scope", scope, False) for scope, _ in NEEDED]


async def test_with_no_scope_at_all_only_a_few_methods_answer(
    slack: AsyncWebClient, people: People, incidents: str
) -> None:
    await people.act("app", scopes=["commands"])

    answer = await slack.auth_test()
    await slack.views_publish(user_id="U0ANNA", view=VIEW)
    with pytest.raises(SlackApiError) as refused:
        await slack.conversations_info(channel="C0NONE")

    assert answer.headers["x-oauth-scopes"] == "commands"
    assert refused.value.response["needed"] == "channels:read,groups:read,mpim:read,im:read"
    assert refused.value.response.headers["x-accepted-oauth-scopes"] == refused.value.response["needed"]
    assert refused.value.response["provided"] == "commands"


async def test_a_narrower_scope_does_as_well(slack: AsyncWebClient, people: People, incidents: str) -> None:
    await people.act("app", scopes=["channels:write.topic", "channels:write.invites"])

    assert (await slack.conversations_setTopic(channel=incidents, topic="SEV-1"))["ok"]
    with pytest.raises(SlackApiError, match="already_in_channel"):
        await slack.conversations_invite(channel=incidents, users="U0ANNA")
    with pytest.raises(SlackApiError, match="missing_scope"):
        await slack.conversations_rename(channel=incidents, name="x")


async def test_another_name_needs_a_scope_and_is_passed_over_without_it(
    slack: AsyncWebClient, people: People, incidents: str
) -> None:
    named = await slack.chat_postMessage(channel=incidents, text="x", username="Pager", icon_emoji=":pager:")
    await people.act("app", scopes=["chat:write"])
    plain = await slack.chat_postMessage(channel=incidents, text="x", username="Pager", icon_emoji=":pager:")

    assert (named["message"]["username"], named["message"]["subtype"]) == ("Pager", "bot_message")
    assert named["message"]["icons"] == {"emoji": ":pager:"}
    assert "user" not in named["message"]
    assert (plain["message"]["user"], "username" in plain["message"]) == ("U0STOPSIGN", False)


async def test_posting_where_one_is_not_needs_its_own_scope(
    slack: AsyncWebClient, people: People, incidents: str
) -> None:
    await slack.conversations_leave(channel=incidents)
    with pytest.raises(SlackApiError, match="not_in_channel"):
        await slack.chat_postMessage(channel=incidents, text="x")

    await people.act("app", scopes=["chat:write", "chat:write.public"])

    assert (await slack.chat_postMessage(channel=incidents, text="x"))["channel"] == incidents


async def test_events_come_only_as_subscribed_and_with_their_scope(
    people: People, office: Office, incidents: str, heard: Heard
) -> None:
    await people.act("app", events=["reaction_added", "message.channels"], scopes=["reactions:read"])
    said = await people.say("U0ANNA", incidents, "not heard: no channels:history")
    await people.act("react", user="U0ANNA", channel=incidents, ts=said["ts"], name="eyes")
    await people.act("react", user="U0ANNA", channel=incidents, ts=said["ts"], name="eyes", remove=True)
    await people.act("app", scopes=None, events=["message.channels"])
    await people.say("U0ANNA", incidents, "heard")

    async with asyncio.timeout(3):
        while len(heard) < 2:
            await asyncio.sleep(0.01)
    assert {name for name, _ in heard} == {"reaction_added", "message"}
    assert [event["text"] for name, event in heard if name == "message"] == ["heard"]
    assert office.installation.scopes == ALL_SCOPES


async def test_what_an_app_cannot_have_is_refused(people: People) -> None:
    with pytest.raises(Impossible, match="unknown_event"):
        await people.act("app", events=["everything"])
    with pytest.raises(Impossible, match="unknown_setting"):
        await people.act("app", colour="red")


def test_every_method_is_in_the_table() -> None:
    assert set(METHODS) == set(METHOD_SCOPES)
    assert set(METHODS) >= APP_LEVEL
