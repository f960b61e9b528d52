"""What the bus does for a consumer, for tests that deal with much at once: what passes by itself is tried again."""

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from bus.failures import is_transient

T = TypeVar("T")

_TRIES: Final = 200


async def again_while_busy(deal: Callable[[], Awaitable[T]]) -> T:
    """What comes of `deal` once the database has a connection, and its locks are free, for it. Raises whatever else."""
    for _ in range(_TRIES):
        try:
            return await deal()
        except Exception as error:
            if not is_transient(error):
                raise
    return await deal()
