"""Terms in law (L15): when the last day is; weekends and holidays as the Algemene termijnenwet (Atw) says.

A duration runs from the day after sending (Awb 6:8); a term that ends on a Saturday, Sunday or generally recognised
holiday runs to the next day that is none (Atw 1(1)); a term of at least three days has at least two days that are none
(Atw 2); and neither holds for terms of more than ninety days, twelve weeks or three months (Atw 4(a)).
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Self
from zoneinfo import ZoneInfo

AMSTERDAM = ZoneInfo("Europe/Amsterdam")
"""Legal days in the Netherlands are days in this zone."""

_DURATION = re.compile(r"P(?:(?P<weeks>\d{1,3})W|(?P<months>\d{1,3})M|(?P<days>\d{1,4})D)", re.ASCII)
_SATURDAY = 5
_MAX_DAYS, _MAX_WEEKS, _MAX_MONTHS = 90, 12, 3
_AT_LEAST_THREE_DAYS, _TWO_WORKING_DAYS = 3, 2


@dataclass(frozen=True, slots=True)
class Duration:
    """A term's length in one unit, as the law writes them: weeks, months or days."""

    weeks: int = 0
    months: int = 0
    days: int = 0

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an ISO 8601 duration of one unit: `P6W`, `P1M`, `P14D`. Raises `ValueError` for anything else."""
        found = _DURATION.fullmatch(text)
        if found is None:
            raise ValueError(f"{text!r} is not a duration: write P6W, P1M or P14D")
        duration = cls(**{unit: int(amount) for unit, amount in found.groupdict().items() if amount is not None})
        if not (duration.weeks or duration.months or duration.days):
            raise ValueError(f"{text!r} is no time at all: a term lasts at least a day")
        return duration

    def __str__(self) -> str:
        """Write it back as ISO 8601."""
        return f"P{self.weeks}W" if self.weeks else f"P{self.months}M" if self.months else f"P{self.days}D"

    @property
    def extends(self) -> bool:
        """Whether the Atw moves the end of this term: not for the long ones it excludes (Atw 4(a))."""
        return self.weeks <= _MAX_WEEKS and self.months <= _MAX_MONTHS and self.days <= _MAX_DAYS

    def after(self, day: date) -> date:
        """Give the last day of a term that starts the day after this one."""
        if self.months:
            year, month = divmod(day.year * 12 + day.month - 1 + self.months, 12)
            return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))
        return day + timedelta(weeks=self.weeks, days=self.days)


IsHoliday = Callable[[date], bool]
"""Tells whether a day is a generally recognised holiday or decreed equal to one (Atw 3)."""


@dataclass(frozen=True, slots=True)
class LastDay:
    """A computed last day and what it was computed from, as evidence keeps it."""

    day: date
    sent_on: date | None
    duration: Duration | None
    unextended: date
    """The last day before the Atw moved it; the same day where it did not."""


def legal_day(moment: datetime) -> date:
    """Give the day in the Netherlands at this moment."""
    return moment.astimezone(AMSTERDAM).date()


def next_working_day(day: date, is_holiday: IsHoliday) -> date:
    """Give this day, or the first after it that is no Saturday, Sunday or holiday (Atw 1(1))."""
    while day.weekday() >= _SATURDAY or is_holiday(day):
        day += timedelta(days=1)
    return day


def next_cutoff(moment: datetime, cutoff: time, is_holiday: IsHoliday) -> datetime:
    """Give the first cut-off at or after this moment: a time of day in the Netherlands, on working days alone."""
    local = moment.astimezone(AMSTERDAM)
    day = local.date() if local.time() <= cutoff else local.date() + timedelta(days=1)
    return datetime.combine(next_working_day(day, is_holiday), cutoff, AMSTERDAM).astimezone(UTC)


def last_day(duration: Duration, sent_at: datetime, is_holiday: IsHoliday) -> LastDay:
    """Compute the last day to act for a term that runs from the actual time of sending (law L15)."""
    return _last_day(duration, legal_day(sent_at), is_holiday)


@lru_cache(maxsize=1024)
def _last_day(duration: Duration, sent_on: date, is_holiday: IsHoliday) -> LastDay:
    """Compute it once per duration and day: a run of decisions has the same for all."""
    plain = duration.after(sent_on)
    if not duration.extends:
        return LastDay(plain, sent_on, duration, plain)
    end = next_working_day(plain, is_holiday)
    if (plain - sent_on).days >= _AT_LEAST_THREE_DAYS:
        while _working_days(sent_on, end, is_holiday) < _TWO_WORKING_DAYS:  # Atw 2
            end = next_working_day(end + timedelta(days=1), is_holiday)
    return LastDay(end, sent_on, duration, plain)


def _working_days(after: date, until: date, is_holiday: IsHoliday) -> int:
    """Count the working days in the term; two are enough to know, and a term has no more than two weeks without."""
    days = (after + timedelta(days=n) for n in range(1, (until - after).days + 1))
    count = 0
    for day in days:
        count += day.weekday() < _SATURDAY and not is_holiday(day)
        if count >= _TWO_WORKING_DAYS:
            break
    return count


class Holidays:
    """Dutch holidays for terms: the ones of the law from a maintained library, and the decreed days from our table.

    The library's public and optional categories together hold all days of Atw 3(1) and 3(2): 5 May counts every year
    (the public category has it once in five), and Good Friday counts though most people work on it.
    """

    def __init__(self, decreed: Iterable[date]) -> None:
        """Take the decreed days (Atw 3(3)); the rest comes from the library."""
        import holidays  # noqa: PLC0415 - heavy to import and needed only where terms are computed

        self._calendar = holidays.country_holidays("NL", categories=("public", "optional"), language="en_US")
        self._decreed = frozenset(decreed)

    def __call__(self, day: date) -> bool:
        """Tell whether this day counts as a holiday for terms."""
        return day in self._decreed or day in self._calendar

    def decreed_until(self) -> date | None:
        """Give the last decreed day known: after its year the table needs the next decree."""
        return max(self._decreed, default=None)


def utc(moment: datetime) -> datetime:
    """Give the same moment in UTC. Raises `ValueError` for a time without a zone, which is no moment."""
    if moment.tzinfo is None:
        raise ValueError(f"{moment.isoformat()} has no time zone")
    return moment.astimezone(UTC)
