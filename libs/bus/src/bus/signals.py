"""What the bus reports about itself; the chassis turns it into metrics."""

from typing import Final, Protocol


class Signals(Protocol):
    """Called on the event loop, often: an implementation must neither block nor raise."""

    def published(self, count: int) -> None:
        """Outbox rows that the broker confirmed."""

    def publish_failed(self, count: int) -> None:
        """Outbox rows that stay: returned, refused, timed out or cut off."""

    def handled(self, queue: str, outcome: str, seconds: float) -> None:
        """Messages settled one way: `done`, `retried` or `dead`; `seconds` is the handler's time."""

    def backlog(self, rows: int, oldest_s: float) -> None:
        """Outbox rows that wait, and the age of the oldest."""

    def dead(self, queue: str) -> None:
        """One message went to the dead queue of `queue`."""


class _Silent:
    def published(self, count: int) -> None:
        pass

    def publish_failed(self, count: int) -> None:
        pass

    def handled(self, queue: str, outcome: str, seconds: float) -> None:
        pass

    def backlog(self, rows: int, oldest_s: float) -> None:
        pass

    def dead(self, queue: str) -> None:
        pass


SILENT: Final[Signals] = _Silent()
