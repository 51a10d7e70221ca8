"""Signed checkpoints of the log: C2SP tlog-checkpoint inside a C2SP signed note, Ed25519.

    stopsign.example/ops            origin
    20852163                        tree size
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
                                    (blank line: the signed text ends before it)
    — stopsign.example/ops Az3grl…  key name, base64(key id || signature)

Stopsign writes no extension lines and refuses them. Keys are shown in the form of Go's sumdb/note: NAME+ID+BASE64.
"""

import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from bot.errors import Invalid

MAX_NOTE: Final = 1_000_000
MAX_SIGNATURES: Final = 100  # the note specification wants at least 16 accepted

_ED25519: Final = b"\x01"
_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
_CONTROL: Final = re.compile(r"[\x00-\x09\x0b-\x1f\ud800-\udfff]")  # and what has no UTF-8 form
_DASH: Final = "— "


class CheckpointError(Invalid):
    """A checkpoint, note or key is malformed, or no signature of the expected key holds; nothing in it is believed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The state of the log `origin` at one moment: how many leaves, and the RFC 6962 root over them."""

    origin: str
    size: int
    root: bytes

    def __post_init__(self) -> None:
        """Refuse what has no text form."""
        if not self.origin or "\n" in self.origin or _CONTROL.search(self.origin):
            raise CheckpointError(f"the origin {self.origin!r} is not one line of text")
        if not _SIZE.fullmatch(str(self.size)):
            raise CheckpointError(f"the tree size {self.size} is not a number of leaves")
        if len(self.root) != 32:
            raise CheckpointError(f"the root hash has {len(self.root)} bytes, not 32")

    def text(self) -> str:
        """Return the note text (tlog-checkpoint, Note text); it ends in a newline."""
        return f"{self.origin}\n{self.size}\n{b64encode(self.root).decode()}\n"

    @classmethod
    def parse(cls, text: str) -> "Checkpoint":
        """Return the checkpoint that `text` says, refusing any other spelling of it."""
        lines = text.split("\n")
        if len(lines) != 4 or lines[3]:
            raise CheckpointError("a checkpoint is three lines: origin, tree size, root hash")
        if not _SIZE.fullmatch(lines[1]):
            raise CheckpointError(f"the tree size {lines[1]!r} is not a decimal number without leading zeroes")
        return cls(origin=lines[0], size=int(lines[1]), root=_base64(lines[2], "the root hash"))


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifierKey:
    """A public key under the name that its signatures carry."""

    name: str
    public: bytes

    def __post_init__(self) -> None:
        """Refuse a name or key that the note format cannot carry."""
        if not self.name or "+" in self.name or self.name.split() != [self.name] or _CONTROL.search(self.name):
            raise CheckpointError(f"the key name {self.name!r} is empty or has a space or a plus")
        if len(self.public) != 32:
            raise CheckpointError(f"an Ed25519 public key has 32 bytes, not {len(self.public)}")

    @property
    def id(self) -> bytes:
        """Return the key id: SHA-256(name || 0x0A || 0x01 || public key)[:4] (signed-note, Ed25519 signatures)."""
        return sha256(self.name.encode() + b"\n" + _ED25519 + self.public).digest()[:4]

    def encode(self) -> str:
        """Return the key as NAME+ID+BASE64(0x01 || public key)."""
        return f"{self.name}+{self.id.hex()}+{b64encode(_ED25519 + self.public).decode()}"

    @classmethod
    def parse(cls, vkey: str) -> "VerifierKey":
        """Return the key that `vkey` says; its id must be the one that follows from name and key."""
        name, _, rest = vkey.partition("+")
        key_id, _, encoded = rest.partition("+")
        material = _base64(encoded, "the key")
        if material[:1] != _ED25519:
            raise CheckpointError("the key is not of signature type 1 (Ed25519)")
        key = cls(name=name, public=material[1:])
        if key.id.hex() != key_id:
            raise CheckpointError(
                f"the key id {key_id!r} does not belong to this name and key: it would be {key.id.hex()}"
            )
        return key

    def holds(self, text: str, signature: bytes) -> bool:
        """Tell whether `signature` is this key's over `text`."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, text.encode())
        except InvalidSignature:
            return False
        return True


def verifier_of(name: str, private: Ed25519PrivateKey) -> VerifierKey:
    """Return the public side of a signing key."""
    return VerifierKey(name=name, public=private.public_key().public_bytes_raw())


def sign_note(text: str, name: str, private: Ed25519PrivateKey) -> str:
    """Return `text` as a note with one signature (signed-note, Format)."""
    if not text.endswith("\n") or _CONTROL.search(text):
        raise CheckpointError("the text of a note ends in a newline and has no control characters")
    key = verifier_of(name, private)
    return f"{text}\n{_DASH}{name} {b64encode(key.id + private.sign(text.encode())).decode()}\n"


def open_note(note: str, key: VerifierKey) -> str:
    """Return the text of a note that `key` signed.

    Signatures of unknown keys are ignored; each one under the name and id of `key` must hold.

    Raises:
        CheckpointError: the first thing that is wrong: the form, no signature by `key`, one that does not hold.
    """
    text, signatures = _split(note)
    mine = [signature for name, key_id, signature in signatures if (name, key_id) == (key.name, key.id)]
    if not mine:
        found = ", ".join(f"{name} ({key_id.hex()})" for name, key_id, _ in signatures)
        raise CheckpointError(f"the note is not signed by {key.name} ({key.id.hex()}) but by {found}")
    if not all(key.holds(text, signature) for signature in mine):
        raise CheckpointError(f"the signature of {key.name} ({key.id.hex()}) does not belong to this text")
    return text


def sign_checkpoint(checkpoint: Checkpoint, private: Ed25519PrivateKey) -> str:
    """Return the checkpoint as a note, signed under its origin as key name (tlog-checkpoint, Signatures)."""
    return sign_note(checkpoint.text(), checkpoint.origin, private)


def open_checkpoint(note: str, key: VerifierKey) -> Checkpoint:
    """Return the checkpoint in a note that `key` signed; its origin must be the key's name."""
    checkpoint = Checkpoint.parse(open_note(note, key))
    if checkpoint.origin != key.name:
        raise CheckpointError(f"the checkpoint is of the log {checkpoint.origin!r}, not {key.name!r}")
    return checkpoint


