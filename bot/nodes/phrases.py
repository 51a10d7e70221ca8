"""The little language in which an inventory describes somebody's HTTP API: requests, expectations, values.

Nothing in it runs code. A placeholder's value is put into a body as a JSON string, into a path percent-encoded, and
into an expectation as a string literal, so that it can be nothing else there, whatever it contains.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import quote

from jsonpath_rfc9535 import JSONPathError, JSONPathNode
from jsonpath_rfc9535 import compile as jsonpath
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample as Line

from bot.domain.inventory import same_key

Values = Mapping[str, str | list[str]]
"""What placeholders stand for: a text, or the list of all keys."""
LISTS = frozenset({"keys", "keys_hex"})
ONE_KEY = frozenset({"key", "key_hex"})
_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")
_REQUEST = re.compile(r"(?P<method>[A-Z]+) +(?P<path>\S+)(?: +(?P<body>\S.*))?", re.DOTALL)
_PATH = re.compile(r"/[^\s#]*")
_STATUS = re.compile(r"status +(\d{3}(?: *, *\d{3})*)")
_SAYS = re.compile(r"says +(\S.*)", re.DOTALL)
_DEEP = 64


def names_in(text: str) -> frozenset[str]:
    """Return the placeholders of a text."""
    return frozenset(_PLACEHOLDER.findall(text))


class Page:
    """One answer, read once however many keys it is asked about. Its methods raise ValueError, a sentence."""

    def __init__(self, content: bytes) -> None:
        """Take an answer's body."""
        self.content = content
        self._indexes: dict[tuple[str, str], dict[str, list[Line]]] = {}

    @cached_property
    def tree(self) -> Any:
        """Return it as JSON."""
        try:
            return json.loads(self.content)
        except (ValueError, RecursionError) as error:
            raise ValueError("the answer is not JSON") from error

    def lines(self, wanted: Line) -> list[Line]:
        """Return the Prometheus samples with the name and the labels of `wanted`, keys in either case."""
        label, value = next(iter(wanted.labels.items()), ("", ""))
        found = self._by(wanted.name, label).get(same_key(value), [])
        return [line for line in found if _carries(line, wanted)]

    def _by(self, name: str, label: str) -> Mapping[str, list[Line]]:
        """Return the samples of a name by a label's value; only lines of that name are parsed, as pages are large."""
        if (name, label) not in self._indexes:
            lines = [line for line in self.content.splitlines() if line.startswith(name.encode())]
            index = self._indexes[name, label] = {}
            try:
                for family in text_string_to_metric_families(b"\n".join(lines).decode() + "\n"):
                    for line in family.samples:
                        if line.name == name:
                            index.setdefault(same_key(line.labels.get(label, "")), []).append(line)
            except ValueError as error:
                raise ValueError("the answer is not Prometheus text") from error
        return self._indexes[name, label]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request: `body` is a JSON tree with placeholders in its strings, `base` a URL other than the endpoint's."""

    method: str
    path: str
    body: Any = None
    base: str | None = None

    @property
    def names(self) -> frozenset[str]:
        """Return its placeholders."""
        found = set(names_in(self.path))
        _walked(self.body, lambda text: found.update(names_in(text)))
        return frozenset(found)

    def filled(self, values: Values) -> tuple[str, Any]:
        """Return path and body for these values."""

        def text(name: str) -> str:
            value = values[name]
            return ",".join(quote(one, safe="") for one in ([value] if isinstance(value, str) else value))

        path = _PLACEHOLDER.sub(lambda match: text(match[1]), self.path)
        return path, _walked(self.body, lambda template: _string(template, values))


