"""Keeps the store of documents in step with the database: removes what is purged, and sweeps away what nobody names."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from datetime import datetime, timedelta

import sqlalchemy as sa
import structlog
from prometheus_client import Counter

from bode.clock import Clock
from bode.store import bulk, tables
from bode.store.database import DATABASE_AWAY, Database
from bode.store.documents import Documents, DocumentsAwayError, Stored

log = structlog.get_logger()

ORPHANS = Counter("bode_documents_orphaned_total", "Objects in the store of documents that no row named, removed.")
EVERY_SECONDS = 86_400.0
"""A sweep lists everything that is there."""


async def remove(documents: Documents, names: Collection[str]) -> None:
    """Remove what a purge left without a row, after its commit. What cannot be removed now is found by the sweep."""
    if not names:
        return
    try:
        await documents.remove(names)
    except DocumentsAwayError as error:
        log.error("documents.not_removed", count=len(names), error=str(error))


class DocumentSweep:
    """Removes objects that no row names: of a transaction that did not commit, or that could not be removed then."""

    def __init__(self, documents: Documents, database: Database, clock: Clock, *, grace: timedelta) -> None:
        """Take the store, and how old an object is that cannot be on its way into a transaction any more."""
        self._documents = documents
        self._database = database
        self._clock = clock
        self._grace = grace

    async def run(self) -> None:
        """Sweep until cancelled; what cannot be done now is done the next time."""
        while True:
            try:
                await self.sweep()
            except DATABASE_AWAY as error:
                log.error("documents.sweep_failed", error=type(error).__name__)
            await asyncio.sleep(EVERY_SECONDS)

    async def sweep(self) -> int:
        """Sweep once; gives how many were removed. Raises what the database or the store raises while it is away."""
        before, removed = self._clock.real() - self._grace, 0
        async for some in self._documents.listed():
            orphans = await self._orphans(some, before)
            await self._documents.remove(orphans)
            removed += len(orphans)
        ORPHANS.inc(removed)
        if removed:
            log.info("documents.swept", count=removed)
        return removed

    async def _orphans(self, some: Collection[Stored], before: datetime) -> set[str]:
        old = {item.name for item in some if item.modified_at < before}
        if not old:
            return old
        column = tables.document.c.object
        async with self._database.read() as connection:
            found = await connection.execute(sa.select(column).where(bulk.among(connection, column, old)))
            return old - set(found.scalars())
