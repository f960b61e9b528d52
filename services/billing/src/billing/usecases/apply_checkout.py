"""Takes in what Stripe says of a payment page: only one that is paid, or begins a trial, fulfils its order."""

from datetime import datetime
from uuid import UUID

import msgspec

from billing import store
from billing.domain.invoices import Invoice
from billing.domain.orders import EXPIRED, Order, OrderStatus
from billing.domain.provider_events import Outcome, for_review, ignored, processed
from billing.domain.providers import (
    CheckoutState,
    InvoiceState,
    PaymentState,
    PaymentStatus,
    Provider,
    SubscriptionState,
)
from billing.stripe_api import StripeApi
from billing.usecases.apply_first_invoice import apply_first_invoice
from billing.usecases.ask_payment import ask_payment
from billing.usecases.credit_invoice import credit_invoice
from billing.usecases.fail_order import fail_order
from billing.usecases.fulfil_order import fulfil_order
from billing.usecases.locate_object import Located, locate_object
from billing.usecases.note_order import note_order
from billing.usecases.withdraw_invoice import withdraw_invoice
from chassis.clock import Clock
from chassis.db import Connection, Database, transaction

_UNPAID = (PaymentStatus.FAILED, PaymentStatus.CANCELLED)


class _Seen(msgspec.Struct, frozen=True):
    page: CheckoutState
    subscription: SubscriptionState | None
    invoice: InvoiceState | None
    payment: PaymentState | None
    asked_at: datetime


async def apply_checkout(db: Database, api: StripeApi, account_id: UUID, external_id: str, *, clock: Clock) -> Outcome:
    """What came of the page as it is now, with the subscription, invoice and payment that it made.

    Raises what the provider's adapter does.
    """
    asked_at = clock()
    page = await api.get_checkout(external_id)
    found = await locate_object(
        db, Provider.STRIPE, account_id, [("checkout", external_id), ("reference", page.reference)]
    )
    if found is None:
        return ignored("it is no page of ours")
    is_complete = page.status == "complete"
    subscription, invoice = page.subscription_external_id, page.invoice_external_id
    invoice_seen = await api.get_invoice(invoice) if is_complete and invoice else None
    payment = page.payment_external_id or (invoice_seen.payment_external_id if invoice_seen else None)
    seen = _Seen(
        page,
        await api.get_subscription(subscription) if is_complete and subscription else None,
        invoice_seen,
        await ask_payment(api, payment) if is_complete else None,
        asked_at,
    )
    async with transaction(db, found.tenant_id) as conn:
        return await _apply(conn, found, account_id, seen, clock())


async def _apply(conn: Connection, found: Located, account_id: UUID, seen: _Seen, now: datetime) -> Outcome:
    tenant_id, page = found.tenant_id, seen.page
    if await store.orders.find_order(conn, tenant_id, found.object_id) is None:
        return ignored("it is the page of no order", tenant_id)
    order = await store.orders.lock_order(conn, tenant_id, found.object_id)
    await store.subscriptions.find_of_order(conn, tenant_id, order.id)  # locked before the invoice, as everywhere
    invoice = await store.invoices.find_of_order(conn, tenant_id, order.id)
    # A reference can be given by whoever opens a payment link; metadata and pages are made with our key only.
    if found.kind == "reference" and page.metadata.get("order_id") != str(order.id):
        if page.is_paid:
            return for_review("it was paid on a page that was not made for its order", tenant_id)
        return ignored("it is a page that was not made for its order", tenant_id)
    order = await _known_page(conn, order, page, now)
    if page.status == "expired":
        return await _expire(conn, order, invoice, now)
    if page.status == "open":
        return processed(tenant_id)
    await _note_customer(conn, order, account_id, page, now)
    if page.is_paid and page.amount_cents == 0:
        return await _begin_trial(conn, order, invoice, seen, now)
    if invoice is None:
        return for_review("it was paid for an order that owes nothing yet", tenant_id)
    if page.is_paid:
        return await _pay(conn, order, invoice, seen, now)
    return await _wait(conn, order, invoice, seen, now)


