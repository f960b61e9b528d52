"""SQL over tenant_subscriptions: for platform transactions only."""

from uuid import UUID

from chassis.db import Connection
from tenants.domain.subscriptions import TenantSubscription
from tenants.store.rows import read_all, write


async def note_subscription(conn: Connection, tenant_id: UUID, row: TenantSubscription) -> bool:
    """Keeps what was told of the subscription; False where something newer was told before."""
    return (
        await conn.fetchval(
            """
            INSERT INTO tenant_subscriptions AS t
            SELECT r.* FROM jsonb_populate_record(NULL::tenant_subscriptions, $2::jsonb) r WHERE r.tenant_id = $1
            ON CONFLICT (tenant_id, subscription_id) DO UPDATE SET
                version = excluded.version, status = excluded.status, plan_slug = excluded.plan_slug,
                limits = excluded.limits, paid_until = excluded.paid_until, told_at = excluded.told_at
            WHERE t.version < excluded.version
            RETURNING true
            """,
            tenant_id,
            write(row),
        )
        is True
    )


async def list_subscriptions(conn: Connection, tenant_id: UUID) -> list[TenantSubscription]:
    """All that the tenant ever subscribed to, in the order in which it was bought."""
    return read_all(
        TenantSubscription,
        await conn.fetch(
            "SELECT to_jsonb(t) FROM tenant_subscriptions t WHERE tenant_id = $1 ORDER BY subscription_id", tenant_id
        ),
    )
