"""People act, a real Bolt app answers: commands, buttons, modals, events."""

import asyncio
import json
from typing import Any

import httpx
import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.practice.workspace.client import Impossible, People
from bot.practice.workspace.office import Office

Heard = list[tuple[str, dict[str, Any]]]
BUTTON: dict[str, Any] = {"type": "button", "action_id": "freeze", "text": {"type": "plain_text", "text": "Freeze"}}
MENU: dict[str, Any] = {
    "type": "static_select",
    "action_id": "role",
    "options": [{"text": {"type": "plain_text", "text": word}, "value": word} for word in ("ic", "ops")],
}
ACTS: list[dict[str, Any]] = [
    {"type": "actions", "block_id": "acts", "elements": [BUTTON, MENU, {"type": "users_select", "action_id": "person"}]}
]


def names(heard: Heard) -> list[str]:
    return [name for name, _ in heard]


def said(state: dict[str, Any], channel: str) -> list[dict[str, Any]]:
    return next(list(row["messages"]) for row in state["channels"] if row["id"] == channel)


async def heard_all(heard: Heard, *wanted: str) -> None:
    async with asyncio.timeout(3):
        while not set(wanted) <= set(names(heard)):
            await asyncio.sleep(0.01)


async def test_a_command_is_acknowledged_with_a_text_only_its_person_sees(
    people: People, incidents: str, heard: Heard
) -> None:
    answer = await people.command("U0ANNA", incidents, "/incident list")

    assert answer["ok"]
    assert answer["ack"]["status"] == 200
    assert answer["ack"]["ms"] < 3000
    (seen,) = answer["saw"]
    assert (seen["text"], seen["ephemeral_to"]) == ("no open incidents", "U0ANNA")
    body = heard[0][1]
    assert (body["command"], body["text"], body["channel_name"], body["user_name"]) == (
        "/incident",
        "list",
        "incidents",
        "anna",
    )
    assert (await people.state())["notices"]["U0ANNA"][0]["text"] == "no open incidents"


async def test_an_ack_may_be_for_the_whole_channel(people: People, incidents: str) -> None:
    answer = await people.command("U0ANNA", incidents, "/incident public")

    assert answer["saw"][0]["ephemeral_to"] is None


@pytest.mark.parametrize(
    ("word", "error"),
    [("slow", "operation_timeout"), ("crash", "dispatch_failed"), ("bad", "invalid_command_response")],
)
async def test_a_late_failed_or_malformed_ack_is_shown_as_slack_does(
    people: People, incidents: str, word: str, error: str
) -> None:
    answer = await people.command("U0ANNA", incidents, f"/incident {word}")

    assert answer["saw"][0]["text"] == f'/incident failed with the error "{error}"'
    assert answer["saw"][0]["user"] == "USLACKBOT"


async def test_nobody_acts_where_he_is_not(people: People, slack: AsyncWebClient) -> None:
    channel = (await slack.conversations_create(name="inc-1"))["channel"]["id"]

    with pytest.raises(Impossible) as refused:
        await people.command("U0ANNA", channel, "/incident list")

    assert refused.value.body["error"] == "not_in_channel"


async def test_a_button_tells_the_message_and_the_answer_replaces_it(
    people: People, slack: AsyncWebClient, incidents: str, heard: Heard
) -> None:
    ts = (await slack.chat_postMessage(channel=incidents, text="inc-1", blocks=ACTS))["ts"]

    answer = await people.press("U0BEN", incidents, ts, "freeze")

    assert answer["ok"]
    body = next(body for name, body in heard if name == "freeze")
    assert body["container"] == {"type": "message", "message_ts": ts, "channel_id": incidents, "is_ephemeral": False}
    assert body["user"] == {"id": "U0BEN", "username": "ben", "name": "ben", "team_id": "T0PRACTICE"}
    assert body["message"]["blocks"][0]["block_id"] == "acts"
    assert body["actions"][0]["action_id"] == "freeze"
    await people.until(lambda state: said(state, incidents)[-1]["text"] == "frozen")


