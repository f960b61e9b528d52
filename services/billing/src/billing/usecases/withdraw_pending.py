"""Takes back what a subscription still owes, when it is to end or to change."""

from collections.abc import Callable
from datetime import datetime

from billing import store
from billing.domain.invoices import Invoice
from billing.domain.subscriptions import Subscription
from billing.usecases.withdraw_invoice import withdraw_invoice
from chassis.db import Connection


async def withdraw_pending(
    conn: Connection, subscription: Subscription, *, which: Callable[[Invoice], bool] = lambda _: True, now: datetime
) -> None:
    """Its pending invoices of that sort are void; the subscription is locked. No provider is told.

    Money that comes for them all the same is kept for review.
    """
    owed = await store.invoices.lock_pending(conn, subscription.tenant_id, subscription.id)
    for invoice in owed:
        if which(invoice):
            await withdraw_invoice(conn, invoice, now=now)
