"""Inspecting: what the signed messages of an incident show is in its timeline, once, and nothing brings it down."""

import asyncio
import hashlib
import json
import resource
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain import journal as j
from bot.domain.authority import BOT
from bot.domain.findings import MORE, Finding, Item
from bot.domain.protection import mark_of
from bot.domain.work import Done, Work
from bot.errors import NotFound, Stale
from bot.flows import findings, record
from bot.steps.capture import noting_highest
from bot.steps.evidence import Keeper, Where, once
from bot.steps.inspect import Inspector, Report, Stopped, compared
from bot.steps.messages import LONGEST, Lines, Unreadable, fields_of, loosely
from bot.vault.folder import Folder
from tests.fakes import Room, alert

ROOT = Path(__file__).parents[2]
VOTE = {"duty": "attestation", "target": 9}
T0 = datetime(2026, 11, 20, 3, tzinfo=UTC)


@dataclass
class Shelf:
    """Blobs in memory; `gone` are not there any more, `altered` are not what they were."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    altered: set[str] = field(default_factory=set)

    def put(self, content: bytes) -> str:
        sha256 = hashlib.sha256(content).hexdigest()
        self.blobs[sha256] = content
        return sha256

    def open(self, sha256: str) -> BinaryIO:
        if sha256 in self.gone:
            raise NotFound(f"the vault has no blob {sha256}")
        return BytesIO(self.blobs[sha256] + (b"\n{}" if sha256 in self.altered else b""))


def line(n: int, **more: Any) -> dict[str, Any]:
    """Return the nth message of an honest log."""
    at = (T0 + timedelta(seconds=n)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    given = {"key": "0xa1", "duty": "sequence", "slot": n, "avs": "sequencer", "nonce": n + 1, "result": "signed"}
    return {**given, "at": at, "digest": digest(f"{more.get('key', '0xa1')}/{more.get('slot', n)}"), **more}


def digest(text: str) -> str:
    return "0x" + hashlib.sha256(text.encode()).hexdigest()


def ndjson(lines: Iterable[Mapping[str, Any] | bytes]) -> bytes:
    return b"".join((one if isinstance(one, bytes) else json.dumps(one).encode()) + b"\n" for one in lines)


def shown(*logs: Sequence[Mapping[str, Any] | bytes], shelf: Shelf | None = None) -> Report:
    """Compare logs, of which the nth is of node seq-0n."""
    shelf = shelf or Shelf()
    items = {
        Item(id=f"ev-7-{n}", node=f"seq-0{n}", log=f"log {n}"): shelf.put(ndjson(log)) for n, log in enumerate(logs, 1)
    }
    return compared(shelf, items, threading.Event())


def kinds(report: Report) -> list[str]:
    return sorted(one.kind for one in report.findings)


def only(report: Report) -> Finding:
    (found,) = report.findings
    return found


# ---- what is found


def test_two_machines_that_sign_for_one_slot_are_named_with_times_and_places() -> None:
    one, other = [line(n, key="0xa1") for n in range(9)], [line(7, digest=digest("other"), nonce=3, result="unknown")]
    both = [found for found in shown(one, other).findings if found.kind == "equivocation"]
    (found,) = both
    assert found.id == "equivocation:0xa1:sequence-slot-7"
    assert found.items == ("ev-7-1", "ev-7-2")
    assert found.key == "0xa1"
    first, second = digest("0xa1/7"), digest("other")
    assert found.text == (
        "0xa1 was signed, or may have been, for sequence slot 7 with two digests: "
        f"{first[:6]}…{first[-4:]} by seq-01 (ev-7-1, line 8) at 2026-11-20T03:00:07.000000Z and "
        f"{second[:6]}…{second[-4:]} by seq-02 (ev-7-2, line 1) at 2026-11-20T03:00:07.000000Z, "
        "asked for with no answer seen"
    )


def test_a_key_on_two_nodes_at_the_same_time() -> None:
    found = only(shown([line(n) for n in range(9)], [line(n) for n in range(5, 12)]))
    assert found.id == "key-shared:0xa1:nodes"
    assert found.items == ("ev-7-1", "ev-7-2")
    assert found.text == (
        "0xa1 signed on two nodes in the same time: "
        "by seq-01 (ev-7-1), from 2026-11-20T03:00:00.000000Z to 2026-11-20T03:00:08.000000Z, "
        "and by seq-02 (ev-7-2), from 2026-11-20T03:00:05.000000Z to 2026-11-20T03:00:11.000000Z"
    )


def test_a_key_that_moved_to_another_node_is_not_shared() -> None:
    assert kinds(shown([line(n) for n in range(5)], [line(n) for n in range(5, 9)])) == []


def test_two_nodes_before_one_signer_have_one_log() -> None:
    shelf = Shelf()
    log = ndjson(line(n) for n in range(9))
    items = {Item(id=f"ev-7-{n}", node=f"seq-0{n}", log="GET http://signer") for n in (1, 2)}
    assert kinds(compared(shelf, dict.fromkeys(items, shelf.put(log)), threading.Event())) == []


def test_one_node_asked_at_two_addresses_shares_no_key_with_itself() -> None:
    sha256 = (shelf := Shelf()).put(ndjson(line(n) for n in range(9)))
    items = {Item(id=f"ev-7-{n}", node="seq-01", log=f"GET http://way-{n}"): sha256 for n in (1, 2)}
    assert kinds(compared(shelf, items, threading.Event())) == []


def test_a_key_in_two_services() -> None:
    found = only(shown([line(0), line(1, avs="oracle"), line(2, avs="")]))
    assert found.id == "key-shared:0xa1:avs"
    assert found.text.startswith("0xa1 signed for 2 AVSs: oracle by seq-01 (ev-7-1), from ")


def test_the_same_window_captured_twice_shows_nothing_twice() -> None:
    shelf = Shelf()
    log = ndjson([line(0), line(1), line(5), {"what": "gap", "lost": 1, "messages": 1}, b"rubbish"])
    items = [Item(id=f"ev-7-{n}", node="seq-01", log="log") for n in (1, 2)]
    report = compared(shelf, dict.fromkeys(items, shelf.put(log)), threading.Event())
    assert kinds(report) == ["counter-gap", "told-gap", "unreadable", "unreadable"]
    assert report.total == 4


# ---- honest logs, and one fault

Log = list[dict[str, Any]]


def made(keys: int, length: int, cut: int) -> tuple[Log, int]:
    return [line(n, key=f"0x{n % keys}", slot=n // keys) for n in range(length)], cut


logs = st.builds(
    made,
    st.integers(1, 5),
    st.integers(6, 40),
    st.integers(0, 40),
)


def doubled(log: Log, n: int) -> Log:
    return [*log, {**log[n], "nonce": log[-1]["nonce"] + 1, "digest": digest("another")}]


def surrounded(log: Log, n: int) -> Log:
    votes = [{**one, "duty": "attestation", "source": one["slot"] + 9, "target": one["slot"] + 10} for one in log]
    return [*votes, {**votes[n], "source": 0, "target": 99, "digest": digest("wide"), "nonce": log[-1]["nonce"] + 1}]


FAULTS: Mapping[str, Callable[[Log, int], Sequence[Mapping[str, Any] | bytes]]] = {
    "equivocation": doubled,
    "surround": surrounded,
    "counter-gap": lambda log, n: [*log[: n or 1], *log[(n or 1) + 1 :]],
    "counter-fell": lambda log, n: [*log, {**log[n], "digest": digest("late"), "slot": 10**6}],
    "key-shared": lambda log, n: [*log, {**log[n], "avs": "oracle", "nonce": log[-1]["nonce"] + 1}],
    "unreadable": lambda log, n: [*log[:n], b"{" * 99, *log[n:]],
    "told-gap": lambda log, n: [*log[:n], {"what": "gap", "lost": 3, "messages": 1, "why": "full"}, *log[n:]],
}


@settings(deadline=None)
@given(logs)
def test_an_honest_log_shows_nothing_however_often_and_in_what_parts_it_was_captured(given_: tuple[Log, int]) -> None:
    log, cut = given_
    shelf = Shelf()
    parts = [log, log[: cut or 1], log[cut // 2 :] or log]
    items = {Item(id=f"ev-7-{n}", node="seq-01", log="log"): shelf.put(ndjson(one)) for n, one in enumerate(parts)}
    assert compared(shelf, items, threading.Event()).findings == []


@pytest.mark.parametrize("fault", FAULTS)
@settings(deadline=None, max_examples=40)
@given(given_=logs, at=st.integers(0, 5))
def test_one_fault_is_found_and_nothing_else(fault: str, given_: tuple[Log, int], at: int) -> None:
    log, _ = given_
    at = min(at, len(log) - 2)
    assert kinds(shown(FAULTS[fault](log, at))) == [fault]


@settings(deadline=None)
@given(logs, st.integers(0, 5), st.randoms(use_true_random=False))
def test_neither_the_order_of_lines_nor_of_items_hides_an_equivocation(
    given_: tuple[Log, int], at: int, chance: Any
) -> None:
    bad = doubled(given_[0], at)
    parts: list[Log] = [[], [], []]
    chance.shuffle(bad)
    for one in bad:
        chance.choice(parts).append(one)
    found = [one.id for one in shown(*parts).findings if one.kind == "equivocation"]
    one = given_[0][at]
    assert found == [f"equivocation:{one['key']}:sequence-slot-{one['slot']}"]


# ---- rubbish


@pytest.mark.parametrize(
    ("rubbish", "why"),
    [
        (b"[" * 50_000, "it is no JSON"),
        (b'{"slot":' + b"9" * 20_000 + b"}", "it is no JSON"),
        (b"\xff\xfe", "it is no JSON"),
        (b"\xff", "it is longer than 65536 bytes"),
        (b'{"a":NaN}', "it is no JSON"),
        (b"[]", "it is no JSON object"),
        (b"x" * (LONGEST + 1), "it is longer than 65536 bytes"),
        (b"x" * 3_000_000, "it is longer than 65536 bytes"),
        (json.dumps(line(3))[:-1].encode() + b',"digest":"0x00"}', "a name stands in it twice"),
        (json.dumps(line(3))[:-1].encode() + b',"more":{"a":1,"a":2}}', "a name stands in it twice"),
        (json.dumps(line(3))[:-1].encode() + b',"dig\\u0065st":"0x00"}', "a name stands in it twice"),
        (b'{"digest" :1,"digest":2,"x":":"}', "a name stands in it twice"),
        (b"{}", "`key`, `duty`, `avs` or `digest` is missing or no text"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)
def test_a_line_that_cannot_be_read_is_told_and_the_rest_is_compared(rubbish: bytes, why: str) -> None:
    report = shown([line(0), line(1), rubbish, b"", b"\r", line(2), line(3), line(3, digest=digest("x"), nonce=5)])
    assert kinds(report) == ["equivocation", "unreadable"]
    told = next(one for one in report.findings if one.kind == "unreadable")
    assert told.text == f"No signed message is line 3 of seq-01 (ev-7-1): {why}"


@settings(deadline=None)
@given(st.binary(max_size=300), st.integers(1, 50))
def test_any_bytes_in_any_chunks_are_the_same_lines(content: bytes, size: int) -> None:
    lines = Lines()
    cut = [one for n in range(0, len(content), size) for one in lines.feed(content[n : n + size])]
    expected = content.split(b"\n")
    assert [*cut, *lines.end()] == (expected if expected[-1] else expected[:-1])
    report = shown([content])
    assert all(one.kind in {"unreadable", "told-gap"} for one in report.findings)


def test_the_end_of_a_line_that_is_too_long_is_no_line() -> None:
    lines = Lines()
    assert lines.feed(b"x" * (LONGEST + 1)) == []
    (told,) = lines.feed(json.dumps(line(3)).encode() + b"\n")
    with pytest.raises(Unreadable, match="longer"):
        fields_of(told)
    assert lines.feed(b"{}\n") == [b"{}"]
    assert lines.end() == []


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(json_values, st.sampled_from([(",", ":"), (", ", ": "), (" ,\t", " : ")]), st.booleans())
def test_lines_are_read_as_json_loads_reads_them(value: object, separators: tuple[str, str], plain: bool) -> None:
    content = json.dumps(value, separators=separators, ensure_ascii=plain).encode("utf-8", "surrogatepass")
    with suppress(ValueError):  # a lone surrogate is no UTF-8
        expected = json.loads(content)
        assert loosely(content) == expected
        if isinstance(expected, dict) and "\\ud" not in content.decode():
            assert fields_of(content) == expected


names = st.sampled_from(["a", "b", "a:", ":"])


@settings(deadline=None)
@given(st.lists(st.tuples(names, st.sampled_from(['"', '" ', '"\t', '"\r']), names), min_size=1, max_size=4))
def test_a_name_that_stands_twice_is_never_missed(pairs: list[tuple[str, str, str]]) -> None:
    content = ("{" + ",".join(f'"{name}{end}:"{value}"' for name, end, value in pairs) + "}").encode()
    once_each = len({name for name, _, _ in pairs}) == len(pairs)
    if once_each:
        assert fields_of(content) == {name: value for name, _, value in pairs}
    else:
        with pytest.raises(Unreadable, match="twice"):
            fields_of(content)


# ---- how far each key has come, noted as messages are captured


async def noted(content: bytes, size: int) -> dict[str, int]:
    """Pass content through in chunks of a size; return the heights, when all of it came through."""

    async def chunks() -> AsyncIterator[bytes]:
        for n in range(0, len(content), size):
            yield content[n : n + size]

    highest: dict[str, int] = {}
    assert b"".join([chunk async for chunk in noting_highest(chunks(), highest)]) == content
    return highest


def as_before(content: bytes) -> dict[str, int]:
    """Return the heights as `json.loads` has them, line by line."""
    highest: dict[str, int] = {}
    for one in content.split(b"\n"):
        with suppress(ValueError, KeyError, TypeError, AttributeError, OverflowError):
            if found := mark_of(json.loads(one)):
                highest[found[0]] = max(found[1], highest.get(found[0], -1))
    return highest


odd = st.sampled_from(
    [
        *(b"", b"{", b"[]", b"\xff", b'{"key":"0xa","slot":1e999}', b'{"key":"0xa","slot":"12"}'),
        *(b'{"key":7,"slot":3.9}', b'\xef\xbb\xbf{"key":"0xb","slot":5}', b'{"key":"\\ud800","slot":2}'),
        *(b'{"key":"0xa","slot":1,"slot":20}\r', b'{"key":"0xA","slot":NaN}', b'{"key":"0xa","slot":4,"x":NaN}'),
        b'{"key":"0xa","slot":' + b"9" * 5000 + b"}",
    ]
)
some = st.builds(lambda n, more: json.dumps(line(n, **more)).encode(), st.integers(0, 99), st.just({}) | st.just(VOTE))


@settings(deadline=None)
@given(st.lists(odd | some, max_size=12), st.integers(1, 300))
async def test_heights_are_noted_as_json_loads_reads_them(lines: list[bytes], size: int) -> None:
    content = b"\n".join(lines)
    assert await noted(content, size) == as_before(content)


async def test_heights_of_many_chunks_are_complete_when_the_stream_has_ended() -> None:
    content = ndjson(line(n, key=f"0x{n % 3}") for n in range(12_000))  # some MiB: several go to the thread
    assert len(content) > 2 << 20
    assert await noted(content, 70_000) == {"block:0x0": 11_997, "block:0x1": 11_998, "block:0x2": 11_999}


@pytest.mark.parametrize("rubbish", [b"[" * 60_000, b"x" * 200_000, b'{"a":"' + b"x" * 70_000 + b'"}'])
async def test_a_line_too_deep_or_too_long_costs_no_height(rubbish: bytes) -> None:
    content = ndjson([line(1), rubbish, line(2)])
    assert await noted(content, 1000) == {"block:0xa1": 2}


# ---- items that are not there, or not as they were


def test_an_item_that_is_gone_or_altered_is_told_and_the_others_are_compared() -> None:
    shelf = Shelf()
    bad = [line(0, key="0xb", digest=digest("bad"))]
    shelf.gone.add(shelf.put(ndjson([line(0)])))
    shelf.altered.add(shelf.put(ndjson(bad)))
    report = shown([line(0)], bad, [line(0, key="0xb")], [line(0, key="0xb", digest=digest("x"))], shelf=shelf)
    told = [one.text for one in report.findings if one.kind == "unread"]
    assert told == [
        f"seq-01 (ev-7-1) was not compared: the vault has no blob {shelf.put(ndjson([line(0)]))}",
        "seq-02 (ev-7-2) was not compared: its content is not what its hash says",
    ]
    (twice,) = (one for one in report.findings if one.kind == "equivocation")
    assert twice.items == ("ev-7-3", "ev-7-4")


def test_a_comparison_that_nobody_waits_for_ends() -> None:
    stop = threading.Event()
    stop.set()
    shelf = Shelf()
    items = {Item(id="ev-7-1", node="seq-01", log="log"): shelf.put(ndjson([line(0)]))}
    with pytest.raises(Stopped):
        compared(shelf, items, stop)


# ---- memory


LINE = (
    b'{"key":"0x%048x","avs":"eth","duty":"ATTESTATION","slot":%d,"source":%d,"target":%d,"digest":"0x%064x",'
    b'"at":"2026-11-20T03:00:00.%06dZ","result":"signed","nonce":%d}\n'
)


class Made(BytesIO):
    """An honest log of many lines, made as it is read."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.made = (
            b"".join(LINE % (m % 50, m // 50, m // 50, m // 50 + 1, m, m, m + 1) for m in range(n, n + 1000))
            for n in range(0, count, 1000)
        )

    def read(self, size: int | None = -1, /) -> bytes:
        return next(self.made, b"")


class Making:
    def __init__(self, count: int) -> None:
        self.count = count

    def open(self, sha256: str) -> BinaryIO:
        return Made(self.count)


def growth(count: int) -> None:
    """Print by how many bytes this process grew, at its peak, over a comparison of many messages."""
    digest = hashlib.sha256()
    for block in Made(count).made:
        digest.update(block)
    items = {Item(id="ev-7-1", node="seq-01", log="log"): digest.hexdigest()}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    report = compared(Making(count), items, threading.Event())
    assert (report.messages, report.findings) == (count, [])
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)