async def test_a_menu_sends_what_was_picked_and_a_button_the_state_of_all(
    people: People, slack: AsyncWebClient, incidents: str, heard: Heard
) -> None:
    ts = (await slack.chat_postMessage(channel=incidents, text="inc-1", blocks=ACTS))["ts"]

    await people.press("U0BEN", incidents, ts, "role", selected_option="ops")
    await people.press("U0BEN", incidents, ts, "person", selected_user="U0ANNA")
    await people.press("U0BEN", incidents, ts, "freeze")

    picks = [body["actions"][0] for name, body in heard if name == "pick"]
    assert picks[0]["selected_option"]["value"] == "ops"
    assert picks[1]["selected_user"] == "U0ANNA"
    state = next(body for name, body in heard if name == "freeze")["state"]["values"]["acts"]
    assert (state["role"]["selected_option"]["value"], state["person"]["selected_user"]) == ("ops", "U0ANNA")


async def test_an_outsider_presses_under_his_own_team(
    people: People, slack: AsyncWebClient, incidents: str, heard: Heard
) -> None:
    ts = (await slack.chat_postMessage(channel=incidents, text="inc-1", blocks=ACTS))["ts"]

    await people.press("U0OUT", incidents, ts, "freeze")

    assert heard[-1][1]["user"]["team_id"] == "T0ELSEWHERE"
    assert (await people.channel("incidents"))["shared"]


async def test_an_ephemeral_message_shows_to_one_and_its_button_can_delete_it(
    people: People, slack: AsyncWebClient, incidents: str
) -> None:
    blocks = [{"type": "actions", "elements": [BUTTON | {"action_id": "ack_page"}]}]
    ts = (await slack.chat_postEphemeral(channel=incidents, user="U0ANNA", text="ack?", blocks=blocks))["message_ts"]

    with pytest.raises(Impossible):
        await people.press("U0BEN", incidents, ts, "ack_page")
    await people.press("U0ANNA", incidents, ts, "ack_page")

    await people.until(lambda state: all(row["ts"] != ts for row in said(state, incidents)))


async def test_a_response_url_takes_five_answers(people: People, incidents: str, heard: Heard) -> None:
    await people.command("U0ANNA", incidents, "/incident answer")
    async with asyncio.timeout(3):
        while names(heard).count("respond") < 6:
            await asyncio.sleep(0.01)

    statuses = [(body["status"], json.loads(body["body"])) for name, body in heard if name == "respond"]
    assert [status for status, _ in statuses] == [200] * 5 + [404]
    assert statuses[5][1] == {"ok": False, "error": "used_url"}


async def test_a_response_url_ends_after_thirty_minutes(people: People, office: Office, incidents: str) -> None:
    url = office.world.new_response_url("U0ANNA", incidents)
    office.world.response_urls[url.rsplit("/", 1)[1]].at -= 30 * 60 + 1

    async with httpx.AsyncClient(trust_env=False) as http:
        assert (await http.post(url, json={"text": "late"})).json()["error"] == "expired_url"
        assert (await http.post(url[:-1], json={"text": "guessed"})).json()["error"] == "invalid_url"


async def test_a_modal_makes_its_round_trip(people: People, incidents: str, heard: Heard) -> None:
    opened = await people.command("U0ANNA", incidents, "/incident declare", wait_view=True)
    assert opened["view"]["title"]["text"] == "Declare"

    empty = await people.submit("U0ANNA", {"summary": ""})
    assert empty["errors"] == {"summary": "Please complete this required field."}
    assert "submit" not in names(heard)

    short = await people.submit("U0ANNA", {"summary": "short"})
    assert short["errors"] == {"summary": "Say more."}
    assert len(short["open"]) == 1

    done = await people.submit("U0ANNA", {"summary": {"text": "two sequencers sign"}})
    assert done["ok"]
    assert done["open"] == []
    view = heard[-1][1]["view"]
    assert view["state"]["values"]["summary"]["text"] == {"type": "plain_text_input", "value": "two sequencers sign"}
    assert view["private_metadata"] == "kept"


