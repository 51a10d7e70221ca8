"""Timestamps by real answers of openssl, checked by us, and by openssl without us."""

import re
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from rfc3161_client import decode_timestamp_response

from bot.errors import Misconfigured
from bot.vault.anchors import AnchorError, describe
from bot.vault.anchors.der import in_der_order
from bot.vault.anchors.rfc3161 import Authority, time_of, verify_timestamp
from tests.fakes import FrozenClock
from tests.processes import program
from tests.vault.anchors.authority import LocalAuthority, issue, openssl
from tests.vault.anchors.notes import signed
from tests.vault.anchors.peers import Reply, Request, serving

pytestmark = pytest.mark.peer("openssl")
NOTE = signed(7)
DOCS = Path(__file__).parents[3] / "docs" / "anchors.md"
TSR = {"Content-Type": "application/timestamp-reply"}


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> LocalAuthority:
    """An authority whose signer's certificate is its root's."""
    program("openssl")
    root = issue("root")
    return LocalAuthority(tmp_path_factory.mktemp("tsa") / "one", root, issue("signer", root, signs_time=True))


def ask(authority: LocalAuthority, query: bytes) -> Reply:
    return Reply(content=authority.reply(query), headers=TSR)


def client(url: str, roots: Path, *, off: timedelta = timedelta(), within: float = 20.0) -> Authority:
    """Return the anchor, its clock `off` from the machine's."""
    clock = FrozenClock(datetime.now(UTC) + off)
    return Authority("tsa", f"{url}/tsr", roots=str(roots), clock=clock, within=within)


def checked_by_openssl(folder: Path, note: bytes, proof: bytes, roots: Path, *more: str) -> str:
    """Do what docs/anchors.md says a stranger does."""
    (folder / "checkpoint.txt").write_bytes(note)
    (folder / "proof.tsr").write_bytes(proof)
    named = ("-data", folder / "checkpoint.txt", "-in", folder / "proof.tsr", "-CAfile", roots)
    return openssl("ts", "-verify", *named, *more)


async def test_a_timestamp_is_asked_for_and_openssl_accepts_what_we_keep(
    authority: LocalAuthority, tmp_path: Path
) -> None:
    seen: list[Request] = []

    def act(request: Request) -> Reply:
        seen.append(request)
        return ask(authority, request.content)

    with serving(act) as url:
        proof = await client(url, authority.roots).anchor(NOTE, 7)
    [request] = seen
    assert (request.method, request.headers["content-type"]) == ("POST", "application/timestamp-query")
    (tmp_path / "query.tsq").write_bytes(request.content)
    said = openssl("ts", "-query", "-in", tmp_path / "query.tsq", "-text")
    assert "Certificate required: yes" in said
    assert "Nonce: 0x" in said
    assert "Hash Algorithm: sha256" in said
    at = verify_timestamp(NOTE.encode(), proof, authority.roots.read_bytes())
    assert abs(at - datetime.now(UTC)) < timedelta(seconds=30)
    assert at == time_of(proof)
    assert f"{at:%Y-%m-%d %H:%M:%S} UTC" in describe("rfc3161", proof)
    assert "Verification: OK" in checked_by_openssl(tmp_path, NOTE.encode(), proof, authority.roots)
    with pytest.raises(AssertionError, match="message imprint mismatch"):
        checked_by_openssl(tmp_path, signed(7, history="theirs").encode(), proof, authority.roots)


async def test_each_of_several_authorities_is_believed_under_its_own_root_only(
    authority: LocalAuthority, tmp_path: Path
) -> None:
    root = issue("another root")
    other = LocalAuthority(tmp_path / "two", root, issue("another signer", root, signs_time=True))
    with serving(lambda r: ask(authority, r.content)) as one, serving(lambda r: ask(other, r.content)) as two:
        await client(one, authority.roots).anchor(NOTE, 7)
        await client(two, other.roots).anchor(NOTE, 7)
        with pytest.raises(AnchorError, match="chain does not lead to the configured roots"):
            await client(two, authority.roots).anchor(NOTE, 7)
        both = tmp_path / "both.pem"
        both.write_bytes(authority.roots.read_bytes() * 2 + other.roots.read_bytes())
        await client(one, both).anchor(NOTE, 7)
        await client(two, both).anchor(NOTE, 7)


