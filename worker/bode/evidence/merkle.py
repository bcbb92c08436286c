"""The tree of RFC 6962 (SHA-256): grow it in bulk, prove what is in it, check such proofs.

Its hashes are kept in *tiles* as C2SP tlog-tiles names them: 256 neighbouring hashes of height 0, 8, 16, ... Whoever
keeps tiles hands a reader to this module; nothing here does I/O. Imports the standard library only: the verifier
stands on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256

HASH_SIZE = 32
TILE_HEIGHT = 8
TILE_WIDTH = 1 << TILE_HEIGHT

EMPTY_ROOT = sha256(b"").digest()
"""The root of a tree without leaves."""

MAX_SIZE = (1 << 63) - 1
"""More leaves than any log has; a bound for numbers that come from outside."""

_TILE_BYTES = TILE_WIDTH * HASH_SIZE


def leaf_hash(data: bytes) -> bytes:
    """Hash an entry as a leaf: the zero byte before it keeps a leaf from passing for a node."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


# ------------------------------------------------------------------------------------------------------------- tiles


@dataclass(frozen=True, slots=True, order=True)
class Tile:
    """A place for up to 256 hashes: the `index`-th of its level, `width` of them filled (fewer only at the right)."""

    level: int
    index: int
    width: int = TILE_WIDTH

    @property
    def path(self) -> str:
        """Where tlog-tiles puts it: `tile/0/x001/x234/067`, with `.p/112` behind it while it is partial."""
        groups = [f"{self.index % 1000:03d}"]
        rest = self.index // 1000
        while rest:
            groups.append(f"x{rest % 1000:03d}")
            rest //= 1000
        partial = f".p/{self.width}" if self.width < TILE_WIDTH else ""
        return f"tile/{self.level}/{'/'.join(reversed(groups))}{partial}"


ReadTile = Callable[[Tile], bytes]
"""Gives a tile's hashes, one after another. Giving more than `width` is fine: a tile that grew since will do."""


class TileError(Exception):
    """Kept hashes are missing or too short: the tree cannot be read."""


@dataclass(frozen=True, slots=True)
class Edge:
    """All that is needed to grow a tree: its size, and the hashes of the partial tile of each level, from level 0."""

    size: int = 0
    partial: tuple[bytes, ...] = ()

    def root(self) -> bytes:
        """Give the root of the tree."""
        root: bytes | None = None
        for hashes in self.partial:
            for subtree in reversed(_subtree_roots(hashes)):
                root = subtree if root is None else node_hash(subtree, root)
        return EMPTY_ROOT if root is None else root


@dataclass(frozen=True, slots=True)
class Growth:
    """A tree after growing, and the tiles that are new or fuller than they were, to be kept."""

    edge: Edge
    tiles: Sequence[tuple[Tile, bytes]]


