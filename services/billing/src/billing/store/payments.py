"""SQL over payments."""

from datetime import datetime
from uuid import UUID

import msgspec

from billing.domain.payments import Payment
from billing.domain.provider_events import ReviewMatter
from billing.store.rows import read, read_all, write
from chassis.db import Connection
from contracts.errors import NotFound


async def find_payment(conn: Connection, tenant_id: UUID, payment_id: UUID) -> Payment | None:
    """The row, or None."""
    return read(
        Payment,
        await conn.fetchval(
            "SELECT to_jsonb(t) FROM payments t WHERE tenant_id = $1 AND id = $2", tenant_id, payment_id
        ),
    )


async def get_payment(conn: Connection, tenant_id: UUID, payment_id: UUID) -> Payment:
    """The row. Raises NotFound."""
    row = await find_payment(conn, tenant_id, payment_id)
    if row is None:
        raise NotFound("no such payment")
    return row


async def lock_payment(conn: Connection, tenant_id: UUID, payment_id: UUID) -> Payment:
    """The row, kept from others until the transaction ends. Raises NotFound."""
    row = read(
        Payment,
        await conn.fetchval(
            "SELECT to_jsonb(t) FROM payments t WHERE tenant_id = $1 AND id = $2 FOR NO KEY UPDATE",
            tenant_id,
            payment_id,
        ),
    )
    if row is None:
        raise NotFound("no such payment")
    return row


async def insert_payment(conn: Connection, tenant_id: UUID, row: Payment) -> None:
    """Adds the row."""
    await conn.execute(
        """
        INSERT INTO payments SELECT r.* FROM jsonb_populate_record(NULL::payments, $2::jsonb) r WHERE r.tenant_id = $1
        """,
        tenant_id,
        write(row),
    )


async def update_payment(conn: Connection, tenant_id: UUID, row: Payment) -> None:
    """Writes what of the row may change."""
    await conn.execute(
        """
        UPDATE payments t SET invoice_id = r.invoice_id, external_id = r.external_id, method = r.method,
               status = r.status, refunded_cents = r.refunded_cents, description = r.description,
               paid_at = r.paid_at, failure_reason = r.failure_reason, review_reason = r.review_reason,
               txid = r.txid, end_to_end_id = r.end_to_end_id, pix_copy_paste = r.pix_copy_paste,
               pix_expires_at = r.pix_expires_at, url = r.url, raw = r.raw, observed_at = r.observed_at,
               version = r.version, updated_at = r.updated_at
        FROM jsonb_populate_record(NULL::payments, $2::jsonb) r
        WHERE t.tenant_id = $1 AND t.id = r.id
        """,
        tenant_id,
        write(row),
    )


async def list_payments(
    conn: Connection,
    tenant_id: UUID,
    *,
    before: UUID | None,
    limit: int,
    status: str | None = None,
    invoice_id: UUID | None = None,
) -> list[Payment]:
    """The tenant's, newest first, those before `before`."""
    return read_all(
        Payment,
        await conn.fetch(
            """
            SELECT to_jsonb(t) FROM payments t
            WHERE tenant_id = $1 AND ($2::uuid IS NULL OR id < $2) AND ($4::text IS NULL OR status = $4)
              AND ($5::uuid IS NULL OR invoice_id = $5)
            ORDER BY id DESC LIMIT $3
            """,
            tenant_id,
            before,
            limit,
            status,
            invoice_id,
        ),
    )


async def find_by_txid(conn: Connection, tenant_id: UUID, txid: str) -> Payment | None:
    """The PIX payment with that transaction id."""
    return read(
        Payment,
        await conn.fetchval("SELECT to_jsonb(t) FROM payments t WHERE tenant_id = $1 AND txid = $2", tenant_id, txid),
    )