@pytest.mark.parametrize("order", ["sorted", "signer-first"])
async def test_a_chain_is_accepted_in_whatever_order_openssl_accepts_it(tmp_path: Path, order: str) -> None:
    program("openssl")
    # DER sorts the shorter certificate first, and each names its issuer; openssl sends the signer's first.
    root = issue("r" * 60 if order == "sorted" else "r")
    between = issue("between", root)
    authority = LocalAuthority(tmp_path / "tsa", root, issue("signer", between, signs_time=True), (between,))
    with serving(lambda r: ask(authority, r.content)) as url:
        proof = await client(url, authority.roots).anchor(NOTE, 7)
    assert "Verification: OK" in checked_by_openssl(tmp_path, NOTE.encode(), proof, authority.roots)
    if order == "sorted":
        assert in_der_order(proof) == proof
    else:
        with pytest.raises(ValueError, match="InvalidSetOrdering"):
            decode_timestamp_response(proof)


def test_another_set_that_is_out_of_order_is_refused_with_the_reason(authority: LocalAuthority) -> None:
    proof = authority.stamp(NOTE.encode())
    # digestAlgorithms twice in falling order: SHA-512 before SHA-256, which sorting certificates does not repair.
    sha256_id, sha512_id = (bytes.fromhex(f"300d060960864801650304020{n}0500") for n in (1, 3))
    broken = grown(proof, b"\x31\x0f" + sha256_id, b"\x31\x1e" + sha512_id + sha256_id)
    with pytest.raises(
        AnchorError, match=r"a set in it is not in DER order, which rfc3161-client refuses although openssl accepts"
    ):
        verify_timestamp(NOTE.encode(), broken, authority.roots.read_bytes())


def grown(proof: bytes, old: bytes, new: bytes) -> bytes:
    """Return the response with one part of its SignedData replaced and the four lengths around it put right."""
    at = proof.index(old)
    more = len(new) - len(old)
    changed = bytearray(proof.replace(old, new, 1))
    for place in range(at):
        if changed[place + 1] == 0x82 and changed[place] in {0x30, 0xA0}:
            size = int.from_bytes(changed[place + 2 : place + 4], "big")
            if place + 4 <= at < place + 4 + size:
                changed[place + 2 : place + 4] = (size + more).to_bytes(2, "big")
    return bytes(changed)


def other_nonce(query: bytes) -> bytes:
    """Return the query with the last byte of its nonce changed; certReq TRUE follows it."""
    assert query.endswith(b"\x01\x01\xff")
    return query[:-4] + bytes([query[-4] ^ 1]) + query[-3:]


def other_imprint(query: bytes) -> bytes:
    mine = sha256(NOTE.encode()).digest()
    assert mine in query
    return query.replace(mine, sha256(b"another").digest())


Lie = Callable[[bytes], bytes]


@pytest.mark.parametrize(
    ("lie", "sentence"),
    [
        pytest.param(other_nonce, "answers another request: its nonce is not ours", id="another nonce"),
        pytest.param(other_imprint, "for another content", id="another imprint"),
    ],
)
async def test_an_authority_that_stamps_something_else_is_not_believed(
    authority: LocalAuthority, lie: Lie, sentence: str
) -> None:
    with serving(lambda r: ask(authority, lie(r.content))) as url, pytest.raises(AnchorError, match=sentence):
        await client(url, authority.roots).anchor(NOTE, 7)


