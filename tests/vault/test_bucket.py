"""Blobs in a bucket: what Folder promises, and that S3 lets nobody take it back. Against moto's server, over HTTP."""

import asyncio
import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from bot.errors import Invalid, Misconfigured, NotFound, Refused, StopsignError
from bot.ports import Blobs, Kept
from bot.vault import files
from bot.vault.bucket import Bucket
from bot.vault.folder import Damaged
from bot.vault.s3 import BucketError, parse
from bot.vault.spool import MAX_PARTS, Spool
from tests.conftest import need
from tests.fakes import FrozenClock
from tests.vault.s3_server import Server, s3_server

pytestmark = pytest.mark.peer("moto")

CONTENT = b"signed messages of the last fifteen minutes\n" * 100
NAME = hashlib.sha256(CONTENT).hexdigest()
PART = 5 << 20
"""The smallest part that S3 takes."""
DAYS_90 = timedelta(days=90)
GUIDE = (Path(__file__).parents[2] / "docs" / "evidence-s3.md").read_text()
NUMBERS = count()


class Clock:
    """The machine's clock: S3's lock is compared with it."""

    def now(self) -> datetime:
        """Return the time."""
        return datetime.now(UTC)


@dataclass(frozen=True)
class Yard:
    """One bucket on the server: as the bot has it, and as anybody else with credentials does."""

    server: Server
    name: str
    vault: Bucket
    plain: Any
    spool: Path

    def key(self, name: str = NAME) -> str:
        return f"ops/blobs/{name[:2]}/{name[2:]}"

    def head(self, name: str = NAME, **version: str) -> dict[str, Any]:
        found: dict[str, Any] = self.plain.head_object(
            Bucket=self.name, Key=self.key(name), ChecksumMode="ENABLED", **version
        )
        return found

    def versions(self, name: str = NAME) -> list[str]:
        """Return the ids of a blob's versions, the newest first."""
        found = self.plain.list_object_versions(Bucket=self.name, Prefix=self.key(name))
        return [version["VersionId"] for version in found.get("Versions", [])]

    def uploads(self) -> list[Any]:
        found: list[Any] = self.plain.list_multipart_uploads(Bucket=self.name).get("Uploads", [])
        return found

    def expire(self, name: str = NAME) -> None:
        """Let every lock end: moto lets a lock be shortened, which here stands for time that passes."""
        for version in self.versions(name):
            gone = {"Mode": "COMPLIANCE", "RetainUntilDate": datetime(2020, 1, 1, tzinfo=UTC)}
            self.plain.put_object_retention(Bucket=self.name, Key=self.key(name), VersionId=version, Retention=gone)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    need(find_spec("moto") is None, "moto")
    with s3_server() as running:
        yield running


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("AWS_") or name.upper().endswith("_PROXY"):
            monkeypatch.delenv(name)
    for name, value in {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    }.items():
        monkeypatch.setenv(name, value)


def vault_at(url: str, spool: Path, bucket: str, clock: Any = None, prefix: str = "ops", **more: Any) -> Bucket:
    settings: dict[str, Any] = {"retention": DAYS_90, "part": PART, "clock": clock or Clock(), **more}
    return Bucket.from_url(f"s3://{bucket}/{prefix}", endpoint=url, spool=spool, **settings)


@pytest.fixture(scope="module")
def plain(server: Server) -> Iterator[Any]:
    keys = {"aws_access_key_id": "another", "aws_secret_access_key": "another", "region_name": "us-east-1"}
    with closing(boto3.client("s3", endpoint_url=server.url, **keys)) as client:
        yield client


@contextmanager
def yard_on(server: Server, plain: Any, tmp_path: Path, *, lock: bool = True) -> Iterator[Yard]:
    name = f"evidence-{next(NUMBERS)}"
    spool = tmp_path / "spool"
    with closing(vault_at(server.url, spool, name)) as vault:
        plain.create_bucket(Bucket=name, ObjectLockEnabledForBucket=lock)
        yield Yard(server=server, name=name, vault=vault, plain=plain, spool=spool)


@pytest.fixture
def yard(server: Server, plain: Any, tmp_path: Path) -> Iterator[Yard]:
    with yard_on(server, plain, tmp_path) as opened:
        yield opened


@pytest.fixture
def unlocked(server: Server, plain: Any, tmp_path: Path) -> Iterator[Yard]:
    with yard_on(server, plain, tmp_path, lock=False) as opened:
        yield opened


