"""SQL over refunds."""

from datetime import datetime
from uuid import UUID

import msgspec

from billing.domain.refunds import Refund
from billing.store.rows import read, read_all, write
from chassis.db import Connection


async def insert_refund(conn: Connection, tenant_id: UUID, row: Refund) -> None:
    """Adds the refund."""
    await conn.execute(
        "INSERT INTO refunds SELECT r.* FROM jsonb_populate_record(NULL::refunds, $2::jsonb) r WHERE r.tenant_id = $1",
        tenant_id,
        write(row),
    )


async def update_refund(conn: Connection, tenant_id: UUID, row: Refund) -> None:
    """Writes what came of it. What is over stays as it ended, but for one that was done and fails after all."""
    await conn.execute(
        """
        UPDATE refunds SET status = $3, external_id = $4, updated_at = $5
        WHERE tenant_id = $1 AND id = $2
          AND (status IN ('requested', 'pending') OR (status = 'done' AND $3 = 'failed'))
        """,
        tenant_id,
        row.id,
        row.status,
        row.external_id,
        row.updated_at,
    )


async def find_refund(conn: Connection, tenant_id: UUID, refund_id: UUID) -> Refund | None:
    """One refund."""
    return read(
        Refund,
        await conn.fetchval("SELECT to_jsonb(t) FROM refunds t WHERE tenant_id = $1 AND id = $2", tenant_id, refund_id),
    )


async def list_refunds(conn: Connection, tenant_id: UUID, payment_id: UUID) -> list[Refund]:
    """A payment's refunds, oldest first."""
    return read_all(
        Refund,
        await conn.fetch(
            "SELECT to_jsonb(t) FROM refunds t WHERE tenant_id = $1 AND payment_id = $2 ORDER BY id",
            tenant_id,
            payment_id,
        ),
    )


class OverdueRefund(msgspec.Struct, frozen=True, kw_only=True):
    """A refund of which nothing has come, with what of its payment tells whose it is."""

    id: UUID
    tenant_id: UUID
    payment_id: UUID
    order_id: UUID | None
    provider: str
    amount_cents: int
    currency: str
    created_at: datetime


async def mark_overdue(conn: Connection, *, before: datetime, now: datetime, limit: int) -> list[OverdueRefund]:
    """Those asked for before then that have not ended, the oldest first, each given out once. For a platform
    transaction."""
    rows = await conn.fetch(
        """
        WITH waiting AS (
            SELECT tenant_id, id FROM refunds
            WHERE status IN ('requested', 'pending') AND overdue_at IS NULL AND created_at < $1
            ORDER BY created_at LIMIT $3 FOR UPDATE SKIP LOCKED),
        marked AS (
            UPDATE refunds r SET overdue_at = $2 FROM waiting w
            WHERE r.tenant_id = w.tenant_id AND r.id = w.id RETURNING r.*)
        SELECT m.id, m.tenant_id, m.payment_id, p.order_id, p.provider, m.amount_cents, p.currency, m.created_at
        FROM marked m JOIN payments p ON p.tenant_id = m.tenant_id AND p.id = m.payment_id
        ORDER BY m.created_at, m.id
        """,
        before,
        now,
        limit,
    )
    return msgspec.convert([dict(row) for row in rows], list[OverdueRefund])