async def test_an_old_answer_played_again_is_not_believed(authority: LocalAuthority) -> None:
    old: list[bytes] = []

    def act(request: Request) -> Reply:
        old.append(authority.reply(request.content))
        return Reply(content=old[0], headers=TSR)

    with serving(act) as url:
        await client(url, authority.roots).anchor(NOTE, 7)
        with pytest.raises(AnchorError, match="it may be an old one"):
            await client(url, authority.roots).anchor(NOTE, 7)


@pytest.mark.parametrize("off", [timedelta(minutes=6), timedelta(minutes=-6)], ids=["behind", "ahead"])
async def test_a_time_far_from_ours_is_not_believed(authority: LocalAuthority, off: timedelta) -> None:
    with serving(lambda r: ask(authority, r.content)) as url:
        await client(url, authority.roots, off=off / 2).anchor(NOTE, 7)
        with pytest.raises(AnchorError, match=r"3[56]\d s away from our clock"):
            await client(url, authority.roots, off=off).anchor(NOTE, 7)


async def test_a_signer_whose_certificate_had_expired_is_not_believed(tmp_path: Path) -> None:
    program("openssl")
    root = issue("root")
    expired = issue("signer", root, signs_time=True, ended=timedelta(days=1))
    authority = LocalAuthority(tmp_path / "tsa", root, expired)
    with (
        serving(lambda r: ask(authority, r.content)) as url,
        pytest.raises(AnchorError, match=r"was not valid then \(Verify error: ?certificate has expired\)"),
    ):
        await client(url, authority.roots).anchor(NOTE, 7)


def test_a_stamp_is_judged_at_its_own_time_so_that_it_outlives_its_certificate(tmp_path: Path) -> None:
    """openssl judges today, unless it is told the time of the stamp."""
    program("openssl")
    root = issue("root")
    authority = LocalAuthority(
        tmp_path / "tsa", root, issue("signer", root, signs_time=True, ended=timedelta(seconds=-2))
    )
    proof = authority.stamp(NOTE.encode())
    time.sleep(2.5)
    at = verify_timestamp(NOTE.encode(), proof, authority.roots.read_bytes())
    assert at == time_of(proof)
    with pytest.raises(AssertionError, match="certificate has expired"):
        checked_by_openssl(tmp_path, NOTE.encode(), proof, authority.roots)
    said = checked_by_openssl(tmp_path, NOTE.encode(), proof, authority.roots, "-attime", str(int(at.timestamp())))
    assert "Verification: OK" in said


SLOW = 3.0


def slow(_: Request) -> Reply:
    time.sleep(SLOW)
    return Reply()


@pytest.mark.parametrize(
    ("act", "sentence"),
    [
        pytest.param(lambda r: Reply(content=b"<html>It works!</html>"), "is no timestamp that can be read", id="page"),
        pytest.param(lambda r: Reply(), "is no timestamp that can be read", id="nothing"),
        pytest.param(lambda r: Reply(500, b"no"), "answered 500$", id="500"),
        pytest.param(lambda r: Reply(404), "answered 404: check the address", id="404"),
        pytest.param(lambda r: Reply(302, headers={"Location": "/x"}), "redirect", id="redirect"),
        pytest.param(lambda r: Reply(content=b"\x30" * 10_000_000), "more than 1048576 bytes", id="10 MB"),
        pytest.param(slow, r"no answer within 0\.5 s", id="slow"),
        # TimeStampResp with status granted and no token, which RFC 3161 §2.4.2 forbids
        pytest.param(lambda r: Reply(content=bytes.fromhex("30053003020100")), "cannot be read", id="no token"),
    ],
)
async def test_what_is_no_timestamp_is_said_in_a_sentence(
    authority: LocalAuthority, act: Callable[[Request], Reply], sentence: str
) -> None:
    with serving(act) as url:
        began = time.monotonic()
        with pytest.raises(AnchorError, match=sentence) as said:
            await client(url, authority.roots, within=0.5 if act is slow else 20).anchor(NOTE, 7)
        assert time.monotonic() - began < SLOW
    assert "127.0.0.1" in str(said.value)


