"""Named places between commit, publish and ack where a test may make the process die; nothing happens elsewhere."""

from collections.abc import Callable

#: Set by a test only. It may raise, sleep or end the process.
hit: Callable[[str], None] | None = None


def failpoint(name: str) -> None:
    """Marks a boundary between two durable effects; does nothing unless a test has set `hit`."""
    if hit is not None:
        hit(name)
