"""Checkpoints for the tests of anchors."""

from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bot.domain.checkpoint import Checkpoint, sign_checkpoint

ORIGIN = "stopsign/evidence"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def signed(size: int, *, history: str = "ours") -> str:
    """Return a signed checkpoint of `size` leaves; another `history` has another root."""
    root = sha256(f"{history} {size}".encode()).digest()
    return sign_checkpoint(Checkpoint(origin=ORIGIN, size=size, root=root), KEY)
