"""SQL over mail jobs that hold a link: for platform transactions only."""

from datetime import datetime
from uuid import UUID

from chassis.db import Connection


async def insert_mailed_link(conn: Connection, message_id: UUID) -> None:
    """Notes that the outbox row holds a link."""
    await conn.execute("INSERT INTO mailed_links (message_id) VALUES ($1)", message_id)


async def lock_published(conn: Connection, before: datetime, *, limit: int) -> list[UUID]:
    """The outbox rows with a link that the broker confirmed before then, kept from others, also from being sent again.

    Those that another transaction has in hand are left out.
    """
    rows = await conn.fetch(
        """
        SELECT l.message_id FROM mailed_links l JOIN outbox o ON o.id = l.message_id
        WHERE o.published_at < $1 ORDER BY l.written_at LIMIT $2 FOR UPDATE OF o SKIP LOCKED
        """,
        before,
        limit,
    )
    return [row["message_id"] for row in rows]


async def delete_mailed_links(conn: Connection, message_ids: list[UUID]) -> None:
    """Forgets them, and those whose outbox row is gone."""
    await conn.execute(
        """
        DELETE FROM mailed_links l
        WHERE l.message_id = ANY($1::uuid[]) OR NOT EXISTS (SELECT FROM outbox o WHERE o.id = l.message_id)
        """,
        message_ids,
    )
