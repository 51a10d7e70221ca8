"""Signed messages: what is read from a line, what counters show, what may be signed once only."""

from collections.abc import Mapping
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain import findings
from bot.domain.counters import Counters
from bot.domain.findings import Item, ToldGap
from bot.domain.signing import Around, Message, NoMessage, Twice, conflicts, read, row_of

KEY = "0x" + "aa" * 48
ITEM = Item(id="ev-7-3", node="seq-01", log="http://a")


def line(byte: str = "11", /, **more: Any) -> dict[str, Any]:
    """Return the fields of a message; `byte` is what the digest consists of."""
    given = {"key": KEY, "duty": "block", "slot": 7, "avs": "eth", "at": "2026-11-20T03:00:00Z", "result": "signed"}
    fields = {**given, "digest": "0x" + byte * 32, **more}
    return {name: value for name, value in fields.items() if value is not ...}


def message(fields: Mapping[str, Any]) -> Message:
    said = read(fields)
    assert isinstance(said, Message)
    return said


def vote(source: int, target: int, byte: str = "11", /, **more: Any) -> dict[str, Any]:
    return line(byte, duty="ATTESTATION", slot=0, source=source, target=target, **more)


def shown(*lines: Mapping[str, Any]) -> list[str]:
    """Return what the rows of these lines show: `twice 7 x2` or `around 2-9 3-8`."""
    read_in = [message(fields) for fields in lines]
    rows = sorted(row_of(said, 1, n) for n, said in enumerate(read_in, 1) if said.use.ladder)
    return [
        f"twice {one.one.height} x{one.digests}"
        if isinstance(one, Twice)
        else f"around {one.outer.source}-{one.outer.height} {one.inner.source}-{one.inner.height}"
        for one in conflicts(rows)
    ]


ONCE_ONLY: dict[str, tuple[list[dict[str, Any]], list[str]]] = {
    "one message": ([line()], []),
    "the same message twice": ([line(), line()], []),
    "the same digest in another spelling": ([line("ab"), line(digest="0X" + "AB" * 32), line(digest="ab" * 32)], []),
    "the same key in another spelling": ([line("11"), line("22", key=KEY.upper().replace("0X", "0x"))], ["twice 7 x2"]),
    "two digests for one block slot": ([line("11"), line("22")], ["twice 7 x2"]),
    "three digests": ([line("11"), line("22"), line("33"), line("22")], ["twice 7 x3"]),
    "both names of a block": ([line("11", duty="BLOCK"), line("22", duty="BLOCK_V2")], ["twice 7 x2"]),
    "a block whatever the service is called": ([line("11", avs="a"), line("22", avs="b")], ["twice 7 x2"]),
    "a duty that is not named": ([line("11", duty=...), line("22")], ["twice 7 x2"]),
    "two slots": ([line("11"), line("22", slot=8)], []),
    "two keys": ([line("11"), line("22", key="0xbb")], []),
    "two duties": ([line("11", duty="report"), line("22", duty="sequence")], []),
    "a service's duty": ([line("11", duty="report"), line("22", duty="report")], ["twice 7 x2"]),
    "one duty in two services": ([line("11", duty="report", avs="a"), line("22", duty="report", avs="b")], []),
    "a slot written as text": ([line("11"), line("22", slot="7")], ["twice 7 x2"]),
    "a refused request": ([line("11"), line("22", result="failed")], []),
    "a request that was not sent": ([line("11"), line("22", result="unsent")], []),
    "a denied request": ([line("11"), line("22", what="denied", result=...)], []),
    "an intent": ([line("11"), line("22", what="intent", result=...)], []),
    "no answer seen": ([line("11"), line("22", result="unknown")], ["twice 7 x2"]),
    "no result told": ([line("11"), line("22", result=...)], ["twice 7 x2"]),
    "a duty that nothing slashes": ([line("11", duty="RANDAO_REVEAL"), line("22", duty="RANDAO_REVEAL")], []),
    "no mark in a sidecar's line": ([line("11", digest_of="request"), line("22", digest_of="request")], []),
    "a signing root and a request's hash": (
        [line("11", digest_of="request", mark=["block", 7]), line("22", digest_of="signing_root", mark=["block", 7])],
        [],
    ),
    "two roots of a sidecar": (
        [line(d, digest_of="signing_root", mark=["block", 7]) for d in ("11", "22")],
        ["twice 7 x2"],
    ),
    "digests of another form": ([line(digest="QmA"), line(digest="Qma")], ["twice 7 x2"]),
    "two votes for one target": ([vote(3, 4), vote(2, 4, "22")], ["twice 4 x2"]),
    "an attestation's slot is not a block's": ([vote(3, 7), line("22")], []),
    "votes that follow each other": ([vote(n, n + 1) for n in range(9)], []),
    "votes of one source": ([vote(3, 4), vote(3, 5, "22")], []),
    "a vote around another": ([vote(3, 8), vote(2, 9, "22")], ["around 2-9 3-8"]),
    "a vote within another": ([vote(2, 9), vote(3, 8, "22")], ["around 2-9 3-8"]),
    "a vote around two": ([vote(1, 9), vote(2, 5, "22"), vote(3, 8, "33")], ["around 1-9 3-8"]),
    "votes of two keys": ([vote(3, 8), vote(2, 9, "22", key="0xbb")], []),
    "votes of two keys, the other way round": ([vote(3, 8, key="0xbb"), vote(2, 9, "22")], []),
    "a vote without a source": ([vote(3, 8), vote(2, 9, "22") | {"source": None}], []),
    "both conditions": ([vote(3, 8), vote(2, 9, "22"), vote(5, 9, "33")], ["around 2-9 3-8", "twice 9 x2"]),
}


