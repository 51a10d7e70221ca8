"""kill -9 during a capture, at every step: what was acknowledged is there, what was not is on record as cut off."""

import asyncio
import hashlib
import signal
import sys
from pathlib import Path

import pytest

from bot.domain import journal as j
from bot.domain.target import State
from bot.vault.folder import Folder
from tests.crash.capturing import KINDS, again, content
from tests.fakes import room

ROOT = Path(__file__).parents[2]


async def ran(home: Path, fatal: int) -> tuple[int, str]:
    """Run the capture in a process of its own; return how it ended and what it said."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.crash.capturing", str(home), str(fatal)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode or 0, said.decode().strip()


async def kept(home: Path) -> list[j.EvidenceKept]:
    async with room(home) as spine:
        return [w.entry for w in await spine.journal() if isinstance(w.entry, j.EvidenceKept)]


async def test_a_capture_may_be_cut_off_anywhere(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    code, said = await ran(tmp_path / "whole", 0)
    steps = int(said)
    assert code == 0
    assert steps > 30, "the points at which the process can be killed are not seen any more"
    gate = asyncio.Semaphore(3)
    async with asyncio.TaskGroup() as group:
        for fatal in range(1, steps + 1, 2 if steps > 80 else 1):
            group.create_task(one(gate, tmp_path / str(fatal), fatal))


async def one(gate: asyncio.Semaphore, home: Path, fatal: int) -> None:
    home.mkdir()
    async with gate:
        code, _ = await ran(home, fatal)
        assert code == -signal.SIGKILL, fatal
        vault, before = Folder(home), await kept(home)
        for item in before:
            assert hashlib.sha256(vault.read(item.sha256)).hexdigest() == item.sha256
        state, entries = await again(home)
    assert state is State.VERIFIED, fatal
    items = {e.what: e for e in entries if isinstance(e, j.EvidenceKept) and e.node == "s01"}
    assert set(items) == set(KINDS), fatal
    assert {what: vault.read(items[what].sha256) for what in KINDS} == {what: b"".join(content(what)) for what in KINDS}
    assert [e.item for e in entries if isinstance(e, j.EvidenceKept)][: len(before)] == [item.item for item in before]
    lost = [e.what for e in entries if isinstance(e, j.EvidenceMissing)]
    assert "the rest of a capture" in lost, fatal
    vault.sweep()
    assert not list(home.rglob(".incoming-*"))


pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")