async def test_an_authority_that_is_not_there(authority: LocalAuthority) -> None:
    with serving(slow) as url:
        pass
    with pytest.raises(AnchorError, match="cannot be reached"):
        await client(url, authority.roots).anchor(NOTE, 7)


def test_what_a_refusal_says_is_passed_on(authority: LocalAuthority) -> None:
    refused = authority.stamp(NOTE.encode(), "-sha512", "-cert")
    sentence = r"granted no timestamp \(PKIStatus 2\) and said: Message digest algorithm is not supported"
    with pytest.raises(AnchorError, match=sentence):
        verify_timestamp(NOTE.encode(), refused, authority.roots.read_bytes())
    assert "cannot be read" in describe("rfc3161", refused)


def test_a_stamp_without_the_signers_certificate_is_not_kept(authority: LocalAuthority) -> None:
    bare = authority.stamp(NOTE.encode(), "-sha256")
    with pytest.raises(AnchorError, match="the signer's certificate is not in it"):
        verify_timestamp(NOTE.encode(), bare, authority.roots.read_bytes())


def test_no_changed_byte_gives_another_time_or_another_error(authority: LocalAuthority) -> None:
    proof, roots = authority.stamp(NOTE.encode()), authority.roots.read_bytes()
    at, refused = time_of(proof), 0
    for place in range(len(proof)):
        changed = proof[:place] + bytes([proof[place] ^ 0x81]) + proof[place + 1 :]
        try:
            assert verify_timestamp(NOTE.encode(), changed, roots) == at
        except AnchorError:
            refused += 1
        describe("rfc3161", changed)
    for size in range(len(proof)):
        with pytest.raises(AnchorError):
            verify_timestamp(NOTE.encode(), proof[:size], roots)
    assert refused > 0.95 * len(proof)


@pytest.fixture
def no_file(tmp_path: Path) -> Path:
    return tmp_path / "roots.pem"


def test_roots_that_cannot_be_read_are_said_at_the_start(no_file: Path) -> None:
    with pytest.raises(Misconfigured, match=r"roots\.pem: the roots of a timestamp authority cannot be read"):
        client("http://127.0.0.1:1", no_file)
    no_file.write_text("nothing\n")
    with pytest.raises(Misconfigured, match="no PEM certificate"):
        client("http://127.0.0.1:1", no_file)


async def test_what_the_documentation_tells_a_stranger_works(authority: LocalAuthority, tmp_path: Path) -> None:
    with serving(lambda r: ask(authority, r.content)) as url:
        proof = await client(url, authority.roots).anchor(NOTE, 7)
    given = {"checkpoint.txt": NOTE.encode(), "token.tsr": proof, "roots.pem": authority.roots.read_bytes()}
    for name, content in given.items():
        (tmp_path / name).write_bytes(content)
    blocks = re.findall(r"```sh verify\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    said = [shell(block, tmp_path) for block in blocks]
    assert len(said) == 3
    assert "Verification: OK" in said[0]
    assert f"Time stamp: {time_of(proof):%b %e %H:%M:%S %Y} GMT" in said[0]
    assert "Verification: OK" in said[1]
    digest = sha256(NOTE.encode()).hexdigest()
    assert said[2].split("\n")[:2] == [digest, digest]
    (tmp_path / "checkpoint.txt").write_text(signed(7, history="theirs"))
    with pytest.raises(AssertionError, match="FAILED"):
        shell(blocks[1], tmp_path)


def shell(script: str, folder: Path) -> str:
    """Run a block of the documentation; return what it printed, and fail unless its last command succeeded."""
    ran = subprocess.run(["bash", "-c", script], cwd=folder, capture_output=True, text=True, timeout=20)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout
