"""Erases links from the outbox once their mails are on their way."""

from datetime import datetime, timedelta
from typing import Final

from bus.outbox import erase_body
from chassis.db import Connection
from tenants import store

#: Until then a broker that lost its data is sent the mail again; after that its reader asks for another link.
KEPT: Final = timedelta(minutes=10)
_AT_ONCE: Final = 200


async def erase_mailed_links(conn: Connection, *, now: datetime) -> int:
    """How many were erased. In a platform transaction. What the broker did not confirm yet stays as it is."""
    message_ids = await store.mailed_links.lock_published(conn, now - KEPT, limit=_AT_ONCE)
    for message_id in message_ids:
        await erase_body(conn, message_id)
    await store.mailed_links.delete_mailed_links(conn, message_ids)
    return len(message_ids)
