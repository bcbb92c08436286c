"""The audit: the whole log against the database, and both against what was published.

Reads one snapshot in pages, so that memory stays flat and workers go on; finds what was changed, left out or added, and
names the message and the event of each fault, never what it holds.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import UUID

import msgspec
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from bode.domain.explain import Told, unexplained
from bode.domain.parts import Delivery
from bode.engine.checkpoints import Attestor
from bode.evidence.chain import GENESIS, chain_hash, commit
from bode.evidence.envelope import timestamp
from bode.evidence.merkle import HASH_SIZE, TILE_WIDTH, Edge, Growth, Tile, grow, leaf_hash
from bode.evidence.note import NoteError
from bode.store import tables
from bode.store.database import Database
from bode.store.log_folder import FolderError, LogFolder, Published
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
    published: int = 0
    wrong_checkpoints: int = 0
    attestations: int = 0
    """Time stamps and witnesses' signatures of which was checked whose they are and of what."""
    attestations_of_others: int = 0
    """Those of which was not: nobody named in the configuration says such things."""
    faults: int = 0
    seconds: float = 0.0

    @property
    def undecided(self) -> str | None:
        """Say why a clean audit proves little, where it does."""
        if self.leaves and not self.published:
            return "no published checkpoint says what the log must be: the tables agree with each other, and no more"
        return None


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
    chain: bytes = GENESIS
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
        attestors: Sequence[Attestor] = (),
    ) -> None:
        """Take the folder where checkpoints are published, and the vault where details are to be opened too.

        `attestors` are those whose time stamps and signatures are trusted; what others said is counted, and no more.
        """
        self._database = database
        self._found = found
        self._folder = folder
        self._vault = vault
        self._attestors = {attestor.kind: attestor for attestor in attestors}
        self._report = Report()

    async def run(self) -> Report:
        """Go through everything once."""
        started = time.perf_counter()
        async with _snapshot(self._database) as connection:
            for part in (self._messages, self._log, self._attestations):
                try:
                    await part(connection)
                except _UnreadableError as error:
                    self._fault(f"a row of {error} cannot be read, and what comes after it was not looked at")
        self._report.seconds = time.perf_counter() - started
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
            self._fault("it is neither in the log nor waits for it", story.id, row.seq)
        elif row.position is not None and row.waiting is not None:
            self._fault("it is in the log, and waits for it still", story.id, row.seq)
        report.pending += row.position is None and row.waiting is not None
        computed = leaf_hash(_bytes(row.envelope))
        if computed != row.hash:
            self._fault("its hash is not that of its envelope", story.id, row.seq)
        try:
            envelope = _read_envelope(_bytes(row.envelope))
        except (msgspec.MsgspecError, UnicodeDecodeError):
            self._fault("its envelope cannot be read", story.id, row.seq)
        else:
            self._hold(story, row, envelope, follows=follows)
        story.seq, story.chain = row.seq, chain_hash(story.chain, _bytes(row.hash))
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
        if follows and envelope.previous != story.chain.hex():
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
        if commit(_bytes(row.salt), details).hex() != envelope.detail_commit:
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
        self._hold_delivery(story, delivery)
        return await deliveries.next()

    def _hold_delivery(self, story: _Story, delivery: Any) -> None:
        """Hold what a delivery says against the events of its message."""
        if delivery.event_seq > story.seq:
            for missing in range(story.seq + 1, min(delivery.event_seq + 1, story.seq + 101)):
                self._fault("it is missing", story.id, missing)
        elif delivery.event_seq < story.seq:
            self._fault(f"its delivery knows {delivery.event_seq} events", story.id, story.seq)
        elif _bytes(delivery.event_hash) != story.chain:
            self._fault("its delivery knows another chain of events", story.id, story.seq)
        try:
            state = _read_delivery(delivery.document)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            self._fault("its delivery cannot be read", story.id)
        else:
            for what in unexplained(state, story.told):
                self._fault(what, story.id)
            if (delivery.state, delivery.outcome) != (str(state.state), str(state.outcome)):
                self._fault("the columns of its delivery are not what the delivery says", story.id)

    # ---- the log ---------------------------------------------------------------------------------------------------

    async def _log(self, connection: AsyncConnection) -> None:
        """Compute the tree anew from its leaves, and hold tiles and checkpoints against it."""
        stated = self._stated(connection)
        checkpoint = await anext(stated, None)
        edge, wrong = Edge(), list[_Stated]()
        tiles = _Rows(connection, _TILES, ("number",))
        async for hashes in self._leaves(connection):
            at = 0
            while at < len(hashes):
                end = len(hashes)
                if checkpoint is not None:
                    end = min(end, max(at + checkpoint.size - edge.size, at + 1))
                grown = grow(edge, hashes[at:end])
                edge, at = grown.edge, end
                await self._tiles(connection, tiles, grown)
                while checkpoint is not None and checkpoint.size <= edge.size:
                    if checkpoint.size < edge.size or checkpoint.root != edge.root():
                        wrong.append(checkpoint)
                        del wrong[1:-1]
                        self._report.wrong_checkpoints += 1
                    checkpoint = await anext(stated, None)
        self._report.leaves = edge.size
        self._tell_wrong(wrong)
        while checkpoint is not None:
            self._fault(f"{checkpoint.where} states {checkpoint.size} events, and the log has {edge.size}")
            checkpoint = await anext(stated, None)
        if (extra := await tiles.next()) is not None:
            self._fault(f"the kept {Tile(0, extra.number).path} is past the end of the log")

    async def _attestations(self, connection: AsyncConnection) -> None:
        """Hold what others said of checkpoints against their keys, and against what lies in the folder."""
        rows = _Rows(connection, _ATTESTATIONS, ("size", "origin", "kind"))
        while (row := await rows.next()) is not None:
            what = f"the {_SAID.get(row.kind, row.kind)} of the checkpoint of {row.size}"
            said, attestor = _bytes(row.content), self._attestors.get(row.kind)
            if row.note is None:
                self._fault(f"{what} is there, and that checkpoint is not")
                continue
            if attestor is None:
                self._report.attestations_of_others += 1
                continue
            self._report.attestations += 1
            if not attestor.vouches(row.note.encode(), said):
                self._fault(f"{what} is not one of who is named in the configuration, or not of this checkpoint")
            elif self._folder is not None and row.origin == self._folder.origin:
                published = self._folder.beside(row.size, row.kind)
                if published is not None and published != said:
                    self._fault(f"{what} that is published is another than the one that is kept")

    def _tell_wrong(self, wrong: Sequence[_Stated]) -> None:
        """Tell of checkpoints that state other roots: the first, and how many more there are."""
        if wrong:
            self._fault(f"{wrong[0].where} states another root than its first {wrong[0].size} events have")
        if self._report.wrong_checkpoints > 1:
            self._fault(f"{self._report.wrong_checkpoints - 1} more do, up to {wrong[-1].where}")

    async def _tiles(self, connection: AsyncConnection, tiles: _Rows, grown: Growth) -> None:
        for tile, data in grown.tiles:
            if tile.width == TILE_WIDTH:
                await self._tile(connection, tiles, tile, data)

    async def _leaves(self, connection: AsyncConnection) -> AsyncIterator[list[bytes]]:
        """Give the leaves' hashes in their order; for one that is not there, the hash that the tiles have for it."""
        rows = _Rows(connection, _LEAVES, ("position",))
        expected = 0
        while page := await rows.page():
            hashes: list[bytes] = []
            for row in page:
                if row.position != expected:
                    self._fault(f"leaves {expected} to {row.position - 1} are missing")
                    while expected < row.position:
                        hashes.append(await _tile_hash(connection, expected))
                        expected += 1
                        if len(hashes) >= _PAGE:
                            yield hashes
                            hashes = []
                if row.hash is None:
                    self._fault(f"leaf {row.position} is of an event that is not there")
                found = _bytes(row.hash)
                hashes.append(found if len(found) == HASH_SIZE else await _tile_hash(connection, row.position))
                expected += 1
            yield hashes

    async def _tile(self, connection: AsyncConnection, tiles: _Rows, tile: Tile, data: bytes) -> None:
        """Hold a computed full tile against the kept one and the published one; names the events that differ."""
        if tile.level == 0:
            row = await tiles.next()
            kept = _bytes(row.hashes) if row is not None and row.number == tile.index else None
        else:
            column = tables.evidence_tile.c
            where = (column.level == tile.level, column.number == tile.index)
            row = (await connection.execute(sa.select(column.hashes, column.root).where(*where))).one_or_none()
            kept = _bytes(row.hashes) if row is not None else None
        if row is None or kept is None:
            self._fault(f"the kept {tile.path} is missing")
        else:
            await self._differ(connection, tile, data, kept, "kept")
            if _bytes(row.root) != Edge(TILE_WIDTH, (kept,)).root():
                self._fault(f"the kept {tile.path} has another root than its hashes")
        if self._folder is not None and (published := self._folder.tile(tile)) is not None:
            await self._differ(connection, tile, data, published, "published")

    async def _differ(self, connection: AsyncConnection, tile: Tile, data: bytes, other: bytes, which: str) -> None:
        if data == other:
            return
        if tile.level or len(data) != len(other):
            self._fault(f"the {which} {tile.path} is not what its events make it")
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
            self._fault(f"it is not what the {which} {tile.path} has at leaf {row.position}", row.message_id, row.seq)

    async def _stated(self, connection: AsyncConnection) -> AsyncIterator[_Stated]:
        """Give what all checkpoints state, kept and published, by size; one that is not ours is a fault."""
        rows = _Rows(connection, _CHECKPOINTS, ("size", "origin"))
        row, largest = await rows.next(), 0
        newest, sizes = None, list[int]()
        if self._folder is not None:
            newest = self._read_published(self._folder.newest)
            there = set(self._folder.sizes())
            if newest is not None:
                there.add(newest.checkpoint.size)
            sizes = sorted(there)
        for size in [*sizes, None]:
            while row is not None and (size is None or row.size <= size):
                self._report.checkpoints += 1
                self._check_kept(row)
                if self._folder is not None and row.origin == self._folder.origin:
                    largest = row.size
                yield _Stated(row.size, _bytes(row.root), f"the kept checkpoint of {row.size}")
                row = await rows.next()
            for published in self._published(size, newest):
                yield published
        known = max([largest, *sizes])
        if self._folder is not None and newest is None and known:
            self._fault(f"{self._folder.path} has no newest checkpoint that is ours, and one of {known} was signed")
        elif newest is not None and newest.checkpoint.size < known:
            size = newest.checkpoint.size
            self._fault(f"the published newest checkpoint is an old one, of {size}: one of {known} was signed")

    def _published(self, size: int | None, newest: Published | None) -> Iterator[_Stated]:
        """Give what is published for a size: by its own file, and where it is the newest, by that."""
        if size is None or self._folder is None:
            return
        published = self._read_published(partial(self._folder.of_size, size))
        if published is not None:
            self._report.published += 1
            yield _Stated(size, published.checkpoint.root, f"the published checkpoint of {size}")
        if newest is not None and newest.checkpoint.size == size:
            self._report.published += published is None
            yield _Stated(size, newest.checkpoint.root, "the published newest checkpoint")

    def _read_published(self, read: Callable[[], Published | None]) -> Published | None:
        try:
            return read()
        except FolderError as error:
            self._fault(str(error))
            return None

    def _check_kept(self, row: Any) -> None:
        """Hold a kept checkpoint's columns against its note, and its note against our keys."""
        if self._folder is None:
            return
        try:
            opened = self._folder.opened(row.note.encode())
        except NoteError as error:
            self._fault(f"the kept checkpoint of {row.size}: {error}")
            return
        if (opened.origin, opened.size, opened.root) != (row.origin, row.size, _bytes(row.root)):
            self._fault(f"the kept checkpoint of {row.size} is not what its signed note states")


