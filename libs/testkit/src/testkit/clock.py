"""A clock that tests can hold, shift and advance; CLOCK_FREEZE and CLOCK_OFFSET_S set one for a whole process."""

import importlib
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta


class MovableClock:
    """Answers the time, in UTC: really, shifted, or frozen at an instant until it is advanced."""

    def __init__(self, frozen_at: datetime | None = None, *, offset: timedelta = timedelta()) -> None:
        if frozen_at is not None and frozen_at.tzinfo is None:
            raise ValueError("frozen_at needs a time zone")
        self._frozen_at = frozen_at.astimezone(UTC) if frozen_at else None
        self._offset = offset

    def __call__(self) -> datetime:
        return (self._frozen_at or datetime.now(UTC)) + self._offset

    def advance(self, by: timedelta) -> datetime:
        """Move on (or back) and return the new time; a running clock keeps running from there."""
        self._offset += by
        return self()

    def freeze(self, at: datetime | None = None) -> None:
        """Stand still, at the present time or at `at`."""
        self._frozen_at, self._offset = (at or self()).astimezone(UTC), timedelta()


def clock_from(env: Mapping[str, str]) -> MovableClock | None:
    """The clock that CLOCK_FREEZE (an instant in ISO 8601) and CLOCK_OFFSET_S describe; None when neither is set.

    Raises: ValueError for a value that is no instant or no number.
    """
    frozen, offset_s = env.get("CLOCK_FREEZE"), env.get("CLOCK_OFFSET_S")
    if not frozen and not offset_s:
        return None
    at = datetime.fromisoformat(frozen) if frozen else None
    return MovableClock(at, offset=timedelta(seconds=float(offset_s or 0)))


def install_clock(env: Mapping[str, str]) -> None:
    """Make this process's services take their time from the environment's clock, if it describes one.

    To be called before anything of the product is imported: modules take hold of the clock when they are.
    """
    clock: Callable[[], datetime] | None = clock_from(env)
    if clock is None:
        return
    if early := {"chassis.app", "gateway.app"} & sys.modules.keys():
        raise RuntimeError(f"{', '.join(sorted(early))} was imported before the clock was installed")
    setattr(importlib.import_module("chassis.clock"), "utc_now", clock)  # noqa: B010 - typed as a function there
