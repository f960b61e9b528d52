"""Counts a try at something that is limited, before it is made."""

import math

from chassis.db import Database, platform_transaction
from contracts.errors import TooManyRequests
from tenants import store
from tenants.domain.rate import Limit


async def take_tries(db: Database, *tries: tuple[Limit, str]) -> None:
    """Counts one try of each (limit, who), in a transaction of its own: what is tried may fail, the count stays.

    Everybody names wider limits first, and gives back in that order, after the person's row: so nobody waits in a
    circle. Raises TooManyRequests when one of them is used up; those before it have counted the try.
    """
    async with platform_transaction(db) as conn:
        for limit, who in tries:
            wait_s = await store.sessions.take_try(conn, limit.key(who), limit.emission, limit.tolerance)
            if wait_s is not None:
                break
    if wait_s is not None:
        raise TooManyRequests("Too many tries; try again later.", code="too_many_tries", retry_after_s=_whole(wait_s))


def _whole(wait_s: float) -> int:
    return max(1, math.ceil(wait_s))
