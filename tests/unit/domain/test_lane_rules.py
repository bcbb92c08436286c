"""The rules of a lane: quiet hours on the Dutch clock, bounds, and the deadline that goes before them."""

from datetime import UTC, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bode.domain.lane_rules import DEADLINE_MARGIN, LaneRuleError, LaneRules, QuietHours
from bode.domain.terms import AMSTERDAM

START = datetime(2020, 1, 1, tzinfo=UTC)
NIGHT = QuietHours.parse("22:00-07:00")


def dutch(*when: int) -> datetime:
    return datetime(*when, tzinfo=AMSTERDAM).astimezone(UTC)


@pytest.mark.parametrize(
    ("now", "ends"),
    [
        (dutch(2026, 3, 2, 21, 59), None),
        (dutch(2026, 3, 2, 22, 0), dutch(2026, 3, 3, 7, 0)),
        (dutch(2026, 3, 3, 6, 59), dutch(2026, 3, 3, 7, 0)),
        (dutch(2026, 3, 3, 7, 0), None),
        # The night in which the clock goes forward is an hour shorter, the one in which it goes back an hour longer.
        (dutch(2026, 3, 28, 23, 0), datetime(2026, 3, 29, 5, 0, tzinfo=UTC)),
        (dutch(2026, 10, 24, 23, 0), datetime(2026, 10, 25, 6, 0, tzinfo=UTC)),
    ],
)
def test_quiet_hours_are_on_the_clock_in_the_netherlands(now, ends):
    assert NIGHT.until(now) == ends


def test_quiet_hours_within_one_day():
    noon = QuietHours.parse("12:00-13:30")
    assert noon.until(dutch(2026, 7, 1, 12, 45)) == dutch(2026, 7, 1, 13, 30)
    assert noon.until(dutch(2026, 7, 1, 0, 30)) is None


times = st.times().map(lambda at: time(at.hour, at.minute))


@given(times, st.integers(1, 14 * 60), st.integers(0, 20 * 366 * 1440))
def test_quiet_hours_end_after_now_and_no_later_than_they_last(start, minutes, later):
    end = (datetime.combine(START, start) + timedelta(minutes=minutes)).time()
    quiet = QuietHours.parse(f"{start:%H:%M}-{end:%H:%M}")
    assert QuietHours.parse(str(quiet)) == quiet
    now = START + timedelta(minutes=later)
    ends = quiet.until(now)
    if ends is not None:
        assert now < ends <= now + timedelta(minutes=minutes) + timedelta(hours=1)  # a night can have an hour more
        assert quiet.until(ends) is None


@pytest.mark.parametrize("text", ["", "22:00", "22-7", "24:00-07:00", "22:00-22:00", "06:00-23:00", "22:00-07:00 "])
def test_what_are_no_quiet_hours(text):
    with pytest.raises(LaneRuleError, match="quiet_hours"):
        QuietHours.parse(text)


def test_rules_are_changed_one_by_one_and_told_as_they_are_given():
    rules = LaneRules().changed({"per_minute": 60, "quiet_hours": "22:00-07:00", "breaker": 5, "concurrency": 1})
    assert rules == LaneRules(1, 60, 5, NIGHT)
    assert LaneRules().changed(rules.values()) == rules
    assert rules.changed({"per_minute": None, "quiet_hours": None}) == LaneRules(1, None, 5, None)


@pytest.mark.parametrize(
    "values",
    [
        {"concurrency": 0},
        {"concurrency": True},
        {"concurrency": None},
        {"per_minute": 0},
        {"per_minute": "60"},
        {"breaker": 10_001},
        {"quiet_hours": 22},
        {"colour": 1},
    ],
)
def test_a_rule_out_of_bounds_is_refused_by_name(values):
    with pytest.raises(LaneRuleError, match=next(iter(values))):
        LaneRules().changed(values)


@pytest.mark.law("L3")
def test_in_quiet_hours_only_what_would_come_close_to_its_deadline_is_sent():
    rules = LaneRules(quiet_hours=NIGHT)
    assert rules.only_before(dutch(2026, 3, 2, 23, 0)) == dutch(2026, 3, 3, 7, 0) + DEADLINE_MARGIN
    assert rules.only_before(dutch(2026, 3, 2, 12, 0)) is None
    assert LaneRules().only_before(dutch(2026, 3, 2, 23, 0)) is None