def grow(edge: Edge, leaves: Sequence[bytes]) -> Growth:
    """Append leaf hashes to a tree, in bulk."""
    partial: list[bytes] = []
    tiles: list[tuple[Tile, bytes]] = []
    level, carried = 0, b"".join(leaves)
    if len(carried) != len(leaves) * HASH_SIZE:
        raise ValueError(f"a leaf hash has {HASH_SIZE} bytes")
    while carried or level < len(edge.partial):
        hashes = (edge.partial[level] if level < len(edge.partial) else b"") + carried
        index = edge.size >> TILE_HEIGHT * (level + 1)
        full, changed = len(hashes) // _TILE_BYTES, bool(carried)
        above: list[bytes] = []
        for start in range(0, full * _TILE_BYTES, _TILE_BYTES):
            tile = hashes[start : start + _TILE_BYTES]
            tiles.append((Tile(level, index), tile))
            above.append(_fold(tile))
            index += 1
        rest = hashes[full * _TILE_BYTES :]
        if rest and changed:
            tiles.append((Tile(level, index, len(rest) // HASH_SIZE), rest))
        partial.append(rest)
        carried = b"".join(above)
        level += 1
    return Growth(Edge(edge.size + len(leaves), tuple(partial)), tiles)


def edge_tiles(size: int) -> list[Tile]:
    """Name the partial tiles at the right edge of a tree, from level 0; what `read_edge` asks for."""
    tiles: list[Tile] = []
    level = 0
    while count := size >> TILE_HEIGHT * level:
        if width := count % TILE_WIDTH:
            tiles.append(Tile(level, count >> TILE_HEIGHT, width))
        level += 1
    return tiles


def read_edge(size: int, read: ReadTile) -> Edge:
    """Give the edge of the tree as it was at a size; its root is `.root()`."""
    levels = (size.bit_length() + TILE_HEIGHT - 1) // TILE_HEIGHT
    partial = [b""] * levels
    for tile in edge_tiles(size):
        partial[tile.level] = _read(tile, read)
    return Edge(size, tuple(partial))


def _read(tile: Tile, read: ReadTile) -> bytes:
    hashes = read(tile)
    if len(hashes) < tile.width * HASH_SIZE:
        raise TileError(f"{tile.path} has {len(hashes)} bytes, too few")
    return hashes[: tile.width * HASH_SIZE]


def _fold(hashes: bytes) -> bytes:
    """Give the root over a power of two of hashes."""
    pair = 2 * HASH_SIZE
    while len(hashes) > HASH_SIZE:
        hashes = b"".join([sha256(b"\x01" + hashes[at : at + pair]).digest() for at in range(0, len(hashes), pair)])
    return hashes


def _subtree_roots(hashes: bytes) -> list[bytes]:
    """Give the roots of the complete subtrees over hashes, left (largest) first."""
    return [
        _fold(hashes[(index << height) * HASH_SIZE : (index + 1 << height) * HASH_SIZE])
        for height, index in _subtrees(0, len(hashes) // HASH_SIZE)
    ]


def _subtrees(start: int, end: int) -> Iterable[tuple[int, int]]:
    """Name the complete subtrees over leaves [start, end), as (height, index), left (largest) first.

    `start` is a multiple of a power of two not smaller than the range, as it is for every subtree of RFC 6962.
    """
    while start < end:
        height = (end - start).bit_length() - 1
        yield height, start >> height
        start += 1 << height


# ------------------------------------------------------------------------------------------------------------ proving


def inclusion_tiles(index: int, size: int) -> frozenset[Tile]:
    """Name the tiles that `prove_inclusion` reads, to be fetched at once, for many proofs together."""
    return _tiles(_inclusion_ranges(index, size), size)


def prove_inclusion(index: int, size: int, read: ReadTile) -> list[bytes]:
    """Prove that the leaf at `index` is in the tree of `size` leaves (RFC 6962 section 2.1.1)."""
    return [_range_root(start, end, size, read) for start, end in _inclusion_ranges(index, size)]


def consistency_tiles(old: int, new: int) -> frozenset[Tile]:
    """Name the tiles that `prove_consistency` reads."""
    return _tiles(_consistency_ranges(old, new), new)


def prove_consistency(old: int, new: int, read: ReadTile) -> list[bytes]:
    """Prove that the tree of `old` leaves is how the tree of `new` leaves began (RFC 6962 section 2.1.2)."""
    return [_range_root(start, end, new, read) for start, end in _consistency_ranges(old, new)]


def _inclusion_ranges(index: int, size: int) -> list[tuple[int, int]]:
    if not 0 <= index < size:
        raise ValueError(f"there is no leaf {index} in a tree of {size}")
    ranges: list[tuple[int, int]] = []
    start, end = 0, size
    while end - start > 1:
        middle = _middle(start, end)
        if index < middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((start, middle))
            start = middle
    return ranges[::-1]


def _consistency_ranges(old: int, new: int) -> list[tuple[int, int]]:
    if not 0 <= old <= new:
        raise ValueError(f"a tree of {old} leaves is no beginning of one of {new}")
    ranges: list[tuple[int, int]] = []
    start, end = 0, new
    while old and old != end:
        middle = _middle(start, end)
        if old <= middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((start, middle))
            start = middle
    if start:  # the old tree does not end at a subtree that its own root already states
        ranges.append((start, end))
    return ranges[::-1]


def _middle(start: int, end: int) -> int:
    """Give where a range splits: after the largest power of two that is smaller than it."""
    return start + (1 << (end - start - 1).bit_length() - 1)


def _tiles(ranges: Iterable[tuple[int, int]], size: int) -> frozenset[Tile]:
    return frozenset(_place(height, index, size)[0] for start, end in ranges for height, index in _subtrees(start, end))


def _place(height: int, index: int, size: int) -> tuple[Tile, int]:
    """Say in which tile of a tree the hashes under a complete subtree are, and from which hash on."""
    level, inside = divmod(height, TILE_HEIGHT)
    first = index << inside
    tile = first >> TILE_HEIGHT
    width = min(TILE_WIDTH, (size >> TILE_HEIGHT * level) - (tile << TILE_HEIGHT))
    return Tile(level, tile, width), first % TILE_WIDTH


def _range_root(start: int, end: int, size: int, read: ReadTile) -> bytes:
    roots: list[bytes] = []
    for height, index in _subtrees(start, end):
        tile, first = _place(height, index, size)
        count = 1 << height % TILE_HEIGHT
        roots.append(_fold(_read(tile, read)[first * HASH_SIZE : (first + count) * HASH_SIZE]))
    root = roots.pop()
    while roots:
        root = node_hash(roots.pop(), root)
    return root


# ----------------------------------------------------------------------------------------------------------- checking


def verify_inclusion(*, leaf: bytes, index: int, size: int, root: bytes, proof: Sequence[bytes]) -> bool:
    """Say whether a proof shows that the leaf hash stands at `index` in the tree (RFC 9162 section 2.1.3.2)."""
    if not 0 <= index < size <= MAX_SIZE or not _are_hashes(leaf, root, *proof):
        return False
    climbed = _climb(leaf, index, size - 1, proof)
    return climbed is not None and climbed[1] == root


def verify_consistency(*, old: int, old_root: bytes, new: int, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Say whether a proof shows that the new tree begins with the old one (RFC 9162 section 2.1.4.2).

    Every tree begins with the empty one, if that is stated with the root it has; the proof of that is empty.
    """
    if not 0 <= old <= new <= MAX_SIZE or not _are_hashes(old_root, new_root, *proof):
        return False
    if old == 0:
        return not proof and old_root == EMPTY_ROOT and (new > 0 or new_root == EMPTY_ROOT)
    if old == new:
        return not proof and old_root == new_root
    path = list(proof)
    if old & (old - 1) == 0:
        path.insert(0, old_root)  # the old tree is complete: its root is a node of the new one
    if not path:
        return False
    node, last = old - 1, new - 1
    while node & 1:
        node >>= 1
        last >>= 1
    return _climb(path[0], node, last, path[1:]) == (old_root, new_root)


def _climb(first: bytes, node: int, last: int, siblings: Sequence[bytes]) -> tuple[bytes, bytes] | None:
    """Hash a node with its siblings up to the root: with those left of it alone, and with all.

    `last` is the index of the last node at the height of `node`. Nothing, where the siblings are too few or too many.
    """
    left = all_ = first
    for sibling in siblings:
        if last == 0:
            return None
        if node & 1 or node == last:
            left, all_ = node_hash(sibling, left), node_hash(sibling, all_)
            while not node & 1 and node:
                node >>= 1
                last >>= 1
        else:
            all_ = node_hash(all_, sibling)
        node >>= 1
        last >>= 1
    return (left, all_) if last == 0 else None


def _are_hashes(*values: bytes) -> bool:
    return all(len(value) == HASH_SIZE for value in values)
