"""Drive any HTTP API, as the inventory describes it: requests, expected answers, read-back and counters.

docs/http-driver.md has the options, `bot/nodes/phrases.py` the language in which they are written. A state is believed
only when the answer says so: what reads back as neither the one nor the other is unknown.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from bot import __version__
from bot.domain.inventory import Capability, Endpoint, Node
from bot.domain.target import Answer, Effect, KeyReading, Release, Reply, Sample
from bot.errors import Misconfigured, NoAnswer, NodeBroken, NodeError, NodeRefused, NotReached
from bot.nodes.declaration import RELEASE, TIMES, UNDO, VERBS, Act, Plan, State, capabilities
from bot.nodes.phrases import LISTS, ONE_KEY, Expectation, Page, Request, Value, Values, whole
from bot.nodes.several import each, failure, together, told, worst
from bot.nodes.way import Way
from bot.nodes.wire import Call, Wire, named
from bot.ports import Clock, Item, Traits

T = TypeVar("T")

_TIME = re.compile(r"[^=]*=\{(?:since|until)\}")
_Calls = dict[str | None, Call]
TRAITS = Traits(
    effect=Effect.AT_MOST_ONCE,
    reversible=False,
    capabilities=tuple(Capability),
    proves_by="what the inventory says the answers mean: for a freeze each key reads back as stopped and not as "
    "signing, and its counter is flat",
    needs="the options counters and counter, of each key or of a node whose keys are all asked for; two samples over "
    "a due duty",
    cannot_know="whether the inventory describes the API rightly",
    blast_radius="what the API does besides; say it in the option blast_radius",
    tested="an imitation of an API made for this test",
    tier="emulated",  # the API itself was never seen: never automatic
)


def traits(endpoint: Endpoint) -> Traits:
    """Return what the driver promises at `endpoint`: its options say what it can do and what may be repeated."""
    options = endpoint.options
    effect = options.get("effect", "")
    return replace(
        TRAITS,
        effect=Effect(effect) if effect in set(Effect) else Effect.AT_MOST_ONCE,
        reversible=all(UNDO.get(verb) in options for verb in VERBS if verb in options and verb not in UNDO.values()),
        destructive=options.get("destructive") == "yes",
        capabilities=capabilities(options),
        blast_radius=options.get("blast_radius", TRAITS.blast_radius),
    )


def connect(way: Way) -> "Http":
    """Return the driver of the API that the endpoint's options describe; opens no connection.

    Raises Misconfigured with everything that is wrong with them, option by option.
    """
    return Http(way, Plan(way))


@dataclass(frozen=True, slots=True)
class _Origin:
    """Where requests go, and the secrets that go with them."""

    wire: Wire = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)


class Http:
    """Signer, Router, Deployer, Throttle and Recorder over an API that the inventory describes."""

    def __init__(self, way: Way, plan: Plan) -> None:
        self.traits = traits(way.endpoint)
        self._node: Node = way.node
        self._clock: Clock = way.clock
        self._acts, self._states, self._plan = plan.acts, plan.states, plan
        bases = {None, *(one.base for one in self._requests())}
        self._origins = {
            base: _Origin(replace(way.wire(), secrets=plan.secrets), plan.headers)
            if base is None
            else _Origin(way.wire(base, token=None), {})
            for base in bases
        }

    async def freeze(self, keys: Sequence[str], *, incident: str, request: str) -> Reply:
        """Send the option `freeze`, for each key or for all; acknowledged when the answer is as expected for each."""
        return await self._for_keys("freeze", named(keys), {"incident": incident, "request": request})

    async def unfreeze(self, keys: Sequence[str], *, incident: str, request: str) -> Reply:
        """Send the option `unfreeze`; refused when there is none."""
        return await self._for_keys("unfreeze", named(keys), {"incident": incident, "request": request})

    async def sample(self, keys: Sequence[str]) -> Sample:
        """Read state and counter of `keys`; one that reads back as neither signing nor stopped is missing."""
        asked = named(keys)
        state, counters = self._state("state"), self._plan.counters
        states, counts = await together(self._answers(state.request, asked), self._telemetry(asked))
        lost = [error for error in states.values() if isinstance(error, NodeError) and not _absent(error)]
        if lost:
            raise worst(lost)
        refusals = [error for error in states.values() if isinstance(error, NodeRefused)]
        if refusals and len(refusals) == len(states):
            told = f"{refusals[0]}; it holds none of the keys, or the path in the option state is another"
            raise NodeRefused(told, status=refusals[0].status)
        readings = await asyncio.to_thread(self._readings, state, states, counts)
        first = next((one for one in (counts if counters else states).values() if isinstance(one, Page)), None)
        instance, time = (self._value(found, first) for found in (self._plan.instance, self._plan.time))
        return Sample(
            at=self._clock.now(),
            instance="" if instance is None else str(instance),
            keys=readings,
            node_time=_moment(time),
        )

    async def slashing_protection(self) -> bytes:
        """Return the answer to the option `slashing_protection`; raises NodeRefused when there is none."""
        if self._plan.protection is None:
            raise NodeRefused(f"{self._node.name}: the inventory names no request for slashing protection")
        asked = self._plan.protection
        origin = self._origins[asked.base]
        # A year of one key's history is 10 MB: more than other answers.
        stream = origin.wire.call().stream(asked.method, asked.path, headers=origin.headers)
        page = Page(b"".join([chunk async for chunk in stream]))
        await asyncio.to_thread(self._read, lambda: page.tree)
        return page.content

    async def isolate(self, *, incident: str, request: str) -> Reply:
        """Send the option `isolate`."""
        return await self._for_node("isolate", {"incident": incident, "request": request})

    async def restore(self, *, incident: str, request: str) -> Reply:
        """Send the option `restore`; refused when there is none."""
        return await self._for_node("restore", {"incident": incident, "request": request})

    async def isolated(self) -> bool:
        """Read the option `isolated`; raises NodeBroken when the answer says neither yes nor no."""
        return await self._is("isolated")

    async def throttle(self, *, incident: str, request: str) -> Reply:
        """Send the option `throttle`."""
        return await self._for_node("throttle", {"incident": incident, "request": request})

    async def throttled(self) -> bool:
        """Read the option `throttled`; raises NodeBroken when the answer says neither yes nor no."""
        return await self._is("throttled")

    async def rollback(self, to_build: str, *, incident: str, request: str) -> Reply:
        """Send the option `rollback`."""
        return await self._for_node("rollback", {"to_build": to_build, "incident": incident, "request": request})

    async def release(self) -> Release:
        """Read the option `release`; raises NodeBroken when version or build are not in the answer."""
        if self._plan.release is None:
            raise self._undescribed("release")
        page = await self._page(self._plan.release, {}, {})
        found = {name: self._value(place, page) for name, place in self._plan.releases.items()}
        version, build, *more = (found.get(name) for name in RELEASE)
        if not isinstance(version, (str, int)) or not isinstance(build, str) or not build:
            raise NodeBroken(f"{self._node.name} does not say what it runs")
        config, instance, previous = ("" if one is None else str(one) for one in more)
        return Release(
            version=str(version),
            build_hash=build,
            config_checksum=config,
            instance=instance,
            previous_build=previous or None,
        )

    async def capture(self, since: datetime, until: datetime) -> AsyncIterator[Item]:
        """Yield an item for each `capture.…` option, in their order.

        After one item got no answer at all, the rest are not waited for: their chunks raise that error at once.
        """
        written = TIMES[self._plan.times]
        window = {"since": written(since), "until": written(until)}
        lost: list[NodeError] = []
        for what, asked in self._plan.captures.items():
            path, body = asked.filled(window)
            base = self._origins[asked.base].wire.base
            yield Item(
                what=what,
                source=f"{self._node.name} {asked.method} {base}{_shown(asked.path, path)}",
                media_type=self._plan.media.get(what, "application/octet-stream"),
                chunks=self._chunks(asked, path, body, lost),
                tool=f"stopsign/{__version__} http",
                acts=asked.method not in {"GET", "HEAD"},
            )

    async def _chunks(self, asked: Request, path: str, body: Any, lost: list[NodeError]) -> AsyncIterator[bytes]:
        if lost:
            raise type(lost[0])(f"not asked for: {lost[0]}")
        origin = self._origins[asked.base]
        try:
            async for chunk in origin.wire.call().stream(asked.method, path, body=body, headers=origin.headers):
                yield chunk
        except (NotReached, NoAnswer) as error:
            lost.append(error)
            raise

    def _state(self, name: str) -> State:
        if name not in self._states:
            raise self._undescribed(name)
        return self._states[name]

    def _undescribed(self, name: str) -> Misconfigured:
        return Misconfigured([f"node {self._node.name}: http has no option {name}"])

    def _requests(self) -> list[Request]:
        plan = self._plan
        reads = (plan.counters, plan.protection, plan.release, *plan.captures.values())
        acts, states = plan.acts.values(), plan.states.values()
        return [*(act.request for act in acts), *(state.request for state in states), *filter(None, reads)]

    async def _for_keys(self, verb: str, asked: Sequence[str], values: Values) -> Reply:
        """Act on keys: one request a key, one for all of them, or one that names none and so stops the whole node."""
        act = self._acts.get(verb)
        if act is None:
            return self._untold(verb)
        if act.request.names & ONE_KEY:
            calls: _Calls = {}
            replies = await each(asked, lambda key: self._act(act, {**values, **_of(key)}, [key], calls))
            return _summed(asked, replies)
        if not act.request.names & LISTS and not self._all(asked):
            detail = f"the request acts on all {len(self._node.keys)} keys of the node, and not on some of them"
            return Reply(answer=Answer.REFUSED, detail=detail)
        lower = [key.lower() for key in asked]
        return await self._act(act, {**values, "keys": lower, "keys_hex": [key[2:] for key in lower]}, asked, {})

    async def _for_node(self, verb: str, values: Values) -> Reply:
        act = self._acts.get(verb)
        return self._untold(verb) if act is None else await self._act(act, values, (), {})

    async def _act(self, act: Act, values: Values, keys: Sequence[str], calls: _Calls) -> Reply:
        """Send one request that changes something, and judge its answer for each of `keys`."""
        try:
            page = await self._page(act.request, values, calls)
        except NodeRefused as refusal:
            if refusal.status not in act.statuses:
                raise
            return Reply(answer=Answer.ALREADY, detail=f"answered {refusal.status}: was so before the request")
        return await asyncio.to_thread(self._judged, act, page, values, keys)

    def _judged(self, act: Act, page: Page, values: Values, keys: Sequence[str]) -> Reply:
        """Return what a yes means by the expectations."""
        if act.already and not self._unmet(act.already, page, values, keys):
            return Reply(answer=Answer.ALREADY, detail="the answer says that it was so before the request")
        if act.expect is None:
            return Reply(answer=Answer.ACKNOWLEDGED, detail="answered yes")
        if unmet := self._unmet(act.expect, page, values, keys):
            reason = f"the answer is not as expected: {act.expect.text}"
            return Reply(answer=Answer.FAILED, detail=told(dict.fromkeys(filter(None, unmet), reason)) or reason)
        return Reply(answer=Answer.ACKNOWLEDGED, detail="the answer is as expected")

    def _unmet(self, expected: Expectation, page: Page, values: Values, keys: Sequence[str]) -> list[str]:
        """Return the keys for which the answer is not as expected; [""] when it names no key and is not."""
        if not expected.names & ONE_KEY:
            return [] if self._read(expected.holds, page, values) else [""]
        return [key for key in keys if not self._read(expected.holds, page, {**values, **_of(key)})]

    async def _is(self, name: str) -> bool:
        state = self._state(name)
        page = await self._page(state.request, {}, {})
        found = self._read(state.read, page, {})
        if found is None:
            raise NodeBroken(f"{self._node.name} says neither that it is {name} nor that it is not")
        return found

    def _readings(
        self, state: State, states: Mapping[str, Page | NodeError], counts: Mapping[str, Page | NodeError]
    ) -> Mapping[str, KeyReading]:
        """Return what the answers say of each key, without those of which they say nothing."""
        found = {}
        for key, page in states.items():
            signing = self._read(state.read, page, _of(key)) if isinstance(page, Page) else None
            if signing is not None:
                found[key] = KeyReading(signing=signing, counter=self._count(counts.get(key), key, tuple(states)))
        return found

    async def _answers(self, asked: Request, keys: Sequence[str]) -> Mapping[str, Page | NodeError]:
        """Return the answer for each key: one request a key if it names one, else the same answer for all."""
        calls: _Calls = {}
        if asked.names & ONE_KEY:
            return await each(keys, lambda key: self._page(asked, _of(key), calls))
        return dict.fromkeys(keys, await self._page(asked, {}, calls))

    async def _telemetry(self, keys: Sequence[str]) -> Mapping[str, Page | NodeError]:
        """Return the answers with the counters; none when they cannot be had."""
        if self._plan.counters is None:
            return {}
        try:
            return await self._answers(self._plan.counters, keys)
        except NodeError:
            return {}

    def _count(self, page: Page | NodeError | None, key: str, asked: Sequence[str]) -> int | None:
        """Return a key's counter; one that names no key counts all keys, and is told only of all of them."""
        counters, counter = self._plan.counters, self._plan.counter
        if counter is None or counters is None or not isinstance(page, Page):
            return None
        if not (counter.names | counters.names) & ONE_KEY and not self._all(asked):
            return None
        try:
            return whole(counter.of(page, _of(key)))
        except ValueError:
            return None

    def _value(self, found: Value | None, page: Page | None) -> Any:
        """Return a value of an answer, None when it is not there or the answer cannot be read."""
        if found is None or page is None:
            return None
        try:
            return found.of(page, {})
        except ValueError:
            return None

    async def _page(self, asked: Request, values: Values, calls: _Calls) -> Page:
        """Send one request and return its answer; requests that share `calls` share one time limit."""
        origin = self._origins[asked.base]
        call = calls.setdefault(asked.base, origin.wire.call())
        path, body = asked.filled(values)
        return Page(await call.content(asked.method, path, body=body, headers=origin.headers))

    def _read(self, read: Callable[..., T], *arguments: object) -> T:
        try:
            return read(*arguments)
        except ValueError as problem:
            raise NodeBroken(f"{self._node.name}: {problem}") from problem

    def _all(self, asked: Sequence[str]) -> bool:
        return {key.lower() for key in asked} >= {key.lower() for key in self._node.keys}

    def _untold(self, verb: str) -> Reply:
        return Reply(answer=Answer.REFUSED, detail=f"the inventory does not say how to {verb}: do it by hand")