@dataclass(frozen=True, slots=True)
class _Stated:
    size: int
    root: bytes
    where: str


# ------------------------------------------------------------------------------------------------------------- reading


class _UnreadableError(Exception):
    """A row holds what Bode never writes: on SQLite a hand can put text where a time or an id must be."""


class _Rows:
    """The rows of a query in the order of a key, in pages or one by one; no more than a page is in memory."""

    def __init__(self, connection: AsyncConnection, query: sa.Select[*tuple[Any, ...]], key: Sequence[str]) -> None:
        columns = [query.selected_columns[name] for name in key]
        self._connection = connection
        self._query = query.order_by(*columns).limit(_PAGE)
        self._columns = columns
        self._key = key
        self._last: tuple[Any, ...] | None = None
        self._rest: Iterator[Any] = iter(())

    async def page(self) -> Sequence[Any]:
        """Give the next page; an empty one at the end."""
        query = self._query
        if self._last is not None:
            binds = (
                sa.bindparam(None, value, type_=column.type)
                for value, column in zip(self._last, self._columns, strict=True)
            )
            query = query.where(sa.tuple_(*self._columns) > sa.tuple_(*binds))
        try:
            rows: Sequence[Any] = (await self._connection.execute(query)).all()
        except (ValueError, TypeError) as error:
            raise _UnreadableError(self._columns[0].table.name) from error
        if rows:
            self._last = tuple(getattr(rows[-1], name) for name in self._key)
        return rows

    async def next(self) -> Any:
        """Give the next row; none at the end."""
        row = next(self._rest, None)
        if row is None:
            self._rest = iter(await self.page())
            row = next(self._rest, None)
        return row


