"""When to stop asking an upstream: open at half failures of twenty calls in ten seconds, one probe to close again."""

import time
from collections.abc import Callable
from typing import Literal

from contracts.errors import Unavailable

_SLOTS = 10  # one per second of the window


class Breaker:
    """Counts the calls to one upstream. Every call that `enter` let through must `leave` exactly once."""

    def __init__(
        self,
        *,
        min_calls: int = 20,
        failure_share: float = 0.5,
        cool_down_s: float = 5.0,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._min_calls = min_calls
        self._failure_share = failure_share
        self._cool_down_s = cool_down_s
        self._now = now
        self._calls = [0] * _SLOTS
        self._failures = [0] * _SLOTS
        self._second = int(now())
        self._opened_at: float | None = None
        self._probing = False

    @property
    def state(self) -> Literal["closed", "open", "half_open"]:
        """For metrics and tests."""
        if self._opened_at is None:
            return "closed"
        return "half_open" if self._probing else "open"

    def enter(self) -> bool:
        """Let a call through; True when it is the probe. Raises Unavailable while open or being probed."""
        if self._opened_at is None:
            return False
        wait_s = self._opened_at + self._cool_down_s - self._now()
        if wait_s > 0 or self._probing:
            raise Unavailable(
                "the service is failing; calls to it are paused",
                code="circuit_open",
                retry_after_s=max(1, int(wait_s + 0.999)),
            )
        self._probing = True
        return True

    def leave(self, *, probe: bool, ok: bool | None) -> None:
        """How the call went: True an answer came, False the upstream failed, None nobody can tell (the client left)."""
        if probe:
            self._probing = False
            if ok:
                self._opened_at = None
                self._calls = [0] * _SLOTS
                self._failures = [0] * _SLOTS
            elif ok is False:
                self._opened_at = self._now()
            return
        if ok is None or self._opened_at is not None:
            return  # nothing to learn, or a call that began before the breaker opened
        now = self._now()
        second = int(now)
        if second != self._second:
            self._turn(second)
        slot = second % _SLOTS
        self._calls[slot] += 1
        if not ok:
            self._failures[slot] += 1
            calls, failures = sum(self._calls), sum(self._failures)
            if calls >= self._min_calls and failures >= calls * self._failure_share:
                self._opened_at = now

    def _turn(self, second: int) -> None:
        """Empty the slots of the seconds that passed without a call."""
        for passed in range(self._second + 1, min(second, self._second + _SLOTS) + 1):
            self._calls[passed % _SLOTS] = self._failures[passed % _SLOTS] = 0
        if second - self._second > _SLOTS:
            self._calls = [0] * _SLOTS
            self._failures = [0] * _SLOTS
        self._second = second
