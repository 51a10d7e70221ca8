"""The work table: claims, lanes, merges, fences, retries, burial; and the writer's group commit."""

import asyncio
from datetime import timedelta

import pytest

from bot.domain.authority import BOT
from bot.domain.work import Again, Dead, Done, Result, Todo, Work
from bot.errors import NotCommitted
from bot.flows.book import Book, Command
from bot.store import database as db
from bot.worker import MOST_TRIES, Worker
from tests.fakes import FrozenClock, Room, alert
from tests.store.rooms import room_at, wait


async def enqueue(spine: Room, *todo: Todo) -> None:
    """Put rows into the work table."""

    def flow(book: Book, _command: Command) -> None:
        for item in todo:
            book.todo(item)

    await spine.decide(flow, Command(by=BOT))


def job(key: str, **more: object) -> Todo:
    """Return a row of kind `job`."""
    return Todo(key=key, kind="job", **more)  # type: ignore[arg-type]


async def test_the_same_key_is_the_same_work(spine: Room) -> None:
    await enqueue(spine, job("a"), job("a"))
    await enqueue(spine, job("a"))
    assert [work.key for work in await spine.due("job")] == ["a"]


async def test_a_claim_is_a_lease_with_a_fence(spine: Room) -> None:
    await enqueue(spine, job("a"))
    (first,) = await spine.due("job")
    assert await spine.due("job") == ()
    await wait(spine, seconds=31)
    (second,) = await spine.due("job")
    assert (second.fence, second.attempt) == (first.fence + 1, 2)
    assert not await spine.claims.finish(first, Done())
    assert await spine.claims.finish(second, Done())
    assert not await spine.claims.finish(second, Done())


async def test_a_lane_runs_in_order_the_oldest_unfinished_first(spine: Room) -> None:
    await enqueue(spine, job("a", lane="l"), job("b", lane="l"), job("c"))
    assert {w.key for w in await spine.due("job")} == {"a", "c"}
    await wait(spine, seconds=31)
    (a, _) = await spine.due("job")
    await spine.claims.finish(a, Again(at=spine.clock.now() + timedelta(hours=1)))
    assert await spine.due("job") == ()
    spine.clock.go(hours=1)
    again = {w.key: w for w in await spine.due("job")}
    await spine.claims.finish(again["a"], Done())
    assert [w.key for w in await spine.due("job")] == ["b"]


async def test_merged_rows_that_have_not_started_are_one_and_the_newest_body_wins(spine: Room) -> None:
    await enqueue(spine, job("h1", merge="h", body={"n": 1}))
    await enqueue(spine, job("h2", merge="h", body={"n": 2}), job("h3", merge="h", body={"n": 3}))
    (started,) = await spine.due("job")
    assert started.body == {"n": 3}
    await enqueue(spine, job("h4", merge="h", body={"n": 4}))
    (late,) = await spine.due("job")
    assert late.body == {"n": 4}


async def test_only_known_kinds_are_claimed_and_the_urgent_ones_first(spine: Room) -> None:
    await enqueue(spine, job("later", priority=5), job("sooner", priority=1), Todo(key="x", kind="other"))
    assert len(await spine.due("job")) == 2
    assert [w.key for w in await spine.due("other")] == ["x"]


async def test_a_failing_handler_is_retried_with_pauses_and_buried_at_the_limit(spine: Room) -> None:
    buried: list[str] = []

    async def handler(work: Work) -> Result:
        raise ValueError("no luck")

    async def bury(work: Work, why: str) -> None:
        buried.append(why)

    await enqueue(spine, job("a"))
    for _ in range(MOST_TRIES + 2):
        worker = Worker(spine.claims, {"job": handler}, clock=spine.clock, buried=bury)
        await worker.once()
        await worker.close()
        spine.clock.go(minutes=2)
    assert buried == ["ValueError: no luck"]


async def test_dead_work_is_told(spine: Room) -> None:
    buried: list[str] = []

    async def handler(work: Work) -> Result:
        return Dead(why="the channel is gone")

    async def bury(work: Work, why: str) -> None:
        buried.append(why)

    worker = Worker(spine.claims, {"job": handler}, clock=spine.clock, buried=bury)
    await enqueue(spine, job("a"))
    await worker.once()
    await worker.close()
    assert buried == ["the channel is gone"]


