"""Takes in what Stripe says of an order's first invoice, whichever of its events came first."""

from datetime import datetime

import msgspec

from billing import store
from billing.domain.invoices import Invoice
from billing.domain.orders import Order, OrderStatus
from billing.domain.provider_events import Outcome, for_review, processed
from billing.domain.provider_invoices import paying
from billing.domain.providers import InvoiceState, PaymentState, SubscriptionState
from billing.usecases.credit_invoice import credit_invoice
from billing.usecases.fail_order import fail_order
from billing.usecases.fail_payment import fail_payment
from billing.usecases.withdraw_invoice import withdraw_invoice
from chassis.db import Connection


async def apply_first_invoice(
    conn: Connection,
    order: Order,
    invoice: Invoice,
    seen: InvoiceState,
    *,
    payment: PaymentState | None,
    subscription_seen: SubscriptionState | None,
    asked_at: datetime,
    now: datetime,
) -> Outcome:
    """The order's own invoice becomes known by Stripe's id, and is paid, failed or void as that one is.

    Order, subscription and invoice are locked.
    """
    linked = await _linked(conn, invoice, seen, now)
    if linked is None:
        return for_review("Stripe's invoice is known as another one", invoice.tenant_id)
    if seen.status == "paid":
        return await credit_invoice(
            conn,
            linked,
            paying(seen, payment),
            subscription_seen=subscription_seen,
            asked_at=asked_at,
            now=now,
        )
    if linked.external_id != seen.external_id:  # of another page: only its money would matter
        return processed(invoice.tenant_id)
    reason = payment.failure_reason if payment else None
    if seen.attempts:
        linked = await fail_payment(
            conn,
            linked,
            order=order,
            reason=reason,
            next_attempt_at=seen.next_attempt_at,
            attempts=seen.attempts,
            now=now,
        )
    if seen.status in ("void", "uncollectible"):
        await withdraw_invoice(conn, linked, now=now)
        order = await store.orders.get_order(conn, order.tenant_id, order.id)
        if order.status is OrderStatus.PENDING:
            await fail_order(conn, order, OrderStatus.FAILED, reason or f"the invoice is {seen.status}", now=now)
    return processed(invoice.tenant_id)


async def _linked(conn: Connection, invoice: Invoice, seen: InvoiceState, now: datetime) -> Invoice | None:
    if invoice.external_id is not None:
        return invoice
    is_ours = await store.directory.insert_object(
        conn,
        invoice.tenant_id,
        provider=invoice.provider,
        account_id=invoice.account_id,
        kind="invoice",
        external_id=seen.external_id,
        object_id=invoice.id,
    )
    if not is_ours:
        return None
    linked = msgspec.structs.replace(
        invoice,
        external_id=seen.external_id,
        url=seen.url,
        period_start=seen.period_start,
        period_end=seen.period_end,
        version=invoice.version + 1,
        updated_at=now,
    )
    await store.invoices.update_invoice(conn, invoice.tenant_id, linked)
    return linked
