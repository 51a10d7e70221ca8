"""The data path: what a validator client asks of the signer goes through here, or does not.

Everything that is not known is refused. A signing request is answered 412 when its key is denied (the answer of
Web3Signer's own slashing protection, which clients know), 503 when it could not be recorded, 502 or 504 when the signer
gave no answer.
"""

import asyncio
import logging
import re
import secrets
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

import aiohttp
from aiohttp import web

from bot.errors import NoAnswer, NotReached
from bot.sidecar import duties
from bot.sidecar.counts import Counts, KeyCount
from bot.sidecar.denials import Denial, Denials
from bot.sidecar.duties import Duty
from bot.sidecar.options import Options
from bot.sidecar.ports import received
from bot.sidecar.record import Entry, NotRecorded, Record
from bot.sidecar.upstream import Told, Upstream
from bot.sidecar.words import now, problem, spelled

_LOG = logging.getLogger(__name__)
_ETH2 = re.compile(r"/api/v1/eth2/sign/((?:0x)?[0-9a-fA-F]{96})")
_ETH2_EXT = re.compile(r"/api/v1/eth2/ext/sign/((?:0x)?[0-9a-fA-F]{96})")
_ETH1 = re.compile(r"/api/v1/eth1/sign/((?:0x)?[0-9a-fA-F]{2,192})")
_PASSED = frozenset(
    (method, path)
    for path in ("/api/v1/eth2/publicKeys", "/api/v1/eth1/publicKeys", "/upcheck", "/healthcheck")
    for method in ("GET", "HEAD")
) | {("POST", "/reload"), ("GET", "/reload")}
_HEADERS = ("Accept", "Authorization", "Content-Type")
_BODY_LIMIT = 16 * 1024 * 1024
_BODIES_LIMIT = 128 * 1024 * 1024
_LARGE_BODIES_LIMIT = 96 * 1024 * 1024
_SMALL_BODY = 64 * 1024
"""Up to here a body counts as small: what large ones leave is kept for these."""
_BODY_SECONDS = 4.0
_TAKEN_SECONDS = 10.0
"""How long a client has to take its answer."""
_IN_FLIGHT_LIMIT = 2048
_SLASHABLE = 412
"""The status with which a signer's own slashing protection refuses, and with which a frozen key is refused here."""
Phase = Literal["recording", "sent", "answering"]
Signed = Literal["yes", "perhaps", "no"]


@dataclass(slots=True, eq=False)
class Flight:
    """One signing request on its way. `counted`: its signature is counted already, whether or not it will be made."""

    key: str
    phase: Phase = "recording"
    counted: bool = False
    transport: asyncio.Transport | None = None
    over: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """One signing request, read."""

    key: str
    path: str
    duty: Duty
    body: bytes
    conflict: str | None

    def fields(self, avs: str, client: str | None) -> dict[str, Any]:
        """Return what the record says of it."""
        duty = self.duty
        told: dict[str, Any] = {"key": self.key, "avs": avs, "duty": duty.kind, "slot": duty.slot}
        told |= {"digest": duty.digest, "digest_of": duty.digest_of}
        more = {"source": duty.source, "target": duty.target, "mark": duty.mark, "conflict": self.conflict}
        return told | {k: v for k, v in more.items() if v is not None} | ({"client": client} if client else {})


