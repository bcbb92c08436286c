"""L15 (Awb 6:7, 6:8, Algemene termijnenwet): the last day of a term, from the actual time of sending."""

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bode.domain.message import Term
from bode.domain.terms import AMSTERDAM, Duration, Holidays, last_day, legal_day, next_working_day, utc

pytestmark = pytest.mark.law("L15")

DECREED = (date(2025, 5, 30), date(2026, 1, 2), date(2026, 5, 15))


@pytest.fixture(scope="module")
def is_holiday():
    return Holidays(DECREED)


def no_holidays(_day: date) -> bool:
    return False


def at(day: date, hour: int = 12, minute: int = 0) -> datetime:
    """Give a moment by the clock on the wall in the Netherlands, as the UTC the rules get."""
    return datetime(day.year, day.month, day.day, hour, minute, tzinfo=AMSTERDAM).astimezone(UTC)


# ---- from the day after sending, in the Netherlands -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("duration", "sent_on", "expected"),
    [
        ("P6W", date(2026, 6, 1), date(2026, 7, 13)),  # A Monday: six weeks later it is Monday again.
        ("P6W", date(2026, 3, 3), date(2026, 4, 14)),
        ("P2W", date(2026, 6, 3), date(2026, 6, 17)),
        ("P1M", date(2026, 6, 3), date(2026, 7, 3)),
        ("P14D", date(2026, 6, 3), date(2026, 6, 17)),
        ("P1D", date(2026, 6, 3), date(2026, 6, 4)),
    ],
)
def test_a_term_runs_from_the_day_after_sending(is_holiday, duration, sent_on, expected):
    end = last_day(Duration.parse(duration), at(sent_on), is_holiday)
    assert (end.day, end.unextended, end.sent_on) == (expected, expected, sent_on)


@pytest.mark.parametrize(
    ("sent_at", "day"),
    [
        (datetime(2026, 1, 14, 22, 59, tzinfo=UTC), date(2026, 1, 14)),
        (datetime(2026, 1, 14, 23, 30, tzinfo=UTC), date(2026, 1, 15)),  # Winter: half past midnight.
        (datetime(2026, 7, 14, 21, 59, tzinfo=UTC), date(2026, 7, 14)),
        (datetime(2026, 7, 14, 22, 0, tzinfo=UTC), date(2026, 7, 15)),  # Summer: midnight.
        (datetime(2026, 3, 28, 23, 0, tzinfo=UTC), date(2026, 3, 29)),  # The night the clock goes forward.
        (datetime(2026, 3, 29, 21, 59, tzinfo=UTC), date(2026, 3, 29)),
        (datetime(2026, 3, 29, 22, 0, tzinfo=UTC), date(2026, 3, 30)),
        (datetime(2026, 10, 24, 22, 0, tzinfo=UTC), date(2026, 10, 25)),  # The night it goes back.
        (datetime(2026, 10, 25, 22, 59, tzinfo=UTC), date(2026, 10, 25)),
        (datetime(2026, 10, 25, 23, 0, tzinfo=UTC), date(2026, 10, 26)),
    ],
)
def test_the_day_of_sending_is_the_day_in_the_netherlands(is_holiday, sent_at, day):
    assert legal_day(sent_at) == day
    assert last_day(Duration(weeks=6), sent_at, is_holiday).sent_on == day


def test_a_sending_just_before_midnight_utc_in_winter_has_a_term_that_ends_a_day_later(is_holiday):
    before = last_day(Duration(weeks=6), datetime(2026, 1, 14, 22, 59, tzinfo=UTC), is_holiday)
    after = last_day(Duration(weeks=6), datetime(2026, 1, 14, 23, 30, tzinfo=UTC), is_holiday)
    assert (before.day, after.day) == (date(2026, 2, 25), date(2026, 2, 26))


def test_the_two_hours_that_are_three_o_clock_twice_are_one_day(is_holiday):
    first = datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert legal_day(first) == legal_day(first + timedelta(hours=1)) == date(2026, 10, 25)
    assert last_day(Duration(weeks=6), first, is_holiday).day == date(2026, 12, 7)


