"""Takes in a payment of an Asaas subscription: the earliest settles the order, each later one is a period's."""

from datetime import UTC, datetime, time, timedelta, timezone
from typing import Final
from uuid import UUID

import msgspec

from billing import store
from billing.asaas_api import AsaasApi
from billing.domain.drafts import first_invoice, period_invoice
from billing.domain.invoices import Invoice, InvoiceStatus
from billing.domain.orders import Order
from billing.domain.payments import SETTLING
from billing.domain.periods import add_interval
from billing.domain.provider_events import Outcome, ignored
from billing.domain.providers import Interval, PaymentState, PaymentStatus, SubscriptionState
from billing.domain.subscriptions import Subscription
from billing.usecases.credit_invoice import credit_invoice
from billing.usecases.follow_asaas_payment import follow_asaas_payment
from billing.usecases.issue_invoice import issue_invoice
from billing.usecases.turn_plan import turn_plan
from chassis.clock import Clock
from chassis.db import Connection, Database, transaction

#: Asaas' days are São Paulo's, UTC-3 all year since 2019.
_SAO_PAULO: Final = timezone(timedelta(hours=-3))
_SETTLED: Final = (InvoiceStatus.PAID, InvoiceStatus.REFUNDED)


async def apply_asaas_payment(
    db: Database,
    api: AsaasApi,
    tenant_id: UUID,
    order_id: UUID,
    seen: PaymentState,
    *,
    asked_at: datetime,
    clock: Clock,
) -> Outcome:
    """What came of `seen`, a payment of the order's subscription that we do not know yet.

    While the order is unpaid, its earliest payment is looked at before any other, so that the order of deliveries does
    not matter. Raises what the provider's adapter does.
    """
    subscription_id = seen.subscription_external_id
    assert subscription_id is not None
    subscription = await api.get_subscription(subscription_id)
    async with transaction(db, tenant_id) as conn:
        known = await store.invoices.find_of_order(conn, tenant_id, order_id)
    is_first = False
    if known is None or known.status not in _SETTLED:
        payments = await api.list_subscription_payments(subscription_id)
        first = payments[0] if payments else seen
        is_first = first.external_id == seen.external_id
        if not is_first:
            async with transaction(db, tenant_id) as conn:
                await _apply(conn, tenant_id, order_id, subscription, first, True, asked_at, clock())
    async with transaction(db, tenant_id) as conn:
        return await _apply(conn, tenant_id, order_id, subscription, seen, is_first, asked_at, clock())


async def _apply(
    conn: Connection,
    tenant_id: UUID,
    order_id: UUID,
    told: SubscriptionState,
    seen: PaymentState,
    is_first: bool,
    asked_at: datetime,
    now: datetime,
) -> Outcome:
    order = await store.orders.lock_order(conn, tenant_id, order_id)
    subscription = await store.subscriptions.find_of_order(conn, tenant_id, order_id)
    invoice = await store.invoices.find_of_order(conn, tenant_id, order_id)
    known = await store.directory.find_object(
        conn,
        provider=order.provider,
        account_id=order.account_id,
        kind="payment",
        external_id=seen.external_id,
    )
    if known is not None:  # somebody who looked at the same time was quicker: it pays what it pays
        payment = await store.payments.get_payment(conn, tenant_id, known.object_id)
        theirs = await store.invoices.lock_invoice(conn, tenant_id, payment.invoice_id)
        return await credit_invoice(conn, theirs, seen, asked_at=asked_at, now=now)
    is_settled = invoice.status in _SETTLED if invoice else subscription is not None
    if not is_settled and (is_first or seen.status in SETTLING):
        if invoice is None:  # a trial's: nothing was owed when it was ordered
            invoice = await issue_invoice(conn, first_invoice(order, now=now), now=now)
        start, end = _period(seen, order.interval, now)
        told = msgspec.structs.replace(told, current_period_start=start, current_period_end=end)
        outcome = await credit_invoice(conn, invoice, seen, subscription_seen=told, asked_at=asked_at, now=now)
    elif subscription is None:
        return ignored("its order is not paid", tenant_id)
    elif seen.status is PaymentStatus.CANCELLED:
        return ignored("it was withdrawn before it was known", tenant_id)
    else:
        period = await _period_invoice(conn, order, subscription, seen, now)
        outcome = await credit_invoice(conn, period, seen, asked_at=asked_at, now=now)
    await _follow(conn, order, seen, now)
    return outcome


async def _period_invoice(
    conn: Connection, order: Order, subscription: Subscription, seen: PaymentState, now: datetime
) -> Invoice:
    """The invoice of the payment's period, under the payment's id: Asaas has no invoices of its own."""
    known = await store.directory.find_object(
        conn,
        provider=order.provider,
        account_id=order.account_id,
        kind="invoice",
        external_id=seen.external_id,
    )
    if known is not None:
        return await store.invoices.lock_invoice(conn, order.tenant_id, known.object_id)
    # A change of plan that waits begins with the period that is paid at its price. Another amount is for review.
    turned = await turn_plan(conn, subscription, now=now)
    sold = turned if turned.amount_cents == seen.amount_cents else subscription
    start, end = _period(seen, sold.interval, now)
    draft = period_invoice(
        sold,
        amount_cents=sold.amount_cents,
        currency=sold.currency,
        start=start,
        end=end,
        due_at=start,
        external_id=seen.external_id,
        url=seen.url,
        now=now,
    )
    return await issue_invoice(conn, draft, now=now)


async def _follow(conn: Connection, order: Order, seen: PaymentState, now: datetime) -> None:
    payment = await store.directory.find_object(
        conn,
        provider=order.provider,
        account_id=order.account_id,
        kind="payment",
        external_id=seen.external_id,
    )
    if payment is not None:
        await follow_asaas_payment(conn, order.tenant_id, payment.object_id, now=now)


def _period(seen: PaymentState, interval: Interval, now: datetime) -> tuple[datetime, datetime]:
    """A payment is due on the first day of what it pays for."""
    start = datetime.combine(seen.due_on, time(), _SAO_PAULO).astimezone(UTC) if seen.due_on else now
    return start, add_interval(start, interval)
