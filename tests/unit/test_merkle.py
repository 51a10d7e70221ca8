"""The tree against RFC 6962 written out naively, the known vectors of Certificate Transparency, and PyPI pymerkle."""

from collections.abc import Callable, Sequence
from functools import cache
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymerkle import InmemoryTree

from bot.domain.merkle import (
    EMPTY_ROOT,
    TILE_WIDTH,
    Frontier,
    MerkleError,
    Tile,
    consistency_proof,
    frontier_of_tiles,
    grow,
    inclusion_proof,
    node_hash,
    nodes_of,
    nodes_of_tiles,
    root,
    tile_path,
    tile_widths,
    verify_consistency,
    verify_inclusion,
)

SMALL = range(1, 41)
LEAVES = [sha256(b"\x00" + number.to_bytes(4)).digest() for number in range(70_000)]


# ---- RFC 6962 §2.1, letter by letter ------------------------------------------------------------


def split(n: int) -> int:
    k = 1
    while k * 2 < n:
        k *= 2
    return k


@cache
def mth(low: int, high: int) -> bytes:
    n = high - low
    if n == 0:
        return sha256(b"").digest()
    if n == 1:
        return LEAVES[low]
    k = split(n)
    return sha256(b"\x01" + mth(low, low + k) + mth(low + k, high)).digest()


def rfc_path(m: int, low: int, high: int) -> list[bytes]:
    n = high - low
    if n == 1:
        return []
    k = split(n)
    if m < k:
        return [*rfc_path(m, low, low + k), mth(low + k, high)]
    return [*rfc_path(m - k, low + k, high), mth(low, low + k)]


def rfc_subproof(m: int, low: int, high: int, known: bool) -> list[bytes]:
    n = high - low
    if m == n:
        return [] if known else [mth(low, high)]
    k = split(n)
    if m <= k:
        return [*rfc_subproof(m, low, low + k, known), mth(low + k, high)]
    return [*rfc_subproof(m - k, low + k, high, False), mth(low, low + k)]


# ---- ours ----------------------------------------------------------------------------------------


def test_the_known_vectors_of_certificate_transparency() -> None:
    inputs = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
    leaves = [sha256(b"\x00" + bytes.fromhex(text)).digest() for text in inputs]
    assert [root(leaves[:size]).hex() for size in range(9)] == [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ]


def test_every_small_root_and_frontier() -> None:
    frontier = Frontier()
    assert frontier.root() == EMPTY_ROOT == mth(0, 0)
    for size in SMALL:
        frontier = frontier.append(LEAVES[size - 1])
        assert frontier.root() == mth(0, size) == root(LEAVES[:size])
        assert frontier.size == size
        assert frontier == Frontier().extended(LEAVES[:size])


@pytest.mark.parametrize("size", SMALL)
def test_every_small_inclusion_proof(size: int) -> None:
    nodes = nodes_of(LEAVES[:size])
    for index in range(size):
        proof = inclusion_proof(index, size, nodes)
        assert list(proof) == rfc_path(index, 0, size)
        verify_inclusion(LEAVES[index], index, size, proof, mth(0, size))
        for other in range(size):
            if other != index:
                with pytest.raises(MerkleError):
                    verify_inclusion(LEAVES[index], other, size, proof, mth(0, size))
                with pytest.raises(MerkleError):
                    verify_inclusion(LEAVES[other], index, size, proof, mth(0, size))


@pytest.mark.parametrize("new", SMALL)
def test_every_small_consistency_proof(new: int) -> None:
    nodes = nodes_of(LEAVES[:new])
    for old in range(new + 1):
        proof = consistency_proof(old, new, nodes)
        assert list(proof) == ([] if old == 0 else rfc_subproof(old, 0, new, True))
        verify_consistency(old, new, mth(0, old), mth(0, new), proof)
        for other in range(new + 1):
            if other != old:
                with pytest.raises(MerkleError):
                    verify_consistency(other, new, mth(0, old), mth(0, new), proof)