@pytest.mark.parametrize("name", ONCE_ONLY)
def test_what_may_be_signed_once_only(name: str) -> None:
    lines, expected = ONCE_ONLY[name]
    lines = [fields for fields in lines if isinstance(read(fields), Message)]
    for order in permutations(lines[:5]):
        assert sorted(shown(*order, *lines[5:])) == expected


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12), st.sampled_from(["11", "22"])), max_size=12))
def test_conflicts_are_those_that_comparing_each_with_each_finds(votes: list[tuple[int, int, str]]) -> None:
    each = [(s, t, d) for s, t, d in votes]
    around = {(a[0], a[1]) for a in each for b in each if a[0] < b[0] and b[1] < a[1]}
    twice = {a[1] for a in each for b in each if a[1] == b[1] and a[2] != b[2]}
    rows = sorted(row_of(message(vote(s, t, d)), 1, n) for n, (s, t, d) in enumerate(each))
    found = list(conflicts(rows))
    assert {(f.outer.source, f.outer.height) for f in found if isinstance(f, Around)} == around
    assert {f.one.height for f in found if isinstance(f, Twice)} == twice
    for f in found:
        if isinstance(f, Around):
            assert f.inner.source is not None
            assert f.outer.source is not None
            assert f.outer.source < f.inner.source
            assert f.inner.height < f.outer.height


def test_a_message_known_to_be_signed_is_cited_rather_than_one_that_may_have_been() -> None:
    for numbers in permutations(range(3)):
        lines = [line("22", result="unknown"), line("22"), line("11")]
        rows = sorted(row_of(message(lines[n]), place, 1) for place, n in enumerate(numbers, 1))
        (found,) = conflicts(rows)
        assert isinstance(found, Twice)
        assert not found.one.unknown
        assert not found.other.unknown
        assert found.one.digest != found.other.digest


# ---- counters

COUNTERS: dict[str, tuple[list[int], list[str]]] = {
    "nothing": ([], []),
    "one by one": ([5, 6, 7, 8], []),
    "one is missing": ([5, 6, 8], ["counter-gap:seq-01:7-7"]),
    "several are missing": ([5, 9, 12], ["counter-gap:seq-01:6-8", "counter-gap:seq-01:10-11"]),
    "begins anew": ([5, 6, 7, 1, 2, 3], ["counter-fell:seq-01:7-1"]),
    "begins anew, and one is missing there": ([5, 6, 1, 3], ["counter-fell:seq-01:6-1", "counter-gap:seq-01:2-2"]),
    "one was missing before it began anew": ([5, 7, 1, 2], ["counter-fell:seq-01:7-1", "counter-gap:seq-01:6-6"]),
    "one comes late": ([5, 7, 6, 8], ["counter-fell:seq-01:7-6"]),
    "two come late, in order": ([5, 8, 6, 7, 9], ["counter-fell:seq-01:8-6"]),
    "one of three comes late": (
        [5, 9, 7, 10],
        ["counter-fell:seq-01:9-7", "counter-gap:seq-01:6-6", "counter-gap:seq-01:8-8"],
    ),
    "for two messages": ([5, 6, 6, 7], ["counter-fell:seq-01:6-6"]),
}


