"""Signed notes and checkpoints: the published examples, strict parsing, and what an error names first."""

import shutil
import subprocess
from base64 import b64decode, b64encode
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain.checkpoint import (
    Checkpoint,
    CheckpointError,
    VerifierKey,
    open_checkpoint,
    open_note,
    sign_checkpoint,
    sign_note,
    signature_of,
    verifier_of,
)

PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
ORIGIN = "stopsign.example/ops"
KEY = verifier_of(ORIGIN, PRIVATE)
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(32))
POINT = Checkpoint(origin=ORIGIN, size=20_852_163, root=bytes(range(32)))
NOTE = sign_checkpoint(POINT, PRIVATE)

NEUMANN = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"


def test_the_keys_that_go_publishes_parse_to_the_same_text() -> None:
    for vkey in (NEUMANN, "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"):
        assert VerifierKey.parse(vkey).encode() == vkey


def test_the_format_never_changes() -> None:
    assert KEY.encode() == "stopsign.example/ops+96c95f99+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4"
    assert NOTE == (
        "stopsign.example/ops\n"
        "20852163\n"
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"
        "\n"
        "— stopsign.example/ops "
        "lslfmWgccMFZzG6+4H4kSZD2X943WWaNFO8bqc4HQmuqgSmAZSwtjhG4bBTbzyaM+XgZ2bOC5PhXejUcmUIVfkScCgA=\n"
    )


def test_a_checkpoint_survives_the_trip() -> None:
    assert open_checkpoint(NOTE, KEY) == POINT
    assert Checkpoint.parse(POINT.text()) == POINT
    assert VerifierKey.parse(KEY.encode()) == KEY


@pytest.mark.peer("openssl")
@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_openssl_verifies_the_signature(tmp_path: Path) -> None:
    public = Ed25519PublicKey.from_public_bytes(KEY.public)
    (tmp_path / "key.pem").write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    (tmp_path / "signature").write_bytes(signature_of(NOTE, KEY))
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", "key.pem", "-rawin", "-in", "text"]
    for text, code in [(POINT.text(), 0), (POINT.text().replace("2", "3", 1), 1)]:
        (tmp_path / "text").write_text(text)
        assert subprocess.run([*command, "-sigfile", "signature"], cwd=tmp_path, capture_output=True).returncode == code


def test_signatures_of_others_are_ignored_but_ours_must_hold() -> None:
    witness = sign_note(POINT.text(), "witness.example", OTHER).splitlines()[-1]
    assert open_checkpoint(NOTE + witness + "\n", KEY) == POINT
    forged = sign_note(POINT.text(), ORIGIN, OTHER).splitlines()[-1]
    assert open_checkpoint(NOTE + forged + "\n", KEY) == POINT  # same name, other key id: another key
    bad = f"— {ORIGIN} {b64encode(KEY.id + bytes(64)).decode()}\n"
    with pytest.raises(CheckpointError, match="does not belong to this text"):
        open_checkpoint(NOTE + bad, KEY)


@settings(deadline=None)
@given(st.integers(0, len(NOTE.encode()) - 1), st.integers(1, 255))
def test_no_flipped_byte_passes(place: int, mask: int) -> None:
    raw = bytearray(NOTE.encode())
    raw[place] ^= mask
    with pytest.raises((CheckpointError, UnicodeDecodeError)):
        open_checkpoint(raw.decode(), KEY)


TYPE2, SHORT, WHOLE = b"\x02" + bytes(32), b"\x01" + bytes(31), b"\x01" + bytes(32)
LINES = NOTE.splitlines()
TEXT = POINT.text()


@pytest.mark.parametrize(
    ("note", "says"),
    [
        ("", "blank line"),
        (TEXT, "blank line"),
        (NOTE[:-1], "blank line"),
        (TEXT + "\n", "blank line"),
        (NOTE.replace("\n", "\r\n"), "control characters"),
        (NOTE.replace(ORIGIN, "\ud800"), "control characters"),
        (NOTE + "\n" * 1_000_000, "million"),
        (NOTE + (LINES[-1] + "\n") * 100, "101 signatures"),
        (NOTE.replace("— ", "-- "), "is not: dash"),
        (f"{TEXT}\n— {ORIGIN}\n", "is not: dash"),
        (f"{TEXT}\n— {ORIGIN} !!!\n", f"signature of {ORIGIN} is not base64"),
        (f"{TEXT}\n— {ORIGIN} AAAAAA==\n", "too short"),
        (NOTE.replace(f"— {ORIGIN}", "— other.example"), "not signed by stopsign.example/ops"),
        (sign_note(TEXT, ORIGIN, OTHER), "not signed by stopsign.example/ops"),
        (NOTE.replace("20852163", "20852164"), "does not belong to this text"),
        (sign_note(TEXT.replace(ORIGIN, "fork"), ORIGIN, PRIVATE), "of the log 'fork'"),
        (sign_note(TEXT + "more\n", ORIGIN, PRIVATE), "three lines"),
        (sign_note(TEXT.replace("20", "020"), ORIGIN, PRIVATE), "leading zeroes"),
        (sign_note(TEXT.replace("20852163", "-1"), ORIGIN, PRIVATE), "leading zeroes"),
        (sign_note(TEXT.replace("=", ""), ORIGIN, PRIVATE), "root hash is not base64"),
        (sign_note(f"{ORIGIN}\n0\nAAAA\n", ORIGIN, PRIVATE), "3 bytes, not 32"),
        (sign_note(f"\n0\n{b64encode(bytes(32)).decode()}\n", ORIGIN, PRIVATE), "origin"),
    ],
)
def test_the_error_names_what_is_wrong(note: str, says: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(note, KEY)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("vkey", "says"),
    [
        ("", "not base64"),
        (KEY.encode().replace("+", "-"), "not base64"),
        (KEY.encode().replace(KEY.id.hex(), "00000000"), "does not belong to this name and key"),
        (KEY.encode().replace("ops", "oops"), "does not belong to this name and key"),
        (f"x+00000000+{b64encode(TYPE2).decode()}", "signature type 1"),
        (f"x+00000000+{b64encode(SHORT).decode()}", "32 bytes, not 31"),
        (f"+00000000+{b64encode(WHOLE).decode()}", "key name"),
        (f"a b+00000000+{b64encode(WHOLE).decode()}", "key name"),
    ],
)
def test_a_wrong_key_is_refused(vkey: str, says: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        VerifierKey.parse(vkey)
    assert says in str(caught.value)


def test_what_has_no_text_form_is_refused() -> None:
    for size, origin in [(-1, ORIGIN), (10**19, ORIGIN), (1, ""), (1, "two\nlines"), (1, "\x00")]:
        with pytest.raises(CheckpointError):
            Checkpoint(origin=origin, size=size, root=bytes(32))
    for text in ("no newline", "tab\t\n"):
        with pytest.raises(CheckpointError, match="ends in a newline"):
            sign_note(text, ORIGIN, PRIVATE)


def test_a_note_may_have_blank_lines_in_its_text() -> None:
    text = "one\n\ntwo\n"
    assert open_note(sign_note(text, ORIGIN, PRIVATE), KEY) == text


def test_the_signature_has_the_key_id_before_it() -> None:
    assert b64decode(LINES[-1].split(" ")[2]) == KEY.id + signature_of(NOTE, KEY)
