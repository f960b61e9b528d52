"""Counts a try at something that is limited, before it is made."""

from chassis.db import Database, platform_transaction
from tenants.domain.rate import Limit
from tenants.usecases.count_tries import count_tries


async def take_tries(db: Database, *tries: tuple[Limit, str]) -> None:
    """Counts one try of each (limit, who), in a transaction of its own: what is tried may fail, the count stays.

    Raises TooManyRequests when one of them is used up; those before it have counted the try.
    """
    async with platform_transaction(db) as conn:
        refusal = await count_tries(conn, *tries)
    if refusal is not None:
        raise refusal
