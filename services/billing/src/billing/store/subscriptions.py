"""SQL over subscriptions."""

from datetime import datetime
from uuid import UUID

from billing.domain.subscriptions import Subscription
from billing.store.rows import read, read_all, write
from chassis.db import Connection
from contracts.errors import NotFound


async def find_subscription(conn: Connection, tenant_id: UUID, subscription_id: UUID) -> Subscription | None:
    """The row, or None."""
    return read(
        Subscription,
        await conn.fetchval(
            "SELECT to_jsonb(t) FROM subscriptions t WHERE tenant_id = $1 AND id = $2", tenant_id, subscription_id
        ),
    )


async def get_subscription(conn: Connection, tenant_id: UUID, subscription_id: UUID) -> Subscription:
    """The row. Raises NotFound."""
    row = await find_subscription(conn, tenant_id, subscription_id)
    if row is None:
        raise NotFound("no such subscription")
    return row


async def lock_subscription(conn: Connection, tenant_id: UUID, subscription_id: UUID) -> Subscription:
    """The row, kept from others until the transaction ends. Raises NotFound."""
    row = read(
        Subscription,
        await conn.fetchval(
            "SELECT to_jsonb(t) FROM subscriptions t WHERE tenant_id = $1 AND id = $2 FOR NO KEY UPDATE",
            tenant_id,
            subscription_id,
        ),
    )
    if row is None:
        raise NotFound("no such subscription")
    return row


async def insert_subscription(conn: Connection, tenant_id: UUID, row: Subscription) -> None:
    """Adds the row."""
    await conn.execute(
        """
        INSERT INTO subscriptions
        SELECT r.* FROM jsonb_populate_record(NULL::subscriptions, $2::jsonb) r WHERE r.tenant_id = $1
        """,
        tenant_id,
        write(row),
    )


async def update_subscription(conn: Connection, tenant_id: UUID, row: Subscription) -> None:
    """Writes what of the row may change."""
    await conn.execute(
        """
        UPDATE subscriptions t SET plan_id = r.plan_id, plan_slug = r.plan_slug, plan_name = r.plan_name,
               price_id = r.price_id, interval = r.interval, amount_cents = r.amount_cents,
               currency = r.currency, limits = r.limits, status = r.status, external_id = r.external_id,
               item_external_id = r.item_external_id, current_period_start = r.current_period_start,
               current_period_end = r.current_period_end, trial_end = r.trial_end,
               cancel_at_period_end = r.cancel_at_period_end, cancelled_at = r.cancelled_at,
               cancel_reason = r.cancel_reason, next_price_id = r.next_price_id,
               next_plan_id = r.next_plan_id, trial_notice_at = r.trial_notice_at,
               past_due_since = r.past_due_since, dunning_step = r.dunning_step,
               next_dunning_at = r.next_dunning_at, renews_at = r.renews_at, observed_at = r.observed_at,
               version = r.version, updated_at = r.updated_at
        FROM jsonb_populate_record(NULL::subscriptions, $2::jsonb) r
        WHERE t.tenant_id = $1 AND t.id = r.id
        """,
        tenant_id,
        write(row),
    )


async def list_subscriptions(
    conn: Connection, tenant_id: UUID, *, before: UUID | None, limit: int, status: str | None = None
) -> list[Subscription]:
    """The tenant's, newest first, those before `before`."""
    return read_all(
        Subscription,
        await conn.fetch(
            """
            SELECT to_jsonb(t) FROM subscriptions t
            WHERE tenant_id = $1 AND ($2::uuid IS NULL OR id < $2) AND ($4::text IS NULL OR status = $4)
            ORDER BY id DESC LIMIT $3
            """,
            tenant_id,
            before,
            limit,
            status,
        ),
    )


async def list_live(conn: Connection, tenant_id: UUID) -> list[Subscription]:
    """The tenant's subscriptions of the platform's plans that have not ended, kept from others, oldest first."""
    return read_all(
        Subscription,
        await conn.fetch(
            """
            SELECT to_jsonb(t) FROM subscriptions t
            WHERE tenant_id = $1 AND sold_by = 'platform' AND status <> 'cancelled' ORDER BY id FOR NO KEY UPDATE
            """,
            tenant_id,
        ),
    )


async def find_of_order(conn: Connection, tenant_id: UUID, order_id: UUID) -> Subscription | None:
    """The subscription that the order brought."""
    return read(
        Subscription,
        await conn.fetchval(
            "SELECT to_jsonb(t) FROM subscriptions t WHERE tenant_id = $1 AND order_id = $2 FOR NO KEY UPDATE",
            tenant_id,
            order_id,
        ),
    )


async def list_due_dunning(conn: Connection, now: datetime, limit: int) -> list[Subscription]:
    """Late subscriptions whose next notice or suspension is due, of whatever tenant. For a platform transaction."""
    return read_all(
        Subscription,
        await conn.fetch(
            """
            SELECT to_jsonb(t) FROM subscriptions t
            WHERE next_dunning_at <= $1 ORDER BY next_dunning_at LIMIT $2
            """,
            now,
            limit,
        ),
    )


async def list_due_renewals(conn: Connection, now: datetime, limit: int) -> list[Subscription]:
    """Subscriptions that we run ourselves and that are due an invoice. For a platform transaction."""
    return read_all(
        Subscription,
        await conn.fetch(
            """
            SELECT to_jsonb(t) FROM subscriptions t
            WHERE renews_at <= $1 AND status <> 'cancelled' ORDER BY renews_at LIMIT $2
            """,
            now,
            limit,
        ),
    )


async def list_ending_trials(conn: Connection, until: datetime, limit: int) -> list[Subscription]:
    """Trials that end by `until` and of whose end nobody was told. For a platform transaction."""
    return read_all(
        Subscription,
        await conn.fetch(
            """
            SELECT to_jsonb(t) FROM subscriptions t
            WHERE status = 'trialing' AND trial_notice_at IS NULL AND trial_end <= $1 ORDER BY trial_end LIMIT $2
            """,
            until,
            limit,
        ),
    )
