"""Checkpoints as files on another host, which is a real server here; whoever has curl and cmp can compare."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import rfc8785

from bot.errors import Misconfigured
from bot.vault.anchors import AnchorError, AnotherHistory, describe
from bot.vault.anchors.http_put import HttpPut
from tests.processes import program
from tests.vault.anchors.notes import signed
from tests.vault.anchors.peers import Reply, Request, serving

SECRET = "not-a-real-token"


@dataclass
class Partner:
    """Keeps what is put, once; deletes nothing; wants the token."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    asked: list[Request] = field(default_factory=list)
    written: int = 201
    readable: bool = True

    def act(self, request: Request) -> Reply:
        self.asked.append(request)
        if request.headers.get("authorization") != f"Bearer {SECRET}":
            return Reply(401)
        if request.method == "GET":
            there = self.readable and request.path in self.files
            return Reply(200, self.files[request.path], {"ETag": '"there"'}) if there else Reply(403)
        if request.path in self.files and request.headers.get("if-none-match") == "*":
            return Reply(412)
        self.files[request.path] = request.content
        return Reply(self.written, headers={"ETag": '"new"'})


@pytest.fixture
def partner() -> Iterator[Partner]:
    made = Partner()
    with serving(made.act) as url:
        made.url = url
        yield made


def anchor(partner: Partner, path: str = "/anchors", token: str = SECRET) -> HttpPut:
    return HttpPut("partner", partner.url + path, token=lambda: token)


@pytest.mark.parametrize("status", [200, 201, 204])
async def test_a_checkpoint_is_put_and_the_proof_says_where(partner: Partner, status: int) -> None:
    partner.written = status
    proof = await anchor(partner).anchor(signed(7), 7)
    assert partner.files == {"/anchors/7.txt": signed(7).encode()}
    told = json.loads(proof)
    assert proof == rfc8785.dumps(told)
    assert told.keys() == {"date", "etag", "status", "url"}
    assert (told["etag"], told["status"], told["url"]) == ('"new"', status, f"{partner.url}/anchors/7.txt")
    assert told["date"].endswith("GMT")
    assert describe("http", proof) == f"the file {partner.url}/anchors/7.txt, which was there on {told['date']}"
    assert SECRET.encode() not in proof


@pytest.mark.parametrize(
    ("path", "stored"),
    [
        pytest.param("/anchors/", "/anchors/12.txt", id="slash"),
        pytest.param("/log-{size}.note", "/log-12.note", id="template"),
        pytest.param("/put?name={size}", "/put?name=12", id="query"),
    ],
)
async def test_the_address_may_say_where_the_size_goes(partner: Partner, path: str, stored: str) -> None:
    await anchor(partner, path).anchor(signed(12), 12)
    assert list(partner.files) == [stored]


async def test_the_same_checkpoint_again_is_fine_and_is_compared(partner: Partner) -> None:
    first = json.loads(await anchor(partner).anchor(signed(7), 7))
    again = json.loads(await anchor(partner).anchor(signed(7), 7))
    assert [one.method for one in partner.asked] == ["PUT", "PUT", "GET"]
    assert (first["status"], again["status"], again["etag"]) == (201, 200, '"there"')


async def test_another_history_is_said_loudly_and_nothing_is_overwritten(partner: Partner) -> None:
    await anchor(partner).anchor(signed(7, history="theirs"), 7)
    with pytest.raises(AnotherHistory, match=r"SOMEBODY ELSE WROTE ANOTHER HISTORY: http://\S+/anchors/7\.txt holds"):
        await anchor(partner).anchor(signed(7), 7)
    assert partner.files["/anchors/7.txt"] == signed(7, history="theirs").encode()


async def test_what_lies_there_and_cannot_be_read_is_no_proof(partner: Partner) -> None:
    await anchor(partner).anchor(signed(7), 7)
    partner.readable = False
    with pytest.raises(AnchorError, match=r"exists already but cannot be read back: it answered 403"):
        await anchor(partner).anchor(signed(7), 7)


async def test_a_wrong_token_is_said_without_the_token(partner: Partner) -> None:
    with pytest.raises(AnchorError, match=r"answered 401: check the token$") as said:
        await anchor(partner, token="wrong-token").anchor(signed(7), 7)
    assert "wrong-token" not in str(said.value)
    assert not partner.files


async def test_the_token_is_read_anew_each_time_and_one_that_is_gone_is_said(partner: Partner) -> None:
    tokens = iter(["old", SECRET])

    def token() -> str:
        try:
            return next(tokens)
        except StopIteration:
            raise Misconfigured(["the token env:PARTNER is not set"]) from None

    made = HttpPut("partner", partner.url, token=token)
    with pytest.raises(AnchorError, match="401"):
        await made.anchor(signed(7), 7)
    await made.anchor(signed(7), 7)
    with pytest.raises(Misconfigured, match="env:PARTNER"):
        await made.anchor(signed(8), 8)


@pytest.mark.parametrize(
    ("reply", "sentence"),
    [
        pytest.param(Reply(500), "answered 500$", id="500"),
        pytest.param(Reply(307, headers={"Location": "/x"}), "redirect", id="redirect"),
        pytest.param(Reply(202), "answered 202$", id="202"),
        pytest.param(Reply(201, b"x" * 2_000_000), "more than 1048576 bytes", id="2 MB"),
    ],
)
async def test_what_is_no_yes_is_no_anchoring(reply: Reply, sentence: str) -> None:
    with serving(lambda _: reply) as url, pytest.raises(AnchorError, match=sentence):
        await HttpPut("partner", url).anchor(signed(7), 7)


@pytest.mark.parametrize("url", ["http://[::1", "http://127.0.0.1:1/x", "http://nowhere.invalid/x"])
async def test_an_address_where_nobody_is(url: str) -> None:
    with pytest.raises(AnchorError, match=r"cannot be reached|is not an address"):
        await HttpPut("partner", url).anchor(signed(7), 7)


async def test_without_a_token_none_is_sent() -> None:
    seen: list[Request] = []

    def act(request: Request) -> Reply:
        seen.append(request)
        return Reply(204)

    with serving(act) as url:
        proof = await HttpPut("partner", url).anchor(signed(7), 7)
    assert "authorization" not in seen[0].headers
    assert json.loads(proof)["etag"] is None


@pytest.mark.peer("curl")
async def test_a_stranger_compares_with_curl(partner: Partner, tmp_path: Path) -> None:
    curl = program("curl")
    assert shutil.which("cmp")
    await anchor(partner).anchor(signed(7), 7)
    (tmp_path / "checkpoint.txt").write_text(signed(7))
    url = f"{partner.url}/anchors/7.txt"
    command = f'{curl} -sSf --noproxy "*" -H "Authorization: Bearer {SECRET}" {url} | cmp - checkpoint.txt'
    ran = subprocess.run(["bash", "-o", "pipefail", "-c", command], cwd=tmp_path, capture_output=True, timeout=20)
    assert ran.returncode == 0, ran.stderr
