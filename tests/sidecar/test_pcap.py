"""The ring of packets: a window of it as one pcap stream, and the tcpdump that writes it, real where there is one."""

import asyncio
import os
import signal
import struct
import subprocess
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from bot.domain.inventory import Capability, Endpoint, Node
from bot.errors import Misconfigured, NodeBroken
from bot.nodes import sidecar
from bot.nodes.reach import Reach
from bot.ports import Recorder
from bot.sidecar import __main__ as main_module
from bot.sidecar import pcap
from bot.sidecar.pcap import NoCapture, window
from tests.conftest import need
from tests.processes import program
from tests.sidecar.bench import (
    KEYS,
    TOKEN,
    Clock,
    Place,
    Program,
    attestation,
    client,
    fake_signer,
    options,
    place,
    signing,
)

PATH = "/stopsign/v1/network-capture"
SECOND = 1_000_000_000
NOON = 1_772_366_400 * SECOND
LOOPBACK = 1
A = KEYS[0]
real = pytest.mark.peer("tcpdump")


# ---- packets that the tests write


def record(at: int, content: bytes, *, order: str = "<", unit: int = 1000) -> bytes:
    """Return one record of a pcap file, at nanoseconds since 1970."""
    return struct.pack(f"{order}IIII", at // SECOND, at % SECOND // unit, len(content), len(content)) + content


def pcap_file(times: Iterable[int], *, order: str = "<", unit: int = 1000, link: int = LOOPBACK) -> bytes:
    """Return a pcap file with a packet of 64 bytes at each time, which says its time."""
    magic = 0xA1B2C3D4 if unit == 1000 else 0xA1B23C4D
    head = struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, 65535, link)
    return head + b"".join(record(at, str(at).encode().ljust(64), order=order, unit=unit) for at in times)


def written(path: Path, content: bytes, *, at: int = NOON) -> Path:
    """Write a file of a ring, last written to at a time in nanoseconds since 1970."""
    path.write_bytes(content)
    os.utime(path, ns=(at, at))
    return path


def times(content: bytes) -> list[int]:
    """Return the time of each packet of a stream that must be whole, little-endian, each packet as it was written."""
    magic, major, minor, _, _, snap, link = struct.unpack_from("<IHHiIII", content)
    unit = {0xA1B2C3D4: 1000, 0xA1B23C4D: 1}[magic]
    assert (major, minor, snap, link) == (2, 4, 262144, LOOPBACK)
    found, here = [], 24
    while here < len(content):
        seconds, fraction, size, whole = struct.unpack_from("<IIII", content, here)
        assert size == whole == 64
        at = seconds * SECOND + fraction * unit
        assert content[here + 16 : here + 16 + size] == str(at).encode().ljust(64)
        found.append(at)
        here += 16 + size
    assert here == len(content)
    return found


def cut(folder: Path, since: int = 0, until: int = 2 * NOON) -> bytes:
    return b"".join(window(folder, since, until))


def test_the_window_begins_with_since_and_ends_before_until(tmp_path: Path) -> None:
    at = [NOON + n * SECOND for n in range(10)]
    written(tmp_path / "ring.pcap0", pcap_file(at))
    assert times(cut(tmp_path, at[3], at[7])) == at[3:7]
    assert times(cut(tmp_path, at[9] + 1)) == []
    assert times(cut(tmp_path)) == at


def test_files_follow_each_other_by_their_first_packet(tmp_path: Path) -> None:
    at = [NOON + n * SECOND for n in range(9)]
    for name, part in (("ring.pcap0", at[6:]), ("ring.pcap1", at[:3]), ("ring.pcap2", at[3:6]), ("ring.pcap3", [])):
        written(tmp_path / name, pcap_file(part))
    assert times(cut(tmp_path)) == at


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("unit", [1000, 1])
def test_both_byte_orders_and_both_units_of_time_are_read(tmp_path: Path, order: str, unit: int) -> None:
    at = [NOON + n * SECOND + 123 * unit for n in range(5)]
    written(tmp_path / "ring.pcap0", pcap_file(at, order=order, unit=unit))
    assert times(cut(tmp_path, at[1], at[4])) == at[1:4]


