"""Drops a change of plan that was to be paid for within a period and was not."""

from datetime import datetime

import msgspec

from billing import store
from billing.domain.plan_changes import pays_for_change
from billing.domain.subscriptions import Subscription
from billing.usecases.save_subscription import save_subscription
from billing.usecases.withdraw_invoice import withdraw_invoice
from chassis.db import Connection


async def lapse_change(conn: Connection, current: Subscription, *, now: datetime) -> Subscription:
    """The locked subscription, with no change of plan waiting whose invoice is unpaid; that invoice is void.

    The next period is renewed as the one that ends: nobody is late for a change that they let be.
    """
    owed = await store.invoices.lock_pending(conn, current.tenant_id, current.id)
    unpaid = [one for one in owed if pays_for_change(current, one.plan_id, one.period_start)]
    if not unpaid:
        return current
    for invoice in unpaid:
        await withdraw_invoice(conn, invoice, now=now)
    kept = msgspec.structs.replace(
        current, next_plan_id=None, next_price_id=None, version=current.version + 1, updated_at=now
    )
    return await save_subscription(conn, current, kept, now=now)
