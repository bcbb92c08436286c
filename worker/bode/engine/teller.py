"""The teller: puts changes of state in the feed, apart from the workers' transactions, and forgets the old ones.

More than one may run: whoever numbers changes holds the feed's row (see `bode.store.changes`).
"""

from __future__ import annotations

import asyncio

import structlog

from bode.clock import Clock
from bode.store import changes
from bode.store.database import Database

log = structlog.get_logger()

EVERY_SECONDS = 0.5
_LONGEST_WAIT = 10.0
_PURGE_EVERY = 3600.0


class Teller:
    """Keeps the feed of one database."""

    def __init__(self, database: Database, clock: Clock, *, every_seconds: float = EVERY_SECONDS) -> None:
        """Take the database, and the clock that says how old a change is."""
        self._database = database
        self._clock = clock
        self._every = every_seconds

    async def run(self) -> None:
        """Work until cancelled. Whatever goes wrong is logged, and tried again: soon, and then less often."""
        wait, since_purge = self._every, _PURGE_EVERY
        while True:
            try:
                if since_purge >= _PURGE_EVERY:
                    await self.purge()
                    since_purge = 0.0
                await self.work()
            except Exception as error:  # noqa: BLE001 - what is to be told waits in the database: nothing may end this
                wait = min(wait * 2, _LONGEST_WAIT)
                log.error("teller.failed", error=type(error).__name__)
            else:
                wait = self._every
            since_purge += wait
            await asyncio.sleep(wait)

    async def work(self) -> int:
        """Put a batch of changes in the feed; gives how many."""
        async with self._database.read() as connection:
            if not await changes.anything_waits(connection):
                return 0
        async with self._database.write() as connection:
            return len(await changes.number(connection))

    async def purge(self) -> int:
        """Forget what is older than 90 days; gives how many changes."""
        async with self._database.write() as connection:
            return await changes.purge(connection, self._clock.now())
