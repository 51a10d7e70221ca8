"""The format of an evidence folder, `stopsign/evidence-folder/1`, shared by writer and verifier.

    records.jsonl   one record a line, in order: {"fields", "redacted", "leaf", "proof"}, canonical JSON (RFC 8785)
    items/<sha256>  the evidence itself
    items.json      custody of each item, taken from the records that name it
    checkpoint.txt  the signed checkpoint that every proof leads to        vkey.txt  the key to check it with
    VERIFY.md       how to check all this without Stopsign
    MANIFEST.json   size and SHA-256 of every other file; written last, so a folder without it is an unfinished export

Whatever can be derived (items.json, MANIFEST.json) is written by a function of this module, and verified by calling it
again: there is no second place in which a lie could stand.
"""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from importlib.resources import files as resources
from typing import Any, BinaryIO, Final, Protocol

from bot.domain.leaf import JournalRecord, Json, canonical, reveal
from bot.errors import Invalid

FORMAT: Final = "stopsign/evidence-folder/1"
RECORDS: Final = "records.jsonl"
ITEMS: Final = "items"
CUSTODY: Final = "items.json"
CHECKPOINT: Final = "checkpoint.txt"
VKEY: Final = "vkey.txt"
GUIDE: Final = "VERIFY.md"
MANIFEST: Final = "MANIFEST.json"
PLAIN: Final = frozenset({RECORDS, CUSTODY, CHECKPOINT, VKEY, GUIDE, MANIFEST})

KEPT: Final = "EvidenceKept"
EXPORTED: Final = "EvidenceExported"
NEEDED: Final[Mapping[str, frozenset[str]]] = {
    KEPT: frozenset({"body.item", "body.sha256", "body.size"}),
    EXPORTED: frozenset({"body.records", "body.items"}),
}
"""Fields without which a record of that kind cannot be checked: never redacted."""

GUIDES: Final = frozenset({"9aced9ec7ac834d9ab0981ae1b81cd988b717b984fb33514cea2bd659b0d31c6"})
"""SHA-256 of every VERIFY.md that was ever shipped, so that older folders stay verifiable."""

MAX_PROOF: Final = 64
SHA256: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_CUSTODY: Final = (
    *("item", "sha256", "size", "media_type", "what", "node", "source", "collector", "tool"),
    *("collected_at", "clock", "window_from", "window_to", "reason"),
)


class Shelf(Protocol):
    """Where blobs are read from."""

    def open(self, sha256: str) -> BinaryIO:
        """Open a blob; raises NotFound."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSeen:
    """A file of the folder as it is: what the manifest says about it."""

    sha256: str
    size: int


@dataclass(slots=True, kw_only=True)
class Contents:
    """What the records of a folder add up to, gathered line by line; `items` are hashes, `named` is hash by item id."""

    incident: str = ""
    records: int = 0
    custody: list[dict[str, Json]] = field(default_factory=list)
    items: set[str] = field(default_factory=set)
    named: dict[str, str] = field(default_factory=dict)
    origin: str = ""
    size: int = 0


def shown_record(record: JournalRecord, proof: Sequence[bytes], redact: frozenset[str]) -> dict[str, Any]:
    """Return what `records.jsonl` shows of a sequenced record; names that the record does not have are not redacted."""
    if bare := redact & NEEDED.get(record.kind, frozenset()):
        raise Invalid(f"{min(bare)} of {record.kind} cannot be redacted: the export could not be verified")
    flat = record.fields()
    revealed = reveal(flat, record.salt, redact & flat.keys())
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


def count(contents: Contents, values: Mapping[str, Any], hidden: Collection[str], leaf: int) -> list[str]:
    """Add one record to the contents; return what is wrong with it as a count or custody record."""
    contents.records += 1
    if values["kind"] == KEPT:
        return _kept(contents, values, hidden, leaf)
    if values["kind"] == EXPORTED:
        return _counted(contents, values)
    return []


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


def _kept(contents: Contents, values: Mapping[str, Any], hidden: Collection[str], leaf: int) -> list[str]:
    try:
        item, name, _ = custody_of(values)
    except Invalid as error:
        return [str(error)]
    entry: dict[str, Json] = {key: values[f"body.{key}"] for key in _CUSTODY if f"body.{key}" in values}
    entry |= {"redacted": [key for key in _CUSTODY if f"body.{key}" in hidden]}
    entry |= {"record": values["n"], "leaf": leaf, "recorded_at": values["at"]}
    contents.custody.append(entry)
    contents.items.add(name)
    return [f"the item {item} stands for two contents"] if contents.named.setdefault(item, name) != name else []


def _counted(contents: Contents, values: Mapping[str, Any]) -> list[str]:
    wrong = []
    if values.get("body.records") != values["n"]:
        wrong.append(f"it counts {values.get('body.records')!r} records, itself included, but is record {values['n']}")
    items = values.get("body.items")
    listed = {str(name) for name in items} if isinstance(items, list | tuple) else {repr(items)}
    if listed != contents.items:
        absent, extra = sorted(listed - contents.items), sorted(contents.items - listed)
        wrong.append(f"the items it lists are not those kept before it (not kept: {absent}, not listed: {extra})")
    return wrong


def custody_json(contents: Contents) -> str:
    """Return `items.json`."""
    return pretty({"format": FORMAT, "incident": contents.incident, "items": contents.custody})


def manifest_json(contents: Contents, seen: Mapping[str, FileSeen]) -> str:
    """Return `MANIFEST.json` over the files of the folder."""
    return pretty(
        {
            "format": FORMAT,
            "incident": contents.incident,
            "records": {"count": contents.records, "first": 1, "last": contents.records},
            "items": len(contents.custody),
            "checkpoint": {"origin": contents.origin, "size": contents.size},
            "files": {
                name: {"sha256": seen[name].sha256, "size": seen[name].size} for name in seen if name != MANIFEST
            },
        }
    )


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
