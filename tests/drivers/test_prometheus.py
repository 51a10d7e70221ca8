"""The prometheus driver: a real Prometheus that scrapes an exporter, and answers that the real one gives seldom."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import httpx
import pytest
import pytest_asyncio
from aiohttp import web

from bot.errors import Misconfigured, NoAnswer, NodeBroken, NodeRefused
from bot.nodes import prometheus
from bot.nodes.prometheus import MOST_POINTS, MOST_SPANS, spans
from tests import processes
from tests.drivers.captures import MEGABYTE, Taken, cut, peak, pointed, taken
from tests.drivers.emulated.prometheus import EMPTY, ONE, answering
from tests.drivers.emulated.serving import serving

UNTIL = datetime(2026, 9, 21, 14, 0, 0, 123_000, tzinfo=UTC)
QUARTER = UNTIL - timedelta(minutes=15)
STRANGE = "a\"b'c`d\\e{node}é 7"
"""A label's value that would leave a literal of PromQL if it could."""


def documents(one: Taken) -> list[Any]:
    """Return Prometheus' answers in an item."""
    return [json.loads(line) for line in one.whole.splitlines()]


def series(one: Taken) -> list[Any]:
    """Return the series of an item's only answer."""
    (only,) = documents(one)
    assert only["data"]["resultType"] == "matrix"
    found: list[Any] = only["data"]["result"]
    return found


# ---- the real program


class Exporter:
    """An exporter whose counter rises with each scrape."""

    def __init__(self) -> None:
        self.signed = 0
        self.app = web.Application()
        self.app.router.add_get("/metrics", self._metrics)

    async def _metrics(self, request: web.Request) -> web.Response:
        self.signed += 3
        strange = STRANGE.replace("\\", r"\\").replace('"', r"\"")
        lines = (
            f'avs_signatures_total{{signer="n-1",avs="x"}} {self.signed}',
            'avs_signatures_total{signer="n-2",avs="x"} 5',
            f'odd_total{{name="{strange}"}} 7',
            "process_start_time_seconds 1.7e9",
        )
        return web.Response(text="\n".join(lines) + "\n", content_type="text/plain")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def real(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[str, str]]:
    """Run Prometheus over an exporter until it has scraped it three times; yields its URL and the exporter's."""
    exporter = Exporter()
    async with serving(exporter.app) as url:
        instance = url.removeprefix("http://")
        scrape = {"job_name": "avs", "scrape_interval": "200ms", "scrape_timeout": "200ms"}
        config = {"scrape_configs": [{**scrape, "static_configs": [{"targets": [instance]}]}]}
        async with processes.prometheus(tmp_path_factory.mktemp("prometheus"), config) as base, asyncio.timeout(20):
            async with httpx.AsyncClient(trust_env=False) as client:
                query = {"query": "count_over_time(avs_signatures_total[1m]) >= 3"}
                while not (await client.get(f"{base}/api/v1/query", params=query)).json()["data"]["result"]:
                    await asyncio.sleep(0.1)
            yield base, instance


@pytest.mark.peer("prometheus")
@pytest.mark.asyncio(loop_scope="module")
async def test_a_real_prometheus_gives_the_samples_of_this_node(real: tuple[str, str]) -> None:
    base, instance = real
    labels = {"instance": instance, "signer": "n-1", "name": STRANGE}
    async with pointed(prometheus, base, {"step": "0.2"}, labels=labels, timeout=5) as driver:
        by_instance, by_name, by_signer = await taken(driver)
        names = {one["metric"]["__name__"] for one in series(by_instance)}
        assert {"up", "process_start_time_seconds", "avs_signatures_total"} <= names
        assert by_instance.what == "metrics"
        (signer,) = series(by_signer)
        assert (signer["metric"]["signer"], signer["metric"]["instance"]) == ("n-1", instance)
        counts = [int(value) for _, value in signer["values"]]
        assert counts == sorted(counts)
        assert counts[0] < counts[-1]
        assert all(count % 3 == 0 for count in counts)
        assert series(by_name) == [], "the family odd_total is none of a signer's"

    queries = """
        up{instance="{instance}"}
        # a remark

        avs_signatures_total{signer='{label:signer}'}
        odd_total{name="{label:name}"}
        odd_total{name='{label:name}'}
        nothing_of{avs="{avs}",node="{node}"}
    """
    async with pointed(prometheus, base, {"queries": queries}, labels=labels, timeout=5) as driver:
        up, signed, double, single, nothing = await taken(driver)
    assert [value for _, value in series(up)[0]["values"]][-1] == "1"
    assert [one["metric"]["signer"] for one in series(signed)] == ["n-1"]
    for odd in (double, single):
        (strange,) = series(odd)
        assert strange["metric"]["name"] == STRANGE
    assert documents(nothing)[0]["data"]["result"] == []
    assert nothing.source.endswith('/api/v1/query_range nothing_of{avs="x",node="n-1"}')


