"""Slack in trouble for minutes, at its real length: decisions and freezes go on, and afterwards everything is told.

`make soak` runs it; `make test` does not. SOAK_MINUTES is the length of each outage, ten unless told.
"""

import asyncio
import logging
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from bot.domain import journal as j
from bot.domain.authority import Actor
from bot.domain.inventory import Capability, Node
from bot.domain.playbook import Verb
from bot.domain.policy import Policy
from bot.domain.severity import Severity
from bot.domain.target import Reply, Sample
from bot.domain.work import Work
from bot.flows import intake, people, respond
from bot.steps.evidence import Keeper
from bot.steps.freeze import Freezer
from bot.vault.folder import Folder
from bot.worker import Worker
from tests.chat.conftest import Stage, staged
from tests.fakes import FakeSigner

MINUTES = float(os.environ.get("SOAK_MINUTES", "10"))
INCIDENTS = 5
EVERY = 1.0
"""Seconds between two decisions."""
FREEZE_EVERY = 10.0
"""Seconds between two freezes that a person asks for."""
ADA = Actor(person="ada", via="cli")
OUTAGES: Mapping[str, Sequence[Mapping[str, object]]] = {
    "429, Retry-After 30": [{"method": "*", "ratelimit": 30}],
    "500 to everything": [{"method": "*", "http_500": True}],
    "black hole": [{"method": "*", "latency_ms": 3_600_000}],
}


class Timed(FakeSigner):
    """Obeys, and knows when it was asked and looked at."""

    frozen_at: float | None = None

    def __init__(self, clock: Any) -> None:
        super().__init__(clock)
        self.looks: list[float] = []

    async def freeze(self, keys: Sequence[str], *, incident: str, request: str) -> Reply:
        """Stop signing."""
        self.frozen_at = self.frozen_at or time.monotonic()
        return await super().freeze(keys, incident=incident, request=request)

    async def sample(self, keys: Sequence[str]) -> Sample:
        """Read the counters."""
        self.looks.append(time.monotonic())
        return await super().sample(keys)


class Signers:
    """A fleet with a signer for each node."""

    def __init__(self, clock: Any) -> None:
        self._clock = clock
        self.by_node: dict[str, Timed] = {}

    def reach(self, node: Node, capability: Capability) -> object | None:
        """Return the node's signer."""
        if capability is not Capability.SIGNER:
            return None
        return self.by_node.setdefault(node.name, Timed(self._clock))


@dataclass
class Figures:
    """What one outage came to."""

    decisions: int = 0
    slowest_decision: float = 0.0
    freezes: list[float] = field(default_factory=list)
    looks: int = 0
    waiting: int = 0
    calls: int = 0
    drain: float = 0.0
    posted: int = 0


_TABLE: list[tuple[str, Figures]] = []


@pytest.fixture(scope="module", autouse=True)
def table() -> Any:
    """Print the figures of all outages at the end."""
    yield
    heads = (
        "outage",
        "decisions",
        "slowest",
        "freezes",
        "slowest",
        "looks",
        "calls",
        "waiting",
        "drained in",
        "messages",
    )
    rows = [
        (
            name,
            f"{f.decisions}",
            f"{f.slowest_decision * 1000:.0f} ms",
            f"{len(f.freezes)}",
            f"{max(f.freezes) * 1000:.0f} ms",
            f"{f.looks}",
            f"{f.calls}",
            f"{f.waiting}",
            f"{f.drain:.0f} s",
            f"{f.posted}",
        )
        for name, f in _TABLE
    ]
    print(
        f"\n\n{datetime.now(UTC):%Y-%m-%d}, {MINUTES:g} minutes each\n\n| {' | '.join(heads)} |\n|{'---|' * len(heads)}"
    )
    for row in rows:
        print(f"| {' | '.join(row)} |")


@asynccontextmanager
async def with_steps(stage: Stage, signers: Signers, folder: Path) -> AsyncIterator[None]:
    """Have one worker that does everything: talk, and freeze for real."""
    await stage.worker.close()
    ledger = stage.room.ledger
    freezer = Freezer(ledger, signers, Keeper(ledger, Folder(folder)))
    handlers = {
        **stage.chat.handlers,
        "step.freeze": freezer.step,
        "freeze.watch": freezer.watch,
    }

    async def bury(work: Work, why: str) -> None:
        stage.buried.append((work.key, why))

    worker = Worker(stage.room.claims, handlers, clock=stage.room.clock, buried=bury)
    stage.room.database.on_commit(worker.wake)
    task = asyncio.create_task(worker.run())
    try:
        yield
    finally:
        await worker.close()
        await task


@pytest.mark.parametrize("outage", OUTAGES)
async def test_nothing_is_lost_or_doubled_and_freezes_go_on_through(tmp_path: Path, outage: str) -> None:
    policy = Policy(stakeholder_channel=None, reprove_every=timedelta(seconds=15))
    async with staged(tmp_path, 1.0, policy) as stage:
        signers = Signers(stage.room.clock)
        async with with_steps(stage, signers, tmp_path / "evidence"):
            await _opened(stage)
            figures = Figures()
            before = len(await stage.hands.calls())
            await stage.hands.fail(*OUTAGES[outage])
            ends = time.monotonic() + MINUTES * 60
            await asyncio.gather(_decides(stage, ends, figures), _freezes(stage, signers, ends, figures))
            figures.looks = sum(len(s.looks) for s in signers.by_node.values())
            figures.waiting = await _waiting(stage)
            during = (await stage.hands.calls())[before:]
            figures.calls = len(during)
            await stage.hands.fail()
            began = time.monotonic()
            await _drained(stage)
            figures.drain = time.monotonic() - began
        figures.posted = await _checked(stage)
        # What was swallowed is still held by the workspace: that its server cuts it off at the end is no news.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        _retry_after_was_kept(await stage.hands.calls())
    _TABLE.append((outage, figures))
    assert not [c for c in during if c["status"] == 200]
    assert figures.slowest_decision < 1.0
    assert max(figures.freezes) < 2.0
    _watched_all_along(signers, MINUTES * 60)


