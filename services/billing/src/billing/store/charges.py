"""SQL over payments as seed 002's gateway lists them: what a tenant charges its own customers."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from billing.domain.payments import Payment
from billing.store.rows import read_all
from chassis.db import Connection


async def list_charges(
    conn: Connection,
    tenant_id: UUID,
    *,
    provider: str,
    account_id: UUID | None = None,
    reference: str | None = None,
    lead_id: str | None = None,
    status: str | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    limit: int,
    offset: int,
) -> list[Payment]:
    """What the tenant charges its own customers at that provider, newest first; `status` is ours or the provider's."""
    return read_all(
        Payment,
        await conn.fetch(
            """
            SELECT to_jsonb(t) FROM payments t
            WHERE tenant_id = $1 AND sold_by = 'tenant' AND provider = $2 AND ($3::uuid IS NULL OR account_id = $3)
              AND ($4::text IS NULL OR reference = $4)
              AND ($5::text IS NULL OR customer_id IN (
                    SELECT id FROM customers WHERE tenant_id = $1 AND lead_id = $5))
              AND ($6::text IS NULL OR status = lower($6) OR raw->>'status' = upper($6))
              AND ($7::timestamptz IS NULL OR created_at >= $7) AND ($8::timestamptz IS NULL OR created_at < $8)
            ORDER BY id DESC LIMIT $9 OFFSET $10
            """,
            tenant_id,
            provider,
            account_id,
            reference,
            lead_id,
            status,
            start,
            end,
            limit,
            offset,
        ),
    )


async def list_references(conn: Connection, tenant_id: UUID, payment_ids: Sequence[UUID]) -> dict[UUID, str | None]:
    """The tenant's own words for those of the payments that are its own."""
    rows = await conn.fetch(
        "SELECT id, reference FROM payments WHERE tenant_id = $1 AND id = ANY($2::uuid[])", tenant_id, payment_ids
    )
    return {row["id"]: row["reference"] for row in rows}


class ChargedCustomer(msgspec.Struct, frozen=True):
    """What the CRM and the provider call a customer."""

    lead_id: str | None
    external_id: str | None


async def list_customers(
    conn: Connection, tenant_id: UUID, provider: str, payment_ids: Sequence[UUID]
) -> dict[UUID, ChargedCustomer]:
    """Who is charged, by payment."""
    rows = await conn.fetch(
        """
        SELECT p.id, c.lead_id, a.external_id
        FROM payments p
        JOIN customers c ON c.tenant_id = p.tenant_id AND c.id = p.customer_id
        LEFT JOIN customer_accounts a ON a.tenant_id = p.tenant_id AND a.customer_id = p.customer_id
             AND a.provider = p.provider AND a.account_id = p.account_id
        WHERE p.tenant_id = $1 AND p.provider = $2 AND p.id = ANY($3::uuid[])
        """,
        tenant_id,
        provider,
        payment_ids,
    )
    return {row["id"]: ChargedCustomer(row["lead_id"], row["external_id"]) for row in rows}


class OpenRefund(msgspec.Struct, frozen=True):
    """A refund whose answer is not known."""

    tenant_id: UUID
    id: UUID


async def list_open_refunds(conn: Connection, now: datetime, *, first_after_s: float, limit: int) -> list[OpenRefund]:
    """Refunds that nobody has brought to an end and that are due for another try, the longest idle first.

    As calls are: one that was never asked for after `first_after_s`, others after a minute, two, and so on up to an
    hour. For a platform transaction.
    """
    rows = await conn.fetch(
        """
        SELECT r.tenant_id, r.id
        FROM refunds r
        JOIN payments p ON p.tenant_id = r.tenant_id AND p.id = r.payment_id
        LEFT JOIN provider_calls c
               ON c.tenant_id = r.tenant_id AND c.provider = p.provider AND c.key = 'refund-' || r.id
        WHERE r.status = 'requested' AND COALESCE(c.updated_at, r.created_at) + CASE COALESCE(c.attempts, 0)
              WHEN 0 THEN make_interval(secs => $2)
              ELSE LEAST(interval '1 hour', interval '1 minute' * power(2, LEAST(c.attempts, 10) - 1)) END <= $1
        ORDER BY COALESCE(c.updated_at, r.created_at) LIMIT $3
        """,
        now,
        first_after_s,
        limit,
    )
    return [OpenRefund(row["tenant_id"], row["id"]) for row in rows]