def test_ten_times_the_messages_take_no_more_memory() -> None:
    def peak(count: int) -> int:
        code = f"from tests.steps.test_inspect import growth; growth({count})"
        ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
        assert ran.returncode == 0, ran.stderr
        return int(ran.stdout)

    few, many = peak(20_000), peak(200_000)
    assert many - few < 20_000_000  # a run of 50,000 rows and what is read ahead of the runs; all rows have 21 MB
    assert many < 100_000_000


# ---- in an incident


async def keep(spine: Room, folder: Path, node: str, *lines: Mapping[str, Any] | bytes) -> str:
    where = Where(incident=1, node=node, source=f"{node} GET http://{node}", tool="t", since=T0, until=T0)
    keeper = Keeper(spine.ledger, Folder(folder))
    return await keeper.keep(where, what="signed-messages", media_type="x", chunks=once(ndjson(lines)))


async def inspected(spine: Room, folder: Path) -> str:
    """Run the work that asks for it; return its note."""
    spine.clock.go(seconds=5)
    (work,) = await spine.due("evidence.inspect")
    result = await Inspector(spine.ledger, Folder(folder)).inspect(work)
    assert isinstance(result, Done)
    await spine.claims.finish(work, result)
    return result.note


async def found(spine: Room) -> list[j.EvidenceFound]:
    return [w.entry for w in await spine.journal() if isinstance(w.entry, j.EvidenceFound)]


