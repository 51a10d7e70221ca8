"""The sidecar as a process: killed, on a full disk, ended in order, started wrongly, and how fast it is."""

import asyncio
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bot.sidecar import __main__ as main_module
from bot.sidecar import lines, place
from tests.processes import clean_environment, running, start
from tests.sidecar.bench import (
    KEYS,
    Place,
    Program,
    attestation,
    client,
    fake_signer,
    limit_files,
    root_of,
    signing,
    write_token,
)

A, B = KEYS[:2]


@asynccontextmanager
async def programs(folder: Path) -> AsyncIterator[tuple[Program, Place]]:
    """Yield a sidecar to be started, and clients for it."""
    signer = fake_signer()
    async with signing(signer) as upstream:
        program = Program(folder=folder, upstream=upstream)
        async with client(program.listen, program.control, signer, folder / "data", upstream) as it:
            yield program, it


async def test_after_kill_9_every_answered_signature_is_in_the_record_and_frozen_keys_stay_frozen(
    tmp_path: Path,
) -> None:
    dice = random.Random(3)
    answered: set[tuple[str, str]] = set()
    async with programs(tmp_path) as (program, it):
        for turn in range(3):
            async with program.running() as process:
                first = 1_000_000 * turn
                workers = [
                    asyncio.create_task(answering(it, key, first + 10_000 * n, answered))
                    for key in KEYS[1:]
                    for n in range(8)
                ]
                await asyncio.sleep(0.5 + dice.random() * 0.5)
                assert (await it.put("frozen", A, request=f"f{turn}")).status_code == 200
                process.kill()
                await asyncio.gather(*workers)
        async with program.running():
            assert (await it.key(A))["state"] == "frozen"
            assert (await it.sign(A, attestation(1))).status == 412
            told = await it.lines("messages")
    recorded = {(one["key"], one["digest"]) for one in told}
    assert len(answered) > 100
    assert answered <= recorded
    made = {(key, root) for key, root in it.signer.roots}
    assert made <= recorded, "whatever the signer made is in the record, also what was never answered"
    assert [one["nonce"] for one in told] == list(range(1, len(told) + 1))
    assert any(one["result"] == "unknown" for one in told), "it was killed amid requests"
    assert lines.check(it.data).wrong == ()


async def answering(it: Place, key: str, first: int, answered: set[tuple[str, str]]) -> None:
    for number in range(first, first + 10_000):
        answer = await it.sign(key, attestation(number))
        if answer.status == 0:
            return
        assert answer.status == 200
        answered.add((key, root_of(number)))


async def test_on_a_full_disk_nothing_is_signed_and_freezing_works(tmp_path: Path) -> None:
    async with programs(tmp_path) as (program, it), program.running() as process:
        for number in range(40):
            assert (await it.sign(A, attestation(number))).status == 200
        size = lines.segments(it.data)[0].stat().st_size
        limit_files(process, size + 500)
        statuses = [(await it.sign(A, attestation(number))).status for number in range(100, 110)]
        assert statuses[-8:] == [503] * 8
        assert it.signer.asked == 40 + statuses.count(200)
        text = (await it.call("GET", "/metrics", headers={})).text
        assert "stopsign_sidecar_record_failing 1" in text
        assert 'avs_node_up{avs="ethereum",signer="n"} 0' in text
        assert (await it.put("frozen", B)).json()["results"][0]["result"] == "changed"
        assert (await it.sign(B, attestation(1))).status == 412
        limit_files(process, -1)
        assert (await it.sign(A, attestation(200))).status == 200
        assert "stopsign_sidecar_record_failing 0" in (await it.call("GET", "/metrics", headers={})).text
        digests = {one["digest"] for one in await it.lines("messages")}
        assert {root for _, root in it.signer.roots} <= digests
        assert lines.check(it.data).wrong == ()
        await process.stop()
        async with program.running():
            assert (await it.sign(B, attestation(1))).status == 412


