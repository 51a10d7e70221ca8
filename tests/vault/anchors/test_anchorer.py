"""Handing checkpoints over as work: outages, recovery, being killed, no loop. The ledger is real, anchors are not."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest

from bot.domain.authority import BOT
from bot.domain.journal import AnchorBack, AnchorLost, Written
from bot.domain.work import Again, Done, Result, Work
from bot.errors import NotCommitted, StopsignError
from bot.flows import anchors, halt
from bot.steps.anchor import FIRST_PAUSE, LONGEST_PAUSE, Anchorer, Held, due
from bot.vault.anchors import AnchorError
from bot.worker import Worker
from tests.fakes import START, Room, person

EVERY = timedelta(minutes=10)
CHATTER = (AnchorLost, AnchorBack)


@dataclass
class Row:
    name: str
    kind: str
    size: int
    note: str
    at: datetime
    proof: bytes


@dataclass
class FakeCheckpoints:
    """The store's side; `leaves` are the kinds of the log's entries, each of them covered by the newest checkpoint."""

    leaves: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    refuses: bool = False

    async def newest(self) -> tuple[int, str] | None:
        return (len(self.leaves), f"note {len(self.leaves)}") if self.leaves else None

    async def news(self) -> int:
        about = {kind.__name__ for kind in CHATTER}
        return max((n for n, kind in enumerate(self.leaves, 1) if kind not in about), default=0)

    async def held(self) -> Mapping[str, Held]:
        return {row.name: Held(size=row.size, at=row.at) for row in sorted(self.rows, key=lambda row: row.size)}

    async def anchored(self, name: str) -> int:
        return max((row.size for row in self.rows if row.name == name), default=0)

    async def add(self, name: str, kind: str, size: int, note: str, at: datetime, proof: bytes) -> None:
        if self.refuses:
            raise NotCommitted("the disk is full")
        if await self.anchored(name) < size:
            self.rows.append(Row(name, kind, size, note, at, proof))


@dataclass
class FakeAnchor:
    """Takes checkpoints while `down` is None."""

    name: str = "tsa"
    kind: str = "rfc3161"
    down: Exception | None = None
    taken: list[int] = field(default_factory=list)
    tried: int = 0

    async def anchor(self, note: str, size: int) -> bytes:
        self.tried += 1
        if self.down is not None:
            raise self.down
        assert note == f"note {size}"
        self.taken.append(size)
        return f"proof {size}".encode()


class Flapping(FakeAnchor):
    """Fails each first time and takes the checkpoint when asked again."""

    async def anchor(self, note: str, size: int) -> bytes:
        self.down = AnchorError("busy") if self.tried % 2 == 0 else None
        return await super().anchor(note, size)


class Desk:
    """An anchorer with its worker, in the incident room's clock. What is journalled becomes part of the log."""

    def __init__(self, room: Room, *anchors: FakeAnchor) -> None:
        self.room = room
        self.checkpoints = FakeCheckpoints()
        self.anchorer = Anchorer(room.ledger, self.checkpoints, anchors, every=EVERY)
        self.buried: list[str] = []
        self._sequenced = 0

    async def entries(self) -> list[str]:
        """Return what the watch's journal says of anchors, as `lost tsa` and `back tsa`."""
        return [
            f"{'lost' if isinstance(w.entry, AnchorLost) else 'back'} {w.entry.anchor}"
            for w in await self.room.journal(None)
            if isinstance(w.entry, AnchorLost | AnchorBack)
        ]

    def news(self, count: int = 1) -> None:
        self.checkpoints.leaves += ["NoteAdded"] * count

    async def sequence(self) -> None:
        """Take what was journalled meanwhile into the log."""
        journal: tuple[Written, ...] = await self.room.journal(None)
        self.checkpoints.leaves += [type(w.entry).__name__ for w in journal[self._sequenced :]]
        self._sequenced = len(journal)

    async def work(self) -> None:
        """Do everything that is due, as the worker does it."""

        async def buried(work: Work, why: str) -> None:
            self.buried.append(why)

        worker = Worker(self.room.claims, self.anchorer.handlers(), clock=self.room.clock, buried=buried)
        async with asyncio.timeout(20):
            while await worker.once() or worker.busy:
                await asyncio.sleep(0)

    async def go(self, amount: timedelta, step: timedelta = timedelta(seconds=10)) -> None:
        """Let time pass, ticking and working at each step."""
        for _ in range(int(amount / step)):
            await self.sequence()
            await self.anchorer.tick()
            await self.work()
            self.room.clock.go(seconds=step.total_seconds())

    async def claimed(self) -> Work:
        [work] = await self.room.due("anchor")
        return work


async def test_an_anchor_takes_the_newest_checkpoint_once_and_the_row_has_all_of_it(spine: Room) -> None:
    anchor = FakeAnchor()
    desk = Desk(spine, anchor)
    desk.news(5)
    assert await desk.anchorer.tick() == ("tsa",)
    assert await desk.anchorer.tick() == ()
    await desk.work()
    assert desk.checkpoints.rows == [Row("tsa", "rfc3161", 5, "note 5", START, b"proof 5")]
    await desk.go(timedelta(hours=1))
    assert anchor.taken == [5]
    assert await desk.entries() == []


