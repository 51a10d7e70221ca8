"""A sheet: one file being read, with everything that is wrong with it.

`Sheet.read` turns a mapping of texts into a domain dataclass. The walk along its type hints does what pydantic cannot
know (durations, severities, which keys exist); pydantic does the rest and is the judge of types.
"""

import difflib
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError

from bot.config.yaml_tree import MAX_BYTES, Parsed, Place, Tree, parse
from bot.domain.severity import Severity
from bot.errors import Invalid

T = TypeVar("T")

_UNITS = {"ms": "milliseconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|[smhdw]))+", re.ASCII)
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhdw])", re.ASCII)

_SENTENCES = {
    "missing": "is required: add it",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "string_type": "must be one text: write a single value here",
    "tuple_type": "must be a list: write [a, b]",
    "frozen_set_type": "must be a list: write [a, b]",
    "mapping_type": "must be a mapping: write key: value lines",
    "dict_type": "must be a mapping: write key: value lines",
    "dataclass_type": "must be a mapping: write key: value lines",
    "date_type": "must be a date: write it as 2026-03-31",
    "date_parsing": "must be a date: write it as 2026-03-31",
    "date_from_datetime_parsing": "must be a date: write it as 2026-03-31",
    "time_delta_type": "must be a duration: write it as 90s, 15m or 1h",
    "time_delta_parsing": "must be a duration: write it as 90s, 15m or 1h",
}


def duration(text: str) -> timedelta:
    """Read `500ms`, `90s`, `15m`, `1h`, `2d`, `1w` or a sum such as `1h30m`; raise ValueError otherwise."""
    if not _DURATION.fullmatch(text) or len(text) > 32:
        raise ValueError("must be a duration: write it as 90s, 15m or 1h30m")
    try:
        parts = [timedelta(**{_UNITS[unit]: float(count)}) for count, unit in _PART.findall(text)]
        return sum(parts, timedelta())
    except OverflowError:
        raise ValueError("is too long for a duration: write at most some weeks") from None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `: did you mean 'x'?`, or the list of what is known when nothing is near."""
    known = list(known)
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if near:
        return f": did you mean {near[0]!r}?"
    return ": known are " + ", ".join(known) if known else ""


def dotted(place: Place) -> str:
    """Return a place as people write it: `nodes[3].keys`."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place)
    return text.removeprefix(".")


