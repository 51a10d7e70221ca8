"""The control port: docs/node-api.yaml, as far as a proxy can offer it. Everything but /metrics needs the token.

A proxy routes nothing, rolls nothing back and holds no slashing protection: those paths are 404.
"""

import asyncio
import hashlib
import json
import os
import platform
import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from aiohttp import web

from bot import __version__
from bot.errors import Misconfigured
from bot.sidecar.counts import Counts, exposition
from bot.sidecar.denials import Denials
from bot.sidecar.gate import Gate
from bot.sidecar.options import Options, Token
from bot.sidecar.pcap import NoCapture, Ring
from bot.sidecar.ports import received
from bot.sidecar.record import NotRecorded, Record, text_of
from bot.sidecar.upstream import Upstream
from bot.sidecar.words import now, problem, stamp

_V1 = "/stopsign/v1"
_KEY = re.compile(r"0x[0-9a-f]{2,}")
_EPOCH = datetime.fromtimestamp(0, UTC)
_BODY_LIMIT = 4 * 1024 * 1024
_ELSEWHERE = {
    f"{_V1}/routing": "this sidecar stands before a signer and routes nothing: isolate at the node",
    f"{_V1}/release/rollback": "this sidecar does not deploy: ask the deployment of the signer",
    f"{_V1}/slashing-protection": "the signer keeps it, and its HTTP API does not export it",
}
Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class _Refused(ValueError):
    """The request is malformed; `field` is the member that is wrong."""

    def __init__(self, field: str, sentence: str) -> None:
        super().__init__(sentence)
        self.field = field


@dataclass(frozen=True, slots=True, kw_only=True)
class SetSigning:
    """The body of PUT signing."""

    state: Literal["signing", "frozen"]
    keys: tuple[str, ...]
    incident: str
    request: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """This process: what changes when it is started again."""

    instance: str
    started_at: datetime


