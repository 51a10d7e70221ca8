"""Connections that break, answers that are lost and deadlocks: each decision is stored once, or its maker is told."""

import asyncio
import shutil
import socket
import tempfile
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
import pytest_asyncio
from sqlalchemy import Connection, text
from sqlalchemy.exc import DataError

from bot.domain import journal as j
from bot.domain.severity import Severity
from bot.errors import NotCommitted
from bot.flows import intake, people
from bot.flows.book import Book
from bot.store import postgresql
from tests.fakes import Room, alert, person
from tests.store.rooms import assert_whole, quiet, room_at, sequence
from tests.store.servers import TEMPLATE, Server

SOCKET = ".s.PGSQL.5432"
pytestmark = pytest.mark.peer("postgresql")


class Wire:
    """The wire to the server, which breaks at the next COMMIT: `before` it arrives, or `after` it was done."""

    def __init__(self, server: Path, folder: Path) -> None:
        self.folder = folder
        self.breaks: str | None = None
        self.broken = 0
        self.cut = False
        self._server = server
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / SOCKET))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with closing(client), closing(socket.socket(socket.AF_UNIX)) as server:
            if self.cut:
                return
            server.connect(str(self._server / SOCKET))
            answers = threading.Thread(target=self._answer, args=(server, client), daemon=True)
            answers.start()
            with suppress(OSError):
                while asked := client.recv(65536):
                    if b"COMMIT\0" in asked and self.breaks:
                        after, self.breaks = self.breaks == "after", None
                        client.shutdown(socket.SHUT_RDWR)
                        if after:
                            server.sendall(asked)
                            answers.join(timeout=0.5)  # it is done by then
                        self.broken += 1
                        break
                    server.sendall(asked)
            with suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)

    def _answer(self, server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while answered := server.recv(65536):
                client.sendall(answered)
            client.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def database(server: Server) -> str:
    """Return the name of a migrated database."""
    return server.new(TEMPLATE).partition("@/")[2].partition("?")[0]


@pytest.fixture
def wire(server: Server) -> Iterator[Wire]:
    """Return a wire to the server."""
    folder = Path(tempfile.mkdtemp(prefix="stopsign-wire-", dir="/tmp"))  # a socket's path has at most 107 bytes
    opened = Wire(server.folder, folder)
    yield opened
    opened.close()
    shutil.rmtree(folder)


@pytest_asyncio.fixture
async def spine(wire: Wire, database: str) -> AsyncIterator[Room]:
    """Return a room at the end of the wire, with an incident in it."""
    async with room_at(f"postgresql://postgres@/{database}?host={wire.folder}") as opened:
        command = intake.Declare(by=person("ada"), severity=Severity.SEV3, summary="one")
        await opened.decide(intake.declare, command)
        yield opened


async def note(spine: Room, words: str) -> int:
    """Add a note; return how often the decision was made."""
    made = 0

    def flow(book: Book, _command: Any) -> None:
        nonlocal made
        made += 1
        book.write(book.incident(1), j.NoteAdded(text=words, source="note"))

    await spine.decide(flow, people.AddNote(by=person("ada"), incident=1, text=words, source="note"))
    return made


async def notes(spine: Room) -> Counter[str]:
    """Return how often each note is stored."""
    return Counter(w.entry.text for w in await spine.journal() if isinstance(w.entry, j.NoteAdded))


async def test_a_commit_that_never_arrived_is_made_again(spine: Room, wire: Wire) -> None:
    wire.breaks = "before"
    assert await note(spine, "one") == 2
    assert wire.broken == 1
    assert await notes(spine) == {"one": 1}
    await sequence(spine)
    await assert_whole(spine)


async def test_a_commit_whose_answer_was_lost_is_not_made_again(spine: Room, wire: Wire) -> None:
    heard: list[str] = []
    await quiet(spine)
    spine.database.on_commit(lambda: heard.append("commit"))
    wire.breaks = "after"
    assert await note(spine, "one") == 1
    assert wire.broken == 1
    assert await notes(spine) == {"one": 1}
    await quiet(spine)
    assert heard == ["commit"]
    await sequence(spine)
    await assert_whole(spine)


async def test_what_became_of_a_commit_that_nobody_can_be_asked_about_is_said_to_be_unknown(
    spine: Room, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql, "SETTLED_WITHIN", 1.0)
    wire.breaks, wire.cut = "after", True
    with pytest.raises(NotCommitted, match="whether this is stored is not known"):
        await note(spine, "one")
    wire.cut = False
    assert await note(spine, "two") == 1
    assert await notes(spine) == {"one": 1, "two": 1}


async def test_a_server_that_cannot_be_reached_is_said_so_to_who_writes_and_who_reads(spine: Room, wire: Wire) -> None:
    wire.cut, wire.breaks = True, "before"
    spine.database.engine.dispose()
    with pytest.raises(NotCommitted, match="could not commit"):
        await note(spine, "one")
    with pytest.raises(NotCommitted, match="does not answer"):
        await spine.journal()
    wire.cut, wire.breaks = False, None
    await note(spine, "two")
    assert await notes(spine) == {"two": 1}


async def test_a_session_that_is_ended_in_the_middle_takes_its_whole_batch_back_to_the_beginning(spine: Room) -> None:
    ended, started = list[int](), asyncio.Event()
    loop = asyncio.get_running_loop()

    def wait(_connection: Connection) -> None:
        asyncio.run_coroutine_threadsafe(started.wait(), loop).result(timeout=10)

    def end(connection: Connection) -> str:
        if not ended:
            ended.append(1)
            connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
        return "ended"

    first = asyncio.create_task(spine.database.writer.do(wait, soon=True))
    await asyncio.sleep(0.05)
    asked = [asyncio.create_task(note(spine, "before"))]
    await asyncio.sleep(0)
    asked += [asyncio.create_task(spine.database.writer.do(end, soon=True)), asyncio.create_task(note(spine, "after"))]  # type: ignore[arg-type]
    await asyncio.sleep(0.05)
    started.set()
    await first
    assert await asyncio.gather(*asked) == [2, "ended", 1]
    assert await notes(spine) == {"before": 1, "after": 1}
    await sequence(spine)
    await assert_whole(spine)


async def test_the_victim_of_a_deadlock_is_run_again(spine: Room, server: Server, database: str) -> None:
    ours, theirs = threading.Event(), threading.Event()
    lock = "SELECT pg_advisory_xact_lock({})"
    runs = 0

    def act(connection: Connection) -> None:
        nonlocal runs
        runs += 1
        connection.execute(text(lock.format(101)))
        ours.set()
        assert theirs.wait(10)
        connection.execute(text(lock.format(102)))

    def others() -> None:
        with psycopg.connect(server.url(database)) as connection:
            connection.execute("SET deadlock_timeout = '20s'")  # so that we are the victim
            connection.execute("SELECT pg_advisory_xact_lock(102)")
            theirs.set()
            assert ours.wait(10)
            connection.execute("SELECT pg_advisory_xact_lock(101)")

    await asyncio.gather(spine.database.writer.do(act), asyncio.to_thread(others))
    assert runs == 2


async def test_a_value_that_was_never_sent_is_the_answer_of_its_act_alone(spine: Room) -> None:
    runs = 0

    def act(connection: Connection) -> None:
        nonlocal runs
        runs += 1
        connection.execute(text("SELECT CAST(:a AS TEXT)"), {"a": "\0"})

    with pytest.raises(DataError):
        await spine.database.writer.do(act)
    assert runs == 1


async def test_nobody_holds_the_lock_while_standing_still(spine: Room) -> None:
    def limits(connection: Connection) -> list[str]:
        names = ("lock_timeout", "idle_in_transaction_session_timeout")
        return [connection.execute(text(f"SHOW {name}")).scalar_one() for name in names]

    assert await spine.database.writer.do(limits) == ["5s", "15s"]
    assert await spine.database.reading(limits) == ["0", "0"]


async def test_who_reads_cannot_write_and_sees_one_state(spine: Room) -> None:
    def act(connection: Connection) -> None:
        connection.execute(text("DELETE FROM work"))

    with pytest.raises(Exception, match="read-only transaction"):
        await spine.database.reading(act)

    def twice(connection: Connection) -> tuple[int, int]:
        query = text("SELECT count(*) FROM journal")
        before = connection.execute(query).scalar_one()
        asyncio.run_coroutine_threadsafe(note(spine, "meanwhile"), loop).result(timeout=10)
        return before, connection.execute(query).scalar_one()

    loop = asyncio.get_running_loop()
    before, after = await spine.database.reading(twice)
    assert before == after


async def test_what_is_acknowledged_is_durable_whatever_the_server_was_told(
    server: Server, database: str, wire: Wire
) -> None:
    server.do(f"ALTER DATABASE {database} SET synchronous_commit = off")
    async with room_at(f"postgresql://postgres@/{database}?host={wire.folder}") as room:
        await room.receive(alert(signer="s01"))

        def shown(connection: Connection) -> object:
            return connection.execute(text("SHOW synchronous_commit")).scalar()

        assert await room.database.writer.do(shown) == "on"