async def test_a_finding_is_in_the_timeline_once(spine: Room, tmp_path: Path) -> None:
    await spine.receive(alert(signer="s01"))
    await keep(spine, tmp_path, "s01", line(0), line(1))
    assert await inspected(spine, tmp_path) == "2 messages in 1 items: nothing found, 0 new"
    await keep(spine, tmp_path, "s02", line(1, digest=digest("x")))
    assert await inspected(spine, tmp_path) == "3 messages in 2 items: 1 equivocation, 1 key-shared, 2 new"
    await keep(spine, tmp_path, "s03", line(1, key="0xc"))
    assert await inspected(spine, tmp_path) == "4 messages in 3 items: 1 equivocation, 1 key-shared, 0 new"
    assert [(e.kind, e.items) for e in await found(spine)] == [
        ("equivocation", ("ev-1-1", "ev-1-2")),
        ("key-shared", ("ev-1-1", "ev-1-2")),
    ]
    assert (await spine.incident()).findings == ("equivocation:0xa1:sequence-slot-1", "key-shared:0xa1:nodes")


async def test_what_has_expired_is_left_out(spine: Room, tmp_path: Path) -> None:
    await spine.receive(alert(signer="s01"))
    item = await keep(spine, tmp_path, "s01", line(0))
    await keep(spine, tmp_path, "s02", line(9, digest=digest("x")))
    (kept,) = (w.entry for w in await spine.journal() if isinstance(w.entry, j.EvidenceKept) and w.entry.item == item)
    expired = j.EvidenceExpired(item=item, sha256=kept.sha256, reason="its time is over")
    await spine.decide(record.note, record.Note(by=BOT, incident=1, entry=expired))
    assert await inspected(spine, tmp_path) == "1 messages in 1 items: nothing found, 0 new; expired before: ev-1-1"