@asynccontextmanager
async def _snapshot(database: Database) -> AsyncGenerator[AsyncConnection]:
    """Give a connection that sees the database as it is at this moment, however long it reads."""
    async with database.read() as connection:
        if database.is_sqlite:
            await connection.exec_driver_sql("BEGIN")
        else:
            await connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield connection


async def _tile_hash(connection: AsyncConnection, position: int) -> bytes:
    """Give the hash that the tiles have for a leaf; where they have none, one that no event has."""
    column = tables.evidence_tile.c
    hashes = await connection.execute(
        sa.select(column.hashes).where(column.level == 0, column.number == position // TILE_WIDTH)
    )
    kept = hashes.scalar_one_or_none()
    at = position % TILE_WIDTH * HASH_SIZE
    return _bytes(kept)[at : at + HASH_SIZE].ljust(HASH_SIZE, b"\0")


def _bytes(value: object) -> bytes:
    """Give bytes as they are; what a hand put in their place, on SQLite anything, is none."""
    return value if isinstance(value, bytes) else b""


_event, _leaf, _pending = tables.event.c, tables.evidence_leaf.c, tables.event_pending.c
_EVENTS = (
    sa.select(
        _event.message_id,
        _event.seq,
        _event.name,
        _event.part,
        _event.at,
        _event.recorded_at,
        _event.envelope,
        _event.hash,
        _leaf.position,
        _pending.event_id.label("waiting"),
    )
    .join_from(tables.event, tables.evidence_leaf, _leaf.event_id == _event.id, isouter=True)
    .join(tables.event_pending, _pending.event_id == _event.id, isouter=True)
)
_detail, _content = tables.event_detail.c, tables.content.c
_EVENTS_WITH_DETAILS = (
    _EVENTS.add_columns(_detail.salt, _detail.sealed, _content.wrapped_key)
    .join(
        tables.event_detail,
        sa.and_(_detail.message_id == _event.message_id, _detail.seq == _event.seq),
        isouter=True,
    )
    .join(tables.content, _content.message_id == _event.message_id, isouter=True)
)
_LEAVES = sa.select(_leaf.position, _event.hash).join_from(
    tables.evidence_leaf, tables.event, _leaf.event_id == _event.id, isouter=True
)
_DELIVERIES = sa.select(
    tables.delivery.c.message_id,
    tables.delivery.c.organisation,
    tables.delivery.c.state,
    tables.delivery.c.outcome,
    tables.delivery.c.document,
    tables.delivery.c.event_seq,
    tables.delivery.c.event_hash,
)
_TILES = sa.select(tables.evidence_tile.c.number, tables.evidence_tile.c.hashes, tables.evidence_tile.c.root).where(
    tables.evidence_tile.c.level == 0
)
_CHECKPOINTS = sa.select(tables.evidence_checkpoint)
_ATTESTATIONS = sa.select(tables.evidence_attestation, tables.evidence_checkpoint.c.note).outerjoin_from(
    tables.evidence_attestation,
    tables.evidence_checkpoint,
    (tables.evidence_attestation.c.origin == tables.evidence_checkpoint.c.origin)
    & (tables.evidence_attestation.c.size == tables.evidence_checkpoint.c.size),
)
_SAID = {"timestamp": "time stamp", "witness": "witness's signature"}
