"""Locks a subscription as everybody locks: its order first."""

from uuid import UUID

from billing import store
from billing.domain.subscriptions import Subscription
from chassis.db import Connection


async def hold_subscription(conn: Connection, tenant_id: UUID, subscription_id: UUID) -> Subscription:
    """The subscription, it and its order kept from others until the transaction ends. Raises NotFound."""
    glimpse = await store.subscriptions.get_subscription(conn, tenant_id, subscription_id)
    if glimpse.order_id is not None:
        await store.orders.lock_order(conn, tenant_id, glimpse.order_id)
    return await store.subscriptions.lock_subscription(conn, tenant_id, subscription_id)
