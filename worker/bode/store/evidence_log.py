"""The log over all events: an RFC 6962 tree in tables, grown in batches, and proofs from it.

`event_pending` holds what waits, `evidence_leaf` which event stands where, `evidence_tile` the full tiles of hashes
(as C2SP tlog-tiles cuts them), each with the root over it; what is not a full tile yet follows from the rows below it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from bode.evidence.merkle import (
    TILE_WIDTH,
    Edge,
    ReadTile,
    Tile,
    TileError,
    consistency_tiles,
    edge_tiles,
    grow,
    inclusion_tiles,
    prove_consistency,
    prove_inclusion,
    read_edge,
)
from bode.evidence.statement import Inclusion
from bode.store import tables

BATCH = 4096
_SEQUENCER_LOCK = 0x626F6465_6C6F67
"""The advisory lock of the one who adds to the log: 'bodelog'."""

# The one part of this that must be quick while workers write: a batch goes in and out as one array.
_ADD_LEAVES = {
    "postgresql": "INSERT INTO evidence_leaf (position, event_id) SELECT %s + place - 1, id "
    "FROM unnest(%s::bigint[]) WITH ORDINALITY AS taken (id, place)",
    "sqlite": "INSERT INTO evidence_leaf (position, event_id) SELECT ? + key, value FROM json_each(?)",
}
_END_WAITING = {
    "postgresql": "DELETE FROM event_pending WHERE event_id = ANY(%s::bigint[])",
    "sqlite": "DELETE FROM event_pending WHERE event_id IN (SELECT value FROM json_each(?))",
}


# ------------------------------------------------------------------------------------------------------------- growing


async def sequence(connection: AsyncConnection, limit: int = BATCH) -> int:
    """Put waiting events in the log, in the order of their ids; gives how many.

    Another that does the same at this moment makes this one give 0. Rows are taken because they wait, never because
    their id is past the last one: a transaction that commits late is in the next batch.
    """
    if connection.dialect.name == "postgresql":
        mine = await connection.execute(sa.select(sa.func.pg_try_advisory_xact_lock(_SEQUENCER_LOCK)))
        if not mine.scalar_one():
            return 0
    pending, event = tables.event_pending.c, tables.event.c
    first = sa.select(pending.event_id).order_by(pending.event_id).limit(limit).subquery()
    taken = (
        await connection.execute(
            sa.select(event.id, event.hash).join(first, first.c.event_id == event.id).order_by(event.id)
        )
    ).all()
    if not taken:
        return 0
    size = await length(connection)
    edge = await read_right_edge(connection, size)
    grown = grow(edge, [bytes(row.hash) for row in taken])
    ids = [row.id for row in taken]
    dialect = connection.dialect.name
    array: object = ids if dialect == "postgresql" else str(ids)
    await connection.exec_driver_sql(_ADD_LEAVES[dialect], (size, array))
    await connection.exec_driver_sql(_END_WAITING[dialect], (array,))
    full = [
        {"level": tile.level, "number": tile.index, "hashes": hashes, "root": Edge(TILE_WIDTH, (hashes,)).root()}
        for tile, hashes in grown.tiles
        if tile.width == TILE_WIDTH
    ]
    if full:
        await connection.execute(sa.insert(tables.evidence_tile), full)
    return len(ids)


async def anything_waits(connection: AsyncConnection) -> bool:
    """Tell whether any event waits for the log."""
    return (await connection.execute(sa.select(tables.event_pending.c.event_id).limit(1))).first() is not None


# ------------------------------------------------------------------------------------------------------------- reading


async def length(connection: AsyncConnection) -> int:
    """Give how many events are in the log."""
    last = (await connection.execute(sa.select(sa.func.max(tables.evidence_leaf.c.position)))).scalar_one()
    return 0 if last is None else last + 1


async def read_tiles(connection: AsyncConnection, wanted: Iterable[Tile]) -> ReadTile:
    """Fetch tiles, for the functions of `bode.evidence.merkle` to read. One that is not there raises `TileError`."""
    kept: dict[tuple[int, int], bytes] = {}
    tile = tables.evidence_tile.c
    by_level: dict[int, dict[int, int]] = defaultdict(dict)
    for one in wanted:
        by_level[one.level][one.index] = max(one.width, by_level[one.level].get(one.index, 0))
    for level, widths in by_level.items():
        rows = await connection.execute(
            sa.select(tile.number, tile.hashes).where(tile.level == level, tile.number.in_(widths))
        )
        kept |= {(level, row.number): bytes(row.hashes) for row in rows}
        for number, width in widths.items():
            if (level, number) not in kept and width < TILE_WIDTH:
                kept[level, number] = await _partial(connection, level, number * TILE_WIDTH, width)

    def read(tile: Tile) -> bytes:
        try:
            return kept[tile.level, tile.index]
        except KeyError:
            raise TileError(f"{tile.path} is not in the database") from None

    return read


async def _partial(connection: AsyncConnection, level: int, start: int, width: int) -> bytes:
    """Give the hashes of a tile that is not full: of events at level 0, of the tiles below it above that."""
    if level == 0:
        leaf, event = tables.evidence_leaf.c, tables.event.c
        query = (
            sa.select(event.hash)
            .join_from(tables.evidence_leaf, tables.event, leaf.event_id == event.id)
            .where(leaf.position >= start, leaf.position < start + width)
            .order_by(leaf.position)
        )
    else:
        tile = tables.evidence_tile.c
        query = (
            sa.select(tile.root)
            .where(tile.level == level - 1, tile.number >= start, tile.number < start + width)
            .order_by(tile.number)
        )
    return b"".join([bytes(found) for found in (await connection.execute(query)).scalars()])


async def read_right_edge(connection: AsyncConnection, size: int) -> Edge:
    """Give the edge of the log as it was at a size: to grow it from, and for its root."""
    return read_edge(size, await read_tiles(connection, edge_tiles(size)))


# ------------------------------------------------------------------------------------------------------------- proving


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A signed statement of the log's size and root, as it was published; with what others said to it."""

    origin: str
    size: int
    root: bytes
    note: str
    published_at: datetime
    attestations: Mapping[str, bytes]
    """By kind: a time stamp's token, a witness's signature line."""


