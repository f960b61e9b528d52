"""Forgets, every ten minutes, what a service's own tables have kept for long enough."""

import asyncio
import contextlib
from typing import Final

import structlog

from bus import dead_letters, deliveries, inbox
from bus.failures import DATABASE_FAILED
from chassis import idempotency
from chassis.db import Database, platform_transaction
from contracts.errors import Unavailable

_EVERY_S: Final = 600.0
_log = structlog.get_logger("chassis.retention")


async def purge_forever(db: Database, stopping: asyncio.Event) -> None:
    """Purges until `stopping`; a database that is away is tried again the next time."""
    while not stopping.is_set():
        try:
            await _purge(db)
        except (*DATABASE_FAILED, Unavailable) as error:
            _log.warning("not purged", error=repr(error))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), _EVERY_S)


async def _purge(db: Database) -> None:
    for purge in (idempotency.purge, inbox.purge, deliveries.purge, dead_letters.purge):
        while True:
            async with platform_transaction(db) as connection:
                if not await purge(connection):
                    break
