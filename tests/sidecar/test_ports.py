"""The two ports: whoever fills the signing port neither shuts the control port nor the real clients out."""

import asyncio
import errno
import resource
import socket
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest

from bot.sidecar import gate, ports
from tests.sidecar.bench import ACCEPTED, KEYS, TOKEN, Place, attestation, options, place
from tests.sidecar.test_process import programs
from tests.sidecar.test_tls import Authority

A, B = KEYS[:2]
HEAD = f"POST /api/v1/eth2/sign/{A} HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n".encode()


class Line:
    """One connection of a client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Hold both ends."""
        self.reader, self.writer = reader, writer

    async def asks(self, number: int) -> int:
        """Ask for a signature; 0 when the connection ends instead of an answer."""
        body = attestation(number)
        self.writer.write(HEAD.replace(b"500", str(len(body)).encode()) + body)
        try:
            head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 5)
            length = next(int(x.split(b":")[1]) for x in head.split(b"\r\n") if x.lower().startswith(b"content-length"))
            await self.reader.readexactly(length)
        except (ConnectionError, asyncio.IncompleteReadError):
            return 0
        return int(head.split()[1])

    async def ended(self) -> bool:
        """Tell whether the other side ended it, within a moment."""
        try:
            return await asyncio.wait_for(self.reader.read(1), 0.02) == b""
        except TimeoutError:
            return False
        except ConnectionError:
            return True


@asynccontextmanager
async def lines_to(url: str, count: int, first: bytes = b"") -> AsyncIterator[list[Line]]:
    """Open connections that say `first` and then nothing more."""
    made = []
    try:
        for _ in range(count):
            made.append(Line(*await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))))
            made[-1].writer.write(first)
        await asyncio.sleep(0.1)
        yield made
    finally:
        for one in made:
            one.writer.close()


@pytest.mark.parametrize("first", [b"", HEAD[:20], HEAD, HEAD + b"{"], ids=["idle", "header", "no-body", "slow-body"])
async def test_who_asks_for_nothing_makes_room_for_who_does(tmp_path: Path, first: bytes) -> None:
    async with place(tmp_path, connections=8) as it, lines_to(it.signing, 1) as (known,):
        assert await known.asks(1) == 200
        async with lines_to(it.signing, 30, first) as idle:
            assert await known.asks(2) == 200, "a connection that was answered before goes last"
            ends = await asyncio.gather(*(one.ended() for one in idle))
            assert ends.count(False) <= 7
            assert (await it.sign(B, attestation(1))).status == 200
            assert (await it.put("frozen", A)).status_code == 200
            assert await known.asks(3) == 412


async def test_requests_that_are_being_answered_are_not_cut_for_a_new_one(tmp_path: Path) -> None:
    async with place(tmp_path, connections=2) as it:
        it.signer.delay = 0.5
        async with lines_to(it.signing, 2) as busy:
            asked = [asyncio.create_task(one.asks(n)) for n, one in enumerate(busy)]
            await asyncio.sleep(0.2)
            assert (await it.sign(B, attestation(1))).status == 0, "the port is full"
            assert await asyncio.gather(*asked) == [200, 200]


