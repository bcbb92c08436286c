"""The audit: the whole log against the database, and both against what was published.

Reads one snapshot in pages, so that memory stays flat and workers go on; finds what was changed, left out or added, and
names the message and the event of each fault, never what it holds.
"""

from __future__ import annotations

import heapq
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from bode.domain.explain import Told, unexplained
from bode.domain.parts import Delivery
from bode.engine.log_folder import LogFolder, Published
from bode.evidence.envelope import GENESIS, commit, leaf_hash, timestamp
from bode.evidence.merkle import HASH_SIZE, TILE_WIDTH, Edge, Tile, grow
from bode.store import tables
from bode.store.database import Database
from bode.store.vault import Vault, VaultError

_PAGE = 2048


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is not as it was written."""

    what: str
    message: UUID | None = None
    seq: int | None = None

    def __str__(self) -> str:
        """Say it in a line."""
        where = f"message {self.message}" if self.message is not None else "log"
        return f"{where}, event {self.seq}: {self.what}" if self.seq is not None else f"{where}: {self.what}"


@dataclass(slots=True)
class Report:
    """What an audit saw."""

    events: int = 0
    messages: int = 0
    leaves: int = 0
    pending: int = 0
    details: int = 0
    checkpoints: int = 0
    faults: int = 0


class _Envelope(msgspec.Struct):
    """What an envelope must say; more is its own affair."""

    message: str
    organisation: str
    seq: int
    previous: str
    event: str
    at: str
    recorded_at: str
    part: str | None = None
    detail_commit: str | None = None


_read_envelope = msgspec.json.Decoder(_Envelope).decode
_read_delivery = msgspec.json.Decoder(Delivery).decode


@dataclass(slots=True)
class _Story:
    """A message while its events pass by."""

    id: UUID
    organisation: str | None
    seq: int = 0
    previous: bytes = GENESIS
    shredded: int = 0
    told: Told = field(default_factory=Told)
    closed: dict[int, str] = field(default_factory=dict[int, str])
    """Commitments whose details are not there, by event."""


class Audit:
    """One audit of one database; `found` is told each fault as it is met."""

    def __init__(
        self,
        database: Database,
        found: Callable[[Fault], None],
        *,
        folder: LogFolder | None,
        vault: Vault | None = None,
    ) -> None:
        """Take the folder where checkpoints are published, and the vault where details are to be opened too."""
        self._database = database
        self._found = found
        self._folder = folder
        self._vault = vault
        self._report = Report()

    async def run(self) -> Report:
        """Go through everything once."""
        async with _snapshot(self._database) as connection:
            await self._messages(connection)
            await self._log(connection)
        return self._report

    def _fault(self, what: str, message: UUID | None = None, seq: int | None = None) -> None:
        self._report.faults += 1
        self._found(Fault(what, message, seq))

    # ---- events and deliveries -------------------------------------------------------------------------------------

    async def _messages(self, connection: AsyncConnection) -> None:
        """Hold each message's events against each other, against their rows, and against its delivery."""
        deliveries = _Rows(connection, _DELIVERIES, ("message_id",))
        delivery = await deliveries.next()
        story: _Story | None = None
        events = _Rows(connection, _EVENTS if self._vault is None else _EVENTS_WITH_DETAILS, ("message_id", "seq"))
        while page := await events.page():
            for row in page:
                if story is None or row.message_id != story.id:
                    if story is not None:
                        delivery = await self._end(story, delivery, deliveries)
                    while delivery is not None and delivery.message_id < row.message_id:
                        self._fault("it has no events at all", delivery.message_id)
                        delivery = await deliveries.next()
                    mine = delivery is not None and delivery.message_id == row.message_id
                    story = _Story(row.message_id, delivery.organisation if mine and delivery is not None else None)
                self._event(story, row)
        if story is not None:
            delivery = await self._end(story, delivery, deliveries)
        while delivery is not None:
            self._fault("it has no events at all", delivery.message_id)
            delivery = await deliveries.next()

    def _event(self, story: _Story, row: Any) -> None:
        report = self._report
        report.events += 1
        if row.seq <= story.seq:
            self._fault("it is there twice", story.id, row.seq)
            return
        for missing in range(story.seq + 1, min(row.seq, story.seq + 101)):
            self._fault("it is missing", story.id, missing)
        follows = row.seq == story.seq + 1
        if row.position is None and row.waiting is None:
            self._fault("it is in the log nor waits for it", story.id, row.seq)
        elif row.position is not None and row.waiting is not None:
            self._fault("it is in the log, and waits for it still", story.id, row.seq)
        report.pending += row.position is None and row.waiting is not None
        computed = leaf_hash(row.envelope)
        if computed != row.hash:
            self._fault("its hash is not that of its envelope", story.id, row.seq)
        try:
            envelope = _read_envelope(row.envelope)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            self._fault("its envelope cannot be read", story.id, row.seq)
        else:
            self._hold(story, row, envelope, follows=follows)
        story.seq, story.previous = row.seq, bytes(row.hash)
        story.told.add(row.name, row.part, row.at)
        if row.name == "detail.shredded":
            story.shredded = row.seq

    def _hold(self, story: _Story, row: Any, envelope: _Envelope, *, follows: bool) -> None:
        """Hold an envelope against its row, its place in the message, and its details."""
        wrong = [
            name
            for name, said, stored in (
                ("message", envelope.message, str(story.id)),
                ("seq", envelope.seq, row.seq),
                ("event", envelope.event, row.name),
                ("part", envelope.part, row.part),
                ("at", envelope.at, timestamp(row.at)),
                ("recorded_at", envelope.recorded_at, timestamp(row.recorded_at)),
                ("organisation", envelope.organisation, story.organisation or envelope.organisation),
            )
            if said != stored
        ]
        if wrong:
            self._fault(f"its row and its envelope differ in {', '.join(wrong)}", story.id, row.seq)
        if follows and envelope.previous != story.previous.hex():
            self._fault("it does not follow the event before it", story.id, row.seq)
        if self._vault is not None:
            self._detail(story, row, envelope)

    def _detail(self, story: _Story, row: Any, envelope: _Envelope) -> None:
        """Open the details of an event, and hold them against what its envelope commits to."""
        if envelope.detail_commit is None:
            if row.sealed is not None:
                self._fault("it has details that its envelope says nothing of", story.id, row.seq)
            return
        if row.sealed is None:
            if row.wrapped_key is not None:
                story.closed[row.seq] = envelope.detail_commit
            return
        if row.wrapped_key is None or self._vault is None:
            return
        try:
            key = self._vault.unwrap(story.id, row.wrapped_key)
            details = self._vault.open(key, story.id, f"event {row.seq}", row.sealed)
        except VaultError:
            self._fault("its details cannot be opened", story.id, row.seq)
            return
        self._report.details += 1
        if commit(bytes(row.salt), details).hex() != envelope.detail_commit:
            self._fault("its details are not those its envelope commits to", story.id, row.seq)

    async def _end(self, story: _Story, delivery: Any, deliveries: _Rows) -> Any:
        """Hold a message's delivery against its events; gives the next delivery."""
        self._report.messages += 1
        for seq in story.closed:
            if seq > story.shredded:
                self._fault("its details are gone, and no event says that they were erased", story.id, seq)
        if delivery is None or delivery.message_id != story.id:
            self._fault("it has events and no delivery", story.id)
            return delivery
        if delivery.event_seq > story.seq:
            for missing in range(story.seq + 1, min(delivery.event_seq + 1, story.seq + 101)):
                self._fault("it is missing", story.id, missing)
        elif delivery.event_seq < story.seq:
            self._fault(f"its delivery knows {delivery.event_seq} events", story.id, story.seq)
        elif bytes(delivery.event_hash) != story.previous:
            self._fault("its delivery knows another hash for it", story.id, story.seq)
        try:
            state = _read_delivery(delivery.document)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            self._fault("its delivery cannot be read", story.id)
        else:
            for what in unexplained(state, story.told):
                self._fault(what, story.id)
            if (delivery.state, delivery.outcome) != (str(state.state), str(state.outcome)):
                self._fault("the columns of its delivery are not what the delivery says", story.id)
        return await deliveries.next()

    # ---- the log ---------------------------------------------------------------------------------------------------

    async def _log(self, connection: AsyncConnection) -> None:
        """Compute the tree anew from its leaves, and hold tiles and checkpoints against it."""
        checkpoints = self._checkpoints(await _kept_checkpoints(connection))
        checkpoint = next(checkpoints, None)
        edge, mismatches = Edge(), 0
        tiles = _Rows(connection, _TILES, ("number",))
        last_wrong: int | None = None
        async for start, hashes in self._leaves(connection):
            position = 0
            while position < len(hashes):
                end = len(hashes)
                if checkpoint is not None and start <= checkpoint.size <= start + len(hashes):
                    end = max(checkpoint.size - start, position)
                if end > position:
                    grown = grow(edge, hashes[position:end])
                    edge, position = grown.edge, end
                    for tile, data in grown.tiles:
                        if tile.width == TILE_WIDTH:
                            await self._tile(connection, tiles, tile, data)
                while checkpoint is not None and checkpoint.size == edge.size:
                    self._report.checkpoints += 1
                    if edge.root() != checkpoint.root:
                        mismatches += 1
                        last_wrong = checkpoint.size
                        if mismatches == 1:
                            self._fault(f"{checkpoint.where} states another root than its first {edge.size} events have")
                    checkpoint = next(checkpoints, None)
                if checkpoint is not None and checkpoint.size < edge.size:
                    raise AssertionError("checkpoints are taken in the order of their sizes")
        if mismatches > 1:
            self._fault(f"{mismatches - 1} more checkpoints, up to size {last_wrong}, state another root as well")
        self._report.leaves = edge.size
        while checkpoint is not None:
            self._report.checkpoints += 1
            if checkpoint.size or checkpoint.root != Edge().root():
                self._fault(f"the log has {edge.size} events, and {checkpoint.where} states {checkpoint.size}")
            checkpoint = next(checkpoints, None)
        if (extra := await tiles.next()) is not None:
            self._fault(f"tile {extra.number} of level 0 is past the end of the log")

    async def _leaves(self, connection: AsyncConnection) -> AsyncIterator[tuple[int, list[bytes]]]:
        """Give the leaves' hashes in their order, page by page; where there is none, the one that the tile has."""
        rows = _Rows(connection, _LEAVES, ("position",))
        expected = 0
        while page := await rows.page():
            start, hashes = expected, list[bytes]()
            for row in page:
                if row.position != expected:
                    self._fault(f"leaves {expected} to {row.position - 1} are missing")
                    yield start, hashes
                    for gap in range(expected, row.position):
                        yield gap, [await _tile_hash(connection, gap)]
                    start, hashes = row.position, []
                if row.hash is None:
                    self._fault(f"leaf {row.position} is of an event that is not there")
                    hashes.append(await _tile_hash(connection, row.position))
                else:
                    hashes.append(bytes(row.hash))
                expected = row.position + 1
            yield start, hashes

    async def _tile(self, connection: AsyncConnection, tiles: _Rows, tile: Tile, data: bytes) -> None:
        """Hold a computed full tile against the kept one and the published one; names the events that differ."""
        if tile.level == 0:
            kept = await tiles.next()
            if kept is None or kept.number != tile.index:
                self._fault(f"{tile.path} is not kept")
            else:
                await self._differ(connection, tile, data, bytes(kept.hashes), "the tile")
                if bytes(kept.root) != Edge(TILE_WIDTH, (bytes(kept.hashes),)).root():
                    self._fault(f"{tile.path} is kept with another root than it has")
        else:
            column = tables.evidence_tile.c
            kept_hashes = await connection.execute(
                sa.select(column.hashes).where(column.level == tile.level, column.number == tile.index)
            )
            if bytes(kept_hashes.scalar_one_or_none() or b"") != data:
                self._fault(f"{tile.path} is kept otherwise than its events make it")
        if self._folder is not None and (published := self._folder.read_tile(tile)) is not None:
            await self._differ(connection, tile, data, published, "the published tile")

    async def _differ(self, connection: AsyncConnection, tile: Tile, data: bytes, other: bytes, which: str) -> None:
        if data == other:
            return
        if tile.level or len(data) != len(other):
            self._fault(f"{which} {tile.path} is not what its events make it")
            return
        wrong = [at for at in range(0, len(data), HASH_SIZE) if data[at : at + HASH_SIZE] != other[at : at + HASH_SIZE]]
        positions = [tile.index * TILE_WIDTH + at // HASH_SIZE for at in wrong]
        leaf, event = tables.evidence_leaf.c, tables.event.c
        rows = await connection.execute(
            sa.select(leaf.position, event.message_id, event.seq)
            .join_from(tables.evidence_leaf, tables.event, leaf.event_id == event.id)
            .where(leaf.position.in_(positions))
        )
        for row in rows:
            self._fault(f"{which} has another hash at leaf {row.position}", row.message_id, row.seq)

    def _checkpoints(self, kept: Sequence[Published]) -> Iterator[Published]:
        """Give all checkpoints, kept and published, by size; whose note is not one of ours, or differs, is a fault."""
        if self._folder is None:
            yield from kept
            return
        by_size: Mapping[int, Published] = {item.size: item for item in kept if item.origin == self._folder.origin}
        newest = self._folder.newest(self._fault)
        largest = max(by_size, default=0)
        if newest is not None and newest.size < largest:
            self._fault(f"the published checkpoint states {newest.size} events, one of {largest} was signed before")
        published = self._folder.all(self._fault)
        for item in heapq.merge(kept, [newest] if newest else [], published, key=_size):
            if self._folder.origin == item.origin and (fault := self._folder.check(item)) is not None:
                self._fault(f"{item.where} {fault}")
            yield item
