"""The teller: puts changes of state in the feed, apart from the workers' transactions, and forgets the old ones.

More than one may run: whoever numbers changes holds the feed's row (see `bode.store.changes`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from bode.clock import Clock
from bode.store import changes, repeats
from bode.store.changes import Change
from bode.store.database import Database

log = structlog.get_logger()

EVERY_SECONDS = 0.5
OnNumbered = Callable[[AsyncConnection, Sequence[Change]], Awaitable[None]]
"""Told of changes in the transaction that numbers them: what it writes is there for each of them, once."""
_LONGEST_WAIT = 10.0
_PURGE_EVERY = 3600.0


class Teller:
    """Keeps the feed of one database."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        on_numbered: OnNumbered | None = None,
        every_seconds: float = EVERY_SECONDS,
    ) -> None:
        """Take the database, the clock that says how old a change is, and who writes down what else is to be told."""
        self._on_numbered = on_numbered
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
            found = await changes.number(connection)
            if found and self._on_numbered is not None:
                await self._on_numbered(connection, found)
            return len(found)

    async def purge(self) -> int:
        """Forget changes older than 90 days, and answers that are repeated for a day; gives how many changes."""
        async with self._database.write() as connection:
            await repeats.purge(connection, self._clock.now())
            return await changes.purge(connection, self._clock.now())
