"""How much mail each mail provider gets from us: so many at a time, so many a minute (`Destination` in the settings).

Providers slow down, and then block, who sends much at once. What is over a limit waits; it is not refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from math import ceil

from bode_adapters.email.settings import ANY_DOMAIN, Destination

MOST_OTHERS = 10_000
"""Domains without a limit of their own that are remembered before those at rest are forgotten."""


class Group:
    """One provider, or one domain that is nobody's in particular."""

    def __init__(self, limit: Destination) -> None:
        """Start with nothing on its way."""
        self._concurrency = limit.concurrency
        self._interval = 60 / limit.per_minute if limit.per_minute else 0.0
        self._burst = 1.0 if limit.per_minute is None else max(1.0, ceil(limit.per_minute / 60))
        self._on_their_way = 0
        self._earliest = 0.0
        """When a mail would be on time if all were sent at the even pace of the limit (a leaky bucket)."""

    def wait(self, now: float) -> float | None:
        """Give the seconds until a mail may go: 0 for at once, `None` for when another one has got its answer."""
        if self._concurrency is not None and self._on_their_way >= self._concurrency:
            return None
        return max(0.0, self._earliest - now - self._interval * (self._burst - 1))

    def leave(self, now: float) -> None:
        """Count a mail that goes now."""
        self._on_their_way += 1
        self._earliest = max(self._earliest, now) + self._interval

    def arrive(self) -> None:
        """Count a mail that got its answer."""
        self._on_their_way -= 1

    def at_rest(self, now: float) -> bool:
        """Whether it would be no different if it were made anew."""
        return self._on_their_way == 0 and self._earliest <= now


class Destinations:
    """The limits of one adapter, over all of its relays and calls."""

    def __init__(self, limits: Sequence[Destination], *, monotonic: Callable[[], float] = time.monotonic) -> None:
        """Take the limits; `monotonic` gives seconds."""
        self._monotonic = monotonic
        self._of_others = next((limit for limit in limits if ANY_DOMAIN in limit.domains), None)
        self._named: dict[str, Group] = {}
        for limit in limits:
            if limit is not self._of_others:
                group = Group(limit)
                self._named.update(dict.fromkeys(limit.domains, group))
        self._others: dict[str, Group] = {}
        self._changed = asyncio.Event()

    def group(self, domain: str) -> Group | None:
        """Give the group of a domain, or none where there is no limit."""
        domain = domain.lower().rstrip(".")
        named = self._named.get(domain)
        if named is not None or self._of_others is None:
            return named
        if len(self._others) >= MOST_OTHERS:
            now = self._monotonic()
            self._others = {name: group for name, group in self._others.items() if not group.at_rest(now)}
        return self._others.setdefault(domain, Group(self._of_others))

    def now(self) -> float:
        """Give the time by which groups count."""
        return self._monotonic()

    def arrive(self, group: Group) -> None:
        """Count a mail that got its answer, and wake who waits for that."""
        group.arrive()
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def change(self, seconds: float) -> None:
        """Wait until a mail got its answer, or so many seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()