async def test_on_a_full_disk_requests_pass_if_so_wanted_and_are_counted_as_lost(tmp_path: Path) -> None:
    async with programs(tmp_path) as (program, it), program.running("--when-full", "pass") as process:
        assert (await it.sign(A, attestation(1))).status == 200
        limit_files(process, lines.segments(it.data)[0].stat().st_size + 100)
        for number in range(10, 15):
            assert (await it.sign(A, attestation(number))).status == 200
        assert (await it.key(A))["counter"] == 6
        limit_files(process, -1)
        assert (await it.sign(A, attestation(20))).status == 200
        text = (await it.call("GET", "/metrics", headers={})).text
        assert 'stopsign_sidecar_unrecorded_requests_total{avs="ethereum",signer="n"} 5' in text
        assert b'"what":"gap","lost":5' in lines.segments(it.data)[0].read_bytes()


async def test_an_end_in_order_waits_for_the_signer(tmp_path: Path) -> None:
    async with programs(tmp_path) as (program, it), program.running() as process:
        it.signer.delay = 0.7
        asked = asyncio.create_task(it.sign(A, attestation(1)))
        await asyncio.sleep(0.3)
        await process.stop()
        assert (await asked).status == 200
        assert process.process.returncode == 0, process.tail
    last = [line for line in lines.segments(it.data)[-1].read_bytes().splitlines() if b'"what":"opened"' not in line]
    assert b'"what":"result"' in last[-2]
    assert b'"what":"stopped"' in last[-1]


async def test_one_folder_has_one_sidecar(tmp_path: Path) -> None:
    async with programs(tmp_path) as (program, it), program.running():
        second = Program(folder=tmp_path, upstream=it.upstream)
        ran = await asyncio.create_subprocess_exec(*second.command(), stderr=asyncio.subprocess.PIPE)
        _, told = await asyncio.wait_for(ran.communicate(), 60)
        assert ran.returncode == 1
        assert b"another sidecar runs on" in told
        assert b"Traceback" not in told
        assert (await it.sign(A, attestation(1))).status == 200