@pytest.mark.peer("prometheus")
@pytest.mark.asyncio(loop_scope="module")
async def test_a_real_prometheus_takes_as_many_points_as_we_ask_for_and_says_what_is_wrong(
    real: tuple[str, str],
) -> None:
    base, instance = real
    until = datetime.now(UTC)
    options = {"query.long": f'up{{instance="{instance}"}}', "step": "1"}
    async with pointed(prometheus, base, options, timeout=5) as driver:
        (item,) = await taken(driver, until - timedelta(seconds=25_000), until)
        assert item.media_type == "application/x-ndjson"
        assert [one["status"] for one in documents(item)] == ["success"] * 3
        latest = documents(item)[-1]["data"]["result"][0]["values"][-1]
        assert latest == [pytest.approx(until.timestamp(), abs=0.001), "1"]
    async with pointed(prometheus, base, {"queries": "up{"}, timeout=5) as driver:
        (item,) = await taken(driver)
        assert isinstance(item.error, NodeRefused)
        assert item.error.status == 400


# ---- how a window is divided


@pytest.mark.parametrize(
    ("length", "step", "parts"),
    [(0, 5, 1), (900, 5, 1), (10_999, 1, 1), (11_000, 1, 2), (25_000, 1, 3), (10_000_000, 1, MOST_SPANS), (3, 5, 1)],
)
def test_a_window_is_divided_so_that_no_part_has_too_many_points(length: int, step: int, parts: int) -> None:
    since = UNTIL - timedelta(seconds=length)
    found = spans(since, UNTIL, timedelta(seconds=step))
    assert len(found) == parts
    assert found[-1][1] == int(UNTIL.timestamp() * 1000), "the last point is the end of the window"
    assert 0 <= found[0][0] - since.timestamp() * 1000 < found[0][2] + 1, "the first is within a step of its beginning"
    assert all((last - first) // pace + 1 <= MOST_POINTS for first, last, pace in found)
    assert all(two[0] - one[1] == one[2] for one, two in pairwise(found)), "one step lies between two parts"


# ---- answers that must not pass


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b'{"status":"error","errorType":"execution","error":"expanding series"}', "without success.*expanding"),
        (b"<html>please log in</html>", "without success"),
        (b"", "without success: nothing"),
        (ONE[:-2], "breaks off"),
        (ONE[:80], "breaks off"),
        (b'{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"a":"]}}\\', "breaks off"),
    ],
    ids=["error", "html", "empty", "no end", "half", "in a text"],
)
async def test_what_is_no_whole_success_is_no_item(body: bytes, says: str) -> None:
    async with answering(body) as (url, _), pointed(prometheus, url, {"queries": "up"}) as driver:
        (item,) = await taken(driver)
    with pytest.raises(NodeBroken, match=says):
        _ = item.whole


