"""The Web API through slack_sdk: what each method does, and the errors by Slack's names."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.practice.workspace.client import People
from bot.practice.workspace.office import Office

Call = Callable[[AsyncWebClient, str, str], Awaitable[Any]]


@pytest.mark.parametrize(("token", "error"), [(None, "not_authed"), ("xoxb-other", "invalid_auth")])
async def test_the_token_is_checked(workspace: tuple[str, Office], token: str | None, error: str) -> None:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    async with httpx.AsyncClient(base_url=workspace[0], trust_env=False) as http:
        answer = await http.post("/api/auth.test", headers=headers)

    assert answer.json() == {"ok": False, "error": error}


async def test_arguments_come_by_query_form_or_json(workspace: tuple[str, Office], slack: AsyncWebClient) -> None:
    auth = {"authorization": f"Bearer {slack.token}"}
    async with httpx.AsyncClient(base_url=workspace[0], trust_env=False, headers=auth) as http:
        answers = [
            await http.get("/api/users.info", params={"user": "U0ANNA"}),
            await http.post("/api/users.info", data={"user": "U0ANNA"}),
            await http.post("/api/users.info", json={"user": "U0ANNA"}),
        ]
        unknown = await http.post("/api/users.teleport")

    assert [answer.json()["user"]["tz"] for answer in answers] == ["Europe/Berlin"] * 3
    assert "chat:write" in answers[0].headers["x-oauth-scopes"].split(",")
    assert unknown.json()["error"] == "unknown_method"


async def test_who_is_who(slack: AsyncWebClient, people: People) -> None:
    assert (await slack.auth_test())["bot_id"] == "B0STOPSIGN"
    assert (await slack.team_info())["team"]["id"] == "T0PRACTICE"
    assert (await slack.users_lookupByEmail(email="anna@practice.example"))["user"]["id"] == "U0ANNA"
    flags = {
        user["id"]: (user["is_restricted"], user["deleted"], user["team_id"])
        for user in (await slack.users_list())["members"]
    }
    assert flags["U0GUEST"][0]
    assert flags["U0GONE"][1]
    assert flags["U0OUT"][2] == "T0ELSEWHERE"
    group = (await people.act("usergroup", handle="oncall", users=["U0ANNA"]))["usergroup"]["id"]
    assert (await slack.usergroups_list())["usergroups"][0]["handle"] == "oncall"
    assert (await slack.usergroups_users_list(usergroup=group))["users"] == ["U0ANNA"]


async def test_a_channel_lives(slack: AsyncWebClient) -> None:
    channel = (await slack.conversations_create(name="inc-7"))["channel"]["id"]
    await slack.conversations_invite(channel=channel, users=["U0ANNA", "U0BEN"])
    await slack.conversations_setTopic(channel=channel, topic="SEV-1")
    await slack.conversations_setPurpose(channel=channel, purpose="inc-7")
    await slack.conversations_rename(channel=channel, name="inc-7-done")
    assert "num_members" not in (await slack.conversations_info(channel=channel))["channel"]
    info = (await slack.conversations_info(channel=channel, include_num_members=True))["channel"]
    assert (info["name"], info["topic"]["value"], info["num_members"]) == ("inc-7-done", "SEV-1", 3)
    assert set((await slack.conversations_members(channel=channel))["members"]) == {"U0STOPSIGN", "U0ANNA", "U0BEN"}
    await slack.conversations_archive(channel=channel)
    with pytest.raises(SlackApiError, match="is_archived"):
        await slack.chat_postMessage(channel=channel, text="x")
    open_ones = await slack.conversations_list(exclude_archived=True, limit=2)
    assert [row["name"] for row in open_ones["channels"]] == ["general", "incidents"]
    rest = await slack.conversations_list(
        exclude_archived=True, limit=2, cursor=open_ones["response_metadata"]["next_cursor"]
    )
    assert [row["name"] for row in rest["channels"]] == ["avs-operators"]


async def test_a_direct_message_opens_once(slack: AsyncWebClient) -> None:
    opened = (await slack.conversations_open(users="U0ANNA"))["channel"]["id"]

    assert opened.startswith("D")
    assert (await slack.chat_postMessage(channel="U0ANNA", text="page"))["channel"] == opened
    assert (await slack.conversations_open(users="U0ANNA"))["already_open"]


async def test_metadata_threads_and_pages_read_back(slack: AsyncWebClient, incidents: str) -> None:
    metadata = {"event_type": "stopsign", "event_payload": {"key": "outbox-1"}}
    root = (await slack.chat_postMessage(channel=incidents, text="root", metadata=metadata))["ts"]
    for word in ("one", "two"):
        await slack.chat_postMessage(channel=incidents, text=word, thread_ts=root)
    last = (await slack.chat_postMessage(channel=incidents, text="last"))["ts"]

    plain = await slack.conversations_history(channel=incidents)
    assert [row["text"] for row in plain["messages"]] == ["last", "root"]
    assert "metadata" not in plain["messages"][1]
    full = await slack.conversations_history(channel=incidents, include_all_metadata=True, latest=last, limit=1)
    assert full["messages"][0]["metadata"] == metadata
    assert full["messages"][0]["reply_count"] == 2
    replies = await slack.conversations_replies(channel=incidents, ts=root)
    assert [row["text"] for row in replies["messages"]] == ["root", "one", "two"]
    first = await slack.conversations_history(channel=incidents, limit=1)
    assert first["has_more"]
    after = await slack.conversations_history(
        channel=incidents, limit=1, cursor=first["response_metadata"]["next_cursor"]
    )
    assert (after["messages"][0]["text"], after["has_more"]) == ("root", False)


async def test_an_update_with_text_alone_removes_the_blocks(slack: AsyncWebClient, incidents: str) -> None:
    blocks = [{"type": "header", "text": {"type": "plain_text", "text": "SEV-1"}}]
    ts = (await slack.chat_postMessage(channel=incidents, text="x", blocks=blocks))["ts"]
    kept = (await slack.chat_update(channel=incidents, ts=ts, text="y", blocks=blocks))["message"]
    assert kept["blocks"]
    assert "edited" not in kept
    gone = (await slack.chat_update(channel=incidents, ts=ts, text="z"))["message"]
    assert "blocks" not in gone
    assert gone["edited"]
    assert (await slack.chat_getPermalink(channel=incidents, message_ts=ts))["permalink"].startswith("http://127.0.0.1")
    await slack.chat_delete(channel=incidents, ts=ts)
    assert (await slack.conversations_history(channel=incidents))["messages"] == []


async def test_marks_on_messages_and_channels(slack: AsyncWebClient, incidents: str) -> None:
    ts = (await slack.chat_postMessage(channel=incidents, text="header"))["ts"]
    await slack.pins_add(channel=incidents, timestamp=ts)
    assert (await slack.pins_list(channel=incidents))["items"][0]["message"]["ts"] == ts
    await slack.reactions_add(channel=incidents, timestamp=ts, name="eyes")
    shown = (await slack.reactions_get(channel=incidents, timestamp=ts))["message"]["reactions"]
    assert shown == [{"name": "eyes", "users": ["U0STOPSIGN"], "count": 1}]
    mark = await slack.bookmarks_add(channel_id=incidents, title="Runbook", type="link", link="https://example.org/r")
    id_ = mark["bookmark"]["id"]
    await slack.bookmarks_edit(channel_id=incidents, bookmark_id=id_, title="Console")
    assert [row["title"] for row in (await slack.bookmarks_list(channel_id=incidents))["bookmarks"]] == ["Console"]
    await slack.bookmarks_remove(channel_id=incidents, bookmark_id=id_)
    await slack.pins_remove(channel=incidents, timestamp=ts)
    await slack.reactions_remove(channel=incidents, timestamp=ts, name="eyes")
    assert (await slack.pins_list(channel=incidents))["items"] == []


async def test_a_file_goes_up_in_three_steps_and_comes_down(
    slack: AsyncWebClient, people: People, incidents: str
) -> None:
    answer = await slack.files_upload_v2(
        channel=incidents, filename="postmortem.md", content="# inc-7", title="Postmortem", initial_comment="draft"
    )

    file = (await slack.files_info(file=answer["file"]["id"]))["file"]
    assert (file["title"], file["size"], file["mimetype"]) == ("Postmortem", 7, "text/plain")
    assert file["shares"]["public"][incidents]
    (message,) = await people.messages(incidents)
    assert (message["text"], message["files"]) == ("draft", [file["id"]])
    async with httpx.AsyncClient(trust_env=False) as http:
        url = file["url_private_download"]
        assert (await http.get(url)).status_code == 302
        assert (await http.get(url, headers={"authorization": f"Bearer {slack.token}"})).text == "# inc-7"


async def test_a_home_tab_is_published_and_refuses_an_old_hash(slack: AsyncWebClient, people: People) -> None:
    view = {"type": "home", "blocks": [{"type": "header", "text": {"type": "plain_text", "text": "Open"}}]}
    first = (await slack.views_publish(user_id="U0ANNA", view=view))["view"]
    await slack.views_publish(user_id="U0ANNA", view=view, hash=first["hash"])
    with pytest.raises(SlackApiError, match="hash_conflict"):
        await slack.views_publish(user_id="U0ANNA", view=view, hash=first["hash"])
    assert (await people.state())["homes"]["U0ANNA"]["id"] == first["id"]


async def test_views_are_pushed_updated_and_no_more_than_three(slack: AsyncWebClient, office: Office) -> None:
    view = {"type": "modal", "title": {"type": "plain_text", "text": "x"}, "blocks": [{"type": "divider"}]}
    root = (await slack.views_open(trigger_id=office.world.new_trigger("U0ANNA"), view=view))["view"]
    for _ in range(2):
        trigger = office.world.new_trigger("U0ANNA", view=root["id"])
        top = (await slack.views_push(trigger_id=trigger, view=view))["view"]
    assert (top["root_view_id"], len(office.world.stacks["U0ANNA"])) == (root["id"], 3)
    with pytest.raises(SlackApiError, match="push_limit_reached"):
        await slack.views_push(trigger_id=office.world.new_trigger("U0ANNA", view=root["id"]), view=view)
    await slack.views_update(view_id=root["id"], view=view | {"external_id": "one"})
    await slack.views_update(external_id="one", view=view | {"external_id": "one"})
    with pytest.raises(SlackApiError, match="duplicate_external_id"):
        await slack.views_open(trigger_id=office.world.new_trigger("U0BEN"), view=view | {"external_id": "one"})
    with pytest.raises(SlackApiError, match="not_found"):
        await slack.views_update(view_id="V0", view=view)


LINK = {"title": "t", "type": "link", "link": "https://example.org"}

# the error, and a call that gets it: (client, #incidents, ts of the bot's pinned message there)
REFUSED: list[tuple[str, Call]] = [
    ("channel_not_found", lambda s, c, t: s.chat_postMessage(channel="C0NONE", text="x")),
    ("channel_not_found", lambda s, c, t: s.chat_postMessage(channel="U0GONE", text="x")),
    ("thread_not_found", lambda s, c, t: s.chat_postMessage(channel=c, text="x", thread_ts="1.000001")),
    ("message_not_found", lambda s, c, t: s.chat_update(channel=c, ts="1.000001", text="x")),
    ("message_not_found", lambda s, c, t: s.chat_delete(channel=c, ts="1.000001")),
    ("message_not_found", lambda s, c, t: s.chat_getPermalink(channel=c, message_ts="1.000001")),
    ("user_not_in_channel", lambda s, c, t: s.chat_postEphemeral(channel=c, user="U0GONE", text="x")),
    ("name_taken", lambda s, c, t: s.conversations_create(name="incidents")),
    ("invalid_name_maxlength", lambda s, c, t: s.conversations_create(name="x" * 81)),
    ("invalid_name_specials", lambda s, c, t: s.conversations_create(name="Inc 7")),
    ("name_taken", lambda s, c, t: s.conversations_rename(channel=c, name="general")),
    ("already_in_channel", lambda s, c, t: s.conversations_invite(channel=c, users="U0ANNA")),
    ("user_not_found", lambda s, c, t: s.conversations_invite(channel=c, users="U0NOBODY")),
    ("cant_invite", lambda s, c, t: s.conversations_invite(channel=c, users="U0GONE")),
    ("cant_invite_self", lambda s, c, t: s.conversations_invite(channel=c, users="U0STOPSIGN")),
    ("no_user", lambda s, c, t: s.conversations_invite(channel=c, users="")),
    ("too_many_users", lambda s, c, t: s.conversations_invite(channel=c, users=[f"U{i}" for i in range(101)])),
    ("not_archived", lambda s, c, t: s.conversations_unarchive(channel=c)),
    ("too_long", lambda s, c, t: s.conversations_setTopic(channel=c, topic="x" * 251)),
    ("too_long", lambda s, c, t: s.conversations_setPurpose(channel=c, purpose="x" * 251)),
    ("user_not_found", lambda s, c, t: s.conversations_open(users="U0NOBODY")),
    ("user_disabled", lambda s, c, t: s.conversations_open(users="U0GONE")),
    ("cannot_dm_bot", lambda s, c, t: s.conversations_open(users="U0STOPSIGN")),
    ("cant_kick_self", lambda s, c, t: s.conversations_kick(channel=c, user="U0STOPSIGN")),
    ("invalid_types", lambda s, c, t: s.conversations_list(types="secret")),
    ("invalid_cursor", lambda s, c, t: s.conversations_list(cursor="???")),
    ("invalid_limit", lambda s, c, t: s.conversations_history(channel=c, limit=1000)),
    ("thread_not_found", lambda s, c, t: s.conversations_replies(channel=c, ts="1.000001")),
    ("already_pinned", lambda s, c, t: s.pins_add(channel=c, timestamp=t)),
    ("bad_timestamp", lambda s, c, t: s.pins_add(channel=c, timestamp="yesterday")),
    ("message_not_found", lambda s, c, t: s.pins_add(channel=c, timestamp="1.000001")),
    ("already_reacted", lambda s, c, t: s.reactions_add(channel=c, timestamp=t, name="eyes")),
    ("no_reaction", lambda s, c, t: s.reactions_remove(channel=c, timestamp=t, name="wave")),
    ("invalid_name", lambda s, c, t: s.reactions_add(channel=c, timestamp=t, name="No Such!")),
    ("invalid_link", lambda s, c, t: s.bookmarks_add(channel_id=c, **{**LINK, "link": "javascript:alert(1)"})),
    ("invalid_bookmark_type", lambda s, c, t: s.bookmarks_add(channel_id=c, **{**LINK, "type": "folder"})),
    ("not_found", lambda s, c, t: s.bookmarks_edit(channel_id=c, bookmark_id="Bk0", title="x")),
    ("user_not_found", lambda s, c, t: s.users_info(user="U0NOBODY")),
    ("users_not_found", lambda s, c, t: s.users_lookupByEmail(email="nobody@practice.example")),
    ("no_such_subteam", lambda s, c, t: s.usergroups_users_list(usergroup="S0")),
    ("file_not_found", lambda s, c, t: s.files_info(file="F0")),
    ("file_not_found", lambda s, c, t: s.files_completeUploadExternal(files=[{"id": "F0", "title": "x"}])),
    ("invalid_arguments", lambda s, c, t: s.files_getUploadURLExternal(filename="x", length=0)),
    ("cant_archive_general", lambda s, c, t: s.api_call("conversations.archive", params={"channel": "general-id"})),
]


async def test_slack_refuses_by_these_names(slack: AsyncWebClient, office: Office, incidents: str) -> None:
    general = office.world.channel_named("general")
    assert general is not None
    office.world.channels["general-id"] = general
    ts = (await slack.chat_postMessage(channel=incidents, text="header"))["ts"]
    await slack.pins_add(channel=incidents, timestamp=ts)
    await slack.reactions_add(channel=incidents, timestamp=ts, name="eyes")

    said = []
    for _, call in REFUSED:
        with pytest.raises(SlackApiError) as refused:
            await call(slack, incidents, ts)
        said.append(refused.value.response["error"])

    assert said == [error for error, _ in REFUSED]


async def test_the_bot_touches_only_its_own_and_only_where_it_is(
    slack: AsyncWebClient, people: People, incidents: str
) -> None:
    said = await people.say("U0ANNA", incidents, "mine")
    with pytest.raises(SlackApiError, match="cant_update_message"):
        await slack.chat_update(channel=incidents, ts=said["ts"], text="x")
    with pytest.raises(SlackApiError, match="cant_delete_message"):
        await slack.chat_delete(channel=incidents, ts=said["ts"])
    await slack.conversations_leave(channel=incidents)
    with pytest.raises(SlackApiError, match="not_in_channel"):
        await slack.chat_postMessage(channel=incidents, text="x")
    await slack.conversations_join(channel=incidents)
    assert (await slack.conversations_join(channel=incidents))["warning"] == "already_in_channel"


async def test_an_invitation_is_for_all_or_nobody_unless_forced(slack: AsyncWebClient) -> None:
    channel = (await slack.conversations_create(name="inc-8"))["channel"]["id"]
    with pytest.raises(SlackApiError) as refused:
        await slack.conversations_invite(channel=channel, users="U0ANNA,U0NOBODY")
    assert refused.value.response["errors"] == [{"ok": False, "error": "user_not_found", "user": "U0NOBODY"}]
    assert (await slack.conversations_members(channel=channel))["members"] == ["U0STOPSIGN"]

    forced = await slack.conversations_invite(channel=channel, users="U0ANNA,U0NOBODY", force=True)
    assert forced["channel"]["num_members"] == 2


async def test_every_call_is_logged_without_its_token(slack: AsyncWebClient, people: People, incidents: str) -> None:
    await slack.chat_postMessage(channel=incidents, text="x", metadata={"event_type": "e", "event_payload": {}})

    (call,) = await people.calls("chat.postMessage")
    assert call["args"]["channel"] == incidents
    assert call["result"]["ok"]
    assert str(slack.token) not in str(call)
