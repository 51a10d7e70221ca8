"""The home tab, shortcuts and commands: what people start from, and what the app gets of it."""

import asyncio
from typing import Any

import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.practice.workspace.client import Impossible, People

Heard = list[tuple[str, dict[str, Any]]]
INPUT: dict[str, Any] = {
    "type": "input",
    "block_id": "search",
    "dispatch_action": True,
    "label": {"type": "plain_text", "text": "Search"},
    "element": {"type": "plain_text_input", "action_id": "role"},
}
BUTTON: dict[str, Any] = {"type": "button", "action_id": "role", "text": {"type": "plain_text", "text": "Mine"}}
HOME: dict[str, Any] = {
    "type": "home",
    "blocks": [{"type": "actions", "block_id": "acts", "elements": [BUTTON]}, INPUT],
}


async def first(heard: Heard, wanted: str) -> dict[str, Any]:
    async with asyncio.timeout(3):
        while True:
            for name, body in heard:
                if name == wanted:
                    return body
            await asyncio.sleep(0.01)


async def test_opening_the_home_tab_is_told_with_the_view_that_stands_there(
    people: People, slack: AsyncWebClient, heard: Heard
) -> None:
    opened = await people.act("home", user="U0ANNA")
    before = await first(heard, "app_home_opened")
    heard.clear()
    view = (await slack.views_publish(user_id="U0ANNA", view=HOME))["view"]
    await people.act("home", user="U0ANNA")
    after = await first(heard, "app_home_opened")
    heard.clear()
    await people.act("home", user="U0ANNA", tab="messages")
    messages = await first(heard, "app_home_opened")

    assert (before["user"], before["tab"], before["channel"]) == ("U0ANNA", "home", opened["channel"])
    assert "view" not in before
    assert after["view"]["id"] == view["id"]
    assert (messages["tab"], "view" in messages) == ("messages", False)


async def test_a_press_in_the_home_tab_tells_view_and_state_but_no_channel(
    people: People, slack: AsyncWebClient, heard: Heard
) -> None:
    view = (await slack.views_publish(user_id="U0ANNA", view=HOME))["view"]

    answer = await people.act(
        "press", user="U0ANNA", view_id=view["id"], action_id="role", block_id="acts", values={"search": "seq"}
    )

    assert answer["ok"]
    body = await first(heard, "pick")
    assert body["container"] == {"type": "view", "view_id": view["id"]}
    assert body["view"]["state"]["values"] == {"search": {"role": {"type": "plain_text_input", "value": "seq"}}}
    assert not {"channel", "message", "response_url"} & body.keys()
    with pytest.raises(SlackApiError, match="not_found"):
        await slack.views_push(trigger_id=body["trigger_id"], view=modal())
    with pytest.raises(Impossible, match="view_not_found"):
        await people.act("press", user="U0BEN", view_id=view["id"], action_id="role")


def modal() -> dict[str, Any]:
    """Return a modal without inputs."""
    return {"type": "modal", "title": {"type": "plain_text", "text": "x"}, "blocks": [{"type": "divider"}]}


async def test_typing_into_a_dispatching_field_is_an_action(
    people: People, slack: AsyncWebClient, heard: Heard
) -> None:
    view = (await slack.views_publish(user_id="U0ANNA", view=HOME))["view"]

    await people.act("press", user="U0ANNA", view_id=view["id"], action_id="role", block_id="search", value="seq-2")

    action = (await first(heard, "pick"))["actions"][0]
    assert (action["type"], action["value"], action["block_id"]) == ("plain_text_input", "seq-2", "search")


async def test_a_home_tab_takes_no_modals_keys_and_no_strangers(slack: AsyncWebClient) -> None:
    with pytest.raises(SlackApiError, match="invalid_arguments"):
        await slack.views_publish(user_id="U0ANNA", view=HOME | {"title": {"type": "plain_text", "text": "x"}})
    with pytest.raises(SlackApiError, match="user_not_found"):
        await slack.views_publish(user_id="U0NOBODY", view=HOME)


async def test_a_global_shortcut_knows_no_channel_and_opens_a_modal(people: People, heard: Heard) -> None:
    answer = await people.act("shortcut", user="U0ANNA", callback_id="declare_incident", wait_view=True)

    body = await first(heard, "global_shortcut")
    assert answer["view"]["callback_id"] == "declare"
    assert (body["type"], body["callback_id"], body["user"]["id"]) == ("shortcut", "declare_incident", "U0ANNA")
    assert not {"channel", "message", "response_url"} & body.keys()
    assert (await people.state())["global_shortcuts"] == [
        {"callback_id": "declare_incident", "name": "Declare an incident"}
    ]


async def test_a_message_shortcut_carries_the_message(people: People, incidents: str, heard: Heard) -> None:
    said = await people.say("U0ANNA", incidents, "restarted seq-2")

    await people.act("shortcut", user="U0BEN", channel=incidents, ts=said["ts"], callback_id="add_to_timeline")

    body = await first(heard, "shortcut")
    assert (body["type"], body["message_ts"], body["message"]["text"]) == (
        "message_action",
        said["ts"],
        "restarted seq-2",
    )
    assert (body["channel"], body["user"]["id"]) == ({"id": incidents, "name": "incidents"}, "U0BEN")
    assert body["action_ts"] != said["ts"]
    assert body["response_url"].startswith("http")


async def test_only_what_the_app_has_can_be_used(people: People, incidents: str, heard: Heard) -> None:
    said = await people.say("U0ANNA", incidents, "x")
    await people.act("app", shortcuts={"note": "Note"}, global_shortcuts={}, commands=["/incident"])

    for body in ({"callback_id": "declare_incident"}, {"callback_id": "add_to_timeline", "ts": said["ts"]}):
        with pytest.raises(Impossible, match="shortcut_not_found"):
            await people.act("shortcut", user="U0ANNA", channel=incidents, **body)
    unknown = await people.command("U0ANNA", incidents, "/outage list")
    known = await people.command("U0ANNA", incidents, "/incident list")

    assert (unknown["ok"], unknown["saw"][0]["text"]) == (False, "`/outage` is not a valid command.")
    assert known["ok"]
    assert [name for name, _ in heard if name == "command"] == ["command"]
