"""The tree of RFC 6962: computed as the standard writes it, grown in bulk, proven from tiles, and proofs checked."""

import base64
import json
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bode.evidence.merkle import (
    EMPTY_ROOT,
    Edge,
    Tile,
    TileError,
    consistency_tiles,
    edge_tiles,
    grow,
    inclusion_tiles,
    leaf_hash,
    node_hash,
    prove_consistency,
    prove_inclusion,
    read_edge,
    verify_consistency,
    verify_inclusion,
)

LEAVES = [leaf_hash(f"event {number}".encode()) for number in range(1, 1400)]


def root(leaves):
    """MTH of RFC 6962 section 2.1, as it is written there."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return sha256(b"\x01" + root(leaves[:k]) + root(leaves[k:])).digest()


def path(m, leaves):
    """PATH of RFC 6962 section 2.1.1."""
    if len(leaves) == 1:
        return []
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    if m < k:
        return [*path(m, leaves[:k]), root(leaves[k:])]
    return [*path(m - k, leaves[k:]), root(leaves[:k])]


def proof(m, leaves, whole=True):
    """SUBPROOF of RFC 6962 section 2.1.2."""
    if m == len(leaves):
        return [] if whole else [root(leaves)]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    if m <= k:
        return [*proof(m, leaves[:k], whole), root(leaves[k:])]
    return [*proof(m - k, leaves[k:], False), root(leaves[:k])]


@pytest.fixture(scope="module")
def tiles():
    """The tiles of a log that grew in batches of odd sizes."""
    edge, kept = Edge(), {}
    for start, end in [(0, 1), (1, 255), (255, 256), (256, 257), (257, 900), (900, len(LEAVES))]:
        grown = grow(edge, LEAVES[start:end])
        edge = grown.edge
        kept |= {(tile.level, tile.index): hashes for tile, hashes in grown.tiles}
    return lambda tile: kept[tile.level, tile.index]


def test_the_published_root_over_eight_leaves():
    leaves = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
    tree = grow(Edge(), [leaf_hash(bytes.fromhex(leaf)) for leaf in leaves]).edge
    assert tree.root().hex() == "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"


@given(st.lists(st.integers(0, 400), max_size=6))
@settings(deadline=None, max_examples=60)
def test_a_log_is_the_same_however_it_grew(batches):
    edge, size = Edge(), 0
    for batch in batches:
        leaves = LEAVES[size : size + batch]
        edge = grow(edge, leaves).edge
        size += len(leaves)
    assert edge == grow(Edge(), LEAVES[:size]).edge
    assert (edge.size, edge.root()) == (size, root(LEAVES[:size]))


@pytest.mark.parametrize("size", [0, 1, 2, 3, 255, 256, 257, 511, 512, 513, 1399])
def test_a_log_as_it_was_is_read_back_from_its_tiles(tiles, size):
    edge = read_edge(size, tiles)
    assert edge == grow(Edge(), LEAVES[:size]).edge
    assert edge.root() == root(LEAVES[:size])


@given(st.data())
@settings(deadline=None, max_examples=150)
def test_proofs_are_those_of_the_standard_and_read_the_tiles_they_name(tiles, data):
    size = data.draw(st.integers(1, len(LEAVES)))
    index, old = data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, size))
    seen = set()

    def read(tile):
        seen.add(tile)
        return tiles(tile)

    inclusion = prove_inclusion(index, size, read)
    assert inclusion == path(index, LEAVES[:size])
    assert seen == inclusion_tiles(index, size)
    seen.clear()
    consistency = prove_consistency(old, size, read)
    assert consistency == proof(old, LEAVES[:size])
    assert seen == consistency_tiles(old, size)

    whole, first = root(LEAVES[:size]), root(LEAVES[:old])
    assert verify_inclusion(leaf=LEAVES[index], index=index, size=size, root=whole, proof=inclusion)
    assert verify_consistency(old=old, old_root=first, new=size, new_root=whole, proof=consistency)


@given(st.data())
@settings(deadline=None, max_examples=200)
def test_a_proof_holds_for_one_place_in_one_tree_only(tiles, data):
    size = data.draw(st.integers(1, 300))
    index = data.draw(st.integers(0, size - 1))
    good = {"leaf": LEAVES[index], "index": index, "size": size, "root": root(LEAVES[:size])}
    good["proof"] = prove_inclusion(index, size, tiles)
    how = data.draw(st.sampled_from(["leaf", "index", "root", "longer", "shorter", "other"]))
    bad = dict(good)
    match how:
        case "leaf":
            bad["leaf"] = leaf_hash(b"another")
        case "index":
            bad["index"] = data.draw(st.integers(-2, size + 2).filter(lambda other: other != index))
        case "root":
            bad["root"] = leaf_hash(b"another")
        case "longer":
            bad["proof"] = [*good["proof"], data.draw(st.sampled_from([good["root"], LEAVES[0], bytes(32)]))]
        case "shorter":
            bad["proof"] = good["proof"][:-1] if good["proof"] else [good["root"]]
        case "other":
            bad["proof"] = [leaf_hash(hash_) for hash_ in good["proof"]] or [LEAVES[0]]
    assert verify_inclusion(**good)
    assert not verify_inclusion(**bad)


def test_a_proof_is_as_long_as_the_size_says_whatever_the_root_is():
    one, other, more = LEAVES[:3]
    whole = node_hash(one, other)
    assert verify_inclusion(leaf=other, index=1, size=2, root=whole, proof=[one])
    assert not verify_inclusion(leaf=one, index=0, size=2, root=one, proof=[])
    assert not verify_inclusion(leaf=other, index=0, size=1, root=whole, proof=[one])
    assert not verify_inclusion(leaf=other, index=1, size=2, root=node_hash(more, whole), proof=[one, more])
    assert verify_consistency(old=1, old_root=one, new=2, new_root=whole, proof=[other])
    assert not verify_consistency(old=1, old_root=one, new=2, new_root=one, proof=[])
    assert not verify_consistency(old=1, old_root=one, new=1, new_root=one, proof=[other])
    longer = {"old_root": node_hash(more, one), "new_root": node_hash(more, whole), "proof": [other, more]}
    assert not verify_consistency(old=1, new=2, **longer)


@pytest.mark.parametrize("value", [b"", bytes(31), bytes(33)])
def test_what_is_no_hash_proves_nothing(value):
    one, other = LEAVES[0], LEAVES[1]
    assert not verify_inclusion(leaf=value, index=0, size=1, root=value, proof=[])
    assert not verify_inclusion(leaf=one, index=0, size=2, root=node_hash(one, value), proof=[value])
    assert not verify_consistency(old=1, old_root=value, new=1, new_root=value, proof=[])
    assert not verify_consistency(old=1, old_root=one, new=2, new_root=node_hash(one, other), proof=[other, value])


def test_numbers_beyond_any_log_are_refused_however_well_they_fit():
    first, last = LEAVES[0], LEAVES[1]
    whole = node_hash(first, last)
    for size, believed in ((1 << 62, True), (1 << 63, False), (1 << 100_000, False)):
        inclusion = {"leaf": last, "index": size, "size": size + 1, "root": whole, "proof": [first]}
        assert verify_inclusion(**inclusion) is believed
        consistency = {"old": size, "old_root": first, "new": size + 1, "new_root": whole, "proof": [last]}
        assert verify_consistency(**consistency) is believed


def test_the_empty_log_is_the_beginning_of_every_log_if_its_root_is_stated_right():
    one = LEAVES[0]
    assert verify_consistency(old=0, old_root=EMPTY_ROOT, new=0, new_root=EMPTY_ROOT, proof=[])
    assert verify_consistency(old=0, old_root=EMPTY_ROOT, new=1, new_root=one, proof=[])
    assert not verify_consistency(old=0, old_root=EMPTY_ROOT, new=0, new_root=one, proof=[])
    assert not verify_consistency(old=0, old_root=one, new=0, new_root=one, proof=[])
    assert not verify_consistency(old=0, old_root=one, new=1, new_root=one, proof=[])
    assert not verify_consistency(old=0, old_root=EMPTY_ROOT, new=1, new_root=one, proof=[one])


def test_a_forked_log_has_no_proof_that_it_only_grew(tiles):
    forked = grow(Edge(), [*LEAVES[:99], leaf_hash(b"another"), *LEAVES[100:200]]).edge.root()
    honest = prove_consistency(150, 200, tiles)
    assert verify_consistency(old=150, old_root=root(LEAVES[:150]), new=200, new_root=root(LEAVES[:200]), proof=honest)
    assert not verify_consistency(old=150, old_root=root(LEAVES[:150]), new=200, new_root=forked, proof=honest)
    assert not verify_consistency(
        old=200, old_root=root(LEAVES[:200]), new=150, new_root=root(LEAVES[:150]), proof=honest
    ), "a log never shrinks"


def test_tiles_are_named_as_tlog_tiles_names_them():
    assert Tile(0, 1234067).path == "tile/0/x001/x234/067"
    assert Tile(1, 0, 1).path == "tile/1/000.p/1"
    assert Tile(2, 1000, 255).path == "tile/2/x001/000.p/255"
    assert edge_tiles(70_000) == [Tile(0, 273, 112), Tile(1, 1, 17), Tile(2, 0, 1)]
    assert edge_tiles(256) == [Tile(1, 0, 1)]
    assert edge_tiles(0) == []


def test_growing_gives_each_tile_that_is_new_or_fuller():
    grown = grow(grow(Edge(), LEAVES[:250]).edge, LEAVES[250:520])
    assert [tile for tile, _ in grown.tiles] == [Tile(0, 0), Tile(0, 1), Tile(0, 2, 8), Tile(1, 0, 2)]
    assert all(len(hashes) == tile.width * 32 for tile, hashes in grown.tiles)
    assert grow(grown.edge, []).tiles == []


def test_a_tile_that_is_missing_hashes_is_told(tiles):
    with pytest.raises(TileError, match=r"tile/0/000\.p/7 has 96 bytes"):
        read_edge(7, lambda tile: tiles(tile)[:96])


@pytest.mark.parametrize(("index", "size"), [(0, 0), (5, 5), (-1, 5)])
def test_there_is_no_proof_of_a_leaf_that_is_not_there(tiles, index, size):
    with pytest.raises(ValueError, match="there is no leaf"):
        prove_inclusion(index, size, tiles)
    with pytest.raises(ValueError, match="no beginning"):
        prove_consistency(size + 1, size, tiles)


def _outside_vectors():
    places = [folder / "shared/evidence-vectors/merkle.json" for folder in Path(__file__).resolve().parents]
    found = next((place for place in places if place.is_file()), None)
    return json.loads(found.read_text("utf-8")) if found is not None else None


VECTORS = _outside_vectors()
outside = pytest.mark.skipif(
    VECTORS is None, reason="shared/evidence-vectors/merkle.json is not beside this repository"
)


def b64(text):
    return base64.b64decode(text) if text else b""


@outside
def test_the_outside_vectors_of_inclusion_proofs():
    for case in VECTORS["inclusion"]:
        proof = [b64(hash_) for hash_ in case["proof"] or []]
        good = verify_inclusion(
            leaf=b64(case["leafHash"]),
            index=case["leafIdx"],
            size=case["treeSize"],
            root=b64(case["root"]),
            proof=proof,
        )
        assert good is not case["wantErr"], case["case"]


@outside
def test_the_outside_vectors_of_consistency_proofs():
    for case in VECTORS["consistency"]:
        proof = [b64(hash_) for hash_ in case["proof"] or []]
        good = verify_consistency(
            old=case["size1"],
            old_root=b64(case["root1"]),
            new=case["size2"],
            new_root=b64(case["root2"]),
            proof=proof,
        )
        assert good is not case["wantErr"], case["case"]
