"""Verify what others hold: the older keys of the log, and the checkpoints that were anchored outside our reach."""

from hashlib import sha256
from typing import Final

from rfc3161_client import decode_timestamp_response

from bot.domain.checkpoint import Checkpoint, CheckpointError, VerifierKey
from bot.domain.merkle import MerkleError
from bot.errors import Invalid, StopsignError
from bot.vault import links, pack
from bot.vault.anchors.der import in_der_order
from bot.vault.anchors.port import AnchorError
from bot.vault.anchors.rfc3161 import time_of, verify_timestamp
from bot.vault.opened import ALTERED, Opened

_FORKED: Final = "The log was forked, or it was put in from outside"
_OTHER: Final = "It was exchanged or altered after the export"
_OLDER: Final = ("vkey.txt", "checkpoint.txt", "consistency.txt")
_ANCHOR: Final = ("anchor.json", "checkpoint.txt", "consistency.txt")


class Held:
    """The keys before the pack's own and the anchored checkpoints, as the pack has them."""

    def __init__(self, opened: Opened, newest: VerifierKey | None) -> None:
        self.pack = opened
        self.newest = newest
        self._older: dict[str, VerifierKey] = {}
        folders = {match[0]: int(match[1]) for path in opened.sizes if (match := pack.OLDER.match(path))}
        self._folders = sorted(folders, key=lambda folder: folders[folder])

    def older(self) -> tuple[VerifierKey, ...]:
        """Return the older keys that the pack names, the oldest first; whether they lead to its own, `check` tells."""
        for number, folder in enumerate(self._folders, 1):
            if folder != f"data/keys/{number}/":
                self.pack.wrong(f"data/keys/{number}", "it is missing, and a later one is there", "It was left out")
            self._whole(folder, _OLDER)
            text = self.pack.text(f"{folder}vkey.txt")
            if text is not None:
                try:
                    self._older[folder] = VerifierKey.parse(text.removesuffix("\n"))
                except CheckpointError as error:
                    self.pack.wrong(f"{folder}vkey.txt", error, ALTERED)
        return tuple(self._older.values())

    def check(self, point: Checkpoint | None, key: VerifierKey | None, roots: bytes | None) -> None:
        """Check the way from key to key, and each anchored checkpoint, against the pack's checkpoint."""
        following = dict(zip(self._older, [*self._older.values()][1:], strict=False))
        for folder, older in self._older.items():
            self._handed_over(folder, older, following.get(folder, self.newest), point)
        keys = [one for one in (key, self.newest, *self._older.values()) if one is not None]
        for folder in sorted({match[0] for path in self.pack.sizes if (match := pack.ANCHOR.match(path))}):
            self._anchored(folder, keys, point, roots)

    def _whole(self, folder: str, names: tuple[str, ...]) -> None:
        for name in names:
            if folder + name not in self.pack.sizes:
                self.pack.wrong(folder + name, "the file is missing", "It was left out after the export")

    def _handed_over(
        self, folder: str, older: VerifierKey, newer: VerifierKey | None, point: Checkpoint | None
    ) -> None:
        note, proof = self.pack.text(f"{folder}checkpoint.txt"), self.pack.hashes(f"{folder}consistency.txt")
        if note is None or newer is None:
            return
        try:
            held = links.handed_over(note, older, newer)
        except CheckpointError as error:
            self.pack.wrong(f"{folder}checkpoint.txt", error, "This key was not handed over to the next one")
            return
        self._grown(folder, held, point, proof)

    def _grown(self, folder: str, held: Checkpoint, point: Checkpoint | None, proof: list[bytes] | None) -> None:
        if point is None or proof is None:
            return
        try:
            links.grown(held, point, proof)
        except MerkleError as error:
            self.pack.wrong(f"{folder}consistency.txt", f"it does not lead to {pack.CHECKPOINT}: {error}", _FORKED)

    # ---- anchors -----------------------------------------------------------------------------------------------------

    def _anchored(self, folder: str, keys: list[VerifierKey], point: Checkpoint | None, roots: bytes | None) -> None:
        self._whole(folder, _ANCHOR)
        kind = self._kind(folder)
        note, proof = self.pack.text(f"{folder}checkpoint.txt"), self.pack.hashes(f"{folder}consistency.txt")
        if note is not None:
            try:
                held = links.opened(note, keys)
                match = pack.ANCHOR.fullmatch(folder)
                if match is None or held.size != int(match[2]):
                    raise CheckpointError(f"it has {held.size} leaves, and its folder says otherwise")
                self._grown(folder, held, point, proof)
            except CheckpointError as error:
                self.pack.wrong(f"{folder}checkpoint.txt", error, _OTHER)
        self._proof(folder, kind, note, roots)

    def _kind(self, folder: str) -> str | None:
        match, text = pack.ANCHOR.fullmatch(folder), self.pack.text(f"{folder}anchor.json")
        if match is None or text is None:
            return None
        try:
            return str(links.about(text, match[1], int(match[2]))["kind"])
        except Invalid as error:
            self.pack.wrong(f"{folder}anchor.json", error, ALTERED)
            return None

    def _proof(self, folder: str, kind: str | None, note: str | None, roots: bytes | None) -> None:
        """Read the proof, whichever is there; check a timestamp."""
        token, other = self.pack.content(folder + links.STAMP), self.pack.content(folder + links.PROOF)
        mine, alien = (links.STAMP, links.PROOF) if kind == pack.TIMESTAMP else (links.PROOF, links.STAMP)
        if kind is not None and folder + mine not in self.pack.sizes:
            self.pack.wrong(folder + mine, "the file is missing", "It was left out after the export")
        if kind is not None and folder + alien in self.pack.sizes:
            self.pack.wrong(folder + alien, f"an anchor of kind {kind} has no such proof", "It was put in from outside")
        if token is not None and note is not None:
            try:
                self._stamped(folder, note.encode(), token, roots)
            except StopsignError as error:
                self.pack.wrong(folder + links.STAMP, error, _OTHER)
        if other is not None and not _json(other):
            self.pack.wrong(folder + links.PROOF, "it is not JSON", ALTERED)

    def _stamped(self, folder: str, note: bytes, token: bytes, roots: bytes | None) -> None:
        if roots is not None:
            at = verify_timestamp(note, token, roots)
            self.pack.notes.append(f"{folder}: an authority that you trust says that it existed at {at.isoformat()}")
            return
        at = time_of(token)
        if decode_timestamp_response(in_der_order(token)).tst_info.message_imprint.message != sha256(note).digest():
            raise AnchorError("the timestamp is for another content: its message imprint is not this checkpoint's hash")
        self.pack.notes.append(
            f"{folder}: a timestamp says {at.isoformat()}; its signature was not checked, since no roots were given"
        )


def _json(content: bytes) -> bool:
    try:
        pack.parsed(content.decode())
    except (Invalid, UnicodeDecodeError):
        return False
    return True
