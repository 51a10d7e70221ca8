"""Checkpoints under Object Lock, over HTTP with moto's server; what the bucket holds is looked at with boto3."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import httpx
import pytest
import rfc8785
from botocore.exceptions import ClientError
from moto.server import ThreadedMotoServer

from bot.vault.anchors import AnchorError, AnotherHistory, describe
from bot.vault.anchors.object_lock import ObjectLock
from tests.fakes import FrozenClock
from tests.vault.anchors.notes import signed

BUCKET = "worm"
YEAR = timedelta(days=365)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """An S3 server on a port that the system chose."""
    made = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    made.start()
    host, port = made.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        made.stop()


@pytest.fixture
def s3(server: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client of the emptied server, which our own code finds as everybody's does: through the environment."""
    for name, value in {
        "AWS_ENDPOINT_URL_S3": server,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "NO_PROXY": "127.0.0.1",
    }.items():
        monkeypatch.setenv(name, value)
    httpx.post(f"{server}/moto-api/reset", trust_env=False).raise_for_status()
    client = boto3.client("s3")
    client.create_bucket(Bucket=BUCKET, ObjectLockEnabledForBucket=True)
    return client


def anchor(url: str = f"s3://{BUCKET}/ours", retention: timedelta = YEAR) -> ObjectLock:
    return ObjectLock("worm", url, retention=retention, clock=FrozenClock(datetime.now(UTC)))


async def test_a_checkpoint_lies_there_locked_and_nobody_can_delete_it(s3: Any) -> None:
    before = datetime.now(UTC)
    proof = await anchor().anchor(signed(7), 7)
    told = json.loads(proof)
    assert proof == rfc8785.dumps(told)
    key, version = told["key"], told["version"]
    assert (told["bucket"], key) == (BUCKET, "ours/checkpoints/7.txt")
    found = s3.get_object(Bucket=BUCKET, Key=key, VersionId=version)
    assert found["Body"].read() == signed(7).encode()
    assert found["ObjectLockMode"] == "COMPLIANCE"
    assert abs(found["ObjectLockRetainUntilDate"] - before - YEAR) < timedelta(seconds=30)
    assert datetime.fromisoformat(told["retain_until"]) == found["ObjectLockRetainUntilDate"]
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.delete_object(Bucket=BUCKET, Key=key, VersionId=version)
    assert describe("s3", proof) == (
        f"the object s3://{BUCKET}/ours/checkpoints/7.txt, version {version}, locked until {told['retain_until']}"
    )


@pytest.mark.parametrize(
    ("url", "key"),
    [
        pytest.param("s3://worm", "checkpoints/7.txt", id="no-prefix"),
        pytest.param("s3://worm/", "checkpoints/7.txt", id="slash"),
        pytest.param("s3://worm/a/b/", "a/b/checkpoints/7.txt", id="deep"),
    ],
)
async def test_the_prefix_may_be_anything(s3: Any, url: str, key: str) -> None:
    await anchor(url).anchor(signed(7), 7)
    assert [one["Key"] for one in s3.list_objects_v2(Bucket=BUCKET)["Contents"]] == [key]


async def test_the_same_again_is_one_version_and_the_same_proof(s3: Any) -> None:
    first = await anchor().anchor(signed(7), 7)
    assert await anchor(retention=2 * YEAR).anchor(signed(7), 7) == first
    assert len(s3.list_object_versions(Bucket=BUCKET)["Versions"]) == 1


async def test_another_history_is_said_loudly_and_nothing_is_overwritten(s3: Any) -> None:
    await anchor().anchor(signed(7, history="theirs"), 7)
    with pytest.raises(AnotherHistory, match=r"SOMEBODY ELSE WROTE ANOTHER HISTORY: s3://worm/ours/checkpoints/7\.txt"):
        await anchor().anchor(signed(7), 7)
    [version] = s3.list_object_versions(Bucket=BUCKET)["Versions"]
    found = s3.get_object(Bucket=BUCKET, Key=version["Key"], VersionId=version["VersionId"])
    assert found["Body"].read() == signed(7, history="theirs").encode()


async def test_what_lies_there_without_a_lock_is_no_anchor(s3: Any) -> None:
    s3.put_object(Bucket=BUCKET, Key="ours/checkpoints/7.txt", Body=signed(7).encode())
    with pytest.raises(AnchorError, match="without a COMPLIANCE lock: make the bucket with Object Lock enabled"):
        await anchor().anchor(signed(7), 7)


async def test_a_lock_that_an_administrator_can_lift_is_no_anchor(s3: Any) -> None:
    s3.put_object(
        Bucket=BUCKET,
        Key="ours/checkpoints/7.txt",
        Body=signed(7).encode(),
        ObjectLockMode="GOVERNANCE",
        ObjectLockRetainUntilDate=datetime.now(UTC) + YEAR,
    )
    with pytest.raises(AnchorError, match="without a COMPLIANCE lock"):
        await anchor().anchor(signed(7), 7)


async def test_a_lock_that_has_run_out_is_no_anchor(s3: Any) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=20)
    s3.put_object(
        Bucket=BUCKET,
        Key="ours/checkpoints/7.txt",
        Body=signed(7).encode(),
        ObjectLockMode="COMPLIANCE",
        ObjectLockRetainUntilDate=soon,
    )
    with pytest.raises(AnchorError, match="is locked only until"):
        await anchor().anchor(signed(7), 7)


async def test_a_bucket_without_object_lock_is_refused(s3: Any) -> None:
    s3.create_bucket(Bucket="plain")
    with pytest.raises(AnchorError, match=r"s3://plain/checkpoints/7\.txt .*Bucket is missing Object ?Lock"):
        await anchor("s3://plain").anchor(signed(7), 7)


async def test_a_bucket_that_is_not_there_is_said(s3: Any) -> None:
    with pytest.raises(AnchorError, match=r"s3://nobodys/checkpoints/7\.txt cannot be written: .*NoSuchBucket"):
        await anchor("s3://nobodys").anchor(signed(7), 7)


async def test_a_server_that_is_down_is_said(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    with pytest.raises(AnchorError, match="cannot be written: Could not connect"):
        await anchor().anchor(signed(7), 7)


async def test_no_credentials_are_said(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    with pytest.raises(AnchorError, match="Unable to locate credentials"):
        await anchor().anchor(signed(7), 7)


async def test_the_endpoint_may_be_given(s3: Any, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    clock = FrozenClock(datetime.now(UTC))
    made = ObjectLock("worm", f"s3://{BUCKET}", retention=YEAR, clock=clock, endpoint=server)
    await made.anchor(signed(7), 7)
    found = boto3.client("s3", endpoint_url=server).list_objects_v2(Bucket=BUCKET)
    assert [one["Key"] for one in found["Contents"]] == ["checkpoints/7.txt"]
