"""Decisions of one batch see each other, are written once together, and one that fails leaves nothing behind."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import Connection, event, text

from bot.domain import journal as j
from bot.domain.authority import BOT
from bot.domain.incident import Status, fold
from bot.domain.playbook import Verb
from bot.domain.roles import Role
from bot.domain.severity import Severity
from bot.domain.target import State
from bot.errors import NotCommitted
from bot.flows import intake, people, record, resolve
from bot.flows.book import Book
from bot.store import transaction
from tests.fakes import Room, person
from tests.store.rooms import quiet


async def declared(spine: Room, count: int = 1) -> None:
    for n in range(count):
        command = intake.Declare(by=person("ada"), severity=Severity.SEV3, summary=f"case {n}")
        await spine.decide(intake.declare, command)


def note(text: str, number: int = 1) -> people.AddNote:
    return people.AddNote(by=person("ada"), incident=number, text=text, source="note")


def held(spine: Room) -> Any:
    """Keep the writer busy until the returned future is set, so that what is asked meanwhile is one batch."""
    gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    done = asyncio.Event()
    loop = asyncio.get_running_loop()

    def wait(connection: Connection) -> None:
        asyncio.run_coroutine_threadsafe(done.wait(), loop).result(timeout=10)

    task = asyncio.create_task(spine.database.writer.do(wait, soon=True))
    gate.add_done_callback(lambda _: done.set())
    return gate, task


async def together(spine: Room, *decisions: Any) -> list[Any]:
    """Have decisions made in one batch; return their answers, or what they raised."""
    gate, task = held(spine)
    await asyncio.sleep(0.05)
    asked = [asyncio.create_task(decision) for decision in decisions]
    await asyncio.sleep(0.05)
    gate.set_result(None)
    await task
    return await asyncio.gather(*asked, return_exceptions=True)


async def test_an_incident_is_written_once_a_batch_whatever_was_decided(spine: Room) -> None:
    await declared(spine)
    written = 0

    def count(_c: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        nonlocal written
        written += statement.startswith("INSERT INTO incident")

    event.listen(spine.database.engine, "before_cursor_execute", count)
    await together(spine, *(spine.decide(people.add_note, note(f"n{n}")) for n in range(20)))
    assert written == 1
    incident = await spine.incident()
    assert incident == fold(1, await spine.journal())
    assert [w.n for w in await spine.journal()] == list(range(1, incident.version + 1))


async def test_one_that_fails_takes_nothing_of_the_others_and_leaves_nothing(spine: Room) -> None:
    await declared(spine)

    def breaks(book: Book, command: Any) -> None:
        book.write(book.incident(1), j.NoteAdded(text="never", source="note"))
        book.close(lambda *_: ())
        raise RuntimeError("after it was saved")

    answers = await together(
        spine,
        spine.decide(people.add_note, note("before")),
        spine.ledger.decide(breaks, note("x")),
        spine.decide(people.add_note, note("after")),
    )
    assert isinstance(answers[1], RuntimeError)
    assert [w.entry.text for w in await spine.journal() if isinstance(w.entry, j.NoteAdded)] == ["before", "after"]
    assert await spine.incident() == fold(1, await spine.journal())


async def test_a_value_that_no_database_takes_fails_alone(spine: Room) -> None:
    await declared(spine)
    bad = lambda connection: connection.execute(text("SELECT CAST(:a AS TEXT)"), {"a": "\ud800"})  # noqa: E731
    answers = await together(
        spine,
        spine.decide(people.add_note, note("before")),
        spine.database.writer.do(bad, soon=True),
        spine.decide(people.add_note, note("after")),
    )
    assert isinstance(answers[1], UnicodeEncodeError)
    assert [w.entry.text for w in await spine.journal() if isinstance(w.entry, j.NoteAdded)] == ["before", "after"]


async def test_an_empty_claim_is_no_news(spine: Room) -> None:
    heard: list[str] = []
    spine.database.on_commit(lambda: heard.append("commit"))
    assert await spine.due("job") == ()
    await quiet(spine)
    assert heard == []
    await declared(spine)
    await quiet(spine)
    assert heard == ["commit"]


async def test_what_cannot_be_written_is_told_to_every_one_of_the_batch(
    spine: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    await declared(spine)

    def broken(_incident: Any) -> Any:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(transaction, "_incident_row", broken)
        answers = await together(spine, *(spine.decide(people.add_note, note(f"n{n}")) for n in range(3)))
    assert all(isinstance(answer, NotCommitted) for answer in answers)
    await spine.decide(people.add_note, note("later"))
    assert [w.entry.text for w in await spine.journal() if isinstance(w.entry, j.NoteAdded)] == ["later"]


async def test_every_question_about_incidents_sees_what_is_not_written_yet(spine: Room) -> None:
    await declared(spine, 3)
    seen: dict[str, Any] = {}

    def look(book: Book, command: Any) -> None:
        rows = book._rows
        seen["live"] = [i.number for i in rows.incidents(live_only=True, limit=9)]
        seen["all"] = [(i.number, i.status) for i in rows.incidents(live_only=False, limit=9)]
        seen["holding"] = [i.number for i in rows.holding()]
        seen["channel"] = getattr(rows.by_channel("C2"), "number", None)
        seen["by key"] = getattr(rows.live(book.incident(1).key), "number", None)
        latest = rows.latest(book.incident(1).key)
        seen["latest"] = (latest.number, latest.status) if latest else None

    report = j.TargetReport(node="s01", state=State.VERIFIED, detail="")
    answers = await together(
        spine,
        spine.decide(people.take_role, people.TakeRole(by=person("ada"), incident=1, role=Role.IC)),
        spine.decide(resolve.resolve, resolve.Resolve(by=person("ada"), incident=1, summary="over")),
        spine.ledger.decide(
            record.note, record.Note(by=BOT, incident=2, entry=j.ChannelOpened(channel="C2", name="x"))
        ),
        spine.ledger.decide(
            record.note,
            record.Note(by=BOT, incident=3, entry=j.TargetsReported(step="f", verb=Verb.FREEZE, reports=(report,))),
        ),
        spine.ledger.decide(look, record.Note(by=BOT, incident=1, entry=j.HeaderPosted(ts="1"))),
    )
    assert [a for a in answers if isinstance(a, Exception)] == []
    assert seen == {
        "live": [3, 2],
        "all": [(3, Status.OPEN), (2, Status.OPEN), (1, Status.RESOLVED)],
        "holding": [3],
        "channel": 2,
        "by key": None,
        "latest": (1, Status.RESOLVED),
    }


async def test_who_waits_overtakes_what_nobody_looks_at(spine: Room) -> None:
    order: list[str] = []
    gate, task = held(spine)
    await asyncio.sleep(0.05)
    writer = spine.database.writer
    asked = [asyncio.create_task(writer.do(lambda _c, n=n: order.append(f"later {n}"))) for n in range(40)]  # type: ignore[misc]
    await asyncio.sleep(0)
    asked.append(asyncio.create_task(writer.do(lambda _c: order.append("soon"), soon=True)))
    await asyncio.sleep(0.05)
    gate.set_result(None)
    await asyncio.gather(task, *asked)
    assert order[0] == "soon"
    assert order[1:] == [f"later {n}" for n in range(40)]
