"""Floods: a thousand changes, dozens of incidents, and Slack that swallows, limits or fails for seconds on end.

Whatever Slack does: nodes are acted on meanwhile, nothing that people shall read is lost or doubled, and each channel
hears it in order. Slack's own pace is TestPace's and the last test's; elsewhere here it is taken away, for speed.
"""

import asyncio
import heapq
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import text

from bot.chat import pacing
from bot.chat.pacing import Pacer, Wait
from bot.domain import journal as j
from bot.domain.authority import BOT, Actor
from bot.domain.incident import Incident
from bot.domain.playbook import Needs, Verb
from bot.domain.severity import Severity
from bot.domain.target import State
from bot.domain.work import Done, Result, Todo, Work
from bot.flows import answer, intake, outcomes, people, record
from bot.practice.workspace.limits import BLOCKS_MAX, BLOCKS_TEXT_MAX, UPDATE_TEXT_MAX, text_length
from bot.practice.workspace.rates import Rates
from bot.worker import LEASE, Handler, Worker
from tests.chat.conftest import Stage
from tests.fakes import FrozenClock

ADA = Actor(person="ada", via="cli")
BLACK_HOLE: Mapping[str, object] = {"method": "*", "latency_ms": 3_600_000}
"""The request is read, never acted on, and never answered."""
PLACES = 8
"""So many requests to Slack are under way at once: with one channel more than that, all places can be taken."""
TIMEOUT = 2.0
"""Seconds after which our client gives a request up: the client has ten."""


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no pace of our own and little patience, so that what takes Slack minutes takes seconds here."""
    monkeypatch.setattr("bot.chat.pacing.PER_MINUTE", {})
    monkeypatch.setattr("bot.chat.client.TIMEOUT", TIMEOUT)
    monkeypatch.setattr("bot.chat.outbox.LONGEST_PAUSE", 1.0)
    monkeypatch.setattr("bot.chat.client.LATER", 0.2)


# ---- what all tests here do


async def several(stage: Stage, count: int) -> list[Incident]:
    """Open incidents and wait until each has its channel and its header."""
    for n in range(1, count + 1):
        command = intake.Declare(by=ADA, severity=Severity.SEV3, summary=f"trouble {n}", avs=None)
        await stage.room.decide(intake.declare, command)
    for n in range(1, count + 1):
        await stage.until(lambda i: i.header is not None, number=n)
    return [await stage.room.incident(n) for n in range(1, count + 1)]


async def burst(stage: Stage, numbers: Sequence[int], count: int) -> None:
    """Have `count` notes written down, one in each incident in turn."""
    notes = [
        people.AddNote(by=ADA, incident=numbers[n % len(numbers)], text=f"note number {n}.", source="note")
        for n in range(count)
    ]
    await asyncio.gather(*(stage.room.decide(people.add_note, note) for note in notes))


async def quiet(stage: Stage, *, within: float = 20.0) -> None:
    """Wait until nothing that talks is left to do within the next minute."""
    query = text("SELECT count(*) FROM work WHERE state = 'ready' AND kind LIKE '%slack%' AND due_at < :soon")

    def waiting(rows: Any) -> int:
        return int(rows._do(query, {"soon": time.time() + 60}).scalar())

    async with asyncio.timeout(within):
        while await stage.room.ledger.read(waiting):
            await asyncio.sleep(0.03)


async def nothing_lost_or_doubled(stage: Stage, numbers: Sequence[int]) -> int:
    """Check what each channel was told against its journal: the same notes, once each, in order; return how many.

    And that no message of ours, of whatever kind and wherever, stands twice.
    """
    rows = [m for c in (await stage.hands.state())["channels"] for m in c["messages"] if m["metadata"]]
    keys = Counter(m["metadata"]["event_payload"]["key"] for m in rows)
    assert [key for key, times in keys.items() if times > 1] == []
    assert stage.buried == []
    count = 0
    for number in numbers:
        incident = await stage.room.incident(number)
        notes = [w for w in await stage.room.journal(number) if isinstance(w.entry, j.NoteAdded)]
        said = [m for m in await stage.hands.messages(str(incident.channel)) if "note number" in m["text"]]
        posted = [m["metadata"]["event_payload"]["key"] for m in said]
        assert posted == [f"{incident.id}:{w.n}:slack.post:post" for w in notes]
        assert all(w.entry.text in m["text"] for w, m in zip(notes, said, strict=True))  # type: ignore[attr-defined]
        count += len(said)
    return count


def header_of(calls: Sequence[Mapping[str, Any]], incident: Incident) -> list[dict[str, Any]]:
    """Return the arguments of all updates of an incident's header."""
    return [dict(c["args"]) for c in calls if c["args"].get("ts") == incident.header]


