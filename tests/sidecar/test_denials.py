"""The denied keys: whatever fails, and in whatever order things come, a key is rather denied than allowed."""

import asyncio
import errno
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from bot.errors import Misconfigured
from bot.sidecar import denials as module
from bot.sidecar.denials import Denials

A, B = "0xaa", "0xbb"


def fresh(folder: Path) -> Denials:
    return Denials(folder / "denied.json", fresh=True)


def again(folder: Path) -> Denials:
    return Denials(folder / "denied.json", fresh=False)


async def test_denied_keys_outlive_the_process(tmp_path: Path) -> None:
    first = fresh(tmp_path)
    first.deny([A, B], incident="inc-7", request="r1")
    await first.keep()
    second = again(tmp_path)
    assert second.keys == (A, B)
    assert (denial := second.of(A))
    assert (denial.incident, denial.request) == ("inc-7", "r1")
    await second.allow([A], request="r2")
    assert again(tmp_path).keys == (B,)


async def test_a_request_to_allow_acts_once_also_after_a_restart(tmp_path: Path) -> None:
    first = fresh(tmp_path)
    first.deny([A], incident="i", request="r1")
    await first.keep()
    await first.allow([A], request="r2")
    assert first.of(A) is None
    first.deny([A], incident="i", request="r3")
    await first.keep()
    await first.allow([A], request="r2")
    assert first.of(A)
    second = again(tmp_path)
    await second.allow([A], request="r2")
    assert second.of(A)
    await second.allow([A], request="r4")
    assert second.of(A) is None


async def test_denying_acts_at_once_and_allowing_only_when_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    it = fresh(tmp_path)

    def fails(path: Path, content: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "_replace", fails)
    it.deny([A], incident="i", request="r1")
    with pytest.raises(OSError):
        await it.keep()
    assert it.of(A)
    with pytest.raises(OSError):
        await it.allow([A], request="r2")
    assert it.of(A)
    monkeypatch.undo()
    await it.allow([A], request="r2")
    assert it.of(A) is None, "a request that failed was not taken"


async def test_a_freeze_that_comes_while_a_thaw_is_written_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    it = fresh(tmp_path)
    it.deny([A, B], incident="i", request="r1")
    await it.keep()
    real, writing, go_on = module._replace, threading.Event(), threading.Event()

    def slow(path: Path, content: bytes) -> None:
        writing.set()
        assert go_on.wait(5)
        real(path, content)

    monkeypatch.setattr(module, "_replace", slow)
    thaw = asyncio.create_task(it.allow([A, B], request="r2"))
    await asyncio.to_thread(writing.wait, 5)
    it.deny([A], incident="inc-8", request="r3")
    kept = asyncio.create_task(it.keep())
    go_on.set()
    await asyncio.gather(thaw, kept)
    assert (it.of(A) is not None, it.of(B)) == (True, None)
    assert again(tmp_path).keys == (A,)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"{}", b'{"denied":{"0xaa":{}},"taken":[]}', b'{"denied":[],"taken":[]}']
)
def test_a_file_that_cannot_be_read_starts_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "denied.json").write_bytes(content)
    for kind in (fresh, again):
        with pytest.raises(Misconfigured, match="holds the denied keys"):
            kind(tmp_path)


def test_a_file_that_has_gone_starts_nothing_and_the_error_says_what_to_write(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured) as told:
        again(tmp_path)
    text = str(told.value)
    empty: Any = json.loads(text[text.index("{") : text.rindex("}") + 1])
    (tmp_path / "denied.json").write_text(json.dumps(empty))
    assert again(tmp_path).keys == ()


async def test_a_crash_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    it = fresh(tmp_path)
    it.deny([A], incident="i", request="r")
    await it.keep()
    (tmp_path / "denied.json.new").write_text('{"version":1,"den')
    assert again(tmp_path).keys == (A,)
