"""YAML as texts with lines, and files that mean harm."""

import time
from contextlib import suppress

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bot.config.yaml_tree import MAX_BYTES, Tree, parse
from bot.errors import Invalid


@pytest.mark.parametrize("word", ["no", "0xdead", "1:30", "1e3", "2026-01-31", "010", "yes", "Off", ".inf", "0x00"])
def test_every_scalar_stays_the_text_that_was_written(word: str) -> None:
    assert parse(f"a: {word}\n".encode()).tree == {"a": word}


def test_only_a_plain_null_is_nothing() -> None:
    assert parse(b"[null, ~, 'null', \"~\"]").tree == [None, None, "null", "~"]


def test_lines_are_kept_for_every_place() -> None:
    parsed = parse(b"a: 1\nb:\n  - c: 2\n    d:\n      - e\n", first_line=10)
    assert parsed.lines == {
        (): 10,
        ("a",): 10,
        ("b",): 11,
        ("b", 0): 12,
        ("b", 0, "c"): 12,
        ("b", 0, "d"): 13,
        ("b", 0, "d", 0): 14,
    }


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"a: 1\na: 2\n", (2, "'a' is written twice: keep one")),
        (b"a: &x 1\n", (1, "anchors (&name) are not supported: write the value out")),
        (b"a: 1\nb: *a\n", (2, "aliases (*name) are not supported: write the value out")),
        (b"a: !!python/object:os.system 1\n", (1, "tags (!name) are not supported: remove the tag")),
        (b"a: !!int 1\n", (1, "tags (!name) are not supported: remove the tag")),
        (b"a:\nb: 1\n", (1, "'a' has no value: write one, or remove the line")),
        (b"a: [1, '']\nb:\n  -\n", (3, "an entry has no value: write one, or remove the line")),
    ],
)
def test_what_is_refused_is_told_with_its_line(text: bytes, problem: tuple[int, str]) -> None:
    assert parse(text).problems == (problem,)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (b"a: [1, 2\n", "2", "not valid YAML"),
        (b"a: 1\n\tb: 2\n", "2", "tabs"),
        (b"a: 1\n---\nb: 2\n", "2", "second document"),
        (b"a: 1\n? [x, y]\n: 2\n", "2", "as a key"),
        (b"a: \xff\n", "1", "not UTF-8"),
        (b"a: b\x00c\n", None, "control characters"),
        (b"[" * 13 + b"]" * 13, "1", "nested deeper"),
    ],
)
def test_what_cannot_be_read_says_where(text: bytes, line: str | None, words: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse(text)
    assert words in str(caught.value)
    assert caught.value.where == line


LAUGHS = "a: &a [x, x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join('*' + chr(97 + i) for _ in range(9))}]\n" for i in range(20)
)


@pytest.mark.parametrize(
    "bomb",
    [
        LAUGHS.encode(),
        b"[" * 10_000,
        b"{a: " * 10_000,
        b"- " * 10_000,
        b"".join(b" " * i + b"a:\n" for i in range(1_000)),
        b"a: b\n" * 150_000,
        b"&a " * 100_000,
        b"x" * (MAX_BYTES + 1),
        b"a: '" + b"x" * 900_000 + b"'\n" + b"!",
    ],
    ids=["laughs", "lists", "maps", "dashes", "indents", "twice", "anchors", "huge", "long"],
)
def test_bombs_are_refused_within_a_second(bomb: bytes) -> None:
    begin = time.monotonic()
    try:
        wrong = bool(parse(bomb).problems)
    except Invalid:
        wrong = True
    assert wrong
    assert time.monotonic() - begin < 1


TREES = st.recursive(
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(min_size=1).filter(str.isprintable), inner),
    max_leaves=10,
)


@given(TREES)
def test_whatever_was_dumped_is_read_again(tree: Tree) -> None:
    text = yaml.safe_dump(tree, default_style='"', allow_unicode=True)
    with suppress(Invalid):  # nested deeper than we allow
        parsed = parse(text.encode())
        assert parsed.tree == tree
        assert not parsed.problems


@given(st.binary(max_size=200))
def test_any_bytes_end_in_a_tree_or_in_invalid(content: bytes) -> None:
    with suppress(Invalid):
        parse(content)
