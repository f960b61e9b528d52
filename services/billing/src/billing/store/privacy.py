"""SQL over what billing holds of a person, in whatever table. For a platform transaction."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from chassis.db import Connection


async def list_customer_ids(conn: Connection, tenant_id: UUID, email: str) -> list[UUID]:
    """The tenant's customers of that address, its own and itself."""
    rows = await conn.fetch(
        "SELECT id FROM customers WHERE tenant_id = $1 AND email = $2 ORDER BY id", tenant_id, email
    )
    return [row["id"] for row in rows]


async def erase_buyers(conn: Connection, tenant_id: UUID, email: str, now: datetime) -> int:
    """Takes who bought out of the orders of that address; returns how many."""
    rows = await conn.fetch(
        """
        UPDATE orders SET buyer_email = NULL, buyer_name = NULL, version = version + 1, updated_at = $3
        WHERE tenant_id = $1 AND buyer_email = $2 RETURNING id
        """,
        tenant_id,
        email,
        now,
    )
    return len(rows)


async def erase_raw_payments(conn: Connection, tenant_id: UUID, customer_ids: Sequence[UUID], now: datetime) -> int:
    """Takes the providers' own objects out of these customers' payments; returns how many."""
    rows = await conn.fetch(
        """
        UPDATE payments SET raw = NULL, updated_at = $3
        WHERE tenant_id = $1 AND customer_id = ANY($2::uuid[]) AND raw IS NOT NULL RETURNING id
        """,
        tenant_id,
        customer_ids,
        now,
    )
    return len(rows)


async def erase_calls(conn: Connection, tenant_id: UUID, email: str, now: datetime) -> int:
    """Takes the parameters out of calls to providers that name the address; one that is open is given up."""
    rows = await conn.fetch(
        """
        UPDATE provider_calls
        SET params = '{"erased": true}', error = CASE WHEN status = 'done' THEN error ELSE 'erased' END,
            status = CASE WHEN status = 'done' THEN 'done' ELSE 'refused' END, updated_at = $3
        WHERE tenant_id = $1 AND position($2 IN lower(params::text)) > 0 RETURNING id
        """,
        tenant_id,
        email,
        now,
    )
    return len(rows)


async def erase_provider_events(conn: Connection, tenant_id: UUID, email: str) -> int:
    """Takes the bodies of webhooks that are dealt with and name the address; returns how many."""
    rows = await conn.fetch(
        """
        UPDATE provider_events SET payload = convert_to('{"erased":true}', 'UTF8')
        WHERE tenant_id = $1 AND status IN ('processed', 'ignored', 'review')
          AND position(convert_to($2, 'UTF8') IN payload) > 0
        RETURNING id
        """,
        tenant_id,
        email,
    )
    return len(rows)


async def list_held(conn: Connection, tenant_id: UUID, customer_ids: Sequence[UUID]) -> dict[str, Any]:
    """What the customers ordered, were invoiced and paid, and what runs for them, as rows."""
    found: str = await conn.fetchval(
        """
        SELECT jsonb_build_object(
            'orders', (SELECT COALESCE(jsonb_agg(to_jsonb(o) ORDER BY o.id), '[]') FROM orders o
                       WHERE o.tenant_id = $1 AND o.customer_id = ANY($2::uuid[])),
            'subscriptions', (SELECT COALESCE(jsonb_agg(to_jsonb(s) ORDER BY s.id), '[]') FROM subscriptions s
                              WHERE s.tenant_id = $1 AND s.customer_id = ANY($2::uuid[])),
            'invoices', (SELECT COALESCE(jsonb_agg(to_jsonb(i) ORDER BY i.id), '[]') FROM invoices i
                         WHERE i.tenant_id = $1 AND i.customer_id = ANY($2::uuid[])),
            'payments', (SELECT COALESCE(jsonb_agg(to_jsonb(p) - 'raw' ORDER BY p.id), '[]') FROM payments p
                         WHERE p.tenant_id = $1 AND p.customer_id = ANY($2::uuid[])))
        """,
        tenant_id,
        customer_ids,
    )
    return msgspec.json.decode(found, type=dict[str, Any])