async def test_a_new_connection_must_ask_soon_and_a_known_one_may_rest(
    it: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with lines_to(it.signing, 2) as (known, new), lines_to(it.control, 1) as (third,):
        assert await known.asks(1) == 200
        monkeypatch.setattr(ports, "_FIRST_SECONDS", 0.2)
        await asyncio.sleep(1.5)
        assert (await known.ended(), await new.ended(), await third.ended()) == (False, True, True)
        monkeypatch.setattr(ports, "_IDLE_SECONDS", 0.2)
        await asyncio.sleep(1.5)
        assert await known.ended()


async def test_a_full_control_port_still_answers_the_bot(it: Place) -> None:
    async with lines_to(it.control, ports.CONTROL_CONNECTIONS + 20):
        assert (await it.put("frozen", A)).status_code == 200


async def test_who_begins_no_tls_holds_no_place(tmp_path: Path) -> None:
    made = Authority(tmp_path / "ours")
    async with place(tmp_path, connections=4, listen_tls=made.tls) as it:
        context = ssl.create_default_context(cafile=made.folder / "ca.pem")
        context.load_cert_chain(made.folder / "own.pem", made.folder / "own.key")
        async with lines_to(it.signing, 12) as idle, aiohttp.TCPConnector(ssl=context) as connector:
            ends = await asyncio.gather(*(one.ended() for one in idle))
            assert ends.count(True) == 8
            async with aiohttp.ClientSession(connector=connector) as session:
                url = f"{it.signing}/api/v1/eth2/sign/{A}"
                async with session.post(url, data=attestation(1), headers=ACCEPTED) as told:
                    assert told.status == 200


async def test_large_bodies_that_come_slowly_leave_room_for_small_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "_LARGE_BODIES_LIMIT", 70_000)
    large = f"POST /api/v1/eth2/sign/{B} HTTP/1.1\r\nHost: x\r\nContent-Length: 80000\r\n\r\n".encode()
    async with place(tmp_path) as it, lines_to(it.signing, 1, large + b"x" * 69_900) as (slow,):
        assert (await it.sign(A, attestation(1))).status == 200
        assert not await slow.ended()
        assert (await it.sign(A, attestation(2) + b" " * 70_000)).status == 413


# ---- open files


async def freeze(it: Place) -> str:
    """Freeze A over a new connection, as the bot does."""
    async with httpx.AsyncClient(trust_env=False, timeout=5) as bot:
        body = {"state": "frozen", "keys": [A], "incident": "i", "request": "r"}
        headers = {"Authorization": f"Bearer {TOKEN}"}
        told = await bot.put(f"{it.control}/stopsign/v1/signing", json=body, headers=headers)
    assert told.status_code == 200
    return str(told.json()["results"][0]["result"])


async def test_a_freeze_comes_in_while_connections_would_fill_the_table_of_files(tmp_path: Path) -> None:
    async with programs(tmp_path) as (program, it), program.running() as process:
        resource.prlimit(process.process.pid, resource.RLIMIT_NOFILE, (120, 120))
        async with lines_to(it.signing, 1) as (known,):
            assert await known.asks(1) == 200
            async with lines_to(it.signing, 140) as idle:
                ends = await asyncio.gather(*(one.ended() for one in idle))
                assert 0 < ends.count(False) < 120 - ports.RESERVE
                assert await known.asks(2) == 200
                begun = time.monotonic()
                assert await freeze(it) == "changed"
                assert time.monotonic() - begun < 3
                assert await known.asks(3) == 412


async def test_when_no_file_is_left_the_signing_port_gives_some_to_the_control_port(tmp_path: Path) -> None:
    async with programs(tmp_path) as (program, it), program.running() as process, lines_to(it.signing, 80):
        resource.prlimit(process.process.pid, resource.RLIMIT_NOFILE, (40, 40))
        assert await freeze(it) == "changed"
        assert A in (it.data / "denied.json").read_text()


async def test_each_time_no_file_is_left_a_connection_of_the_signing_port_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ports, "_SWEEP_SECONDS", 60)
    loop = asyncio.get_running_loop()
    real, failures = loop.sock_accept, 3

    async def none_left(listener: socket.socket) -> Any:
        nonlocal failures
        if failures:
            failures -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        return await real(listener)

    async with place(tmp_path) as it, lines_to(it.signing, 5) as idle:
        monkeypatch.setattr(loop, "sock_accept", none_left)
        async with lines_to(it.control, 1):  # the next one is not had at once
            assert await freeze(it) == "changed"
            ends = await asyncio.gather(*(one.ended() for one in idle))
            assert ends == [True, True, True, False, False], "whoever waits longest goes first"
        monkeypatch.undo()


async def test_it_opens_as_many_files_as_it_may(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(1024, hard - 1), hard))
    try:
        async with programs(tmp_path) as (program, _), program.running() as process:
            assert resource.prlimit(process.process.pid, resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_other_machines_without_tls_must_be_asked_for(tmp_path: Path) -> None:
    made = options(tmp_path, "http://127.0.0.1:9", listen="0.0.0.0:9001", allow_non_loopback=True, plain_http=True)
    assert made.listen == ("0.0.0.0", 9001)
