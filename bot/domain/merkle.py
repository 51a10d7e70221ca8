"""The Merkle tree of RFC 6962 §2.1 with SHA-256: frontier, tiles, proofs and their verification.

Everything takes and gives leaf *hashes* of 32 bytes. Proofs are built from the hashes of complete subtrees, which
`nodes_of` (all leaves in memory) or `nodes_of_tiles` (C2SP tlog-tiles, a few reads of at most 8 KiB) provide.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from typing import Final, TypeAlias

from bot.errors import Invalid

HASH_SIZE: Final = 32
TILE_HEIGHT: Final = 8
TILE_WIDTH: Final = 1 << TILE_HEIGHT
EMPTY_ROOT: Final = sha256(b"").digest()

Nodes: TypeAlias = Callable[[int, int], bytes]
"""(height, index) → hash of the complete subtree over leaves [index·2^height, (index+1)·2^height)."""


class MerkleError(Invalid):
    """A size, index, tile or proof does not fit the tree; nothing is proven."""


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node (RFC 6962 §2.1)."""
    return sha256(b"\x01" + left + right).digest()


def root(leaves: Iterable[bytes]) -> bytes:
    """Return the Merkle Tree Hash of a list of leaf hashes (RFC 6962 §2.1)."""
    return Frontier().extended(leaves).root()