class Control:
    """Answers the bot."""

    def __init__(
        self,
        options: Options,
        process: Process,
        *,
        record: Record,
        denials: Denials,
        counts: Counts,
        upstream: Upstream,
        gate: Gate,
        token: Token,
        ring: Ring | None = None,
    ) -> None:
        self._options = options
        self._process = process
        self._record = record
        self._denials = denials
        self._counts = counts
        self._upstream = upstream
        self._gate = gate
        self._token = token
        self._ring = ring
        self._build = _build_hash()
        self._routes: dict[tuple[str, str], Handler] = {
            ("GET", f"{_V1}/node"): self.node,
            ("GET", f"{_V1}/signing"): self.signing,
            ("PUT", f"{_V1}/signing"): self.set_signing,
            ("GET", f"{_V1}/messages"): self.messages,
            ("GET", f"{_V1}/audit"): self.audit,
            ("GET", f"{_V1}/network-capture"): self.network_capture,
            ("GET", f"{_V1}/release"): self.release,
            ("GET", f"{_V1}/peers"): self.peers,
            ("POST", f"{_V1}/logs/rotate"): self.rotate,
        }

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        path = request.rel_url.path
        if (request.method, path) == ("GET", "/metrics"):
            return await self.metrics(request)
        try:
            known = self._token.accepts(request.headers.get("Authorization"))
        except Misconfigured as error:  # the sidecar's own fault: 401 would say that the caller's token is wrong
            return problem(503, "No token", str(error))
        if not known:
            return problem(401, "Unauthorised", "the bearer token is missing or not known")
        received()
        handler = self._routes.get((request.method, path))
        if handler is None:
            return problem(404, "Not here", _ELSEWHERE.get(path, ""))
        try:
            return await handler(request)
        except _Refused as error:
            return problem(400, "Malformed request", str(error), field=error.field)

    async def node(self, request: web.BaseRequest) -> web.StreamResponse:
        """Say which node this is."""
        return _json(
            {
                **self._head(),
                "node": self._options.node,
                "started_at": stamp(self._process.started_at),
                "client": {"name": "stopsign sidecar", "version": __version__},
                "build_hash": self._build,
                "config_checksum": self._options.checksum,
                "avs": self._options.avs,
                "keys": list(self._held()),
                "upstream": self._options.upstream,
                "upstream_listed": self._upstream.fresh,
                "python": platform.python_version(),
                "record": self._record.head,
                "damage": self._record.damage,
            }
        )

    async def signing(self, request: web.BaseRequest) -> web.StreamResponse:
        """Read every key's state. `denied_not_held` names keys that are denied though the signer does not hold them."""
        held = self._held()
        rest = [key for key in self._denials.keys if key not in held]
        return _json({**self._head(), "keys": [self._key(key) for key in held], "denied_not_held": rest})

    async def set_signing(self, request: web.BaseRequest) -> web.StreamResponse:
        """Freeze or unfreeze the named keys.

        A key that the signer surely does not hold is denied all the same, and answered `not_found`: whoever meant
        another signer must not read that all is well.
        """
        asked = _set_signing(await _body(request))
        before = {key: self._denials.of(key) is not None for key in asked.keys}
        detail: dict[str, str] = {}
        looked = asyncio.ensure_future(self._look_for(asked.keys))
        if asked.state == "frozen":
            detail = await self._freeze(asked)
        else:
            try:
                await self._denials.allow(asked.keys, request=asked.request)
            except OSError as error:
                why = f"still frozen: the denied keys cannot be written ({error.strerror or error})"
                detail = dict.fromkeys(asked.keys, f"!{why}")
        await looked
        results = [self._result(key, before[key], detail.get(key, "")) for key in asked.keys]
        told = {key: one["result"] for key, one in zip(asked.keys, results, strict=True)}
        self._record.note(
            "state", {"state": asked.state, "results": told, "incident": asked.incident, "request": asked.request}
        )
        return _json({**self._head(), "results": results})

    async def release(self, request: web.BaseRequest) -> web.StreamResponse:
        """Say which sidecar runs; it knows of no other, and cannot go back to one."""
        current = {
            "version": __version__,
            "build_hash": self._build,
            "config_checksum": self._options.checksum,
            "since": stamp(self._process.started_at),
        }
        contract = {"tested_at": None}
        return _json({**self._head(), "current": current, "previous": None, "rollback_contract": contract})

    async def peers(self, request: web.BaseRequest) -> web.StreamResponse:
        """Say that there are no peers: a signer has none."""
        return _json({"now": stamp(now()), "peers": []})

    async def messages(self, request: web.BaseRequest) -> web.StreamResponse:
        """Stream the messages that were signed, or may have been."""
        return await self._stream(request, audit=False)

    async def audit(self, request: web.BaseRequest) -> web.StreamResponse:
        """Stream the decisions."""
        return await self._stream(request, audit=True)

    async def network_capture(self, request: web.BaseRequest) -> web.StreamResponse:
        """Stream the packets of the window as one pcap file."""
        since, until = _time(request, "since"), _time(request, "until")
        if self._ring is None:
            return problem(404, "Not here", "this sidecar has no ring of packets: it was started without --pcap-dir")
        begin = 0 if since is None else _nanoseconds(since)
        async with aclosing(self._ring.window(begin, _nanoseconds(until or stamp(now())))) as chunks:
            try:
                first = await anext(chunks)
            except NoCapture as error:
                return problem(503, "No packets", str(error))
            answer = web.StreamResponse(headers={"Content-Type": "application/vnd.tcpdump.pcap"})
            await answer.prepare(request)
            await answer.write(first)
            async for chunk in chunks:
                await answer.write(chunk)
            await answer.write_eof()
        return answer

    async def rotate(self, request: web.BaseRequest) -> web.StreamResponse:
        """Close the record's current file."""
        try:
            return _json({"files": await self._record.rotate(), **self._head()})
        except NotRecorded as error:
            return problem(503, "Not rotated", str(error))

    async def metrics(self, request: web.BaseRequest) -> web.StreamResponse:
        """Write Prometheus text; open to all who reach the port."""
        record = self._record
        try:
            free = record.free
        except OSError:
            free = -1
        values = {
            "process_start_time_seconds": self._process.started_at.timestamp(),
            "stopsign_sidecar_in_flight": self._gate.in_flight,
            "stopsign_sidecar_queue": record.queued,
            "stopsign_sidecar_record_failing": int(record.failing is not None),
            "stopsign_sidecar_record_damage": len(record.damage),
            "stopsign_sidecar_record_fsyncs_total": record.fsyncs,
            "stopsign_sidecar_record_fsync_seconds_total": record.fsync_seconds,
            "stopsign_sidecar_disk_free_bytes": free,
            "stopsign_sidecar_upstream_up": int(self._upstream.fresh),
        }
        if self._ring is not None and self._ring.managed:
            values["stopsign_sidecar_network_capture_up"] = int(self._ring.running)
            values["stopsign_sidecar_network_capture_starts_total"] = self._ring.starts
        text = exposition(
            self._counts,
            labels={"avs": self._options.avs, "signer": self._options.node},
            frozen=self._denials.keys,
            up=self._upstream.fresh and record.failing is None,
            values=values,
        )
        return web.Response(text=text, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    def _head(self) -> dict[str, object]:
        return {"instance_id": self._process.instance, "now": stamp(now())}

    def _held(self) -> dict[str, None]:
        """Return the keys that the signer holds as far as is known: those listed last, and those that signed here."""
        held = dict.fromkeys(self._upstream.keys)
        held |= dict.fromkeys(key for key, one in self._counts.keys.items() if one.signatures and _KEY.fullmatch(key))
        unsure = (key for key in self._denials.keys if self._upstream.holds(key) is None)
        return held | dict.fromkeys(unsure)

    def _key(self, key: str) -> dict[str, object]:
        counts, denial = self._counts.keys.get(key), self._denials.of(key)
        signed_at = counts.last_signed_at if counts else None
        asked_at = counts.last_asked_at if counts else None
        return {
            "key": key,
            "state": "frozen" if denial else "signing",
            "counter": counts.signatures if counts else 0,
            "last_signed_at": stamp(signed_at) if signed_at else None,
            "next_duty_at": None,
            "duty_period_seconds": self._options.duty_period,
            "incident": denial.incident if denial else None,
            "last_asked_at": stamp(asked_at) if asked_at else None,
            "denied": counts.results.get("denied", 0) if counts else 0,
        }

    async def _look_for(self, keys: Sequence[str]) -> None:
        """Read the signer's list anew if it names not all of the keys."""
        if any(self._upstream.holds(key) is not True for key in keys):
            await self._upstream.refresh(self._options.drain)

    async def _freeze(self, asked: SetSigning) -> dict[str, str]:
        """Deny at once; return, once no answer can leave any more, what there is to say of keys."""
        self._denials.deny(asked.keys, incident=asked.incident, request=asked.request)
        kept, left = await asyncio.gather(
            self._denials.keep(),
            self._gate.stop_answers(asked.keys, within=self._options.drain),
            return_exceptions=True,
        )
        if isinstance(left, BaseException):
            raise left
        detail = {
            key: f"{n} requests are still at the signer: their answers will be dropped, and are counted as signed"
            for key, n in left.items()
        }
        if isinstance(kept, OSError):
            why = f"!denied now, but not after a restart: the denied keys cannot be written ({kept.strerror or kept})"
            detail = dict.fromkeys(asked.keys, why)
        elif isinstance(kept, BaseException):
            raise kept
        return detail

    def _result(self, key: str, was_frozen: bool, detail: str) -> dict[str, object]:
        """Return the result for a key; a detail that begins with `!` is of an error."""
        frozen = self._denials.of(key) is not None
        state = "frozen" if frozen else "signing"
        result = "unchanged" if was_frozen == frozen else "changed"
        if detail.startswith("!"):
            return {"key": key, "result": "error", "state": state, "detail": detail[1:]}
        counts = self._counts.keys.get(key)
        if self._upstream.holds(key) is False and not (counts and counts.signatures):
            why = f"the signer does not list this key; requests for it are {'denied' if frozen else 'let through'} here"
            return {"key": key, "result": "not_found", "state": None, "detail": why}
        return {"key": key, "result": result, "state": state, **({"detail": detail} if detail else {})}

    async def _stream(self, request: web.BaseRequest, *, audit: bool) -> web.StreamResponse:
        since, until = _time(request, "since"), _time(request, "until") or stamp(now())
        gap = self._record.gap  # before the rest: what is written meanwhile is rather told twice than not
        chunks = text_of(await self._record.parts(), since, until, audit=audit, gap=gap)
        answer = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        first = await asyncio.to_thread(_next, chunks)
        await answer.prepare(request)
        chunk = first
        while chunk:
            await answer.write(chunk)
            chunk = await asyncio.to_thread(_next, chunks)
        await answer.write_eof()
        return answer


def _next(chunks: Iterator[bytes]) -> bytes:
    return next(chunks, b"")


def _json(tree: dict[str, Any]) -> web.Response:
    return web.Response(body=json.dumps(tree, separators=(",", ":")).encode(), content_type="application/json")


async def _body(request: web.BaseRequest) -> dict[str, Any]:
    content = bytearray()
    async for chunk in request.content.iter_any():
        content += chunk
        if len(content) > _BODY_LIMIT:
            raise _Refused("", f"the body is larger than {_BODY_LIMIT} bytes")
    try:
        tree = json.loads(content)
    except (ValueError, RecursionError):
        raise _Refused("", "the body is not JSON") from None
    if not isinstance(tree, dict):
        raise _Refused("", "the body is not a JSON object")
    return tree


def _set_signing(tree: dict[str, Any]) -> SetSigning:
    state, keys = tree.get("state"), tree.get("keys")
    if state not in ("signing", "frozen"):
        raise _Refused("state", "must be signing or frozen")
    if not isinstance(keys, list):
        raise _Refused("keys", 'must be a list, also for one key: write ["0x…"]')
    if not 1 <= len(keys) <= 10_000:
        raise _Refused("keys", "name 1 to 10000 keys: an empty list is never everything")
    keys = [key.lower() if isinstance(key, str) else key for key in keys]
    for n, key in enumerate(keys):
        if not isinstance(key, str) or not _KEY.fullmatch(key) or len(key) > 200:
            raise _Refused(f"keys.{n}", f"{json.dumps(key)[:80]} is not a key: write it as 0x and hexadecimal digits")
    if len(set(keys)) != len(keys):
        raise _Refused("keys", "a key is named twice")
    texts = {}
    for name in ("incident", "request"):
        text = tree.get(name)
        if not isinstance(text, str) or not 1 <= len(text) <= 200:
            raise _Refused(name, "must be a text of 1 to 200 characters")
        texts[name] = text
    return SetSigning(state="frozen" if state == "frozen" else "signing", keys=tuple(keys), **texts)


def _time(request: web.BaseRequest, name: str) -> str | None:
    text = request.query.get(name)
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise _Refused(name, "is no RFC 3339 time") from None
    return stamp(at if at.tzinfo else at.replace(tzinfo=UTC))


def _nanoseconds(text: str) -> int:
    """Return a time as nanoseconds since 1970."""
    return (datetime.fromisoformat(text) - _EPOCH) // timedelta(microseconds=1) * 1000


def _build_hash() -> str:
    """Return the SHA-256 over this package's own files: what runs here."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(f"{path.name} {os.path.getsize(path)}\n".encode() + path.read_bytes())
    return f"sha256:{digest.hexdigest()}"
