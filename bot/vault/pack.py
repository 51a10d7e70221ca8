"""The format of an evidence pack, `evidence-pack/1`, shared by writer and verifier: names, lines of records, texts.

A pack is a BagIt 1.0 bag (RFC 8493). Under the log and signed is its manifest, and so all that lies in `data/`:

    data/records.jsonl   one record a line, in order: {"fields", "redacted", "leaf", "proof"}, as RFC 8785 spells it
    data/items/<sha256>  the evidence itself          data/pack.json      what it is and whence, taken from the records
    data/checkpoint.txt  the signed tree of the log   data/vkey.txt       the key to check it with
    data/keys/<n>/       how that key follows older ones: vkey.txt (the older), checkpoint.txt (signed by it and by the
                         next one), consistency.txt (hex hashes, one a line, from that tree to data/checkpoint.txt's)
    data/anchors/<name>-<size>/  a checkpoint that others hold: anchor.json, checkpoint.txt, token.tsr (RFC 3161)
                         or proof.json, consistency.txt
    data/custody.html, data/custody.txt, data/timeline.html     for reading; any of them may be absent
    manifest-sha256.txt  SHA-256 of each file in data/
    seal/manifest.note   that manifest's hash, signed                   seal/record.json   the record in the log with it
    seal/checkpoint.txt  the tree that covers this record               seal/consistency.txt   from data/'s tree to it
    VERIFY.md, bagit.txt, bag-info.txt, tagmanifest-sha256.txt (SHA-256 of all but data/ and itself; written last)

Whatever can be derived is written by a function, and verified by calling it again: there is no second place in which a
lie could stand.
"""

import json
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from importlib.resources import files as resources
from typing import Any, BinaryIO, Final, Protocol

from bot.domain.checkpoint import VerifierKey, signature_of
from bot.domain.leaf import JournalRecord, Json, canonical, reveal
from bot.errors import Invalid
from bot.vault.redaction import Redaction

FORMAT: Final = "evidence-pack/1"
DATA: Final = "data/"
RECORDS: Final = "data/records.jsonl"
ITEMS: Final = "data/items/"
PACK: Final = "data/pack.json"
CHECKPOINT: Final = "data/checkpoint.txt"
VKEY: Final = "data/vkey.txt"
DOCUMENTS: Final = ("custody.html", "custody.txt", "timeline.html")
MANIFEST: Final = "manifest-sha256.txt"
NOTE: Final = "seal/manifest.note"
SEAL_RECORD: Final = "seal/record.json"
SEAL_CHECKPOINT: Final = "seal/checkpoint.txt"
SEAL_CONSISTENCY: Final = "seal/consistency.txt"
SEAL: Final = (NOTE, SEAL_RECORD, SEAL_CHECKPOINT, SEAL_CONSISTENCY)
DECLARATION: Final = "bagit.txt"
INFO: Final = "bag-info.txt"
GUIDE: Final = "VERIFY.md"
TAGMANIFEST: Final = "tagmanifest-sha256.txt"
TAGS: Final = (INFO, DECLARATION, MANIFEST, GUIDE, *SEAL)
NEVER_ABSENT: Final = (RECORDS, PACK, CHECKPOINT, VKEY, *TAGS, TAGMANIFEST)

TIMESTAMP: Final = "rfc3161"
"""The kind of anchor whose proof is a timestamp token."""
ANCHOR_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,79}", re.ASCII)
_NUMBER: Final = r"(?:0|[1-9][0-9]{0,18})"
ANCHOR: Final = re.compile(rf"data/anchors/([a-z0-9][a-z0-9_-]{{0,79}})-({_NUMBER})/", re.ASCII)
OLDER: Final = re.compile(r"data/keys/([1-9][0-9]{0,5})/", re.ASCII)
FILE: Final = re.compile(
    "|".join(map(re.escape, (*NEVER_ABSENT, *(DATA + name for name in DOCUMENTS))))
    + r"|data/items/[0-9a-f]{64}|data/keys/[1-9][0-9]{0,5}/(?:checkpoint|vkey|consistency)\.txt"
    + rf"|{ANCHOR.pattern}(?:anchor\.json|checkpoint\.txt|token\.tsr|proof\.json|consistency\.txt)",
    re.ASCII,
)
FOLDER: Final = re.compile(rf"seal/|data/(?:(?:items|keys|anchors)/)?|{OLDER.pattern}|{ANCHOR.pattern}", re.ASCII)
"""What a folder may hold; names of folders end in a slash."""

KEPT: Final = "EvidenceKept"
EXPORTED: Final = "EvidenceExported"
SEALED: Final = "EvidenceSealed"

GUIDES: Final = frozenset({"08f1c310b0bc10c5e2739acd7f6c6f413e591056b0ccb4ab5abdb88eb3c2bcd6"})
"""SHA-256 of every VERIFY.md that was ever shipped, so that older packs stay verifiable."""

MAX_PROOF: Final = 64
_GAP: Final = "\n\n"
SHA256: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)