@dataclass(frozen=True, slots=True, kw_only=True)
class Frontier:
    """A tree of `size` leaves, reduced to the roots of its complete subtrees, the largest (leftmost) first.

    There is one hash for each bit that is set in `size`: all that appending and the root need.
    """

    size: int = 0
    hashes: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a state that no tree has."""
        if self.size < 0 or len(self.hashes) != self.size.bit_count():
            raise MerkleError(f"a tree of {self.size} leaves does not have {len(self.hashes)} complete subtrees")
        if any(len(value) != HASH_SIZE for value in self.hashes):
            raise MerkleError(f"a hash is not of {HASH_SIZE} bytes")

    def append(self, leaf: bytes) -> "Frontier":
        """Return the frontier with one leaf hash more."""
        return self.extended((leaf,))

    def extended(self, leaves: Iterable[bytes]) -> "Frontier":
        """Return the frontier with all of `leaves` appended, in order."""
        stack, size = list(self.hashes), self.size
        for leaf in leaves:
            stack.append(_hash32(leaf))
            merges = size
            while merges & 1:
                right = stack.pop()
                stack[-1] = node_hash(stack[-1], right)
                merges >>= 1
            size += 1
        return Frontier(size=size, hashes=tuple(stack))

    def root(self) -> bytes:
        """Return the Merkle Tree Hash of the whole tree."""
        return _folded(self.hashes) if self.hashes else EMPTY_ROOT


# ---- proofs ----------------------------------------------------------------------------------------------------------


def inclusion_proof(index: int, size: int, nodes: Nodes) -> tuple[bytes, ...]:
    """Return PATH(index, D[size]) of RFC 6962 §2.1.1: the sibling hashes from the leaf up."""
    if not 0 <= index < size:
        raise MerkleError(f"there is no leaf {index} in a tree of {size}")
    path, low, high = [], 0, size
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            path.append(range_root(middle, high, nodes))
            high = middle
        else:
            path.append(range_root(low, middle, nodes))
            low = middle
    return tuple(reversed(path))


def consistency_proof(old: int, new: int, nodes: Nodes) -> tuple[bytes, ...]:
    """Return PROOF(old, D[new]) of RFC 6962 §2.1.2; empty when `old` is 0 or equal to `new`."""
    if not 0 <= old <= new:
        raise MerkleError(f"a tree of {new} leaves does not grow out of one of {old}")
    if old in (0, new):
        return ()
    path, low, high = [], 0, new
    while old != high:
        middle = low + _split(high - low)
        if old <= middle:
            path.append(range_root(middle, high, nodes))
            high = middle
        else:
            path.append(range_root(low, middle, nodes))
            low = middle
    if low:  # the old tree ends inside the new one: its last complete subtree is not known to the verifier
        path.append(range_root(low, high, nodes))
    return tuple(reversed(path))


def verify_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], expected_root: bytes) -> None:
    """Check an inclusion proof (RFC 9162 §2.1.3.2, which RFC 6962 leaves to the reader).

    Raises:
        MerkleError: the proof does not lead from `leaf` at `index` to `expected_root`.
    """
    if not 0 <= index < size:
        raise MerkleError(f"there is no leaf {index} in a tree of {size}")
    at, last, value = index, size - 1, _hash32(leaf)
    for sibling in path:
        if last == 0:
            raise MerkleError("the inclusion proof is too long")
        if at & 1 or at == last:
            value = node_hash(_hash32(sibling), value)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            value = node_hash(value, _hash32(sibling))
        at, last = at >> 1, last >> 1
    if last:
        raise MerkleError("the inclusion proof is too short")
    if value != expected_root:
        raise MerkleError(f"leaf {index} is not in the tree of {size} that the root names")


def verify_consistency(old: int, new: int, old_root: bytes, new_root: bytes, path: Sequence[bytes]) -> None:
    """Check a consistency proof (RFC 9162 §2.1.4.2).

    Raises:
        MerkleError: the tree of `new` leaves is not shown to begin with the tree of `old` leaves.
    """
    if not 0 <= old <= new:
        raise MerkleError(f"a tree of {new} leaves does not grow out of one of {old}")
    if old in (0, new):
        known = EMPTY_ROOT if old == 0 else new_root
        if path or old_root != known:
            raise MerkleError(f"the tree of {new} leaves does not begin with the tree of {old}")
        return
    hashes = [_hash32(value) for value in path]
    if old & (old - 1) == 0:  # a power of two: the old root is itself the first node
        hashes.insert(0, old_root)
    if not hashes:
        raise MerkleError("the consistency proof is empty")
    at, last = old - 1, new - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    first = second = hashes[0]
    for sibling in hashes[1:]:
        if last == 0:
            raise MerkleError("the consistency proof is too long")
        if at & 1 or at == last:
            first, second = node_hash(sibling, first), node_hash(sibling, second)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            second = node_hash(second, sibling)
        at, last = at >> 1, last >> 1
    if last or first != old_root or second != new_root:
        raise MerkleError(f"the tree of {new} leaves does not begin with the tree of {old}")


# ---- where proofs get their hashes from ------------------------------------------------------------------------------


def range_root(low: int, high: int, nodes: Nodes) -> bytes:
    """Return MTH(D[low:high]) for a range that RFC 6962's splitting makes: `low` is aligned to its largest part."""
    parts = []
    while low < high:
        height = (high - low).bit_length() - 1
        parts.append(nodes(height, low >> height))
        low += 1 << height
    return _folded(parts)


def nodes_of(leaves: Sequence[bytes]) -> Nodes:
    """Return the subtree hashes over leaves in memory, each computed once."""

    @cache
    def node(height: int, index: int) -> bytes:
        if height == 0:
            return leaves[index]
        return node_hash(node(height - 1, 2 * index), node(height - 1, 2 * index + 1))

    return node


def nodes_of_tiles(read: Callable[[int, int], bytes]) -> Nodes:
    """Return the subtree hashes out of tiles; `read(level, index)` gives a tile's hashes, each asked for once.

    Raises (when called):
        MerkleError: a tile is narrower than the tree needs.
    """
    tile = cache(read)

    def node(height: int, index: int) -> bytes:
        level, inner = divmod(height, TILE_HEIGHT)
        first = index << inner
        number, offset = divmod(first, TILE_WIDTH)
        start, end = offset * HASH_SIZE, (offset + (1 << inner)) * HASH_SIZE
        hashes = tile(level, number)[start:end]
        if len(hashes) != end - start:
            raise MerkleError(f"the tile {tile_path(level, number)} is too narrow for this tree")
        return root(_split_hashes(hashes))

    return node


