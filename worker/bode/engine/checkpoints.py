"""Checkpoints: the log's size and root, signed, and published where the database cannot reach.

Before anything is signed, what was published last is held against the database: after a restore, or a hand in the
tables, the log may be smaller or another one, and a second signature would make both look true. Then signing stops, is
told, and does not begin again by itself; putting events in the log goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import islice
from typing import Protocol

import structlog
from prometheus_client import Counter, Gauge
from sqlalchemy.ext.asyncio import AsyncConnection

from bode.clock import Clock
from bode.evidence.merkle import ReadTile, Tile
from bode.evidence.note import Checkpoint, SigningKey
from bode.store import evidence_log
from bode.store.database import Database
from bode.store.log_folder import FolderError, LogFolder, Published, changed_tiles

log = structlog.get_logger()

_TILES_AT_ONCE = 64

REFUSED = Gauge(
    "bode_evidence_signing_refused", "1 while checkpoints are not signed: see the log event evidence.signing_refused."
)
ATTESTED = Counter("bode_evidence_attestations_total", "Time stamps and witness signatures.", ["kind", "outcome"])

ProveGrowth = Callable[[int], Awaitable[Sequence[bytes]]]
"""Gives the proof that the log grew from a size to the checkpoint's."""


class SigningRefusedError(Exception):
    """A checkpoint is not signed, because it would contradict what was published. Says what to do."""

    def __init__(self, code: str, detail: str) -> None:
        """Keep the code as an attribute."""
        super().__init__(detail)
        self.code = code


class Attestor(Protocol):
    """Another organisation that says something to a checkpoint: when it was there, or that the log only grew."""

    kind: str
    """`timestamp` or `witness`; the file beside the published checkpoint ends in it too."""

    async def attest(self, note: bytes, checkpoint: Checkpoint, prove: ProveGrowth) -> bytes:
        """Give what it says, checked. Raises `AttestationError`."""
        ...

    def vouches(self, note: bytes, said: bytes) -> bool:
        """Tell whether this is something that it said of a signed checkpoint; without asking it."""
        ...


class AttestationError(Exception):
    """A time stamp or a witness's signature did not come, or is not what was asked for. A later one is tried."""


