"""From policy.yaml's entry to the anchor, and what a stored proof is called."""

import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bot.domain.policy import AnchorAt
from bot.errors import Misconfigured
from bot.steps import anchor as steps
from bot.vault.anchors import Anchor, describe, make
from bot.vault.anchors.channel import Channel
from bot.vault.anchors.http_put import HttpPut
from bot.vault.anchors.object_lock import ObjectLock
from bot.vault.anchors.rfc3161 import Authority
from tests.fakes import FrozenClock
from tests.vault.anchors.authority import issue
from tests.vault.anchors.notes import signed
from tests.vault.anchors.peers import Reply, Request, serving


async def post(channel: str, text: str) -> str:
    return "1.2"


def made(one: AnchorAt, **more: Any) -> Anchor:
    given: dict[str, Any] = {"secret": lambda reference: f"secret of {reference}", "post": post, "clock": FrozenClock()}
    return make(one, **{**given, **more})


def test_each_kind_gives_its_anchor_under_its_name(tmp_path: Path) -> None:
    roots = tmp_path / "roots.pem"
    roots.write_bytes(issue("root").pem)
    for one, kind in (
        (AnchorAt(name="tsa", kind="rfc3161", url="https://tsa.example/tsr", roots=str(roots)), Authority),
        (AnchorAt(name="partner", kind="http", url="https://partner.example"), HttpPut),
        (AnchorAt(name="worm", kind="s3", url="s3://bucket/prefix"), ObjectLock),
        (AnchorAt(name="room", kind="slack", channel="incidents"), Channel),
    ):
        anchor: steps.Anchor = made(one)  # what the step needs is what there is
        assert isinstance(anchor, kind)
        assert (anchor.name, anchor.kind) == (one.name, one.kind)


async def test_the_token_is_looked_up_by_its_reference() -> None:
    seen: list[Request] = []

    def act(request: Request) -> Reply:
        seen.append(request)
        return Reply(201)

    with serving(act) as url:
        await made(AnchorAt(name="p", kind="http", url=url, token="env:PARTNER")).anchor(signed(1), 1)
    assert seen[0].headers["authorization"] == "Bearer secret of env:PARTNER"


def test_an_entry_that_says_its_retention_overrides_the_policy() -> None:
    entry = AnchorAt(name="worm", kind="s3", url="s3://bucket", retention=timedelta(days=400))
    for one, days in ((entry, 400), (AnchorAt(name="worm", kind="s3", url="s3://bucket"), 100)):
        anchor = made(one, retention=timedelta(days=100))
        assert isinstance(anchor, ObjectLock)
        assert anchor.retention == timedelta(days=days)


@pytest.mark.parametrize(
    ("one", "sentence"),
    [
        (AnchorAt(name="x", kind="rfc3161", url="https://tsa.example"), "the anchor x of kind rfc3161 needs roots"),
        (AnchorAt(name="x", kind="http"), "the anchor x of kind http needs url"),
        (AnchorAt(name="x", kind="slack"), "the anchor x of kind slack needs channel"),
        (AnchorAt(name="x", kind="carrier-pigeon"), "unknown kind 'carrier-pigeon'"),
    ],
    ids=["roots", "url", "channel", "kind"],
)
def test_what_is_missing_is_said(one: AnchorAt, sentence: str) -> None:
    with pytest.raises(Misconfigured, match=sentence):
        made(one)


def test_a_channel_without_slack_is_said() -> None:
    with pytest.raises(Misconfigured, match="the anchor room posts in a channel, but Slack is not connected"):
        made(AnchorAt(name="room", kind="slack", channel="incidents"), post=None)


def test_s3_without_boto3_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(Misconfigured, match=r"install stopsign\[s3\]$"):
        made(AnchorAt(name="worm", kind="s3", url="s3://bucket"))


@pytest.mark.parametrize("kind", ["rfc3161", "http", "s3", "slack"])
@pytest.mark.parametrize("proof", [b"", b"[]", b"{}", b"\xff", b"null"], ids=["empty", "list", "object", "ff", "null"])
def test_a_proof_that_cannot_be_read_is_called_that(kind: str, proof: bytes) -> None:
    assert describe(kind, proof) == f"a proof of kind {kind} that cannot be read, {len(proof)} bytes"


def test_a_proof_of_an_unknown_kind_is_called_that() -> None:
    assert describe("pigeon", b"coo") == "a proof of the unknown kind 'pigeon', 3 bytes"
