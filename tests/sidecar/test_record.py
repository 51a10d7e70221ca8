"""The record: durable before it is answered, chained, whole after a crash, and honest about what it could not write."""

import asyncio
import errno
import hashlib
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bot.sidecar import lines
from bot.sidecar.record import NotRecorded, Record, text_of
from bot.sidecar.words import now, stamp

KEY = "0x" + "ab" * 48


@asynccontextmanager
async def opened(folder: Path, **more: Any) -> AsyncIterator[Record]:
    folder.mkdir(exist_ok=True)
    sizes = {"rotate_at": 1 << 30, "keep": 1 << 40, "min_free": 1, **more}
    record = Record(folder, about={"instance_id": "i"}, **sizes)
    await asyncio.to_thread(record.open)
    try:
        yield record
    finally:
        await asyncio.to_thread(record.close)


def asked(slot: int, **more: Any) -> dict[str, Any]:
    fields = {"key": KEY, "avs": "x", "duty": "BLOCK", "slot": slot, "digest": f"0x{slot:064x}"}
    return {**fields, "mark": ("block", slot), "decision": "allowed", "reason": "r", **more}


async def sign(record: Record, slot: int, result: str | None = "signed") -> None:
    """Record one request as the gate does; without a `result` it stays open."""
    entry = record.begin(asked(slot))
    await record.durable(entry)
    if result:
        record.note(
            "result", {k: v for k, v in asked(slot).items() if k != "decision"} | {"result": result}, intent=entry
        )


def entries(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for path in lines.segments(folder) for line in path.read_bytes().splitlines()]


async def messages(record: Record, since: str | None = None, until: str | None = None) -> list[dict[str, Any]]:
    chunks = text_of(await record.parts(), since, until or stamp(now()), audit=False)
    return [json.loads(line) for line in b"".join(chunks).splitlines()]


async def test_many_requests_share_one_fsync_and_each_line_names_the_one_before(tmp_path: Path) -> None:
    async with opened(tmp_path) as record:
        before = record.fsyncs
        await asyncio.gather(*(sign(record, slot) for slot in range(500)))
        assert record.fsyncs - before < 100
        assert len(await messages(record)) == 500
    told = entries(tmp_path)
    assert [one["seq"] for one in told] == list(range(1, len(told) + 1))
    text = lines.segments(tmp_path)[0].read_bytes().splitlines()
    for before_it, one in zip(text, told[1:], strict=False):
        assert one["prev"] == hashlib.sha256(before_it).hexdigest()
    assert lines.check(tmp_path).wrong == ()


async def test_only_signatures_are_messages_and_their_nonces_have_no_gap_over_restarts(tmp_path: Path) -> None:
    for slot in range(0, 12, 4):
        async with opened(tmp_path) as record:
            await sign(record, slot)
            await sign(record, slot + 1, "failed")
            await sign(record, slot + 2, "unsent")
            await sign(record, slot + 3, "unknown")
            await record.rotate()
    async with opened(tmp_path) as record:
        told = await messages(record)
    assert [one["nonce"] for one in told] == [1, 2, 3, 4, 5, 6]
    assert [one["result"] for one in told] == ["signed", "unknown"] * 3
    assert lines.check(tmp_path).wrong == ()


async def test_a_request_without_result_may_have_been_signed_even_after_rotations(tmp_path: Path) -> None:
    async with opened(tmp_path) as record:
        await sign(record, 1, None)
        for slot in (2, 3):
            await sign(record, slot)
            assert len(await record.rotate()) == 1
        asked_at = entries(tmp_path)[2]["at"]
    async with opened(tmp_path) as record:
        (lost,) = [one for one in await messages(record) if one["result"] == "unknown"]
        assert (lost["slot"], lost["at"], lost["intent"], lost["nonce"]) == (1, asked_at, 3, 3)
    async with opened(tmp_path) as record:
        assert len(await messages(record)) == 3, "it is told once"
    assert lines.check(tmp_path).wrong == ()


