"""Takes in what a provider says of a payment: the invoice is settled once, the order fulfilled, all of it told."""

from datetime import datetime
from uuid import UUID

import msgspec

from billing import store
from billing.domain import payments
from billing.domain.invoices import Invoice, InvoiceStatus
from billing.domain.orders import Order, has_run_out
from billing.domain.payment_events import changes
from billing.domain.payments import Payment
from billing.domain.providers import PaymentState, PaymentStatus, SubscriptionState
from billing.usecases.fail_payment import fail_payment
from billing.usecases.note_order import note_order
from billing.usecases.return_money import return_money
from billing.usecases.settle_invoice import settle_invoice
from billing.usecases.settle_refunds import settle_refunds
from bus.outbox import Telling, tell_many
from chassis.db import Connection
from contracts.billing import PaymentDisputed


async def receive_payment(
    conn: Connection,
    tenant_id: UUID,
    payment_id: UUID,
    seen: PaymentState,
    *,
    subscription_seen: SubscriptionState | None = None,
    asked_at: datetime,
    now: datetime,
) -> Payment:
    """The payment after it. `seen` was asked for at `asked_at`; the same news twice changes nothing.

    Money of another amount or currency, for a void invoice, for one that another payment has settled, or whose transfer
    was credited elsewhere, settles nothing: it is kept with a `review_reason`. An order that nothing but its time had
    ended is paid by what comes late, unless its buyer has bought otherwise by then. Locks order, subscription, invoice,
    payment, in this order everywhere. Raises NotFound for a payment that is not the tenant's.
    """
    glimpse = await store.payments.get_payment(conn, tenant_id, payment_id)
    order = await store.orders.lock_order(conn, tenant_id, glimpse.order_id) if glimpse.order_id else None
    bill = await store.invoices.get_invoice(conn, tenant_id, glimpse.invoice_id)
    subscription = (
        await store.subscriptions.lock_subscription(conn, tenant_id, bill.subscription_id)
        if bill.subscription_id
        else None
    )
    invoice = await store.invoices.lock_invoice(conn, tenant_id, bill.id)
    before = await store.payments.lock_payment(conn, tenant_id, payment_id)
    after = payments.observe(before, seen, asked_at=asked_at, now=now)
    if after == before:
        return before
    failed = await settle_refunds(conn, before, after, seen, now=now)
    reason = await _misfit(conn, before, after, seen, invoice, order)
    if reason is not None:
        return await _put_under_review(conn, before, reason, now)
    if failed and after.version == before.version:
        after = msgspec.structs.replace(after, version=before.version + 1, updated_at=now)
    await store.payments.update_payment(conn, tenant_id, after)
    # Invoice and order stand in the timeline before what is told of the payment, as they were locked.
    if after.is_settled and not before.is_settled:
        invoice = await settle_invoice(
            conn,
            invoice,
            after,
            order=order,
            subscription=subscription,
            seen=subscription_seen,
            asked_at=asked_at,
            now=now,
        )
        order = await store.orders.find_order(conn, tenant_id, order.id) if order else None
    elif after.status is PaymentStatus.FAILED and before.status is not PaymentStatus.FAILED:
        await fail_payment(conn, invoice, order=order, reason=after.failure_reason, now=now)
    if after.refunded_cents != before.refunded_cents and after.review_reason is None:
        await return_money(conn, invoice, after, order=order, now=now)
    told = changes(before, after, failed, invoice.subscription_id, now)
    for event in told:
        if isinstance(event, PaymentDisputed):
            await note_order(conn, tenant_id, after.order_id, f"dispute_{event.outcome}", now=now)
    await tell_many(
        conn,
        [Telling(event=event, aggregate_id=after.id, tenant_id=tenant_id, version=after.version) for event in told],
    )
    return after


async def _misfit(
    conn: Connection, before: Payment, after: Payment, seen: PaymentState, invoice: Invoice, order: Order | None
) -> str | None:
    """Why this money settles nothing, in words for whoever reviews it; None when it does."""
    if not after.is_settled:
        return None
    if reason := payments.mismatch(before, seen):
        return reason
    for kind, external_id in (("payment", after.external_id), ("end_to_end", after.end_to_end_id)):
        if external_id is not None and not await store.directory.insert_object(
            conn,
            after.tenant_id,
            provider=after.provider,
            account_id=after.account_id,
            kind=kind,
            external_id=external_id,
            object_id=after.id,
        ):
            return "its transfer was credited to another payment"
    if before.is_settled:
        return None
    if invoice.status is InvoiceStatus.VOID:
        if order is None or not has_run_out(order):
            return "the invoice had been voided"
        if await store.subscriptions.list_live(conn, order.tenant_id):
            return "its order had run out, and another subscription runs"
    if await store.payments.find_settling(conn, invoice.tenant_id, invoice.id) is not None:
        return "the invoice was paid by another payment"
    return None


async def _put_under_review(conn: Connection, payment: Payment, reason: str, now: datetime) -> Payment:
    if payment.review_reason is not None:
        return payment
    kept = msgspec.structs.replace(payment, review_reason=reason, version=payment.version + 1, updated_at=now)
    await store.payments.update_payment(conn, payment.tenant_id, kept)
    await note_order(conn, payment.tenant_id, payment.order_id, "payment_under_review", now=now, reason=reason)
    return kept
