"""Does one thing for each of many rows: one that fails is counted and logged, and keeps no other waiting."""

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

import structlog

from bus.failures import reason_of

T = TypeVar("T")

_log = structlog.get_logger("billing.schedules")


async def run_each(name: str, rows: Iterable[T], act: Callable[[T], Awaitable[bool]]) -> dict[str, int]:
    """How many there were, how many `act` changed something for, and how many it failed for."""
    counts = {"seen": 0, "done": 0, "failed": 0}
    for row in rows:
        counts["seen"] += 1
        try:
            counts["done"] += await act(row)
        except Exception as error:  # whatever it is, the next row is somebody else's money
            counts["failed"] += 1
            _log.warning("a row was passed over", job=name, id=str(getattr(row, "id", "")), reason=reason_of(error))
    return counts
