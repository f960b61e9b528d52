"""Days as Brazilian providers and payers count them: São Paulo's, which has kept UTC-3 all year since 2019."""

from datetime import UTC, date, datetime, time, timedelta, timezone
from typing import Final

SAO_PAULO: Final = timezone(timedelta(hours=-3))


def day_in_brazil(moment: datetime) -> date:
    """The day on which `moment` falls there."""
    return moment.astimezone(SAO_PAULO).date()


def end_of_day(day: date) -> datetime:
    """The last second of that day there, in UTC."""
    return datetime.combine(day, time(23, 59, 59), SAO_PAULO).astimezone(UTC)


def start_of_day(day: date) -> datetime:
    """The first instant of that day there, in UTC."""
    return datetime.combine(day, time(), SAO_PAULO).astimezone(UTC)