async def test_the_timeline_names_twenty_and_counts_the_rest_and_gaps_never_take_all_places(
    spine: Room, tmp_path: Path
) -> None:
    await spine.receive(alert(signer="s01"))
    await keep(spine, tmp_path, "s01", *(line(2 * n) for n in range(100)))
    assert await inspected(spine, tmp_path) == "100 messages in 1 items: 99 counter-gap, 10 new"
    await keep(spine, tmp_path, "s01", *(line(2 * n, digest=digest(f"{n}")) for n in range(100)))
    await inspected(spine, tmp_path)
    told = await found(spine)
    assert [e.kind for e in told] == ["counter-gap"] * 10 + [MORE] + ["equivocation"] * 10
    assert told[10].text == "89 more things were found than the timeline names; the items have them all"


async def test_nothing_is_written_when_the_work_is_another_workers(spine: Room, tmp_path: Path) -> None:
    await spine.receive(alert(signer="s01"))
    await keep(spine, tmp_path, "s01", line(0), line(0, digest=digest("x"), nonce=2))
    spine.clock.go(seconds=5)
    (work,) = await spine.due("evidence.inspect")
    with pytest.raises(Stale):
        await Inspector(spine.ledger, Folder(tmp_path)).inspect(replace(work, fence=work.fence + 1))
    assert await found(spine) == []


