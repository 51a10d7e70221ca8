"""The guard: what Slack did not sign, or signed before, does not get in; and nothing ever makes a 500."""

import asyncio
from collections.abc import MutableMapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bot.chat.guard import BODY_MAX, Replays, SlackGuard
from tests.chat.conftest import SECRET, signed

NOW = datetime(2026, 11, 20, 3, 0, tzinfo=UTC)
BODY = b"payload=%7B%7D"
GOOD = signed(BODY, at=NOW.timestamp())
SIGNATURE = GOOD["x-slack-signature"]
STAMP = GOOD["x-slack-request-timestamp"]


class Inner:
    """The application behind the guard."""

    def __init__(self, status: int = 200) -> None:
        self.bodies: list[bytes] = []
        self.status = status

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Note the body and answer."""
        self.bodies.append((await receive())["body"])
        await asyncio.sleep(0.01)
        await send({"type": "http.response.start", "status": self.status, "headers": []})
        await send({"type": "http.response.body", "body": b"said once"})


async def request(
    guard: SlackGuard, headers: list[tuple[bytes, bytes]], body: bytes = BODY, method: str = "POST", chunk: int = 65536
) -> tuple[int, bytes]:
    """Send one request through the guard and return status and body."""
    parts = [body[i : i + chunk] for i in range(0, len(body), chunk)] or [b""]
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        part = parts.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(parts)}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    await guard({"type": "http", "method": method, "headers": headers, "path": "/slack/events"}, receive, send)
    return int(sent[0]["status"]), sent[1]["body"]


def headers(signature: str | bytes = SIGNATURE, stamp: str | bytes = STAMP) -> list[tuple[bytes, bytes]]:
    """Return the two headers as bytes."""
    raw = [v if isinstance(v, bytes) else v.encode() for v in (signature, stamp)]
    return [(b"x-slack-signature", raw[0]), (b"X-Slack-Request-Timestamp", raw[1])]


def guard_of(inner: Inner, now: datetime = NOW) -> SlackGuard:
    """Return a guard whose clock stands."""
    return SlackGuard(inner, SECRET, lambda: now)


@pytest.mark.parametrize(
    "given",
    [
        [],
        headers()[:1],
        headers()[1:],
        [*headers(), headers()[0]],
        [*headers(), headers()[1]],
        headers(signature=""),
        headers(signature="v0=" + "0" * 64),
        headers(signature="v1=" + SIGNATURE[3:]),
        headers(signature=SIGNATURE.upper()),
        headers(signature=SIGNATURE + "\n"),
        headers(signature="v0=" + "é" * 64),
        headers(signature=b"v0=" + b"\xff" * 64),
        headers(signature="v0=" + "a" * 500_000),
        headers(stamp=""),
        headers(stamp="abc"),
        headers(stamp="1.5e9"),
        headers(stamp="-5"),
        headers(stamp="9" * 5000),
        headers(stamp="٣" * 10),
        headers(stamp=b"\xff\xfe"),
        headers(stamp=str(int(NOW.timestamp()) - 301)),
        headers(stamp=str(int(NOW.timestamp()) + 301)),
        headers(stamp=str(int(NOW.timestamp()) - 1)),
    ],
)
async def test_what_is_not_signed_is_401_and_reaches_nobody(given: list[tuple[bytes, bytes]]) -> None:
    inner = Inner()
    assert (await request(guard_of(inner), given))[0] == 401
    assert inner.bodies == []


async def test_another_body_under_a_good_signature_is_401() -> None:
    inner = Inner()
    assert (await request(guard_of(inner), headers(), BODY + b" "))[0] == 401
    assert inner.bodies == []


async def test_a_good_request_gets_in_whole() -> None:
    inner = Inner()
    body = b"x" * 300_000
    given = signed(body, at=NOW.timestamp())
    made = headers(given["x-slack-signature"], given["x-slack-request-timestamp"])
    assert await request(guard_of(inner), made, body) == (200, b"said once")
    assert inner.bodies == [body]


async def test_a_body_over_the_limit_is_413_whether_it_says_so_or_not() -> None:
    inner = Inner()
    assert (await request(guard_of(inner), headers(), b"x" * (BODY_MAX + 1)))[0] == 413
    declared = [*headers(), (b"content-length", str(BODY_MAX + 1).encode())]
    assert (await request(guard_of(inner), declared))[0] == 413
    assert inner.bodies == []


async def test_only_its_own_path() -> None:
    sent: list[MutableMapping[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "headers": headers(), "path": "/slack/other"}
    await guard_of(Inner())(scope, lambda: asyncio.sleep(0, {}), send)
    assert sent[0]["status"] == 404


async def test_only_post() -> None:
    assert (await request(guard_of(Inner()), headers(), method="GET"))[0] == 405


async def test_the_same_request_twice_has_one_effect_and_the_same_status_even_at_once() -> None:
    inner = Inner(status=202)
    guard = guard_of(inner)
    first, second = await asyncio.gather(request(guard, headers()), request(guard, headers()))
    third = await request(guard, headers())
    assert (first, second, third) == ((202, b"said once"), (202, b""), (202, b""))
    assert len(inner.bodies) == 1


async def test_what_failed_may_be_sent_again() -> None:
    inner = Inner(status=503)
    guard = guard_of(inner)
    await request(guard, headers())
    await request(guard, headers())
    assert len(inner.bodies) == 2


async def test_replays_are_forgotten_after_their_time_and_never_more_than_so_many() -> None:
    replays = Replays(keep=timedelta(minutes=10), most=3)
    assert replays.first(b"a", NOW) is None
    assert replays.first(b"a", NOW + timedelta(minutes=9)) is not None
    assert replays.first(b"a", NOW + timedelta(minutes=11)) is None
    for name in (b"b", b"c", b"d", b"e"):
        assert replays.first(name, NOW + timedelta(minutes=11)) is None
    assert len(replays._seen) == 3
