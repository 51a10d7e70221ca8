"""Signed messages: read leniently, made rows that sort, and compared. Pure.

Messages are those of `docs/node-api.yaml`; `docs/findings.md` has the rules.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import blake2b
from struct import Struct
from typing import Any, Final, NamedTuple

from bot.domain.findings import ToldGap
from bot.domain.inventory import same_key
from bot.domain.protection import NEVER_SLASHED

BIGGEST: Final = 2**63 - 1
"""Slots, epochs and counters above it are no numbers of ours."""
_SIGNATURES: Final = frozenset({"signed", "unknown"})
_HELD: Final = 10_000
_0X: Final = frozenset({"0x", "0X"})


class NoMessage(ValueError):
    """A line is no signed message, and says nothing else that we know; the text says why."""


@dataclass(frozen=True, slots=True, eq=False)
class Use:
    """A key in one service and duty. `ladder` names what may be signed once only; None where nothing is compared."""

    key: str
    avs: str
    ladder: str | None
    id: bytes
    """Key and ladder, hashed: 16 bytes."""


class Message(NamedTuple):
    """One message that was signed, or (`unknown`) may have been. A tuple, because there are millions."""

    use: Use
    height: int
    digest: bytes | str
    source: int | None
    nonce: int | None
    counter: int | None
    instance: str
    at: str | None
    unknown: bool


def read(fields: Mapping[str, Any]) -> Message | ToldGap | None:
    """Return what a line says; None for what is no signature: refused, failed, or about the record itself.

    Raises NoMessage.
    """
    what = fields.get("what", "result")
    if what != "result":
        if what == "gap":
            return _told_gap(fields)
        if type(what) is str and "result" not in fields:
            return None
    result = fields.get("result", "signed")
    if type(result) is not str:
        raise NoMessage("`result` is no text")
    if result not in _SIGNATURES:
        return None
    key, duty, avs, digest = fields.get("key"), fields.get("duty", ""), fields.get("avs", ""), fields.get("digest")
    if not (type(key) is str and type(duty) is str and type(avs) is str and type(digest) is str):
        raise NoMessage("`key`, `duty`, `avs` or `digest` is missing or no text")
    target, digest_of = fields.get("target"), fields.get("digest_of")
    marked = digest_of is None or fields.get("mark") is not None
    use = _use(key, duty, avs, str(digest_of or ""), marked, target is not None)
    height = _number(fields.get("slot") if target is None else target)
    if height is None and use.ladder is not None:
        raise NoMessage(f"`{'slot' if target is None else 'target'}` is missing or no number that can be compared")
    source = fields.get("source")
    counter = fields.get("counter")
    instance = "" if counter is None else fields.get("instance_id")
    return Message(
        use,
        height or 0,
        _digest(digest),
        None if source is None or target is None else _number(source),
        _number(fields.get("nonce")),
        None if counter is None else _number(counter),
        instance[:128] if type(instance) is str and instance.isprintable() else "",
        _time(fields.get("at")),
        result == "unknown",
    )


def _number(value: object) -> int | None:
    if type(value) is str and len(value) <= 20 and value.isascii() and value.isdigit():
        value = int(value)  # EIP-3076 and the beacon API write numbers as texts
    return value if type(value) is int and 0 <= value <= BIGGEST else None


def _digest(text: str) -> bytes | str:
    """Return 32 bytes for what is 32 bytes of hex in any spelling, else the text itself."""
    if len(text) == 64 or (len(text) == 66 and text[:2] in _0X):
        try:
            if len(found := bytes.fromhex(text[-64:])) == 32:
                return found
        except ValueError:
            pass
    if not text or len(text) > 256 or not text.isprintable():
        raise NoMessage("`digest` is no digest")
    return text


def _time(value: object) -> str | None:
    """Return a time as text that sorts: UTC, six digits; None for what is no time."""
    if type(value) is not str or len(value) > 40:
        return None
    try:
        at = datetime.fromisoformat(value)
        if len(value) == 27 and value[4] == value[7] == "-" and value[10] == "T" and value[19] + value[26] == ".Z":
            return value
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return at.isoformat(timespec="microseconds")[:26] + "Z"


@lru_cache(maxsize=_HELD)
def _use(key: str, duty: str, avs: str, digest_of: str, marked: bool, voted: bool) -> Use:
    """Return the use that these make; raises NoMessage for names that no key, duty or service has."""
    for text, most in ((key, 256), (duty, 64), (avs, 128), (digest_of, 64)):
        if len(text) > most or not text.isprintable():
            raise NoMessage("`key`, `duty`, `avs` or `digest_of` is too long or has control characters")
    if not key:
        raise NoMessage("`key` is empty")
    key, ladder = same_key(key), _ladder(duty.lower(), marked=marked, voted=voted)
    apart = "" if ladder in {"block slot", "attestation target"} else avs  # services count their slots by themselves
    named = "\0".join((key, ladder or "", apart, digest_of))  # a signing root is never held against a request's hash
    return Use(key, avs, ladder, blake2b(named.encode(), digest_size=16).digest())


def _ladder(duty: str, *, marked: bool, voted: bool) -> str | None:
    if duty in NEVER_SLASHED or not marked:
        return None
    if voted:
        return "attestation target"
    return "block slot" if duty in {"", "block", "block_v2"} else f"{duty} slot"


def _told_gap(fields: Mapping[str, Any]) -> ToldGap:
    lost, messages = fields.get("lost"), fields.get("messages", 0)
    if type(lost) is not int or type(messages) is not int or not 0 <= lost <= BIGGEST or not 0 <= messages <= BIGGEST:
        raise NoMessage("a gap does not say how much is missing")
    since, until = _time(fields.get("since")), _time(fields.get("until"))
    why = "".join(c if c.isprintable() else "�" for c in str(fields.get("why") or "it does not say why")[:200])
    return ToldGap(lost=lost, messages=messages, since=since or "?", until=until or "?", why=why)


# ---- what may be signed once only


_ROW: Final = Struct(">16sQ32sIQQ?27s")
LENGTH: Final = _ROW.size
_NO_SOURCE: Final = 2**64 - 1
_STEP, _DIGEST, _SOURCE, _UNKNOWN = slice(24), slice(24, 56), slice(68, 76), 76


def row_of(message: Message, item: int, line: int) -> bytes:
    """Return a row that sorts by ladder, height, digest, item and line. `item` is below 2^32."""
    use, height, digest, source, _, _, _, at, unknown = message
    digest = digest if isinstance(digest, bytes) else hashed(digest)
    source = _NO_SOURCE if source is None else source
    return _ROW.pack(use.id, height, digest, item, line, source, unknown, at.encode() if at else b"")


def hashed(digest: str) -> bytes:
    """Return the 32 bytes that stand in a row for a digest of another form."""
    return blake2b(digest.encode(), digest_size=32).digest()


class Row(NamedTuple):
    """A row again: which signature stands where. `use` is the id of a Use."""

    use: bytes
    height: int
    digest: bytes
    item: int
    line: int
    source: int | None
    unknown: bool
    at: str | None


def signature_of(row: bytes) -> Row:
    """Return what a row says."""
    use, height, digest, item, line, source, unknown, at = _ROW.unpack(row)
    at = at.rstrip(b"\0").decode()
    return Row(use, height, digest, item, line, None if source == _NO_SOURCE else source, unknown, at or None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Twice:
    """Several digests under one step of a ladder: the first two of them, and how many there are."""

    one: Row
    other: Row
    digests: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """A vote around another: its source is smaller, its target greater."""

    outer: Row
    inner: Row


def conflicts(rows: Iterable[bytes]) -> Iterator[Twice | Around]:
    """Yield what the rows show, which must come sorted. Holds four rows."""
    step = digest = use = b""
    firsts: list[bytes] = []  # of each digest of this step the first row: two at most
    count = 0
    widest = within = b""  # the vote with the greatest source, before this step and in it
    for row in rows:
        if row[_STEP] != step:
            if count > 1:
                yield _twice(firsts, count)
            step, digest, firsts, count = row[_STEP], row[_DIGEST], [row], 1
            widest = max(widest, within, key=_source_in) if step[:16] == use else b""
            use, within = step[:16], b""
        elif row[_DIGEST] != digest:
            digest, count = row[_DIGEST], count + 1
            firsts = sorted([*firsts, row], key=_place)[:2]
        elif not row[_UNKNOWN]:  # the same message: rather where it is known to be signed
            firsts = [row if first[_UNKNOWN] and first[_DIGEST] == digest else first for first in firsts]
        source = row[_SOURCE]
        if source != _ANY:
            if widest and source < widest[_SOURCE]:
                yield Around(outer=signature_of(row), inner=signature_of(widest))
            if source > within[_SOURCE]:
                within = row
    if count > 1:
        yield _twice(firsts, count)


_ANY: Final = b"\xff" * 8


def _source_in(row: bytes) -> bytes:
    return row[_SOURCE]


def _place(row: bytes) -> bytes:
    return row[56:68]


def _twice(firsts: list[bytes], count: int) -> Twice:
    return Twice(one=signature_of(firsts[0]), other=signature_of(firsts[1]), digests=count)