def test_a_moment_without_a_zone_is_no_moment():
    with pytest.raises(ValueError, match="no time zone"):
        utc(datetime(2026, 1, 1))  # noqa: DTZ001 - that is the point
    assert utc(datetime(2026, 1, 1, 1, tzinfo=AMSTERDAM)) == datetime(2026, 1, 1, 0, tzinfo=UTC)


# ---- weekends and holidays (Atw 1 and 3) ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent_on", "unextended", "expected", "why"),
    [
        (date(2026, 5, 30), date(2026, 7, 11), date(2026, 7, 13), "ends on Saturday"),
        (date(2026, 5, 31), date(2026, 7, 12), date(2026, 7, 13), "ends on Sunday"),
        (date(2026, 2, 20), date(2026, 4, 3), date(2026, 4, 7), "Good Friday, Easter and Easter Monday"),
        (date(2026, 3, 16), date(2026, 4, 27), date(2026, 4, 28), "King's Day"),
        (date(2026, 3, 24), date(2026, 5, 5), date(2026, 5, 6), "5 May, though no lustrum year"),
        (date(2025, 3, 24), date(2025, 5, 5), date(2025, 5, 6), "5 May in a lustrum year"),
        (date(2026, 4, 2), date(2026, 5, 14), date(2026, 5, 18), "Ascension Day and the decreed Friday after it"),
        (date(2026, 4, 13), date(2026, 5, 25), date(2026, 5, 26), "Whit Monday"),
        (date(2026, 11, 13), date(2026, 12, 25), date(2026, 12, 28), "Christmas on Friday and Saturday"),
        (date(2026, 11, 20), date(2027, 1, 1), date(2027, 1, 4), "New Year's Day on Friday"),
        (date(2025, 11, 21), date(2026, 1, 2), date(2026, 1, 5), "a decreed Friday after New Year's Day"),
    ],
)
def test_a_term_that_ends_on_a_day_off_runs_to_the_next_working_day(is_holiday, sent_on, unextended, expected, why):
    end = last_day(Duration(weeks=6), at(sent_on), is_holiday)
    assert (end.unextended, end.day) == (unextended, expected), why


def test_kings_day_moves_to_saturday_when_it_falls_on_sunday(is_holiday):
    assert is_holiday(date(2025, 4, 26))
    assert not is_holiday(date(2025, 4, 27))
    end = last_day(Duration(weeks=6), at(date(2025, 3, 15)), is_holiday)
    assert (end.unextended, end.day) == (date(2025, 4, 26), date(2025, 4, 28))


def easter(year: int) -> date:
    """Give Easter Sunday by Gauss's rule as Meeus wrote it down, apart from the library that the rules use."""
    a, b, c = year % 19, year // 100, year % 100
    d, e, f = b // 4, b % 4, (b + 8) // 25
    g = (b - f + 1) // 3
    h = (19 * a + b - d - g + 15) % 30
    i, k = c // 4, c % 4
    m = (32 + 2 * e + 2 * i - h - k) % 7
    n = (a + 11 * h + 22 * m) // 451
    month, day = divmod(h + m - 7 * n + 114, 31)
    return date(year, month, day + 1)


def days_of_the_law(year: int) -> set[date]:
    """Give the days of Atw 3(1) and 3(2), written out; Sundays are none of them and need not be."""
    sunday = easter(year)
    kings_day = date(year, 4, 27)
    if kings_day.isoweekday() == 7:
        kings_day = date(year, 4, 26)
    return {
        date(year, 1, 1),
        sunday - timedelta(days=2),  # Good Friday, Atw 3(2)
        sunday + timedelta(days=1),
        kings_day,
        date(year, 5, 5),
        sunday + timedelta(days=39),
        sunday + timedelta(days=50),
        date(year, 12, 25),
        date(year, 12, 26),
    }


@pytest.mark.parametrize("year", range(2020, 2041))
def test_the_holidays_are_those_of_the_law_and_no_others(year):
    is_holiday = Holidays([])
    first = date(year, 1, 1)
    found = {day for n in range(366) if is_holiday(day := first + timedelta(days=n)) and day.year == year}
    assert {day for day in found if day.isoweekday() < 7} == {
        day for day in days_of_the_law(year) if day.isoweekday() < 7
    }