def noise(size: int, seed: bytes = b"") -> Iterator[bytes]:
    """Yield `size` bytes that are the same each time, in uneven pieces, without holding them."""
    block = hashlib.sha256(seed).digest() * 1999
    for start in range(0, size, len(block)):
        yield (start.to_bytes(8, "big") + block[8:])[: size - start]


def hash_of(size: int, seed: bytes = b"") -> str:
    running = hashlib.sha256()
    for piece in noise(size, seed):
        running.update(piece)
    return running.hexdigest()


async def stream(content: bytes = CONTENT) -> AsyncIterator[bytes]:
    for start in range(0, len(content), 1000):
        await asyncio.sleep(0)
        yield content[start : start + 1000]


# ---- what a folder does ----------------------------------------------------------------------------------------------


def test_a_blob_is_kept_under_its_hash_and_locked(yard: Yard) -> None:
    before = datetime.now(UTC)
    assert yard.vault.put([CONTENT]) == Kept(sha256=NAME, size=len(CONTENT))
    head = yard.head()
    assert head["ObjectLockMode"] == "COMPLIANCE"
    assert before + DAYS_90 <= head["ObjectLockRetainUntilDate"] <= before + DAYS_90 + timedelta(minutes=1)
    assert yard.vault.read(NAME) == CONTENT
    assert yard.vault.exists(NAME)
    assert list(yard.vault.all()) == [NAME]
    assert os.listdir(yard.spool) == []
    assert yard.spool.stat().st_mode & 0o777 == 0o700


async def test_a_stream_is_kept_the_same_way(yard: Yard) -> None:
    port: Blobs = yard.vault
    assert await port.keep(stream()) == Kept(sha256=NAME, size=len(CONTENT))
    assert port.read(NAME) == CONTENT


async def test_nothing_is_a_blob_too(yard: Yard) -> None:
    empty = hashlib.sha256(b"").hexdigest()
    assert await yard.vault.keep(stream(b"")) == yard.vault.put([]) == Kept(sha256=empty, size=0)
    assert yard.vault.read(empty) == b""
    assert yard.head(empty)["ObjectLockMode"] == "COMPLIANCE"


@pytest.mark.parametrize("size", [PART - 1, PART, PART + 1, 2 * PART, 2 * PART + 1])
def test_around_the_size_of_a_part(yard: Yard, size: int) -> None:
    name = hash_of(size)
    assert yard.vault.put(noise(size)) == yard.vault.put([b"".join(noise(size))]) == Kept(sha256=name, size=size)
    assert yard.vault.read(name) == b"".join(noise(size))
    assert yard.head(name)["ObjectLockMode"] == "COMPLIANCE"
    assert len(yard.versions(name)) == 1
    assert yard.uploads() == []


def test_a_large_blob_takes_no_more_memory_than_a_small_one(yard: Yard) -> None:
    size = 12 * PART
    name = hash_of(size)
    tracemalloc.start()
    try:
        assert yard.vault.put(noise(size)) == Kept(sha256=name, size=size)
        with yard.vault.open(name) as blob:
            assert files.digest(blob) == (name, size)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < PART, f"{peak} bytes for {size}"


def test_a_multipart_upload_is_begun_with_its_lock(yard: Yard) -> None:
    name = yard.vault.put(noise(PART + 1)).sha256
    begun = [upload for upload in yard.server.begun() if upload["key"] == f"/{yard.name}/{yard.key(name)}"]
    assert [upload["MODE"] for upload in begun] == ["COMPLIANCE"]
    assert begun[0]["RETAIN_UNTIL_DATE"] > f"{datetime.now(UTC) + DAYS_90 - timedelta(minutes=1):%Y-%m-%dT%H:%M:%S}"


@pytest.mark.parametrize("size", [1000, PART + 1])
def test_the_same_content_again_is_the_same_object(yard: Yard, size: int) -> None:
    first = yard.vault.put(noise(size))
    assert yard.vault.put(noise(size)) == first
    assert len(yard.versions(first.sha256)) == 1
    assert yard.uploads() == []


def test_the_same_content_in_other_parts_is_the_same_object(yard: Yard, tmp_path: Path) -> None:
    first = yard.vault.put(noise(2 * PART))
    with closing(vault_at(yard.server.url, tmp_path, yard.name, part=2 * PART)) as other:
        assert other.put(noise(2 * PART)) == first
    assert len(yard.versions(first.sha256)) == 1


