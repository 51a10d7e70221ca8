"""The console's pages over a real ledger: what they show, to whom, and what they never let through."""

import re
from collections.abc import AsyncIterator
from html.parser import HTMLParser

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI, HTTPException, Request

from bot.domain import journal as j
from bot.domain.authority import BOT
from bot.domain.playbook import Verb
from bot.domain.severity import Severity
from bot.domain.target import State
from bot.flows import halt, intake, people, record, respond, status
from bot.web import console
from bot.web.live import Live
from tests.fakes import Room, alert, person

HOSTILE = '"><script>alert(1)</script>{{7*7}}\u202e'


async def allowed(request: Request) -> None:
    """Let in whoever says the word."""
    if request.headers.get("x-word") != "sesame":
        raise HTTPException(401)


@pytest_asyncio.fixture
async def client(spine: Room) -> AsyncIterator[httpx.AsyncClient]:
    """Return a browser that is let in."""
    app = FastAPI()
    app.include_router(console.router(spine.ledger, live=Live(), allowed=allowed))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://bot", headers={"x-word": "sesame"}) as opened:
        yield opened


class Reader(HTMLParser):
    """Collects what a browser would see of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        self.tags.append((tag, dict(attrs)))
        self.text += " " if tag in {"dd", "p", "li", "td", "small", "div"} else ""

    def handle_data(self, data: str) -> None:
        """Note text."""
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """Return the attributes of every tag of a kind."""
        return [attrs for name, attrs in self.tags if name == tag]


def words(answer: httpx.Response) -> str:
    """Return a page's text with single spaces."""
    return " ".join(Reader(answer.text).text.split())


async def frozen_night(room: Room) -> None:
    """Open a SEV-1 with three suspects: one proven stopped, two waiting for a person."""
    await room.receive(*(alert(signer=name) for name in ("s01", "s02", "s03")))
    await room.advance()
    await room.run(Verb.FREEZE, State.VERIFIED, detail="counter flat for 12 s")
    await room.advance()


async def test_nobody_reads_without_being_let_in(spine: Room, client: httpx.AsyncClient) -> None:
    await frozen_night(spine)
    for path in ("/console", "/console/inc-1", "/console/live", "/console/inc-1/live"):
        assert (await client.get(path, headers={"x-word": "no"})).status_code == 401


async def test_an_incident_page_shows_the_targets_and_who_decides(spine: Room, client: httpx.AsyncClient) -> None:
    await frozen_night(spine)
    text = words(await client.get("/console/inc-1"))
    assert "SEV-1" in text
    assert "Conflicting signatures" in text
    assert "1 proven stopped" in text
    assert "2 held for a person" in text
    assert "counter flat for 12 s" in text
    assert "Freeze of s02, s03 waits for a person" in text
    assert "Incident Commander Ada" in text
    assert "not contained" in text
    assert "Nobody has acknowledged the last page" in text


async def test_the_worst_target_comes_first(spine: Room, client: httpx.AsyncClient) -> None:
    await frozen_night(spine)
    page = (await client.get("/console/inc-1")).text
    rows = re.findall(r'<th role="rowheader" scope="row">(\w+)', page)
    assert rows == ["s02", "s03", "s01"]


async def test_clocks_and_statuses_are_shown(spine: Room, client: httpx.AsyncClient) -> None:
    await frozen_night(spine)
    told = status.GiveStatus(by=person("bo"), incident=1, text="One stopped.\nTwo more asked.", audience="stakeholders")
    await spine.decide(status.give, told)
    since = (await spine.incident()).severity_since
    assert since is not None
    spine.clock.go(minutes=16)
    await spine.decide(status.tick, status.Tick(by=BOT, incident=1, audience="internal", since=since))
    page = await client.get("/console/inc-1")
    text = words(page)
    assert "Status for the team" in text
    assert "asked of Bo" in text
    assert "Status for the stakeholders" in text
    assert "Bo to the stakeholders" in text
    assert "Two more asked." in text
    dues = [attrs["datetime"] for attrs in Reader(page.text).all("time") if "data-due" in attrs]
    assert "2026-11-20T03:15:00+00:00" in dues


async def test_evidence_and_what_is_missing_are_listed(spine: Room, client: httpx.AsyncClient) -> None:
    await frozen_night(spine)
    kept = record.Keep(
        by=BOT,
        incident=1,
        sha256="ab" * 32,
        size=4321,
        media_type="application/json",
        what="signed-messages",
        node="s01",
        source="http://127.0.0.1",
        tool="sidecar",
        collected_at=spine.clock.now(),
    )
    await spine.decide(record.keep, kept)
    lost = j.EvidenceMissing(what="peers", node="s02", reason="no answer")
    await spine.decide(record.note, record.Note(by=BOT, incident=1, entry=lost))
    text = words(await client.get("/console/inc-1"))
    assert "ev-1-1 signed-messages of s01" in text
    assert "4,321 bytes" in text
    assert "1 could not be captured" in text


async def test_a_pending_agreement_shows_no_button_id(spine: Room, client: httpx.AsyncClient) -> None:
    await frozen_night(spine)
    asked = respond.Request(by=person("ada"), incident=1, verb=Verb.UNFREEZE, targets=("s01",), reason="moved back")
    done = await spine.decide(respond.request, asked)
    page = (await client.get("/console/inc-1")).text
    assert "Unfreeze of s01 needs 1 more person" in page
    assert done.approval not in page
    for page_id in (await spine.incident()).pages:
        assert page_id not in page


