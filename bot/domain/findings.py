"""Findings: what signed messages show, in sentences. A finding is evidence and no verdict (`docs/findings.md`)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bot.domain.target import short

EQUIVOCATION, SURROUND = "equivocation", "surround"
SHARED, FELL, GAP = "key-shared", "counter-fell", "counter-gap"
TOLD_GAP, UNREADABLE, UNREAD, MORE = "told-gap", "unreadable", "unread", "more"
GRAVE: Final = frozenset({EQUIVOCATION, SURROUND})
"""Kinds that a slashing condition may know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One item of signed messages: its id, the node, and which log it was read from.

    Two nodes that stand before one signer have one log: what is in it was signed once.
    """

    id: str
    node: str | None
    log: str

    @property
    def whose(self) -> str:
        """Return what it is called in a sentence."""
        return f"{self.node} ({self.id})" if self.node else self.id


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What was found. `id` is the same each time: kind, key or node, and duty or range."""

    id: str
    kind: str
    text: str
    items: tuple[str, ...]
    key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldGap:
    """What a node itself says is missing in its stream."""

    lost: int
    messages: int
    since: str
    until: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Cited:
    """Where one signature stands. `epochs` are the source and target of an attestation."""

    digest: bytes | str
    item: Item
    line: int
    at: str | None
    unknown: bool
    epochs: tuple[int, int] | None = None

    @property
    def told(self) -> str:
        """Return what a sentence says of it."""
        digest = self.digest if isinstance(self.digest, str) else f"0x{self.digest.hex()}"
        where = f"({self.item.id}, line {self.line})"
        by = f"by {self.item.node} {where}" if self.item.node else f"in {where}"
        unknown = ", asked for with no answer seen" if self.unknown else ""
        return f"{short(digest)} {by} {f'at {self.at}' if self.at else 'at a time that cannot be read'}{unknown}"


def equivocation(key: str, ladder: str, height: int, cited: Sequence[Cited], digests: int) -> Finding:
    """Return the finding of several digests under one step of a ladder; `cited` are the first two of them."""
    many = "two" if digests == 2 else str(digests)
    more = "" if digests == len(cited) else ", among others"
    return Finding(
        id=f"{EQUIVOCATION}:{key}:{ladder.replace(' ', '-')}-{height}",
        kind=EQUIVOCATION,
        text=f"{short(key)} {_was_signed(cited)} for {ladder} {height} with {many} digests: {_told(cited)}{more}",
        items=_items(cited),
        key=key,
    )


def surround(key: str, outer: Cited, inner: Cited) -> Finding:
    """Return the finding of one vote around another (source below, target above): Gasper, slashing condition S2."""
    (a, d), (b, c) = outer.epochs or (0, 0), inner.epochs or (0, 0)
    both = (outer, inner)
    return Finding(
        id=f"{SURROUND}:{key}:{a}-{d}",
        kind=SURROUND,
        text=f"{short(key)} {_was_signed(both)} for a vote of {a} to {d} around one of {b} to {c}: {_told(both)}",
        items=_items(both),
        key=key,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """From when to when a key was used somewhere, by one item."""

    item: Item
    avs: str
    first: str | None
    last: str | None

    @property
    def told(self) -> str:
        """Return what a sentence says of it."""
        return f"{self.item.whose}, from {self.first} to {self.last}" if self.first else self.item.whose


def shared_by_services(key: str, one: Span, other: Span, services: int) -> Finding:
    """Return the finding of one key under several AVS names."""
    text = f"{short(key)} signed for {services} AVSs: {one.avs} by {one.told}, and {other.avs} by {other.told}"
    items = tuple(dict.fromkeys((one.item.id, other.item.id)))
    return Finding(id=f"{SHARED}:{key}:avs", kind=SHARED, text=text, items=items, key=key)


def shared_by_nodes(key: str, one: Span, other: Span) -> Finding:
    """Return the finding of one key on two nodes in times that overlap."""
    text = f"{short(key)} signed on two nodes in the same time: by {one.told}, and by {other.told}"
    return Finding(id=f"{SHARED}:{key}:nodes", kind=SHARED, text=text, items=(one.item.id, other.item.id), key=key)


def told_gap(item: Item, gap: ToldGap) -> Finding:
    """Return the finding of what a node itself says is missing."""
    lines = "1 line" if gap.lost == 1 else f"{gap.lost} lines"
    text = (
        f"{item.whose} says itself that {lines} of {gap.since} to {gap.until} are missing, {gap.messages} of them of "
    )
    text += f"messages that may have been signed: {gap.why}"
    about = f"{item.node or item.id}:{gap.since}-{gap.until}"
    return Finding(id=f"{TOLD_GAP}:{about}", kind=TOLD_GAP, text=text, items=(item.id,))


def unreadable(item: Item, lines: int, first: int, why: str) -> Finding:
    """Return the finding of lines that are no messages."""
    many = (
        f"{lines} lines of {item.whose} are no signed messages; the first is" if lines > 1 else "No signed message is"
    )
    of = "" if lines > 1 else f" of {item.whose}"
    return Finding(
        id=f"{UNREADABLE}:{item.id}",
        kind=UNREADABLE,
        text=f"{many} line {first}{of}: {why}",
        items=(item.id,),
    )


def unread(item: Item, why: str) -> Finding:
    """Return the finding of an item that was compared with nothing."""
    return Finding(
        id=f"{UNREAD}:{item.id}", kind=UNREAD, text=f"{item.whose} was not compared: {why}", items=(item.id,)
    )


def _was_signed(cited: Sequence[Cited]) -> str:
    return "was signed, or may have been," if any(one.unknown for one in cited) else "was signed"


def _told(cited: Sequence[Cited]) -> str:
    return " and ".join(one.told for one in cited)


def _items(cited: Sequence[Cited]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one.item.id for one in cited))
