"""The sequencer: puts events in the log over all events, in batches, apart from the workers' transactions.

More than one may run: each batch is one's own (see `bode.store.evidence_log.sequence`).
"""

from __future__ import annotations

import asyncio

import structlog

from bode.store.database import Database
from bode.store.evidence_log import BATCH, anything_waits, sequence

log = structlog.get_logger()

EVERY_SECONDS = 0.25
_LONGEST_WAIT = 5.0


class Sequencer:
    """Sequences one database."""

    def __init__(self, database: Database, *, every_seconds: float = EVERY_SECONDS, batch: int = BATCH) -> None:
        """Take a batch of at most so many events every so many seconds."""
        self._database = database
        self._every = every_seconds
        self._batch = batch

    async def run(self) -> None:
        """Sequence until cancelled. Whatever goes wrong is logged, and tried again: soon, and then less often."""
        wait = self._every
        while True:
            try:
                await self.work()
            except Exception as error:  # noqa: BLE001 - evidence waits in the database: nothing may end this
                wait = min(wait * 2, _LONGEST_WAIT)
                log.error("sequencer.failed", error=type(error).__name__)
            else:
                wait = self._every
            await asyncio.sleep(wait)

    async def work(self) -> int:
        """Sequence one batch, and give its size. Without anything to do it is one look at an empty table."""
        async with self._database.read() as connection:
            if not await anything_waits(connection):
                return 0
        async with self._database.write() as connection:
            return await sequence(connection, self._batch)
