"""SQL over refunds."""

from uuid import UUID

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