async def _expire(conn: Connection, order: Order, invoice: Invoice | None, now: datetime) -> Outcome:
    """Nobody can pay there any more. An order that had failed before stays so, and owes nothing either."""
    if order.status not in (OrderStatus.PAID, OrderStatus.REFUNDED):
        if invoice is not None:
            await withdraw_invoice(conn, invoice, now=now)
        if order.status is OrderStatus.PENDING:
            await fail_order(conn, order, OrderStatus.CANCELLED, EXPIRED, now=now)
    return processed(order.tenant_id)


async def _known_page(conn: Connection, order: Order, page: CheckoutState, now: datetime) -> Order:
    """The order with its page's id, where the answer that brought it was lost."""
    if order.external_id is not None:
        return order
    await store.directory.insert_object(
        conn,
        order.tenant_id,
        provider=order.provider,
        account_id=order.account_id,
        kind="checkout",
        external_id=page.external_id,
        object_id=order.id,
    )
    known = msgspec.structs.replace(order, external_id=page.external_id, version=order.version + 1, updated_at=now)
    await store.orders.update_order(conn, order.tenant_id, known)
    return known


async def _note_customer(conn: Connection, order: Order, account_id: UUID, page: CheckoutState, now: datetime) -> None:
    known = await store.customers.find_external_id(
        conn, order.tenant_id, order.customer_id, order.provider.value, account_id
    )
    if page.customer_external_id is None or known is not None:
        return
    is_ours = await store.directory.insert_object(
        conn,
        order.tenant_id,
        provider=order.provider,
        account_id=account_id,
        kind="customer",
        external_id=page.customer_external_id,
        object_id=order.customer_id,
    )
    if is_ours:
        await store.customers.upsert_external_id(
            conn,
            order.tenant_id,
            order.customer_id,
            order.provider.value,
            account_id,
            page.customer_external_id,
            now,
        )


async def _begin_trial(conn: Connection, order: Order, invoice: Invoice | None, seen: _Seen, now: datetime) -> Outcome:
    if invoice is not None or not order.trial_days or seen.subscription is None:
        return for_review("nothing was paid on the page of an order that is not a trial", order.tenant_id)
    await fulfil_order(conn, order, invoice=None, payment=None, seen=seen.subscription, asked_at=seen.asked_at, now=now)
    return processed(order.tenant_id)


async def _pay(conn: Connection, order: Order, invoice: Invoice, seen: _Seen, now: datetime) -> Outcome:
    if seen.invoice is not None:
        return await apply_first_invoice(
            conn,
            order,
            invoice,
            seen.invoice,
            payment=seen.payment,
            subscription_seen=seen.subscription,
            asked_at=seen.asked_at,
            now=now,
        )
    if seen.payment is None:
        return processed(order.tenant_id)  # the money is told of by its invoice
    return await credit_invoice(
        conn, invoice, seen.payment, subscription_seen=seen.subscription, asked_at=seen.asked_at, now=now
    )


async def _wait(conn: Connection, order: Order, invoice: Invoice, seen: _Seen, now: datetime) -> Outcome:
    """A completed page that is not paid: its bank tells later, or has told that it will not be."""
    if seen.invoice is not None and (seen.invoice.attempts or seen.invoice.status in ("void", "uncollectible")):
        return await _pay(conn, order, invoice, seen, now)
    if seen.payment is not None and seen.payment.status in _UNPAID:
        lost = msgspec.structs.replace(
            seen.payment,
            status=PaymentStatus.FAILED,
            failure_reason=seen.payment.failure_reason or seen.payment.status.value,
        )
        return await credit_invoice(conn, invoice, lost, asked_at=seen.asked_at, now=now)
    entries = await store.orders.list_entries(conn, order.tenant_id, order.id)
    if order.status is OrderStatus.PENDING and not any(entry.kind == "awaiting_payment" for entry in entries):
        await note_order(conn, order.tenant_id, order.id, "awaiting_payment", now=now)
    return processed(order.tenant_id)