def test_a_decreed_day_counts_and_the_last_one_known_can_be_told():
    assert not Holidays([])(date(2026, 5, 15))
    decreed = Holidays(DECREED)
    assert decreed(date(2026, 5, 15))
    assert decreed.decreed_until() == date(2026, 5, 15)
    assert Holidays([]).decreed_until() is None


def test_a_day_that_is_no_day_off_is_its_own_next_working_day(is_holiday):
    assert next_working_day(date(2026, 6, 3), is_holiday) == date(2026, 6, 3)
    assert next_working_day(date(2026, 12, 25), is_holiday) == date(2026, 12, 28)


# ---- two working days in a term of three days or more (Atw 2) -------------------------------------------------------


@pytest.mark.parametrize(
    ("duration", "sent_on", "expected", "why"),
    [
        ("P3D", date(2026, 6, 4), date(2026, 6, 8), "Thursday: Friday and, extended, Monday are two"),
        ("P3D", date(2026, 6, 5), date(2026, 6, 9), "Friday: Monday is one, so Tuesday"),
        ("P4D", date(2026, 6, 5), date(2026, 6, 9), "Friday: Monday and Tuesday are two"),
        ("P3D", date(2026, 6, 1), date(2026, 6, 4), "Monday: enough of them"),
        ("P2D", date(2026, 6, 5), date(2026, 6, 8), "two days: extended to Monday, and one is enough"),
        ("P1D", date(2026, 6, 5), date(2026, 6, 8), "one day: the same"),
        ("P5D", date(2026, 4, 2), date(2026, 4, 8), "over Easter: Tuesday is one, so Wednesday"),
        ("P3D", date(2026, 12, 24), date(2026, 12, 29), "over Christmas and a weekend"),
        ("P1W", date(2026, 12, 24), date(2026, 12, 31), "a week has them"),
    ],
)
def test_a_term_of_three_days_or_more_has_two_working_days(is_holiday, duration, sent_on, expected, why):
    assert last_day(Duration.parse(duration), at(sent_on), is_holiday).day == expected, why


def test_a_term_of_a_week_has_two_working_days_even_in_a_week_of_holidays():
    off = {date(2026, 6, 1) + timedelta(days=n) for n in range(7)}
    end = last_day(Duration(weeks=1), at(date(2026, 5, 31)), off.__contains__)
    assert end.day == date(2026, 6, 9)


# ---- long terms are not extended (Atw 4) ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("duration", "extends"),
    [("P90D", True), ("P91D", False), ("P12W", True), ("P13W", False), ("P3M", True), ("P4M", False)],
)
def test_terms_beyond_ninety_days_twelve_weeks_or_three_months_are_not_extended(duration, extends):
    parsed = Duration.parse(duration)
    assert parsed.extends is extends
    # Start where the plain end is a Saturday.
    sent_on = date(2026, 1, 1)
    while parsed.after(sent_on).isoweekday() != 6:
        sent_on += timedelta(days=1)
    end = last_day(parsed, at(sent_on), no_holidays)
    assert end.day == end.unextended + (timedelta(days=2) if extends else timedelta())


# ---- months ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("months", "sent_on", "unextended"),
    [
        (1, date(2026, 1, 31), date(2026, 2, 28)),
        (1, date(2028, 1, 31), date(2028, 2, 29)),
        (1, date(2026, 1, 28), date(2026, 2, 28)),
        (1, date(2026, 2, 28), date(2026, 3, 28)),
        (3, date(2025, 11, 30), date(2026, 2, 28)),
        (1, date(2026, 12, 31), date(2027, 1, 31)),
        (12, date(2028, 2, 29), date(2029, 2, 28)),
        (2, date(2026, 10, 15), date(2026, 12, 15)),
        (1, date(2026, 11, 30), date(2026, 12, 30)),
    ],
)
def test_a_term_in_months_ends_on_the_same_number_or_the_last_day_of_a_shorter_month(months, sent_on, unextended):
    assert Duration(months=months).after(sent_on) == unextended


