"""The loki driver against an imitation: whole windows over pages, whose borders are met at the worst places."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web

from bot.errors import Misconfigured, NodeBroken, NodeRefused
from bot.nodes import loki
from tests.drivers.captures import MEGABYTE, cut, peak, pointed, taken
from tests.drivers.emulated.loki import Entry, LokiImitation
from tests.drivers.emulated.loki import loki as imitated
from tests.drivers.emulated.serving import serving

UNTIL = datetime(2026, 9, 21, 14, 0, 0, 123_456, tzinfo=UTC)
SINCE = UNTIL - timedelta(minutes=15)
FIRST = 1_789_998_300_123_456_000
"""SINCE in nanoseconds, as date(1) says it."""
LAST = FIRST + 900 * 10**9
QUERY = '{host="n-1"}'
A, B = {"host": "n-1", "job": "signer"}, {"host": "n-1", "job": "client"}


async def captured(entries: Sequence[Entry], **options: str) -> tuple[list[tuple[int, str, str]], LokiImitation]:
    """Capture the window; return time, job and text of each line as it was kept, and the imitation."""
    async with (
        imitated({QUERY: entries}) as (url, imitation),
        pointed(loki, url, {"queries": '{host="{node}"}', **options}, timeout=5) as driver,
    ):
        (item,) = await taken(driver, SINCE, UNTIL)
    assert (item.what, item.media_type) == ("logs", "application/x-ndjson")
    lines = [json.loads(line) for line in item.whole.splitlines()]
    return [(int(line["ts"]), line["stream"]["job"], line["line"]) for line in lines], imitation


def plain(entries: Sequence[Entry]) -> list[tuple[int, str, str]]:
    return sorted((at, labels["job"], line) for at, labels, line in entries)


async def test_the_window_is_cut_exactly() -> None:
    inside = [(FIRST, A, "first"), (FIRST + 1, B, "second"), (LAST - 1, A, "last")]
    kept, imitation = await captured([(FIRST - 1, A, "before"), *inside, (LAST, A, "after")])
    assert kept == plain(inside)
    assert imitation.asked[0] == {
        "query": QUERY,
        "start": str(FIRST),
        "end": str(LAST),
        "limit": "5000",
        "direction": "forward",
    }


@pytest.mark.parametrize("limit", ["3", "4", "7", "40", "41", "42"])
async def test_every_line_is_kept_once_wherever_a_page_ends(limit: str) -> None:
    """Two lines share each second nanosecond, and one text comes in both streams and at several times."""
    entries: list[Entry] = [
        (FIRST + n // 2 * 7, (A, B)[n % 2], "the same" if n % 3 else f"line {n}") for n in range(41)
    ]
    kept, imitation = await captured(entries, limit=limit)
    assert sorted(kept) == plain(entries)
    assert [at for at, _, _ in kept] == sorted(at for at, _, _ in kept), "oldest first"
    assert all(one["limit"] == limit for one in imitation.asked)


async def test_twelve_thousand_lines_come_whole_by_default() -> None:
    entries: list[Entry] = [(FIRST + n * 10**6, A, f"line {n}") for n in range(12_000)]
    kept, imitation = await captured(entries)
    assert kept == plain(entries)
    assert len(imitation.asked) == 4, "three pages, and one to see that nothing more came"


async def test_lines_that_are_really_equal_are_not_taken_for_one() -> None:
    entries: list[Entry] = [(FIRST, A, "a"), (FIRST + 5, A, "twice"), (FIRST + 5, A, "twice"), (FIRST + 9, A, "z")]
    for limit in ("3", "4", "5"):
        kept, _ = await captured(entries, limit=limit)
        assert kept == plain(entries)


async def test_more_lines_of_one_nanosecond_than_a_page_holds_are_not_passed_off_as_whole() -> None:
    entries: list[Entry] = [(FIRST, A, "a"), *((FIRST + 5, A, f"line {n}") for n in range(9)), (FIRST + 9, A, "z")]
    async with (
        imitated({QUERY: entries}) as (url, _),
        pointed(loki, url, {"queries": QUERY, "limit": "4"}) as driver,
    ):
        (item,) = await taken(driver, SINCE, UNTIL)
    with pytest.raises(NodeBroken, match="has 4 lines or more of the nanosecond"):
        _ = item.whole


async def test_a_page_that_is_too_large_is_asked_for_with_fewer_lines() -> None:
    entries: list[Entry] = [(FIRST + n, A, f"{n} " + "x" * MEGABYTE) for n in range(7)]
    kept, imitation = await captured(entries, limit="40")
    assert kept == plain(entries)
    limits = [int(one["limit"]) for one in imitation.asked]
    assert limits[:5] == [40, 20, 10, 5, 2]
    assert set(limits[5:]) == {2}


async def test_tenant_warnings_and_metadata() -> None:
    entries = {QUERY: [(FIRST, A, "a")]}
    more = {"tenants": frozenset({"ops|x"}), "warnings": ["shard 3 timed out"], "metadata": True}
    async with imitated(entries, **more) as (url, imitation):
        async with pointed(loki, url, {"query.signer": QUERY, "org_id": "ops|x"}) as driver:
            logs, notes = await taken(driver, SINCE, UNTIL)
        assert len(imitation.asked) == 2
        async with pointed(loki, url, {"query.signer": QUERY}) as driver:
            (refused,) = await taken(driver, SINCE, UNTIL)
    assert json.loads(logs.whole)["metadata"] == {"trace": "7"}
    assert notes.what == "capture-notes"
    assert json.loads(notes.whole) == {"about": f"query signer: {QUERY}", "says": "shard 3 timed out"}
    assert isinstance(refused.error, NodeRefused)
    assert refused.error.status == 401


async def test_a_limit_above_that_of_the_server_is_its_refusal() -> None:
    async with imitated({QUERY: []}, most=100) as (url, _), pointed(loki, url, {"queries": QUERY}) as driver:
        (item,) = await taken(driver, SINCE, UNTIL)
    assert isinstance(item.error, NodeRefused)
    assert item.error.status == 400


async def test_no_lines_are_an_empty_item_and_no_error() -> None:
    kept, imitation = await captured([])
    assert (kept, len(imitation.asked)) == ([], 1)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ('{"status":"error","data":{"resultType":"streams","result":[]}}', "status 'error'"),
        ('{"status":"success","data":{"resultType":"matrix","result":[]}}', "a matrix: the query asks for no lines"),
        ('{"status":"success","data":{"resultType":"streams","result":[{"values":[]}]}}', "0.stream Field required"),
        (
            '{"status":"success","data":{"resultType":"streams","result":[{"stream":{},"values":[["x","y"]]}]}}',
            "a line",
        ),
        ('{"status":"success","data":{"resultType":"streams","result":[{"stream":{},"values":[["1"]]}]}}', "a line"),
        (
            '{"status":"success","data":{"resultType":"streams","result":[{"stream":{},"values":[["2","b"],["1","a"]]}]}}',
            "without regard to the direction",
        ),
        ('{"status":"success","data":{"resultType":"streams","result":[{"stream":{},"values":[[]]}]}}', "a line"),
        ('{"status":"success","data":{"resultType":"str', "unreadably"),
        ("<html>", "unreadably"),
    ],
)
async def test_what_cannot_be_read_is_broken(body: str, says: str) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=body, content_type="application/json")

    app = web.Application()
    app.router.add_get("/loki/api/v1/query_range", answer)
    async with serving(app) as url, pointed(loki, url, {"queries": QUERY}) as driver:
        (item,) = await taken(driver, SINCE, UNTIL)
    with pytest.raises(NodeBroken, match=says):
        _ = item.whole


async def test_lines_outside_of_the_window_are_left_out_whatever_comes() -> None:
    values = [[str(at), f"{at - FIRST}"] for at in (FIRST - 1, FIRST, LAST - 1, LAST)]

    async def answer(request: web.Request) -> web.Response:
        streams = [{"stream": A, "values": values}]
        return web.json_response({"status": "success", "data": {"resultType": "streams", "result": streams}})

    app = web.Application()
    app.router.add_get("/loki/api/v1/query_range", answer)
    async with serving(app) as url, pointed(loki, url, {"queries": QUERY}) as driver:
        (item,) = await taken(driver, SINCE, UNTIL)
    assert [int(json.loads(line)["ts"]) for line in item.whole.splitlines()] == [FIRST, LAST - 1]


async def test_a_second_page_that_breaks_off_spoils_the_item_although_the_first_was_whole() -> None:
    entries: list[Entry] = [(FIRST + n, A, f"line {n}") for n in range(10)]
    async with imitated({QUERY: entries}) as (url, imitation), cut(url) as half:
        async with pointed(loki, half, {"queries": QUERY}) as driver:
            (item,) = await taken(driver, SINCE, UNTIL)
        assert item.error is not None
        assert len(imitation.asked) == 1
    pages = iter(
        [
            web.json_response(
                {
                    "status": "success",
                    "data": {"resultType": "streams", "result": [{"stream": A, "values": [[str(FIRST), "a"]]}]},
                }
            ),
            web.Response(status=502),
        ]
    )

    async def answer(request: web.Request) -> web.Response:
        return next(pages)

    app = web.Application()
    app.router.add_get("/loki/api/v1/query_range", answer)
    async with serving(app) as url, pointed(loki, url, {"queries": QUERY}) as driver:
        (item,) = await taken(driver, SINCE, UNTIL)
    assert json.loads(item.content)["line"] == "a"
    assert isinstance(item.error, NodeBroken)


async def test_fifty_megabytes_go_by_page_by_page() -> None:
    """Twenty pages of 400 lines each; the peer's own page is counted too, since it is made in this process."""
    head = json.dumps({"status": "success", "data": {"resultType": "streams", "result": [{"stream": A}]}})[:-4]
    line, count = "x" * 6_600, 8_000

    async def answer(request: web.Request) -> web.Response:
        first = (int(request.query["start"]) - FIRST) // 1000
        last = min(first + int(request.query["limit"]), count)
        values = ",".join(f'["{FIRST + n * 1000}","{n:>8}{line}"]' for n in range(first, last))
        return web.Response(text=f'{head},"values":[{values}]}}]}}}}', content_type="application/json")

    app = web.Application()
    app.router.add_get("/loki/api/v1/query_range", answer)
    options = {"queries": QUERY, "limit": "400"}
    async with serving(app) as url, pointed(loki, url, options, timeout=20) as driver:
        size, grown = await peak(driver, SINCE, UNTIL)
    assert size > 50 * MEGABYTE
    assert grown < 24 * MEGABYTE, f"{size} bytes took {grown} bytes of memory"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "needs queries"),
        ({"queries": QUERY, "limit": "0"}, "limit '0'"),
        ({"queries": QUERY, "limit": "many"}, "limit 'many'"),
        ({"queries": QUERY, "org_id": "a\r\nX: y"}, "org_id"),
        ({"queries": QUERY, "tenant": "a"}, "no option tenant"),
    ],
)
async def test_what_is_wrong_with_the_options_is_said(options: dict[str, str], says: str) -> None:
    with pytest.raises(Misconfigured, match=says):
        async with pointed(loki, "http://127.0.0.1:9", options):
            pass
