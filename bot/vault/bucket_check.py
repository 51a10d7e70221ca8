"""Is a bucket fit for evidence? What `stopsign doctor` asks S3, and how it says what is wrong."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

from bot.vault.s3 import MODE, NO_SUCH, S3, BucketError, locked

SKEW: Final = timedelta(seconds=60)
_GUIDE: Final = "docs/evidence-s3.md"

_ADVICE: Final[Mapping[str, str]] = {
    "NoSuchBucket": f"it does not exist: make it with Object Lock on, as {_GUIDE} says",
    "AccessDenied": f"these credentials may not list it: give them the IAM policy of {_GUIDE}",
    "InvalidAccessKeyId": "S3 does not know the access key: correct AWS_ACCESS_KEY_ID, or the profile or role in use",
    "SignatureDoesNotMatch": "the secret does not belong to the access key: correct AWS_SECRET_ACCESS_KEY",
    "ExpiredToken": "the credentials have expired: renew them",
    "PermanentRedirect": "it is in another region: set AWS_DEFAULT_REGION to the bucket's",
    "AuthorizationHeaderMalformed": "it is in another region: set AWS_DEFAULT_REGION to the bucket's",
    "RequestTimeTooSkewed": "this machine's clock is more than 15 minutes off: let NTP set it",
}


def problems(s3: S3, home: str, until: datetime) -> Iterator[str]:
    """Yield why evidence cannot be kept in the bucket, under keys that begin with `home`, locked until then."""
    about = f"the evidence bucket {s3.bucket}"
    try:
        s3.ask("list_objects_v2", Prefix=home, MaxKeys=1)
    except BucketError as error:
        advice = _ADVICE.get(error.code, f"{error}: check STOPSIGN_EVIDENCE_URL and STOPSIGN_S3_ENDPOINT_URL")
        yield f"{about}: {advice}"
        return
    found = [*_unlocked(s3, about), *_unversioned(s3, about), *_unreadable(s3, about, home)]
    yield from found
    if not found:
        yield from _unwritable(s3, about, f"{home}.probe", until)


def _unlocked(s3: S3, about: str) -> Iterator[str]:
    try:
        enabled = _rule(s3)[0]
    except BucketError as error:
        if error.code != "ObjectLockConfigurationNotFoundError":
            yield f"{about}: its Object Lock cannot be read ({error}): allow s3:GetBucketObjectLockConfiguration"
            return
        enabled = False
    if not enabled:
        yield (
            f"{about} has no Object Lock, so whoever has the credentials could delete evidence: it is refused; turn"
            f" Object Lock on, or make another bucket, as {_GUIDE} says"
        )


def _unversioned(s3: S3, about: str) -> Iterator[str]:
    try:
        status = s3.ask("get_bucket_versioning").get("Status")
    except BucketError as error:
        yield f"{about}: its versioning cannot be read ({error}): allow s3:GetBucketVersioning"
        return
    if status != "Enabled":
        yield f"{about} keeps no versions, so an object could be written over: turn versioning on"


def _unreadable(s3: S3, about: str, home: str) -> Iterator[str]:
    """Try what reading, removing and sweeping need; nothing is there under the key that is asked for."""
    needed: tuple[tuple[str, dict[str, object], str], ...] = (
        ("head_object", {"Key": f"{home}.probe"}, "s3:GetObject"),
        ("list_object_versions", {"Prefix": home, "MaxKeys": 1}, "s3:ListBucketVersions"),
        ("list_multipart_uploads", {"Prefix": home, "MaxUploads": 1}, "s3:ListBucketMultipartUploads"),
    )
    for operation, arguments, right in needed:
        try:
            s3.ask(operation, **arguments)
        except BucketError as error:
            if error.code not in NO_SUCH:
                yield f"{about}: {error}: allow {right}"


def _unwritable(s3: S3, about: str, probe: str, until: datetime) -> Iterator[str]:
    """Begin an upload with a lock and abort it: it needs the rights that keeping needs, and leaves nothing."""
    try:
        begun = s3.ask("create_multipart_upload", Key=probe, ChecksumAlgorithm="SHA256", **locked(until))
    except BucketError as error:
        yield f"{about} cannot be written ({error}): give the credentials the IAM policy of {_GUIDE}"
        return
    try:
        s3.ask("abort_multipart_upload", Key=probe, UploadId=begun["UploadId"])
    except BucketError as error:
        yield f"{about}: an upload cannot be aborted ({error}): allow s3:AbortMultipartUpload"


def warnings(s3: S3, home: str, retention: timedelta, now: datetime) -> Iterator[str]:
    """Yield what should be otherwise; nothing when the bucket cannot be asked, since `problems` says that."""
    about = f"the evidence bucket {s3.bucket}"
    try:
        answer = s3.ask("list_objects_v2", Prefix=home, MaxKeys=1)
        mode, default = _rule(s3)[1:]
    except BucketError:
        return
    if mode != MODE or default < retention:
        told = f"{mode} for {default.days} days" if mode else "none"
        yield (
            f"{about}: its default retention is {told}, less than {MODE} for {retention.days} days: what others put"
            " there, or a mistake of ours, would not be locked as long; set the bucket's default retention"
        )
    date = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    off = abs(parsedate_to_datetime(date) - now) if date else timedelta(0)
    if off > SKEW:
        yield (
            f"this machine's clock and that of {s3.at} are {off.total_seconds():.0f} s apart: retention is counted from"
            " this clock, and S3 refuses more than 15 minutes; let NTP set it"
        )
    if s3.at.startswith("http://"):
        yield f"{s3.at} is spoken to without TLS: whoever sees the traffic reads the evidence; use an https:// endpoint"


def _rule(s3: S3) -> tuple[bool, str, timedelta]:
    """Return whether the bucket has Object Lock, and mode and length of its default retention."""
    answer = s3.ask("get_object_lock_configuration").get("ObjectLockConfiguration", {})
    default = answer.get("Rule", {}).get("DefaultRetention", {})
    days = int(default.get("Days") or 0) + 365 * int(default.get("Years") or 0)
    return answer.get("ObjectLockEnabled") == "Enabled", str(default.get("Mode") or ""), timedelta(days=days)
