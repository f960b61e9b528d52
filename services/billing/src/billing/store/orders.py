"""SQL over orders."""

from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from billing.domain.orders import Order
from billing.store.rows import read, read_all, write
from chassis.db import Connection
from contracts.errors import NotFound


async def find_order(conn: Connection, tenant_id: UUID, order_id: UUID) -> Order | None:
    """The row, or None."""
    return read(
        Order,
        await conn.fetchval("SELECT to_jsonb(t) FROM orders t WHERE tenant_id = $1 AND id = $2", tenant_id, order_id),
    )


async def get_order(conn: Connection, tenant_id: UUID, order_id: UUID) -> Order:
    """The row. Raises NotFound."""
    row = await find_order(conn, tenant_id, order_id)
    if row is None:
        raise NotFound("no such order")
    return row


async def lock_order(conn: Connection, tenant_id: UUID, order_id: UUID) -> Order:
    """The row, kept from others until the transaction ends. Raises NotFound."""
    row = read(
        Order,
        await conn.fetchval(
            "SELECT to_jsonb(t) FROM orders t WHERE tenant_id = $1 AND id = $2 FOR NO KEY UPDATE", tenant_id, order_id
        ),
    )
    if row is None:
        raise NotFound("no such order")
    return row


async def insert_order(conn: Connection, tenant_id: UUID, row: Order) -> None:
    """Adds the row."""
    await conn.execute(
        """
        INSERT INTO orders SELECT r.* FROM jsonb_populate_record(NULL::orders, $2::jsonb) r WHERE r.tenant_id = $1
        """,
        tenant_id,
        write(row),
    )


async def update_order(conn: Connection, tenant_id: UUID, row: Order) -> None:
    """Writes what of the row may change."""
    await conn.execute(
        """
        UPDATE orders t SET status = r.status, external_id = r.external_id, checkout_url = r.checkout_url,
               buyer_email = r.buyer_email, buyer_name = r.buyer_name, claim_id = r.claim_id,
               failure_reason = r.failure_reason, version = r.version, paid_at = r.paid_at,
               ended_at = r.ended_at, expires_at = r.expires_at, updated_at = r.updated_at
        FROM jsonb_populate_record(NULL::orders, $2::jsonb) r
        WHERE t.tenant_id = $1 AND t.id = r.id
        """,
        tenant_id,
        write(row),
    )


class OrderEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of an order's timeline."""

    id: UUID
    tenant_id: UUID
    order_id: UUID
    kind: str
    detail: dict[str, Any]
    at: datetime


async def insert_entry(conn: Connection, tenant_id: UUID, entry: OrderEntry) -> None:
    """Adds a line to an order's timeline."""
    await conn.execute(
        """
        INSERT INTO order_events (id, tenant_id, order_id, kind, detail, at)
        SELECT r.id, r.tenant_id, r.order_id, r.kind, r.detail, r.at
        FROM jsonb_populate_record(NULL::order_events, $2::jsonb) r WHERE r.tenant_id = $1
        """,
        tenant_id,
        write(entry),
    )


async def list_entries(conn: Connection, tenant_id: UUID, order_id: UUID) -> list[OrderEntry]:
    """An order's timeline, as it was written."""
    return read_all(
        OrderEntry,
        await conn.fetch(
            "SELECT to_jsonb(t) FROM order_events t WHERE tenant_id = $1 AND order_id = $2 ORDER BY line",
            tenant_id,
            order_id,
        ),
    )


class OrderTrail(msgspec.Struct, frozen=True, kw_only=True):
    """What came of an order: its subscription, the invoices of both, and the payments of those, oldest first."""

    subscription_id: UUID | None
    invoice_ids: list[UUID]
    payment_ids: list[UUID]


async def get_trail(conn: Connection, tenant_id: UUID, order_id: UUID) -> OrderTrail:
    """What came of the order; empty for one that is not there."""
    row = await conn.fetchrow(
        """
        WITH brought AS (SELECT id FROM subscriptions WHERE tenant_id = $1 AND order_id = $2),
             owed AS (SELECT id FROM invoices
                      WHERE tenant_id = $1 AND (order_id = $2 OR subscription_id = (SELECT id FROM brought)))
        SELECT (SELECT id FROM brought) AS subscription_id,
               ARRAY(SELECT id FROM owed ORDER BY id) AS invoice_ids,
               ARRAY(SELECT id FROM payments
                     WHERE tenant_id = $1 AND invoice_id IN (SELECT id FROM owed) ORDER BY id) AS payment_ids
        """,
        tenant_id,
        order_id,
    )
    assert row is not None
    return OrderTrail(
        subscription_id=row["subscription_id"], invoice_ids=row["invoice_ids"], payment_ids=row["payment_ids"]
    )


async def list_expired(conn: Connection, now: datetime, limit: int) -> list[Order]:
    """Pending orders past their time, of whatever tenant. For a platform transaction."""
    return read_all(
        Order,
        await conn.fetch(
            """
            SELECT to_jsonb(t) FROM orders t
            WHERE status = 'pending' AND expires_at < $1 ORDER BY placed_at LIMIT $2
            """,
            now,
            limit,
        ),
    )
