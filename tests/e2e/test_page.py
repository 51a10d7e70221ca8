"""The workspace page and the console in headless Chromium, the real bot behind both."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from playwright.async_api import Browser, BrowserContext, Locator, Page, async_playwright, expect

from bot.practice.crew import Crew
from tests import processes
from tests.conftest import need
from tests.processes import Bot

CHROMIUM = Path("/usr/bin/chromium")
SWITCHES = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)
SOON = 20_000
"""Milliseconds that a change may take to reach a page on a busy machine."""

pytestmark = pytest.mark.peer("chromium")


@dataclass(frozen=True, kw_only=True)
class Office:
    """Bot, fleet and workspace that run, and a browser; whatever a page complains about is in `complaints`."""

    bot: Bot
    workspace: str
    browser: Browser
    complaints: list[str]

    def watched(self, page: Page) -> Page:
        """Have a page report its script errors and refused resources."""
        page.set_default_timeout(SOON)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda line: self.complaints.append(line.text) if line.type == "error" else None)
        return page

    async def workspace_page(self, person: str) -> Page:
        """Open the workspace as a person sees it."""
        context = await self.browser.new_context(viewport={"width": 1280, "height": 900})
        page = self.watched(await context.new_page())
        await page.goto(self.workspace)
        await page.get_by_test_id("act-as").select_option(person)
        return page

    async def signed_in(self, context: BrowserContext) -> None:
        """Sign in to the console with a token of Ada's."""
        page = self.watched(await context.new_page())
        await page.goto(f"{self.bot.url}/login")
        await page.locator("input[name=token]").fill(await self.bot.token())
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/console")
        await page.close()


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    """Run everything; a page's complaint fails the test."""
    need(not CHROMIUM.exists(), "chromium")
    expect.set_options(timeout=SOON)
    async with AsyncExitStack() as stack:
        fleet = await stack.enter_async_context(processes.fleet(tmp_path))
        settings = processes.slack_settings()
        bot = processes.write_bot(tmp_path / "home", fleet_base=fleet.base, **settings)
        workspace = await stack.enter_async_context(processes.workspace(tmp_path, bot))
        await stack.enter_async_context(bot.serving())
        playwright = await stack.enter_async_context(async_playwright())
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        stack.push_async_callback(browser.close)
        office = Office(bot=bot, workspace=workspace, browser=browser, complaints=[])
        yield office
    assert office.complaints == []


async def type_command(page: Page, text: str) -> None:
    await page.get_by_test_id("composer").fill(text)
    await page.keyboard.press("Enter")


async def declared(page: Page) -> Locator:
    """Declare an incident by typing; open its channel; return the pinned header."""
    await type_command(page, "/incident declare SEV-2 oracle latency looks odd")
    await page.locator('[data-testid^="channel-inc-1"]').click()
    pinned = page.get_by_test_id("pinned")
    await expect(pinned).to_contain_text("SEV-2 · inc-1 · oracle")
    await expect(pinned).to_contain_text("latency looks odd")
    return pinned


async def test_a_person_types_the_command_presses_the_button_and_reads_the_header_change(office: Office) -> None:
    page = await office.workspace_page("U0ADA")
    pinned = await declared(page)
    await expect(pinned).to_contain_text("not acknowledged by anybody yet")

    await pinned.get_by_role("button", name="Acknowledge").click()

    await expect(pinned).to_contain_text("acknowledged by Ada")
    await expect(pinned.get_by_role("button", name="Acknowledge")).to_have_count(0)
    await type_command(page, "/incident role @bo ic")
    await expect(pinned.get_by_text("Incident Commander").locator("..")).to_contain_text("Bo")

    other = await office.workspace_page("U0BO")
    await other.locator('[data-testid^="channel-inc-1"]').click()
    await expect(other.get_by_test_id("pinned")).to_contain_text("acknowledged by Ada")


async def test_the_console_follows_the_incident_without_a_reload(office: Office) -> None:
    workspace = await office.workspace_page("U0ADA")
    pinned = await declared(workspace)
    await office.signed_in(workspace.context)
    async with workspace.context.expect_page() as opening:
        await pinned.get_by_role("button", name="Console").click()
    page = office.watched(await opening.value)
    await page.wait_for_url("**/console/inc-1")
    await page.wait_for_selector('#live[data-state="live"]')
    timeline = page.locator(".timeline")
    await expect(timeline).to_contain_text("Ada declared inc-1")
    await page.evaluate("window.neverReloaded = true")

    async with httpx.AsyncClient(trust_env=False, timeout=15) as client:
        crew = Crew(client, office.workspace)
        channel = str((await crew.channel("inc-1"))["id"])
        await crew.type("U0BO", channel, "note peers of orc-01 see it too")
        await expect(timeline).to_contain_text("peers of orc-01 see it too")
        await crew.type("U0BO", channel, "freeze orc-01 to be safe")
    await expect(page.locator("[data-part=targets]")).to_contain_text("proven stopped")
    await expect(timeline).to_contain_text("proven stopped")
    assert await page.evaluate("window.neverReloaded")
