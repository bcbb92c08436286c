"""How a lane may work: how much at a time, how fast, when it stops itself, and when it keeps quiet.

The configuration says it (`[lanes.NAME]`), and who operates Bode can change it while it runs (`bode lane set`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from typing import Self

from bode.domain.terms import AMSTERDAM

DEADLINE_MARGIN = timedelta(hours=2)
"""What would have less than this left when the quiet hours end is not held by them: the deadline wins (L3, L7)."""
LONGEST_QUIET = timedelta(hours=14)
"""Longer than this is no quiet at night but a lane that hardly works: stop it instead, which is seen."""
BOUNDS: Mapping[str, tuple[int, int]] = {"concurrency": (1, 32), "per_minute": (1, 1_000_000), "breaker": (1, 10_000)}
"""The least and the most of each number."""

_HOURS = re.compile(r"((?:[01][0-9]|2[0-3]):[0-5][0-9])-((?:[01][0-9]|2[0-3]):[0-5][0-9])")
_DAY = timedelta(days=1)


class LaneRuleError(ValueError):
    """A rule for a lane that cannot be; says which, what was given and what is needed."""


@dataclass(frozen=True, slots=True)
class QuietHours:
    """A part of each day, on the clock in the Netherlands, in which a lane sends only what cannot wait for its end."""

    start: time
    end: time

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `22:00-07:00`. Raises `LaneRuleError`."""
        found = _HOURS.fullmatch(text)
        if found is None:
            raise LaneRuleError(f"quiet_hours is {text!r}: write two times of day, as 22:00-07:00")
        start, end = (time.fromisoformat(part) for part in found.groups())
        length = (timedelta(hours=end.hour - start.hour, minutes=end.minute - start.minute)) % _DAY
        if not timedelta(0) < length <= LONGEST_QUIET:
            most = LONGEST_QUIET // timedelta(hours=1)
            raise LaneRuleError(f"quiet_hours is {text!r}: they last from a minute to {most} hours")
        return cls(start, end)

    def __str__(self) -> str:
        """Write them as they are read."""
        return f"{self.start:%H:%M}-{self.end:%H:%M}"

    def until(self, now: datetime) -> datetime | None:
        """Give the moment at which the quiet that there is now ends; `None` outside these hours."""
        today = now.astimezone(AMSTERDAM).date()
        for day in (today - _DAY, today):
            begins = datetime.combine(day, self.start, AMSTERDAM).astimezone(UTC)
            last = day if self.end > self.start else day + _DAY
            ends = datetime.combine(last, self.end, AMSTERDAM).astimezone(UTC)
            if begins <= now < ends:
                return ends
        return None


@dataclass(frozen=True, slots=True)
class LaneRules:
    """The rules of one lane."""

    concurrency: int = 2
    """Chunks at a time in one worker process."""
    per_minute: int | None = None
    """Steps a minute over all workers together; no limit without one."""
    breaker: int = 20
    """More refusals about us than this, in ten minutes in one worker, stop the lane; it then tries itself."""
    quiet_hours: QuietHours | None = None

    def changed(self, values: Mapping[str, object]) -> Self:
        """Give these rules with other values, as `values` gives them. Raises `LaneRuleError`."""
        rules = self
        for key, value in values.items():
            if key == "quiet_hours":
                if not isinstance(value, str | None):
                    raise LaneRuleError(f"quiet_hours is {value!r}: write two times of day, as 22:00-07:00")
                rules = replace(rules, quiet_hours=QuietHours.parse(value) if value is not None else None)
            elif key == "per_minute" and value is None:
                rules = replace(rules, per_minute=None)
            elif key in BOUNDS:
                least, most = BOUNDS[key]
                if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
                    raise LaneRuleError(f"{key} is {value!r}: a whole number from {least} to {most}")
                numbers = {name: getattr(rules, name) for name in BOUNDS} | {key: value}
                rules = replace(rules, **numbers)
            else:
                raise LaneRuleError(f"{key!r} is no rule of a lane: they are {', '.join([*BOUNDS, 'quiet_hours'])}")
        return rules

    def values(self) -> dict[str, int | str | None]:
        """Give the rules as `changed` takes them."""
        return {
            "concurrency": self.concurrency,
            "per_minute": self.per_minute,
            "breaker": self.breaker,
            "quiet_hours": str(self.quiet_hours) if self.quiet_hours is not None else None,
        }

    def only_before(self, now: datetime) -> datetime | None:
        """Give the deadline before which work may be done now; `None`: all of it may.

        In quiet hours that is two hours after their end: what has until later loses nothing by waiting.
        """
        ends = self.quiet_hours.until(now) if self.quiet_hours is not None else None
        return ends + DEADLINE_MARGIN if ends is not None else None
