"""What a person does on the page beyond typing: attach, edit, delete, shortcuts, home tab, menus, archived channels."""

from typing import Any

import pytest
from playwright.async_api import FilePayload, Page, expect
from slack_sdk.web.async_client import AsyncWebClient

from bot.practice.workspace.client import People
from bot.practice.workspace.office import Office
from tests.practice.test_workspace_elements import EXTERNAL, GIVEN, field
from tests.practice.test_workspace_files import PNG

Heard = list[tuple[str, dict[str, Any]]]

pytestmark = pytest.mark.peer("chromium")


async def test_files_are_attached_sent_and_shown(
    page: Page, workspace: tuple[str, Office], people: People, incidents: str
) -> None:
    await page.goto(f"{workspace[0]}/#{incidents}/U0ANNA")
    await expect(page.get_by_test_id("composer")).to_be_enabled()
    await page.get_by_test_id("attach").set_input_files(
        [
            FilePayload(name="graph.png", mimeType="image/png", buffer=PNG),
            FilePayload(name="trace.log", mimeType="text/plain", buffer=b"panic"),
        ]
    )
    await expect(page.get_by_label("Take trace.log off")).to_be_visible()
    await page.get_by_test_id("composer").fill("look")
    await page.keyboard.press("Enter")

    files = page.get_by_test_id("message").get_by_test_id("file")
    await expect(files).to_have_count(2)
    picture = files.first.locator("img")
    await expect(picture).to_have_attribute("alt", "graph.png")
    await expect(picture).to_have_js_property("naturalWidth", 1)
    await page.get_by_test_id("file-view").click()
    await expect(files.nth(1)).to_contain_text("panic")
    (message,) = await people.messages(incidents)
    assert (message["text"], len(message["files"])) == ("look", 2)
    await expect(page.get_by_label("Take trace.log off")).to_have_count(0)