async def _opened(stage: Stage) -> None:
    for n in range(1, INCIDENTS + 1):
        command = intake.Declare(by=ADA, severity=Severity.SEV2, summary=f"trouble {n}", avs=None)
        await stage.room.decide(intake.declare, command)
    async with asyncio.timeout(120):
        for n in range(1, INCIDENTS + 1):
            while (await stage.room.incident(n)).header is None:
                await asyncio.sleep(0.1)
    await _drained(stage)


async def _decides(stage: Stage, ends: float, figures: Figures) -> None:
    """Write a note down each second, in one incident after the other."""
    while time.monotonic() < ends:
        began = time.monotonic()
        number = figures.decisions % INCIDENTS + 1
        note = people.AddNote(by=ADA, incident=number, text=f"note number {figures.decisions}.", source="note")
        await stage.room.decide(people.add_note, note)
        figures.slowest_decision = max(figures.slowest_decision, time.monotonic() - began)
        figures.decisions += 1
        await asyncio.sleep(max(0.0, EVERY - (time.monotonic() - began)))


async def _freezes(stage: Stage, signers: Signers, ends: float, figures: Figures) -> None:
    """Have a person freeze one more node every ten seconds; take the time until its signer is asked."""
    nodes = iter(f"s{n:02}" for n in range(1, 21))
    while time.monotonic() < ends and (node := next(nodes, None)):
        began = time.monotonic()
        number = len(figures.freezes) % INCIDENTS + 1
        command = respond.Request(by=ADA, incident=number, verb=Verb.FREEZE, targets=(node,), reason="x")
        await stage.room.decide(respond.request, command)
        async with asyncio.timeout(30):
            while (found := signers.by_node.get(node)) is None or found.frozen_at is None:
                await asyncio.sleep(0.005)
        figures.freezes.append(found.frozen_at - began)
        await asyncio.sleep(max(0.0, FREEZE_EVERY - (time.monotonic() - began)))


def _watched_all_along(signers: Signers, seconds: float) -> None:
    """Check that every frozen signer was looked at again and again, with no gap of more than a minute."""
    for signer in signers.by_node.values():
        assert signer.looks
        gaps = [b - a for a, b in zip(signer.looks, signer.looks[1:], strict=False)]
        assert max(gaps, default=0.0) < 60.0


async def _waiting(stage: Stage) -> int:
    query = text("SELECT count(*) FROM work WHERE state = 'ready' AND kind LIKE '%slack%' AND due_at < :soon")
    at = {"soon": time.time() + 120}
    return await stage.room.ledger.read(lambda rows: int(rows._do(query, at).scalar()))  # type: ignore[attr-defined]


async def _drained(stage: Stage) -> None:
    """Wait until nothing is left to be told; as long as twice the pace of the slowest channel would take."""
    async with asyncio.timeout(120 + MINUTES * 60 * 3):
        while await _waiting(stage):
            await asyncio.sleep(0.2)


async def _checked(stage: Stage) -> int:
    """Compare what each channel was told with its journal: once each, in order; return how many messages."""
    assert stage.buried == []
    rows = [m for c in (await stage.hands.state())["channels"] for m in c["messages"] if m["metadata"]]
    keys = Counter(m["metadata"]["event_payload"]["key"] for m in rows)
    assert [key for key, times in keys.items() if times > 1] == []
    for number in range(1, INCIDENTS + 1):
        incident = await stage.room.incident(number)
        shown = [m for m in await stage.hands.messages(str(incident.channel)) if m["metadata"]]
        said = [key for m in shown if (key := m["metadata"]["event_payload"]["key"]).endswith(":slack.post:post")]
        assert said == await _to_be_said(stage, number)
        spoken = [int(key.split(":")[1]) for key in said]
        assert spoken == sorted(spoken)
        assert {w.n for w in await stage.room.journal(number) if isinstance(w.entry, j.NoteAdded)} <= set(spoken)
    return len(rows)


async def _to_be_said(stage: Stage, number: int) -> list[str]:
    """Return the keys of all messages of an incident's channel in the order in which they were decided."""
    query = text("SELECT key FROM work WHERE kind = 'slack.post' AND incident = :number ORDER BY id")

    def keys(rows: Any) -> list[str]:
        return [row.key for row in rows._do(query, {"number": number})]

    return await stage.room.ledger.read(keys)


def _retry_after_was_kept(calls: Sequence[Mapping[str, Any]]) -> None:
    """Check that no method was called again in a channel before the time that Slack named was over."""
    until: dict[tuple[str, str], float] = {}
    for call in calls:
        where = call["method"], str(call["args"].get("channel"))
        assert call["at"] >= until.get(where, 0.0) - 0.01, f"{where} was called before its time"
        if call["retry_after"] is not None:
            until[where] = call["at"] + float(call["retry_after"])
