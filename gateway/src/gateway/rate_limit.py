"""How often one principal may call: a GCRA per key, in this process's memory, exact in whole nanoseconds."""

import math
import time
from collections.abc import Callable

from contracts.errors import TooManyRequests


class RateLimit:
    """`requests` at once, then one more each `window_s / requests`; 0 requests means no limit.

    Keys are forgotten when their allowance is full again, so at most `max_keys` are held.
    """

    def __init__(
        self,
        requests: int,
        window_s: float,
        *,
        max_keys: int = 100_000,
        now_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._interval_ns = int(window_s * 1e9) // requests if requests > 0 else 0
        self._tolerance_ns = self._interval_ns * (requests - 1)
        self._max_keys = max_keys
        self._now_ns = now_ns
        self._arrivals: dict[str, int] = {}

    def take(self, key: str) -> None:
        """Count one request of `key`. Raises TooManyRequests, saying when to come back, without counting it."""
        if not self._interval_ns:
            return
        now = self._now_ns()
        arrival = self._arrivals.get(key)
        if arrival is None:
            if len(self._arrivals) >= self._max_keys:
                self._forget(now)
            arrival = now
        elif arrival <= now:
            arrival = now
        elif arrival - now > self._tolerance_ns:
            wait_s = (arrival - now - self._tolerance_ns) / 1e9
            raise TooManyRequests("too many requests; try again later", retry_after_s=max(1, math.ceil(wait_s)))
        self._arrivals[key] = arrival + self._interval_ns

    def _forget(self, now: int) -> None:
        """Drop the keys whose allowance is full; if that is not enough, those that used the least of theirs."""
        self._arrivals = {key: arrival for key, arrival in self._arrivals.items() if arrival > now}
        if len(self._arrivals) >= self._max_keys:
            kept = sorted(self._arrivals.items(), key=lambda item: item[1], reverse=True)[: self._max_keys // 2]
            self._arrivals = dict(kept)