async def test_what_is_new_goes_out_each_ten_minutes_and_on_demand_at_once(spine: Room) -> None:
    anchor = FakeAnchor()
    desk = Desk(spine, anchor)
    desk.news()
    await desk.go(timedelta(minutes=1))
    desk.news()
    await desk.go(timedelta(minutes=8))
    assert anchor.taken == [1]
    await desk.go(timedelta(minutes=2))
    assert anchor.taken == [1, 2]
    desk.news()
    assert await desk.anchorer.tick(wanted=True) == ("tsa",)
    await desk.work()
    assert anchor.taken == [1, 2, 3]
    assert await desk.anchorer.tick(wanted=True) == ()


async def test_an_outage_of_hours_is_two_entries_and_delays_no_other_anchor(spine: Room) -> None:
    down, well = FakeAnchor("tsa", down=AnchorError("nobody answers")), FakeAnchor("partner", "http")
    desk = Desk(spine, down, well)
    for _ in range(18):
        desk.news()
        await desk.go(timedelta(minutes=10))
    assert await desk.entries() == ["lost tsa"]
    [lost] = [w.entry for w in await spine.journal(None) if isinstance(w.entry, AnchorLost)]
    assert lost.reason == "nobody answers"
    assert len(well.taken) == 18
    assert 18 <= down.tried <= 30  # each ten minutes in the long run, and a few more at the beginning
    assert desk.buried == []
    down.down = None
    await desk.go(LONGEST_PAUSE + timedelta(minutes=1))
    assert await desk.entries() == ["lost tsa", "back tsa"]
    [back] = [w.entry for w in await spine.journal(None) if isinstance(w.entry, AnchorBack)]
    assert down.taken == [back.size]
    assert back.size == 19  # eighteen pieces of news, and the entry of the loss
    assert not [row for row in await spine.due("anchor") if row.body["anchor"] == "tsa"]


async def test_pauses_grow_to_ten_minutes_and_no_further(spine: Room) -> None:
    desk = Desk(spine, FakeAnchor(down=AnchorError("nobody answers")))
    desk.news()
    await desk.anchorer.tick()
    pauses = []
    for _ in range(40):
        work = await desk.claimed()
        again = await desk.anchorer.anchor(work)
        assert isinstance(again, Again)
        pauses.append(again.at - spine.clock.now())
        assert await spine.claims.finish(work, again)
        spine.clock.at = again.at
    assert pauses[:7] == [FIRST_PAUSE * 2**n for n in range(6)] + [LONGEST_PAUSE]
    assert set(pauses[6:]) == {LONGEST_PAUSE}


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(AnchorError("no"), id="anchor"),
        pytest.param(StopsignError("the token env:X is not set"), id="token"),
        pytest.param(OSError("no route"), id="unforeseen"),
        pytest.param(RuntimeError("no\nend " * 1000), id="unforeseen-and-endless"),
    ],
)
async def test_no_failure_kills_the_work(spine: Room, error: Exception) -> None:
    anchor = FakeAnchor(down=error)
    desk = Desk(spine, anchor)
    desk.news()
    await desk.go(timedelta(hours=4), timedelta(minutes=1))
    assert anchor.tried > 15
    assert desk.buried == []
    assert await desk.entries() == ["lost tsa"]
    [lost] = [w.entry for w in await spine.journal(None) if isinstance(w.entry, AnchorLost)]
    assert len(lost.reason) <= 500
    assert str(error).split()[-1] in lost.reason
    anchor.down = None
    await desk.go(timedelta(minutes=11), timedelta(minutes=1))
    assert await desk.entries() == ["lost tsa", "back tsa"]


async def test_what_the_other_side_said_is_written_down_as_the_journal_can_hold_it(spine: Room) -> None:
    command = anchors.Lost(by=BOT, anchor="tsa", reason="\ud800 half\r\na character " * 100)
    await spine.decide(anchors.lost, command)
    lost = await spine.last(AnchorLost, None)
    assert lost.reason.startswith("? half a character ? half a character")
    assert len(lost.reason) <= anchors.LONGEST_REASON


