"""Times that callers name."""

from datetime import UTC, datetime


def in_utc(at: datetime | None) -> datetime | None:
    """`at`, in UTC where it has no zone: the driver would take it for the time of the machine that it runs on."""
    return at if at is None or at.tzinfo is not None else at.replace(tzinfo=UTC)