def test_a_lock_is_extended_and_never_shortened(yard: Yard, tmp_path: Path) -> None:
    yard.vault.put([CONTENT])
    with closing(vault_at(yard.server.url, tmp_path, yard.name, retention=timedelta(days=200))) as longer:
        longer.put([CONTENT])
    extended = yard.head()["ObjectLockRetainUntilDate"]
    assert extended >= datetime.now(UTC) + timedelta(days=199)
    yard.vault.put([CONTENT])
    assert yard.head()["ObjectLockRetainUntilDate"] == extended


def test_an_object_that_was_put_without_a_lock_is_locked_when_it_comes_again(yard: Yard) -> None:
    yard.plain.put_object(Bucket=yard.name, Key=yard.key(), Body=CONTENT)
    assert yard.vault.put([CONTENT]) == Kept(sha256=NAME, size=len(CONTENT))
    assert yard.head()["ObjectLockMode"] == "COMPLIANCE"
    assert len(yard.versions()) == 1


def test_a_lock_that_some_can_lift_becomes_one_that_nobody_can_and_keeps_its_date(yard: Yard) -> None:
    until = datetime.now(UTC).replace(microsecond=0) + timedelta(days=300)
    lock = {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": until, "ChecksumAlgorithm": "SHA256"}
    yard.plain.put_object(Bucket=yard.name, Key=yard.key(), Body=CONTENT, **lock)
    yard.vault.put([CONTENT])
    assert yard.head()["ObjectLockMode"] == "COMPLIANCE"
    assert yard.head()["ObjectLockRetainUntilDate"] == until


def test_a_name_from_outside_is_no_blob(yard: Yard) -> None:
    for name in ("../../etc/passwd", NAME.upper(), NAME[:-1], "", "a\x00b", NAME + "\n"):
        for act in (yard.vault.open, yard.vault.read, yard.vault.exists, yard.vault.remove):
            with pytest.raises(Invalid, match="not the SHA-256"):
                act(name)
    for act in (yard.vault.open, yard.vault.read, yard.vault.remove, lambda name: yard.vault.hold(name, True)):
        with pytest.raises(NotFound, match=NAME):
            act(NAME)
    assert not yard.vault.exists(NAME)


def test_listings_are_sorted_and_go_on_over_many_pages(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    names = {yard.vault.put([b"%d" % number]).sha256 for number in range(7)}
    pages = yard.vault._s3.pages
    monkeypatch.setattr(yard.vault._s3, "pages", lambda operation, **more: pages(operation, MaxKeys=2, **more))
    assert list(yard.vault.all()) == sorted(names)
    assert next(yard.vault.all()) == min(names)


def test_what_cannot_be_a_blob_is_a_stray(yard: Yard) -> None:
    assert list(yard.vault.strays()) == list(yard.vault.all()) == []
    yard.vault.put([CONTENT])
    strays = sorted(
        [
            "readme",
            f"{NAME[:2]}/",
            f"{NAME[:2]}/x",
            f"{NAME}",
            f"{NAME[:2]}/{NAME[2:].upper()}",
            f"{NAME[:2]}/{NAME[2:]}x",
        ]
    )
    for stray in strays:
        yard.plain.put_object(Bucket=yard.name, Key=f"ops/blobs/{stray}", Body=b"")
    yard.plain.put_object(Bucket=yard.name, Key="others", Body=b"")
    assert sorted(yard.vault.strays()) == strays
    assert list(yard.vault.all()) == [NAME]


@pytest.mark.parametrize("size", [1000, 3 * PART])
def test_of_writers_of_the_same_content_one_wins(yard: Yard, size: int) -> None:
    with ThreadPoolExecutor(4) as writers:
        kept = list(writers.map(lambda _: yard.vault.put(noise(size)), range(4)))
    assert {one.sha256 for one in kept} == set(yard.vault.all()) == {hash_of(size)}
    assert len(yard.versions(hash_of(size))) == 1
    assert yard.uploads() == []


class Broke(Exception):
    """The node stopped answering."""


def test_a_stream_that_breaks_leaves_nothing(yard: Yard) -> None:
    def broken() -> Iterator[bytes]:
        yield from noise(2 * PART)
        raise Broke

    with pytest.raises(Broke):
        yard.vault.put(broken())
    assert list(yard.vault.all()) == yard.uploads() == os.listdir(yard.spool) == []


async def test_many_writers_of_the_same_and_of_other_content(yard: Yard) -> None:
    contents = [bytes([number % 5]) * 100_000 for number in range(20)]
    kept = await asyncio.gather(*(yard.vault.keep(stream(content)) for content in contents))
    assert {blob.sha256 for blob in kept} == set(yard.vault.all())
    assert len(set(yard.vault.all())) == 5
    assert all(len(yard.versions(name)) == 1 for name in yard.vault.all())


# ---- altered, hidden, deleted ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("other", [b"another", CONTENT[:-1] + b"!"], ids=["another size", "the same size"])
def test_what_is_put_over_a_blob_is_found_and_the_original_named(yard: Yard, other: bytes) -> None:
    yard.vault.put([CONTENT])
    [original] = yard.versions()
    yard.plain.put_object(Bucket=yard.name, Key=yard.key(), Body=other, ChecksumAlgorithm="SHA256")
    with pytest.raises(Damaged, match=f"was altered.*not lost.*{original}"):
        yard.vault.read(NAME)
    with pytest.raises(Damaged, match="was altered"):
        yard.vault.put([CONTENT])
    with yard.vault.open(NAME) as blob:
        assert files.digest(blob)[0] == hashlib.sha256(other).hexdigest()


def test_what_was_never_whole_names_no_original(yard: Yard) -> None:
    yard.plain.put_object(Bucket=yard.name, Key=yard.key(), Body=b"another")
    with pytest.raises(Damaged) as found:
        yard.vault.read(NAME)
    assert "original" not in str(found.value)


def test_a_hidden_blob_is_not_found_and_the_original_named(yard: Yard) -> None:
    yard.vault.put([CONTENT])
    [original] = yard.versions()
    yard.plain.delete_object(Bucket=yard.name, Key=yard.key())
    assert not yard.vault.exists(NAME)
    with pytest.raises(NotFound, match=f"no blob.*not lost.*{original}"):
        yard.vault.read(NAME)
    assert yard.vault.put([CONTENT]).sha256 == NAME
    assert yard.vault.read(NAME) == CONTENT


@pytest.mark.parametrize("size", [1000, PART + 1])
def test_nobody_deletes_what_is_locked(yard: Yard, size: int) -> None:
    name = yard.vault.put(noise(size)).sha256
    [version] = yard.versions(name)
    for bypass in (False, True):
        with pytest.raises(ClientError, match="AccessDenied"):
            yard.plain.delete_object(
                Bucket=yard.name, Key=yard.key(name), VersionId=version, BypassGovernanceRetention=bypass
            )
    with pytest.raises(Refused, match=r"locked until \d{4}-\d\d-\d\d"):
        yard.vault.remove(name)
    assert yard.vault.read(name) == b"".join(noise(size))


def test_what_is_no_longer_locked_is_removed_with_all_its_versions(yard: Yard) -> None:
    other = yard.vault.put([b"stays"]).sha256
    yard.vault.put([CONTENT])
    yard.plain.put_object(Bucket=yard.name, Key=yard.key(), Body=b"another")
    yard.plain.delete_object(Bucket=yard.name, Key=yard.key())
    yard.expire()
    yard.vault.remove(NAME)
    found = yard.plain.list_object_versions(Bucket=yard.name, Prefix=yard.key())
    assert not found.get("Versions")
    assert not found.get("DeleteMarkers")
    assert list(yard.vault.all()) == [other]
    with pytest.raises(NotFound):
        yard.vault.remove(NAME)


def test_one_locked_version_keeps_all_of_them(yard: Yard) -> None:
    yard.vault.put([CONTENT])
    yard.plain.put_object(Bucket=yard.name, Key=yard.key(), Body=b"another")
    with pytest.raises(Refused, match="locked"):
        yard.vault.remove(NAME)
    assert len(yard.versions()) == 2


def test_s3_has_the_last_word_on_a_lock_that_we_may_not_see(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    yard.vault.put([CONTENT])
    head = yard.vault._head
    shown = lambda *of: {key: value for key, value in (head(*of) or {}).items() if not key.startswith("ObjectLock")}  # noqa: E731
    monkeypatch.setattr(yard.vault, "_head", shown)
    with pytest.raises(Refused, match="S3 refuses it"):
        yard.vault.remove(NAME)
    assert yard.vault.read(NAME) == CONTENT


def test_a_legal_hold_outlasts_the_lock_until_it_is_lifted(yard: Yard) -> None:
    yard.vault.put([CONTENT])
    yard.vault.hold(NAME, True)
    yard.expire()
    with pytest.raises(Refused, match="legal hold"):
        yard.vault.remove(NAME)
    [version] = yard.versions()
    with pytest.raises(ClientError, match="AccessDenied"):
        yard.plain.delete_object(Bucket=yard.name, Key=yard.key(), VersionId=version)
    yard.vault.hold(NAME, False)
    yard.vault.remove(NAME)
    assert not yard.vault.exists(NAME)


def test_a_legal_hold_reaches_an_original_that_is_hidden(yard: Yard) -> None:
    yard.vault.put([CONTENT])
    yard.plain.put_object(Bucket=yard.name, Key=yard.key(), Body=b"another")
    yard.vault.hold(NAME, True)
    status = [yard.head(VersionId=version)["ObjectLockLegalHoldStatus"] for version in yard.versions()]
    assert status == ["ON", "ON"]


# ---- on the way ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1000, 2 * PART + 1])
def test_what_is_spoiled_on_the_way_in_is_refused_by_s3(yard: Yard, size: int) -> None:
    yard.server.spoil()
    with pytest.raises(BucketError, match="BadDigest"):
        yard.vault.put(noise(size))
    assert list(yard.vault.all()) == yard.uploads() == []
    assert yard.vault.put(noise(size)).sha256 == hash_of(size)


@pytest.mark.parametrize("size", [1000, 2 * PART + 1])
def test_what_is_spoiled_on_the_local_disk_is_refused_by_s3(yard: Yard, size: int) -> None:
    with closing(Spool(yard.spool, PART)) as spool:
        for piece in noise(size):
            spool.write(piece)
        spool._file.seek(size - 1)
        spool._file.write(b"!")
        with pytest.raises(BucketError, match="BadDigest"):
            yard.vault._settle(spool)
    assert list(yard.vault.all()) == yard.uploads() == []


@pytest.mark.parametrize("fault", ["clash", "lose"])
@pytest.mark.parametrize("size", [1000, 2 * PART + 1])
def test_a_write_that_clashes_or_whose_answer_is_lost_is_settled(yard: Yard, fault: str, size: int) -> None:
    getattr(yard.server, fault)()
    assert yard.vault.put(noise(size)) == Kept(sha256=hash_of(size), size=size)
    assert len(yard.versions(hash_of(size))) == 1
    assert yard.head(hash_of(size))["ObjectLockMode"] == "COMPLIANCE"
    assert yard.uploads() == []


def test_an_answer_that_breaks_off_is_an_error_and_no_short_file(yard: Yard) -> None:
    name = yard.vault.put(noise(PART)).sha256
    yard.server.cut()
    with yard.vault.open(name) as blob, pytest.raises(BucketError, match=name[2:]):
        files.digest(blob)
    assert yard.vault.read(name) == b"".join(noise(PART))


def test_a_bucket_without_a_lock_takes_no_evidence(unlocked: Yard) -> None:
    for size in (1000, PART + 1):
        with pytest.raises(BucketError, match="ObjectLock"):
            unlocked.vault.put(noise(size))
    told = unlocked.vault.problems()
    assert "has no Object Lock" in told[0]
    assert "it is refused" in told[0]
    assert "keeps no versions" in told[1]


def closed_port() -> str:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


@contextmanager
def silent_port() -> Iterator[str]:
    """Listen, take connections, and never say a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


async def test_a_dead_s3_is_an_error_in_bounded_time(tmp_path: Path) -> None:
    began = time.monotonic()
    with closing(vault_at(closed_port(), tmp_path, "evidence")) as vault:
        for act in DOES:
            with pytest.raises(BucketError, match="evidence"):
                act(vault)
        with pytest.raises(OSError, match="Could not connect"):
            await vault.keep(stream())
        with pytest.raises(StopsignError):
            await vault.keep(stream(b"".join(noise(PART + 1))))
        assert "Could not connect" in vault.problems()[0]
        assert vault.warnings() == []
    assert time.monotonic() - began < 60
    assert os.listdir(tmp_path) == []


DOES: list[Callable[[Bucket], object]] = [
    lambda vault: vault.read(NAME),
    lambda vault: vault.exists(NAME),
    lambda vault: list(vault.all()),
    lambda vault: vault.sweep(),
]


async def test_an_s3_that_hangs_is_an_error_in_bounded_time(tmp_path: Path) -> None:
    with silent_port() as url, closing(vault_at(url, tmp_path, "evidence", timeout=0.3)) as vault:
        began = time.monotonic()
        with pytest.raises(BucketError, match=r"(?i)timeout"):
            await vault.keep(stream())
        assert "timeout" in vault.problems()[0].lower()
        assert time.monotonic() - began < 20


async def test_while_s3_hangs_the_event_loop_goes_on_and_may_cancel(tmp_path: Path) -> None:
    with silent_port() as url, closing(vault_at(url, tmp_path, "evidence", timeout=1)) as vault:
        keeping = [asyncio.create_task(vault.keep(stream())) for _ in range(20)]
        await asyncio.sleep(0.3)
        began = time.monotonic()
        assert await asyncio.to_thread(lambda: "others' threads are free") == "others' threads are free"
        for task in keeping:
            task.cancel()
        ended = await asyncio.gather(*keeping, return_exceptions=True)
        assert {type(one) for one in ended} == {asyncio.CancelledError}
        assert time.monotonic() - began < 0.8


async def test_a_cancelled_upload_is_aborted(yard: Yard) -> None:
    yard.server.stall()
    size = 4 * PART
    with closing(vault_at(yard.server.url, yard.spool, yard.name, timeout=1)) as vault:
        keeping = asyncio.create_task(vault.keep(stream(b"".join(noise(size)))))
        async with asyncio.timeout(30):
            while not await asyncio.to_thread(yard.uploads):
                await asyncio.sleep(0.05)
        keeping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await keeping
        async with asyncio.timeout(30):
            while await asyncio.to_thread(yard.uploads):
                await asyncio.sleep(0.05)
    assert list(yard.vault.all()) == []


# ---- kill -9 ---------------------------------------------------------------------------------------------------------

CHILD = """
import sys, time, datetime, pathlib
from bot.vault.bucket import Bucket
class Clock:
    def now(self):
        return datetime.datetime.now(datetime.UTC)
vault = Bucket.from_url(f"s3://{sys.argv[2]}/ops", endpoint=sys.argv[1], retention=datetime.timedelta(days=90),
                        spool=pathlib.Path(sys.argv[3]), clock=Clock(), part=5 << 20)
"""
HALF = """
def chunks():
    yield b"half of it" * 1_000_000
    print("ready", flush=True)
    time.sleep(60)
vault.put(chunks())
"""
WHOLE = """
print("ready", flush=True)
vault.put(b"x" * 1_000_000 for _ in range(21))
"""
MANY = """
for number in range(1_000_000):
    print(vault.put([b"%d" % number] * 1000).sha256, flush=True)
"""


def started(code: str, yard: Yard) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", CHILD + code, yard.server.url, yard.name, str(yard.spool)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])


def killed(process: subprocess.Popen[str]) -> list[str]:
    """Kill the writer; return the rest of what it had said."""
    process.send_signal(signal.SIGKILL)
    said, _ = process.communicate()
    assert process.returncode == -signal.SIGKILL
    return said.split()


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_a_writer_killed_while_it_spools_leaves_nothing(yard: Yard) -> None:
    process = started(HALF, yard)
    assert said(process) == "ready"
    killed(process)
    assert os.listdir(yard.spool) == list(yard.vault.all()) == yard.uploads() == []


def test_a_writer_killed_while_it_uploads_leaves_an_upload_that_is_swept(yard: Yard) -> None:
    yard.server.stall()
    process = started(WHOLE, yard)
    assert said(process) == "ready"
    ends = time.monotonic() + 30
    while not (begun := yard.uploads()) or not parts(yard, begun[0]):
        assert time.monotonic() < ends, "no part was uploaded"
        time.sleep(0.05)
    killed(process)
    assert os.listdir(yard.spool) == list(yard.vault.all()) == list(yard.vault.strays()) == []
    begun_at = begun[0]["Initiated"]  # moto says 2010, always
    with closing(vault_at(yard.server.url, yard.spool, yard.name, FrozenClock(begun_at + timedelta(hours=23)))) as soon:
        assert soon.sweep() == 0, "its writer may still live"
        assert len(yard.uploads()) == 1
    assert yard.vault.sweep() == 1
    assert yard.uploads() == []
    assert yard.vault.sweep() == 0


def parts(yard: Yard, upload: dict[str, Any]) -> object:
    return yard.plain.list_parts(Bucket=yard.name, Key=upload["Key"], UploadId=upload["UploadId"]).get("Parts")


@pytest.mark.parametrize("acknowledged", [1, 7])
def test_what_was_acknowledged_before_the_kill_is_there_and_locked(yard: Yard, acknowledged: int) -> None:
    process = started(MANY, yard)
    names = [said(process) for _ in range(acknowledged)]
    names += [name for name in killed(process) if len(name) == 64]
    assert set(names) <= set(yard.vault.all())
    assert all(hashlib.sha256(yard.vault.read(name)).hexdigest() == name for name in yard.vault.all())
    assert {yard.head(name)["ObjectLockMode"] for name in names} == {"COMPLIANCE"}
    assert os.listdir(yard.spool) == list(yard.vault.strays()) == []


# ---- addresses and settings ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "bucket", "prefix"),
    [
        ("s3://evidence", "evidence", ""),
        ("s3://evidence/", "evidence", ""),
        ("s3://evi.dence-1/ops", "evi.dence-1", "ops/"),
        ("s3://evidence/ops/Stop_1.sign/", "evidence", "ops/Stop_1.sign/"),
    ],
)
def test_an_address(url: str, bucket: str, prefix: str) -> None:
    assert parse(url) == (bucket, prefix)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "no address of a bucket"),
        ("evidence/ops", "no address of a bucket"),
        ("https://evidence.s3.amazonaws.com", "no address of a bucket"),
        ("S3://evidence", "no address of a bucket"),
        ("s3://", "no name of a bucket"),
        ("s3:///ops", "no name of a bucket"),
        ("s3://Evidence", "no name of a bucket"),
        ("s3://ev", "no name of a bucket"),
        ("s3://key:secret@evidence", "no name of a bucket"),
        ("s3://evidence..x/ops", "no name of a bucket"),
        ("s3://evidence/ops//x", "cannot be in a prefix"),
        ("s3://evidence/../x", "cannot be in a prefix"),
        ("s3://evidence/a b", "cannot be in a prefix"),
        ("s3://evidence/ops?x=1", "cannot be in a prefix"),
        ("s3://evidence/ops\n", "cannot be in a prefix"),
    ],
)
def test_what_is_no_address_is_said(url: str, why: str) -> None:
    with pytest.raises(Misconfigured, match=f"^STOPSIGN_EVIDENCE_URL: .*{why}"):
        parse(url)


def test_less_than_ninety_days_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="89 days is less than 90"):
        vault_at("http://127.0.0.1:9", tmp_path, "evidence", retention=timedelta(days=89))


def test_an_endpoint_that_is_none_is_said(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match=r"evidence.*nonsense"):
        vault_at("nonsense", tmp_path, "evidence")


def test_without_the_library_one_sentence_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['boto3'] = None\n"
        "from bot.errors import Misconfigured\n"
        "try: import bot.vault.bucket\n"
        "except Misconfigured as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.stdout == "S3 needs a library that is not installed: install stopsign[s3]\n"


def test_a_spool_takes_no_more_than_s3_has_parts_for(tmp_path: Path) -> None:
    with closing(Spool(tmp_path, 4096)) as spool:
        spool.write(bytes(4096 * MAX_PARTS))
        assert len(spool.parts) == MAX_PARTS
        with pytest.raises(Invalid, match="cannot be stored in S3"):
            spool.write(b"x")


# ---- what doctor says ------------------------------------------------------------------------------------------------


def test_a_good_bucket_has_no_problems_and_is_left_as_it_was(yard: Yard) -> None:
    assert yard.vault.problems() == []
    assert list(yard.vault.strays()) == yard.uploads() == []


def test_no_bucket(server: Server, tmp_path: Path) -> None:
    with closing(vault_at(server.url, tmp_path, "nowhere")) as vault:
        [told] = vault.problems()
        assert told.startswith("the evidence bucket nowhere: it does not exist: make it")
        with pytest.raises(BucketError, match="NoSuchBucket"):
            vault.put([CONTENT])


def test_no_credentials(yard: Yard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with closing(vault_at(yard.server.url, tmp_path, yard.name)) as vault:
        assert "credentials" in vault.problems()[0]
        with pytest.raises(BucketError, match="credentials"):
            vault.put([CONTENT])


def test_a_default_retention_is_wished_for(yard: Yard) -> None:
    def told() -> list[str]:
        return [one for one in yard.vault.warnings() if "default retention" in one]

    def rule(mode: str, **length: int) -> None:
        lock = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": mode, **length}}}
        yard.plain.put_object_lock_configuration(Bucket=yard.name, ObjectLockConfiguration=lock)

    assert "is none, less than COMPLIANCE for 90 days" in told()[0]
    rule("GOVERNANCE", Days=365)
    assert "is GOVERNANCE for 365 days" in told()[0]
    rule("COMPLIANCE", Days=89)
    assert "is COMPLIANCE for 89 days" in told()[0]
    rule("COMPLIANCE", Days=90)
    assert told() == []
    rule("COMPLIANCE", Years=1)
    assert told() == []


@pytest.mark.parametrize(("off", "told"), [(30, 0), (-30, 0), (90, 1), (-90, 1)])
def test_a_clock_that_is_off_is_told(yard: Yard, tmp_path: Path, off: int, told: int) -> None:
    clock = FrozenClock(datetime.now(UTC) + timedelta(seconds=off))
    with closing(vault_at(yard.server.url, tmp_path, yard.name, clock)) as vault:
        assert len([one for one in vault.warnings() if "clock" in one]) == told
        assert any("without TLS" in one for one in vault.warnings())


# ---- the policy of the guide -----------------------------------------------------------------------------------------


def policy(kind: str) -> Any:
    found = re.search(rf"```json {kind}\n(.*?)```", GUIDE, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


POLICY = policy("iam")


def without(action: str) -> str:
    """Return the guide's policy less one action."""
    left = [
        {**statement, "Action": [one for one in statement["Action"] if one != action]}
        for statement in POLICY["Statement"]
    ]
    return json.dumps({**POLICY, "Statement": left})


@pytest.fixture(scope="module")
def guarded() -> Iterator[Server]:
    """Run a server of its own that checks signatures and policies; its only bucket is the guide's."""
    need(find_spec("moto") is None, "moto")
    with s3_server() as running:
        keys = {"aws_access_key_id": "root", "aws_secret_access_key": "root", "region_name": "us-east-1"}
        with closing(boto3.client("s3", endpoint_url=running.url, **keys)) as plain:
            plain.create_bucket(Bucket="example-evidence", ObjectLockEnabledForBucket=True)
        yield running


@pytest.fixture
def bot(guarded: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Bucket]]:
    """Return what makes the vault of a user who has a policy; from then on the server lets nobody do anything else."""
    guarded.check_access(after=float("inf"))
    user, made = f"bot-{next(NUMBERS)}", list[Bucket]()
    with closing(boto3.client("iam", endpoint_url=guarded.url, region_name="us-east-1")) as iam:
        iam.create_user(UserName=user)
        key = iam.create_access_key(UserName=user)["AccessKey"]
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", key["AccessKeyId"])
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", key["SecretAccessKey"])

        def vault(document: str) -> Bucket:
            iam.put_user_policy(UserName=user, PolicyName="evidence", PolicyDocument=document)
            guarded.check_access(after=0)
            made.append(vault_at(guarded.url, tmp_path, "example-evidence", prefix="stopsign"))
            return made[-1]

        yield vault
        for one in made:
            one.close()


def test_the_guides_policy_is_enough(bot: Callable[[str], Bucket]) -> None:
    vault = bot(json.dumps(POLICY))
    assert vault.problems() == []
    for size in (1000, PART + 1):
        name = vault.put(noise(size)).sha256
        assert vault.put(noise(size)).sha256 == name
        assert vault.read(name) == b"".join(noise(size))
        assert name in vault.all()
    assert vault.sweep() == 0
    assert list(vault.strays()) == []


@pytest.mark.parametrize(
    ("action", "told"),
    [
        ("s3:PutObject", "cannot be written"),
        ("s3:GetObject", "allow s3:GetObject"),
        ("s3:AbortMultipartUpload", "allow s3:AbortMultipartUpload"),
        ("s3:ListBucket", "may not list it"),
        ("s3:ListBucketVersions", "allow s3:ListBucketVersions"),
        ("s3:ListBucketMultipartUploads", "allow s3:ListBucketMultipartUploads"),
        ("s3:GetBucketVersioning", "allow s3:GetBucketVersioning"),
    ],
)
def test_a_right_that_is_missing_is_named(bot: Callable[[str], Bucket], action: str, told: str) -> None:
    """The rights on locks are not among them: moto does not ask for these."""
    found = bot(without(action)).problems()
    assert [told in one for one in found] == [True]


def test_who_may_not_write_keeps_nothing(bot: Callable[[str], Bucket]) -> None:
    vault = bot(without("s3:PutObject"))
    for size in (1000, PART + 1):
        with pytest.raises(BucketError, match="AccessDenied"):
            vault.put(noise(size, b"not to be kept"))


@pytest.mark.parametrize(
    ("name", "told"),
    [("AWS_ACCESS_KEY_ID", "does not know the access key"), ("AWS_SECRET_ACCESS_KEY", "does not belong to")],
)
def test_wrong_credentials_are_named(
    bot: Callable[[str], Bucket], monkeypatch: pytest.MonkeyPatch, name: str, told: str
) -> None:
    monkeypatch.setenv(name, "AKIAWRONG")
    vault = bot(json.dumps(POLICY))
    assert [told in one for one in vault.problems()] == [True]
    with pytest.raises(BucketError, match=r"InvalidAccessKeyId|SignatureDoesNotMatch"):
        vault.put([CONTENT])