async def killed(desk: Desk, at: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the handler and die at a point of it; then the next worker has the row."""
    work = await desk.claimed()
    if at == "before storing":
        desk.checkpoints.refuses = True
        with pytest.raises(NotCommitted):
            await desk.anchorer.anchor(work)
        desk.checkpoints.refuses = False
    elif at == "after storing":

        async def die(*_: object, **__: object) -> None:
            raise SystemExit

        with monkeypatch.context() as patch:
            patch.setattr(desk.room.ledger, "decide", die)
            with pytest.raises(SystemExit):
                await desk.anchorer.anchor(work)
    else:
        assert isinstance(await desk.anchorer.anchor(work), Done)
    desk.room.clock.go(minutes=1)


@pytest.mark.parametrize("at", ["before storing", "after storing", "before finishing"])
@pytest.mark.parametrize("outage", [False, True], ids=["well", "after-an-outage"])
async def test_killed_anywhere_there_is_one_row_and_one_entry(
    spine: Room, at: str, outage: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    anchor = FakeAnchor(down=AnchorError("nobody answers") if outage else None)
    desk = Desk(spine, anchor)
    desk.news()
    await desk.anchorer.tick()
    if outage:
        await desk.work()
        anchor.down = None
        spine.clock.go(minutes=1)
    await killed(desk, at, monkeypatch)
    await desk.work()
    assert [row.size for row in desk.checkpoints.rows] == [1]
    assert len(anchor.taken) == (2 if at == "before storing" else 1)
    assert await desk.entries() == (["lost tsa", "back tsa"] if outage else [])
    assert await spine.due("anchor") == ()


async def test_entries_about_anchors_cause_no_anchoring(spine: Room) -> None:
    flapping, well = Flapping("tsa"), FakeAnchor("partner", "http")
    desk = Desk(spine, flapping, well)
    desk.news()
    await desk.go(timedelta(hours=6), timedelta(minutes=1))
    assert await desk.entries() == ["lost tsa", "back tsa"]
    assert flapping.tried == 2
    assert len(well.taken) == 1
    desk.news()
    await desk.go(timedelta(minutes=30), timedelta(minutes=1))
    assert well.taken[-1] == flapping.taken[-1] - 1  # the later one has the entry of its own loss as well
    assert flapping.tried == 4


async def test_other_entries_of_the_watch_are_news(spine: Room) -> None:
    anchor = FakeAnchor()
    desk = Desk(spine, anchor)
    desk.news()
    await desk.go(timedelta(minutes=20))
    await spine.decide(halt.halt, halt.Halt(by=person("ada"), reason="the freeze hits healthy nodes"))
    await desk.go(timedelta(minutes=1))
    assert anchor.taken == [1, 2]


async def test_an_outage_has_one_row_of_work_an_hour_and_not_one_a_tick(spine: Room) -> None:
    desk = Desk(spine, FakeAnchor(down=AnchorError("nobody answers")))
    desk.news()
    keys: set[str] = set()
    for _ in range(120):
        await desk.go(timedelta(minutes=1), timedelta(minutes=1))
        keys |= {work.key for work in await spine.claims.claim(["anchor"], limit=9, lease=timedelta(0))}
    assert len(keys) <= 3
    assert all(key.startswith("anchor:tsa:0:") for key in keys)


async def test_an_anchor_that_policy_no_longer_names_is_let_go(spine: Room) -> None:
    desk = Desk(spine, FakeAnchor())
    desk.news()
    await desk.anchorer.tick()
    other = Desk(spine, FakeAnchor("partner"))
    result = await other.anchorer.anchor(await desk.claimed())
    assert result == Done(note="policy.yaml names no such anchor any more")


async def test_without_anchors_or_records_nothing_is_asked(spine: Room) -> None:
    assert await Desk(spine).anchorer.tick(wanted=True) == ()
    empty = Desk(spine, FakeAnchor())
    assert await empty.anchorer.tick(wanted=True) == ()
    work = Work(id=1, key="k", kind="anchor", body={"anchor": "tsa"}, incident=None, fence=1, attempt=1, due=START)
    result: Result = await empty.anchorer.anchor(work)
    assert result == Again(at=START + FIRST_PAUSE)


AGO: Callable[[float], datetime] = lambda minutes: START - timedelta(minutes=minutes)  # noqa: E731 - a table's shorthand


@pytest.mark.parametrize(
    ("head", "anchored", "last", "every", "expected"),
    [
        pytest.param(0, {}, {}, EVERY, (), id="nothing-yet"),
        pytest.param(1, {}, {}, EVERY, ("a", "b"), id="first"),
        pytest.param(5, {"a": 5, "b": 4}, {"a": AGO(60), "b": AGO(60)}, EVERY, ("b",), id="one-lacks"),
        pytest.param(5, {"a": 4, "b": 4}, {"a": AGO(9.9), "b": AGO(10)}, EVERY, ("b",), id="too-soon"),
        pytest.param(5, {"a": 4, "b": 5}, {"a": AGO(0), "b": AGO(0)}, timedelta(), ("a",), id="on-demand"),
        pytest.param(5, {"a": 7, "b": 6}, {}, timedelta(), (), id="only-talk-about-anchors-since"),
        pytest.param(5, {"a": 4, "b": 5, "gone": 1}, {"gone": AGO(60)}, EVERY, ("a",), id="not-named-any-more"),
    ],
)
def test_who_is_due(
    head: int,
    anchored: dict[str, int],
    last: dict[str, datetime],
    every: timedelta,
    expected: tuple[str, ...],
) -> None:
    assert due(("a", "b"), head, anchored, last, START, every) == expected


def test_the_bot_alone_gives_these_commands() -> None:
    for command in (anchors.Ask, anchors.Lost, anchors.Back):
        assert command.needs is None
    assert anchors.Back(by=BOT, anchor="tsa", size=1).power() is None
