"""When a subscription's period ends: the same day of a later month, or that month's last."""

import calendar
from datetime import UTC, datetime, timedelta


def next_end(anchor: int, start: int, interval: str, count: int) -> int:
    """The first moment after `start` that is a whole number of intervals after `anchor`."""
    steps = 1
    while (end := _after(anchor, interval, count * steps)) <= start:
        steps += 1
    return end


def _after(anchor: int, interval: str, count: int) -> int:
    first = datetime.fromtimestamp(anchor, UTC)
    if interval in ("day", "week"):
        return int((first + timedelta(days=count * (7 if interval == "week" else 1))).timestamp())
    months = first.month - 1 + count * (12 if interval == "year" else 1)
    year, month = first.year + months // 12, months % 12 + 1
    day = min(first.day, calendar.monthrange(year, month)[1])
    return int(first.replace(year=year, month=month, day=day).timestamp())
