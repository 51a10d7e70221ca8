"""Blobs are written once, durably, under their own hash; whatever dies in between leaves a vault that verifies."""

import asyncio
import hashlib
import os
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from bot.errors import Invalid, NotFound, Refused
from bot.ports import Blobs, Kept
from bot.vault import files
from bot.vault.folder import Damaged, Folder

CONTENT = b"signed messages of the last fifteen minutes\n" * 100_000
NAME = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def vault(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "evidence")


def path_of(tmp_path: Path, name: str = NAME) -> Path:
    return tmp_path / "evidence" / "blobs" / name[:2] / name[2:]


def pieces(content: bytes = CONTENT, size: int = 65_521) -> Iterator[bytes]:
    return (content[start : start + size] for start in range(0, len(content), size))


async def stream(content: bytes = CONTENT) -> AsyncIterator[bytes]:
    for piece in pieces(content):
        await asyncio.sleep(0)
        yield piece


def overwrite(path: Path, content: bytes) -> None:
    path.chmod(0o600)
    path.write_bytes(content)


def incoming(tmp_path: Path) -> list[str]:
    return [name for name in os.listdir(tmp_path / "evidence" / "blobs") if name.startswith(".incoming-")]


def test_a_blob_is_kept_under_its_hash_and_read_only(vault: Folder, tmp_path: Path) -> None:
    assert vault.put(pieces()) == Kept(sha256=NAME, size=len(CONTENT))
    assert stat.S_IMODE(path_of(tmp_path).stat().st_mode) == 0o400
    assert path_of(tmp_path).stat().st_nlink == 1
    assert vault.read(NAME) == CONTENT
    assert vault.exists(NAME)
    assert list(vault.all()) == [NAME]
    assert incoming(tmp_path) == []


async def test_a_stream_is_kept_the_same_way(vault: Folder) -> None:
    port: Blobs = vault
    assert await port.keep(stream()) == Kept(sha256=NAME, size=len(CONTENT))
    assert port.read(NAME) == CONTENT


async def test_nothing_is_a_blob_too(vault: Folder) -> None:
    empty = hashlib.sha256(b"").hexdigest()
    assert await vault.keep(stream(b"")) == vault.put([]) == Kept(sha256=empty, size=0)


def test_the_same_content_again_is_the_same_file(vault: Folder, tmp_path: Path) -> None:
    vault.put(pieces())
    before = path_of(tmp_path).stat()
    assert vault.put([CONTENT]) == Kept(sha256=NAME, size=len(CONTENT))
    assert path_of(tmp_path).stat().st_ino == before.st_ino
    assert incoming(tmp_path) == []


def test_the_same_content_again_finds_a_damaged_file_and_leaves_it(vault: Folder, tmp_path: Path) -> None:
    vault.put(pieces())
    overwrite(path_of(tmp_path), b"another")
    with pytest.raises(Damaged, match="was altered"):
        vault.put(pieces())
    with pytest.raises(Damaged, match="was altered"):
        vault.read(NAME)
    assert path_of(tmp_path).read_bytes() == b"another"
    assert incoming(tmp_path) == []


def test_a_name_from_outside_is_no_blob(vault: Folder, tmp_path: Path) -> None:
    for name in ("../../etc/passwd", NAME.upper(), NAME[:-1], "", "a\x00b", NAME + "\n"):
        with pytest.raises(Invalid, match="not the SHA-256"):
            vault.open(name)
    with pytest.raises(NotFound):
        vault.open(NAME)
    assert not vault.exists(NAME)


def test_a_link_is_not_followed(vault: Folder, tmp_path: Path) -> None:
    path_of(tmp_path).parent.mkdir(parents=True)
    (tmp_path / "outside").write_bytes(CONTENT)
    path_of(tmp_path).symlink_to(tmp_path / "outside")
    assert not vault.exists(NAME)
    assert list(vault.all()) == []
    assert list(vault.strays()) == [f"{NAME[:2]}/{NAME[2:]}"]
    with pytest.raises(files.NotPlain):
        vault.put(pieces())


def test_a_linked_shelf_is_refused(vault: Folder, tmp_path: Path) -> None:
    (tmp_path / "evidence" / "blobs").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    path_of(tmp_path).parent.symlink_to(tmp_path / "outside")
    with pytest.raises(OSError, match=NAME[:2]):
        vault.put(pieces())
    assert os.listdir(tmp_path / "outside") == []
    assert list(vault.strays()) == [NAME[:2]]


