"""What goes wrong on purpose: rate limits, faults, lost answers, lost and doubled deliveries."""

import asyncio
import time
from typing import Any

import pytest
from aiohttp import ServerDisconnectedError
from slack_sdk.errors import SlackApiError
from slack_sdk.http_retry.builtin_async_handlers import AsyncRateLimitErrorRetryHandler
from slack_sdk.web.async_client import AsyncWebClient

from bot.practice.workspace.client import Impossible, People
from bot.practice.workspace.office import Office
from bot.practice.workspace.rates import Rates

Heard = list[tuple[str, dict[str, Any]]]


async def test_a_channel_takes_a_burst_then_one_message_a_second(
    slack: AsyncWebClient, office: Office, incidents: str
) -> None:
    office.rates.on = True
    for number in range(5):
        await slack.chat_postMessage(channel=incidents, text=str(number))
    with pytest.raises(SlackApiError) as refused:
        await slack.chat_postMessage(channel=incidents, text="too fast")
    answer = refused.value.response
    assert (answer.status_code, answer["error"], answer.headers["Retry-After"]) == (429, "ratelimited", "1")

    slack.retry_handlers.append(AsyncRateLimitErrorRetryHandler(max_retry_count=1))
    assert (await slack.chat_postMessage(channel=incidents, text="in time"))["ok"]


@pytest.mark.parametrize(
    ("method", "burst", "wait"),
    [
        ("conversations.create", 20, 3),
        ("pins.add", 20, 3),
        ("chat.update", 50, 2),
        ("views.open", 100, 1),
        ("chat.postMessage", 5, 1),
        ("auth.test", 300, 1),
    ],
)
def test_each_tier_has_its_measure(method: str, burst: int, wait: int) -> None:
    now = [1000.0]
    rates = Rates(clock=lambda: now[0], on=True)

    assert [rates.wait_for(method, "C1") for _ in range(burst)] == [0] * burst
    assert rates.wait_for(method, "C1") == wait
    now[0] += wait
    assert rates.wait_for(method, "C1") == 0


def test_channels_do_not_wait_for_each_other() -> None:
    rates = Rates(clock=lambda: 0.0, on=True)

    assert sum(rates.wait_for("chat.postMessage", "C1") == 0 for _ in range(9)) == 5
    assert rates.wait_for("chat.postMessage", "C2") == 0


async def test_an_asked_429_counts_down(slack: AsyncWebClient, people: People, incidents: str) -> None:
    await people.fail({"method": "chat.*", "count": 1, "ratelimit": 7})

    with pytest.raises(SlackApiError) as refused:
        await slack.chat_postMessage(channel=incidents, text="x")
    assert refused.value.response.headers["Retry-After"] == "7"
    assert (await slack.chat_postMessage(channel=incidents, text="x"))["ok"]


async def test_latency_and_500_are_played(slack: AsyncWebClient, people: People, incidents: str) -> None:
    await people.fail({"method": "chat.postMessage", "latency_ms": 200, "count": 1}, {"http_500": True})
    began = time.perf_counter()
    assert (await slack.chat_postMessage(channel=incidents, text="x"))["ok"]
    assert time.perf_counter() - began > 0.2

    with pytest.raises(SlackApiError) as refused:
        await slack.auth_test()
    assert refused.value.response.status_code == 500
    await people.fail()
    assert (await slack.auth_test())["ok"]


async def test_an_answer_lost_after_processing_leaves_the_message_there(
    slack: AsyncWebClient, people: People, incidents: str
) -> None:
    await people.fail({"method": "chat.postMessage", "count": 1, "drop_after_processing": True})
    slack.retry_handlers.clear()

    with pytest.raises(ServerDisconnectedError):
        await slack.chat_postMessage(channel=incidents, text="did it arrive?")

    assert [row["text"] for row in await people.messages(incidents)] == ["did it arrive?"]
    (call,) = await people.calls("chat.postMessage")
    assert call["dropped"]


async def test_slack_sdk_retries_a_lost_connection_and_doubles_the_post(
    slack: AsyncWebClient, people: People, incidents: str
) -> None:
    await people.fail({"method": "chat.postMessage", "count": 1, "drop_after_processing": True})

    await slack.chat_postMessage(channel=incidents, text="twice")

    assert [row["text"] for row in await people.messages(incidents)] == ["twice", "twice"]


async def test_an_unknown_fault_is_refused(people: People) -> None:
    with pytest.raises(Impossible, match="unknown_failure"):
        await people.fail({"explode": True})


async def test_a_duplicate_delivery_carries_the_same_signature(people: People, incidents: str, heard: Heard) -> None:
    await people.fail({"method": "command", "count": 1, "duplicate_delivery": True})

    await people.command("U0ANNA", incidents, "/incident list")

    first, second = await people.deliveries()
    assert first["headers"] == second["headers"]
    assert first["body"] == second["body"]
    assert [name for name, _ in heard] == ["command", "command"]


async def test_an_event_is_delivered_again_until_acknowledged(
    people: People, bot: Any, incidents: str, heard: Heard
) -> None:
    bot.fail_events = 2

    await people.say("U0ANNA", incidents, "hello")

    async with asyncio.timeout(3):
        while not heard:
            await asyncio.sleep(0.01)
    assert bot.retries == [("2", "http_error")]


async def test_an_event_is_given_up_after_three_repeats(people: People, bot: Any, incidents: str, heard: Heard) -> None:
    bot.fail_events = 4

    await people.say("U0ANNA", incidents, "hello")

    async with asyncio.timeout(3):
        while len(await people.deliveries()) < 4:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)
    tries = [row["headers"].get("x-slack-retry-num") for row in await people.deliveries()]
    assert tries == [None, "1", "2", "3"]
    assert heard == []


async def test_a_lost_ack_of_an_event_doubles_it(people: People, incidents: str, heard: Heard) -> None:
    await people.fail({"method": "event", "count": 1, "drop_after_processing": True})

    await people.say("U0ANNA", incidents, "hello")

    async with asyncio.timeout(3):
        while len(heard) < 2:
            await asyncio.sleep(0.01)
    assert [event["text"] for _, event in heard] == ["hello", "hello"]


async def test_a_dead_bot_is_shown_to_the_person(people: People, office: Office, incidents: str) -> None:
    office.deliveries.http.bot_url = "http://127.0.0.1:9/slack/events"

    answer = await people.command("U0ANNA", incidents, "/incident list")

    assert answer["saw"][0]["text"] == '/incident failed with the error "dispatch_failed"'
