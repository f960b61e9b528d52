"""Whether a server is worth trying: after some failures in a row it is left alone, then tried with one mail."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mailer.smtp.errors import SmtpFailure, SmtpMisconfigured, SmtpUnknown, SmtpUnreachable
from mailer.smtp.server import SmtpLimits


class Breaker:
    """Open from the last allowed failure on, each time for twice as long; `monotonic` gives seconds."""

    def __init__(self, limits: SmtpLimits, monotonic: Callable[[], float]) -> None:
        self._limits = limits
        self._monotonic = monotonic
        self._failures = 0
        self._open_until_s = 0.0
        self._probing = False

    @property
    def is_clear(self) -> bool:
        """Nothing is remembered against the server."""
        return not self._failures

    def check(self) -> None:
        """Raises SmtpUnreachable while the server is not to be tried, or already is, by another mail."""
        if self._worn and (self._probing or self._monotonic() < self._open_until_s):
            raise SmtpUnreachable("not tried: the server has not been working")

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Learns from how the block ends; raises like `check` before it begins."""
        self.check()
        is_probe = self._worn
        if is_probe:
            self._probing = True
        try:
            yield
        except (SmtpUnreachable, SmtpMisconfigured, SmtpUnknown):
            self._failed()
            raise
        except SmtpFailure:
            # It talks to us: whatever it said was about this mail.
            self._failures = 0
            raise
        else:
            self._failures = 0
        finally:
            if is_probe:
                self._probing = False

    @property
    def _worn(self) -> bool:
        return self._failures >= self._limits.failures_to_open

    def _failed(self) -> None:
        self._failures += 1
        over = self._failures - self._limits.failures_to_open
        if over >= 0:
            open_s = min(self._limits.longest_open_s, self._limits.open_s * 2.0 ** min(over, 20))
            self._open_until_s = self._monotonic() + open_s