class NotCoveredError(Exception):
    """Events that no checkpoint covers yet (or that do not exist). The same can be asked again after the next one."""

    def __init__(self, message_id: UUID, seqs: Sequence[int]) -> None:
        """Keep the parts as attributes."""
        numbers = ", ".join(map(str, seqs))
        super().__init__(f"no checkpoint covers events {numbers} of message {message_id} yet: try again in a moment")
        self.message_id = message_id
        self.seqs = tuple(seqs)


async def latest_checkpoint(connection: AsyncConnection, origin: str) -> Checkpoint | None:
    """Give the newest published checkpoint of a log."""
    column = tables.evidence_checkpoint.c
    newest = (
        await connection.execute(
            sa.select(tables.evidence_checkpoint).where(column.origin == origin).order_by(column.size.desc()).limit(1)
        )
    ).one_or_none()
    if newest is None:
        return None
    said = tables.evidence_attestation.c
    rows = await connection.execute(
        sa.select(said.kind, said.content).where(said.origin == origin, said.size == newest.size)
    )
    return Checkpoint(
        newest.origin,
        newest.size,
        bytes(newest.root),
        newest.note,
        newest.published_at,
        {row.kind: bytes(row.content) for row in rows},
    )


async def prove_events(
    connection: AsyncConnection, message_id: UUID, seqs: Sequence[int], checkpoint: Checkpoint
) -> list[Inclusion]:
    """Prove that events of a message are in the log that a checkpoint states. Raises `NotCoveredError`."""
    event, leaf = tables.event.c, tables.evidence_leaf.c
    rows = await connection.execute(
        sa.select(event.seq, leaf.position)
        .join_from(tables.event, tables.evidence_leaf, leaf.event_id == event.id)
        .where(event.message_id == message_id, event.seq.in_(seqs), leaf.position < checkpoint.size)
        .order_by(event.seq)
    )
    positions = {row.seq: row.position for row in rows}
    missing = sorted(set(seqs) - positions.keys())
    if missing:
        raise NotCoveredError(message_id, missing)
    wanted = frozenset[Tile]().union(*(inclusion_tiles(position, checkpoint.size) for position in positions.values()))
    read = await read_tiles(connection, wanted)
    return [
        Inclusion(seq, position, prove_inclusion(position, checkpoint.size, read))
        for seq, position in positions.items()
    ]


async def prove_growth(connection: AsyncConnection, old: int, new: int) -> list[bytes]:
    """Prove that the log of `new` events began as the log of `old` events (RFC 6962 consistency proof)."""
    return prove_consistency(old, new, await read_tiles(connection, consistency_tiles(old, new)))


# --------------------------------------------------------------------------------------------------------- checkpoints


async def keep_checkpoint(
    connection: AsyncConnection, *, origin: str, size: int, root: bytes, note: str, published_at: datetime
) -> None:
    """Keep a checkpoint that was published; one that is kept already stays as it is."""
    row = {"origin": origin, "size": size, "root": root, "note": note, "published_at": published_at}
    await _keep(connection, tables.evidence_checkpoint, row)


async def keep_attestation(
    connection: AsyncConnection, *, origin: str, size: int, kind: str, content: bytes, received_at: datetime
) -> None:
    """Keep what another said to a checkpoint; a second word of the same kind is not kept."""
    row = {"origin": origin, "size": size, "kind": kind, "content": content, "received_at": received_at}
    await _keep(connection, tables.evidence_attestation, row)


async def _keep(connection: AsyncConnection, table: sa.Table, row: Mapping[str, object]) -> None:
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    await connection.execute(insert(table).values(row).on_conflict_do_nothing())
