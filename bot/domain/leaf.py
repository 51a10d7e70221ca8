"""A journal record as a leaf of the evidence log (RFC 6962), with one salted commitment per field.

Format 1, which can never be changed (decision 0002, worked example in docs/evidence.md):

    salt_f     = HMAC-SHA256(record_salt, "stopsign/salt/v1" || 0x00 || name)
    commitment = SHA-256("stopsign/field/v1" || 0x00 || salt_f || JCS({name: value}))
    leaf data  = "stopsign/leaf/v1" || 0x00 || JCS({name: hex(commitment), …})
    leaf hash  = SHA-256(0x00 || leaf data)                                       RFC 6962 §2.1

A record is flat: the envelope `v, incident, n, at, kind, by`, and each top-level key K of its body as `body.K`.
A field that is redacted leaves its commitment in place, so that the leaf hash stays computable and the value hidden.
JCS is RFC 8785. Everything here is pure; the record's salt is 32 random bytes that the caller draws and stores.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from json.encoder import encode_basestring as _quoted  # RFC 8785 §3.2.2.2 to the letter; proven against rfc8785 by test
from typing import Final, TypeAlias

import rfc8785

from bot.errors import Invalid

Json: TypeAlias = "str | int | float | bool | Sequence[Json] | Mapping[str, Json] | None"

VERSION: Final = 1
SALT_SIZE: Final = 32
ENVELOPE: Final = frozenset({"v", "incident", "n", "at", "kind", "by"})
NEVER_REDACTED: Final = ENVELOPE - {"by"}
MAX_NUMBER: Final = 2**53 - 1
MAX_DEPTH: Final = 64

_BODY: Final = "body."
_AT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", re.ASCII)
_HEX: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_FIELD_PREFIX: Final = b"stopsign/field/v1\x00"
_SALT_PREFIX: Final = b"stopsign/salt/v1\x00"
_LEAF_PREFIX: Final = b"\x00stopsign/leaf/v1\x00"  # its first byte is RFC 6962's leaf byte
_IPAD: Final = bytes(0x36 ^ byte for byte in range(256))
_OPAD: Final = bytes(0x5C ^ byte for byte in range(256))


class LeafError(Invalid):
    """A record cannot be a leaf of format 1, or a revealed one is malformed; nothing was hashed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalRecord:
    """One row of the journal as the evidence log sees it.

    `n` is the number in its own stream (from 1), `leaf` the index in the log (from 0; None until sequenced).
    `salt` is the record's secret: it is neither printed nor exported.
    """

    incident: str
    n: int
    at: datetime
    kind: str
    by: str
    body: Mapping[str, Json]
    salt: bytes
    hash: bytes
    leaf: int | None = None

    def __repr__(self) -> str:
        """Name the record without its salt and body."""
        return f"JournalRecord({self.incident} n={self.n} {self.kind} leaf={self.leaf})"

    def fields(self) -> dict[str, Json]:
        """Return the flat mapping that is hashed."""
        return fields_of(incident=self.incident, n=self.n, at=self.at, kind=self.kind, by=self.by, body=self.body)

    def computed_hash(self) -> bytes:
        """Return the leaf hash that the record's own fields give, whatever `hash` says."""
        return leaf_hash(self.fields(), self.salt)


def timestamp(at: datetime) -> str:
    """Return `at` as RFC 3339 in UTC with six digits of microseconds and "Z"; a naive time is refused."""
    if at.tzinfo is None:
        raise LeafError(f"the time {at.isoformat()} has no time zone")
    return at.astimezone(UTC).isoformat(timespec="microseconds")[:-6] + "Z"


def fields_of(*, incident: str, n: int, at: datetime, kind: str, by: str, body: Mapping[str, Json]) -> dict[str, Json]:
    """Return the flat mapping of a record: the envelope and `body.K` for each top-level key K of `body`."""
    record: dict[str, Json] = {
        "v": VERSION,
        "incident": incident,
        "n": n,
        "at": timestamp(at),
        "kind": kind,
        "by": by,
    }
    for key, value in body.items():
        record[_BODY + key] = value
    return record


