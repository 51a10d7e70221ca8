"""Keep checkpoints in an S3 bucket under Object Lock: in COMPLIANCE mode nobody can delete or shorten them.

Needs the extra `s3` (boto3), which is imported when such an anchor is first used. Credentials, region and endpoint are
those of the AWS environment (`AWS_ACCESS_KEY_ID`, …, `AWS_ENDPOINT_URL_S3`), unless an endpoint is given.
"""

import asyncio
from datetime import datetime, timedelta
from importlib import import_module
from typing import Any, Final

from bot.domain.leaf import canonical, timestamp
from bot.errors import Misconfigured
from bot.ports import Clock
from bot.vault.anchors.port import AnchorError, AnotherHistory

_MODE: Final = "COMPLIANCE"
_SLACK: Final = timedelta(minutes=1)  # S3 keeps whole seconds, and its clock is not ours


class ObjectLock:
    """One bucket and prefix; the proof is canonical JSON: bucket, key, retain_until, version."""

    kind = "s3"

    def __init__(self, name: str, url: str, *, retention: timedelta, clock: Clock, endpoint: str | None = None) -> None:
        """Take `s3://bucket/prefix`; each checkpoint is locked for `retention`. Raises Misconfigured without boto3."""
        self.name = name
        self._bucket, _, prefix = url.removeprefix("s3://").partition("/")
        self._prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
        self.retention = retention
        self._clock = clock
        self._endpoint = endpoint
        self._errors = _errors()

    async def anchor(self, note: str, size: int) -> bytes:
        """Store the checkpoint under lock; one that lies there already must be the same and locked as well."""
        return await asyncio.to_thread(self._store, note.encode(), f"{self._prefix}checkpoints/{size}.txt")

    def _store(self, content: bytes, key: str) -> bytes:
        where = f"s3://{self._bucket}/{key}"
        until = (self._clock.now() + self.retention).replace(microsecond=0)
        try:
            client = _client(self._endpoint)
            version = self._written(client, content, key, until) or self._compared(client, content, key)
            head = client.head_object(Bucket=self._bucket, Key=key, **({"VersionId": version} if version else {}))
        except self._errors as error:
            raise AnchorError(f"{where} cannot be written: {error}") from error
        locked_until = head.get("ObjectLockRetainUntilDate")
        if head.get("ObjectLockMode") != _MODE or locked_until is None:
            raise AnchorError(f"{where} lies there without a {_MODE} lock: make the bucket with Object Lock enabled")
        if locked_until <= self._clock.now() + min(self.retention, _SLACK):
            raise AnchorError(f"{where} is locked only until {locked_until.isoformat()}")
        return canonical(
            {
                "bucket": self._bucket,
                "key": key,
                "retain_until": timestamp(locked_until),
                "version": head.get("VersionId"),
            }
        ).encode()

    def _written(self, client: Any, content: bytes, key: str, until: datetime) -> str | None:
        """Write the object; return its version, or None when there is one already."""
        try:
            answer = client.put_object(
                Bucket=self._bucket,
                Key=key,
                Body=content,
                ContentType="text/plain; charset=utf-8",
                IfNoneMatch="*",
                ChecksumAlgorithm="SHA256",
                ObjectLockMode=_MODE,
                ObjectLockRetainUntilDate=until,
            )
        except self._errors as error:
            if _code(error) not in {"PreconditionFailed", "412"}:
                raise
            return None
        return str(answer.get("VersionId", "")) or None

    def _compared(self, client: Any, content: bytes, key: str) -> str | None:
        answer = client.get_object(Bucket=self._bucket, Key=key)
        with answer["Body"] as body:
            found = body.read(len(content) + 1)
        if found != content:
            raise AnotherHistory(
                f"SOMEBODY ELSE WROTE ANOTHER HISTORY: s3://{self._bucket}/{key} holds a different checkpoint of the "
                "same size. Keep both and find out who signed it: the log was forked, restored from a backup, or two "
                "logs share this prefix"
            )
        return str(answer.get("VersionId", "")) or None


def _errors() -> tuple[type[Exception], ...]:
    try:
        found = import_module("botocore.exceptions")
        import_module("boto3")
    except ImportError:
        raise Misconfigured(["an anchor of kind s3 needs boto3: install stopsign[s3]"]) from None
    return found.BotoCoreError, found.ClientError, ValueError


def _client(endpoint: str | None) -> Any:
    """Return a new client: an anchoring each few minutes needs no pool, and fresh credentials are read each time."""
    config = import_module("botocore.config").Config(
        connect_timeout=5, read_timeout=10, retries={"mode": "standard", "max_attempts": 2}
    )
    return import_module("boto3").session.Session().client("s3", config=config, endpoint_url=endpoint)


def _code(error: Exception) -> str:
    return str(getattr(error, "response", {}).get("Error", {}).get("Code", ""))