@pytest.mark.parametrize(
    ("said", "titles", "error"),
    [
        ("push", ["Declare", "Second"], {}),
        ("update", ["Changed"], {}),
        ("clear", [], {}),
        ("nonsense", ["Declare"], {"": "We had some trouble connecting. Try again?"}),
    ],
)
async def test_each_response_action_changes_the_stack(
    people: People, incidents: str, said: str, titles: list[str], error: dict[str, str]
) -> None:
    await people.command("U0ANNA", incidents, "/incident declare", wait_view=True)

    answer = await people.submit("U0ANNA", {"summary": said})

    assert [view["title"]["text"] for view in answer["open"]] == titles
    assert answer["errors"] == error


async def test_a_menu_in_a_home_tab_tells_its_view(people: People, slack: AsyncWebClient, heard: Heard) -> None:
    view = (await slack.views_publish(user_id="U0ANNA", view={"type": "home", "blocks": ACTS}))["view"]

    answer = await people.act("press", user="U0ANNA", view_id=view["id"], action_id="role", selected_option="ic")

    assert answer["ok"]
    body = next(body for name, body in heard if name == "pick")
    assert body["container"] == {"type": "view", "view_id": view["id"]}
    assert body["view"]["state"]["values"]["acts"]["role"]["selected_option"]["value"] == "ic"
    assert "response_url" not in body


async def test_closing_a_modal_is_told_to_who_asked(people: People, incidents: str, heard: Heard) -> None:
    await people.command("U0ANNA", incidents, "/incident declare", wait_view=True)

    assert (await people.act("close", user="U0ANNA"))["open"] == []

    await heard_all(heard, "closed")
    assert heard[-1][1]["is_cleared"] is False


async def test_a_trigger_lives_three_seconds_and_opens_once(
    people: People, slack: AsyncWebClient, office: Office, incidents: str
) -> None:
    view = {"type": "modal", "title": {"type": "plain_text", "text": "x"}, "blocks": [{"type": "divider"}]}
    trigger = office.world.new_trigger("U0ANNA")
    await slack.views_open(trigger_id=trigger, view=view)
    with pytest.raises(SlackApiError, match="exchanged_trigger_id"):
        await slack.views_open(trigger_id=trigger, view=view)
    late = office.world.new_trigger("U0ANNA")
    office.world.triggers[late].at -= 3.1
    with pytest.raises(SlackApiError, match="expired_trigger_id"):
        await slack.views_open(trigger_id=late, view=view)
    with pytest.raises(SlackApiError, match="invalid_trigger_id"):
        await slack.views_open(trigger_id="1.2.3", view=view)


async def test_events_reach_the_bot(people: People, slack: AsyncWebClient, incidents: str, heard: Heard) -> None:
    said = await people.say("U0ANNA", incidents, "restarted seq-2")
    await people.act("react", user="U0BEN", channel=incidents, ts=said["ts"], name=":pushpin:")
    await people.act("react", user="U0BEN", channel=incidents, ts=said["ts"], name="pushpin", remove=True)
    await people.act("home", user="U0ANNA")
    await people.act("shortcut", user="U0ANNA", channel=incidents, ts=said["ts"], callback_id="add_to_timeline")
    await people.act("upload", user="U0ANNA", channel=incidents, filename="trace.log", content="panic")
    await people.act("edit", user="U0ANNA", channel=incidents, ts=said["ts"], text="restarted seq-3")
    await people.act("delete", user="U0ANNA", channel=incidents, ts=said["ts"])
    room = (await slack.conversations_create(name="inc-7"))["channel"]["id"]
    await slack.conversations_invite(channel=room, users="U0ANNA,U0BEN")

    await heard_all(
        heard,
        "message",
        "reaction_added",
        "reaction_removed",
        "app_home_opened",
        "shortcut",
        "file_shared",
        "member_joined_channel",
    )
    reaction = next(event for name, event in heard if name == "reaction_added")
    assert reaction["item"] == {"type": "message", "channel": incidents, "ts": said["ts"]}
    async with asyncio.timeout(3):
        while not {"message_changed", "message_deleted"} <= {event.get("subtype") for _, event in heard}:
            await asyncio.sleep(0.01)


async def test_the_bots_address_answers_slacks_challenge(office: Office) -> None:
    ack = await office.deliveries.challenge()

    assert (ack.status, ack.body) == (200, {"challenge": "is-this-your-address"})
