"""The one way to ask what time it is, so that a test can answer instead."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeAlias

#: Answers the current instant, always aware and in UTC. Pass it down; never call `datetime.now` elsewhere.
Clock: TypeAlias = Callable[[], datetime]


def utc_now() -> datetime:
    """The current instant, in UTC."""
    return datetime.now(UTC)