def test_what_cannot_be_a_blob_is_a_stray(vault: Folder, tmp_path: Path) -> None:
    assert list(vault.strays()) == list(vault.all()) == []
    vault.put(pieces())
    for name in ("readme", "ab", f"{NAME[:2]}/x"):
        (tmp_path / "evidence" / "blobs" / name).write_text("")
    assert list(vault.strays()) == [*sorted(["ab", f"{NAME[:2]}/x"]), "readme"]
    assert list(vault.all()) == [NAME]


class Broke(Exception):
    """The node stopped answering."""


def test_a_stream_that_breaks_leaves_nothing(vault: Folder, tmp_path: Path) -> None:
    def broken() -> Iterator[bytes]:
        yield b"half"
        raise Broke

    with pytest.raises(Broke):
        vault.put(broken())
    assert list(vault.all()) == []
    assert incoming(tmp_path) == []


async def test_a_cancelled_stream_leaves_nothing(vault: Folder, tmp_path: Path) -> None:
    begun = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(files.BLOCK)
            begun.set()

    task = asyncio.create_task(vault.keep(endless()))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert list(vault.all()) == []
    assert incoming(tmp_path) == []


async def test_many_writers_of_the_same_and_of_other_content(vault: Folder, tmp_path: Path) -> None:
    contents = [bytes([number % 5]) * 100_000 for number in range(40)]
    kept = await asyncio.gather(*(vault.keep(stream(content)) for content in contents))
    assert {blob.sha256 for blob in kept} == set(vault.all())
    assert len(set(vault.all())) == 5
    assert all(vault.read(name) for name in vault.all())
    assert incoming(tmp_path) == []


# ---- kill -9 ---------------------------------------------------------------------------------------------------------

HALF = """
import sys, time, pathlib
from bot.vault.folder import Folder
def chunks():
    yield b"half of it" * 200_000
    print("ready", flush=True)
    time.sleep(60)
Folder(pathlib.Path(sys.argv[1])).put(chunks())
"""

MANY = """
import sys, pathlib
from bot.vault.folder import Folder
vault = Folder(pathlib.Path(sys.argv[1]))
for number in range(1_000_000):
    print(vault.put([b"%d" % number] * 1000).sha256, flush=True)
"""


def started(code: str, home: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", code, str(home)], stdout=subprocess.PIPE, text=True)


def killed(process: subprocess.Popen[str]) -> list[str]:
    """Kill the writer; return the rest of what it had said."""
    process.send_signal(signal.SIGKILL)
    said, _ = process.communicate()
    assert process.returncode == -signal.SIGKILL
    return said.split()


def test_a_writer_killed_in_the_middle_leaves_nothing_that_counts(vault: Folder, tmp_path: Path) -> None:
    process = started(HALF, tmp_path / "evidence")
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    assert vault.sweep() == 0, "a living writer's file is not swept"
    killed(process)
    assert len(incoming(tmp_path)) == 1
    assert list(vault.all()) == list(vault.strays()) == []
    assert vault.sweep() == 1
    assert incoming(tmp_path) == []


@pytest.mark.parametrize("acknowledged", [1, 2, 7, 20])
def test_what_was_acknowledged_before_the_kill_is_there(vault: Folder, tmp_path: Path, acknowledged: int) -> None:
    process = started(MANY, tmp_path / "evidence")
    assert process.stdout is not None
    names = [process.stdout.readline().strip() for _ in range(acknowledged)]
    names += [name for name in killed(process) if len(name) == 64]
    assert set(names) <= set(vault.all())
    assert all(hashlib.sha256(vault.read(name)).hexdigest() == name for name in vault.all())
    assert list(vault.strays()) == []
    vault.sweep()
    assert incoming(tmp_path) == []


def test_there_is_nothing_to_sweep_in_a_new_vault(vault: Folder) -> None:
    assert vault.sweep() == 0


def test_an_old_content_is_removed_for_good_and_a_fresh_one_never(vault: Folder, tmp_path: Path) -> None:
    kept = vault.put([b"old"])
    with pytest.raises(Refused, match="less than an hour ago"):
        vault.remove(kept.sha256)
    path = tmp_path / "evidence" / "blobs" / kept.sha256[:2] / kept.sha256[2:]
    for again in (True, False):
        os.utime(path, (0, 0))
        if again:
            vault.put([b"old"])  # kept again: its record may be on its way
            with pytest.raises(Refused):
                vault.remove(kept.sha256)
    vault.remove(kept.sha256)
    vault.remove(kept.sha256)
    assert not vault.exists(kept.sha256)
    with pytest.raises(Invalid, match="not the SHA-256"):
        vault.remove("../../etc/passwd")