@asynccontextmanager
async def also(stage: Stage, kind: str, handler: Handler) -> AsyncIterator[None]:
    """Have the one worker of the block handle a kind that does not talk, besides all that talk."""
    await stage.worker.close()

    async def bury(work: Work, why: str) -> None:
        stage.buried.append((work.key, why))

    worker = Worker(stage.room.claims, {**stage.chat.handlers, kind: handler}, clock=stage.room.clock, buried=bury)
    stage.room.database.on_commit(worker.wake)
    task = asyncio.create_task(worker.run())
    try:
        yield
    finally:
        await worker.close()
        await task


# ---- a thousand changes


async def freezing(stage: Stage, count: int) -> tuple[Incident, list[str]]:
    """Begin a freeze of so many targets; return its incident and their names."""
    incident = await stage.opened()
    nodes = [f"n{n:04}" for n in range(count)]
    planned = j.StepPlanned(
        step="freeze-9", verb=Verb.FREEZE, targets=tuple(nodes), needs=Needs.ONE, reason="x", automatic=False, digest=""
    )
    started = j.StepStarted(step="freeze-9", verb=Verb.FREEZE, targets=tuple(nodes), attempt=1)
    for entry in (planned, started):
        await stage.room.decide(record.note, record.Note(by=BOT, incident=1, entry=entry))
    await quiet(stage)
    return incident, nodes


async def reported(
    stage: Stage, nodes: Sequence[str], state: State, *, at_once: int = 1, watched: bool = False
) -> None:
    """Have every target's outcome written down, `at_once` targets a decision."""
    for start in range(0, len(nodes), at_once):
        some = tuple(
            j.TargetReport(node=n, state=state, detail="so it says", watched=watched)
            for n in nodes[start : start + at_once]
        )
        command = outcomes.Report(by=BOT, incident=1, step="freeze-9", verb=Verb.FREEZE, reports=some)
        await stage.room.decide(outcomes.report, command)


class TestAThousandTargets:
    """With the pace of one channel: one message a second, or else the header would follow each change."""

    @pytest.fixture
    def spacing(self) -> float:
        """Seconds between two messages in one channel."""
        return 1.0

    async def test_a_thousand_changes_are_a_handful_of_updates_and_the_last_shows_how_it_ended(
        self, stage: Stage
    ) -> None:
        incident, nodes = await freezing(stage, 1_000)
        said = len(await stage.hands.messages(str(incident.channel)))
        before = len(await stage.hands.calls("chat.update"))
        began = time.monotonic()
        await reported(stage, nodes, State.ACKNOWLEDGED, at_once=20)
        seconds = time.monotonic() - began
        await quiet(stage)
        updates = header_of((await stage.hands.calls("chat.update"))[before:], incident)
        assert 1 <= len(updates) <= seconds + 3
        assert len(await stage.hands.messages(str(incident.channel))) == said
        shown = await stage.message(str(incident.channel), str(incident.header))
        assert "1,000 acknowledged" in str(shown["blocks"])
        assert "requested" not in str(shown["blocks"])
        for block_list in (u["blocks"] for u in updates):
            assert len(block_list) <= BLOCKS_MAX["message"]
            assert text_length(block_list) <= BLOCKS_TEXT_MAX
        assert all(len(u["text"]) <= UPDATE_TEXT_MAX for u in updates)

    async def test_a_thousand_proofs_that_come_one_by_one_do_not_flood_the_channel(self, stage: Stage) -> None:
        _, nodes = await freezing(stage, 1_000)
        await reported(stage, nodes, State.ACKNOWLEDGED, at_once=500)
        await quiet(stage)
        await reported(stage, nodes, State.VERIFIED, at_once=20, watched=True)
        assert await waiting_to_be_said(stage) <= 10

    async def test_a_thousand_failures_that_come_one_by_one_do_not_page_everybody_a_thousand_times(
        self, stage: Stage
    ) -> None:
        _, nodes = await freezing(stage, 1_000)
        before = (await stage.room.kinds()).count("Paged")
        await reported(stage, nodes, State.UNKNOWN, at_once=20, watched=True)
        assert (await stage.room.kinds()).count("Paged") - before <= 10