def leaf_hash(record: Mapping[str, Json], record_salt: bytes) -> bytes:
    """Return the 32-byte RFC 6962 leaf hash of a flat record.

    Raises:
        LeafError: naming the field: a missing or unknown name, a number beyond ±(2^53-1), NaN or an infinity,
            a lone surrogate, a value that is not JSON, nesting beyond 64, a salt that is not 32 bytes.
    """
    _check_record(record)
    inner, outer = _salt_keys(record_salt)
    return _leaf_hash_of({name: _field(name, record[name], inner, outer)[1].hex() for name in record})


def reveal(record: Mapping[str, Json], record_salt: bytes, redact: Collection[str] = ()) -> dict[str, Json]:
    """Return what an export shows: `fields` (value and own salt) and `redacted` (the commitment only).

    `redact` holds flat names (`by`, `body.note`). The rest of the envelope is never redacted, a name that the record
    does not have is refused. The record's salt is not in the result and cannot be had from it (HMAC).
    """
    _check_record(record)
    for name in redact:
        if name in NEVER_REDACTED or name not in record:
            raise LeafError(f"the field {name!r} cannot be redacted")
    inner, outer = _salt_keys(record_salt)
    fields: dict[str, Json] = {}
    redacted: dict[str, Json] = {}
    for name, value in record.items():
        salt, commitment = _field(name, value, inner, outer)
        if name in redact:
            redacted[name] = commitment.hex()
        else:
            fields[name] = {"salt": salt.hex(), "value": value}
    return {"fields": fields, "redacted": redacted}


def leaf_hash_of_revealed(revealed: Mapping[str, Json]) -> bytes:
    """Return the leaf hash of a revealed record; needs nothing but what the export shows.

    Raises:
        LeafError: the shape is not that of `reveal`, or a name is both shown and redacted.
    """
    fields, redacted = revealed.get("fields"), revealed.get("redacted")
    if not isinstance(fields, Mapping) or not isinstance(redacted, Mapping) or len(revealed) != 2:
        raise LeafError("a revealed record has exactly `fields` and `redacted`, both objects")
    if both := fields.keys() & redacted.keys():
        raise LeafError(f"the field {min(both)!r} is both shown and redacted")
    commitments: dict[str, str] = {}
    values: dict[str, Json] = {}
    for name, shown in fields.items():
        if not isinstance(shown, Mapping) or shown.keys() != {"salt", "value"}:
            raise LeafError(f"the field {name!r} has not exactly `salt` and `value`")
        salt = bytes.fromhex(_hex32(name, shown["salt"]))
        values[name] = shown["value"]
        commitments[name] = _commitment(_name(name)[1], name, shown["value"], salt).hex()
    for name, commitment in redacted.items():
        if name in NEVER_REDACTED:
            raise LeafError(f"the field {name!r} cannot be redacted")
        commitments[name] = _hex32(name, commitment)
    _check_record({"by": "", **values} if "by" in redacted else values)
    return _leaf_hash_of(commitments)


def canonical(value: Json) -> str:
    """Return `value` as canonical JSON text (RFC 8785), within the limits of format 1; see `leaf_hash` for these."""
    text = _canonical(value, 0)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise LeafError("a string holds a lone surrogate, which has no UTF-8 form") from None
    return text


def _field(name: str, value: Json, inner: bytes, outer: bytes) -> tuple[bytes, bytes]:
    """Return the field's salt (HMAC of RFC 2104 written out: its library call costs twice as much) and commitment."""
    salt_message, opening = _name(name)
    salt = sha256(outer + sha256(inner + salt_message).digest()).digest()
    return salt, _commitment(opening, name, value, salt)


def _commitment(opening: str, name: str, value: Json, salt: bytes) -> bytes:
    try:
        text = _quoted(value) if type(value) is str else _canonical(value, 1)
        return sha256(_FIELD_PREFIX + salt + f"{opening}{text}}}".encode()).digest()
    except UnicodeEncodeError:
        raise LeafError(f"the field {name!r} holds a lone surrogate, which has no UTF-8 form") from None
    except LeafError as error:
        raise LeafError(f"the field {name!r}: {error}") from None


