"""What ties a pack to others: older keys, checkpoints that others hold, and the seal that came after the manifest."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from bot.domain.checkpoint import Checkpoint, CheckpointError, VerifierKey, open_checkpoint
from bot.domain.leaf import Json, timestamp
from bot.domain.merkle import verify_consistency
from bot.errors import Invalid
from bot.vault import pack
from bot.vault.pack import Anchored

STAMP: Final = "token.tsr"
PROOF: Final = "proof.json"
_KIND: Final = re.compile(r"[a-z0-9-]{1,40}", re.ASCII)


def opened(note: str, keys: Iterable[VerifierKey]) -> Checkpoint:
    """Return the checkpoint that one of `keys` signed; raises CheckpointError, about the first of them."""
    wrong: CheckpointError | None = None
    for key in keys:
        try:
            return open_checkpoint(note, key)
        except CheckpointError as error:
            wrong = wrong or error
    raise wrong or CheckpointError("there is no key to check it with")


def grown(older: Checkpoint, newer: Checkpoint, proof: Sequence[bytes]) -> None:
    """Check that the tree of `newer` begins with that of `older`; raises MerkleError."""
    verify_consistency(older.size, newer.size, older.root, newer.root, list(proof))


def handed_over(note: str, older: VerifierKey, newer: VerifierKey) -> Checkpoint:
    """Return the checkpoint with which `older` hands the log over to `newer`: both signed it.

    Raises:
        CheckpointError: one of them did not.
    """
    point = open_checkpoint(note, older)
    open_checkpoint(note, newer)
    return point


def folder_of(anchored: Anchored) -> str:
    """Return the folder of an anchored checkpoint; raises Invalid for a name or kind that has no place in a pack."""
    if not pack.ANCHOR_NAME.fullmatch(anchored.name) or not _KIND.fullmatch(anchored.kind):
        raise Invalid(f"the anchor {anchored.name!r} of kind {anchored.kind!r} has no name that a pack can hold")
    return f"data/anchors/{anchored.name}-{anchored.size}/"


def files_of(anchored: Anchored) -> dict[str, bytes]:
    """Return the files of an anchored checkpoint by path."""
    folder = folder_of(anchored)
    told: dict[str, Json] = {
        "name": anchored.name,
        "kind": anchored.kind,
        "size": anchored.size,
        "at": timestamp(anchored.at),
    }
    return {
        f"{folder}anchor.json": pack.pretty(told).encode(),
        f"{folder}checkpoint.txt": anchored.note.encode(),
        f"{folder}{STAMP if anchored.kind == pack.TIMESTAMP else PROOF}": anchored.proof,
        f"{folder}consistency.txt": pack.hashes_text(anchored.consistency).encode(),
    }


def about(text: str, name: str, size: int) -> Mapping[str, Any]:
    """Return what an `anchor.json` says; raises Invalid unless it is about this very folder."""
    told = pack.parsed(text)
    if not isinstance(told, dict) or told.keys() != {"name", "kind", "size", "at"} or pack.pretty(told) != text:
        raise Invalid("it does not say name, kind, size and time, as Stopsign spells them")
    if (told["name"], told["size"]) != (name, size) or type(told["size"]) is not int:
        raise Invalid(f"it is about {json.dumps(told['name'])[:90]} and {str(told['size'])[:20]} leaves")
    if not isinstance(told["kind"], str) or not _KIND.fullmatch(told["kind"]) or not isinstance(told["at"], str):
        raise Invalid("its kind or time is none")
    return told


def sealed(values: Mapping[str, Any], incident: str, exported: int, manifest: str) -> None:
    """Check that a record is the seal of the manifest of this export; raises Invalid."""
    if values["kind"] != pack.SEALED:
        raise Invalid(f"it is a record of kind {values['kind']}, not {pack.SEALED}")
    if values["incident"] != incident:
        raise Invalid(f"it belongs to {values['incident']}, not {incident}")
    if values.get("body.exported") != exported:
        raise Invalid(f"it seals the export of record {values.get('body.exported')!r}, not {exported}")
    if values["n"] <= exported:
        raise Invalid("it stands before the end of the export that it seals")
    if values.get("body.manifest") != manifest:
        raise Invalid(f"it seals the manifest {values.get('body.manifest')!r}, not {manifest}")
