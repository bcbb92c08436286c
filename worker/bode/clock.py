"""The time now. Everything that has legal weight asks a `Clock`; a demo's clock may run faster than life.

A process's own clock can be wrong, and can be set while it runs. Leases and deadlines are about several processes, so
they go by the one clock that all share: the database's. A process asks for it at its start and every few seconds
(`agree`), and in between counts on with a timer that nobody can set. What its own clock says no longer matters.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import structlog
from prometheus_client import Gauge

log = structlog.get_logger()

OFFSET = Gauge("bode_clock_offset_seconds", "How far this process's own clock is ahead of the database's.")

_WORTH_TELLING = timedelta(seconds=2)
_SLOW_ANSWER_SECONDS = 1.0
"""An answer that took longer than this says too little; it is used only when there is no other."""


def _wall() -> datetime:
    return datetime.now(UTC)


@dataclass(slots=True)
class Clock:
    """Life's clock, or one `factor` times as fast since `origin`: the same for every process that has both."""

    factor: float = 1.0
    origin: datetime | None = None
    wall: Callable[[], datetime] = _wall
    timer: Callable[[], float] = time.monotonic
    _agreed: tuple[datetime, float] | None = field(default=None, init=False)
    """What the database's clock said, and our timer at that moment."""

    def now(self) -> datetime:
        """Give the time that counts: for deadlines, evidence, letters."""
        real = self.real()
        if self.origin is None:
            return real
        return self.origin + (real - self.origin) * self.factor

    def real(self) -> datetime:
        """Give the time on the wall: for leases and time-outs, which are about machines."""
        if self._agreed is None:
            return self.wall()
        told, at = self._agreed
        return told + timedelta(seconds=self.timer() - at)

    def real_wait(self, wait: timedelta) -> float:
        """Give the seconds on the wall that this wait takes."""
        return wait.total_seconds() / self.factor

    async def agree(self, ask: Callable[[], Awaitable[datetime]]) -> timedelta:
        """Go by the clock that `ask` reads from now on; gives how far our own is ahead of it."""
        asked = self.timer()
        told = await ask()
        answered = self.timer()
        if self._agreed is None or answered - asked <= _SLOW_ANSWER_SECONDS:
            # It was read somewhere between question and answer: half-way, the error is half the wait at most.
            self._agreed = told, (asked + answered) / 2
        ahead = self.wall() - self.real()
        OFFSET.set(ahead.total_seconds())
        return ahead

    async def keep_agreeing(self, ask: Callable[[], Awaitable[datetime]], every_seconds: float) -> None:
        """Ask again and again until cancelled; while the database is away the timer counts on."""
        while True:
            try:
                ahead = await self.agree(ask)
            except Exception as error:  # noqa: BLE001 - whatever it is, the next round asks again
                log.warning("clock.not_asked", error=type(error).__name__)
            else:
                if abs(ahead) > _WORTH_TELLING:
                    log.warning("clock.is_wrong", ahead_seconds=round(ahead.total_seconds()))
            await asyncio.sleep(every_seconds)
