"""Ends what a tenant has of the platform's plans, at the providers too, because the tenant is closed."""

from uuid import UUID

from billing import store
from billing.accounts import Accounts
from billing.domain.customers import SoldBy
from billing.domain.doers import BILLING
from billing.domain.subscriptions import SubscriptionStatus
from billing.usecases.cancel_subscription import cancel_subscription
from chassis.clock import Clock
from chassis.db import Database, transaction
from contracts.errors import Conflict, Unavailable

_MOST = 1000


async def close_tenant(db: Database, accounts: Accounts, tenant_id: UUID, *, clock: Clock) -> int:
    """How many subscriptions ended. Each intention is stored before its provider is asked; told twice, it goes on.

    What the tenant sells to its own customers is not touched. Raises what `cancel_subscription` does, and Unavailable
    for one that was changed meanwhile.
    """
    async with transaction(db, tenant_id) as conn:
        rows = await store.subscriptions.list_subscriptions(conn, tenant_id, before=None, limit=_MOST)
    live = [row for row in rows if row.sold_by is SoldBy.PLATFORM and row.status is not SubscriptionStatus.CANCELLED]
    for row in live:
        try:
            await cancel_subscription(
                db,
                tenant_id,
                row.id,
                at_period_end=False,
                reason="tenant_closed",
                accounts=accounts,
                by=BILLING,
                clock=clock,
            )
        except Conflict as conflict:
            if conflict.code != "changed_meanwhile":
                raise
            raise Unavailable(conflict.detail) from conflict
    return len(live)
