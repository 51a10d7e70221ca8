"""The journald driver against the real gateway, over journals that systemd itself wrote."""

import asyncio
import json
import random
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from bot.errors import Misconfigured, NodeBroken, NodeRefused
from bot.nodes import journald
from bot.nodes.journald import MOST_OF_AN_ENTRY, EntryReader
from tests.drivers.captures import MEGABYTE, Taken, cut, peak, pointed, taken
from tests.drivers.emulated.serving import serving
from tests.drivers.journal import entry, gateway, write_journal

UNTIL = datetime(2026, 9, 21, 14, 0, 0, 123_456, tzinfo=UTC)
SINCE = UNTIL - timedelta(minutes=15)
FIRST = 1_789_998_300_123_456
"""SINCE in microseconds, as date(1) says it."""
LAST = FIRST + 900 * 10**6
real = pytest.mark.peer("systemd-journal-gatewayd")


@asynccontextmanager
async def journal(folder: Path, entries: list[bytes], options: dict[str, str] | None = None) -> AsyncIterator[Any]:
    """Yield a driver that reads a journal with `entries` through the real gateway."""
    await write_journal(folder, entries)
    async with gateway(folder) as url, pointed(journald, url, options, timeout=10) as driver:
        yield driver


def messages(one: Taken) -> list[bytes]:
    """Return the messages of a capture, in order."""
    reader = EntryReader("test")
    found = []
    for whole in reader.entries(one.whole):
        _, text, rest = whole.partition(b"\nMESSAGE=")
        if text:
            found.append(rest.partition(b"\n")[0])
        else:
            rest = whole.partition(b"\nMESSAGE\n")[2]
            found.append(rest[8 : 8 + int.from_bytes(rest[:8], "little")])
    reader.ended()
    return found


@real
async def test_the_window_is_cut_exactly_and_the_capture_ends(tmp_path: Path) -> None:
    times = {
        "long before": FIRST - 10**12,
        "a microsecond before": FIRST - 1,
        "first": FIRST,
        "middle": FIRST + 10**6,
        "last": LAST - 1,
        "end": LAST,
        "long after": LAST + 10**9,
    }
    entries = [entry(n, at, name.encode()) for n, (name, at) in enumerate(times.items())]
    async with journal(tmp_path, entries) as driver, asyncio.timeout(10):
        machine, found = await taken(driver, SINCE, UNTIL)
    assert (found.what, found.media_type) == ("journal", "application/vnd.fdo.journal")
    assert messages(found) == [b"first", b"middle", b"last"]
    assert machine.what == "journal-machine"
    told = json.loads(machine.whole)
    assert int(told["cutoff_from_realtime"]) == FIRST - 10**12
    assert int(told["cutoff_to_realtime"]) == LAST + 10**9


@real
async def test_a_clock_that_was_stepped_back_hides_nothing(tmp_path: Path) -> None:
    times = [LAST - 10**6, LAST + 59 * 10**6, LAST - 5 * 10**6, LAST + 61 * 10**6]
    async with journal(tmp_path, [entry(n, at, b"%d" % n) for n, at in enumerate(times)]) as driver:
        _, found = await taken(driver, SINCE, UNTIL)
    assert messages(found) == [b"0", b"2"]


@real
async def test_long_binary_and_many_line_messages_are_kept_as_they_are(tmp_path: Path) -> None:
    """The gateway's JSON has null for the first of them."""
    said = [
        b"x" * 200_000,
        b"two\n\nlines\n__REALTIME_TIMESTAMP=1\n\n",
        random.Random(7).randbytes(70_000),
        "é".encode(),
    ]
    async with journal(tmp_path, [entry(n, FIRST + n, one) for n, one in enumerate(said)]) as driver:
        _, found = await taken(driver, SINCE, UNTIL)
    assert messages(found) == said


@real
async def test_what_was_kept_can_be_read_by_systemd_again(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    async with journal(tmp_path / "one", [entry(n, FIRST + n, b"line %d" % n) for n in range(50)]) as driver:
        _, found = await taken(driver, SINCE, UNTIL)
    async with journal(tmp_path / "two", [found.whole]) as driver:
        _, again = await taken(driver, SINCE, UNTIL)
    assert messages(again) == [b"line %d" % n for n in range(50)]
    journalctl = shutil.which("journalctl")
    assert journalctl
    command = journalctl, "--file", str(tmp_path / "two" / "test.journal"), "-o", "cat", "--no-pager"
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    shown, _ = await process.communicate()
    assert shown.splitlines() == [b"line %d" % n for n in range(50)]


@real
@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"unit": "signer"}, {0, 3, 6, 9}),
        ({"unit": "client.service signer.service"}, {0, 1, 3, 4, 6, 7, 9}),
        ({"unit": "signer", "match.CHAIN": "7"}, {6}),
        ({"match.CHAIN": "7"}, {6, 7, 8}),
        ({"unit": "nobody"}, set()),
    ],
)
async def test_units_and_fields_are_chosen_by_the_gateway(
    tmp_path: Path, options: dict[str, str], wanted: set[int]
) -> None:
    units = ("signer.service", "client.service", "sshd.service")
    entries = [
        entry(n, FIRST + n, b"%d" % n, unit=units[n % 3], fields={"CHAIN": "7"} if n in {6, 7, 8} else None)
        for n in range(10)
    ]
    async with journal(tmp_path, entries, options) as driver:
        _, found = await taken(driver, SINCE, UNTIL)
    assert {int(one) for one in messages(found)} == wanted