# ---- how terms are written ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["P6W", "P1M", "P14D", "P999W", "P999M", "P9999D"])
def test_a_duration_reads_and_writes_as_the_same_text(text):
    assert str(Duration.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", "P", "6W", "P6", "P1Y", "PT48H", "P6W2D", "P-6W", "P1000W"),
        *("P0W", "P0D", "P00M"),
        *("P6w", " P6W", "P6W ", "P6W\n", "P٦W"),
    ],
)
def test_anything_else_is_no_duration(text):
    with pytest.raises(ValueError, match=r"is not a duration|is no time at all"):
        Duration.parse(text)


def test_a_message_keeps_its_term_as_it_was_given():
    assert Term(duration=Duration(weeks=6)).last_day is None


# ---- what holds of every term ---------------------------------------------------------------------------------------

durations = st.one_of(
    st.integers(1, 12).map(lambda n: Duration(weeks=n)),
    st.integers(1, 3).map(lambda n: Duration(months=n)),
    st.integers(1, 90).map(lambda n: Duration(days=n)),
)
long_durations = st.one_of(
    st.integers(13, 200).map(lambda n: Duration(weeks=n)),
    st.integers(4, 60).map(lambda n: Duration(months=n)),
    st.integers(91, 999).map(lambda n: Duration(days=n)),
)
moments = st.datetimes(datetime(2024, 1, 1), datetime(2035, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001 - made so


def is_day_off(day: date, is_holiday) -> bool:
    return day.isoweekday() > 5 or is_holiday(day)


@settings(deadline=None)  # The library works a year of holidays out when it is first asked.
@given(durations, moments)
def test_an_extended_term_never_ends_on_a_day_off(is_holiday, duration, sent_at):
    assert not is_day_off(last_day(duration, sent_at, is_holiday).day, is_holiday)


@settings(deadline=None)  # The library works a year of holidays out when it is first asked.
@given(long_durations, moments)
def test_a_long_term_ends_where_the_calendar_says(is_holiday, duration, sent_at):
    end = last_day(duration, sent_at, is_holiday)
    assert end.day == end.unextended == duration.after(legal_day(sent_at))


@settings(deadline=None)  # The library works a year of holidays out when it is first asked.
@given(st.one_of(durations, long_durations), moments)
def test_a_term_never_ends_earlier_than_unextended_nor_on_the_day_of_sending(is_holiday, duration, sent_at):
    end = last_day(duration, sent_at, is_holiday)
    assert legal_day(sent_at) < end.unextended <= end.day


@settings(deadline=None)  # The library works a year of holidays out when it is first asked.
@given(durations, moments, st.integers(0, 60 * 24 * 40))
def test_who_is_sent_later_never_has_an_earlier_last_day(is_holiday, duration, sent_at, minutes):
    later = sent_at + timedelta(minutes=minutes)
    assert last_day(duration, sent_at, is_holiday).day <= last_day(duration, later, is_holiday).day


@settings(deadline=None)  # The library works a year of holidays out when it is first asked.
@given(durations, moments)
def test_only_days_off_or_a_lack_of_working_days_move_the_end(is_holiday, duration, sent_at):
    end = last_day(duration, sent_at, is_holiday)
    term = [end.sent_on + timedelta(days=n) for n in range(1, (end.day - end.sent_on).days + 1)]
    working = [day for day in term if not is_day_off(day, is_holiday)]
    if len(term) >= 3 and (end.unextended - end.sent_on).days >= 3:
        assert len(working) >= 2
    # One day less would not have been enough.
    if end.day > end.unextended:
        shorter = [day for day in working if end.unextended <= day < end.day]
        assert len(working) - 1 < 2 or not shorter


@settings(deadline=None)  # The library works a year of holidays out when it is first asked.
@given(moments)
def test_the_day_in_the_netherlands_is_at_most_two_hours_ahead_of_utc(moment):
    assert legal_day(moment) in {moment.date(), (moment + timedelta(hours=2)).date()}