@pytest.mark.parametrize("cut", [1, 40, 200])
async def test_a_torn_last_line_is_set_aside_and_the_rest_goes_on(tmp_path: Path, cut: int) -> None:
    async with opened(tmp_path) as record:
        await sign(record, 1)
        await sign(record, 2)
    (path,) = lines.segments(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole + whole.splitlines()[3][:cut])
    async with opened(tmp_path) as record:
        assert "its last line was torn" in record.damage[0]
        await sign(record, 3)
        assert [one["slot"] for one in await messages(record)] == [1, 2, 3]
    (torn,) = tmp_path.glob("torn-*.bin")
    assert torn.read_bytes() == whole.splitlines()[3][:cut]
    assert [one["file"] for one in entries(tmp_path) if one["what"] == "torn"] == [torn.name]
    assert lines.check(tmp_path).wrong == ()


@pytest.mark.parametrize("size", [0, 30])
async def test_a_segment_whose_first_line_never_came_is_begun_again(tmp_path: Path, size: int) -> None:
    async with opened(tmp_path) as record:
        await sign(record, 1)
        await record.rotate()
    path = lines.segments(tmp_path)[-1]
    path.write_bytes(path.read_bytes()[:size])
    async with opened(tmp_path) as record:
        await sign(record, 2)
        assert [one["slot"] for one in await messages(record)] == [1, 2]
    assert lines.check(tmp_path).wrong == ()


async def test_damage_in_the_middle_is_left_as_it_is_and_told(tmp_path: Path) -> None:
    async with opened(tmp_path) as record:
        for slot in range(1, 5):
            await sign(record, slot)
    (path,) = lines.segments(tmp_path)
    whole = path.read_bytes()
    spoilt = whole.replace(b'"slot":2', b'"sl\0t":2', 1)
    path.write_bytes(spoilt)
    async with opened(tmp_path) as record:
        assert len(record.damage) == 1
        await sign(record, 9)
        assert [one["slot"] for one in await messages(record)] == [1, 2, 3, 4, 9]
        assert [one["nonce"] for one in await messages(record)] == [1, 2, 3, 4, 5]
    assert path.read_bytes() == spoilt
    assert entries_of(lines.segments(tmp_path)[-1])[0]["damaged"]["file"] == path.name
    (wrong,) = lines.check(tmp_path).wrong
    assert "cannot be read" in wrong


def entries_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


@pytest.mark.parametrize("what", ["cut out", "altered", "moved", "segment gone"])
async def test_a_record_that_was_tampered_with_is_not_whole(tmp_path: Path, what: str) -> None:
    async with opened(tmp_path) as record:
        for slot in range(1, 10):
            await sign(record, slot)
            if slot % 3 == 0:
                await record.rotate()
    assert lines.check(tmp_path).wrong == ()
    path = lines.segments(tmp_path)[1]
    text = path.read_bytes().splitlines(keepends=True)
    if what == "cut out":
        del text[3]
    elif what == "altered":
        text[3] = text[3].replace(b'"x"', b'"y"')
    elif what == "moved":
        text[2], text[3] = text[3], text[2]
    path.chmod(0o600)
    path.write_bytes(b"".join(text))
    if what == "segment gone":
        path.unlink()
    assert lines.check(tmp_path).wrong != ()


async def test_rotation_closes_a_file_for_good_and_an_empty_one_is_left(tmp_path: Path) -> None:
    async with opened(tmp_path) as record:
        assert await record.rotate() == []
        await sign(record, 1)
        (closed,) = await record.rotate()
        assert await record.rotate() == []
        path = tmp_path / str(closed["name"])
        content = path.read_bytes()
        assert closed["size"] == len(content)
        assert closed["sha256"] == "sha256:" + hashlib.sha256(content).hexdigest()
        assert path.stat().st_mode & 0o222 == 0
        await sign(record, 2)
        assert path.read_bytes() == content


async def test_files_turn_at_their_size_and_the_oldest_go(tmp_path: Path) -> None:
    async with opened(tmp_path, rotate_at=4000, keep=20_000) as record:
        for slot in range(200):
            await sign(record, slot)
        assert [one["slot"] for one in await messages(record)][-20:] == list(range(180, 200))
    sizes = [path.stat().st_size for path in lines.segments(tmp_path)]
    assert max(sizes) < 6000
    assert sum(sizes) < 26_000
    told = lines.check(tmp_path)
    assert told.wrong == ()
    assert told.first > 1
    assert "dropped" in {one["what"] for one in entries(tmp_path)}