class Shelf(Protocol):
    """Where blobs are read from."""

    def open(self, sha256: str) -> BinaryIO:
        """Open a blob; raises NotFound."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchored:
    """A checkpoint that somebody outside our reach holds, and what was given for it.

    `proof` is the RFC 3161 response (DER) where `kind` is `rfc3161`, else JSON that says where the checkpoint lies.
    `consistency` leads from the checkpoint in `note` to the one that the pack is exported under.
    """

    name: str
    kind: str
    size: int
    note: str
    at: datetime
    proof: bytes
    consistency: Sequence[bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotated:
    """The checkpoint that both `was` (a verifier key) and the key after it signed; `consistency` as in Anchored."""

    was: str
    note: str
    consistency: Sequence[bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSeen:
    """A file of the pack as it is."""

    sha256: str
    size: int


def manifest_text(incident: str, manifest: str) -> str:
    """Return the text that the note over a manifest signs; its first line is no log's name, its second no tree size."""
    return f"stopsign/evidence-manifest\n{incident}\n{manifest}\n"


def single(note: str, key: VerifierKey) -> str:
    """Return the note with the signature of `key` alone, so that it has one spelling; raises CheckpointError."""
    signature = b64encode(key.id + signature_of(note, key)).decode()
    return f"{note.rpartition(_GAP)[0]}{_GAP}— {key.name} {signature}\n"


# ---- records ---------------------------------------------------------------------------------------------------------


def shown_record(record: JournalRecord, proof: Sequence[bytes], redaction: Redaction) -> dict[str, Any]:
    """Return what a pack shows of a sequenced record."""
    flat = record.fields()
    revealed = reveal(flat, record.salt, redaction.of(record.kind, flat))
    return {**revealed, "leaf": record.leaf, "proof": [value.hex() for value in proof]}


def line_of(shown: Json) -> str:
    """Return the line of `records.jsonl`: canonical, so that there is one spelling."""
    return canonical(shown) + "\n"


def shown(line: bytes) -> dict[str, Any]:
    """Return what a line of `records.jsonl` shows, its outer shape checked.

    Raises:
        Invalid: it is not the canonical JSON of such an object.
    """
    try:
        text = line.decode()
    except UnicodeDecodeError:
        raise Invalid("it is not UTF-8") from None
    record = parsed(text)
    if not isinstance(record, dict) or record.keys() != {"fields", "redacted", "leaf", "proof"}:
        raise Invalid("it has not exactly `fields`, `redacted`, `leaf` and `proof`")
    leaf, proof = record["leaf"], record["proof"]
    if type(leaf) is not int or not isinstance(proof, list) or len(proof) > MAX_PROOF:
        raise Invalid("`leaf` is not a number or `proof` not a list of hashes")
    if not all(isinstance(value, str) and SHA256.fullmatch(value) for value in proof):
        raise Invalid("a hash of `proof` is not 64 lower-case hex digits")
    if line_of(record) != text:
        raise Invalid("it is not spelled as canonical JSON with a newline at its end")
    return record


def parsed(text: str) -> Any:
    """Return what JSON text says, refusing what readers disagree on: a name that stands twice, NaN, deep nesting."""
    try:
        return json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
    except RecursionError:
        raise Invalid("it is nested too deeply") from None
    except ValueError as error:
        raise Invalid(f"it is not JSON: {error}") from None


def values_of(shown: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that a shown record reveals."""
    return {name: revealed["value"] for name, revealed in shown["fields"].items()}


def custody_of(values: Mapping[str, Any]) -> tuple[str, str, int]:
    """Return item id, SHA-256 and size from the flat values of an EvidenceKept record.

    Raises:
        Invalid: one of them is missing or malformed.
    """
    item, name, size = (values.get(f"body.{key}") for key in ("item", "sha256", "size"))
    if not isinstance(item, str) or not item:
        raise Invalid("it names no item")
    if not isinstance(name, str) or not SHA256.fullmatch(name):
        raise Invalid(f"the hash of {item} is not 64 lower-case hex digits")
    if type(size) is not int or size < 0:
        raise Invalid(f"the size of {item} is not a number of bytes")
    return item, name, size


# ---- small files -----------------------------------------------------------------------------------------------------


def hashes_text(hashes: Sequence[bytes]) -> str:
    """Return a proof as a file: hex, one hash a line."""
    return "".join(f"{value.hex()}\n" for value in hashes)


def hashes_of(text: str) -> list[bytes]:
    """Return the hashes that `hashes_text` wrote; raises Invalid for any other spelling."""
    lines = text.split("\n")
    if lines.pop() or len(lines) > 2 * MAX_PROOF or not all(map(SHA256.fullmatch, lines)):
        raise Invalid("it is not a list of hashes, 64 lower-case hex digits a line")
    return [bytes.fromhex(line) for line in lines]


def guide() -> bytes:
    """Return this version's `VERIFY.md`."""
    return (resources(__package__) / "VERIFY.md").read_bytes()


def pretty(value: Mapping[str, Json]) -> str:
    """Return JSON for people, in one spelling."""
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def seen_bytes(content: bytes) -> FileSeen:
    """Return what the manifest says about this content."""
    return FileSeen(sha256=sha256(content).hexdigest(), size=len(content))


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise Invalid("a name stands twice in one object")
    return members


def _no_constant(name: str) -> Any:
    raise Invalid(f"{name} is not JSON")
