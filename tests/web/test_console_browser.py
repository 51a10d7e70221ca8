"""The console in a real browser: it follows its incident, keeps the reader's place, and says when it is cut off."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import uvicorn
from fastapi import FastAPI
from playwright.async_api import Page, async_playwright

from bot.domain.playbook import Verb
from bot.domain.target import State
from bot.flows import people
from bot.web import console
from bot.web.live import Live
from tests.conftest import need
from tests.fakes import Room, alert, person

CHROMIUM = Path("/usr/bin/chromium")
QUIET = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)
SOON = 10_000
pytestmark = pytest.mark.peer("chromium")


async def anybody() -> None:
    """Let everybody in."""


@pytest_asyncio.fixture
async def serving(spine: Room) -> AsyncIterator[tuple[str, uvicorn.Server]]:
    """Serve the console of a room with one incident on a free port of loopback."""
    await spine.receive(*(alert(signer=name) for name in ("s01", "s02")))
    await spine.advance()
    await spine.run(Verb.FREEZE, State.ACKNOWLEDGED, detail="frozen")
    for number in range(60):
        await note(spine, f"older line {number}")
    live = Live()
    spine.database.on_commit(live.changed)
    app = FastAPI()
    app.include_router(console.router(spine.ledger, live=live, allowed=anybody))
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, log_level="critical", ws="none", lifespan="off", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve(sockets=[listener]))
    yield f"http://127.0.0.1:{listener.getsockname()[1]}", server
    server.should_exit = True
    await running


@pytest_asyncio.fixture
async def page(serving: tuple[str, uvicorn.Server]) -> AsyncIterator[Page]:
    """Return a narrow browser page; anything that it complains about fails the test."""
    need(not CHROMIUM.exists(), "chromium")
    complaints: list[str] = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        opened = await browser.new_page(viewport={"width": 360, "height": 700})
        opened.on("pageerror", lambda error: complaints.append(str(error)))
        opened.on("console", lambda said: complaints.append(said.text) if "Content Security" in said.text else None)
        await opened.goto(f"{serving[0]}/console/inc-1")
        await opened.wait_for_selector('#live[data-state="live"]', timeout=SOON)
        yield opened
        await browser.close()
    assert complaints == []


async def note(room: Room, text: str) -> None:
    """Change the incident."""
    await room.decide(people.add_note, people.AddNote(by=person("ada"), incident=1, text=text, source="note"))


async def test_news_come_by_themselves_and_the_reader_stays_where_he_is(page: Page, spine: Room) -> None:
    line = page.locator(".timeline > li", has_text="older line 20")
    await line.scroll_into_view_if_needed()
    opened = line.locator("summary")
    await opened.click()
    before = await line.evaluate("line => line.getBoundingClientRect().top")
    await page.evaluate("window.landmark = document.querySelector('[data-part=roles]')")
    for number in range(3):
        await note(spine, f"fresh news {number}")
    await page.wait_for_selector("text=fresh news 2", timeout=SOON, state="attached")
    after = await line.evaluate("line => line.getBoundingClientRect().top")
    assert abs(after - before) < 30
    assert await line.locator("details").evaluate("details => details.open")
    assert "fresh news" in (await page.locator("#news").text_content() or "")
    assert await page.evaluate("window.landmark.isConnected"), "a part that did not change is not replaced"


async def test_focus_stays_while_the_table_is_replaced(page: Page, spine: Room) -> None:
    details = page.locator("details[id^=alert-] summary").first
    await details.click()
    kept = page.locator("#main")
    await kept.focus()
    step = next(iter((await spine.incident()).steps))
    assert step == "freeze-1"
    await spine.run(Verb.CAPTURE, State.VERIFIED, detail="9 items kept")
    await page.wait_for_selector("text=9 items kept", timeout=SOON, state="attached")
    assert await page.evaluate("document.activeElement.id") == "main"
    assert await page.locator("details[id^=alert-]").first.evaluate("details => details.open")


async def test_nothing_overflows_a_small_phone(page: Page) -> None:
    assert await page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


async def test_a_page_that_is_cut_off_says_so(page: Page, serving: tuple[str, uvicorn.Server]) -> None:
    serving[1].should_exit = True
    await page.wait_for_selector('#live[data-state="lost"]', timeout=SOON)
    assert await page.locator("#live").text_content() == "reconnecting"