async def find_settling(conn: Connection, tenant_id: UUID, invoice_id: UUID) -> Payment | None:
    """The payment that settles the invoice."""
    return read(
        Payment,
        await conn.fetchval(
            """
            SELECT to_jsonb(t) FROM payments t
            WHERE tenant_id = $1 AND invoice_id = $2 AND review_reason IS NULL
              AND status IN ('paid', 'partially_refunded', 'refunded', 'disputed', 'charged_back')
            """,
            tenant_id,
            invoice_id,
        ),
    )


async def list_paid_between(
    conn: Connection, tenant_id: UUID, start: datetime | None, end: datetime | None
) -> list[Payment]:
    """The tenant's received payments from `start` to before `end`, oldest first; at most 1,000."""
    return read_all(
        Payment,
        await conn.fetch(
            """
            SELECT to_jsonb(t) FROM payments t
            WHERE tenant_id = $1 AND paid_at IS NOT NULL AND ($2::timestamptz IS NULL OR paid_at >= $2)
              AND ($3::timestamptz IS NULL OR paid_at < $3)
            ORDER BY paid_at, id LIMIT 1000
            """,
            tenant_id,
            start,
            end,
        ),
    )


async def list_waiting(conn: Connection, now: datetime, limit: int) -> list[Payment]:
    """Pending payments whose provider is to be asked again, the longest unasked first. For a platform transaction.

    The older a payment, the rarer: every three minutes at first, an eighth of its age later, at most every six hours,
    for ninety days.
    """
    return read_all(
        Payment,
        await conn.fetch(
            """
            SELECT to_jsonb(t) FROM payments t
            WHERE status = 'pending' AND external_id IS NOT NULL
              AND created_at > $1::timestamptz - interval '90 days'
              AND updated_at <= $1 - LEAST(interval '6 hours', GREATEST(interval '3 minutes', ($1 - created_at) / 8))
            ORDER BY updated_at LIMIT $2
            """,
            now,
            limit,
        ),
    )


async def touch_payment(conn: Connection, tenant_id: UUID, payment_id: UUID, now: datetime) -> None:
    """Notes that a pending payment's provider was asked, whatever came of it, so that others get their turn."""
    await conn.execute(
        "UPDATE payments SET updated_at = $3 WHERE tenant_id = $1 AND id = $2 AND status = 'pending'",
        tenant_id,
        payment_id,
        now,
    )


async def find_latest_of_invoice(conn: Connection, tenant_id: UUID, invoice_id: UUID) -> Payment | None:
    """The last payment that was asked for, or reported, for the invoice."""
    return read(
        Payment,
        await conn.fetchval(
            """
            SELECT to_jsonb(t) FROM payments t WHERE tenant_id = $1 AND invoice_id = $2 ORDER BY id DESC LIMIT 1
            """,
            tenant_id,
            invoice_id,
        ),
    )


async def reprice_unpaid(
    conn: Connection, tenant_id: UUID, invoice_id: UUID, *, amount_cents: int, now: datetime
) -> None:
    """What is asked for the invoice, and not paid, is of another amount from now on."""
    await conn.execute(
        """
        UPDATE payments SET amount_cents = $3, version = version + 1, updated_at = $4
        WHERE tenant_id = $1 AND invoice_id = $2 AND status IN ('pending', 'failed')
        """,
        tenant_id,
        invoice_id,
        amount_cents,
        now,
    )


async def list_for_review(conn: Connection, *, since: datetime, limit: int) -> list[ReviewMatter]:
    """Payments that came under review since then, of which no event says so, the oldest first. For a platform
    transaction."""
    rows = await conn.fetch(
        """
        SELECT id, tenant_id, '/payments/' || id AS path, provider, review_reason AS reason, updated_at AS at
        FROM payments p
        WHERE review_reason IS NOT NULL AND updated_at >= $1 AND NOT EXISTS (
              SELECT 1 FROM provider_events e
              WHERE e.status = 'review' AND e.provider = p.provider AND e.account_id = p.account_id
                AND e.object_external_id = p.external_id)
        ORDER BY updated_at, id LIMIT $2
        """,
        since,
        limit,
    )
    return msgspec.convert([dict(row) for row in rows], list[ReviewMatter])
