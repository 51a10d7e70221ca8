"""Read YAML as a tree of texts that remembers its lines.

YAML guesses types (`no` is False, `0xdead` a number, `1:30` ninety); an inventory of keys cannot live with guesses.
So every scalar stays the text that was written, and what it means is decided where its type is known. Anchors,
aliases, tags and a second document are refused, as are files that are too big or too deep.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import yaml

from bot.errors import Invalid

Place: TypeAlias = tuple[str | int, ...]
Tree: TypeAlias = "str | list[Tree] | dict[str, Tree] | None"

MAX_BYTES = 1_000_000
MAX_DEPTH = 12
MAX_PROBLEMS = 20

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """A document: its tree, the line (from 1) of each place in it, and what is wrong with how it is written."""

    tree: Tree
    lines: Mapping[Place, int]
    problems: tuple[tuple[int, str], ...] = ()


def parse(content: bytes, *, first_line: int = 1) -> Parsed:
    """Return the tree in `content`, whose first line counts as `first_line`; an empty document is None.

    Raises Invalid with `where` as a line number when it cannot be read at all.
    """
    if len(content) > MAX_BYTES:
        raise Invalid(f"is larger than {MAX_BYTES // 1_000_000} MB: split it or remove what is not needed")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + first_line
        raise Invalid("is not UTF-8: save it as UTF-8", where=str(line)) from None
    builder = _Builder(offset=first_line)
    try:
        for event in _events(text):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        line = _line(error.problem_mark, first_line)
        sentence = f"is not valid YAML ({error.problem}): check indentation (spaces, not tabs) and quotes"
        raise Invalid(sentence, where=str(line)) from None
    except yaml.YAMLError:
        raise Invalid("contains characters that YAML does not allow: remove control characters") from None
    return Parsed(tree=builder.root, lines=builder.lines, problems=tuple(builder.problems))


def _events(text: str) -> Iterator[yaml.Event]:
    yield from yaml.parse(text, Loader=_Loader)


def _line(mark: Any, first_line: int) -> int:
    """Return the line of a parser's mark, counted from `first_line`; PyYAML has two unrelated mark classes, or None."""
    return int(mark.line) + first_line if mark is not None else first_line


@dataclass(slots=True)
class _Frame:
    place: Place
    into: list[Tree] | dict[str, Tree]
    key: str | None = None


@dataclass(slots=True)
class _Builder:
    """Build the tree from parser events without recursion."""

    offset: int
    root: Tree = None
    lines: dict[Place, int] = field(default_factory=dict)
    problems: list[tuple[int, str]] = field(default_factory=list)
    stack: list[_Frame] = field(default_factory=list)
    documents: int = 0

    def take(self, event: yaml.Event) -> None:
        line = _line(event.start_mark, self.offset)
        match event:
            case yaml.DocumentStartEvent():
                self.documents += 1
                if self.documents > 1:
                    raise Invalid("has a second document: keep everything in one, without ---", where=str(line))
            case yaml.AliasEvent():
                self._problem(line, "aliases (*name) are not supported: write the value out")
                self._put(None, line)
            case yaml.ScalarEvent():
                self._refuse_extras(event, line)
                self._scalar(event, line)
            case yaml.MappingStartEvent():
                self._refuse_extras(event, line)
                self._open({}, line)
            case yaml.SequenceStartEvent():
                self._refuse_extras(event, line)
                self._open([], line)
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                self.stack.pop()

    def _refuse_extras(self, event: yaml.NodeEvent, line: int) -> None:
        if event.anchor is not None:
            self._problem(line, "anchors (&name) are not supported: write the value out")
        if getattr(event, "tag", None) is not None:
            self._problem(line, "tags (!name) are not supported: remove the tag")

    def _scalar(self, event: yaml.ScalarEvent, line: int) -> None:
        frame = self.stack[-1] if self.stack else None
        if frame and isinstance(frame.into, dict) and frame.key is None:
            if event.value in frame.into:
                self._problem(line, f"{event.value!r} is written twice: keep one")
            frame.key = event.value
            self.lines[(*frame.place, event.value)] = line
            return
        plain = event.style in {None, ""}
        if plain and event.value == "" and frame is not None:
            what = f"{frame.key!r} has" if frame.key is not None else "an entry has"
            self._problem(line, f"{what} no value: write one, or remove the line")
        self._put(None if plain and event.value in {"", "~", "null"} else event.value, line)

    def _open(self, into: list[Tree] | dict[str, Tree], line: int) -> None:
        place = self._put(into, line)
        if len(self.stack) >= MAX_DEPTH:
            raise Invalid(f"is nested deeper than {MAX_DEPTH} levels: flatten it", where=str(line))
        self.stack.append(_Frame(place, into))

    def _put(self, value: Tree, line: int) -> Place:
        if not self.stack:
            self.root = value
            self.lines[()] = line
            return ()
        frame = self.stack[-1]
        if isinstance(frame.into, list):
            place: Place = (*frame.place, len(frame.into))
            frame.into.append(value)
            self.lines[place] = line
            return place
        if frame.key is None:
            raise Invalid("has a mapping or list as a key: use a plain word", where=str(line))
        place = (*frame.place, frame.key)
        frame.into[frame.key] = value
        frame.key = None
        return place

    def _problem(self, line: int, sentence: str) -> None:
        self.problems.append((line, sentence))
        if len(self.problems) >= MAX_PROBLEMS:
            raise Invalid("and more of the same: correct these first", where=str(line))
