"""Credits an invoice with what its provider says of a payment, once."""

from datetime import datetime

from billing.domain.invoices import Invoice
from billing.domain.provider_events import Outcome, for_review, processed
from billing.domain.providers import PaymentState, SubscriptionState
from billing.usecases.attach_payment import attach_payment
from billing.usecases.receive_payment import receive_payment
from chassis.db import Connection


async def credit_invoice(
    conn: Connection,
    invoice: Invoice,
    seen: PaymentState,
    *,
    subscription_seen: SubscriptionState | None = None,
    asked_at: datetime,
    now: datetime,
) -> Outcome:
    """Taken in, or for review: money of another amount, of another invoice, or beside what has settled this one.

    `invoice` is locked, its order and subscription before it.
    """
    payment = await attach_payment(conn, invoice, seen, now=now)
    if payment is None or payment.invoice_id != invoice.id:
        return for_review("the payment is known as another invoice's", invoice.tenant_id)
    after = await receive_payment(
        conn, invoice.tenant_id, payment.id, seen, subscription_seen=subscription_seen, asked_at=asked_at, now=now
    )
    if after.review_reason is not None:
        return for_review(after.review_reason, invoice.tenant_id)
    return processed(invoice.tenant_id)
