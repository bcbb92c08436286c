"""Guards a lane against itself: many sender-side refusals in a short time mean that our mail is the problem."""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta

from bode.clock import Clock


class SenderSideGuard:
    """Counts sender-side refusals per lane in a sliding window, and tells when there are too many."""

    def __init__(self, *, clock: Clock, window: timedelta = timedelta(minutes=10)) -> None:
        """Count in a window of this length."""
        self._window = window
        self._clock = clock
        self._seen: dict[str, deque[datetime]] = {}

    def trips(self, lane: str, most: int) -> bool:
        """Count one, and tell whether the lane is to be stopped; after that the count starts anew.

        `most` are allowed: one recipient's filter must not stop a lane, a blocklist must.
        """
        now = self._clock.real()
        seen = self._seen.setdefault(lane, deque())
        seen.append(now)
        while seen and seen[0] < now - self._window:
            seen.popleft()
        if len(seen) <= most:
            return False
        seen.clear()
        return True