async def test_a_message_is_edited_and_deleted_by_keyboard(
    page: Page, workspace: tuple[str, Office], people: People, incidents: str
) -> None:
    await page.goto(f"{workspace[0]}/#{incidents}/U0ANNA")
    composer, messages = page.get_by_test_id("composer"), page.get_by_test_id("message")
    await composer.fill("ask @ben & <me> in #general")
    await page.keyboard.press("Enter")
    await expect(messages).to_have_count(1)
    (row,) = await people.messages(incidents)
    general = (await people.channel("general"))["id"]
    assert row["text"] == f"ask <@U0BEN> &amp; &lt;me&gt; in <#{general}|>"

    await composer.press("ArrowUp")
    box = page.get_by_test_id("edit-box")
    await expect(box).to_have_value("ask @ben & <me> in #general")
    await expect(box).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(box).to_have_count(0)
    await composer.press("ArrowUp")
    await box.fill("never mind")
    await page.keyboard.press("Enter")
    await expect(messages.first).to_contain_text("never mind")
    await expect(messages.first).to_contain_text("(edited)")

    more = messages.first.get_by_label("More about this message")
    await more.focus()
    await page.keyboard.press("Enter")
    await expect(messages.first.get_by_test_id("delete")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(more).to_be_focused()
    await page.keyboard.press("Enter")
    await page.keyboard.press("ArrowUp")
    await expect(messages.first.get_by_test_id("delete")).to_be_focused()
    await page.keyboard.press("Enter")
    await page.get_by_test_id("confirm-yes").click()
    await expect(messages).to_have_count(0)


async def test_nobody_edits_what_is_not_his(page: Page, workspace: tuple[str, Office], people: People) -> None:
    incidents = (await people.channel("incidents"))["id"]
    await people.say("U0ANNA", incidents, "hers")
    await page.goto(f"{workspace[0]}/#{incidents}/U0BEN")

    await page.get_by_test_id("message").hover()
    await page.get_by_label("More about this message").click()

    await expect(page.get_by_test_id("shortcut-add_to_timeline")).to_be_visible()
    await expect(page.get_by_test_id("delete")).to_have_count(0)


async def test_shortcuts_start_from_a_message_and_from_anywhere(
    page: Page, workspace: tuple[str, Office], people: People, incidents: str, heard: Heard
) -> None:
    await people.say("U0BEN", incidents, "restarted seq-2")
    await page.goto(f"{workspace[0]}/#{incidents}/U0ANNA")
    await page.get_by_test_id("message").hover()
    await page.get_by_label("More about this message").click()
    await page.get_by_test_id("shortcut-add_to_timeline").click()
    await expect(page.get_by_test_id("status")).to_contain_text("Sent in")
    await page.get_by_label("Shortcuts").click()
    await page.get_by_test_id("shortcut-declare_incident").click()

    await expect(page.get_by_test_id("modal")).to_contain_text("Declare")
    assert {"shortcut", "global_shortcut"} <= {name for name, _ in heard}


async def test_the_home_tab_works_and_leads_to_messages(
    page: Page, workspace: tuple[str, Office], slack: AsyncWebClient, heard: Heard
) -> None:
    button = {"type": "button", "action_id": "role", "text": {"type": "plain_text", "text": "Mine"}}
    blocks = [{"type": "actions", "block_id": "acts", "elements": [button]}]
    await slack.views_publish(user_id="U0ANNA", view={"type": "home", "blocks": blocks})
    await page.goto(f"{workspace[0]}/#general/U0ANNA")
    await page.get_by_test_id("app-home").click()

    await page.get_by_test_id("home-view").get_by_role("button", name="Mine").click()
    await expect(page.get_by_test_id("status")).to_contain_text("Done in")
    await page.get_by_test_id("tab-messages").click()
    await expect(page.get_by_test_id("room-name")).to_have_text("Stopsign")
    await page.get_by_test_id("composer").fill("hello")
    await page.keyboard.press("Enter")
    await expect(page.get_by_test_id("message")).to_contain_text("hello")

    assert next(body for name, body in heard if name == "pick")["container"]["type"] == "view"
    assert [body["tab"] for name, body in heard if name == "app_home_opened"] == ["home", "messages"]


async def test_a_form_is_filled_in_with_a_searched_option_and_keeps_the_focus_inside(
    page: Page, workspace: tuple[str, Office], slack: AsyncWebClient, incidents: str, heard: Heard
) -> None:
    view = {
        "type": "modal",
        "callback_id": "form",
        "title": {"type": "plain_text", "text": "Form"},
        "submit": {"type": "plain_text", "text": "Go"},
        "blocks": [field("external_select") | {"block_id": "book", "element": EXTERNAL}, field("file_input")],
    }
    trigger = workspace[1].world.new_trigger("U0ANNA")
    await slack.views_open(trigger_id=trigger, view=view)
    await page.goto(f"{workspace[0]}/#{incidents}/U0ANNA")
    modal = page.get_by_test_id("modal")

    await modal.locator("#field-book").fill("rot")
    select = modal.locator("select")
    await expect(select.locator("option")).to_have_count(2)
    await select.select_option("rotate")
    await modal.locator("input[type=file]").set_input_files(
        [FilePayload(name="a.txt", mimeType="text/plain", buffer=b"x")]
    )
    for _ in range(12):
        await page.keyboard.press("Tab")
        assert await page.evaluate(
            "document.activeElement === document.body || !!document.activeElement.closest('dialog')"
        )
    await modal.get_by_test_id("modal-submit").click()
    await expect(modal).to_be_hidden()

    values = next(body for name, body in heard if name == "form")["view"]["state"]["values"]
    assert values["book"]["runbook"]["selected_option"]["value"] == "rotate"
    assert [file["name"] for file in values["file_input"]["a"]["files"]] == ["a.txt"]


@pytest.mark.parametrize("width", [390, 1280])
async def test_a_form_of_every_element_fits_the_screen(
    page: Page, workspace: tuple[str, Office], slack: AsyncWebClient, incidents: str, width: int
) -> None:
    view = {
        "type": "modal",
        "title": {"type": "plain_text", "text": "Everything"},
        "submit": {"type": "plain_text", "text": "Go"},
        "blocks": [block for block, _, _ in GIVEN],
    }
    await slack.views_open(trigger_id=workspace[1].world.new_trigger("U0ANNA"), view=view)
    await page.set_viewport_size({"width": width, "height": 780})
    await page.goto(f"{workspace[0]}/#{incidents}/U0ANNA")

    body = page.get_by_test_id("modal").locator(".modal-body")
    await expect(body.locator("[data-field]")).to_have_count(len(GIVEN))
    assert await body.evaluate("(node) => node.scrollWidth <= node.clientWidth")
    await expect(page.get_by_test_id("modal-submit")).to_be_in_viewport()


async def test_an_archived_channel_is_read_only_until_somebody_opens_it_again(
    page: Page, workspace: tuple[str, Office], slack: AsyncWebClient
) -> None:
    room = (await slack.conversations_create(name="inc-7"))["channel"]["id"]
    await slack.conversations_invite(channel=room, users="U0ANNA")
    await slack.chat_postMessage(channel=room, text="the end")
    await slack.conversations_archive(channel=room)
    await page.goto(f"{workspace[0]}/#{room}/U0ANNA")

    await expect(page.locator("#archived")).to_contain_text("#inc-7 is archived")
    await expect(page.get_by_test_id("composer")).to_be_hidden()
    await expect(page.get_by_test_id("remark").last).to_contain_text("archived the channel")
    await page.get_by_label("About this channel").click()
    await page.get_by_role("menuitem", name="Unarchive").click()
    await expect(page.get_by_test_id("composer")).to_be_enabled()


async def test_hostile_markdown_stays_text(
    page: Page, workspace: tuple[str, Office], slack: AsyncWebClient, incidents: str
) -> None:
    hostile = (
        "# <img src=x onerror=alert(1)>\n- [x](javascript:alert(1)) **<b>bold</b>**\n```html\n<script>1</script>\n```"
    )
    await slack.chat_postMessage(channel=incidents, markdown_text=hostile)
    await page.goto(f"{workspace[0]}/#{incidents}/U0ANNA")

    message = page.get_by_test_id("message")
    await expect(message).to_contain_text("<script>1</script>")
    await expect(message.locator("script, img, a, b")).to_have_count(0)
    await expect(message.locator("strong").last).to_have_text("<b>bold</b>")
