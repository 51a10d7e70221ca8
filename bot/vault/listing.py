"""What a folder lists: its files by kind and name, numbers in their order, and where two JSON texts differ."""

import os
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Any, Final

from bot.errors import Invalid
from bot.vault import files, pack
from bot.vault.report import Problem

_ADDED: Final = "It was put in after the export"
_LINKED: Final = "What it shows can be exchanged without touching this folder"


def walk(root: int) -> tuple[dict[str, int], list[Problem]]:
    """Return the sizes of the files that belong into an evidence folder, and what is wrong with its listing."""
    sizes: dict[str, int] = {}
    problems: list[Problem] = []
    for entry in _entries(root):
        if entry.name == pack.ITEMS and entry.is_dir(follow_symlinks=False):
            with files.directory(pack.ITEMS, within=root) as items:
                for item in _entries(items):
                    _place(item, f"{pack.ITEMS}/", bool(pack.SHA256.fullmatch(item.name)), sizes, problems)
        else:
            _place(entry, "", entry.name in pack.PLAIN, sizes, problems)
    for name in sorted(pack.PLAIN - sizes.keys()):
        means = "The export did not finish" if name == pack.MANIFEST else "It was left out after the export"
        problems.append(Problem(where=name, what="the file is missing", means=means))
    return sizes, problems


def _entries(fd: int) -> "list[os.DirEntry[str]]":
    with os.scandir(fd) as found:
        return sorted(found, key=lambda entry: entry.name)


def _place(
    entry: "os.DirEntry[str]", prefix: str, belongs: bool, sizes: dict[str, int], problems: list[Problem]
) -> None:
    path = prefix + entry.name
    if belongs and entry.is_file(follow_symlinks=False):
        sizes[path] = entry.stat(follow_symlinks=False).st_size
        return
    same = [name for name in (*pack.PLAIN, pack.ITEMS) if name.casefold() == path.casefold() and name != path]
    if entry.is_symlink():
        what, means = "it is a symbolic link", _LINKED
    elif belongs or not (entry.is_file(follow_symlinks=False) or same):
        what, means = "it is not a plain file", _ADDED
    elif same or (prefix and pack.SHA256.fullmatch(entry.name.lower())):
        twin = same[0] if same else prefix + entry.name.lower()
        what, means = f"its name differs from {twin} only in case", "On some systems one would hide the other"
    else:
        what, means = "it is not part of an evidence folder", _ADDED
    problems.append(Problem(where=readable(path), what=what, means=means))


def readable(name: str) -> str:
    """Return a name fit for a terminal, whatever it holds."""
    plain = name.isprintable() and name.isascii()
    return (name if plain else ascii(name))[:200]


def disorder(numbers: Sequence[int]) -> Iterator[tuple[int, Problem]]:
    """Yield (line, problem) where the numbers of `records.jsonl`'s lines do not run 1, 2, 3, …; 0 is a line unread."""
    if all(number == line for line, number in enumerate(numbers, 1)):
        return
    present, seen, expected, unread = sorted(set(numbers)), set[int](), 1, 0
    for line, number in enumerate(numbers, 1):
        if number == 0:
            unread += 1
            continue
        if number in seen:
            yield line, _order(line, f"record {number} stands here a second time", "It was doubled")
            continue
        seen.add(number)
        following = present[bisect_left(present, expected)]
        if following - expected > unread:
            yield line, _order(line, f"{_span(expected, following - 1)} missing here", "Something was left out")
        if following < number:
            yield (
                line,
                _order(line, f"record {number} stands where record {following} belongs", "The order was changed"),
            )
        expected, unread = following, 0
        while expected in seen:
            expected += 1


def _span(first: int, last: int) -> str:
    return f"record {first} is" if first == last else f"records {first} to {last} are"


def _order(line: int, what: str, means: str) -> Problem:
    return Problem(where=f"{pack.RECORDS} line {line}", what=what, means=means)


def difference(found: str, expected: str) -> str:
    """Say where a derived JSON file first differs from what it should be."""
    try:
        place = _differs(pack.parsed(found), pack.parsed(expected), "")
    except Invalid as error:
        return str(error)
    except RecursionError:
        return "it is nested too deeply"
    return place or "it is spelled differently"


def _differs(found: Any, expected: Any, at: str) -> str:
    if isinstance(found, dict) and isinstance(expected, dict):
        for key in sorted(found.keys() | expected.keys()):
            name = f"{at} {readable(key)}".strip()
            if key not in expected:
                return f"{name} is listed, but is not there"
            if key not in found:
                return f"{name} is there, but not listed"
            if place := _differs(found[key], expected[key], name):
                return place
        return ""
    if isinstance(found, list) and isinstance(expected, list) and len(found) == len(expected):
        pairs = enumerate(zip(found, expected, strict=True), 1)
        return next((place for n, (one, two) in pairs if (place := _differs(one, two, f"{at} {n}"))), "")
    if isinstance(found, list) and isinstance(expected, list):
        return f"{at} has {len(found)} entries, not {len(expected)}"
    same = type(found) is type(expected) and found == expected
    return "" if same else f"{at} is {readable(repr(found))}, not {readable(repr(expected))}"