def test_a_ring_of_several_formats_becomes_one_and_no_digit_is_lost(tmp_path: Path) -> None:
    coarse, fine = [NOON + n * 1000 for n in range(3)], [NOON + SECOND + n for n in range(3)]
    written(tmp_path / "ring.pcap0", pcap_file(fine, unit=1))
    written(tmp_path / "ring.pcap1", pcap_file(coarse, order=">"))
    assert times(cut(tmp_path)) == coarse + fine


def test_another_kind_of_network_than_the_newest_is_left_out_and_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    written(tmp_path / "old.pcap", pcap_file([NOON], link=113), at=NOON)
    written(tmp_path / "new.pcap", pcap_file([NOON + SECOND]), at=NOON + SECOND)
    assert times(cut(tmp_path)) == [NOON + SECOND]
    assert "old.pcap is of another kind of network" in caplog.text


@pytest.mark.parametrize("short", [1, 63, 64, 79, 80])
def test_a_torn_last_packet_is_dropped(tmp_path: Path, short: int) -> None:
    at = [NOON, NOON + SECOND]
    written(tmp_path / "ring.pcap0", pcap_file(at)[:-short])
    written(tmp_path / "ring.pcap1", pcap_file([NOON + 2 * SECOND]))
    assert times(cut(tmp_path)) == [NOON, NOON + 2 * SECOND]