# ---- tiles (C2SP tlog-tiles) -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """1 to 256 consecutive hashes of one level, concatenated; 256 is a full tile, which never changes again."""

    level: int
    index: int
    hashes: bytes

    @property
    def width(self) -> int:
        """Return how many hashes the tile has."""
        return len(self.hashes) // HASH_SIZE

    @property
    def path(self) -> str:
        """Return the tile's resource name."""
        return tile_path(self.level, self.index, self.width)


def tile_path(level: int, index: int, width: int = TILE_WIDTH) -> str:
    """Return `tile/<L>/<N>[.p/<W>]` with N in groups of three digits, all but the last marked with x."""
    groups = [f"{index % 1000:03d}"]
    while index := index // 1000:
        groups.insert(0, f"x{index % 1000:03d}")
    return f"tile/{level}/{'/'.join(groups)}{'' if width == TILE_WIDTH else f'.p/{width}'}"


def tile_widths(size: int) -> dict[int, tuple[int, int]]:
    """Return for each level of a tree of `size` leaves how many full tiles it has and how wide its partial one is."""
    widths, count, level = {}, size, 0
    while count:
        widths[level] = divmod(count, TILE_WIDTH)
        count >>= TILE_HEIGHT
        level += 1
    return widths


def grow(size: int, edge: Mapping[int, bytes], leaves: Sequence[bytes]) -> tuple[Tile, ...]:
    """Return every tile that is new or wider when `leaves` are appended to a tree of `size`.

    `edge` holds, by level, the hashes of the partial tiles of the tree as it is (see `tile_widths`); a level whose
    last tile is full or absent may be missing.

    Raises:
        MerkleError: an edge tile has not the width that `size` demands.
    """
    changed: list[Tile] = []
    level, count, row = 0, size, b"".join(_hash32(leaf) for leaf in leaves)
    while row:
        index, width = divmod(count, TILE_WIDTH)
        old = edge.get(level, b"") if width else b""
        if len(old) != width * HASH_SIZE:
            raise MerkleError(f"the partial tile {tile_path(level, index, width)} has {len(old)} bytes")
        row, step = old + row, TILE_WIDTH * HASH_SIZE
        tiles = [
            Tile(level=level, index=index + place, hashes=row[start : start + step])
            for place, start in enumerate(range(0, len(row), step))
        ]
        changed += tiles
        row = b"".join(root(_split_hashes(tile.hashes)) for tile in tiles if tile.width == TILE_WIDTH)
        level, count = level + 1, index
    return tuple(changed)


def frontier_of_tiles(size: int, read: Callable[[int, int], bytes]) -> Frontier:
    """Return the frontier of a tree of `size` from its tiles: what a sequencer starts from."""
    nodes, low, hashes = nodes_of_tiles(read), 0, []
    for height in reversed(range(size.bit_length())):
        if size >> height & 1:
            hashes.append(nodes(height, low >> height))
            low += 1 << height
    return Frontier(size=size, hashes=tuple(hashes))


def _split_hashes(hashes: bytes) -> list[bytes]:
    return [hashes[start : start + HASH_SIZE] for start in range(0, len(hashes), HASH_SIZE)]


def _split(count: int) -> int:
    """Return the largest power of two below `count` (RFC 6962 §2.1: k)."""
    return 1 << ((count - 1).bit_length() - 1)


def _folded(hashes: Sequence[bytes]) -> bytes:
    """Return the root over neighbouring complete subtrees, largest first."""
    value = hashes[-1]
    for left in reversed(hashes[:-1]):
        value = node_hash(left, value)
    return value


def _hash32(value: bytes) -> bytes:
    if len(value) != HASH_SIZE:
        raise MerkleError(f"a hash is of {HASH_SIZE} bytes, not {len(value)}")
    return value