def mutations(proof: Sequence[bytes]) -> list[tuple[bytes, ...]]:
    """Every proof that differs by one hash flipped, dropped, doubled or swapped, or by one more at either end."""
    flipped = [(*proof[:i], bytes([proof[i][0] ^ 1]) + proof[i][1:], *proof[i + 1 :]) for i in range(len(proof))]
    dropped = [(*proof[:i], *proof[i + 1 :]) for i in range(len(proof))]
    doubled = [(*proof[: i + 1], *proof[i:]) for i in range(len(proof))]
    swapped = [(*proof[:i], proof[i + 1], proof[i], *proof[i + 2 :]) for i in range(len(proof) - 1)]
    return [*flipped, *dropped, *doubled, *swapped, (*proof, bytes(32)), (bytes(32), *proof)]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 21, 32])
def test_no_altered_inclusion_proof_verifies(size: int) -> None:
    nodes = nodes_of(LEAVES[:size])
    for index in range(size):
        for wrong in mutations(inclusion_proof(index, size, nodes)):
            with pytest.raises(MerkleError):
                verify_inclusion(LEAVES[index], index, size, wrong, mth(0, size))


@pytest.mark.parametrize("new", [1, 2, 3, 7, 8, 21, 32])
def test_no_altered_consistency_proof_or_forked_root_verifies(new: int) -> None:
    nodes = nodes_of(LEAVES[:new])
    for old in range(1, new + 1):
        proof = consistency_proof(old, new, nodes)
        for wrong in mutations(proof):
            with pytest.raises(MerkleError):
                verify_consistency(old, new, mth(0, old), mth(0, new), wrong)
        for roots in [(bytes(32), mth(0, new)), (mth(0, old), bytes(32))]:
            with pytest.raises(MerkleError):
                verify_consistency(old, new, *roots, proof)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 3000), st.data())
def test_proofs_from_tiles_equal_proofs_from_leaves(size: int, data: st.DataObject) -> None:
    read = shelf(grow(0, {}, LEAVES[:size]))
    index, old = data.draw(st.integers(0, size - 1)), data.draw(st.integers(0, size))
    tiles, leaves = nodes_of_tiles(read), nodes_of(LEAVES[:size])
    assert inclusion_proof(index, size, tiles) == inclusion_proof(index, size, leaves)
    assert consistency_proof(old, size, tiles) == consistency_proof(old, size, leaves)
    verify_inclusion(LEAVES[index], index, size, inclusion_proof(index, size, tiles), root(LEAVES[:size]))


def shelf(tiles: Sequence[Tile]) -> Callable[[int, int], bytes]:
    held = {(tile.level, tile.index): tile.hashes for tile in tiles}
    return lambda level, index: held[level, index]


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 700), max_size=8))
def test_tiles_grown_in_batches_are_the_tiles_of_the_whole(batches: list[int]) -> None:
    size, held = 0, dict[tuple[int, int], Tile]()
    for batch in batches:
        edge = {level: held[level, full].hashes for level, (full, width) in tile_widths(size).items() if width}
        for tile in grow(size, edge, LEAVES[size : size + batch]):
            held[tile.level, tile.index] = tile
        size += batch
        assert frontier_of_tiles(size, shelf(list(held.values()))) == Frontier().extended(LEAVES[:size])
    assert held == {(tile.level, tile.index): tile for tile in grow(0, {}, LEAVES[:size])}


def test_a_tree_of_70000_has_the_tiles_that_the_specification_counts() -> None:
    tiles = grow(0, {}, LEAVES)
    assert tile_widths(70_000) == {0: (273, 112), 1: (1, 17), 2: (0, 1)}
    assert [tile.path for tile in tiles if tile.width < TILE_WIDTH] == [
        "tile/0/273.p/112",
        "tile/1/001.p/17",
        "tile/2/000.p/1",
    ]
    assert len(tiles) == 274 + 2 + 1
    index, nodes = 65_537, nodes_of_tiles(shelf(tiles))
    verify_inclusion(LEAVES[index], index, 70_000, inclusion_proof(index, 70_000, nodes), root(LEAVES))
    proof = consistency_proof(256, 70_000, nodes)
    verify_consistency(256, 70_000, root(LEAVES[:256]), root(LEAVES), proof)


