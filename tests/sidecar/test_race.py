"""A freeze that lands while requests are at the signer: no answer leaves once the freeze is acknowledged."""

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from bot.sidecar import gate as gate_module
from bot.sidecar.control import Control
from bot.sidecar.denials import Denials
from bot.sidecar.record import Record
from tests.sidecar.bench import KEYS, Place, attestation, place

A, B = KEYS[:2]
MANY = 20


async def in_flight(it: Place, count: int = MANY) -> list[asyncio.Task[Any]]:
    """Begin requests for A, and one for B, and wait until all are at the signer."""
    tasks = [asyncio.create_task(it.sign(A, attestation(n))) for n in range(count)]
    tasks.append(asyncio.create_task(it.sign(B, attestation(0))))
    async with asyncio.timeout(5):
        while it.signer.asked <= count:
            await asyncio.sleep(0.005)
    return tasks


async def test_a_freeze_that_cannot_wait_counts_what_is_out_and_drops_it(tmp_path: Path) -> None:
    async with place(tmp_path, drain=0.1) as it:
        it.signer.delay = 1.0
        tasks = await in_flight(it)
        told = await it.put("frozen", A)
        assert not any(task.done() for task in tasks), "the freeze did not wait for the signer"
        assert f"{MANY} requests are still at the signer" in told.json()["results"][0]["detail"]
        counter = (await it.key(A))["counter"]
        assert counter == MANY
        answers = await asyncio.gather(*tasks)
        assert [one.status for one in answers] == [412] * MANY + [200]
        assert it.signer.signed[A] == MANY
        assert (await it.key(A))["counter"] == counter, "a counter must not rise after the freeze"
        messages = await it.lines("messages")
        assert [one.get("withheld") for one in messages if one["key"] == A] == [True] * MANY
        assert [one.get("withheld") for one in messages if one["key"] == B] == [None]


async def test_a_freeze_that_can_wait_tells_the_exact_counter(tmp_path: Path) -> None:
    async with place(tmp_path, drain=5) as it:
        it.signer.delay = 0.4
        tasks = await in_flight(it)
        told = await it.put("frozen", A)
        answers = await asyncio.gather(*tasks)
        assert [one.status for one in answers][:MANY] == [412] * MANY
        assert "detail" not in told.json()["results"][0]
        assert (await it.key(A))["counter"] == it.signer.signed[A] == MANY


async def test_a_signer_that_never_answers_does_not_hold_the_freeze_up(tmp_path: Path) -> None:
    async with place(tmp_path, drain=0.1, upstream_timeout=1) as it:
        it.signer.delay = 30
        tasks = await in_flight(it, 3)
        assert (await it.put("frozen", A)).json()["results"][0]["state"] == "frozen"
        assert [one.status for one in await asyncio.gather(*tasks)] == [504] * 4
        assert (await it.key(A))["counter"] == 3


async def test_a_request_that_is_being_recorded_when_the_freeze_lands_is_not_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with place(tmp_path) as it:
        go_on = asyncio.Event()
        real = Record.durable

        async def slow(self: Any, entry: Any) -> None:
            await real(self, entry)
            await go_on.wait()

        monkeypatch.setattr(Record, "durable", slow)
        asked = asyncio.create_task(it.sign(A, attestation(1)))
        while not await it.lines("audit"):
            await asyncio.sleep(0.01)
        frozen = asyncio.create_task(it.put("frozen", A))
        while (await it.key(A))["state"] == "signing":
            await asyncio.sleep(0.01)
        go_on.set()
        assert (await frozen).json()["results"][0] == {"key": A, "result": "changed", "state": "frozen"}
        assert (await asked).status == 412
        assert it.signer.asked == 0
        assert (await it.key(A))["counter"] == 0
        assert [one["decision"] for one in await it.lines("audit")] == ["allowed", "denied"]
        assert await it.lines("messages") == []


async def test_an_answer_that_is_stuck_on_its_way_out_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that does not read: its answer is in this process's buffer when the freeze lands."""
    async with place(tmp_path, drain=1) as it:
        stuck = asyncio.Event()
        real = web.Response.write_eof

        async def never(self: web.Response, data: bytes = b"") -> None:
            if self.status == 200 and not isinstance(self._req, web.Request) and self.content_type.endswith("/json"):
                stuck.set()
                while self._req is not None and self._req.transport is not None:
                    await asyncio.sleep(0.01)
                raise ConnectionResetError
            await real(self, data)

        monkeypatch.setattr(web.Response, "write_eof", never)
        reply = asyncio.create_task(it.sign(A, attestation(1)))
        await asyncio.wait_for(stuck.wait(), 5)
        monkeypatch.setattr(web.Response, "write_eof", real)
        assert (await it.put("frozen", A)).status_code == 200
        assert (await asyncio.wait_for(reply, 2)).status == 0


async def test_in_any_order_nothing_leaves_between_a_freeze_and_the_next_thaw(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twenty freezes and thaws at random moments of a heavy load, judged where the bytes leave."""
    events: list[tuple[str, str]] = []
    delivered, freeze, allow = gate_module._delivered, Control._freeze, Denials.allow

    async def leaves(told: Any, flight: Any, request: Any) -> Any:
        events.append(("left", flight.key))
        return await delivered(told, flight, request)

    async def freezes(self: Any, asked: Any) -> Any:
        done = await freeze(self, asked)
        events.extend(("frozen", key) for key in asked.keys)
        return done

    async def allows(self: Any, keys: Any, *, request: str) -> None:
        events.extend(("thawing", key) for key in keys)
        await allow(self, keys, request=request)

    monkeypatch.setattr(gate_module, "_delivered", leaves)
    monkeypatch.setattr(Control, "_freeze", freezes)
    monkeypatch.setattr(Denials, "allow", allows)
    dice = random.Random(7)
    async with place(tmp_path, drain=0.02) as it:

        async def load(key: str) -> None:
            for number in range(100_000):
                it.signer.delay = dice.choice((0, 0, 0.005, 0.03))
                if (await it.sign(key, attestation(number))).status == 412:
                    await asyncio.sleep(0.01)

        workers = [asyncio.create_task(load(key)) for key in KEYS for _ in range(4)]
        for turn in range(20):
            await it.put("frozen", *KEYS[: 1 + turn % 3], request=f"f{turn}")
            counters = [(await it.key(key))["counter"] for key in KEYS[: 1 + turn % 3]]
            await asyncio.sleep(dice.random() * 0.05)
            assert [(await it.key(key))["counter"] for key in KEYS[: 1 + turn % 3]] == counters
            await it.put("signing", *KEYS[:3], request=f"s{turn}")
            await asyncio.sleep(dice.random() * 0.05)
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    frozen: set[str] = set()
    for what, key in events:
        if what == "frozen":
            frozen.add(key)
        elif what == "thawing":
            frozen.discard(key)
        else:
            assert key not in frozen
    assert [what for what, _ in events].count("left") > 100
    assert any(answer.status == 412 for _, answer in it.answers)
    assert not {answer.status for key, answer in it.answers if key == KEYS[3]} - {200, 0}, "the fourth was never frozen"