def test_a_damaged_file_is_read_up_to_the_damage(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    damage = struct.pack("<IIII", NOON // SECOND, 0, 0xFFFFFFFF, 64)
    written(tmp_path / "ring.pcap0", pcap_file([NOON]) + damage + record(NOON, b"x" * 64))
    assert times(cut(tmp_path)) == [NOON]
    assert "ring.pcap0 is damaged" in caplog.text


def test_only_files_of_packets_are_read(tmp_path: Path) -> None:
    ring, outside = tmp_path / "ring", tmp_path / "outside.pcap"
    ring.mkdir()
    written(outside, pcap_file([NOON + SECOND]))
    written(ring / "ring.pcap0", pcap_file([NOON]))
    (ring / "ring.pcap1").symlink_to(outside)
    (ring / "ring.pcap2").symlink_to(tmp_path / "nowhere")
    os.mkfifo(ring / "ring.pcap3")
    (ring / "ring.pcap4").mkdir()
    (ring / "ring.pcap5").write_bytes(b"root:x:0:0:root:/root:/bin/bash\n" * 9)
    (ring / "ring.pcap6").write_bytes(b"")
    written(ring / "passwd", pcap_file([NOON + 2 * SECOND]))
    assert times(cut(ring)) == [NOON]


@pytest.mark.parametrize("there", [True, False])
def test_a_ring_without_a_file_is_no_empty_capture(tmp_path: Path, there: bool) -> None:
    with pytest.raises(NoCapture, match="holds no file of packets" if there else "No such file"):
        next(window(tmp_path if there else tmp_path / "nowhere", 0, NOON))


def test_a_file_that_is_begun_anew_while_it_is_read_yields_whole_packets_of_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """tcpdump empties the oldest file and writes on in it, so that bytes of two times lie under one descriptor."""
    monkeypatch.setattr(pcap, "_STEP", 1000)
    old, new = [NOON + n * SECOND for n in range(100)], [NOON + 200 * SECOND + n * 1000 for n in range(130)]
    path = written(tmp_path / "ring.pcap0", pcap_file(old), at=NOON + 100 * SECOND)
    chunks = window(tmp_path, 0, 2 * NOON)
    content = b"".join(next(chunks) for _ in range(4))
    begun = times_of_whole(content)
    assert 0 < len(begun) < len(old)
    # A packet of odd length outside the window: no record begins where one began before.
    begun_anew = pcap_file(new[:1]) + record(2 * NOON, b"x" * 37) + pcap_file(new[1:])[24:]
    with path.open("r+b") as file:
        file.truncate(0)
        file.write(begun_anew)
    got = times(content + b"".join(chunks))
    assert got == begun + new


def times_of_whole(content: bytes) -> list[int]:
    return times(content[: 24 + (len(content) - 24) // 80 * 80])


def test_a_large_ring_takes_little_memory(tmp_path: Path) -> None:
    packet, count = b"x" * 1400, 6000
    for number in range(8):
        first = NOON + number * count * 1_000_000
        content = b"".join(record(first + n * 1_000_000, packet) for n in range(count))
        written(tmp_path / f"ring.pcap{number}", pcap_file([]) + content, at=first + count * 1_000_000)
    whole = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert whole > 64 * 1024 * 1024
    del content
    tracemalloc.start()
    try:
        size = sum(map(len, window(tmp_path, 0, 2 * NOON)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert size == whole - 7 * 24
    assert peak < 3 * 1024 * 1024, peak


# ---- the control port


def words(at: int) -> str:
    """Return nanoseconds since 1970 as the control port takes a time."""
    return datetime.fromtimestamp(at / SECOND, UTC).isoformat().replace("+00:00", "Z")


async def asked(it: Place, **window: str) -> httpx.Response:
    return await it.call("GET", PATH, params=window)


async def test_without_a_ring_it_is_not_here(it: Place) -> None:
    told = await asked(it)
    assert told.status_code == 404
    assert told.headers["content-type"] == "application/problem+json"
    assert "--pcap-dir" in told.json()["detail"]
    assert "network_capture" not in (await it.call("GET", "/metrics")).text


async def test_a_ring_is_streamed_and_needs_the_token(tmp_path: Path) -> None:
    ring = tmp_path / "ring"
    async with place(tmp_path, pcap_dir=ring) as it:
        told = await asked(it)
        assert (told.status_code, told.json()["title"]) == (503, "No packets")
        ring.mkdir()
        at = [NOON + n * SECOND for n in range(10)]
        written(ring / "ring.pcap0", pcap_file(at))
        told = await asked(it, since=words(at[2]), until=words(at[5]))
        assert (told.status_code, told.headers["content-type"]) == (200, "application/vnd.tcpdump.pcap")
        assert times(told.content) == at[2:5]
        assert times((await asked(it)).content) == at
        assert (await asked(it, since="yesterday")).status_code == 400
        assert (await it.call("GET", PATH, headers={})).status_code == 401


async def test_a_disk_that_fails_meanwhile_ends_in_no_whole_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ring").mkdir()
    written(tmp_path / "ring" / "ring.pcap0", pcap_file(NOON + n * SECOND for n in range(9000)))
    honest = os.pread

    def fails(opened: int, size: int, at: int) -> bytes:
        if at > 24:
            raise OSError(5, "Input/output error")
        return honest(opened, size, at)

    monkeypatch.setattr(os, "pread", fails)
    async with place(tmp_path, pcap_dir=tmp_path / "ring") as it:
        with pytest.raises(httpx.RemoteProtocolError):
            await asked(it)
        assert (await it.sign(A, attestation(1))).status == 200


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"pcap_interface": "lo"}, "needs --pcap-dir"),
        ({"pcap_dir": Path("/x"), "pcap_interface": "-i"}, "is no name of a network interface"),
        ({"pcap_dir": Path("/x"), "pcap_filter": "tcp"}, "needs --pcap-interface"),
        ({"pcap_dir": Path("/x"), "pcap_interface": "lo", "pcap_filter": "tcp) or (udp)"}, "must be one line"),
    ],
)
def test_what_is_wrong_with_the_options_is_said(tmp_path: Path, more: dict[str, object], said: str) -> None:
    with pytest.raises(Misconfigured, match=said):
        options(tmp_path, "http://127.0.0.1:9", **more)


def test_a_ring_that_is_too_small_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = Program(folder=tmp_path, upstream="http://127.0.0.1:9").command("--pcap-dir", "/x", "--pcap-mib", "7")
    monkeypatch.setattr("sys.argv", ["sidecar", *words[3:]])
    with pytest.raises(SystemExit):
        main_module.main()
    assert "--pcap-mib: must be at least 8" in capsys.readouterr().err


def test_the_ring_is_not_the_folder_of_the_record(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="another folder than --data"):
        options(tmp_path, "http://127.0.0.1:9", pcap_dir=tmp_path / "data")


# ---- without a tcpdump that captures


@asynccontextmanager
async def hampered(folder: Path, interface: str = "lo") -> AsyncIterator[Place]:
    """Yield a sidecar whose tcpdump has been tried."""
    async with place(folder, pcap_dir=folder / "ring", pcap_interface=interface) as it:
        for _ in range(100):
            if "tcpdump" in (await asked(it)).text:
                break
            await asyncio.sleep(0.05)
        yield it


async def unharmed(it: Place, caplog: pytest.LogCaptureFixture, said: str) -> None:
    """Check that the sidecar signs, and tells once what keeps it from capturing."""
    assert (await it.sign(A, attestation(1))).status == 200
    told = await asked(it)
    assert told.status_code == 503
    assert said in told.json()["detail"]
    await asyncio.sleep(1.3)
    assert len([one for one in caplog.messages if said in one and "signing goes on" in one]) == 1
    assert "stopsign_sidecar_network_capture_up 0" in (await it.call("GET", "/metrics")).text


async def test_without_tcpdump_it_signs_on_and_says_so_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(pcap, "_SYSTEM", str(tmp_path))
    async with hampered(tmp_path) as it:
        await unharmed(it, caplog, "tcpdump is not installed")


@real
async def test_on_an_interface_that_is_not_there_it_signs_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    program("tcpdump")
    async with hampered(tmp_path, "nosuch0") as it:
        await unharmed(it, caplog, "nosuch0: No such device exists")


@real
async def test_without_rights_it_signs_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    binary, setpriv = program("tcpdump"), program("setpriv")
    words = [setpriv, "--reuid", "65534", "--regid", "65534", "--clear-groups", binary]
    wrapper = tmp_path / "bin" / "tcpdump"
    wrapper.parent.mkdir()
    wrapper.write_text(f'#!/bin/sh\nexec {" ".join(words if os.geteuid() == 0 else [binary])} "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{wrapper.parent}:{os.environ['PATH']}")
    async with hampered(tmp_path) as it:
        await unharmed(it, caplog, "permission to")


# ---- a real tcpdump


@asynccontextmanager
async def tcpdump(folder: Path, port: int, *more: str) -> AsyncIterator[subprocess.Popen[bytes]]:
    """Let a tcpdump of an operator write a ring of what passes a port on the loopback interface."""
    need(os.geteuid() != 0, "root, who may capture packets,")
    to = ["-i", "lo", "-w", str(folder / "ring.pcap"), "-U", "--immediate-mode", "-Z", folder.owner()]
    command = [program("tcpdump"), *to, *more]
    process = subprocess.Popen([*command, f"tcp port {port}"], stderr=subprocess.PIPE)
    assert process.stderr is not None
    try:
        line = await asyncio.to_thread(process.stderr.readline)
        assert b"listening on" in line, line + process.stderr.read()
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=10)


def told(content: bytes) -> list[str]:
    """Return what tcpdump reads in a stream, a line for each packet; it must find nothing wrong with it."""
    command = [program("tcpdump"), "-r", "-", "-nn", "-tt", "--nano"]
    ran = subprocess.run(command, input=content, capture_output=True, timeout=30, check=True)
    assert ran.stderr.count(b"\n") == 1, ran.stderr
    return [line for line in ran.stdout.decode().splitlines() if " IP" in line]


def read_back(content: bytes) -> list[float]:
    """Return the times of the packets that tcpdump reads in a stream."""
    return [float(line.split()[0]) for line in told(content)]


async def until(is_so: Callable[[], bool], *, seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, "it did not come to be so"
        await asyncio.sleep(0.02)


@real
async def test_the_packets_of_a_window_are_those_that_tcpdump_wrote(tmp_path: Path) -> None:
    ring = tmp_path / "ring"
    ring.mkdir()
    async with place(tmp_path, pcap_dir=ring) as it:
        async with tcpdump(ring, int(it.signing.rpartition(":")[2]), "-C", "1", "-W", "3"):
            marks = []
            for number in range(30):
                if number % 10 == 0:
                    marks.append(time.time_ns())
                    await asyncio.sleep(0.05)
                assert (await it.sign(A, attestation(number))).status == 200
            await asyncio.sleep(0.3)
            marks.append(time.time_ns())
        wrote = sorted(at for path in ring.iterdir() for at in read_back(path.read_bytes()))
        got = read_back((await asked(it, since=words(marks[1]), until=words(marks[2]))).content)
        assert got == [at for at in wrote if marks[1] <= at * SECOND < marks[2]]
        assert 20 <= len(got) < len(wrote)
        assert read_back((await asked(it)).content) == wrote


@real
async def test_a_ring_that_turns_while_it_is_read_is_never_a_broken_stream(tmp_path: Path) -> None:
    ring = tmp_path / "ring"
    ring.mkdir()

    async def sink(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(65536):
            pass
        writer.close()
        await writer.wait_closed()
        drained.set()

    drained = asyncio.Event()
    server = await asyncio.start_server(sink, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, tcpdump(ring, port, "-C", "1", "-W", "2") as process:
        _, writer = await asyncio.open_connection("127.0.0.1", port)

        async def pour() -> None:
            while True:
                writer.write(os.urandom(256 * 1024))
                await writer.drain()
                await asyncio.sleep(0.03)

        pouring = asyncio.create_task(pour())
        heads, packets = set[bytes](), 0
        await until(lambda: len(pcap.files(ring)) == 2)
        try:
            for _ in range(15):
                content = await asyncio.to_thread(slowly, window(ring, 0, time.time_ns()))
                heads |= {one.head for one in pcap.files(ring)}
                packets += len(await asyncio.to_thread(read_back, content))
        finally:
            pouring.cancel()
            with suppress(asyncio.CancelledError):
                await pouring
            writer.close()
            await writer.wait_closed()
            await asyncio.wait_for(drained.wait(), 10)
        assert process.poll() is None
    assert len(heads) > 3, "it did not turn"
    assert packets > 100


def slowly(chunks: Iterator[bytes]) -> bytes:
    got = bytearray()
    for chunk in chunks:
        got += chunk
        time.sleep(0.02)
    return bytes(got)


@asynccontextmanager
async def capturing(folder: Path) -> AsyncIterator[tuple[Program, Place, Sequence[str]]]:
    """Yield a sidecar to be started with a tcpdump of its own, its clients, and those options."""
    program("tcpdump")
    need(os.geteuid() != 0, "root, who may capture packets,")
    signer = fake_signer()
    async with signing(signer) as upstream:
        it = Program(folder=folder, upstream=upstream)
        filtered = ("--pcap-filter", f"tcp port {it.listen} or tcp port {it.control}")
        words = ("--pcap-dir", str(folder / "ring"), "--pcap-interface", "lo", *filtered, "--pcap-mib", "8")
        async with client(it.listen, it.control, signer, folder / "data", upstream) as there:
            yield it, there, words


def runs(number: int) -> bool:
    """Tell whether a process runs that was not only left to be waited for."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def capturing_pid(it: Place, *, other_than: int = 0) -> int:
    """Wait until the sidecar's tcpdump captures; return its process id."""
    path = it.data / "tcpdump.pid"
    for _ in range(200):
        text = (await it.call("GET", "/metrics")).text
        number = int(path.read_text() or 0) if path.exists() else 0
        if "stopsign_sidecar_network_capture_up 1" in text and number not in (0, other_than):
            return number
        await asyncio.sleep(0.05)
    pytest.fail("tcpdump does not capture")


@real
async def test_its_own_tcpdump_is_started_again_and_ended_with_it(tmp_path: Path) -> None:
    async with capturing(tmp_path) as (proxy, it, words):
        async with proxy.running(*words) as process:
            first = await capturing_pid(it)
            assert (await it.sign(A, attestation(1))).status == 200
            await until(lambda: len(kept(tmp_path)) >= 4)
            before = kept(tmp_path)
            os.kill(first, signal.SIGKILL)
            assert (await it.sign(A, attestation(2))).status == 200
            second = await capturing_pid(it, other_than=first)
            assert "tcpdump was ended by signal 9" in process.tail
            assert "network_capture_starts_total 2" in (await it.call("GET", "/metrics")).text
            assert (await it.sign(A, attestation(3))).status == 200
            await until(lambda: len(kept(tmp_path)) > len(before))
            content = (await asked(it)).content
            assert read_back(content)[: len(before)] == before, "what the first one wrote is still there"
            assert not [line for line in told(content) if f".{proxy.control}" in line], "nothing of the control port"
            assert {path.stat().st_mode & 0o077 for path in (tmp_path / "ring").iterdir()} == {0}
        assert not runs(second)
        assert process.process.returncode == 0, process.tail


@real
async def test_the_tcpdump_of_a_sidecar_that_was_killed_is_ended_by_the_next_and_nobody_else_is(
    tmp_path: Path,
) -> None:
    async with capturing(tmp_path) as (proxy, it, words):
        async with proxy.running(*words) as process:
            left = await capturing_pid(it)
            process.kill()
            assert runs(left)
        async with proxy.running(*words) as process:
            await capturing_pid(it, other_than=left)
            await until(lambda: not runs(left))
        bystander = subprocess.Popen(["sleep", "60"])
        try:
            (it.data / "tcpdump.pid").write_text(f"{bystander.pid}\n")
            async with proxy.running(*words):
                await capturing_pid(it, other_than=bystander.pid)
                assert bystander.poll() is None
        finally:
            bystander.kill()
            bystander.wait()


def kept(folder: Path) -> list[float]:
    """Return the times of the packets in a ring."""
    with suppress(NoCapture):
        return read_back(cut(folder / "ring", until=2 * time.time_ns()))
    return []


@real
async def test_files_of_earlier_runs_are_dropped_as_the_ring_fills(tmp_path: Path) -> None:
    ring = tmp_path / "ring"
    ring.mkdir()
    old = [written(ring / f"ring-{n}.pcap0", bytes(2_000_000), at=NOON + n) for n in range(1, 6)]
    empty = written(ring / "ring-9.pcap0", bytes(24), at=NOON + 9)
    foreign = written(ring / "mine.pcap", bytes(9_000_000))
    async with capturing(tmp_path) as (proxy, it, words), proxy.running(*words):
        await capturing_pid(it)
        assert [path.exists() for path in old] == [False, False, True, True, True]
        assert not empty.exists()
        assert foreign.exists()


async def test_the_bots_driver_takes_the_packets_and_learns_why_there_are_none(tmp_path: Path) -> None:
    ring, at = tmp_path / "ring", time.time_ns() // 1000 * 1000
    ring.mkdir()
    async with place(tmp_path, pcap_dir=ring) as it, recorder(it) as driver:
        with pytest.raises(NodeBroken, match=r"503 No packets .* holds no file of packets"):
            await taken(driver)
        written(ring / "ring.pcap0", pcap_file([at - 3600 * SECOND, at - SECOND]), at=at)
        assert times(await taken(driver)) == [at - SECOND]


@asynccontextmanager
async def recorder(it: Place) -> AsyncIterator[Recorder]:
    """Yield the driver of an inventory that asks for packets."""
    options = {"network_capture": "on"}
    endpoint = Endpoint(driver="sidecar", url=it.control, token="env:T", timeout=timedelta(seconds=5), options=options)
    node = Node(name="n", avs="ethereum", keys=KEYS, reach={Capability.RECORDER: endpoint})
    async with Reach(drivers={"sidecar": sidecar.connect}, secret=lambda _: TOKEN, clock=Clock()) as reach:
        made = reach.reach(node, Capability.RECORDER)
        assert isinstance(made, Recorder)
        yield made


async def taken(driver: Recorder) -> bytes:
    now = datetime.now(UTC)
    async for item in driver.capture(now - timedelta(minutes=15), now):
        if item.what == "network-capture":
            return b"".join([chunk async for chunk in item.chunks])
    pytest.fail("the driver asks for no packets")