def test_a_tree_of_256_has_a_full_tile_and_its_root_in_a_partial_one() -> None:
    tiles = grow(0, {}, LEAVES[:256])
    assert [tile.path for tile in tiles] == ["tile/0/000", "tile/1/000.p/1"]
    assert tiles[1].hashes == root(LEAVES[:256])


def test_a_proof_reads_each_tile_once_and_few_of_them() -> None:
    tiles, asked = shelf(grow(0, {}, LEAVES)), []

    def read(level: int, index: int) -> bytes:
        asked.append((level, index))
        return tiles(level, index)

    inclusion_proof(12_345, 70_000, nodes_of_tiles(read))
    assert sorted(asked) == [(0, 48), (0, 273), (1, 0), (1, 1)]


def test_large_indexes_are_grouped_in_the_path() -> None:
    assert tile_path(0, 1_234_067) == "tile/0/x001/x234/067"
    assert tile_path(63, 1000, 5) == "tile/63/x001/000.p/5"


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 300), st.data())
def test_pymerkle_agrees(size: int, data: st.DataObject) -> None:
    tree = InmemoryTree(algorithm="sha256")
    tree.append_entries([number.to_bytes(4) for number in range(size)])
    index, old = data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, size))
    nodes = nodes_of(LEAVES[:size])
    assert tree.get_root() == root(LEAVES[:size])
    theirs = tree.prove_inclusion(index + 1, size).path
    assert theirs == [LEAVES[index], *inclusion_proof(index, size, nodes)]
    proof = consistency_proof(old, size, nodes)
    verify_consistency(old, size, tree.get_root(old), tree.get_root(size), proof)


@pytest.mark.parametrize("index", [-1, 5, 6])
def test_there_is_no_proof_outside_the_tree(index: int) -> None:
    with pytest.raises(MerkleError, match="no leaf"):
        inclusion_proof(index, 5, nodes_of(LEAVES[:5]))
    with pytest.raises(MerkleError, match="no leaf"):
        verify_inclusion(LEAVES[0], index, 5, [], mth(0, 5))


def test_a_tree_does_not_shrink() -> None:
    with pytest.raises(MerkleError, match="does not grow"):
        consistency_proof(6, 5, nodes_of(LEAVES[:5]))
    with pytest.raises(MerkleError, match="does not grow"):
        verify_consistency(6, 5, mth(0, 6), mth(0, 5), [])


def test_what_is_not_a_hash_is_refused() -> None:
    with pytest.raises(MerkleError, match="32 bytes, not 31"):
        Frontier().append(bytes(31))
    with pytest.raises(MerkleError, match="32 bytes, not 31"):
        grow(0, {}, [bytes(31)])
    with pytest.raises(MerkleError, match="32 bytes, not 33"):
        verify_inclusion(LEAVES[0], 0, 2, [bytes(33)], mth(0, 2))
    with pytest.raises(MerkleError, match="does not have 1 complete"):
        Frontier(size=3, hashes=(bytes(32),))
    with pytest.raises(MerkleError, match="not of 32"):
        Frontier(size=1, hashes=(bytes(31),))


def test_a_tile_of_the_wrong_width_is_refused() -> None:
    edge = {0: b"".join(LEAVES[:4])}
    with pytest.raises(MerkleError, match=r"tile/0/000\.p/5 has 128 bytes"):
        grow(5, edge, LEAVES[5:6])
    with pytest.raises(MerkleError, match="tile/0/000 is too narrow"):
        inclusion_proof(1, 5, nodes_of_tiles(lambda _level, _index: edge[0]))


def test_a_leaf_cannot_pass_for_a_node() -> None:
    assert node_hash(LEAVES[0], LEAVES[1]) != sha256(b"\x00" + LEAVES[0] + LEAVES[1]).digest()
