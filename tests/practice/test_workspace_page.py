"""The page in a real browser: a person types, presses and reads; hostile text stays text."""

from typing import Any

import pytest
from playwright.async_api import Page, expect
from slack_sdk.web.async_client import AsyncWebClient

from bot.practice.workspace.client import People
from bot.practice.workspace.office import Office

HOSTILE = (
    "<script>window.hacked = 1</script> <img src=x onerror='window.hacked = 1'> "
    "<javascript:window.hacked=1|click me> *<b onclick=1>bold</b>* `<i>` {{7*7}} \u202eevil"
)
BUTTON: dict[str, Any] = {
    "type": "button",
    "action_id": "freeze",
    "style": "danger",
    "text": {"type": "plain_text", "text": "Freeze"},
}

pytestmark = pytest.mark.peer("chromium")


async def test_a_person_types_a_command_presses_a_button_and_sees_the_message_change(
    page: Page, workspace: tuple[str, Office], slack: AsyncWebClient, incidents: str
) -> None:
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": {"type": "plain_text", "text": "frozen 0 of 3"}},
        {"type": "actions", "block_id": "acts", "elements": [BUTTON]},
    ]
    ts = (await slack.chat_postMessage(channel=incidents, text="inc-1", blocks=blocks))["ts"]
    await page.goto(f"{workspace[0]}/#{incidents}/U0ANNA")
    messages = page.get_by_test_id("message")
    await expect(messages).to_have_count(1)

    await page.get_by_test_id("composer").fill("/incident list")
    await page.keyboard.press("Enter")
    await expect(messages.nth(1)).to_contain_text("Only visible to you")
    await expect(messages.nth(1)).to_contain_text("no open incidents")
    await expect(page.get_by_test_id("status")).to_contain_text("/incident acknowledged in")

    button = messages.first.locator('[data-action-id="freeze"]')
    await button.focus()
    await page.keyboard.press("Enter")
    await expect(messages.first).to_contain_text("frozen 3 of 3")
    await expect(button).to_be_focused()

    await slack.pins_add(channel=incidents, timestamp=ts)
    await expect(page.get_by_test_id("pinned")).to_contain_text("frozen 3 of 3")

    await page.get_by_test_id("act-as").select_option("U0BEN")
    await expect(messages).to_have_count(1)


async def test_a_modal_is_filled_in_and_left_by_keyboard(
    page: Page, workspace: tuple[str, Office], incidents: str, people: People
) -> None:
    await page.goto(f"{workspace[0]}/#{incidents}/U0ANNA")
    composer, modal = page.get_by_test_id("composer"), page.get_by_test_id("modal")
    await composer.fill("/incident declare")
    await page.keyboard.press("Enter")
    await expect(modal).to_be_visible()
    field = modal.get_by_label("Summary")
    await expect(field).to_be_focused()

    await page.keyboard.press("Enter")
    await expect(modal).to_contain_text("Please complete this required field.")
    await field.fill("short")
    await page.keyboard.press("Enter")
    await expect(modal).to_contain_text("Say more.")
    await expect(field).to_have_value("short")
    await field.fill("two sequencers sign")
    await page.keyboard.press("Enter")
    await expect(modal).to_be_hidden()

    await composer.fill("/incident declare")
    await composer.press("Enter")
    await expect(modal).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(modal).to_be_hidden()
    assert (await people.state())["views"] == {}


async def test_hostile_text_is_shown_and_does_nothing(
    page: Page, workspace: tuple[str, Office], slack: AsyncWebClient, incidents: str
) -> None:
    block = {"type": "section", "text": {"type": "mrkdwn", "text": HOSTILE}}
    await slack.chat_postMessage(channel=incidents, text=HOSTILE)
    await slack.chat_postMessage(channel=incidents, text=HOSTILE, blocks=[block])
    await slack.conversations_setTopic(channel=incidents, topic=HOSTILE)

    await page.goto(f"{workspace[0]}/#{incidents}/U0ANNA")

    messages = page.get_by_test_id("message")
    await expect(messages).to_have_count(2)
    for message in (messages.nth(0), messages.nth(1)):
        await expect(message).to_contain_text("<script>window.hacked = 1</script>")
        await expect(message.locator("script, img, a, b, i")).to_have_count(0)
        await expect(message.locator("strong").last).to_have_text("<b onclick=1>bold</b>")
    assert await page.evaluate("window.hacked === undefined")


@pytest.mark.parametrize("width", [360, 390, 1280])
async def test_nothing_is_wider_than_the_screen(
    page: Page, workspace: tuple[str, Office], slack: AsyncWebClient, incidents: str, width: int
) -> None:
    fields = [{"type": "mrkdwn", "text": f"*AVS*\n{'eigenda' * 9}"} for _ in range(6)]
    buttons = [
        BUTTON | {"action_id": f"a{i}", "text": {"type": "plain_text", "text": "Freeze the rest of them " * 2}}
        for i in range(5)
    ]
    blocks: list[dict[str, Any]] = [{"type": "section", "fields": fields}, {"type": "actions", "elements": buttons}]
    ts = (await slack.chat_postMessage(channel=incidents, text="inc-1", blocks=blocks))["ts"]
    await slack.pins_add(channel=incidents, timestamp=ts)
    await page.set_viewport_size({"width": width, "height": 740})

    await page.goto(f"{workspace[0]}/#{incidents}/U0ANNA")

    await expect(page.get_by_test_id("message")).to_have_count(1)
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    if width < 720:
        await page.get_by_label("Open the channel list").click()
        await page.get_by_test_id("channel-general").click()
        await expect(page.get_by_test_id("room-name")).to_have_text("#general")