def request(text: str, *, methods: tuple[str, ...], known: frozenset[str]) -> Request:
    """Read `METHOD /path {"json": "body"}`; raises ValueError, a sentence."""
    parts = _REQUEST.fullmatch(text.strip())
    if parts is None or not _PATH.fullmatch(parts["path"]):
        raise ValueError('is no request: write METHOD /path, or METHOD /path {"a": "JSON body"}')
    if parts["method"] not in methods:
        raise ValueError(f"asks with {parts['method']}: it may be {', '.join(methods)}")
    try:
        body = json.loads(parts["body"]) if parts["body"] else None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"has a body that is not JSON ({error}); a placeholder stands in quotes there") from error
    if body is None and parts["body"]:
        raise ValueError("has the body null: leave it out")
    found = Request(method=parts["method"], path=parts["path"], body=body)
    _known(found.names, known)
    _lists_alone(body)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What must be true of an answer; `statuses` only where the status says it."""

    text: str
    words: str = ""
    statuses: frozenset[int] = frozenset()

    @property
    def names(self) -> frozenset[str]:
        """Return its placeholders."""
        return names_in(self.text)

    def holds(self, page: Page, values: Values) -> bool:
        """Tell whether it is true of an answer; raises ValueError when the answer cannot be read."""
        if self.statuses:
            return False
        if self.words:
            return _plain(self.words, values).encode() in page.content
        tree = page.tree
        # RFC 9535 lets an expression stand in a filter only. So it filters a list of one, `$` being the whole answer.
        one = JSONPathNode(value=[tree], location=(), parent=None, root=tree)
        try:
            query = jsonpath(f"$[?{_literal(self.text, values)}]")
            return any(True for _ in query.segments[0].resolve([one]))
        except JSONPathError as error:
            raise ValueError(f"the answer cannot be judged: {error}") from error


def expectation(text: str, *, known: frozenset[str], statuses: bool = False) -> Expectation:
    """Read an RFC 9535 filter expression, `says WORDS`, or with `statuses` `status 409`; raises ValueError."""
    text = text.strip()
    if words := _SAYS.fullmatch(text):
        found = Expectation(text=text, words=words[1])
    elif status := _STATUS.fullmatch(text):
        if not statuses:
            raise ValueError(
                "expects a status: any 2xx is a yes and everything else is none; expect more of the answer"
            )
        return Expectation(text=text, statuses=frozenset(int(one) for one in status[1].split(",")))
    else:
        found = Expectation(text=text)
        _compiled(f"$[?{_literal(text, _probe(text))}]")
    _known(found.names, known)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """Where a value stands in an answer: a JSONPath, or sums of Prometheus samples."""

    text: str
    path: str = ""
    lines: tuple[str, ...] = ()

    @property
    def names(self) -> frozenset[str]:
        """Return its placeholders."""
        return names_in(self.text)

    def of(self, page: Page, values: Values) -> Any:
        """Return the value, or None when it is not there; raises ValueError when the answer cannot be read."""
        if self.path:
            found = jsonpath(_literal(self.path, values)).find(page.tree)
            return found[0].value if found else None
        sums = [_summed(page, _line(_literal(line, values))) for line in self.lines]
        return None if None in sums else sum(one for one in sums if one is not None)


def value(text: str, *, known: frozenset[str]) -> Value:
    """Read `$.a.b` (RFC 9535, one place) or `name{label="value"} + …` (Prometheus); raises ValueError, a sentence."""
    text = text.strip()
    if text.startswith("$"):
        query = _compiled(_literal(text, _probe(text)))
        if not query.singular_query():
            raise ValueError("may stand in several places: name one, as in $.a.b or $.a[0]")
        found = Value(text=text, path=text)
    else:
        lines = tuple(re.split(r"\s+\+\s+", text))
        for line in lines:
            _line(_literal(line, _probe(text)))
        found = Value(text=text, lines=lines)
    _known(found.names, known)
    return found


def whole(found: object) -> int | None:
    """Return a value as a whole number of at least 0, or None when it is none; JSON may carry it as a string."""
    if isinstance(found, str) and re.fullmatch(r"\d{1,18}", found):
        return int(found)
    if isinstance(found, bool) or not isinstance(found, (int, float)):
        return None
    return int(found) if 0 <= found < 2**63 and found == int(found) else None


def _walked(tree: Any, change: Callable[[str], Any]) -> Any:
    """Return a JSON tree with each of its string values changed; member names stay."""
    if isinstance(tree, str):
        return change(tree)
    if isinstance(tree, dict):
        return {name: _walked(one, change) for name, one in tree.items()}
    return [_walked(one, change) for one in tree] if isinstance(tree, list) else tree


def _string(template: str, values: Values) -> str | list[str]:
    """Return a string of a body with its placeholders filled; one that is nothing but {keys} becomes the list."""
    alone = _PLACEHOLDER.fullmatch(template)
    found = values[alone[1]] if alone else _plain(template, values)
    return found if isinstance(found, str) else list(found)


def _plain(template: str, values: Values) -> str:
    return _PLACEHOLDER.sub(lambda match: str(values[match[1]]), template)


def _literal(template: str, values: Values) -> str:
    """Return a text with its placeholders filled, for the inside of a string literal in either kind of quotes."""
    return _PLACEHOLDER.sub(lambda match: "".join(map(_inside, str(values[match[1]]))), template)


def _inside(character: str) -> str:
    """Return a character as RFC 9535 §2.3.1.1 lets it stand in both kinds of string literals."""
    return f"\\u{ord(character):04x}" if character in "\"'\\" or character < " " else character


def _probe(text: str) -> Values:
    """Return values that are harmless inside a literal, and a syntax error anywhere else."""
    return dict.fromkeys(names_in(text), "0x00 \" '")


def _compiled(text: str) -> Any:
    try:
        return jsonpath(text)
    except JSONPathError as error:
        what = str(error).splitlines()[0]
        raise ValueError(f"is no JSONPath (RFC 9535): {what}; a placeholder stands in quotes there") from error


def _line(selector: str) -> Line:
    """Return the name and the labels of a Prometheus selector; raises ValueError."""
    try:
        found = [sample for family in text_string_to_metric_families(f"{selector} 0\n") for sample in family.samples]
    except ValueError:
        found = []
    if len(found) != 1 or found[0].timestamp is not None or found[0].value != 0:
        raise ValueError('is neither $.a.path nor a metric as in name{label="value"}')
    return found[0]


def _summed(page: Page, wanted: Line) -> float | None:
    """Return the sum of the samples with this name and these labels, or None when there is none."""
    found = [float(line.value) for line in page.lines(wanted)]
    return sum(found) if found else None


def _carries(sample: Line, wanted: Line) -> bool:
    return all(same_key(sample.labels.get(name, "")) == same_key(label) for name, label in wanted.labels.items())


def _known(names: frozenset[str], known: frozenset[str]) -> None:
    if strange := sorted(names - known):
        there = ", ".join(f"{{{name}}}" for name in sorted(known)) or "none"
        raise ValueError(f"has the placeholder {{{strange[0]}}}: here there are {there}")


def _lists_alone(body: Any, depth: int = 0) -> None:
    """Refuse a body in which {keys} is part of a longer string, or a member's name a placeholder; raises ValueError."""
    if depth > _DEEP:
        raise ValueError("has a body that is nested too deep")
    if isinstance(body, str) and names_in(body) & LISTS and not _PLACEHOLDER.fullmatch(body):
        raise ValueError('has {keys} inside a longer text: write "{keys}" alone, it becomes the list')
    if isinstance(body, dict) and any(names_in(name) for name in body):
        raise ValueError("has a placeholder in the name of a member: that is not filled in")
    for one in body.values() if isinstance(body, dict) else body if isinstance(body, list) else ():
        _lists_alone(one, depth + 1)
