"""Guards a lane against itself: many sender-side refusals in a short time mean that our mail is the problem."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable


class SenderSideGuard:
    """Counts sender-side refusals per lane in a sliding window, and tells when there are too many."""

    def __init__(
        self, *, most: int = 20, window_seconds: float = 600.0, timer: Callable[[], float] = time.monotonic
    ) -> None:
        """Allow `most` refusals in a window; one recipient's filter must not stop a lane, a blocklist must."""
        self._most = most
        self._window = window_seconds
        self._timer = timer
        self._seen: dict[str, deque[float]] = {}

    def trips(self, lane: str) -> bool:
        """Count one, and tell whether the lane is to be stopped; after that the count starts anew."""
        now = self._timer()
        seen = self._seen.setdefault(lane, deque())
        seen.append(now)
        while seen and seen[0] < now - self._window:
            seen.popleft()
        if len(seen) <= self._most:
            return False
        seen.clear()
        return True
