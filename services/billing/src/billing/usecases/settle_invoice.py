"""Settles an invoice by a payment: the invoice is paid, what it was for runs, a receipt goes out."""

from datetime import datetime

import msgspec

from billing import store
from billing.domain import invoices
from billing.domain.invoices import Invoice, InvoiceStatus
from billing.domain.orders import Order
from billing.domain.payments import Payment
from billing.domain.periods import add_interval
from billing.domain.plan_changes import pays_for_change
from billing.domain.providers import SubscriptionState
from billing.domain.subscriptions import Subscription, renewed
from billing.usecases.fulfil_order import fulfil_order
from billing.usecases.note_order import note_order
from billing.usecases.save_subscription import save_subscription
from billing.usecases.send_receipt import send_receipt
from billing.usecases.turn_plan import turn_plan
from bus.outbox import tell
from chassis.db import Connection


async def settle_invoice(
    conn: Connection,
    invoice: Invoice,
    payment: Payment,
    *,
    order: Order | None,
    subscription: Subscription | None,
    seen: SubscriptionState | None,
    asked_at: datetime,
    now: datetime,
) -> Invoice:
    """The invoice, paid by `payment`. All rows are locked; `order` is the invoice's own, if it has one.

    `seen` is the provider's subscription of a first purchase. A cycle that we run ourselves is renewed; a change of
    plan that waited for this payment begins.
    """
    if order is not None and invoice.subscription_id is None:
        subscription = await fulfil_order(
            conn, order, invoice=invoice, payment=payment, seen=seen, asked_at=asked_at, now=now
        )
    elif subscription is not None and subscription.external_id is None:
        start = invoice.period_start or now
        end = invoice.period_end or add_interval(start, subscription.interval)
        await save_subscription(conn, subscription, renewed(subscription, start=start, end=end, now=now), now=now)
    elif subscription is not None and pays_for_change(subscription, invoice.plan_id, invoice.period_start):
        await save_subscription(conn, subscription, await turn_plan(conn, subscription, now=now), now=now)
    settled = msgspec.structs.replace(
        invoice,
        status=InvoiceStatus.PAID,
        paid_at=payment.paid_at or now,
        voided_at=None,
        subscription_id=subscription.id if subscription else None,
        period_start=invoice.period_start or (subscription.current_period_start if subscription else None),
        period_end=invoice.period_end or (subscription.current_period_end if subscription else None),
        next_attempt_at=None,
        version=invoice.version + 1,
        updated_at=now,
    )
    await store.invoices.update_invoice(conn, invoice.tenant_id, settled)
    event = invoices.paid(settled, now, payment_id=payment.id)
    await tell(conn, event, tenant_id=invoice.tenant_id, aggregate_id=invoice.id, version=settled.version)
    await note_order(conn, invoice.tenant_id, invoice.order_id, "invoice_paid", now=now, number=invoice.number)
    await send_receipt(conn, settled, payment, now=now)
    return settled
