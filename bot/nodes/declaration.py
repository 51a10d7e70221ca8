"""Read and check the options with which an inventory describes somebody's HTTP API (docs/http-driver.md)."""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

from bot.domain.addresses import url_problem
from bot.domain.inventory import Capability
from bot.domain.target import Effect
from bot.errors import Misconfigured
from bot.nodes.phrases import LISTS, ONE_KEY, Expectation, Page, Request, Value, Values, expectation, request, value
from bot.nodes.way import Way, near

T = TypeVar("T")

STARTED = "process_start_time_seconds"
_KEYS = LISTS | ONE_KEY
_WHO = frozenset({"incident", "request"})
_WINDOW = frozenset({"since", "until"})
VERBS: Mapping[str, frozenset[str]] = {
    "freeze": _KEYS | _WHO,
    "unfreeze": _KEYS | _WHO,
    "isolate": _WHO,
    "restore": _WHO,
    "throttle": _WHO,
    "rollback": _WHO | {"to_build"},
}
UNDO = {"freeze": "unfreeze", "isolate": "restore"}
_READS: Mapping[str, tuple[str, str]] = {
    "state": ("state.signing", "state.stopped"),
    "isolated": ("isolated.yes", "isolated.no"),
    "throttled": ("throttled.yes", "throttled.no"),
}
RELEASE = ("release.version", "release.build", "release.config", "release.instance", "release.previous")
_NEEDS: Mapping[Capability, tuple[str, ...]] = {
    Capability.SIGNER: ("freeze", "state", *_READS["state"]),
    Capability.ROUTER: ("isolate", "isolated", *_READS["isolated"]),
    Capability.THROTTLE: ("throttle", "throttled", *_READS["throttled"]),
    Capability.DEPLOYER: ("rollback", "release", "release.version", "release.build"),
}
FIRST = {Capability.SIGNER: "freeze", Capability.ROUTER: "isolate", Capability.THROTTLE: "throttle"}
FIRST |= {Capability.DEPLOYER: "rollback"}
KNOWN = {
    *(name for verb in VERBS for name in (verb, f"{verb}.expect", f"{verb}.already")),
    *(name for read, answers in _READS.items() for name in (read, *answers)),
    *("counters", "counter", "instance", "time", "slashing_protection"),
    *("release", *RELEASE),
    *("effect", "destructive", "times", "blast_radius"),
}
_PREFIXES = ("capture.", "media.", "header.")
_REQUESTS = {*VERBS, *_READS, "counters", "slashing_protection", "release"}
TIMES: Mapping[str, Callable[[datetime], str]] = {
    "rfc3339": lambda at: at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
    "unix": lambda at: str(int(at.timestamp())),
    "unix_ms": lambda at: str(int(at.timestamp() * 1_000)),
    "unix_ns": lambda at: str(int(at.timestamp() * 1_000_000) * 1_000),
}
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}")
_SECRET = re.compile(r"auth|key|token|secret|password|credential", re.IGNORECASE)
_OURS = {"host", "content-length", "transfer-encoding", "connection", "accept-encoding", "cookie"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """A request that changes something."""

    request: Request
    expect: Expectation | None
    already: Expectation | None

    @property
    def statuses(self) -> frozenset[int]:
        """Return the statuses that say that it was so before."""
        return self.already.statuses if self.already else frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A request that reads a state, and what it says when it is so and when it is not."""

    request: Request
    yes: Expectation
    no: Expectation

    def read(self, page: Page, values: Values) -> bool | None:
        """Return whether it is so; None when the answer says neither, or both. Raises ValueError."""
        yes, no = self.yes.holds(page, values), self.no.holds(page, values)
        return yes if yes is not no else None


class Plan:
    """The options of one endpoint, read and checked. It has no repr: secrets are in it."""

    def __init__(self, way: Way) -> None:
        """Raise Misconfigured with everything that is wrong, option by option."""
        self._options = way.endpoint.options
        self._networks = way.networks
        self._problems: list[str] = []
        self._unknown()
        self.acts = {verb: act for verb in VERBS if (act := self._act(verb))}
        self.states = {name: state for name in _READS if (state := self._state(name))}
        self.counters = self._read("counters", ONE_KEY)
        self.counter = self._value("counter", ONE_KEY)
        line = self.counter is not None and not self.counter.path
        self.instance = self._value("instance") or (value(STARTED, known=frozenset()) if line else None)
        self.time = self._value("time")
        self.protection = self._read("slashing_protection")
        self.release = self._read("release")
        self.releases = {name: found for name in RELEASE if (found := self._value(name))}
        self.captures = self._captures()
        self.media = {name[6:]: text for name, text in self._options.items() if name.startswith("media.")}
        self.times = self._one_of("times", TIMES, "rfc3339")
        self.effect = Effect(self._one_of("effect", list(Effect), Effect.AT_MOST_ONCE))
        self._one_of("destructive", ("yes", "no"), "no")
        self.headers = self._headers(way)
        self.secrets = tuple(self.headers[name] for name in self.headers if _refers(self._options[f"header.{name}"]))
        self._whole(way)
        if self._problems:
            where = f"node {way.node.name}: {way.endpoint.driver}"
            raise Misconfigured([f"{where} {problem}" for problem in self._problems])

    def _unknown(self) -> None:
        for name in self._options:
            prefix, _, rest = name.partition(".")
            asks = rest in _REQUESTS or rest.startswith("capture.")
            if prefix == "url" and asks and rest not in self._options:
                self._problems.append(f"option {name} belongs to the option {rest}, which is missing")
            elif not (name in KNOWN or (name.startswith(_PREFIXES) and rest) or (prefix == "url" and asks)):
                self._problems.append(f"has no option {name}{near(name, KNOWN)}; docs/http-driver.md lists them")

    def _request(self, name: str, methods: tuple[str, ...], known: frozenset[str]) -> Request | None:
        """Return the request of an option, with the URL of its own that `url.…` gives it."""
        found = self._parsed(name, partial(request, methods=methods, known=known))
        base = self._options.get(f"url.{name}")
        if base is None:
            return found
        if problem := url_problem(base, self._networks) or _not_http(base):
            self._problems.append(f"option url.{name} {problem}")
        return replace(found, base=base) if found else None

    def _parsed(self, name: str, parse: Callable[[str], T]) -> T | None:
        text = self._options.get(name)
        if text is None:
            return None
        try:
            return parse(text)
        except ValueError as problem:
            self._problems.append(f"option {name} {problem}")
            return None

    def _read(self, name: str, known: frozenset[str] = frozenset()) -> Request | None:
        return self._request(name, ("GET",), known)

    def _value(self, name: str, known: frozenset[str] = frozenset()) -> Value | None:
        return self._parsed(name, partial(value, known=known))

    def _act(self, verb: str) -> Act | None:
        known = VERBS[verb]
        found = self._request(verb, ("POST", "PUT", "PATCH", "DELETE"), known)
        expect = self._parsed(f"{verb}.expect", partial(expectation, known=known - LISTS))
        already = self._parsed(f"{verb}.already", partial(expectation, known=known - LISTS, statuses=True))
        if found is None:
            self._problems += [
                f"option {name} belongs to the option {verb}, which is missing"
                for name in (f"{verb}.expect", f"{verb}.already")
                if name in self._options and verb not in self._options
            ]
            return None
        if found.names & LISTS and found.names & ONE_KEY:
            self._problems.append(f"option {verb} names one key and all keys: write {{key}} or {{keys}}")
        if self._options.get("effect") == Effect.KEYED and "request" not in found.names:
            self._problems.append(f"option effect is keyed, but option {verb} does not send {{request}}")
        return Act(request=found, expect=expect, already=already)

    def _state(self, name: str) -> State | None:
        known = ONE_KEY if name == "state" else frozenset[str]()
        found = self._read(name, known)
        yes, no = (self._parsed(one, partial(expectation, known=known)) for one in _READS[name])
        return State(request=found, yes=yes, no=no) if found and yes and no else None

    def _captures(self) -> Mapping[str, Request]:
        names = [name for name in self._options if name.startswith("capture.")]
        return {name[8:]: found for name in names if (found := self._request(name, ("GET", "POST"), _WINDOW))}

    def _one_of(self, name: str, known: Collection[str], default: str) -> str:
        found = self._options.get(name, default)
        if found in set(known):
            return found
        self._problems.append(f"option {name} is {found!r}: it may be {', '.join(known)}")
        return default

    def _headers(self, way: Way) -> Mapping[str, str]:
        found = {}
        for name, text in self._options.items():
            header = name.removeprefix("header.")
            if header == name:
                continue
            reference = _refers(text)
            secret = way.secret(text) if reference else text
            if _SECRET.search(header) and not reference:
                self._problems.append(f"option {name} holds a secret: write env:NAME or file:/absolute/path")
            elif not _HEADER.fullmatch(header) or header.lower() in _OURS:
                self._problems.append(f"option {name} names a header that cannot be set")
            elif not secret.isprintable() or not secret.isascii():
                self._problems.append(f"option {name} has a value that is no header's")
            elif header.lower() == "authorization" and way.token:
                self._problems.append(f"option {name} and token both set it: leave one out")
            else:
                found[header] = secret
        return found

    def _whole(self, way: Way) -> None:
        """Note what is missing for the capabilities that the inventory reaches over this endpoint."""
        asked = {capability for capability, endpoint in way.node.endpoints if endpoint == way.endpoint}
        for capability in asked or capabilities(self._options):
            if capability is Capability.RECORDER and not self.captures:
                self._problems.append("lacks a capture.… option, and is the node's recorder")
            self._problems += [
                f"lacks the option {name}, and is the node's {capability}"
                for name in _NEEDS.get(capability, ())
                if name not in self._options
            ]
        for one, other in (("counters", "counter"), ("counter", "counters")):
            if one in self._options and other not in self._options:
                self._problems.append(f"has the option {one} without {other}")


def capabilities(options: Mapping[str, str]) -> tuple[Capability, ...]:
    """Return what these options describe."""
    captures = any(name.startswith("capture.") for name in options)
    some = tuple(capability for capability, first in FIRST.items() if first in options)
    return (*some, Capability.RECORDER) if captures else some


def _refers(text: str) -> bool:
    return text.startswith(("env:", "file:"))


def _not_http(url: str) -> str | None:
    return None if url.startswith(("http://", "https://")) else "is no http(s) URL"
