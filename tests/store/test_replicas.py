"""Several processes on one database: one journal, one log, no work done twice, and none of it lost to kill -9."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bot.domain import journal as j
from bot.domain.severity import Severity
from bot.flows import intake
from tests.fakes import Room, person
from tests.processes import ROOT
from tests.store.replica import LOG
from tests.store.rooms import assert_whole, room_at, sequence

KILLS = (0.0, 0.1, 0.25, 0.4)
"""Seconds after its first acknowledgement at which a replica is killed."""


def start(url: str, name: str, seconds: float, folder: Path) -> tuple["subprocess.Popen[bytes]", Path]:
    """Start a replica whose output goes into a file."""
    path = folder / f"{name}.out"
    command = [sys.executable, "-m", "tests.store.replica", url, name, str(seconds)]
    with path.open("wb") as out:
        environment = {**os.environ, "PYTHONHASHSEED": "0"}  # the same alert has the same fingerprint everywhere
        return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=out), path


def said(path: Path) -> list[list[Any]]:
    """Return the whole lines that a replica printed; anything else fails."""
    text = path.read_text()
    whole, _, _ = text.rpartition("\n")
    try:
        return [json.loads(line) for line in whole.splitlines()]
    except ValueError:
        pytest.fail(text[-3000:])


async def declared(spine: Room) -> None:
    """Open the incidents to which notes go."""
    for n in range(LOG):
        await spine.decide(
            intake.declare, intake.Declare(by=person("ada"), severity=Severity.SEV3, summary=f"case {n}")
        )


async def notes(spine: Room) -> Counter[str]:
    """Return how often each note stands in the journal."""
    entries = [w.entry for n in range(1, LOG + 1) for w in await spine.journal(n)]
    return Counter(entry.text for entry in entries if isinstance(entry, j.NoteAdded))


async def test_four_processes_keep_one_journal_and_one_log_and_do_no_work_twice(url: str, tmp_path: Path) -> None:
    async with room_at(url) as spine:
        await declared(spine)
        running = [start(url, f"r{n}", 4, tmp_path) for n in range(4)]
        assert [process.wait(timeout=60) for process, _ in running] == [0] * 4
        told = [line for _, path in running for line in said(path)]
        assert [value for what, value in told if what == "error"] == []
        claims = Counter(key for what, (key, _) in ((w, v) for w, v in told if w == "claim"))
        assert claims
        assert set(claims.values()) == {1}
        stored, promised = await notes(spine), [value for what, value in told if what == "note"]
        assert {text: stored[text] for text in promised} == dict.fromkeys(promised, 1)
        leaves = sum(value for what, value in told if what == "leaves")
        leaves += await sequence(spine)
        size = await assert_whole(spine)
        assert size >= leaves > len(promised)
        assert len({tuple(value) for what, value in told if what == "alert"}) == 1


async def test_kill_9_at_any_moment_leaves_the_log_whole_and_nothing_promised_is_lost(url: str, tmp_path: Path) -> None:
    async with room_at(url) as spine:
        await declared(spine)
        promised: list[str] = []
        for turn, pause in enumerate(KILLS):
            process, path = start(url, f"k{turn}", 60, tmp_path)
            end = time.monotonic() + 30
            while not any(what == "leaves" and value for what, value in said(path)):
                assert process.poll() is None, path.read_text()[-3000:]
                assert time.monotonic() < end, path.read_text()[-3000:]
                time.sleep(0.005)
            time.sleep(pause)
            process.send_signal(signal.SIGKILL)
            process.wait(timeout=10)
            told = said(path)
            assert [value for what, value in told if what == "error"] == []
            promised += [value for what, value in told if what == "note"]
            await sequence(spine)
            await assert_whole(spine)
        stored = await notes(spine)
        assert {text: stored[text] for text in promised} == dict.fromkeys(promised, 1)


def test_a_process_that_dies_at_any_statement_of_sequencing_leaves_the_log_as_it_was(url: str) -> None:
    command = [sys.executable, "-m", "tests.store.dying", url]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout) > 8  # statements, and the commit
