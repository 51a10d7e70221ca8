"""Verify the seal of a pack: its manifest describes it, is signed and under the log; and the pack is a bag."""

from collections.abc import Callable
from typing import Final

from bot.domain.checkpoint import Checkpoint, CheckpointError, VerifierKey, open_checkpoint, open_note
from bot.domain.leaf import leaf_hash_of_revealed
from bot.domain.merkle import MerkleError
from bot.errors import Invalid
from bot.vault import bag, links, listing, pack
from bot.vault.contents import Contents
from bot.vault.opened import ALTERED, Opened
from bot.vault.records import unproven

_REBUILT: Final = "A file was altered, and the manifest with it"
_UNSEALED: Final = "The manifest is not proven to be that of the export"
_ADDED: Final = "It was put in after the export"


class Sealing:
    """The last stage: by now every file of the payload was read."""

    def __init__(self, opened: Opened, key: VerifierKey | None, point: Checkpoint | None, total: Contents) -> None:
        self.pack = opened
        self.key = key
        self.point = point
        self.total = total

    def run(self) -> None:
        """Check manifest, seal, and what BagIt wants, in this order."""
        self._read(lambda path: path.startswith(pack.DATA))
        self._listed(pack.MANIFEST, bag.manifest(self.pack.seen))
        sealed_by = self._covered()
        if pack.MANIFEST in self.pack.seen:
            self._note(self.pack.seen[pack.MANIFEST].sha256)
            self._record(self.pack.seen[pack.MANIFEST].sha256, sealed_by)
        self._bag()

    def _read(self, which: Callable[[str], bool]) -> None:
        """Hash the files that no stage before had a reason to read."""
        for path in self.pack.sizes:
            if which(path) and path not in self.pack.seen:
                for _ in self.pack.blocks(path):
                    pass

    # ---- manifests ---------------------------------------------------------------------------------------------------

    def _listed(self, path: str, expected: str) -> None:
        """Compare a manifest with what is there, file by file."""
        text = self.pack.text(path)
        if text is None or text == expected:
            return
        named = {problem.where for problem in self.pack.problems}
        lines, odd = dict[str, str](), None
        for number, name, listed in bag.listed(text):
            if not name or listed in lines:
                odd = odd or f"{path} line {number}"
            lines[listed] = name
        there = {listed: name for _, name, listed in bag.listed(expected)}
        for listed in sorted((lines.keys() | there.keys()) - named - {""}):
            self._entry(path, listed, lines.get(listed), there.get(listed))
        if odd is not None:
            self.pack.wrong(odd, "it is not the SHA-256 and path of one more file", ALTERED)
        elif lines == there:
            self.pack.wrong(path, "it does not describe the files, in order and spelling of BagIt", ALTERED)

    def _entry(self, path: str, listed: str, name: str | None, found: str | None) -> None:
        where = listing.readable(listed)
        if found is None:
            self.pack.wrong(where, f"it is not there, but {path} lists it", "It was left out after the export")
        elif name is None:
            self.pack.wrong(where, f"{path} does not list it", _ADDED)
        elif name != found:
            self.pack.wrong(where, f"its hash is {found}, but {path} says {name}", ALTERED)

    # ---- the seal ----------------------------------------------------------------------------------------------------

    def _covered(self) -> Checkpoint | None:
        """Return the checkpoint that covers the seal, grown out of the payload's."""
        note, proof = self.pack.text(pack.SEAL_CHECKPOINT), self.pack.hashes(pack.SEAL_CONSISTENCY)
        if note is None or self.key is None:
            return None
        try:
            later = open_checkpoint(note, self.key)
            if pack.single(note, self.key) != note:
                raise CheckpointError("it has more than the key's own signature")
        except CheckpointError as error:
            self.pack.wrong(pack.SEAL_CHECKPOINT, error, _UNSEALED)
            return None
        if proof is not None and self.point is not None:
            try:
                links.grown(self.point, later, proof)
            except MerkleError as error:
                what = f"{pack.SEAL_CHECKPOINT} does not continue {pack.CHECKPOINT}: {error}"
                self.pack.wrong(pack.SEAL_CONSISTENCY, what, "The log was forked, or the seal is another's")
        return later

    def _note(self, manifest: str) -> None:
        note = self.pack.text(pack.NOTE)
        if note is None or self.key is None:
            return
        try:
            text = open_note(note, self.key)
            if text != pack.manifest_text(self.total.incident, manifest):
                self.pack.wrong(pack.MANIFEST, f"it is not the one that was signed: its hash is {manifest}", _REBUILT)
            elif pack.single(note, self.key) != note:
                self.pack.wrong(pack.NOTE, "it has more than the key's own signature", ALTERED)
        except CheckpointError as error:
            self.pack.wrong(pack.NOTE, error, _UNSEALED)

    def _record(self, manifest: str, later: Checkpoint | None) -> None:
        content = self.pack.content(pack.SEAL_RECORD)
        if content is None:
            return
        try:
            shown = pack.shown(content)
            leaf = leaf_hash_of_revealed({"fields": shown["fields"], "redacted": shown["redacted"]})
        except Invalid as error:
            self.pack.wrong(pack.SEAL_RECORD, f"this is not a record: {error}", ALTERED)
            return
        for what in unproven(leaf, shown, later):
            self.pack.wrong(pack.SEAL_RECORD, what, _UNSEALED)
        try:
            values = pack.values_of(shown)
            links.sealed(values, self.total.incident, self.total.exported, manifest)
        except Invalid as error:
            self.pack.wrong(pack.SEAL_RECORD, error, _UNSEALED)
            return
        names = {*shown["fields"], *shown["redacted"]}
        if self.total.redaction.of(pack.SEALED, names) != set(shown["redacted"]):
            self.pack.wrong(pack.SEAL_RECORD, "its fields are not hidden as the export's rules say", ALTERED)

    # ---- the bag -----------------------------------------------------------------------------------------------------

    def _bag(self) -> None:
        self._same(pack.DECLARATION, bag.DECLARATION)
        guide = self.pack.content(pack.GUIDE)
        if guide is not None and self.pack.seen[pack.GUIDE].sha256 not in pack.GUIDES:
            self.pack.wrong(pack.GUIDE, "its text is none that Stopsign ever wrote", f"{ALTERED}: do not follow it")
        if self.key is not None:
            expected = bag.info(
                incident=self.total.incident,
                exported_at=self.total.exported_at,
                vkey=self.key.encode(),
                seen=self.pack.seen,
            )
            self._same(pack.INFO, expected)
        self._read(lambda path: path != pack.TAGMANIFEST)
        self._listed(pack.TAGMANIFEST, bag.tagmanifest(self.pack.seen))

    def _same(self, path: str, expected: str) -> None:
        text = self.pack.text(path)
        if text is None or text == expected:
            return
        found, wanted = text.split("\n"), expected.split("\n")
        number = next((i for i, (a, b) in enumerate(zip(found, wanted, strict=False)) if a != b), len(wanted) - 1)
        said = listing.readable(found[number])[:80] if number < len(found) else "nothing"
        self.pack.wrong(path, f"its line {number + 1} is {said!r}, not {wanted[number]!r}", ALTERED)