async def test_how_much_slower_signing_gets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Printed, not held against a figure: the machine that runs this is shared."""
    signer_port = Program(folder=tmp_path, upstream="").listen
    command = (sys.executable, "-m", "tests.sidecar.signer", "--port", str(signer_port), "--interop", "0..3", "--fake")
    process = start("signer", command, tmp_path)
    upstream = f"http://127.0.0.1:{signer_port}"
    try:
        await process.answers(f"{upstream}/upcheck")
        program = Program(folder=tmp_path, upstream=upstream)
        async with program.running(), client(program.listen, program.control, fake_signer(), tmp_path, upstream) as it:
            rates = {}
            for name, base in (("direct", upstream), ("through the sidecar", it.signing)):
                rates[name] = [await rate(it, base, count) for count in (1, 16)]
    finally:
        await process.stop()
    direct, through = rates["direct"], rates["through the sidecar"]
    with capsys.disabled():
        for n, clients in enumerate((1, 16)):
            print(
                f"\n  {clients:2} clients: direct {direct[n]:6.0f}/s, through the sidecar {through[n]:6.0f}/s, "
                f"{direct[n] / through[n]:.1f} times slower",
                end="",
            )
    assert min(through) > 0


async def rate(it: Place, base: str, clients: int, seconds: float = 0.6) -> float:
    end = time.monotonic() + seconds
    done = 0

    async def one(number: int) -> None:
        nonlocal done
        while time.monotonic() < end:
            number += 1
            assert (await it.sign(KEYS[number % 4], attestation(number), base=base)).status == 200
            done += 1

    await asyncio.gather(*(one(100_000_000 * (n + clients)) for n in range(clients)))
    return done / seconds


# ---- started wrongly


def words(folder: Path, *more: str) -> list[str]:
    return [
        "sidecar",
        *("--upstream", "http://127.0.0.1:9", "--data", str(folder / "data")),
        *("--token-file", str(write_token(folder)), *more),
    ]


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        (["--listen", "0.0.0.0:9001"], 2, "can be reached from other machines"),
        (["--control", "10.0.0.1:9001"], 2, "can be reached from other machines"),
        (
            ["--listen", "0.0.0.0:9001", "--allow-non-loopback"],
            2,
            "--listen: other machines would be served without TLS",
        ),
        (["--control", "10.0.0.1:9001", "--allow-non-loopback"], 2, "or say --plain-http"),
        (["--connections", "0"], 2, "must be greater than 0"),
        (["--control", "127.0.0.1:9001"], 2, "are the same address"),
        (["--listen", "example.org:1"], 2, "write an IP address and a port"),
        (["--upstream", "ftp://x"], 2, "must be a plain URL"),
        (["--upstream", "http://u:p@x"], 2, "must be a plain URL"),
        (["--token-file", "/nowhere"], 2, "cannot be read"),
        (["--pass", "DELETE"], 2, "write a method and a path"),
        (["--pass", "POST /api/v1/eth2/sign/0xaa"], 2, "would sign past the record"),
        (["--rotate-mib", "0"], 2, "must be greater than 0"),
        (["--tls-cert", "x"], 2, "go together"),
        (["--upstream-ca", "/nowhere"], 2, "a certificate cannot be read"),
        (["--data", "/proc/nowhere"], 2, "/proc/nowhere is no folder. Correct the path, or what was frozen elsewhere"),
        (["--data", "/"], 2, "/ holds no record of a sidecar. Correct the path"),
        (["--init", "--data", "/proc/nowhere"], 2, "cannot be written to"),
        (["--check"], 2, "is no folder"),
        (["--check", "--data", "/"], 1, "there is no record in /"),
        (["--upstream", "http://127.0.0.1:9001"], 2, "http://127.0.0.1:9001 is --listen of this very sidecar"),
        (["--upstream", "http://localhost:9001/"], 2, "is --listen of this very sidecar"),
        (["--upstream", "http://127.0.0.1:9002/x"], 2, "is --control of this very sidecar"),
        (
            ["--upstream", "http://127.0.0.1:9001", "--listen", "0.0.0.0:9001", "--allow-non-loopback", "--plain-http"],
            2,
            "is --listen of this very sidecar",
        ),
    ],
)
def test_what_is_wrong_is_one_line_and_an_exit_code(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    more: list[str],
    code: int,
    said: str,
) -> None:
    monkeypatch.setattr("sys.argv", words(tmp_path, *more))
    with pytest.raises(SystemExit) as ended:
        main_module.main()
    told = capsys.readouterr().err
    assert ended.value.code == code
    assert said in told
    assert told.count("\n") == 1, told
    assert not (tmp_path / "data" / "denied.json").exists()


def said_by(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """Run the command in this process and return its exit code."""
    monkeypatch.setattr("sys.argv", ["sidecar", *words])
    with pytest.raises(SystemExit) as ended:
        main_module.main()
    return int(ended.value.code or 0)


def test_a_folder_is_made_once_and_on_somebodys_word_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "a" / "data"
    assert said_by(monkeypatch, "--init", "--data", str(data)) == 0
    assert f"{data} is made, and denies nothing yet" in capsys.readouterr().out
    assert data.stat().st_mode & 0o777 == 0o700
    place.need(data)
    assert said_by(monkeypatch, "--init", "--data", str(data)) == 2
    assert "holds a record already: leave --init out" in capsys.readouterr().err
    assert said_by(monkeypatch, "--init") == 2


async def test_a_mistyped_folder_lets_nothing_through_that_was_frozen(tmp_path: Path) -> None:
    async with programs(tmp_path) as (program, it):
        async with program.running():
            assert (await it.put("frozen", A)).status_code == 200
        (tmp_path / "dta").mkdir()
        for wrong in ("dta", "nowhere"):
            ran = await asyncio.create_subprocess_exec(
                *program.command("--data", str(tmp_path / wrong)), stderr=asyncio.subprocess.PIPE
            )
            _, told = await asyncio.wait_for(ran.communicate(), 60)
            assert ran.returncode == 2
            assert b"what was frozen elsewhere would be let through here" in told
        assert list((tmp_path / "dta").iterdir()) == []
        assert not (tmp_path / "nowhere").exists()


def test_a_misspelt_variable_is_told_with_what_was_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STOPSIGN_SIDECAR_UPSTREEM", "http://127.0.0.1:9")
    monkeypatch.setenv("STOPSIGN_SIDECAR_PORT_9001_TCP", "tcp://10.0.0.1:9001")  # as Kubernetes gives it
    assert said_by(monkeypatch, *words(tmp_path)[1:]) == 2
    told = capsys.readouterr().err
    assert "STOPSIGN_SIDECAR_UPSTREEM: is no variable of the sidecar: did you mean STOPSIGN_SIDECAR_UPSTREAM?" in told
    assert "PORT_9001" not in told


@pytest.mark.parametrize("command", [["-m", "bot.sidecar"], ["-m", "bot.cli.run", "sidecar"]])
def test_the_help_shows_every_name_whole_on_a_narrow_terminal(command: list[str]) -> None:
    environment = clean_environment(COLUMNS="80")
    shown = subprocess.run(
        [sys.executable, *command, "--help"], capture_output=True, text=True, env=environment, timeout=60, check=True
    ).stdout
    for name in (
        "STOPSIGN_SIDECAR_REFUSE_EQUIVOCATION",
        "STOPSIGN_SIDECAR_ALLOW_NON_LOOPBACK",
        "--refuse-equivocation",
    ):
        assert name in shown
    assert "…" not in shown


async def test_a_signer_that_is_down_at_the_start_is_told(tmp_path: Path) -> None:
    nobody = Program(folder=tmp_path, upstream="").listen
    place.make(tmp_path / "data")
    process = start("sidecar", Program(folder=tmp_path, upstream=f"http://127.0.0.1:{nobody}").command(), tmp_path)
    try:
        async with asyncio.timeout(20):
            while "its list of keys cannot be had" not in process.tail:
                await asyncio.sleep(0.1)
    finally:
        await process.stop()


def test_a_token_that_everybody_reads_or_that_is_short_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = words(tmp_path)
    token = tmp_path / "token"
    for change, said in ((lambda: token.chmod(0o644), "everybody may read"), (lambda: token.write_text("x"), "fewer")):
        token.chmod(0o600)
        change()
        monkeypatch.setattr("sys.argv", told)
        with pytest.raises(SystemExit):
            main_module.main()
        assert said in capsys.readouterr().err


async def test_everything_can_be_set_by_the_environment(tmp_path: Path) -> None:
    place.make(tmp_path / "data")
    async with programs(tmp_path) as (program, it):
        settings = {
            "UPSTREAM": it.upstream,
            "LISTEN": f"127.0.0.1:{program.listen}",
            "CONTROL": f"127.0.0.1:{program.control}",
            "DATA": str(it.data),
            "TOKEN_FILE": str(write_token(tmp_path)),
            "AVS": "holesky",
        }
        environment = clean_environment(**{f"STOPSIGN_SIDECAR_{name}": value for name, value in settings.items()})
        command = (sys.executable, "-m", "bot.sidecar")
        ready = f"{it.signing}/upcheck"
        async with running("sidecar", command, tmp_path, ready=ready, environment=environment) as process:
            assert (await it.call("GET", "/stopsign/v1/node")).json()["avs"] == "holesky"
            os.kill(process.process.pid, signal.SIGINT)
            assert await asyncio.to_thread(process.process.wait, 20) == 0


async def test_check_tells_whether_the_record_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async with programs(tmp_path) as (program, it), program.running():
        await it.sign(A, attestation(1))
    monkeypatch.setattr("sys.argv", ["sidecar", "--check", "--data", str(it.data)])
    with pytest.raises(SystemExit) as ended:
        main_module.main()
    assert ended.value.code == 0
    assert "the chain is unbroken" in capsys.readouterr().out
    (path,) = lines.segments(it.data)
    path.write_bytes(path.read_bytes().replace(b'"slot":32', b'"slot":33', 1))
    with pytest.raises(SystemExit) as ended:
        main_module.main()
    assert ended.value.code == 1
    assert "does not follow" in capsys.readouterr().err
