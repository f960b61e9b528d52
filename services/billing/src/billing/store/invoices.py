"""SQL over invoices."""

from datetime import datetime
from uuid import UUID

from billing.domain.invoices import Invoice
from billing.store.rows import read, read_all, write
from chassis.db import Connection
from contracts.errors import NotFound


async def find_invoice(conn: Connection, tenant_id: UUID, invoice_id: UUID) -> Invoice | None:
    """The row, or None."""
    return read(
        Invoice,
        await conn.fetchval(
            "SELECT to_jsonb(t) FROM invoices t WHERE tenant_id = $1 AND id = $2", tenant_id, invoice_id
        ),
    )


async def get_invoice(conn: Connection, tenant_id: UUID, invoice_id: UUID) -> Invoice:
    """The row. Raises NotFound."""
    row = await find_invoice(conn, tenant_id, invoice_id)
    if row is None:
        raise NotFound("no such invoice")
    return row


async def lock_invoice(conn: Connection, tenant_id: UUID, invoice_id: UUID) -> Invoice:
    """The row, kept from others until the transaction ends. Raises NotFound."""
    row = read(
        Invoice,
        await conn.fetchval(
            "SELECT to_jsonb(t) FROM invoices t WHERE tenant_id = $1 AND id = $2 FOR NO KEY UPDATE",
            tenant_id,
            invoice_id,
        ),
    )
    if row is None:
        raise NotFound("no such invoice")
    return row


async def insert_invoice(conn: Connection, tenant_id: UUID, row: Invoice) -> None:
    """Adds the row."""
    await conn.execute(
        """
        INSERT INTO invoices SELECT r.* FROM jsonb_populate_record(NULL::invoices, $2::jsonb) r WHERE r.tenant_id = $1
        """,
        tenant_id,
        write(row),
    )


async def update_invoice(conn: Connection, tenant_id: UUID, row: Invoice) -> None:
    """Writes what of the row may change."""
    await conn.execute(
        """
        UPDATE invoices t SET subscription_id = r.subscription_id, order_id = r.order_id, description = r.description,
               refunded_cents = r.refunded_cents, status = r.status, external_id = r.external_id,
               url = r.url, period_start = r.period_start, period_end = r.period_end, due_at = r.due_at,
               attempts = r.attempts, last_failure = r.last_failure, next_attempt_at = r.next_attempt_at,
               paid_at = r.paid_at, voided_at = r.voided_at, version = r.version,
               updated_at = r.updated_at
        FROM jsonb_populate_record(NULL::invoices, $2::jsonb) r
        WHERE t.tenant_id = $1 AND t.id = r.id
        """,
        tenant_id,
        write(row),
    )


async def next_number(conn: Connection, tenant_id: UUID) -> int:
    """The next invoice number of the tenant, without gaps: its row stays locked until the transaction ends."""
    number: int = await conn.fetchval(
        """
        INSERT INTO invoice_numbers (tenant_id, last) VALUES ($1, 1)
        ON CONFLICT (tenant_id) DO UPDATE SET last = invoice_numbers.last + 1 RETURNING last
        """,
        tenant_id,
    )
    return number


async def find_shown(conn: Connection, tenant_id: UUID, invoice_id: UUID) -> str | None:
    """The JSON that is shown of one invoice, as `list_shown` has it."""
    found: str | None = await conn.fetchval(
        """
        SELECT row_to_json(t) FROM (
            SELECT id, tenant_id, sold_by, number, customer_id, subscription_id, order_id, plan_id, plan_slug,
                   interval, description, amount_cents, refunded_cents, currency, status, provider, external_id,
                   url, period_start, period_end, due_at, attempts, last_failure, next_attempt_at, issued_at,
                   paid_at, voided_at, updated_at
            FROM invoices WHERE tenant_id = $1 AND id = $2) t
        """,
        tenant_id,
        invoice_id,
    )
    return found


