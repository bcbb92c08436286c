"""The sweeper: a plain loop that finds what is due, what was left behind, and what must be woken.

Works with the broker down. Of several that run one makes the passes, and another goes on when that one dies; each pass
locks what it takes all the same, for a sweeper that was stopped may wake in the middle of another's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta

import structlog
from prometheus_client import Counter, Gauge

from bode.domain import events as ev
from bode.engine.lanes import Lanes
from bode.engine.parts import Parts
from bode.failpoints import Point, failpoint
from bode.store import steps
from bode.store.database import DATABASE_AWAY
from bode.store.record import Ring, lock, write
from bode.store.steps import Left

log = structlog.get_logger()

TAKEN_OVER = Counter("bode_steps_taken_over_total", "Steps whose worker was lost, found by the sweeper.")
WOKEN = Counter("bode_steps_woken_total", "Steps woken for an alarm moment, a deadline or an overdue answer.")
LAST_SWEEP = Gauge("bode_last_sweep_timestamp_seconds", "When the last whole sweep ended, on the wall (Unix time).")
_PART_SECONDS = 120.0
"""The longest that a part of a pass may take: one that hangs would stop everything that waits for the next pass."""

Inbound = Callable[[], Awaitable[int]]


class Sweeper:
    """Sweeps one database."""

    def __init__(self, parts: Parts, lanes: Lanes, ring: Ring, inbound: Inbound) -> None:
        """Take the parts; `inbound` works what came in and was not decided yet."""
        self._parts = parts
        self._lanes = lanes
        self._ring = ring
        self._inbound = inbound
        self._take_over_from: datetime | None = None

    async def run(self, every_seconds: float) -> None:
        """Sweep until cancelled. Whatever a pass meets is logged, and the next one tries again."""
        while True:
            await self.sweep()
            await asyncio.sleep(every_seconds)

    async def sweep(self) -> bool:
        """Make one pass, unless another sweeper is making one; tells whether nothing went wrong."""
        try:
            async with self._parts.database.sweeping_alone() as alone:
                return await self.make_pass() if alone else True
        except DATABASE_AWAY as error:
            self._wait_for_workers()
            log.error("sweeper.failed", part="sweeping_alone", error=type(error).__name__)
            return False

    async def make_pass(self) -> bool:
        """Make one pass, and tell whether it was whole: what stops one part of it does not stop the others."""
        parts = (self._settle, self._take_over, self._wake, self._promote, self._inbound, self._ring_for_all)
        whole = all([await self._guarded(part) for part in parts])
        if whole:
            LAST_SWEEP.set_to_current_time()
        return whole

    async def _guarded(self, part: Callable[[], Awaitable[object]]) -> bool:
        try:
            async with asyncio.timeout(_PART_SECONDS):
                await part()
        except Exception as error:  # noqa: BLE001 - everything else leans on the sweeper: nothing may end it
            if isinstance(error, DATABASE_AWAY):
                self._wait_for_workers()
            log.error("sweeper.failed", part=part.__name__.strip("_"), error=type(error).__name__)
            return False
        return True

    def _wait_for_workers(self) -> None:
        """Take nothing over for one lease, now that the database was away: first they record what they have in hand."""
        self._take_over_from = self._parts.clock.real() + timedelta(seconds=self._parts.lease_seconds)

    async def _promote(self) -> None:
        """Make ready what is due."""
        async with self._parts.database.write() as connection:
            await steps.promote(connection, self._parts.clock.now())

    async def _ring_for_all(self) -> None:
        """Ring for every lane that has work: a ring that was lost is made good here."""
        async with self._parts.database.read() as connection:
            ready = await steps.ready_lanes(connection, cap=self._parts.chunk * 16)
            ready |= dict.fromkeys(await steps.lanes_to_probe(connection, self._parts.clock.real()), 1)
        for lane in ready:
            if await self._lanes.rules.only_before(lane) is not None:
                ready[lane] = 1  # In its quiet hours most of it waits: one worker looks for what cannot.
        await self._ring(ready)

    async def _settle(self) -> None:
        """Settle what the journals of dead workers tell, before their leases end and all they had is in doubt."""
        await self._lanes.settle()

    async def _take_over(self) -> None:
        """Find out about steps whose worker died: what it did is unknown."""
        real_now = self._parts.clock.real()
        if self._take_over_from is not None and real_now < self._take_over_from:
            return
        async with self._parts.database.read() as connection:
            found = await steps.expired(connection, real_now)
        await self._decide(found, self._took_over)

    async def _took_over(self, found: Sequence[Left]) -> None:
        real_now = self._parts.clock.real()
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
            await failpoint(Point.TAKE_OVER_BEFORE_COMMIT)
        await failpoint(Point.TAKE_OVER_AFTER_COMMIT)
        TAKEN_OVER.inc(len(taken))
        log.warning("sweeper.took_over", steps=len(taken))
        await self._lanes.announce(written)

    async def _wake(self) -> None:
        """Let the clock strike where a step asked for it: alarms, deadlines, overdue answers."""
        async with self._parts.database.read() as connection:
            found = await steps.to_wake(connection, self._parts.clock.now())
        await self._decide(found, self._woke)

    async def _woke(self, found: Sequence[Left]) -> None:
        now = self._parts.clock.now()
        async with self._parts.database.write() as connection:
            ledgers = await lock(connection, [item.message_id for item in found], self._parts.vault)
            woken = await steps.take_wakes(connection, found, now)
            for item in found:
                if item.id in woken and item.message_id in ledgers:
                    ledgers[item.message_id].apply(ev.ClockStruck(item.part), self._parts.policy, now)
            written = await write(connection, ledgers, policy=self._parts.policy, vault=self._parts.vault, now=now)
        WOKEN.inc(len(woken))
        await self._lanes.announce(written)

    async def _decide(self, found: Sequence[Left], decide: Callable[[Sequence[Left]], Awaitable[None]]) -> None:
        """Decide what was found in one transaction; one that cannot be decided is left out, and the others are."""
        if not found:
            return
        try:
            await decide(found)
        except DATABASE_AWAY:
            raise  # The database is away: the next pass tries again.
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one message must not hold up the others
            if len(found) == 1:
                message, part = str(found[0].message_id), found[0].part
                log.error("sweeper.cannot_decide", message=message, part=part, error=type(error).__name__)
                return
            for item in found:
                await self._decide([item], decide)
