"""The sweeper: a plain loop that finds what is due, what was left behind, and what must be woken.

Works with the broker down, and with several running at once: each pass locks what it takes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

import structlog
from prometheus_client import Counter, Gauge
from sqlalchemy.exc import DBAPIError

from bode.domain import events as ev
from bode.engine.lanes import Lanes
from bode.engine.parts import Parts
from bode.store import steps
from bode.store.record import lock, write
from bode.store.steps import Left

log = structlog.get_logger()

TAKEN_OVER = Counter("bode_steps_taken_over_total", "Steps whose worker was lost, found by the sweeper.")
WOKEN = Counter("bode_steps_woken_total", "Steps woken for an alarm moment, a deadline or an overdue answer.")
LAST_SWEEP = Gauge("bode_last_sweep_timestamp_seconds", "When the last whole sweep ended, on the wall (Unix time).")

Ring = Callable[[Mapping[str, int]], Awaitable[None]]
Inbound = Callable[[], Awaitable[int]]


class Sweeper:
    """Sweeps one database."""

    def __init__(self, parts: Parts, lanes: Lanes, ring: Ring, inbound: Inbound) -> None:
        """Take the parts; `inbound` works what came in and was not decided yet."""
        self._parts = parts
        self._lanes = lanes
        self._ring = ring
        self._inbound = inbound

    async def run(self, every_seconds: float) -> None:
        """Sweep until cancelled. Trouble with the database is logged, and the next pass tries again."""
        while True:
            try:
                await self.sweep()
            except (DBAPIError, OSError) as error:
                log.error("sweeper.failed", error=type(error).__name__)
            await asyncio.sleep(every_seconds)

    async def sweep(self) -> None:
        """Make one pass."""
        await self._take_over()
        await self._wake()
        async with self._parts.database.write() as connection:
            await steps.promote(connection, self._parts.clock.now())
            ready = await steps.ready_lanes(connection, cap=self._parts.chunk * 16)
        await self._inbound()
        await self._ring(ready)
        LAST_SWEEP.set_to_current_time()

    async def _take_over(self) -> None:
        """Find out about steps whose worker died: what it did is unknown."""
        real_now = self._parts.clock.real()
        async with self._parts.database.read() as connection:
            found = await steps.expired(connection, real_now)
        if not found:
            return
        async with self._parts.database.write() as connection:
            ledgers = await lock(connection, [item.message_id for item in found], self._parts.vault)
            taken = await steps.take_expired(connection, found, real_now)
            now = self._parts.clock.now()
            for item in found:
                if item.id in taken and item.message_id in ledgers:
                    call = str(item.call) if item.call is not None else None
                    lost = ev.LeaseExpired(item.part, call, item.called_at)
                    ledgers[item.message_id].apply(lost, self._parts.policy, now)
            written = await write(connection, ledgers, policy=self._parts.policy, vault=self._parts.vault, now=now)
        TAKEN_OVER.inc(len(taken))
        log.warning("sweeper.took_over", steps=len(taken))
        await self._lanes.announce(written)

    async def _wake(self) -> None:
        """Let the clock strike where a step asked for it: alarms, deadlines, overdue answers."""
        now = self._parts.clock.now()
        async with self._parts.database.read() as connection:
            found: Sequence[Left] = await steps.to_wake(connection, now)
        if not found:
            return
        async with self._parts.database.write() as connection:
            ledgers = await lock(connection, [item.message_id for item in found], self._parts.vault)
            woken = await steps.take_wakes(connection, found, now)
            for item in found:
                if item.id in woken and item.message_id in ledgers:
                    ledgers[item.message_id].apply(ev.ClockStruck(item.part), self._parts.policy, now)
            written = await write(connection, ledgers, policy=self._parts.policy, vault=self._parts.vault, now=now)
        WOKEN.inc(len(woken))
        await self._lanes.announce(written)
