"""Durations, and the reading of mappings into dataclasses."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.config.sheet import Sheet, dotted, duration
from bot.domain.inventory import Cohort
from bot.domain.severity import Severity

UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


@given(st.integers(0, 10_000), st.sampled_from(sorted(UNITS)))
def test_a_count_and_a_unit_are_a_duration(count: int, unit: str) -> None:
    assert duration(f"{count}{unit}") == timedelta(seconds=count * UNITS[unit])


@given(st.lists(st.tuples(st.integers(0, 999), st.sampled_from(sorted(UNITS))), min_size=1, max_size=5))
def test_parts_are_added(parts: list[tuple[int, str]]) -> None:
    text = "".join(f"{count}{unit}" for count, unit in parts)
    total = timedelta(seconds=sum(count * UNITS[unit] for count, unit in parts))
    assert abs(duration(text) - total) < timedelta(milliseconds=1)


@given(st.text(max_size=40))
def test_any_text_is_a_duration_or_a_value_error(text: str) -> None:
    with suppress(ValueError):
        assert duration(text) >= timedelta()


@pytest.mark.parametrize(
    "text", ["", "15", "-5m", "m", "5 m", "1h 30m", "5M", "٥m", "1.m", "5min", "99999999999999w", "1e3s"]
)
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError):
        duration(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    wait: timedelta
    tested: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer:
    name: str
    count: int = 1
    share: float = 0.5
    on: bool = False
    cohort: Cohort = Cohort.FLEET
    keys: tuple[str, ...] = ()
    inner: Inner | None = None
    by: Mapping[Severity, Inner] = field(default_factory=dict)
    hidden: str = "default"


def read(text: str) -> tuple[Outer | None, list[str]]:
    sheet = Sheet.of("f.yaml", text.encode())
    return sheet.read(Outer, sheet.mapping(sheet.tree, ()), (), without=("hidden",)), sheet.problems


def test_texts_become_what_their_field_is() -> None:
    outer, problems = read(
        "name: no\ncount: 3\nshare: 0.25\non: yes\ncohort: canary\nkeys: [0xdead, 010]\n"
        "inner: {wait: 1h30m, tested: 2026-01-31}\nby:\n  sev-1: {wait: 1s}\n"
    )
    assert not problems
    assert outer == Outer(
        name="no",
        count=3,
        share=0.25,
        on=True,
        cohort=Cohort.CANARY,
        keys=("0xdead", "010"),
        inner=Inner(wait=timedelta(minutes=90), tested=date(2026, 1, 31)),
        by={Severity.SEV1: Inner(wait=timedelta(seconds=1))},
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("count: 3", "f.yaml:1: name: is required: add it"),
        ("name: a\ncuont: 3", "f.yaml:2: cuont: is not known here: did you mean 'count'?"),
        ("name: a\ncount: many", "f.yaml:2: count: must be a whole number"),
        ("name: a\ncount: 1.5", "f.yaml:2: count: must be a whole number"),
        ("name: a\nshare: half", "f.yaml:2: share: must be a number"),
        ("name: a\non: perhaps", "f.yaml:2: on: must be true or false"),
        ("name: [a]", "f.yaml:1: name: must be one text: write a single value here"),
        ("name: a\nkeys: a, b", "f.yaml:2: keys: must be a list: write [a, b]"),
        ("name: a\nkeys:\n  - {a: b}", "f.yaml:3: keys[0]: must be one text: write a single value here"),
        ("name: a\ncohort: canry", "f.yaml:2: cohort: 'canry' is not known: did you mean 'canary'?"),
        ("name: a\ninner: 5m", "f.yaml:2: inner: must be a mapping: write key: value lines"),
        ("name: a\ninner: {}", "f.yaml:2: inner.wait: is required: add it"),
        ("name: a\ninner:\n  wait: 5", "f.yaml:3: inner.wait: must be a duration: write it as 90s, 15m or 1h30m"),
        ("name: a\ninner:\n  wait: [1]", "f.yaml:3: inner.wait: must be a duration: write it as 90s, 15m or 1h"),
        ("name: a\ninner: {wait: 1s, tested: today}", "f.yaml:2: inner.tested: must be a date: write it as 2026-03-31"),
        (
            "name: a\nby: {SEV-4: {wait: 1s}}",
            "f.yaml:2: by.SEV-4: 'SEV-4' is not a severity: write SEV-1, SEV-2 or SEV-3",
        ),
        ("name: a\nby: [1]", "f.yaml:2: by: must be a mapping: write key: value lines"),
        (
            "name: a\nby:\n  SEV-1: {wait: 1s}\n  sev1: {wait: 2s}",
            "f.yaml:4: by.sev1: is written twice in two spellings: keep one",
        ),
        (
            "name: a\nby:\n  sev1:\n    wait: x",
            "f.yaml:4: by.sev1.wait: must be a duration: write it as 90s, 15m or 1h30m",
        ),
        (
            "name: a\nhidden: b",
            "f.yaml:2: hidden: is not known here: known are name, count, share, on, cohort, keys, inner, by",
        ),
    ],
)
def test_each_problem_is_one_line_with_place_and_remedy(text: str, problem: str) -> None:
    _, problems = read(text)
    assert problems == [problem]


def test_all_problems_are_told_in_the_order_of_the_file() -> None:
    _, problems = read("zzz: 1\ncount: x\nname: [a]\ncohort: y\n")
    assert [line.split(":")[1] for line in problems] == ["1", "2", "3", "4"]


def test_a_place_is_written_as_people_write_it() -> None:
    assert dotted(("nodes", 3, "signer", "url")) == "nodes[3].signer.url"
