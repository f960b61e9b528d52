"""SQL that sets what providers have beside what is stored. All of it is for a platform transaction."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from billing.domain.orders import Order
from billing.domain.payments import Payment
from billing.domain.provider_accounts import ProviderAccount
from billing.store.rows import read_all
from chassis.db import Connection


async def list_active_accounts(conn: Connection) -> list[ProviderAccount]:
    """Every tenant's accounts that are in use."""
    rows = await conn.fetch(
        """
        SELECT id, tenant_id, provider, environment, api_key, api_key_hint, api_secret, webhook_secret,
               config::text AS config, is_active, created_by, updated_by, created_at, updated_at
        FROM provider_accounts WHERE is_active ORDER BY tenant_id, id
        """
    )
    return [
        msgspec.convert({**dict(row), "config": msgspec.json.decode(row["config"])}, ProviderAccount) for row in rows
    ]


async def list_payments_known(
    conn: Connection, provider: str, account_id: UUID, external_ids: Sequence[str]
) -> list[Payment]:
    """Those payments of the account that are ours."""
    return read_all(
        Payment,
        await conn.fetch(
            """
            SELECT to_jsonb(t)
            FROM provider_objects o JOIN payments t ON t.tenant_id = o.tenant_id AND t.id = o.object_id
            WHERE o.provider = $1 AND o.account_id = $2 AND o.kind = 'payment' AND o.external_id = ANY($3::text[])
            """,
            provider,
            account_id,
            external_ids,
        ),
    )


async def list_names_known(
    conn: Connection, provider: str, account_id: UUID, kind: str, external_ids: Sequence[str]
) -> set[str]:
    """Those names of that kind that stand for something of ours at the account."""
    rows = await conn.fetch(
        """
        SELECT external_id FROM provider_objects
        WHERE provider = $1 AND account_id = $2 AND kind = $3 AND external_id = ANY($4::text[])
        """,
        provider,
        account_id,
        kind,
        external_ids,
    )
    return {row["external_id"] for row in rows}


async def list_payments_pending(
    conn: Connection, provider: str, account_id: UUID, since: datetime, limit: int
) -> list[Payment]:
    """Payments at the account, made since then, of whose fate nothing is known; the longest untouched first."""
    return read_all(
        Payment,
        await conn.fetch(
            """
            SELECT to_jsonb(t) FROM payments t
            WHERE provider = $1 AND account_id = $2 AND status = 'pending' AND external_id IS NOT NULL
              AND created_at >= $3
            ORDER BY updated_at LIMIT $4
            """,
            provider,
            account_id,
            since,
            limit,
        ),
    )


async def list_payments_returning(
    conn: Connection, provider: str, account_id: UUID, since: datetime, limit: int
) -> list[Payment]:
    """Payments at the account that changed since then and whose money went back or is disputed, or of which a refund is
    under way; the longest unasked first."""
    return read_all(
        Payment,
        await conn.fetch(
            """
            SELECT to_jsonb(t) FROM payments t
            WHERE (tenant_id, id) IN (
                    SELECT tenant_id, payment_id FROM refunds WHERE status = 'pending'
                    UNION
                    SELECT tenant_id, id FROM payments
                    WHERE provider = $1 AND account_id = $2
                      AND status IN ('partially_refunded', 'refunded', 'disputed', 'charged_back'))
              AND provider = $1 AND account_id = $2 AND external_id IS NOT NULL AND updated_at >= $3
            ORDER BY observed_at NULLS FIRST LIMIT $4
            """,
            provider,
            account_id,
            since,
            limit,
        ),
    )


async def mark_asked(conn: Connection, payments: Sequence[Payment], at: datetime) -> None:
    """Notes that the provider was asked about them then, so that others have their turn."""
    await conn.execute(
        """
        UPDATE payments t SET observed_at = GREATEST(t.observed_at, $3)
        FROM unnest($1::uuid[], $2::uuid[]) AS n (tenant_id, id)
        WHERE t.tenant_id = n.tenant_id AND t.id = n.id
        """,
        [payment.tenant_id for payment in payments],
        [payment.id for payment in payments],
        at,
    )


async def list_orders_unpaid(
    conn: Connection, provider: str, account_id: UUID, since: datetime, limit: int
) -> list[Order]:
    """Orders at the account, placed since then, whose page may have been paid without our knowing; the oldest first."""
    return read_all(
        Order,
        await conn.fetch(
            """
            SELECT to_jsonb(t) FROM orders t
            WHERE provider = $1 AND account_id = $2 AND status NOT IN ('paid', 'refunded') AND external_id IS NOT NULL
              AND placed_at >= $3
            ORDER BY placed_at LIMIT $4
            """,
            provider,
            account_id,
            since,
            limit,
        ),
    )
