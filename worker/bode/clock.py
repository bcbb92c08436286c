"""The time now. Everything that has legal weight asks a `Clock`; a demo's clock may run faster than life."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta


@dataclass(frozen=True, slots=True)
class Clock:
    """Life's clock, or one `factor` times as fast since `origin`: the same for every process that has both."""

    factor: float = 1.0
    origin: datetime | None = None

    def now(self) -> datetime:
        """Give the time that counts: for deadlines, evidence, letters."""
        real = self.real()
        if self.origin is None:
            return real
        return self.origin + (real - self.origin) * self.factor

    def real(self) -> datetime:
        """Give the time on the wall: for leases and time-outs, which are about machines."""
        return datetime.now(UTC)

    def real_wait(self, wait: timedelta) -> float:
        """Give the seconds on the wall that this wait takes."""
        return wait.total_seconds() / self.factor
