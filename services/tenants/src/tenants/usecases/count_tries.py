"""Counts a try at something that is limited, in the transaction that looks at what is tried."""

import math

from chassis.db import Connection
from contracts.errors import TooManyRequests
from tenants import store
from tenants.domain.rate import Limit


async def count_tries(conn: Connection, *tries: tuple[Limit, str]) -> TooManyRequests | None:
    """None once a try of each (limit, who) is counted; else what to raise after the transaction, which has to commit.

    Everybody names wider limits first, and gives back in that order, after the person's row: so nobody waits in a
    circle. Where one of them is used up, those before it have counted the try.
    """
    for limit, who in tries:
        wait_s = await store.tries.take_try(conn, limit.key(who), limit.emission, limit.tolerance)
        if wait_s is not None:
            return TooManyRequests(
                "Too many tries; try again later.", code="too_many_tries", retry_after_s=max(1, math.ceil(wait_s))
            )
    return None
