"""How often somebody may try, by GCRA: a burst at once, then one try each `period / burst`."""

import hashlib
from datetime import timedelta

import msgspec


class Limit(msgspec.Struct, frozen=True):
    """At most `tries` at once, all of them back after `period_s`."""

    name: str
    tries: int
    period_s: float

    @property
    def emission(self) -> timedelta:
        """What one try costs."""
        return timedelta(seconds=self.period_s / self.tries)

    @property
    def tolerance(self) -> timedelta:
        """How far ahead of time the tries may run."""
        return timedelta(seconds=self.period_s)

    def key(self, who: str) -> bytes:
        """What the tries of `who` are counted under; nobody reads an address out of it by looking."""
        return hashlib.sha256(f"{self.name}|{who}".encode("utf-8", "surrogatepass")).digest()
