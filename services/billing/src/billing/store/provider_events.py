"""SQL over provider_events: the webhook inbox."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from billing.domain.provider_events import NewProviderEvent, ProviderEvent, ReviewMatter
from chassis.db import Connection


async def insert_events(conn: Connection, events: Sequence[NewProviderEvent], now: datetime) -> set[UUID]:
    """Stores each event that is not there yet and counts another delivery of those that are; returns the new ids."""
    rows = await conn.fetch(
        """
        INSERT INTO provider_events AS e (id, provider, account_id, event_id, type, kind, object_external_id,
                                          parent_external_id, reference, tenant_id, payload, status, occurred_at,
                                          received_at)
        SELECT DISTINCT ON (provider, account_id, event_id)
               id, provider, account_id, event_id, type, kind, object_external_id, parent_external_id, reference,
               tenant_id, payload, 'received', occurred_at, $13
        FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
                    $9::text[], $10::uuid[], $11::bytea[], $12::timestamptz[])
             AS n (id, provider, account_id, event_id, type, kind, object_external_id, parent_external_id, reference,
                   tenant_id, payload, occurred_at)
        ORDER BY provider, account_id, event_id
        ON CONFLICT (provider, account_id, event_id) DO UPDATE SET deliveries = e.deliveries + 1
        RETURNING id
        """,
        [event.id for event in events],
        [event.provider for event in events],
        [event.account_id for event in events],
        [event.notice.event_id for event in events],
        [event.notice.type for event in events],
        [event.notice.kind for event in events],
        [event.notice.object_external_id for event in events],
        [event.notice.parent_external_id for event in events],
        [event.notice.reference for event in events],
        [event.tenant_id for event in events],
        [event.payload for event in events],
        [event.notice.occurred_at for event in events],
        now,
    )
    # A repeat returns the id of the row that was there, which is none of those that were offered.
    return {row["id"] for row in rows} & {event.id for event in events}


async def reopen_events(
    conn: Connection, events: Sequence[NewProviderEvent], *, before: datetime, now: datetime
) -> set[UUID]:
    """Takes those that are there, and were dealt with before `before`, for received again; returns their ids."""
    rows = await conn.fetch(
        """
        UPDATE provider_events e SET status = 'received', processed_at = NULL, received_at = $5
        FROM unnest($1::text[], $2::uuid[], $3::text[]) AS n (provider, account_id, event_id)
        WHERE e.provider = n.provider AND e.account_id = n.account_id AND e.event_id = n.event_id
          AND e.status IN ('processed', 'ignored') AND e.processed_at < $4
        RETURNING e.id
        """,
        [event.provider for event in events],
        [event.account_id for event in events],
        [event.notice.event_id for event in events],
        before,
        now,
    )
    return {row["id"] for row in rows}


async def find_event(conn: Connection, event_id: UUID) -> ProviderEvent | None:
    """One stored event."""
    row = await conn.fetchrow("SELECT * FROM provider_events WHERE id = $1", event_id)
    return None if row is None else msgspec.convert(dict(row), ProviderEvent)


async def list_events(
    conn: Connection,
    *,
    before: UUID | None,
    limit: int,
    provider: str | None = None,
    status: str | None = None,
    event_type: str | None = None,
    tenant_id: UUID | None = None,
    object_external_id: str | None = None,
) -> list[ProviderEvent]:
    """Stored events, newest first, perhaps narrowed, those before `before`."""
    rows = await conn.fetch(
        """
        SELECT * FROM provider_events
        WHERE ($1::uuid IS NULL OR id < $1) AND ($3::text IS NULL OR provider = $3)
          AND ($4::text IS NULL OR status = $4) AND ($5::text IS NULL OR type = $5)
          AND ($6::uuid IS NULL OR tenant_id = $6) AND ($7::text IS NULL OR object_external_id = $7)
        ORDER BY id DESC LIMIT $2
        """,
        before,
        limit,
        provider,
        status,
        event_type,
        tenant_id,
        object_external_id,
    )
    return msgspec.convert([dict(row) for row in rows], list[ProviderEvent])


async def list_known(conn: Connection, provider: str, account_id: UUID, event_ids: Sequence[str]) -> set[str]:
    """Those of the provider's event ids that are stored."""
    rows = await conn.fetch(
        """
        SELECT event_id FROM provider_events
        WHERE provider = $1 AND account_id = $2 AND event_id = ANY($3::text[])
        """,
        provider,
        account_id,
        event_ids,
    )
    return {row["event_id"] for row in rows}


async def mark_event(
    conn: Connection, event_id: UUID, *, status: str, reason: str | None, tenant_id: UUID | None, now: datetime
) -> None:
    """Writes what was done about the event."""
    await conn.execute(
        """
        UPDATE provider_events
        SET status = $2, reason = $3, tenant_id = COALESCE(tenant_id, $4), attempts = attempts + 1,
            processed_at = CASE WHEN $2 IN ('processed', 'ignored', 'review') THEN $5::timestamptz END
        WHERE id = $1
        """,
        event_id,
        status,
        reason,
        tenant_id,
        now,
    )


async def reopen_event(conn: Connection, event_id: UUID) -> ProviderEvent | None:
    """The event, to be dealt with anew whatever was done about it before; None when there is none."""
    row = await conn.fetchrow(
        """
        UPDATE provider_events SET status = 'received', reason = NULL, processed_at = NULL WHERE id = $1 RETURNING *
        """,
        event_id,
    )
    return None if row is None else msgspec.convert(dict(row), ProviderEvent)


async def list_stuck(
    conn: Connection, *, since: datetime, before: datetime, max_attempts: int, limit: int
) -> list[ProviderEvent]:
    """Events of that time that nobody has dealt with, or that failed fewer than `max_attempts` times; oldest first."""
    rows = await conn.fetch(
        """
        SELECT * FROM provider_events
        WHERE status IN ('received', 'failed') AND received_at >= $1 AND received_at < $2
          AND (status = 'received' OR attempts < $3)
        ORDER BY received_at LIMIT $4
        """,
        since,
        before,
        max_attempts,
        limit,
    )
    return msgspec.convert([dict(row) for row in rows], list[ProviderEvent])


async def list_for_review(conn: Connection, *, since: datetime, limit: int) -> list[ReviewMatter]:
    """Events since then that a person has to look at, the oldest first."""
    rows = await conn.fetch(
        """
        SELECT id, tenant_id, '/billing/events/' || id AS path, provider, COALESCE(reason, '') AS reason,
               received_at AS at
        FROM provider_events
        WHERE status = 'review' AND received_at >= $1 ORDER BY received_at, id LIMIT $2
        """,
        since,
        limit,
    )
    return msgspec.convert([dict(row) for row in rows], list[ReviewMatter])
