"""Does what is due: claims that ran out, tenants that did not pay, what has run out of date, links in the outbox."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import structlog

from bus.failures import is_transient
from chassis.clock import Clock
from chassis.db import Connection, Database, platform_transaction
from tenants import store
from tenants.domain.terms import Terms
from tenants.usecases.erase_mailed_links import erase_mailed_links
from tenants.usecases.expire_claims import expire_claims
from tenants.usecases.suspend_unpaid import suspend_unpaid

_log = structlog.get_logger("tenants.schedules")


async def run_schedules(db: Database, *, terms: Terms, clock: Clock, stopping: asyncio.Event, every_s: float) -> None:
    """Until `stopping`, each job in a transaction of its own, every `every_s` seconds; what fails is tried again then.

    Any number of processes may run it: what one has in hand the others leave alone.
    """

    async def expire(conn: Connection) -> int:
        return await expire_claims(conn, terms=terms, now=clock())

    async def suspend(conn: Connection) -> int:
        return await suspend_unpaid(conn, now=clock())

    async def purge(conn: Connection) -> int:
        now = clock()
        stores = (store.sessions, store.links, store.tries)
        return sum([await one.purge(conn, now) for one in stores])

    async def erase(conn: Connection) -> int:
        return await erase_mailed_links(conn, now=clock())

    jobs: tuple[Callable[[Connection], Awaitable[int]], ...] = (expire, suspend, purge, erase)
    while not stopping.is_set():
        for job in jobs:
            try:
                async with platform_transaction(db) as conn:
                    done = await job(conn)
                if done:
                    _log.info("schedule", job=job.__name__, done=done)
            except Exception as error:
                if not is_transient(error):
                    _log.exception("schedule failed", job=job.__name__)
                else:
                    _log.warning("schedule not run", job=job.__name__, error=repr(error))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), every_s)