async def list_shown(
    conn: Connection,
    tenant_id: UUID,
    *,
    before: UUID | None,
    limit: int,
    status: str | None = None,
    subscription_id: UUID | None = None,
) -> list[tuple[UUID, str]]:
    """The tenant's, newest first, those before `before`: the id, and the JSON that is shown of it.

    What is read most often is not made an object on its way. `(tenant_id, id)` is the index, from `before` on.
    """
    return [
        (row["id"], row["shown"])
        for row in await conn.fetch(
            """
            SELECT id, row_to_json(t) AS shown FROM (
                SELECT id, tenant_id, sold_by, number, customer_id, subscription_id, order_id, plan_id, plan_slug,
                       interval, description, amount_cents, refunded_cents, currency, status, provider, external_id,
                       url, period_start, period_end, due_at, attempts, last_failure, next_attempt_at, issued_at,
                       paid_at, voided_at, updated_at
                FROM invoices
                WHERE tenant_id = $1 AND id < COALESCE($2::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
                  AND ($4::text IS NULL OR status = $4) AND ($5::uuid IS NULL OR subscription_id = $5)
                ORDER BY id DESC LIMIT $3) t
            """,
            tenant_id,
            before,
            limit,
            status,
            subscription_id,
        )
    ]


async def list_invoices(
    conn: Connection,
    tenant_id: UUID,
    *,
    before: UUID | None,
    limit: int,
    status: str | None = None,
    subscription_id: UUID | None = None,
) -> list[Invoice]:
    """The tenant's, newest first, those before `before`."""
    return read_all(
        Invoice,
        await conn.fetch(
            """
            SELECT to_jsonb(t) FROM invoices t
            WHERE tenant_id = $1 AND ($2::uuid IS NULL OR id < $2) AND ($4::text IS NULL OR status = $4)
              AND ($5::uuid IS NULL OR subscription_id = $5)
            ORDER BY id DESC LIMIT $3
            """,
            tenant_id,
            before,
            limit,
            status,
            subscription_id,
        ),
    )


async def find_of_order(conn: Connection, tenant_id: UUID, order_id: UUID) -> Invoice | None:
    """The invoice made when the order was placed, kept from others."""
    return read(
        Invoice,
        await conn.fetchval(
            "SELECT to_jsonb(t) FROM invoices t WHERE tenant_id = $1 AND order_id = $2 FOR NO KEY UPDATE",
            tenant_id,
            order_id,
        ),
    )


async def lock_pending(conn: Connection, tenant_id: UUID, subscription_id: UUID) -> list[Invoice]:
    """What the subscription owes, oldest first, kept from others until the transaction ends."""
    return read_all(
        Invoice,
        await conn.fetch(
            """
            SELECT to_jsonb(t) FROM invoices t
            WHERE tenant_id = $1 AND subscription_id = $2 AND status = 'pending' ORDER BY id FOR NO KEY UPDATE
            """,
            tenant_id,
            subscription_id,
        ),
    )


async def reprice_invoice(
    conn: Connection, tenant_id: UUID, invoice_id: UUID, *, amount_cents: int, now: datetime
) -> Invoice:
    """The pending invoice, of another amount from now on."""
    row = read(
        Invoice,
        await conn.fetchval(
            """
            UPDATE invoices t SET amount_cents = $3, version = version + 1, updated_at = $4
            WHERE tenant_id = $1 AND id = $2 AND status = 'pending' RETURNING to_jsonb(t)
            """,
            tenant_id,
            invoice_id,
            amount_cents,
            now,
        ),
    )
    assert row is not None, "whoever calls has locked it while it was pending"
    return row


async def list_between(
    conn: Connection, tenant_id: UUID, start: datetime | None, end: datetime | None
) -> list[Invoice]:
    """The tenant's invoices due from `start` to before `end`, the latest due first; at most 1,000."""
    return read_all(
        Invoice,
        await conn.fetch(
            """
            SELECT to_jsonb(t) FROM invoices t
            WHERE tenant_id = $1 AND ($2::timestamptz IS NULL OR due_at >= $2)
              AND ($3::timestamptz IS NULL OR due_at < $3)
            ORDER BY due_at DESC, id LIMIT 1000
            """,
            tenant_id,
            start,
            end,
        ),
    )
