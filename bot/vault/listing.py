"""What a pack lists: its files by path, numbers in their order, and where two JSON texts differ."""

import os
import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Any, Final

from bot.errors import Invalid
from bot.vault import files, pack
from bot.vault.report import Problem

_ADDED: Final = "It was put in after the export"
_LINKED: Final = "What it shows can be exchanged without touching this folder"
_LOOSE: Final = re.compile(f"(?:{pack.FILE.pattern})/|{pack.FOLDER.pattern}", re.IGNORECASE)


def walk(root: int) -> tuple[dict[str, int], list[Problem]]:
    """Return the sizes of the files that may belong into a pack by path, and what is wrong with its listing."""
    sizes: dict[str, int] = {}
    problems: list[Problem] = []
    _folder(root, "", sizes, problems)
    return {path: sizes[path] for path in sorted(sizes)}, problems


def absent(sizes: "dict[str, int]") -> Iterator[Problem]:
    """Yield which files are missing that every pack has; the seal comes last in an export, and so first here."""
    if pack.TAGMANIFEST not in sizes and not any(path in sizes for path in pack.SEAL):
        what = "the pack has no seal" if pack.MANIFEST in sizes else "the pack has neither manifest nor seal"
        yield Problem(where="seal", what=what, means="The export did not finish, or the seal was taken off")
        return
    for path in pack.NEVER_ABSENT:
        if path not in sizes:
            means = "The export did not finish" if path == pack.TAGMANIFEST else "It was left out after the export"
            yield Problem(where=path, what="the file is missing", means=means)


def _folder(fd: int, prefix: str, sizes: "dict[str, int]", problems: list[Problem]) -> None:
    with os.scandir(fd) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    if prefix and not entries:
        problems.append(Problem(where=prefix.removesuffix("/"), what="it is an empty folder", means=_ADDED))
    for entry in entries:
        path = prefix + entry.name
        if entry.is_dir(follow_symlinks=False) and pack.FOLDER.fullmatch(f"{path}/"):
            with files.directory(entry.name, within=fd) as folder:
                _folder(folder, f"{path}/", sizes, problems)
        elif entry.is_file(follow_symlinks=False) and pack.FILE.fullmatch(path):
            sizes[path] = entry.stat(follow_symlinks=False).st_size
        else:
            what, means = _odd(entry, path)
            problems.append(Problem(where=readable(path), what=what, means=means))


def _odd(entry: "os.DirEntry[str]", path: str) -> tuple[str, str]:
    """Say what is wrong with something that a pack cannot hold."""
    belongs = pack.FILE.fullmatch(path) or pack.FOLDER.fullmatch(f"{path}/")
    if entry.is_symlink():
        return "it is a symbolic link", _LINKED
    if not belongs and _LOOSE.fullmatch(f"{path}/"):
        folded = path.casefold()
        twin = next((name for name in pack.NEVER_ABSENT if name.casefold() == folded), folded)
        return f"its name differs from {twin} only in case", "On some systems one would hide the other"
    if belongs or not entry.is_file(follow_symlinks=False):
        return "it is not a plain file" if not pack.FOLDER.fullmatch(f"{path}/") else "it is no folder", _ADDED
    return "it is not part of an evidence pack", _ADDED


def readable(name: str) -> str:
    """Return a name fit for a terminal, whatever it holds."""
    plain = name.isprintable() and name.isascii()
    return (name if plain else ascii(name))[:300]


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