def counted(*messages: Message) -> list[str]:
    """Return the ids of what the counters of these messages show."""
    counters = Counters(ITEM)
    found = [one for n, said in enumerate(messages, 1) for one in counters.take(said, n)]
    return [one.id for one in [*found, *counters.end()]]


@pytest.mark.parametrize("name", COUNTERS)
def test_a_count_grows_by_one(name: str) -> None:
    numbers, expected = COUNTERS[name]
    messages = [message(line(f"{n:02x}", nonce=number)) for n, number in enumerate(numbers)]
    assert sorted(counted(*messages)) == sorted(expected)


def test_the_same_line_twice_is_nothing() -> None:
    assert counted(*[message(line(nonce=6))] * 3) == []


def test_a_counter_is_the_keys_own_and_ends_with_its_instance() -> None:
    def said(key: str, instance: str, counter: int) -> Message:
        return message(line(key=key, instance_id=instance, counter=counter))

    honest = [("0xa", "i1", 5), ("0xb", "i1", 1), ("0xa", "i1", 6), ("0xb", "i1", 2), ("0xa", "i2", 1)]
    assert counted(*(said(*one) for one in honest)) == []
    assert counted(said("0xa", "i1", 5), said("0xa", "i1", 7)) == ["counter-gap:0xa:i1:6-6"]


def test_memory_is_bounded_however_many_holes_and_keys_there_are() -> None:
    counters = Counters(ITEM)
    each = (message(line(nonce=2 * n, key=f"0x{n}", counter=1)) for n in range(12_000))
    found = [one for n, said in enumerate(each) for one in counters.take(said, n)]
    assert len(found) == 11_899
    assert len(list(counters.end())) == 100


# ---- lines


@pytest.mark.parametrize(
    "fields",
    [
        {},
        line(key=...),
        line(key=7),
        line(key=""),
        line(key="0x" + "a" * 300),
        line(key="0x\n"),
        line(digest=None),
        line(digest=""),
        line(digest="x" * 300),
        line(slot=...),
        line(slot=-1),
        line(slot=True),
        line(slot=1.5),
        line(slot=2**63),
        line(slot="9" * 40),
        line(slot="٣"),
        line(duty=[]),
        line(result=["signed"]),
        vote(1, 2) | {"target": "x"},
        {"what": "gap"},
        {"what": "gap", "lost": "many"},
    ],
)
def test_what_is_no_message_is_told(fields: dict[str, Any]) -> None:
    with pytest.raises(NoMessage):
        read(fields)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
NAMES = [
    *("key", "duty", "slot", "source", "target", "digest", "digest_of", "mark"),
    *("at", "nonce", "counter", "instance_id", "avs", "result", "what", "lost"),
]


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(NAMES), json_values))
def test_rubbish_in_any_field_is_read_or_refused(rubbish: dict[str, Any]) -> None:
    try:
        said = read({**line(), **rubbish})
    except NoMessage:
        return
    if isinstance(said, Message):
        assert len(row_of(said, 1, 1)) == len(row_of(message(line()), 1, 1))


@pytest.mark.parametrize(
    ("at", "told"),
    [
        ("2026-11-20T03:00:00Z", "2026-11-20T03:00:00.000000Z"),
        ("2026-11-20T03:00:00.5+01:00", "2026-11-20T02:00:00.500000Z"),
        ("2026-11-20T03:00:00.123456Z", "2026-11-20T03:00:00.123456Z"),
        ("0001-01-01T00:00:00+23:00", None),
        ("yesterday", None),
        (7, None),
    ],
)
def test_times_are_told_in_one_way(at: object, told: str | None) -> None:
    assert message(line(at=at)).at == told


def test_a_gap_that_the_node_tells_of() -> None:
    said = read(
        {"what": "gap", "lost": 3, "messages": 2, "since": "2026-11-20T03:00:00Z", "until": "x", "why": "a\x00b"}
    )
    assert said == ToldGap(lost=3, messages=2, since="2026-11-20T03:00:00.000000Z", until="?", why="a�b")
    finding = findings.told_gap(ITEM, said)
    assert finding.text == (
        "seq-01 (ev-7-3) says itself that 3 lines of 2026-11-20T03:00:00.000000Z to ? are missing, "
        "2 of them of messages that may have been signed: a�b"
    )