def _leaf_hash_of(commitments: Mapping[str, str]) -> bytes:
    members = [f'{_name(name)[1][1:]}"{commitments[name]}"' for name in _sorted(commitments)]
    return sha256(_LEAF_PREFIX + f"{{{','.join(members)}}}".encode()).digest()


@lru_cache(maxsize=4096)
def _name(name: str) -> tuple[bytes, str]:
    """Return what is the same for every field of this name: the salt's message, and the opening of JCS({name: …})."""
    if name not in ENVELOPE and not (name.startswith(_BODY) and len(name) > len(_BODY)):
        raise LeafError(f"{name!r} is not a field of format {VERSION}")
    try:
        return _SALT_PREFIX + name.encode(), f"{{{_quoted(name)}:"
    except UnicodeEncodeError:
        raise LeafError(f"the name {name!r} holds a lone surrogate, which has no UTF-8 form") from None


def _salt_keys(record_salt: bytes) -> tuple[bytes, bytes]:
    """Return HMAC's inner and outer key blocks (RFC 2104 §2)."""
    if len(record_salt) != SALT_SIZE:
        raise LeafError(f"a record's salt is {SALT_SIZE} bytes, not {len(record_salt)}")
    block = record_salt.ljust(64, b"\x00")
    return block.translate(_IPAD), block.translate(_OPAD)


def _check_record(record: Mapping[str, Json]) -> None:
    """Refuse an envelope that is incomplete or of the wrong types; names are checked in `_name`."""
    if missing := ENVELOPE - record.keys():
        raise LeafError(f"the record has no field {min(missing)!r}")
    v, n, at = record["v"], record["n"], record["at"]
    if type(v) is not int or v != VERSION:
        raise LeafError(f"the record's format is {v!r}, not {VERSION}")
    if type(n) is not int or n < 1:
        raise LeafError(f"the record's number is {n!r}, not an integer from 1")
    if type(at) is not str or not _AT.fullmatch(at):
        raise LeafError(f"the record's time is {at!r}, not RFC 3339 in UTC with microseconds and Z")
    for name in ("incident", "kind", "by"):
        value = record[name]
        if not isinstance(value, str) or not (value or name == "by"):
            raise LeafError(f"the field {name!r} is {value!r}, not a text")


def _hex32(name: str, value: object) -> str:
    if not isinstance(value, str) or not _HEX.fullmatch(value):
        raise LeafError(f"the field {name!r}: a salt or commitment is 64 lower-case hex digits")
    return value


def _canonical(value: object, depth: int) -> str:
    """Return RFC 8785 text; equal to rfc8785.dumps where that accepts, several times faster for small values."""
    if isinstance(value, str):
        return _quoted(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return _number(value)
    if depth > MAX_DEPTH:
        raise LeafError(f"nested deeper than {MAX_DEPTH}")
    if isinstance(value, list | tuple):
        return f"[{','.join([_canonical(item, depth + 1) for item in value])}]"
    if isinstance(value, Mapping):
        members = [f"{_quoted(key)}:{_canonical(value[key], depth + 1)}" for key in _sorted(value)]
        return f"{{{','.join(members)}}}"
    raise LeafError(f"a {type(value).__name__} is not a JSON value")


def _number(value: float) -> str:
    """Refuse what not every JSON reader keeps: beyond ±(2^53-1) (RFC 8785 §3.2.2.3, RFC 7493 §2.2), NaN, infinity."""
    if not -MAX_NUMBER <= value <= MAX_NUMBER:
        raise LeafError(f"the number {value!r} is beyond ±(2^53-1) or not a number: give it as a string")
    return int.__repr__(value) if isinstance(value, int) else rfc8785.dumps(value).decode()


def _sorted(members: Mapping[str, object]) -> list[str]:
    """Return the names by their UTF-16 code units (RFC 8785 §3.2.3)."""
    try:
        names = sorted(members)
        return names if all(map(str.isascii, names)) else sorted(names, key=_utf16)
    except TypeError:
        raise LeafError("an object's keys are not all strings") from None


def _utf16(name: str) -> bytes:
    return name.encode("utf-16-be", "surrogatepass")  # lone surrogates are refused when the text becomes UTF-8