async def test_a_window_is_half_open_and_reads_no_segment_that_lies_outside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(tmp_path) as record:
        for slot in range(6):
            await sign(record, slot)
            await record.rotate()
        at = [one["at"] for one in await messages(record)]
        assert [one["slot"] for one in await messages(record, at[1], at[4])] == [1, 2, 3]
        read: list[bytes] = []
        parsed = lines.parsed

        def watched(content: bytes) -> dict[str, Any] | None:
            read.append(content)
            return parsed(content)

        monkeypatch.setattr(lines, "parsed", watched)
        assert [one["slot"] for one in await messages(record, at[2], at[3])] == [2]
        assert len([one for one in read if b'"what":"result"' in one]) <= 2


async def test_a_window_over_much_is_streamed_in_chunks(tmp_path: Path) -> None:
    async with opened(tmp_path) as record:
        await asyncio.gather(*(sign(record, slot) for slot in range(2000)))
        sizes = [len(chunk) for chunk in text_of(await record.parts(), None, stamp(now()), audit=False)]
    assert len(sizes) > 5
    assert max(sizes) < 70_000


# ---- a disk that fails


async def test_what_cannot_be_written_is_said_and_nothing_of_it_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.write
    async with opened(tmp_path) as record:
        await sign(record, 1)
        entry = record.begin(asked(2))
        await record.durable(entry)
        monkeypatch.setattr(os, "write", lambda fd, data: half_a_write(real, fd, data))
        with pytest.raises(NotRecorded, match="the disk is full"):
            await sign(record, 3)
        assert record.failing == "the disk is full"
        record.note("result", {**asked(2), "result": "signed"}, intent=entry)
        record.note("denied", asked(4))
        with pytest.raises(NotRecorded):
            await sign(record, 5)
        monkeypatch.setattr(os, "write", real)
        await sign(record, 6)
        assert record.failing is None
        assert [one["slot"] for one in await messages(record)] == [1, 2, 6], "the result was held over"
    assert [one["lost"] for one in entries(tmp_path) if one["what"] == "gap"] == [1]
    assert not any(one.get("slot") in {3, 4, 5} for one in entries(tmp_path))
    assert lines.check(tmp_path).wrong == ()


def half_a_write(real: Any, fd: int, data: bytes) -> int:
    real(fd, bytes(data)[: len(data) // 2])
    raise OSError(errno.ENOSPC, "No space left on device")


async def test_after_a_failed_fsync_the_file_is_never_trusted_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fdatasync

    def fails(fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    async with opened(tmp_path) as record:
        await sign(record, 1)
        await record.parts()
        monkeypatch.setattr(os, "fdatasync", fails)
        for _ in range(3):
            with pytest.raises(NotRecorded, match="input/output error"):
                await sign(record, 2)
        monkeypatch.setattr(os, "fdatasync", real)
        await sign(record, 3)
        assert [one["slot"] for one in await messages(record)] == [1, 3]
        assert len(lines.segments(tmp_path)) == 2
    (wrong,) = lines.check(tmp_path).wrong
    assert "ends without a closing line" in wrong
    assert entries_of(lines.segments(tmp_path)[-1])[0]["damaged"]["why"] == "the disk failed while it was written"


async def test_a_disk_without_reserve_takes_results_but_no_requests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(tmp_path) as record:
        entry = record.begin(asked(1))
        await record.durable(entry)
        monkeypatch.setattr(Record, "free", property(lambda self: 0))
        record.note("result", {**asked(1), "result": "signed"}, intent=entry)
        with pytest.raises(NotRecorded, match="bytes are free"):
            await sign(record, 2)
        assert [one["slot"] for one in await messages(record)] == [1]
    assert lines.check(tmp_path).wrong == ()


async def test_a_full_disk_stops_no_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", lambda fd, data: half_a_write(real, fd, data))
        record = Record(tmp_path, rotate_at=1 << 30, keep=1 << 40, min_free=1, about={})
        record.open()
        with pytest.raises(NotRecorded):
            await sign(record, 1)
    await sign(record, 2)
    assert [one["slot"] for one in await messages(record)] == [2]
    record.close()
    assert lines.check(tmp_path).wrong == ()