async def test_a_cancelled_comparison_writes_nothing_and_its_thread_ends(spine: Room, tmp_path: Path) -> None:
    await spine.receive(alert(signer="s01"))
    item = await keep(spine, tmp_path, "s01", line(0))
    reading, let_go, ended = threading.Event(), threading.Event(), threading.Event()

    class Slow:
        def open(self, sha256: str) -> BinaryIO:
            class Reader(BytesIO):
                def read(self, size: int | None = -1, /) -> bytes:
                    reading.set()
                    let_go.wait(5)
                    return ndjson([line(0)])  # for ever

                def close(self) -> None:
                    ended.set()

            return Reader()

    work = Work(id=1, key="k", kind="evidence.inspect", body={}, incident=1, fence=1, attempt=1, due=T0)
    task = asyncio.create_task(Inspector(spine.ledger, Slow()).inspect(work))
    assert await asyncio.to_thread(reading.wait, 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    let_go.set()
    assert await asyncio.to_thread(ended.wait, 5)
    assert item == "ev-1-1"
    assert await found(spine) == []


async def test_the_same_finding_given_twice_is_one_entry(spine: Room) -> None:
    await spine.receive(alert(signer="s01"))
    one = Finding(id="equivocation:k:block-slot-1", kind="equivocation", text="t", items=("ev-1-1",))
    command = findings.Found(by=BOT, incident=1, findings=(one, one), total=1)
    assert await spine.decide(findings.found, command) == 1
    assert await spine.decide(findings.found, command) == 0
    assert len(await found(spine)) == 1