class Checkpoints:
    """Signs and publishes the checkpoints of one log."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        folder: LogFolder,
        key: SigningKey,
        *,
        every_seconds: float,
        attestors: Sequence[Attestor] = (),
    ) -> None:
        """Take the log's database, where it is published, and the key that signs."""
        self._database = database
        self._clock = clock
        self._folder = folder
        self._key = key
        self._every = every_seconds
        self._attestors = tuple(attestors)

    async def run(self) -> None:
        """Publish, and have others attest, until cancelled; nothing here holds up anything else."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._run_publishing())
            for attestor in self._attestors:
                tasks.create_task(self._run_attesting(attestor))

    async def _run_publishing(self) -> None:
        while True:
            try:
                await self.publish()
            except SigningRefusedError as error:
                log.error("evidence.signing_refused", reason=error.code, detail=str(error))
            except Exception as error:  # noqa: BLE001 - the database or the folder is away: nothing may end this
                log.error("evidence.publishing_failed", error=type(error).__name__)
            await asyncio.sleep(self._every)

    async def _run_attesting(self, attestor: Attestor) -> None:
        while True:
            await asyncio.sleep(self._every)
            try:
                await self.attest(attestor)
            except AttestationError as error:
                ATTESTED.labels(attestor.kind, "failed").inc()
                log.warning("evidence.not_attested", kind=attestor.kind, detail=str(error))
            except Exception as error:  # noqa: BLE001 - as above
                ATTESTED.labels(attestor.kind, "failed").inc()
                log.error("evidence.attesting_failed", kind=attestor.kind, error=type(error).__name__)

    # ---- signing ---------------------------------------------------------------------------------------------------

    async def publish(self) -> int | None:
        """Sign and publish the log as it is now; gives its size, or nothing where there is nothing new to sign.

        Raises `SigningRefusedError` where it would contradict what was published before.
        """
        with self._folder.alone() as alone:
            if not alone:
                return None
            try:
                size = await self._publish()
            except SigningRefusedError:
                REFUSED.set(1)
                raise
            REFUSED.set(0)
            return size

    async def _publish(self) -> int | None:
        async with self._database.read() as connection:
            size = await evidence_log.length(connection)
            kept = await evidence_log.latest_checkpoint(connection, self._folder.origin)
            try:
                last = await asyncio.to_thread(self._folder.newest)
            except FolderError as error:
                raise SigningRefusedError(
                    "unreadable", f"{error}. Put the file back as it was published, from a copy of the folder"
                ) from error
            if last is None and kept is not None:
                raise SigningRefusedError(
                    "folder_lost",
                    f"{self._folder.path} has no checkpoint, and this log signed one of {kept.size} events. Put the "
                    "folder back; where it is lost for good, write it anew with 'bode evidence republish'",
                )
            if kept is not None:
                await self._must_follow(connection, size, Checkpoint(kept.origin, kept.size, kept.root))
            if last is not None:
                await self._must_follow(connection, size, last.checkpoint)
            root = (await evidence_log.read_right_edge(connection, size)).root()
        if last is not None and (kept is None or kept.size < last.checkpoint.size):
            await self._keep(last)  # Published, and then the process ended before it was kept.
        before = last.checkpoint.size if last is not None else 0
        if size == before:
            return None
        checkpoint = Checkpoint(self._folder.origin, size, root)
        again = kept is not None and kept.size == size
        new = Published(checkpoint, kept.note.encode() if kept and again else checkpoint.sign(self._key).encode())
        await self._write(before, new)
        await self._keep(new)
        log.info("evidence.published", size=size)
        return size

    async def _must_follow(self, connection: AsyncConnection, size: int, known: Checkpoint) -> None:
        """Raise `SigningRefusedError` unless the log began as this checkpoint states."""
        what_to_do = (
            "Restore a backup that has these events, or give it the later transactions (point in time recovery). Where "
            "they are lost for good: name a new evidence.origin and a new evidence.folder, make a key for it with "
            "'bode keys evidence rotate', and keep the old folder, which proves what was signed"
        )
        if known.size > size:
            raise SigningRefusedError(
                "smaller",
                f"the log has {size} events, and a checkpoint of {known.size} was published: the database is older "
                f"than what was signed. {what_to_do}",
            )
        if (await evidence_log.read_right_edge(connection, known.size)).root() != known.root:
            raise SigningRefusedError(
                "forked",
                f"the first {known.size} events of the log are not those of the published checkpoint: this is another "
                f"log, or it was changed; 'bode evidence audit' says where. {what_to_do}",
            )

    async def republish(self) -> int:
        """Write the folder anew from the database, up to the last checkpoint that was signed; gives its size.

        For a folder that was lost: the database is believed. Raises `SigningRefusedError` where there is one.
        """
        with self._folder.alone() as alone:
            if not alone or await asyncio.to_thread(self._folder.newest) is not None:
                raise SigningRefusedError("in_use", f"{self._folder.path} has a checkpoint: it is not written anew")
            async with self._database.read() as connection:
                kept = await evidence_log.latest_checkpoint(connection, self._folder.origin)
                if kept is None:
                    raise SigningRefusedError("nothing_signed", "no checkpoint of this log was signed yet")
                checkpoint = Checkpoint(kept.origin, kept.size, kept.root)
                await self._must_follow(connection, await evidence_log.length(connection), checkpoint)
            await self._write(0, Published(checkpoint, kept.note.encode()))
            return kept.size

    async def _write(self, before: int, new: Published) -> None:
        """Publish what a checkpoint needs, and then the checkpoint."""
        tiles = changed_tiles(before, new.checkpoint.size)
        while chunk := list(islice(tiles, _TILES_AT_ONCE)):
            async with self._database.read() as connection:
                read = await evidence_log.read_tiles(connection, chunk)
            await asyncio.to_thread(self._put_tiles, chunk, read)
        await asyncio.to_thread(self._folder.put_checkpoint, new.checkpoint.size, new.note, newest=True)

    def _put_tiles(self, tiles: Sequence[Tile], read: ReadTile) -> None:
        for tile in tiles:
            self._folder.put_tile(tile, read(tile))

    async def _keep(self, published: Published) -> None:
        checkpoint = published.checkpoint
        async with self._database.write() as connection:
            await evidence_log.keep_checkpoint(
                connection,
                origin=checkpoint.origin,
                size=checkpoint.size,
                root=checkpoint.root,
                note=published.note.decode(),
                published_at=self._clock.now(),
            )

    # ---- others ----------------------------------------------------------------------------------------------------

    async def attest(self, attestor: Attestor) -> bool:
        """Have another attest the newest checkpoint, if it did not yet. Raises `AttestationError`."""
        async with self._database.read() as connection:
            newest = await evidence_log.latest_checkpoint(connection, self._folder.origin)
        if newest is None or attestor.kind in newest.attestations:
            return False

        async def prove(old: int) -> Sequence[bytes]:
            async with self._database.read() as connection:
                return await evidence_log.prove_growth(connection, old, newest.size)

        checkpoint = Checkpoint(newest.origin, newest.size, newest.root)
        content = await attestor.attest(newest.note.encode(), checkpoint, prove)
        async with self._database.write() as connection:
            await evidence_log.keep_attestation(
                connection,
                origin=newest.origin,
                size=newest.size,
                kind=attestor.kind,
                content=content,
                received_at=self._clock.now(),
            )
        await asyncio.to_thread(self._folder.put_beside, newest.size, attestor.kind, content)
        ATTESTED.labels(attestor.kind, "kept").inc()
        return True
