"""SQL over provider_events as a tenant sees them: what was sent to its own accounts."""

from uuid import UUID

import msgspec

from billing.domain.provider_events import ProviderEvent
from chassis.db import Connection


async def list_events(
    conn: Connection, tenant_id: UUID, *, provider: str | None, statuses: list[str] | None, limit: int, offset: int
) -> list[ProviderEvent]:
    """The tenant's, newest first."""
    rows = await conn.fetch(
        """
        SELECT * FROM provider_events
        WHERE tenant_id = $1 AND ($2::text IS NULL OR provider = $2) AND ($3::text[] IS NULL OR status = ANY($3))
        ORDER BY id DESC LIMIT $4 OFFSET $5
        """,
        tenant_id,
        provider,
        statuses,
        limit,
        offset,
    )
    return msgspec.convert([dict(row) for row in rows], list[ProviderEvent])


async def lock_event(conn: Connection, tenant_id: UUID, event_id: UUID) -> ProviderEvent | None:
    """One of the tenant's, kept from others until the transaction ends."""
    row = await conn.fetchrow(
        "SELECT * FROM provider_events WHERE tenant_id = $1 AND id = $2 FOR UPDATE", tenant_id, event_id
    )
    return None if row is None else msgspec.convert(dict(row), ProviderEvent)


async def mark_received(conn: Connection, tenant_id: UUID, event_id: UUID) -> None:
    """The event is to be dealt with once more."""
    await conn.execute(
        """
        UPDATE provider_events SET status = 'received', reason = NULL, processed_at = NULL
        WHERE tenant_id = $1 AND id = $2
        """,
        tenant_id,
        event_id,
    )
