"""Takes what billing tells of a tenant's subscription; what is older than what is known changes nothing."""

from datetime import datetime

from chassis.db import Connection
from contracts.billing import SubscriptionEvent
from tenants import store
from tenants.domain.subscriptions import of_event, says_enough
from tenants.domain.terms import Terms
from tenants.usecases.settle_tenant import settle_tenant


async def apply_subscription(
    conn: Connection, event: SubscriptionEvent, version: int | None, *, terms: Terms, now: datetime
) -> None:
    """`version` is billing's of the subscription. In a platform transaction.

    What a tenant sells to its own customers is none of its own subscriptions. An event may come before its tenant.
    """
    if event.sold_by != "platform" or not says_enough(event):
        return
    await store.tenants.hold_tenant_id(conn, event.tenant_id)
    if await store.subscriptions.note_subscription(conn, event.tenant_id, of_event(event, version or 1)):
        await settle_tenant(conn, event.tenant_id, terms=terms, now=now)