@real
async def test_a_field_that_the_journal_cannot_have_is_refused_by_the_gateway(tmp_path: Path) -> None:
    async with journal(tmp_path, [entry(0, FIRST, b"a")], {"match.__X": "1"}) as driver:
        _, found = await taken(driver, SINCE, UNTIL)
    assert isinstance(found.error, NodeRefused)
    assert found.error.status == 400


@real
async def test_half_an_answer_of_the_real_gateway_is_an_error(tmp_path: Path) -> None:
    await write_journal(tmp_path, [entry(n, FIRST + n, b"line %d" % n) for n in range(50)])
    async with gateway(tmp_path) as url, cut(url) as half, pointed(journald, half, timeout=5) as driver:
        items = await taken(driver, SINCE, UNTIL)
    assert all(one.error for one in items)


# ---- a stream that no journal gives at will


@asynccontextmanager
async def streaming(chunks: Iterator[bytes]) -> AsyncIterator[tuple[str, list[web.Request]]]:
    """Answer /entries with `chunks`, and then end the connection; yields the URL and the requests."""
    asked: list[web.Request] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.append(request)
        response = web.StreamResponse()
        response.force_close()
        await response.prepare(request)
        for chunk in chunks:
            await response.write(chunk)
        return response

    async def machine(request: web.Request) -> web.Response:
        return web.json_response({})

    app = web.Application()
    app.router.add_get("/entries", answer)
    app.router.add_get("/machine", machine)
    async with serving(app) as url:
        yield url, asked


async def test_it_asks_by_a_cursor_of_nothing_but_a_time() -> None:
    async with streaming(iter([entry(0, FIRST, b"a")])) as (url, asked), pointed(journald, url) as driver:
        await taken(driver, SINCE, UNTIL)
    assert asked[0].headers["Range"] == f"entries=t={FIRST - 60 * 10**6:x}:0:1000000000"
    assert asked[0].headers["Accept"] == "application/vnd.fdo.journal"
    assert "follow" not in asked[0].query


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (entry(0, FIRST, b"a") + entry(1, FIRST, b"b")[:-1], "middle of a journal entry"),
        (entry(0, FIRST, b"a") + entry(1, FIRST, b"b\nc")[:-4], "middle of a journal entry"),
        (b"MESSAGE=a\n\n", "without its time"),
        (b"MESSAGE\n" + b"\xff" * 8, "a journal field of more than"),
        (b"MESSAGE=" + b"x" * (MOST_OF_AN_ENTRY + 1), "a journal entry of more than"),
    ],
    ids=["no empty line", "no end of a field", "no time", "endless field", "endless entry"],
)
async def test_what_is_no_whole_entry_is_broken(content: bytes, says: str) -> None:
    chunks = iter([content[at : at + 65_536] for at in range(0, len(content), 65_536)])
    async with streaming(chunks) as (url, _), pointed(journald, url, timeout=10) as driver:
        _, found = await taken(driver, SINCE, UNTIL)
    with pytest.raises(NodeBroken, match=says):
        _ = found.whole


def test_entries_are_cut_the_same_whatever_the_chunks() -> None:
    said = [b"a", b"b\n\n=c", b"\0" * 300, b"", b"d=e"]
    whole = b"".join(entry(n, FIRST + n, one) for n, one in enumerate(said))
    for size in (1, 2, 3, 7, 64, 1000, len(whole)):
        reader = EntryReader("test")
        found = [one for at in range(0, len(whole), size) for one in reader.entries(whole[at : at + size])]
        reader.ended()
        assert found == [entry(n, FIRST + n, one) for n, one in enumerate(said)]


async def test_reading_stops_a_minute_after_the_window_however_much_follows() -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        yield entry(0, FIRST, b"inside")
        for n in range(100_000):
            sent += 1
            yield entry(n, LAST + n * 10**6, b"x" * 10_000)

    async with streaming(endless()) as (url, _), pointed(journald, url, timeout=10) as driver:
        _, found = await taken(driver, SINCE, UNTIL)
    assert messages(found) == [b"inside"]
    assert sent < 5000


async def test_fifty_megabytes_go_by_in_a_few() -> None:
    def large() -> Iterator[bytes]:
        for n in range(530):
            yield b"".join(entry(n, FIRST + n, b"x" * 10_000) for _ in range(10))

    async with streaming(large()) as (url, _), pointed(journald, url, timeout=10) as driver:
        size, grown = await peak(driver, SINCE, UNTIL)
    assert size > 50 * MEGABYTE
    assert grown < 8 * MEGABYTE, f"{size} bytes took {grown} bytes of memory"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"unit": "a b/c"}, "unit 'b/c'"),
        ({"match.message": "a"}, "match.message: the journal has no such field"),
        ({"units": "a"}, "no option units"),
    ],
)
async def test_what_is_wrong_with_the_options_is_said(options: dict[str, str], says: str) -> None:
    with pytest.raises(Misconfigured, match=says):
        async with pointed(journald, "http://127.0.0.1:9", options):
            pass
