"""Billing periods on the calendar: a month after January 31 is the last of February, and the anchor day is kept."""

import calendar
from datetime import datetime

from billing.domain.providers import Interval


def add_interval(start: datetime, interval: Interval, *, times: int = 1, anchor_day: int | None = None) -> datetime:
    """`start` moved by that many intervals; `anchor_day` is the day of the month that the first period began on."""
    months = times * (12 if interval is Interval.YEAR else 1)
    year, month = divmod(start.year * 12 + start.month - 1 + months, 12)
    last = calendar.monthrange(year, month + 1)[1]
    return start.replace(year=year, month=month + 1, day=min(anchor_day or start.day, last))
