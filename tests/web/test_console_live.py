"""Live pages: ticks from any thread, coalesced, and a stream that says what changed."""

import asyncio
import threading
from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from bot.flows import halt, people
from bot.web import console
from bot.web.live import Live
from tests.fakes import Room, alert, person

SOON = 5


async def test_the_first_tick_comes_at_once() -> None:
    live = Live(pause=0)
    ticks = live.ticks()
    await asyncio.wait_for(anext(ticks), SOON)
    assert live.watching == 1
    await ticks.aclose()
    assert live.watching == 0


async def test_many_changes_from_threads_are_few_ticks() -> None:
    live = Live(pause=0.05)
    ticks = live.ticks()
    await anext(ticks)

    def commit() -> None:
        for _ in range(200):
            live.changed()

    threads = [threading.Thread(target=commit) for _ in range(4)]
    for thread in threads:
        thread.start()
    await asyncio.wait_for(anext(ticks), SOON)
    for thread in threads:
        thread.join()
    seen = 0
    try:
        while True:
            await asyncio.wait_for(anext(ticks), 0.3)
            seen += 1
    except TimeoutError:
        pass
    assert seen <= 3


async def test_no_tick_without_a_change() -> None:
    live = Live(pause=0)
    ticks = live.ticks()
    await anext(ticks)
    waiting = asyncio.ensure_future(anext(ticks))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    live.changed()
    await asyncio.wait_for(waiting, SOON)
    await ticks.aclose()


def test_a_reader_whose_loop_has_ended_hurts_nobody() -> None:
    live = Live(pause=0)
    ticks = live.ticks()
    loop = asyncio.new_event_loop()

    async def first() -> None:
        await anext(ticks)

    async def last() -> None:
        await ticks.aclose()

    loop.run_until_complete(first())
    loop.close()
    live.changed()
    asyncio.run(last())
    assert live.watching == 0


class Stream:
    """A browser's open event stream: an ASGI call without a socket."""

    def __init__(self) -> None:
        self.start: MutableMapping[str, Any] = {}
        self.body: asyncio.Queue[str] = asyncio.Queue()
        self.gone = asyncio.Event()

    async def receive(self) -> MutableMapping[str, Any]:
        """Wait until the browser has gone."""
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """Take what the server sends."""
        if message["type"] == "http.response.start":
            self.start = message
        elif message.get("body"):
            self.body.put_nowait(message["body"].decode())

    async def event(self) -> str:
        """Return the next event's data."""
        text = await asyncio.wait_for(self.body.get(), SOON)
        assert "event: changed" in text
        return next(row.removeprefix("data: ") for row in text.splitlines() if row.startswith("data: "))


@asynccontextmanager
async def following(room: Room, path: str) -> AsyncIterator[Stream]:
    """Open the stream of a page."""

    async def anybody() -> None:
        return None

    live = Live(pause=0.01)
    room.database.on_commit(live.changed)
    app = FastAPI()
    app.include_router(console.router(room.ledger, live=live, allowed=anybody))
    stream = Stream()
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [],
        "client": ("127.0.0.1", 1),
        "server": ("bot", 80),
    }
    call = asyncio.create_task(app(scope, stream.receive, stream.send))
    try:
        yield stream
    finally:
        stream.gone.set()
        await asyncio.wait_for(call, SOON)
        assert live.watching == 0


async def note(room: Room, number: int = 1) -> None:
    """Change an incident."""
    command = people.AddNote(by=person("ada"), incident=number, text="news", source="note")
    await room.decide(people.add_note, command)


async def test_a_page_hears_of_its_incident_and_of_the_halt(spine: Room) -> None:
    await spine.receive(alert(signer="s01"))
    async with following(spine, "/console/inc-1/live") as stream:
        first = await stream.event()
        assert dict(stream.start["headers"])[b"content-type"].startswith(b"text/event-stream")
        assert dict(stream.start["headers"])[b"x-content-type-options"] == b"nosniff"
        await note(spine)
        second = await stream.event()
        await spine.decide(halt.halt, halt.Halt(by=person("dan"), reason="wrong nodes"))
        assert len({first, second, await stream.event()}) == 3


async def test_a_page_does_not_hear_of_other_incidents(spine: Room) -> None:
    await spine.receive(alert(signer="s01"))
    await spine.receive(alert(avs="oracle", signer="o1"))
    async with following(spine, "/console/inc-1/live") as stream:
        await stream.event()
        await note(spine, 2)
        await asyncio.sleep(0.1)
        assert stream.body.empty()


async def test_the_list_hears_of_all(spine: Room) -> None:
    async with following(spine, "/console/live") as stream:
        empty = await stream.event()
        await spine.receive(alert(signer="s01"))
        assert await stream.event() != empty


async def test_an_unknown_incident_s_stream_waits_for_it(spine: Room) -> None:
    async with following(spine, "/console/inc-1/live") as stream:
        nothing = await stream.event()
        await spine.receive(alert(signer="s01"))
        assert await stream.event() != nothing
