"""S3 as the vault asks it: one bucket, one call at a time, each ended in bounded time, each failure a sentence.

boto3 is the optional extra `s3`: importing this module without it raises Misconfigured, so only do it when a bucket is
configured. Credentials come by boto3's own chain (environment, files, the machine's role).
"""

import io
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any, BinaryIO, Final

from bot.errors import Misconfigured, StopsignError
from bot.vault import files

try:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError
except ImportError as error:
    raise Misconfigured(["S3 needs a library that is not installed: install stopsign[s3]"]) from error

ATTEMPTS: Final = 3
TIMEOUT: Final = 10.0
"""Seconds that S3 may be silent, and how often a call is tried; so no call takes longer than about 45 seconds."""
MODE: Final = "COMPLIANCE"
"""Object Lock that nobody can lift or shorten; GOVERNANCE is one that some can."""
NO_SUCH: Final = frozenset({"404", "NoSuchKey", "NoSuchVersion", "NoSuchUpload"})

_ADDRESS: Final = re.compile(r"s3://([^/]*)(/.*)?", re.DOTALL)
_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", re.ASCII)
_SEGMENT: Final = re.compile(r"(?!\.\.?$)[A-Za-z0-9._-]{1,100}", re.ASCII)


class BucketError(StopsignError, OSError):
    """S3 gave no answer in time, or answered no. Nothing was acknowledged, and repeating is safe.

    `code` is S3's own word for it (AccessDenied, NoSuchBucket, …), empty when there was no answer.
    """

    title = "The evidence bucket gave no good answer"

    def __init__(self, sentence: str, *, code: str = "") -> None:
        super().__init__(sentence)
        self.code = code


class S3:
    """One bucket. Safe between threads."""

    def __init__(self, bucket: str, *, endpoint: str | None, region: str | None, timeout: float = TIMEOUT) -> None:
        """Prepare the client; nothing is asked yet. Raises Misconfigured when boto3 refuses what it finds."""
        self.bucket = bucket
        self.at = endpoint or "S3"
        config = Config(
            connect_timeout=min(3.0, timeout),
            read_timeout=timeout,
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
            max_pool_connections=16,
            # We give SHA-256 sums of our own, made as the bytes came in, and hash whatever we read.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"addressing_style": "path" if endpoint else "auto"},
        )
        try:
            session = boto3.session.Session()
            region = region or session.region_name or ("us-east-1" if endpoint else None)
            self._client: Any = session.client("s3", endpoint_url=endpoint, region_name=region, config=config)
        except (BotoCoreError, ValueError) as error:
            raise Misconfigured([f"the S3 client for bucket {bucket} cannot be made: {error}"]) from error

    def ask(self, operation: str, **arguments: object) -> dict[str, Any]:
        """Make one call, such as `head_object`, and return its answer; raises BucketError."""
        with self._asking(operation, arguments):
            answer: dict[str, Any] = getattr(self._client, operation)(Bucket=self.bucket, **arguments)
            return answer

    def pages(self, operation: str, **arguments: object) -> Iterator[dict[str, Any]]:
        """Yield a listing's pages, each asked for when it is needed; raises BucketError."""
        pages = iter(self._client.get_paginator(operation).paginate(Bucket=self.bucket, **arguments))
        while True:
            with self._asking(operation, arguments):
                page = next(pages, None)
            if page is None:
                return
            yield page

    def stream(self, key: str, **arguments: object) -> BinaryIO:
        """Open an object for reading in constant memory; raises BucketError here and while reading."""
        body = self.ask("get_object", Key=key, **arguments)["Body"]
        return io.BufferedReader(_Body(self, key, body), files.BLOCK)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    @contextmanager
    def _asking(self, operation: str, arguments: Mapping[str, object]) -> Iterator[None]:
        """Translate what boto3 raises."""
        about = str(arguments.get("Key") or arguments.get("Prefix") or "")
        what = f"{operation.replace('_', ' ')}{about and ' of '}{about} in bucket {self.bucket}"
        try:
            yield
        except ClientError as error:
            told = error.response.get("Error", {})
            code, message = str(told.get("Code", "")), str(told.get("Message", ""))
            raise BucketError(f"{what}: {self.at} answers {code}: {message}", code=code) from error
        except BotoCoreError as error:
            raise BucketError(f"{what}: {error}") from error


class _Body(io.RawIOBase):
    """An answer's body as a raw file: a connection that breaks off is a BucketError, never a short file."""

    def __init__(self, s3: S3, key: str, body: Any) -> None:
        self._s3, self._key, self._body = s3, key, body

    def readable(self) -> bool:
        """Say yes."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read what there is into `buffer`; 0 at the end."""
        with self._s3._asking("get_object", {"Key": self._key}):
            return int(self._body.readinto(buffer))

    def close(self) -> None:
        """Give the connection back."""
        if not self.closed:
            self._body.close()
        super().close()


def parse(url: str) -> tuple[str, str]:
    """Return bucket and prefix (empty, or ending in a slash) of `s3://bucket/prefix`; raises Misconfigured."""
    found = _ADDRESS.fullmatch(url)
    if found is None:
        raise Misconfigured([f"STOPSIGN_EVIDENCE_URL: {url!r} is no address of a bucket: write s3://bucket/prefix"])
    bucket, path = found[1], (found[2] or "").strip("/")
    if not _BUCKET.fullmatch(bucket) or ".." in bucket:
        rule = "3 to 63 small letters, digits, dots and hyphens"
        raise Misconfigured([f"STOPSIGN_EVIDENCE_URL: {bucket!r} is no name of a bucket: it has {rule}"])
    for segment in path.split("/") if path else ():
        if not _SEGMENT.fullmatch(segment):
            rule = "letters, digits, dots, hyphens and underscores between single slashes"
            raise Misconfigured([f"STOPSIGN_EVIDENCE_URL: {segment!r} cannot be in a prefix: it has {rule}"])
    return bucket, f"{path}/" if path else ""


def locked(until: datetime) -> dict[str, Any]:
    """Return the arguments that lock a new object."""
    return {"ObjectLockMode": MODE, "ObjectLockRetainUntilDate": until}
