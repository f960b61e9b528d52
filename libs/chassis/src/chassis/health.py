"""Whether the process lives and whether it should be sent work; the broker is reported, and never decides."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping

import msgspec

#: Answers None when all is well, else what is not, in words fit for anybody.
Check = Callable[[], Awaitable[str | None]]
_CHECK_TIMEOUT_S = 2.0
_KEEP_S = 1.0  # /health/ready needs no identity: asking often must not cost a query each


class Health:
    """The state behind /health/live and /health/ready."""

    def __init__(self, required: Mapping[str, Check], reported: Mapping[str, Check] | None = None) -> None:
        self._required = dict(required)
        self._reported = dict(reported or {})
        self._draining = False
        self._kept: tuple[float, int, bytes] | None = None
        #: Set, with `failure`, when the service cannot go on and the process must exit.
        self.failed = asyncio.Event()
        self.failure: BaseException | None = None

    def drain(self) -> None:
        """From now on not ready: the process is about to stop."""
        self._draining = True
        self._kept = None

    def fail(self, error: BaseException) -> None:
        """Asks whoever serves the app to end the process."""
        self.failure = error
        self.failed.set()

    @property
    def draining(self) -> bool:
        """Whether the process is about to stop."""
        return self._draining

    def live(self) -> tuple[int, bytes]:
        """Status and body of /health/live: that it is computed at all shows that the loop runs."""
        return 200, b'{"status":"live"}'

    async def ready(self) -> tuple[int, bytes]:
        """Status and body of /health/ready, at most a second old."""
        if self._kept and time.monotonic() - self._kept[0] < _KEEP_S:
            return self._kept[1], self._kept[2]
        names = [*self._required, *self._reported]
        every = [*self._required.values(), *self._reported.values()]
        answers = await asyncio.gather(*(_answer(check) for check in every))
        checks = {name: answer or "ok" for name, answer in zip(names, answers, strict=True)}
        if self._draining:
            checks["process"] = "shutting down"
        ready = not self._draining and all(checks[name] == "ok" for name in self._required)
        body = msgspec.json.encode({"status": "ready" if ready else "not ready", "checks": checks})
        self._kept = (time.monotonic(), 200 if ready else 503, body)
        return self._kept[1], body


async def _answer(check: Check) -> str | None:
    try:
        async with asyncio.timeout(_CHECK_TIMEOUT_S):
            return await check()
    except Exception:
        return "away"