async def test_hostile_labels_are_text(spine: Room, client: httpx.AsyncClient) -> None:
    await spine.receive(alert(HOSTILE, evil=HOSTILE, signer=HOSTILE))
    note = people.AddNote(by=person("ada"), incident=1, text=HOSTILE, source="note")
    await spine.decide(people.add_note, note)
    for path in ("/console", "/console/inc-1", "/console/inc-1?fragment=1"):
        page = await client.get(path)
        scripts = Reader(page.text).all("script")
        assert [attrs.get("src") for attrs in scripts] in ([], ["/console/static/console.js"])
        assert "{{7*7}}" in page.text
        assert "\u202e" not in page.text
        assert not [attrs for _, attrs in Reader(page.text).tags if any(name.startswith("on") for name in attrs)]


async def test_the_list_has_open_incidents_by_severity_and_the_halt(spine: Room, client: httpx.AsyncClient) -> None:
    assert "No incident is open." in words(await client.get("/console"))
    await frozen_night(spine)
    calm = intake.Declare(by=person("ada"), severity=Severity.SEV3, summary="slow dashboards", avs="oracle")
    await spine.decide(intake.declare, calm)
    await spine.decide(halt.halt, halt.Halt(by=person("dan"), reason="hits healthy nodes"))
    page = await client.get("/console")
    assert re.findall(r'id="link-(inc-\d)"', page.text) == ["inc-1", "inc-2"]
    text = words(page)
    assert "Automation is halted since 03:00:00 UTC by Dan: hits healthy nodes" in text
    assert "1 of 3 targets proven stopped; open: s02, s03" in text
    assert "Automation is halted" in words(await client.get("/console/inc-2"))


async def test_out_of_traffic_is_not_called_stopped(spine: Room, client: httpx.AsyncClient) -> None:
    await frozen_night(spine)
    asked = respond.Request(by=person("ada"), incident=1, verb=Verb.ISOLATE, targets=("s02", "s03"))
    await spine.decide(respond.request, asked)
    await spine.run(Verb.ISOLATE, State.VERIFIED)
    text = words(await client.get("/console"))
    assert "1 of 3 targets proven stopped; open: s02, s03" in text  # signatures are the danger here


async def test_where_no_signature_is_in_danger_out_of_traffic_is_told_as_such(
    spine: Room, client: httpx.AsyncClient
) -> None:
    await spine.receive(alert("AVSDeadlineMissRateHigh", signer="s02"))
    asked = respond.Request(by=person("ada"), incident=1, verb=Verb.ISOLATE, targets=("s02",))
    await spine.decide(respond.request, asked)
    await spine.run(Verb.ISOLATE, State.VERIFIED)
    assert "0 of 1 target proven stopped; 1 only out of traffic" in words(await client.get("/console"))


async def test_a_fragment_is_the_changing_part_alone(spine: Room, client: httpx.AsyncClient) -> None:
    await frozen_night(spine)
    page, part = await client.get("/console/inc-1"), await client.get("/console/inc-1?fragment=1")
    assert "<html" in page.text
    assert "<html" not in part.text
    parts = re.findall(r'data-part="(\w+)"', part.text)
    assert parts == re.findall(r'data-part="(\w+)"', page.text)
    assert len(parts) == len(set(parts))


@pytest.mark.parametrize("path", ["/console", "/console/inc-1", "/console/inc-9", "/console/static/console.css"])
async def test_every_answer_is_guarded(path: str, spine: Room, client: httpx.AsyncClient) -> None:
    await frozen_night(spine)
    headers = (await client.get(path)).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


async def test_what_is_not_there_is_404(spine: Room, client: httpx.AsyncClient) -> None:
    missing = await client.get("/console/inc-9")
    assert missing.status_code == 404
    assert "There is no incident inc-9." in words(missing)
    for name in ("console.py", "..%2Fconsole.py", "%2e%2e", ""):
        assert (await client.get(f"/console/static/{name}")).status_code == 404


async def test_styles_and_scripts_need_no_token(client: httpx.AsyncClient) -> None:
    for name, kind in console.FILES.items():
        answer = await client.get(f"/console/static/{name}", headers={"x-word": "no"})
        assert answer.status_code == 200
        assert answer.headers["content-type"] == kind


async def test_pages_are_made_for_everybody(spine: Room, client: httpx.AsyncClient) -> None:
    await frozen_night(spine)
    page = Reader((await client.get("/console/inc-1")).text)
    assert page.all("html")[0]["lang"] == "en"
    assert len(page.all("main")) == 1
    assert len(page.all("h1")) == 1
    assert all(attrs.get("scope") in {"col", "row"} for attrs in page.all("th"))
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    for attrs in page.all("section"):
        assert attrs["aria-labelledby"] in ids or "gone" in (attrs.get("class") or "")
    assert not [attrs for _, attrs in page.tags if "style" in attrs]


def test_the_login_page_escapes_what_it_says() -> None:
    page = Reader(console.login_page(HOSTILE))
    assert not page.all("script")
    assert page.all("form")[0]["action"] == "/login"
    assert page.all("label")[0]["for"] == page.all("input")[0]["id"]