def signature_of(note: str, key: VerifierKey) -> bytes:
    """Return the 64 bytes that `key` put under the note, for a verifier outside (openssl pkeyutl -verify -rawin)."""
    open_note(note, key)
    return next(signature for name, key_id, signature in _split(note)[1] if (name, key_id) == (key.name, key.id))


def _split(note: str) -> tuple[str, list[tuple[str, bytes, bytes]]]:
    """Return a note's text and its signatures as (key name, key id, signature)."""
    if len(note) > MAX_NOTE or _CONTROL.search(note):
        raise CheckpointError("the note is over a million characters or has control characters")
    body, gap, tail = note.rpartition("\n\n")
    if not gap or not tail.endswith("\n"):
        raise CheckpointError("the note is not a text, a blank line and signature lines, each ended by a newline")
    lines = tail[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise CheckpointError(f"the note has {len(lines)} signatures, more than {MAX_SIGNATURES}")
    return body + "\n", [_signature(line) for line in lines]


def _signature(line: str) -> tuple[str, bytes, bytes]:
    name, gap, encoded = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not name or not gap:
        raise CheckpointError(f"the signature line {line[:80]!r} is not: dash, key name, signature")
    signature = _base64(encoded, f"the signature of {name}")
    if len(signature) <= 4:
        raise CheckpointError(f"the signature of {name} is too short")
    return name, signature[:4], signature[4:]


def _base64(text: str, what: str) -> bytes:
    """Decode RFC 4648 §4 base64 in its one canonical spelling."""
    try:
        value = b64decode(text, validate=True)
    except (Base64Error, ValueError):
        value = b""
    if b64encode(value).decode() != text or not text:
        raise CheckpointError(f"{what} is not base64")
    return value