async def waiting_to_be_said(stage: Stage) -> int:
    """Return how many messages wait for their turn."""
    query = text("SELECT count(*) FROM work WHERE state = 'ready' AND kind = 'slack.post'")
    return await stage.room.ledger.read(lambda rows: int(rows._do(query).scalar()))  # type: ignore[attr-defined]


# ---- Slack that swallows


async def test_while_slack_swallows_everything_a_step_still_runs_at_once_and_later_all_is_told_in_order(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.worker.TALK_AT_ONCE", PLACES)
    ran: list[float] = []

    async def step(work: Work) -> Result:
        ran.append(time.monotonic())
        return Done()

    numbers = [i.number for i in await several(stage, PLACES + 1)]
    await quiet(stage)
    async with also(stage, "step.practice", step):
        before = len(await stage.hands.calls())
        await stage.hands.fail(BLACK_HOLE)
        await burst(stage, numbers, 200)
        await _all_talk_is_stuck(stage, PLACES)
        delays = []
        for n in range(4):
            asked = time.monotonic()
            todo = Todo(key=f"practice:{n}", kind="step.practice", incident=1, priority=1)
            await stage.room.decide(answer.say_all, answer.SayAll(by=BOT, todo=(todo,)))
            async with asyncio.timeout(5):
                while len(ran) <= n:
                    await asyncio.sleep(0.005)
            delays.append(ran[n] - asked)
            await asyncio.sleep(0.2)  # so that one falls due before, and one after, the first requests are given up
        assert max(delays) < 1.0
        assert len(await stage.hands.calls()) == before
        await stage.hands.fail()
        await quiet(stage)
    assert await nothing_lost_or_doubled(stage, numbers) == 200


async def _all_talk_is_stuck(stage: Stage, places: int) -> None:
    """Wait until so many places for talk are taken by requests that get no answer."""
    query = text("SELECT count(*) FROM work WHERE state = 'ready' AND lease_until > :now")

    def held(rows: Any) -> int:
        return int(rows._do(query, {"now": time.time()}).scalar())

    async with asyncio.timeout(5):
        while await stage.room.ledger.read(held) < places:
            await asyncio.sleep(0.01)


async def test_a_worker_that_ends_gives_back_what_it_holds_and_the_next_one_goes_on_at_once(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.worker.GRACE", 0.1)
    numbers = [i.number for i in await several(stage, 3)]
    await quiet(stage)
    await stage.hands.fail(BLACK_HOLE)
    await burst(stage, numbers, 9)
    await _all_talk_is_stuck(stage, 3)
    async with also(stage, "step.practice", lambda _: asyncio.sleep(0, Done())):  # the first worker ends here
        await stage.hands.fail()
        await quiet(stage, within=LEASE.total_seconds() / 2)
    assert await nothing_lost_or_doubled(stage, numbers) == 9


@pytest.mark.parametrize(
    "rules",
    [
        [{"method": "chat.*", "ratelimit": 1}],
        [{"method": "chat.*", "http_500": True}],
        [
            {"method": "chat.postMessage", "count": 4, "drop_after_processing": True},
            {"method": "chat.*", "count": 12, "http_500": True},
            {"method": "chat.postMessage", "count": 2, "drop_after_processing": True},
            {"method": "chat.*", "count": 3, **{k: v for k, v in BLACK_HOLE.items() if k != "method"}},
            {"method": "chat.postMessage", "drop_after_processing": True},
        ],
    ],
    ids=["Slack limits us", "Slack answers 500", "answers get lost, then 500, then silence, then answers get lost"],
)
async def test_after_seconds_of_trouble_everything_is_told_once_and_in_order(
    stage: Stage, rules: Sequence[Mapping[str, object]]
) -> None:
    numbers = [i.number for i in await several(stage, 5)]
    await quiet(stage)
    began = time.time()
    await stage.hands.fail(*rules)
    for _ in range(5):
        await burst(stage, numbers, 6)
        await asyncio.sleep(0.4)  # that is how the stream of decisions comes, whatever becomes of it
    await stage.hands.fail()
    await quiet(stage)
    assert await nothing_lost_or_doubled(stage, numbers) == 30
    _waits_were_kept([c for c in await stage.hands.calls() if c["at"] >= began])


def _waits_were_kept(calls: Sequence[Mapping[str, Any]]) -> None:
    """Check that no method was called again in a channel before the time that Slack named for it was over."""
    until: dict[tuple[str, str], float] = {}
    for call in calls:
        where = call["method"], str(call["args"].get("channel"))
        assert call["at"] >= until.get(where, 0.0) - 0.01, f"{where} was called before its time"
        if call["retry_after"] is not None:
            until[where] = call["at"] + float(call["retry_after"])


# ---- order


async def test_bursts_of_thirty_into_one_channel_and_into_five_at_once_keep_each_channels_order(stage: Stage) -> None:
    numbers = [i.number for i in await several(stage, 5)]
    await burst(stage, numbers[:1], 30)
    await burst(stage, numbers, 30)
    await quiet(stage)
    assert await nothing_lost_or_doubled(stage, numbers) == 60
    for number, count in zip(numbers, (36, 6, 6, 6, 6), strict=True):
        incident = await stage.room.incident(number)
        said = [m for m in await stage.hands.messages(str(incident.channel)) if "note number" in m["text"]]
        assert len(said) == count
        assert all(float(a["ts"]) < float(b["ts"]) for a, b in pairwise(said))
        stated = [int(m["text"].split("note number ")[1].split(".")[0]) for m in said][-6:]
        assert stated == sorted(stated)


# ---- the pace of a whole workspace


@pytest.mark.parametrize(
    ("method", "each"),
    [("chat.update", 3), ("chat.postMessage", 4), ("conversations.create", 1)],
    ids=["headers of 50 incidents, changed 3 times", "4 messages in each of 50 channels", "50 channels to open"],
)
async def test_fifty_incidents_at_once_never_make_slack_say_too_many(
    monkeypatch: pytest.MonkeyPatch, method: str, each: int
) -> None:
    monkeypatch.undo()  # here it is about our own pace
    assert pacing.PER_MINUTE
    clock = FrozenClock()
    began = clock.now()
    pacer, slack = Pacer(clock), Rates(clock=lambda: clock.now().timestamp(), on=True)
    turns = [(0.0, n, f"C{n % 50}" if method.startswith("chat.") else "") for n in range(50 * each)]
    heapq.heapify(turns)
    sent: list[float] = []
    while turns:
        due, n, channel = heapq.heappop(turns)
        clock.at = max(clock.at, began + timedelta(seconds=due))
        try:
            pacer.turn(method, channel)
        except Wait as wait:
            heapq.heappush(turns, ((clock.now() - began).total_seconds() + wait.after + 0.001, n, channel))
            continue
        assert slack.wait_for(method, channel) == 0
        sent.append((clock.now() - began).total_seconds())
    assert len(sent) == 50 * each
    limit = pacing.PER_MINUTE[method]
    assert all(sum(at <= other < at + 60 for other in sent) <= limit for at in sent)
    assert sent[-1] <= len(sent) / limit * 60 * 2 + 1, "that is less than half of what Slack lets through"
