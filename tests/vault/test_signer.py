"""The checkpoint key: made once, ours alone, never shown."""

import copy
import logging
import os
import pickle
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from bot.domain.checkpoint import Checkpoint, open_checkpoint
from bot.errors import Invalid, Misconfigured
from bot.vault.signer import create_key, load_key

ORIGIN = "stopsign.example/ops"


def test_a_made_key_loads_and_signs(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.key"
    made = create_key(path, ORIGIN)
    loaded = load_key(path, ORIGIN)
    assert loaded.key == made.key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["checkpoint.key"]
    point = Checkpoint(origin=ORIGIN, size=1, root=bytes(32))
    assert open_checkpoint(loaded.sign(point), made.key) == point
    with pytest.raises(Invalid, match="signs checkpoints of"):
        loaded.sign(Checkpoint(origin="other", size=1, root=bytes(32)))


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.key"
    create_key(path, ORIGIN)
    before = path.read_bytes()
    with pytest.raises(Misconfigured, match="never overwritten"):
        create_key(path, ORIGIN)
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Misconfigured, match="never overwritten"):
        create_key(path, ORIGIN)
    assert os.listdir(tmp_path) == ["checkpoint.key"]
    assert before.startswith(b"-----BEGIN PRIVATE KEY-----")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601])
def test_a_key_that_others_may_touch_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "checkpoint.key"
    create_key(path, ORIGIN)
    path.chmod(mode)
    with pytest.raises(Misconfigured, match="chmod 600"):
        load_key(path, ORIGIN)


def test_what_is_no_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.key"
    with pytest.raises(Misconfigured, match="stopsign init"):
        load_key(path, ORIGIN)
    path.mkdir()
    with pytest.raises(Misconfigured, match="cannot be read"):
        load_key(path, ORIGIN)
    path.rmdir()
    path.touch(0o600)
    with pytest.raises(Misconfigured, match="not an unencrypted PEM"):
        load_key(path, ORIGIN)
    path.write_bytes(X25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(Misconfigured, match="not an Ed25519"):
        load_key(path, ORIGIN)
    path.rename(tmp_path / "moved")
    path.symlink_to(tmp_path / "moved")
    with pytest.raises(Misconfigured, match="cannot be read"):
        load_key(path, ORIGIN)


def test_a_key_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create_key(tmp_path / "checkpoint.key", ORIGIN)
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    with pytest.raises(Misconfigured, match="another user"):
        load_key(tmp_path / "checkpoint.key", ORIGIN)


def test_the_private_key_is_not_shown(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "checkpoint.key"
    signer = create_key(path, ORIGIN)
    logging.getLogger("test").warning("%s %r", signer, signer)
    secret = path.read_text().splitlines()[1]
    assert caplog.messages == [f"CheckpointSigner({signer.key.encode()}) CheckpointSigner({signer.key.encode()})"]
    assert secret not in caplog.text
    for copied in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="not serialised"):
            copied(signer)


@pytest.mark.peer("openssl")
@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_openssl_reads_the_key_and_finds_the_same_public_key(tmp_path: Path) -> None:
    signer = create_key(tmp_path / "checkpoint.key", ORIGIN)
    command = ["openssl", "pkey", "-in", str(tmp_path / "checkpoint.key"), "-pubout", "-outform", "DER"]
    assert subprocess.run(command, capture_output=True, check=True).stdout[-32:] == signer.key.public
