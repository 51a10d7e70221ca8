"""A bot that has nothing to do costs next to nothing: its worker sleeps until a commit or a due time wakes it."""

import asyncio
import os
from pathlib import Path

from tests import processes
from tests.conftest import need

STAT = Path("/proc/self/stat")
SECONDS = 6.0
MOST_SHARE = 0.10
"""Of one core. A tick a second and the sequencer cost about 0.01."""


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def test_an_idle_bot_sleeps(tmp_path: Path) -> None:
    need(not STAT.exists(), "a /proc file system")
    bot = processes.write_bot(tmp_path / "home", fleet_base=processes.free_block(16))
    async with bot.serving() as running:
        await asyncio.sleep(1)
        before = cpu_seconds(running.process.pid)
        await asyncio.sleep(SECONDS)
        share = (cpu_seconds(running.process.pid) - before) / SECONDS
    print(f"an idle bot uses {share:.3f} of a core")
    assert share < MOST_SHARE
