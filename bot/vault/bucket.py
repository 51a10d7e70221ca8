"""Blobs in an S3 bucket with Object Lock: `<prefix>blobs/ab/cdef…` named by the SHA-256 of the content, written once.

It does what `bot/vault/folder.py` does, with S3's own guarantees under it: S3 itself checks every byte against sums
made as the bytes came in, puts nothing over an object that is there, and lets nobody delete one before its retention
ends (mode COMPLIANCE), not even the account's root. Set up as docs/evidence-s3.md says.
"""

import asyncio
import re
from collections.abc import AsyncIterable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, Final

from bot.errors import Invalid, Misconfigured, NotFound, Refused
from bot.ports import Clock, Kept
from bot.vault import bucket_check, files
from bot.vault.folder import Damaged
from bot.vault.s3 import MODE, NO_SUCH, S3, TIMEOUT, BucketError, locked, parse
from bot.vault.spool import Spool

MIN_RETENTION: Final = timedelta(days=90)
PART: Final = 16 << 20
"""Bytes of one part of a multipart upload; what is no larger goes up in one piece. 10,000 parts are 160 GiB."""
STALE: Final = timedelta(days=1)
"""An unfinished upload that is older has no living writer."""

_NAME: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_PLACE: Final = re.compile(r"([0-9a-f]{2})/([0-9a-f]{62})", re.ASCII)
_TRIES: Final = 3
_THREADS: Final = 8


