"""The public page: only what people gave to the public, and nothing of the inside."""

from collections.abc import AsyncIterator

import httpx
import pytest_asyncio
from fastapi import FastAPI

from bot.domain.roles import Role
from bot.flows import resolve, status
from bot.web import public
from tests.fakes import Room, alert, person


@pytest_asyncio.fixture
async def client(spine: Room) -> AsyncIterator[httpx.AsyncClient]:
    web = FastAPI()
    web.include_router(public.router(spine.ledger))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=web), base_url="http://status") as http:
        yield http


async def tell(spine: Room, text: str, audience: str = "public") -> None:
    command = status.GiveStatus(by=person("bo"), incident=1, text=text, audience=audience)
    await spine.decide(status.give, command)


async def page(spine: Room, client: httpx.AsyncClient) -> str:
    spine.clock.go(seconds=public.FRESH + 1)
    answer = await client.get("/status")
    assert answer.status_code == 200
    return answer.text


async def test_a_quiet_night_says_so(spine: Room, client: httpx.AsyncClient) -> None:
    assert "Nothing has been announced." in await page(spine, client)


async def test_an_incident_is_public_only_once_somebody_told_the_public(spine: Room, client: httpx.AsyncClient) -> None:
    await spine.receive(alert(signer="s01"))
    await tell(spine, "seq-01 signs twice", "internal")
    await tell(spine, "we look into it", "stakeholders")
    assert "Nothing has been announced." in await page(spine, client)
    await tell(spine, "Some requests are slow.\nNext word at four.")
    shown = await page(spine, client)
    assert "1 incident ongoing" in shown
    assert "<p>Some requests are slow.</p>" in shown
    for inside in ("s01", "seq-01", "inc-1", "look into it", "Bo", "SEV", "EquivocationRiskSpike"):
        assert inside not in shown, inside


async def test_what_people_write_is_text(spine: Room, client: httpx.AsyncClient) -> None:
    await spine.receive(alert(signer="s01"))
    await tell(spine, "<script>alert(1)</script> {{ 7 * 7 }}")
    shown = await page(spine, client)
    assert "&lt;script&gt;alert(1)&lt;/script&gt; {{ 7 * 7 }}" in shown
    assert "<script" not in shown


async def test_what_is_over_stays_for_two_weeks(spine: Room, client: httpx.AsyncClient) -> None:
    await spine.receive(alert(signer="s01", name="NoSuchRunbook"))
    await tell(spine, "It is over.")
    ic = (await spine.incident()).roles.get(Role.IC, "ada")
    await spine.decide(resolve.resolve, resolve.Resolve(by=person(ic), incident=1, summary="over"))
    assert "resolved" in await page(spine, client)
    spine.clock.go(days=15)
    assert "It is over." not in await page(spine, client)


async def test_a_crowd_costs_one_look(spine: Room, client: httpx.AsyncClient) -> None:
    first = (await client.get("/status")).text
    await spine.receive(alert(signer="s01"))
    await tell(spine, "Some requests are slow.")
    assert (await client.get("/status")).text == first
    assert "ongoing" in await page(spine, client)


async def test_it_needs_no_log_in_and_is_guarded_against_frames(client: httpx.AsyncClient) -> None:
    answer = await client.get("/status")
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert (await client.get("/status/status.css")).headers["content-type"].startswith("text/css")
