"""Billing periods on the calendar: nobody pays a day twice, and the day of the month comes back after a short one."""

import calendar
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.domain.periods import add_interval
from billing.domain.providers import Interval

starts = st.datetimes(datetime(2020, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@given(starts, st.integers(1, 60))
def test_the_anchor_day_is_kept(start: datetime, times: int) -> None:
    """Month by month and all at once end on the same day, whatever short months lie between."""
    step = start
    for _ in range(times):
        step = add_interval(step, Interval.MONTH, anchor_day=start.day)
    assert step == add_interval(start, Interval.MONTH, times=times)
    last = calendar.monthrange(step.year, step.month)[1]
    assert step.day == min(start.day, last)
    assert step.timetz() == start.timetz()


@given(starts, st.sampled_from(list(Interval)))
def test_the_next_period_is_later_and_not_too_long(start: datetime, interval: Interval) -> None:
    length = add_interval(start, interval) - start
    shortest, longest = (28, 31) if interval is Interval.MONTH else (365, 366)
    assert timedelta(days=shortest) <= length <= timedelta(days=longest)


@given(starts)
def test_a_year_is_twelve_months(start: datetime) -> None:
    assert add_interval(start, Interval.YEAR) == add_interval(start, Interval.MONTH, times=12)


@pytest.mark.parametrize(
    ("start", "interval", "anchor", "end"),
    [
        ((2026, 1, 31), Interval.MONTH, None, (2026, 2, 28)),
        ((2026, 2, 28), Interval.MONTH, 31, (2026, 3, 31)),
        ((2026, 2, 28), Interval.MONTH, None, (2026, 3, 28)),
        ((2024, 2, 29), Interval.YEAR, None, (2025, 2, 28)),
        ((2027, 2, 28), Interval.YEAR, 29, (2028, 2, 29)),
        ((2026, 12, 15), Interval.MONTH, None, (2027, 1, 15)),
    ],
)
def test_short_months(
    start: tuple[int, int, int], interval: Interval, anchor: int | None, end: tuple[int, int, int]
) -> None:
    assert add_interval(datetime(*start, tzinfo=UTC), interval, anchor_day=anchor) == datetime(*end, tzinfo=UTC)