class Bucket:
    """The vault's blobs under `s3://bucket/prefix`. Safe between threads, processes and machines.

    What S3 does not do, or does not answer in bounded time, is a BucketError (an OSError): nothing was acknowledged.
    """

    def __init__(
        self, s3: S3, *, prefix: str, retention: timedelta, spool: Path, clock: Clock, part: int = PART
    ) -> None:
        """Ask nothing yet. `spool` is a local folder with room for what is under way. Raises Misconfigured."""
        if retention < MIN_RETENTION:
            told = f"{retention.days} days is less than {MIN_RETENTION.days}: make it longer in policy.yaml"
            raise Misconfigured([f"the retention of the evidence bucket {s3.bucket}: {told}"])
        self._s3 = s3
        self._home = f"{prefix}blobs/"
        self._retention = retention
        self._spool = spool
        self._clock = clock
        self._part = part
        # Threads of its own: an S3 that hangs takes none that others wait for.
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="evidence-s3")

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        endpoint: str | None = None,
        region: str | None = None,
        retention: timedelta,
        spool: Path,
        clock: Clock,
        part: int = PART,
        timeout: float = TIMEOUT,
    ) -> "Bucket":
        """Return the vault at `s3://bucket/prefix`; raises Misconfigured with what is wrong with the address."""
        bucket, prefix = parse(url)
        s3 = S3(bucket, endpoint=endpoint, region=region, timeout=timeout)
        return cls(s3, prefix=prefix, retention=retention, spool=spool, clock=clock, part=part)

    def close(self) -> None:
        """Close the connections; what is under way fails."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._s3.close()

    # ---- what Folder does --------------------------------------------------------------------------------------------

    async def keep(self, chunks: AsyncIterable[bytes]) -> Kept:
        """Store a stream; on return S3 has it, checked and locked. The same content again is the same blob.

        Raises:
            Damaged: the blob was there already and is not what its name says.
            BucketError: S3 did not store it or did not lock it.
        """
        spool = Spool(self._spool, self._part)
        try:
            waiting = bytearray()
            async for chunk in chunks:
                waiting += chunk
                if len(waiting) >= files.BLOCK:
                    await asyncio.to_thread(spool.write, bytes(waiting))
                    waiting.clear()
            await asyncio.to_thread(spool.write, bytes(waiting))
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._settle, spool)
        finally:
            spool.close()

    def put(self, chunks: Iterable[bytes]) -> Kept:
        """Do what `keep` does, for a caller outside the event loop."""
        spool = Spool(self._spool, self._part)
        try:
            for chunk in chunks:
                spool.write(chunk)
            return self._settle(spool)
        finally:
            spool.close()

    def open(self, sha256: str) -> BinaryIO:
        """Open a blob for reading as it comes, unchecked; raises NotFound, or BucketError, also while reading."""
        key = self._key(sha256)
        try:
            return self._s3.stream(key)
        except BucketError as error:
            if error.code not in NO_SUCH:
                raise
            raise NotFound(f"the vault has no blob {sha256}{self._survivor(sha256)}") from error

    def read(self, sha256: str) -> bytes:
        """Return a blob's content, checked against its name; raises NotFound, Damaged or BucketError."""
        with self.open(sha256) as blob:
            content = blob.read()
        self._check(sha256, _hex(content))
        return content

    def exists(self, sha256: str) -> bool:
        """Tell whether there is an object under the blob's name."""
        return self._head(self._key(sha256)) is not None

    def all(self) -> Iterator[str]:
        """Yield the names of all blobs, sorted, as S3 lists them."""
        return (found[1] + found[2] for _, found in self._walk() if found)

    def strays(self) -> Iterator[str]:
        """Yield the keys under `blobs/` that no blob can have."""
        return (place for place, found in self._walk() if not found)

    def sweep(self) -> int:
        """Abort the multipart uploads that were begun more than a day ago and never ended; returns how many.

        A writer that dies leaves nothing else behind: its spool has no name.
        """
        before = self._clock.now() - STALE
        pages = self._s3.pages("list_multipart_uploads", Prefix=self._home)
        found = [upload for page in pages for upload in page.get("Uploads", ()) if upload["Initiated"] < before]
        return sum(self._abort(upload["Key"], upload["UploadId"]) for upload in found)

    # ---- retention and legal hold ------------------------------------------------------------------------------------

    def remove(self, sha256: str) -> None:
        """Delete a blob, every version of it, when none is locked or held any more.

        Raises:
            NotFound: there is no such blob.
            Refused: a lock or a legal hold is in force, or S3 says so; nothing was deleted.
        """
        key = self._key(sha256)
        versions, markers = self._versions(key)
        if not versions and not markers:
            raise NotFound(f"the vault has no blob {sha256}")
        for version in versions:
            self._refuse_locked(sha256, self._head(key, version) or {})
        for version in [*versions[::-1], *markers]:  # the oldest first: a lock that we may not see is the original's
            try:
                self._s3.ask("delete_object", Key=key, VersionId=version)
            except BucketError as error:
                if error.code != "AccessDenied":
                    raise
                raise Refused(f"the blob {sha256} cannot be removed: S3 refuses it ({error})") from error

    def hold(self, sha256: str, on: bool) -> None:
        """Put a legal hold on a blob, every version of it, or lift it; raises NotFound or BucketError."""
        key = self._key(sha256)
        versions, _ = self._versions(key)
        if not versions:
            raise NotFound(f"the vault has no blob {sha256}")
        status = "ON" if on else "OFF"
        for version in versions:
            hold = {"Status": status}
            self._s3.ask(
                "put_object_legal_hold", Key=key, VersionId=version, LegalHold=hold, ChecksumAlgorithm="SHA256"
            )
            head = self._head(key, version) or {}
            if head.get("ObjectLockLegalHoldStatus", "OFF") != status:
                raise BucketError(f"the legal hold of blob {sha256} was set {status}, but S3 does not show it so")

    def _refuse_locked(self, name: str, head: dict[str, Any]) -> None:
        until = head.get("ObjectLockRetainUntilDate")
        if head.get("ObjectLockLegalHoldStatus") == "ON":
            raise Refused(f"the blob {name} is under a legal hold: it was not removed")
        if until is not None and until > self._clock.now():
            raise Refused(
                f"the blob {name} is locked until {until.astimezone(UTC):%Y-%m-%d %H:%M} UTC: S3 lets nobody remove it"
            )

    # ---- what doctor says --------------------------------------------------------------------------------------------

    def problems(self) -> list[str]:
        """Return why evidence could not be kept here, a sentence each with what to do; empty when it can be.

        What it asks leaves nothing in the bucket.
        """
        return list(bucket_check.problems(self._s3, self._home, self._until()))

    def warnings(self) -> list[str]:
        """Return what should be otherwise, though evidence can be kept; it leaves to `problems` what is worse."""
        return list(bucket_check.warnings(self._s3, self._home, self._retention, self._clock.now()))

    # ---- storing -----------------------------------------------------------------------------------------------------

    def _settle(self, spool: Spool) -> Kept:
        """Store what was spooled unless it is there, then read back that it is whole and locked."""
        key, until = self._key(spool.name), self._until()
        for tries_left in reversed(range(_TRIES)):
            try:
                self._upload(key, spool, until)
                break
            except BucketError as error:
                if error.code in {"PreconditionFailed", *NO_SUCH}:  # it is there; or our answer got lost: look
                    break
                if error.code != "ConditionalRequestConflict" or not tries_left:
                    raise
        head = self._head(key)
        if head is None:
            raise BucketError(f"the blob {spool.name} was stored, but bucket {self._s3.bucket} does not have it")
        self._compare(key, head, spool)
        self._lock(key, head, until)
        return Kept(sha256=spool.name, size=spool.size)

    def _upload(self, key: str, spool: Spool, until: datetime) -> None:
        parts = spool.parts
        if len(parts) > 1:
            if not self._head(key):  # many parts are worth a question first
                self._upload_parts(key, spool, parts, until)
            return
        with spool.part(0) as body:
            self._s3.ask(
                "put_object",
                Key=key,
                Body=body,
                IfNoneMatch="*",
                ChecksumAlgorithm="SHA256",
                ChecksumSHA256=parts[0],
                **locked(until),
            )

    def _upload_parts(self, key: str, spool: Spool, parts: list[str], until: datetime) -> None:
        lock = locked(until)
        begun = self._s3.ask(
            "create_multipart_upload", Key=key, ChecksumAlgorithm="SHA256", ChecksumType="COMPOSITE", **lock
        )
        upload = {"Key": key, "UploadId": begun["UploadId"]}
        done = []
        try:
            for index, checksum in enumerate(parts):
                sums = {"ChecksumAlgorithm": "SHA256", "ChecksumSHA256": checksum}
                with spool.part(index) as body:
                    sent = self._s3.ask("upload_part", **upload, PartNumber=index + 1, Body=body, **sums)
                done.append({"PartNumber": index + 1, "ETag": sent["ETag"], "ChecksumSHA256": checksum})
            self._s3.ask("complete_multipart_upload", **upload, IfNoneMatch="*", MultipartUpload={"Parts": done})
        except BaseException as error:
            if not isinstance(error, BucketError) or error.code:  # when S3 is silent, `sweep` aborts it one day
                self._abort(key, begun["UploadId"])
            raise

    def _abort(self, key: str, upload: str) -> bool:
        with suppress(BucketError):
            self._s3.ask("abort_multipart_upload", Key=key, UploadId=upload)
            return True
        return False

    def _compare(self, key: str, head: dict[str, Any], spool: Spool) -> None:
        """Raise Damaged unless the object is what was spooled, by S3's own checksum or else by its content."""
        found = str(head.get("ChecksumSHA256", "")).partition("-")[0]
        if head["ContentLength"] == spool.size and found == spool.checksum.partition("-")[0]:
            return
        with self._s3.stream(key) as blob:  # it went up in other parts, or in another way
            self._check(spool.name, files.digest(blob)[0])

    def _lock(self, key: str, head: dict[str, Any], until: datetime) -> None:
        """See to it that the object is locked until then at least; never for less than it is already."""
        if _holds(head, until):
            return
        longest = max(until, head.get("ObjectLockRetainUntilDate", until))
        retention = {"Mode": MODE, "RetainUntilDate": longest}
        version = head.get("VersionId", "null")
        arguments = {"VersionId": version, "Retention": retention, "ChecksumAlgorithm": "SHA256"}
        self._s3.ask("put_object_retention", Key=key, **arguments)
        if not _holds(self._head(key, version) or {}, until):
            raise BucketError(
                f"the object {key} in bucket {self._s3.bucket} does not show a lock until {until:%Y-%m-%d}: turn Object"
                " Lock on for the bucket, and allow s3:GetObjectRetention and s3:PutObjectRetention"
            )

    # ---- small questions ---------------------------------------------------------------------------------------------

    def _key(self, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise Invalid(f"{name!r} is not the SHA-256 of a blob in hex")
        return f"{self._home}{name[:2]}/{name[2:]}"

    def _until(self) -> datetime:
        """Return when a lock that begins now ends; S3 keeps no microseconds."""
        return (self._clock.now() + self._retention).replace(microsecond=0) + timedelta(seconds=1)

    def _head(self, key: str, version: str | None = None) -> dict[str, Any] | None:
        which = {"VersionId": version} if version else {}
        try:
            return self._s3.ask("head_object", Key=key, ChecksumMode="ENABLED", **which)
        except BucketError as error:
            if error.code in NO_SUCH:
                return None
            raise

    def _versions(self, key: str) -> tuple[list[str], list[str]]:
        """Return the ids of a key's versions and of its delete markers, the newest first."""
        pages = list(self._s3.pages("list_object_versions", Prefix=key))
        versions, markers = (
            [entry["VersionId"] for page in pages for entry in page.get(kind, ()) if entry["Key"] == key]
            for kind in ("Versions", "DeleteMarkers")
        )
        return versions, markers

    def _walk(self) -> Iterator[tuple[str, re.Match[str] | None]]:
        for page in self._s3.pages("list_objects_v2", Prefix=self._home):
            for entry in page.get("Contents", ()):
                place = entry["Key"].removeprefix(self._home)
                yield place, _PLACE.fullmatch(place)

    def _check(self, name: str, found: str) -> None:
        if found != name:
            told = f"the blob {name} was altered: its content has the hash {found}"
            raise Damaged(f"{told}{self._survivor(name)}")

    def _survivor(self, name: str) -> str:
        """Say whether the blob's first version is still whole under what hides it; empty when it is not, or unknown."""
        key = self._key(name)
        with suppress(BucketError):
            versions, _ = self._versions(key)
            if versions:
                with self._s3.stream(key, VersionId=versions[-1]) as blob:
                    if files.digest(blob)[0] == name:
                        return f"; the original is hidden, not lost: it is version {versions[-1]} of {key}"
        return ""


def _holds(head: dict[str, Any], until: datetime) -> bool:
    shown = head.get("ObjectLockRetainUntilDate")
    return head.get("ObjectLockMode") == MODE and shown is not None and shown >= until


def _hex(content: bytes) -> str:
    return sha256(content).hexdigest()