def _of(key: str) -> dict[str, str | list[str]]:
    return {"key": key.lower(), "key_hex": key.lower()[2:]}


def _shown(template: str, path: str) -> str:
    """Return a path for people: of its query the times of the window, and of whatever else stands there the name."""
    asked = template.partition("?")[2]
    there, _, filled = path.partition("?")
    pairs = zip(asked.split("&"), filled.split("&"), strict=True)
    shown = [now if _TIME.fullmatch(pair) else pair.partition("=")[0] for pair, now in pairs if "=" in pair]
    return f"{there}{'?' if shown else ''}{'&'.join(shown)}"


def _absent(error: NodeError) -> bool:
    return isinstance(error, NodeRefused) and error.status == 404


def _summed(asked: Sequence[str], replies: Mapping[str, Reply | NodeError]) -> Reply:
    """Return what the replies for single keys amount to; raises the worst error when no key got an answer."""
    errors = {key: one for key, one in replies.items() if isinstance(one, NodeError)}
    answered = {key: one for key, one in replies.items() if isinstance(one, Reply)}
    if not answered:
        raise worst(errors.values())
    failed = {key: one.detail for key, one in answered.items() if one.answer is Answer.FAILED}
    if errors or failed:
        detail = f"{len(errors) + len(failed)} of {len(asked)} keys: {told({**errors, **failed})}"
        return Reply(answer=failure(errors.values()), detail=detail)
    already = all(one.answer is Answer.ALREADY for one in answered.values())
    detail = next(iter(answered.values())).detail
    return Reply(answer=Answer.ALREADY if already else Answer.ACKNOWLEDGED, detail=f"for every key: {detail}")


def _moment(found: object) -> datetime | None:
    """Return a time that is written in RFC 3339 or in seconds since 1970, or None."""
    try:
        if isinstance(found, str):
            at = datetime.fromisoformat(found)
            return at if at.tzinfo else None
        if isinstance(found, (int, float)) and not isinstance(found, bool):
            return datetime.fromtimestamp(found, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return None
