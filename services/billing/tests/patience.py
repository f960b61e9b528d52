"""What the bus does for a consumer, for tests that deal with much at once: whoever got no connection comes again."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from contracts.errors import Unavailable

T = TypeVar("T")


async def again_while_busy(deal: Callable[[], Awaitable[T]]) -> T:
    """What comes of `deal` once the database has a connection for it. Raises whatever else it does."""
    while True:
        try:
            return await deal()
        except Unavailable as error:
            if error.code != "database_busy":
                raise