class Gate:
    """Takes the requests of validator clients. `stop_answers` is what a freeze calls besides denying."""

    def __init__(self, options: Options, record: Record, denials: Denials, counts: Counts, upstream: Upstream) -> None:
        self._options = options
        self._record = record
        self._denials = denials
        self._counts = counts
        self._upstream = upstream
        self._passed = _PASSED | set(options.passed)
        self._flights: dict[str, set[Flight]] = {}
        self._mark = f"stopsign-sidecar-{secrets.token_hex(8)}"
        """By which this sidecar knows its own requests again (RFC 9110 §7.6.3)."""
        self._in_flight = 0
        self._bodies = 0

    @property
    def in_flight(self) -> int:
        """Return how many signing requests are on their way."""
        return self._in_flight

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        path = request.rel_url.raw_path
        if self._mark in request.headers.get("Via", ""):
            return problem(508, "Loop", "this request came from this very sidecar: --upstream leads back to it")
        if request.method == "POST":
            for pattern, kind in ((_ETH2, ""), (_ETH2_EXT, "EXT"), (_ETH1, "ETH1")):
                if match := pattern.fullmatch(path):
                    return await self._sign(request, path[: match.start(1)], spelled(match[1]), kind)
        if (request.method, path) in self._passed:
            return await self._pass(request, path)
        return problem(
            403, "Not passed on", f"{request.method} {path[:200]} is not among what this sidecar lets through"
        )

    async def stop_answers(self, keys: Collection[str], *, within: float) -> dict[str, int]:
        """Wait until no request of the keys, which are denied already, is on its way; return how many are left of each.

        No answer leaves meanwhile. What the signer may still sign is counted as signed from now on, so that a counter
        does not rise after the caller was told that the key is frozen.
        """
        flights = [flight for key in keys for flight in self._flights.get(key, ())]
        for flight in flights:
            if flight.phase == "answering" and flight.transport:
                flight.transport.abort()
        if flights:
            with suppress(TimeoutError):
                async with asyncio.timeout(within):
                    for flight in flights:
                        await flight.over.wait()
        left: dict[str, int] = {}
        for flight in flights:
            if flight.over.is_set():
                continue
            left[flight.key] = left.get(flight.key, 0) + 1
            if flight.phase == "sent":
                self._count(flight)
        return left

    # ---- signing

    async def _sign(self, request: web.BaseRequest, path: str, key: str, kind: str) -> web.StreamResponse:
        if self._in_flight >= _IN_FLIGHT_LIMIT:
            return problem(503, "Too many requests", f"{self._in_flight} signing requests are on their way")
        body = await self._body(request)
        if body is None:
            self._of(key).result("malformed")
            return problem(413, "Too large", f"the request is larger than {_BODY_LIMIT} bytes, or too many are here")
        self._in_flight += 1
        try:
            try:
                duty = duties.other(body, kind) if kind else duties.eth2(body)
            except duties.Malformed as error:
                self._of(key).result("malformed")
                return problem(400, "Malformed request", str(error))
            counts = self._of(key)
            counts.asked += 1
            counts.last_asked_at = now()
            return await self._decide(request, path + key, key, duty, body)
        finally:
            self._in_flight -= 1
            self._bodies -= len(body)

    async def _decide(
        self, request: web.BaseRequest, path: str, key: str, duty: Duty, body: bytes
    ) -> web.StreamResponse:
        if denial := self._denials.of(key):
            asked = _Asked(key=key, path=path, duty=duty, body=body, conflict=None)
            return self._denied(asked, request, denial)
        conflict = self._counts.conflicts(key, duty.mark, duty.digest)
        asked = _Asked(key=key, path=path, duty=duty, body=body, conflict=conflict)
        if conflict:
            self._counts.conflicts_asked += 1
            _LOG.warning("%s asks for a second %s: %s after %s", key, duty.mark, duty.digest, conflict)
            if self._options.refuse_equivocation:
                return self._equivocation(asked, request)
        flight = Flight(key=key, transport=request.transport)
        self._flights.setdefault(key, set()).add(flight)
        try:
            return await self._let_through(asked, flight, request)
        finally:
            flight.over.set()
            self._flights[key].discard(flight)
            if not self._flights[key]:
                del self._flights[key]

    async def _let_through(self, asked: _Asked, flight: Flight, request: web.BaseRequest) -> web.StreamResponse:
        """Record, send, record, answer. No `await` stands between finding a key not denied and acting on that."""
        fields = asked.fields(self._options.avs, request.remote)
        why = "conflicts with what was asked before" if asked.conflict else "recorded, then sent to the signer"
        begun = self._record.begin({**fields, "decision": "allowed", "reason": why})
        entry: Entry | None = begun
        try:
            await asyncio.wait_for(self._record.durable(begun), self._options.record_timeout)
        except (NotRecorded, TimeoutError) as error:
            said = str(error) or f"the record was not written within {self._options.record_timeout:g} s"
            if self._options.when_full == "deny":
                self._ended(asked, entry, fields, "unsent", why=said)
                return problem(503, "Not recorded", f"{said}; nothing was sent to the signer")
            if isinstance(error, NotRecorded):
                entry = None
                self._record.lose(1, messages=1)
            self._counts.unrecorded += 1
        if denial := self._denials.of(asked.key):
            self._ended(asked, entry, fields, "unsent", why="the key was frozen meanwhile")
            return self._denied(asked, request, denial)
        flight.phase = "sent"
        sent_at = asyncio.get_running_loop().time()
        try:
            told = await self._upstream.sign(asked.path, asked.body, self._forwarded(request.headers))
        except NotReached as error:
            self._ended(asked, entry, fields, "unsent", why=str(error))
            return problem(502, "The signer cannot be reached", str(error))
        except (NoAnswer, asyncio.CancelledError) as error:
            self._count(flight)
            self._ended(asked, entry, fields, "unknown", why=str(error) or "the sidecar was stopped")
            if isinstance(error, asyncio.CancelledError):
                raise
            return problem(504, "No answer from the signer", str(error))
        latency = {"status": told.status, "latency_ms": round(1000 * (asyncio.get_running_loop().time() - sent_at), 3)}
        denial = self._denials.of(asked.key)
        if told.signed:
            self._count(flight, signed="yes")
            self._ended(asked, entry, fields, "signed", **latency, **({"withheld": True} if denial else {}))
        else:
            self._counts.denied["slashing-protection"] += told.status == _SLASHABLE
            self._ended(asked, entry, fields, "failed", **latency)
        if denial:
            return self._denied(asked, request, denial, note=False)
        return await _delivered(told, flight, request)

    def _of(self, key: str, *, signed: Signed = "no") -> KeyCount:
        """Return the counters of a key: its own, or those of all that may be invented."""
        real = signed == "yes" or self._upstream.holds(key) is True or self._denials.of(key) is not None
        return self._counts.of(key, real=real, perhaps=signed == "perhaps")

    def _count(self, flight: Flight, *, signed: Signed = "perhaps") -> None:
        if not flight.counted:
            flight.counted = True
            counts = self._of(flight.key, signed=signed)
            counts.signatures += 1
            counts.last_signed_at = now()

    def _ended(self, asked: _Asked, entry: Entry | None, fields: Mapping[str, Any], result: str, **more: Any) -> None:
        """Count and record how a request ended."""
        self._of(asked.key).result("withheld" if more.get("withheld") else result)
        if result in {"failed", "unsent"}:
            self._counts.forget(asked.key, asked.duty.mark, asked.duty.digest)
        else:
            self._counts.conflicts(asked.key, asked.duty.mark, asked.duty.digest)  # if a twin of it failed meanwhile
            self._counts.conflicts_signed += asked.conflict is not None
        if entry is not None:
            self._record.note("result", {**fields, "result": result, **more}, intent=entry)

    def _denied(self, asked: _Asked, request: web.BaseRequest, denial: Denial, *, note: bool = True) -> web.Response:
        if note:
            self._of(asked.key).result("denied")
            self._counts.denied["frozen"] += 1
            fields = asked.fields(self._options.avs, request.remote)
            reason = f"frozen for {denial.incident}"
            self._record.note("denied", {**fields, "decision": "denied", "reason": reason})
        detail = f"{asked.key} is frozen since {denial.since} for {denial.incident}"
        return problem(_SLASHABLE, "This key is frozen", detail, incident=denial.incident)

    def _equivocation(self, asked: _Asked, request: web.BaseRequest) -> web.Response:
        self._of(asked.key).result("refused")
        self._counts.denied["slashing-protection"] += 1
        fields = asked.fields(self._options.avs, request.remote)
        reason = "another digest was asked for under the same mark"
        self._record.note("denied", {**fields, "decision": "denied", "reason": reason})
        return problem(_SLASHABLE, "Would equivocate", f"{reason}: {asked.conflict}")

    async def _body(self, request: web.BaseRequest) -> bytes | None:
        """Read the whole body, which then counts until it is let go of; None when it is too large or too slow."""
        body = bytearray()
        try:
            async with asyncio.timeout(min(_BODY_SECONDS, self._options.upstream_timeout)):
                async for chunk in request.content.iter_any():
                    body += chunk
                    self._bodies += len(chunk)
                    limit = _BODIES_LIMIT if len(body) <= _SMALL_BODY else _LARGE_BODIES_LIMIT
                    if len(body) > _BODY_LIMIT or self._bodies > limit:
                        raise TimeoutError
        except TimeoutError:
            self._bodies -= len(body)
            return None
        except BaseException:
            self._bodies -= len(body)
            raise
        received()
        return bytes(body)

    # ---- everything else

    async def _pass(self, request: web.BaseRequest, path: str) -> web.StreamResponse:
        """Pass a request on, and its answer back as a stream."""
        body = await self._body(request)
        if body is None:
            return problem(413, "Too large", f"the request is larger than {_BODY_LIMIT} bytes")
        url = self._upstream.base + path + (f"?{request.rel_url.raw_query_string}" if request.query_string else "")
        answer = web.StreamResponse()
        try:
            async with (
                asyncio.timeout(self._options.upstream_timeout + _TAKEN_SECONDS),
                self._upstream.session.request(
                    request.method,
                    url,
                    data=body or None,
                    headers=self._forwarded(request.headers),
                    allow_redirects=False,
                ) as told,
            ):
                answer.set_status(told.status)
                answer.content_type = told.content_type
                answer.content_length = told.content_length
                await answer.prepare(request)
                if request.method != "HEAD":
                    async for chunk in told.content.iter_any():
                        await answer.write(chunk)
                await answer.write_eof()
        except (aiohttp.ClientError, OSError) as error:  # TimeoutError is one
            if not answer.prepared:
                status = 504 if isinstance(error, TimeoutError) else 502
                return problem(status, "No answer from the signer", type(error).__name__)
            if request.transport is not None:
                request.transport.abort()
        finally:
            self._bodies -= len(body)
        return answer

    def _forwarded(self, headers: Mapping[str, str]) -> dict[str, str]:
        via = ", ".join(filter(None, (headers.get("Via"), f"1.1 {self._mark}")))
        return {name: headers[name] for name in _HEADERS if name in headers} | {"Via": via}


async def _delivered(told: Told, flight: Flight, request: web.BaseRequest) -> web.StreamResponse:
    """Answer, and return when every byte has left this process: until then a freeze can still cut the connection."""
    flight.phase = "answering"
    if request.transport is not None:
        request.transport.set_write_buffer_limits(high=0)
    answer = web.Response(body=told.body, status=told.status, headers={"Content-Type": told.media_type})
    try:
        async with asyncio.timeout(_TAKEN_SECONDS):
            await answer.prepare(request)
            await answer.write_eof()
    except ConnectionError:
        pass  # the client has gone, and was free to
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()
    return answer
