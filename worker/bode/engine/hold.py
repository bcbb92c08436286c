"""A chunk in hand: how long it is ours, and the calls that must end before it no longer is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime

from bode.clock import Clock

_SPARE = 0.05
"""The part of a lease that is kept free at its end: a call has ended before others may take its steps over."""


@dataclass(slots=True, eq=False)
class Hold:
    """A worker's hold on a chunk, as far as the database has confirmed it. A heartbeat renews it."""

    clock: Clock
    until: datetime
    lease_seconds: float
    _calls: dict[asyncio.Timeout, float] = field(default_factory=dict[asyncio.Timeout, float], init=False)
    """The calls that are being made, and when each has taken too long, by the loop's time."""

    @property
    def left(self) -> float:
        """The seconds in which a call may still be made; none when it is zero or less."""
        return (self.until - self.clock.real()).total_seconds() - self.lease_seconds * _SPARE

    @property
    def is_over(self) -> bool:
        """Whether others may have taken the steps over."""
        return self.left <= 0

    @asynccontextmanager
    async def call(self, limit_seconds: float) -> AsyncGenerator[None]:
        """Bound a call: by its own limit, and by the end of the hold, however often that is renewed meanwhile.

        Raises `TimeoutError` when either is over.
        """
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(min(limit_seconds, self.left)) as timeout:
            self._calls[timeout] = loop.time() + limit_seconds
            try:
                yield
            finally:
                del self._calls[timeout]

    def renew(self, until: datetime) -> None:
        """Go on until then: the database has it."""
        self.until = until
        now = asyncio.get_running_loop().time()
        for timeout, latest in self._calls.items():
            if not timeout.expired():
                timeout.reschedule(min(latest, now + self.left))