async def test_brackets_and_quotes_in_labels_are_no_structure() -> None:
    value = json.dumps('}]}]"\\{[ "warnings":["no"] \\\\')
    body = ONE.replace(b'"n-1:9000"', value.encode())

    async def bytewise(request: web.Request) -> AsyncIterator[bytes]:
        for at in range(0, len(body), 3):
            yield body[at : at + 3]

    async with answering(bytewise) as (url, _), pointed(prometheus, url, {"queries": "up"}, timeout=5) as driver:
        items = await taken(driver)
    assert [(one.what, one.whole) for one in items] == [("metrics", body + b"\n")]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (EMPTY[:-1] + b',"warnings":["store 7 is gone","and 8"],"infos":["old"]}', ["store 7 is gone", "and 8", "old"]),
        (EMPTY.replace(b'"data"', b'"isPartial":true,"data"'), ["partial"]),
    ],
    ids=["warnings", "partial"],
)
async def test_what_it_says_against_its_own_answer_is_kept_beside_it(body: bytes, says: Sequence[str]) -> None:
    async with answering(body) as (url, _), pointed(prometheus, url, {"query.a": "up"}) as driver:
        metrics, notes = await taken(driver)
    assert metrics.whole == body + b"\n"
    assert notes.what == "capture-notes"
    lines = documents(notes)
    assert [line["about"] for line in lines] == ["query a: up"] * len(says)
    assert all(word in line["says"] for word, line in zip(says, lines, strict=True))


async def test_half_an_answer_on_the_wire_is_an_error() -> None:
    async with answering(ONE) as (url, _), cut(url) as half, pointed(prometheus, half, {"queries": "up"}) as driver:
        (item,) = await taken(driver)
    assert item.error is not None


async def test_after_silence_the_other_queries_are_not_waited_for() -> None:
    async def silent(request: web.Request) -> AsyncIterator[bytes]:
        yield b'{"status":'
        await asyncio.sleep(5)

    async with answering(silent) as (url, asked), pointed(prometheus, url, {"queries": "a\nb\nc"}) as driver:
        began = asyncio.get_running_loop().time()
        items = await taken(driver)
        assert asyncio.get_running_loop().time() - began < 1.5
    assert [type(one.error) for one in items] == [NoAnswer] * 3
    assert asked == ["a"]


async def test_fifty_megabytes_go_by_in_a_few() -> None:
    one = b'{"metric":{"__name__":"up"},"values":[' + b",".join([b'[1790000000,"1"]'] * 60_000) + b"]}"

    async def large(request: web.Request) -> AsyncIterator[bytes]:
        yield EMPTY[:-3]
        for n in range(58):
            yield (b"," if n else b"") + one
        yield EMPTY[-3:]

    async with answering(large) as (url, _), pointed(prometheus, url, {"queries": "up"}, timeout=5) as driver:
        size, grown = await peak(driver, QUARTER, UNTIL)
    assert size > 50 * MEGABYTE
    assert grown < 16 * MEGABYTE, f"{size} bytes took {grown} bytes of memory"


# ---- options


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"querys": "up"}, "no option querys"),
        ({"queries": "up{a='{label:rack}'}"}, "no label rack"),
        ({"queries": "up{a='{instance}'}"}, "no label instance"),
        ({"queries": "up", "step": "often"}, "step 'often'"),
        ({"queries": "up", "step": "0s"}, "step '0s'"),
        ({}, "needs queries, or labels"),
        ({"queries": "# nothing"}, "needs queries, or labels"),
    ],
)
async def test_what_is_wrong_with_the_options_is_said(options: dict[str, str], says: str) -> None:
    with pytest.raises(Misconfigured, match=says):
        async with pointed(prometheus, "http://127.0.0.1:9", options):
            pass


async def test_the_token_is_sent_and_told_nowhere() -> None:
    seen: list[str] = []

    async def answer(request: web.Request) -> AsyncIterator[bytes]:
        seen.append(request.headers["Authorization"])
        yield EMPTY

    async with answering(answer) as (url, _), pointed(prometheus, url, {"queries": "up"}, token="s3cret") as driver:
        (item,) = await taken(driver)
    assert seen == ["Bearer s3cret"]
    assert "s3cret" not in f"{item}"
