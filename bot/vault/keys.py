"""The log's key and its successor: who signs the next checkpoint, and how a new key takes over.

A rotation is a record of the log (KeyRotated). The next checkpoint, which covers that record, is signed with both keys:
so that whoever trusts the old one can follow. Only then does the new key take the old one's place, and the old
private key is gone. Cut off anywhere, the next checkpoint goes on from where it was.
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bot.domain.checkpoint import Checkpoint, CheckpointError, VerifierKey, open_checkpoint
from bot.errors import Misconfigured
from bot.vault import files
from bot.vault.signer import create_key, load_key

CURRENT, NEXT = "checkpoint.pem", "checkpoint.next.pem"


class Keys:
    """The key files in the evidence folder; several processes may look at them."""

    def __init__(self, folder: Path, origin: str) -> None:
        """Load the current key, made on the first start. Raises Misconfigured."""
        self._folder = folder
        self._origin = origin
        path = folder / CURRENT
        if path.exists():
            self._signer = load_key(path, origin)
        else:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._signer = create_key(path, origin)
        self._seen = _identity(path)

    @property
    def key(self) -> VerifierKey:
        """Return the public key that signs."""
        self._reload()
        return self._signer.key

    @property
    def pending(self) -> bool:
        """Tell whether a successor waits to take over."""
        return (self._folder / NEXT).exists()

    def successor(self) -> VerifierKey:
        """Return the public key that is to follow, made if need be; it signs nothing before the log says so."""
        path = self._folder / NEXT
        signer = load_key(path, self._origin) if path.exists() else create_key(path, self._origin)
        return signer.key

    def sign(self, checkpoint: Checkpoint, *, due: str | None, last: str | None = None) -> str:
        """Return the signed note; `due` is the verifier key that the log names, None before any rotation.

        `last` is the newest checkpoint, which another key must not follow unless the log says so. Signed with both keys
        while the one that is due has not yet taken over. Raises Misconfigured when the key is not here: then nothing
        is signed.
        """
        self._reload()
        if due is None and last is not None:
            self._follows(last)
        if due is None or due == self._signer.key.encode():
            return self._signer.sign(checkpoint)
        path = self._folder / NEXT
        following = load_key(path, self._origin) if path.exists() else None
        if following is None or following.key.encode() != due:
            raise Misconfigured([f"the log is signed with {due}, whose private key is not in {self._folder}"])
        return both(self._signer.sign(checkpoint), following.sign(checkpoint))

    def sign_manifest(self, text: str) -> str:
        """Return a pack's manifest text as a note signed by the current key; raises Invalid for any other text."""
        self._reload()
        return self._signer.sign_manifest(text)

    def settle(self, last: str | None) -> bool:
        """Let the successor take over once it has signed `last`, the newest stored checkpoint; True when it did.

        Not as soon as the log names it: without a checkpoint that both keys signed nobody could follow from the old.
        """
        path = self._folder / NEXT
        if last is None or not path.exists():
            return False
        try:
            open_checkpoint(last, load_key(path, self._origin).key)
        except CheckpointError:
            return False
        with files.directory(self._folder.absolute()) as folder, suppress(FileNotFoundError):  # another was first
            os.rename(NEXT, CURRENT, src_dir_fd=folder, dst_dir_fd=folder)
            os.fsync(folder)
        self._reload()
        return True

    def _follows(self, last: str) -> None:
        try:
            open_checkpoint(last, self._signer.key)
        except CheckpointError as error:
            what = f"the log was signed with another key than {self._folder / CURRENT}: bring that one back ({error})"
            raise Misconfigured([what]) from None

    def _reload(self) -> None:
        """Take what another process has put in place of the key; where there is nothing, sign on with ours."""
        path = self._folder / CURRENT
        with suppress(FileNotFoundError):
            if (now := _identity(path)) != self._seen:
                self._signer, self._seen = load_key(path, self._origin), now


def both(first: str, second: str) -> str:
    """Return one note with the signatures of two notes over the same text (C2SP signed-note, Format)."""
    text, _, mine = first.rpartition("\n\n")
    other, _, theirs = second.rpartition("\n\n")
    if text != other:
        raise ValueError("two notes with different texts have no signatures in common")
    return f"{text}\n\n{mine}{theirs}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reign:
    """A key, and from which tree size on checkpoints must bear its signature."""

    since: int
    key: VerifierKey


def reigns(current: str, rotations: Sequence[tuple[int, str, str]]) -> tuple[Reign, ...]:
    """Return the log's keys in their order; `rotations` are (leaf, was, now) of the KeyRotated records, oldest first.

    Raises CheckpointError where one does not follow from the one before, or the last does not lead to `current`.
    """
    found = [Reign(since=0, key=VerifierKey.parse(rotations[0][1] if rotations else current))]
    for leaf, was, now in rotations:
        if was != found[-1].key.encode():
            raise CheckpointError(f"leaf {leaf} rotates from {was}, but the key before it is {found[-1].key.encode()}")
        found.append(Reign(since=leaf + 1, key=VerifierKey.parse(now)))
    if found[-1].key.encode() != current:
        raise CheckpointError(f"the log names {found[-1].key.encode()} as its key, not {current}")
    return tuple(found)


def _identity(path: Path) -> tuple[int, int]:
    state = os.stat(path)
    return state.st_ino, state.st_mtime_ns