@pytest.mark.parametrize("kind", ["step.run", "page.slack", "slack.post"])
async def test_a_worker_that_ends_gives_back_what_runs_and_what_waits_for_its_turn(
    spine: Room, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr("bot.worker.GRACE", 0.01)
    monkeypatch.setattr("bot.worker.A_PASS", 1)

    async def handler(work: Work) -> Result:
        await asyncio.Event().wait()
        return Done()

    async def bury(work: Work, why: str) -> None:
        raise AssertionError(why)

    await enqueue(spine, *(Todo(key=f"{n}", kind=kind, incident=n) for n in range(3)))
    worker = Worker(spine.claims, {kind: handler}, clock=spine.clock, buried=bury)
    assert await worker.once() == 3
    assert worker.busy
    if kind == "slack.post":
        await asyncio.sleep(0.05)  # all have begun; else two still wait
    await worker.close()
    assert not worker.busy
    assert len(await spine.due(kind)) == 3


async def test_decisions_that_arrive_together_are_committed_together_and_fail_alone(spine: Room) -> None:
    commits = 0

    def count() -> None:
        nonlocal commits
        commits += 1

    spine.database.on_commit(count)

    def broken(book: Book, _command: Command) -> None:
        book.todo(job("never"))
        raise ValueError("this one only")

    async def bad() -> str:
        try:
            await spine.decide(broken, Command(by=BOT))
        except ValueError as error:
            return str(error)
        return "no error"

    results = await asyncio.gather(*(spine.receive(alert(signer=f"s{n:02}")) for n in range(1, 16)), bad())
    assert results[-1] == "this one only"
    assert commits < 16
    assert (await spine.incident()).seen == 15
    assert await spine.due("job") == ()


async def test_a_locked_database_is_not_committed_and_nothing_changed(url: str) -> None:
    async with room_at(url) as spine:
        other = db.connect(url)
        with other.connect() as holder:
            holder.exec_driver_sql("SELECT 1")  # every transaction that may write holds the write lock
            with pytest.raises(NotCommitted):
                await spine.receive(alert(signer="s01"))
            assert await spine.journal() == (), "who only reads does not wait"
            holder.rollback()
        other.dispose()
        assert (await spine.receive(alert(signer="s01"))).incidents == ("inc-1",)


async def test_two_processes_share_one_table(url: str) -> None:
    async with room_at(url) as one, room_at(url) as other:
        await enqueue(one, *(job(f"j{n}") for n in range(40)))
        got = await asyncio.gather(
            *(r.claims.claim(("job",), limit=5, lease=timedelta(seconds=30)) for r in (one, other) for _ in range(4))
        )
        keys = [work.key for part in got for work in part]
        assert len(keys) == len(set(keys)) == 40


async def test_the_clocks_of_two_machines_differ_and_a_lease_still_lasts_as_long_as_it_says(
    postgresql_url: str,
) -> None:
    ahead = FrozenClock()
    ahead.go(hours=1)
    async with room_at(postgresql_url) as one, room_at(postgresql_url, clock=ahead) as other:
        await enqueue(one, job("a"))
        (work,) = await one.due("job")
        assert await other.due("job") == ()
        await wait(other, seconds=31)
        (taken,) = await other.due("job")
        assert taken.fence == work.fence + 1
        assert await other.claims.extend(taken, timedelta(seconds=60))
        await wait(other, seconds=31)
        assert await other.due("job") == ()


async def test_what_a_node_said_is_stored_even_with_the_character_that_no_text_may_have(spine: Room) -> None:
    await enqueue(spine, job("a"))
    (work,) = await spine.due("job")
    assert await spine.claims.finish(work, Dead(why="it said \0 and ended"))
    stood = await spine.ledger.read(lambda rows: rows.outcome("a"))
    assert stood is not None
    assert stood.outcome == "it said \N{SYMBOL FOR NULL} and ended"
    for _ in range(2):
        await spine.receive(alert(avs="no \0 such thing"), alert("No\0Alert", signer="s\0"))
    assert [len(await spine.journal(n)) > 0 for n in (1, 2, 3)] == [True, True, False]
    assert (await spine.incident(1)).key == "avs=no \0 such thing"


async def test_somebody_who_stops_waiting_does_not_stop_the_writer(spine: Room) -> None:
    waiting = [asyncio.ensure_future(spine.receive(alert(signer=f"s{n:02}"))) for n in range(1, 9)]
    await asyncio.sleep(0)
    for task in waiting[::2]:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    await spine.receive(alert(signer="s20"))
    assert (await spine.incident()).seen >= 5
