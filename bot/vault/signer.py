"""The key that signs checkpoints: one Ed25519 key in a PKCS #8 PEM file of mode 0600, which openssl reads too."""

import os
import stat
from pathlib import Path
from secrets import token_hex
from typing import NoReturn

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from bot.domain.checkpoint import Checkpoint, VerifierKey, sign_checkpoint, sign_note, verifier_of
from bot.errors import Invalid, Misconfigured
from bot.vault import files

ORIGIN = "stopsign/evidence"
"""The name of the log in each checkpoint (C2SP tlog-checkpoint)."""
MANIFEST = "stopsign/evidence-manifest"
"""The first line of a signed manifest: never the origin of a checkpoint."""


class CheckpointSigner:
    """Signs checkpoints of one log. The private key does not leave the object."""

    def __init__(self, origin: str, private: Ed25519PrivateKey) -> None:
        self.key: VerifierKey = verifier_of(origin, private)
        self._private = private

    def __repr__(self) -> str:
        """Show the public key only."""
        return f"CheckpointSigner({self.key.encode()})"

    def __reduce__(self) -> NoReturn:
        """Refuse to be pickled or copied into a log."""
        raise TypeError("a checkpoint key is not serialised")

    def sign(self, checkpoint: Checkpoint) -> str:
        """Return the checkpoint as a signed note; its origin must be the key's name."""
        if checkpoint.origin != self.key.name:
            raise Invalid(f"this key signs checkpoints of {self.key.name!r}, not {checkpoint.origin!r}")
        return sign_checkpoint(checkpoint, self._private)

    def sign_manifest(self, text: str) -> str:
        """Return the manifest text of a pack as a signed note; its first line keeps it apart from checkpoints."""
        if not text.startswith(f"{MANIFEST}\n"):
            raise Invalid("this key signs checkpoints, and manifests of packs")
        return sign_note(text, self.key.name, self._private)


def create_key(path: Path, origin: str) -> CheckpointSigner:
    """Make a new key file durably, whole or not at all.

    Raises:
        Misconfigured: there is something at `path` already; it was left alone.
    """
    private = Ed25519PrivateKey.generate()
    signer = CheckpointSigner(origin, private)
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    temporary = f".{path.name}-{token_hex(8)}"
    with files.directory(path.absolute().parent) as folder:
        files.write_new(temporary, pem, within=folder)
        try:
            os.link(temporary, path.name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
        except FileExistsError:
            raise Misconfigured([f"{path}: there is a file already; a checkpoint key is never overwritten"]) from None
        finally:
            os.unlink(temporary, dir_fd=folder)
            os.fsync(folder)
    return signer


def load_key(path: Path, origin: str) -> CheckpointSigner:
    """Read the key file.

    Raises:
        Misconfigured: it is not there, not a plain file, not ours alone, or not an Ed25519 key.
    """
    try:
        with files.open_plain(path) as file:
            state = os.fstat(file.fileno())
            if stat.S_IMODE(state.st_mode) & 0o077:
                raise Misconfigured([f"{path}: others may read or write this key: run chmod 600, and replace the key"])
            if state.st_uid != os.geteuid():
                raise Misconfigured([f"{path}: this key belongs to another user"])
            private = load_pem_private_key(file.read(), password=None)
    except FileNotFoundError:
        raise Misconfigured([f"{path}: there is no checkpoint key; `stopsign init` makes one"]) from None
    except OSError as error:
        raise Misconfigured([f"{path}: the checkpoint key cannot be read: {error}"]) from None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise Misconfigured([f"{path}: this is not an unencrypted PEM private key"]) from None
    if not isinstance(private, Ed25519PrivateKey):
        raise Misconfigured([f"{path}: this is not an Ed25519 key"])
    return CheckpointSigner(origin, private)
