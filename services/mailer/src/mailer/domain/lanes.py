"""How much may be under way to one SMTP server: little at first, much once it answers, a trickle when it is dead."""

from typing import Final

import msgspec

FIRST_WINDOW: Final = 4
WIDEST_WINDOW: Final = 128
FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 60.0


class Lane(msgspec.Struct):
    """One row of email_settings as the worker sees it. Times are the monotonic clock's seconds.

    A dead server holds at most its window of the worker's places, so that it delays nobody else's mail: the window
    doubles by success and shrinks by failure, and after a failure nothing starts until the pause is over.
    """

    window: int = FIRST_WINDOW
    under_way: int = 0
    failures: int = 0
    paused_until_s: float = 0.0

    def room(self, now_s: float) -> int:
        """How many mails may start now: none, or at least a quarter of the window, so that they go in groups."""
        free = self.window - self.under_way
        return 0 if now_s < self.paused_until_s or free * 4 < self.window else free

    def answered(self) -> None:
        """The server spoke SMTP, whatever it said."""
        self.failures = 0
        self.paused_until_s = 0.0
        self.window = min(self.window * 2, WIDEST_WINDOW)

    def was_unreachable(self, now_s: float) -> None:
        """The server was not there. Several failures that were under way together are one sign, not many."""
        if now_s < self.paused_until_s:
            return
        self.failures += 1
        self.window = max(1, self.window // 2) if self.failures == 1 else 1
        self.paused_until_s = now_s + min(FIRST_PAUSE_S * 2 ** (self.failures - 1), LONGEST_PAUSE_S)