class Sheet:
    """One file: its `tree`, and what is wrong with it."""

    def __init__(self, name: str, parsed: Parsed | None, problems: Sequence[tuple[int, str]] = ()) -> None:
        self.name = name
        self.tree: Tree = parsed.tree if parsed else None
        self.readable = parsed is not None
        self._problems: list[tuple[int, str]] = list(problems)
        self._lines: dict[Place, int] = dict(parsed.lines) if parsed else {}
        self._said: set[Place] = set()
        self._keys: dict[tuple[Place, object], str] = {}

    @classmethod
    def of(cls, name: str, content: bytes, *, first_line: int = 1) -> "Sheet":
        """Return the sheet of `content`; what cannot be read becomes its one problem."""
        try:
            parsed = parse(content, first_line=first_line)
        except Invalid as error:
            return cls(name, None, [(int(error.where or first_line), str(error))])
        return cls(name, parsed, parsed.problems)

    @property
    def problems(self) -> list[str]:
        """Return what is wrong, one line each, in the file's order."""
        ordered = sorted(self._problems, key=lambda problem: problem[0])
        return [f"{self.name}:{line}: {sentence}" if line else f"{self.name}: {sentence}" for line, sentence in ordered]

    def line(self, place: Place) -> int:
        """Return the line of `place`, or of the nearest place around it."""
        for end in range(len(place), -1, -1):
            if place[:end] in self._lines:
                return self._lines[place[:end]]
        return 1

    def say(self, place: Place, sentence: str) -> None:
        """Record a problem once per place; `sentence` says what is wrong and what to do."""
        if place in self._said:
            return
        self._said.add(place)
        where = dotted(place)
        self._problems.append((self.line(place), f"{where}: {sentence}" if where else sentence))

    def stands_at(self, place: Place, source: Place) -> None:
        """Let errors at `place` point to the lines of `source`, from where its value was copied."""
        for known, line in list(self._lines.items()):
            if known[: len(source)] == source:
                self._lines.setdefault((*place, *known[len(source) :]), line)

    def mapping(self, value: Tree, place: Place, *, known: Collection[str] | None = None) -> dict[str, Tree]:
        """Return `value` as a mapping with only `known` keys, saying what does not fit; an absent one is empty."""
        if value is None:
            return {}
        if not isinstance(value, dict):
            self.say(place, "must be a mapping: write key: value lines")
            return {}
        if known is None:
            return dict(value)
        for key in value:
            if key not in known:
                self.say((*place, key), "is not known here" + did_you_mean(key, known))
        return {key: entry for key, entry in value.items() if key in known}

    def entries(self, value: Tree, place: Place, *, name: str) -> list[tuple[Place, dict[str, Tree]]]:
        """Return a list of mappings with the place of each, saying what does not fit; an absent one is empty.

        A mapping is taken as well: each of its keys is then the field `name` of what stands under it.
        """
        if value is None:
            return []
        if isinstance(value, dict):
            return [((*place, key), {name: key, **self.mapping(entry, (*place, key))}) for key, entry in value.items()]
        if not isinstance(value, list):
            self.say(place, "must be a list: begin each entry with -")
            return []
        found = [((*place, i), entry) for i, entry in enumerate(value)]
        return [(at, self.mapping(entry, at)) for at, entry in found]

    def read(
        self, kind: type[T], value: Mapping[str, Tree], place: Place, *, without: Collection[str] = (), **given: object
    ) -> T | None:
        """Return `value` as a `kind` (a dataclass), or None after saying what is wrong.

        Fields in `given` are set by the caller, those in `without` keep their default; neither may stand in the file.
        """
        shaped = self._fields(kind, dict(value), place, hidden={*without, *given})
        try:
            adapter: TypeAdapter[T] = _adapter(cast("Any", kind))
            return adapter.validate_python({**shaped, **given})
        except ValidationError as error:
            for problem in error.errors(include_url=False, include_context=True):
                self._judge(problem, place)
            return None

    def _judge(self, problem: Any, place: Place) -> None:
        written = place
        for step in problem["loc"]:
            if step != "[key]":
                written = (*written, self._keys.get((written, step), step))
        if problem["type"] == "enum":
            expected = [part.strip("' ") for part in re.split(r",|\bor\b", problem["ctx"]["expected"])]
            sentence = f"{problem['input']!r:.60} is not known" + did_you_mean(str(problem["input"]), expected)
        else:
            sentence = _SENTENCES.get(problem["type"], problem["msg"])
        self.say(written, sentence)

    def _fields(self, kind: Any, value: dict[str, Tree], place: Place, hidden: Collection[str] = ()) -> dict[str, Any]:
        hints = _hints(kind)
        known = [f.name for f in fields(kind) if f.name not in hidden]
        checked = self.mapping(value, place, known=known)
        return {key: self._shape(hints[key], entry, (*place, key)) for key, entry in checked.items()}

    def _shape(self, hint: Any, value: Tree, place: Place) -> Any:
        origin, arguments = get_origin(hint), get_args(hint)
        if origin in {Union, UnionType}:
            return (
                None if value is None else self._shape(next(a for a in arguments if a is not type(None)), value, place)
            )
        if isinstance(value, str):
            return self._text(hint, value, place)
        if isinstance(value, dict) and is_dataclass(hint):
            return self._fields(hint, value, place)
        if isinstance(value, dict) and len(arguments) == 2:
            return self._pairs(arguments[0], arguments[1], value, place)
        if isinstance(value, list) and arguments:
            return [self._shape(arguments[0], entry, (*place, i)) for i, entry in enumerate(value)]
        return value

    def _pairs(self, key_hint: Any, value_hint: Any, value: dict[str, Tree], place: Place) -> dict[Any, Any]:
        shaped = {}
        for text, entry in value.items():
            key = self._text(key_hint, text, (*place, text))
            self._keys[(place, key)] = text
            if key in shaped:
                self.say((*place, text), "is written twice in two spellings: keep one")
            shaped[key] = self._shape(value_hint, entry, (*place, text))
        return shaped

    def _text(self, hint: Any, text: str, place: Place) -> Any:
        convert: Callable[[str], object] | None = {timedelta: duration, Severity: Severity.parse}.get(hint)
        if convert is None:
            return text
        try:
            return convert(text)
        except ValueError as error:
            self.say(place, str(error))
            return text


def open_sheet(path: Path, name: str) -> Sheet:
    """Read the file at `path`, called `name` in messages; what cannot be read becomes the sheet's one problem."""
    try:
        content = read_limited(path)
    except Invalid as error:
        return Sheet(name, None, [(0, str(error))])
    return Sheet.of(name, content)


def read_limited(path: Path) -> bytes:
    """Return the file's bytes; raise Invalid with a sentence when it cannot be had or is too large."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise Invalid(f"cannot be read ({error.strerror or error}): check that it exists and its permissions") from None
    if len(content) > MAX_BYTES:
        raise Invalid(f"is larger than {MAX_BYTES // 1_000_000} MB: split it or remove what is not needed")
    return content


@lru_cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


@lru_cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)
