"""Takes in what Stripe says of one of its invoices: an order's first, or one of a period of a subscription."""

from datetime import datetime
from uuid import UUID

import msgspec

from billing import store
from billing.domain.drafts import period_invoice
from billing.domain.invoices import Invoice
from billing.domain.orders import Order
from billing.domain.provider_events import Outcome, for_review, ignored, processed
from billing.domain.provider_invoices import paying
from billing.domain.providers import InvoiceState, PaymentState, Provider, SubscriptionState
from billing.domain.subscriptions import Subscription
from billing.stripe_api import StripeApi
from billing.usecases.apply_first_invoice import apply_first_invoice
from billing.usecases.ask_payment import ask_payment
from billing.usecases.bring_order import bring_order
from billing.usecases.credit_invoice import credit_invoice
from billing.usecases.fail_payment import fail_payment
from billing.usecases.issue_invoice import issue_invoice
from billing.usecases.locate_object import Located, locate_object
from billing.usecases.observe_subscription import observe_subscription
from billing.usecases.turn_plan import turn_plan
from billing.usecases.withdraw_invoice import withdraw_invoice
from chassis.clock import Clock
from chassis.db import Connection, Database, transaction


class _Seen(msgspec.Struct, frozen=True):
    invoice: InvoiceState
    payment: PaymentState | None
    subscription: SubscriptionState | None
    asked_at: datetime


class _Locked(msgspec.Struct, frozen=True):
    order: Order | None
    subscription: Subscription | None
    first: Invoice | None
    invoice: Invoice | None


async def apply_invoice(db: Database, api: StripeApi, account_id: UUID, external_id: str, *, clock: Clock) -> Outcome:
    """What came of the invoice as it is now, with its payment and subscription. Raises what the adapter does."""
    invoice = await api.get_invoice(external_id)
    if invoice.status == "draft":
        return ignored("it is a draft")
    if invoice.amount_cents == 0:
        return ignored("nothing is owed by it")
    names = [
        ("invoice", external_id),
        ("subscription", invoice.subscription_external_id),
        ("reference", invoice.reference),
    ]
    found = await locate_object(db, Provider.STRIPE, account_id, names)
    if found is not None and found.kind == "reference":
        await bring_order(db, api, account_id, found.tenant_id, found.object_id, clock=clock)
        found = await locate_object(db, Provider.STRIPE, account_id, names)
    if found is None:
        return ignored("it is no invoice of ours")
    asked_at = clock()
    subscription_id = invoice.subscription_external_id
    seen = _Seen(
        invoice,
        await ask_payment(api, invoice.payment_external_id),
        await api.get_subscription(subscription_id) if subscription_id else None,
        asked_at,
    )
    async with transaction(db, found.tenant_id) as conn:
        return await _apply(conn, found, seen, clock())


async def _apply(conn: Connection, found: Located, seen: _Seen, now: datetime) -> Outcome:
    locked = await _lock(conn, found)
    first, told = locked.first, seen.invoice
    is_first = first is not None and (
        first.external_id == told.external_id
        or (first.external_id is None and told.billing_reason == "subscription_create")
    )
    if is_first and locked.order is not None and first is not None:
        outcome = await apply_first_invoice(
            conn,
            locked.order,
            first,
            told,
            payment=seen.payment,
            subscription_seen=seen.subscription,
            asked_at=seen.asked_at,
            now=now,
        )
    elif locked.subscription is not None and _is_of(locked.subscription, told):
        outcome = await _apply_period(conn, locked.subscription, locked.invoice, seen, now)
    elif told.status == "paid":
        return for_review("it was paid for a subscription that no order has brought", found.tenant_id)
    else:
        return ignored("its order is not paid", found.tenant_id)
    await _observe(conn, found.tenant_id, locked, seen, now)
    return outcome


def _is_of(subscription: Subscription, told: InvoiceState) -> bool:
    """A second subscription may bear the same order's id: its money is not the first one's."""
    return told.subscription_external_id in (None, subscription.external_id)


async def _lock(conn: Connection, found: Located) -> _Locked:
    """Everything that the invoice may touch, in the order that everybody locks in."""
    tenant_id, object_id = found.tenant_id, found.object_id
    invoice = await store.invoices.find_invoice(conn, tenant_id, object_id) if found.kind == "invoice" else None
    subscription_id = object_id if found.kind == "subscription" else invoice.subscription_id if invoice else None
    subscription = (
        await store.subscriptions.get_subscription(conn, tenant_id, subscription_id) if subscription_id else None
    )
    order_id = (
        object_id
        if found.kind == "reference"
        else subscription.order_id
        if subscription
        else invoice.order_id
        if invoice
        else None
    )
    order = await store.orders.find_order(conn, tenant_id, order_id) if order_id else None
    first = None
    if order is not None:
        order = await store.orders.lock_order(conn, tenant_id, order.id)
        subscription = await store.subscriptions.find_of_order(conn, tenant_id, order.id)
        first = await store.invoices.find_of_order(conn, tenant_id, order.id)
    elif subscription is not None:
        subscription = await store.subscriptions.lock_subscription(conn, tenant_id, subscription.id)
    if invoice is not None:
        invoice = await store.invoices.lock_invoice(conn, tenant_id, invoice.id)
    return _Locked(order, subscription, first, invoice)


async def _apply_period(
    conn: Connection, subscription: Subscription, invoice: Invoice | None, seen: _Seen, now: datetime
) -> Outcome:
    told = seen.invoice
    if invoice is None:
        invoice = await _period_invoice(conn, subscription, told, now)
    if told.status == "paid":
        return await credit_invoice(conn, invoice, paying(told, seen.payment), asked_at=seen.asked_at, now=now)
    if told.attempts:
        invoice = await fail_payment(
            conn,
            invoice,
            order=None,
            reason=seen.payment.failure_reason if seen.payment else None,
            next_attempt_at=told.next_attempt_at,
            attempts=told.attempts,
            now=now,
        )
    if told.status in ("void", "uncollectible"):
        await withdraw_invoice(conn, invoice, now=now)
    return processed(subscription.tenant_id)


async def _period_invoice(conn: Connection, subscription: Subscription, told: InvoiceState, now: datetime) -> Invoice:
    """The period's invoice, made by another event meanwhile or now; the subscription is locked."""
    known = await store.directory.find_object(
        conn,
        provider=subscription.provider,
        account_id=subscription.account_id,
        kind="invoice",
        external_id=told.external_id,
    )
    if known is not None:
        return await store.invoices.lock_invoice(conn, subscription.tenant_id, known.object_id)
    # A change of plan that waits begins with the period that is billed at its price.
    turned = await turn_plan(conn, subscription, now=now)
    draft = period_invoice(
        turned if turned.amount_cents == told.amount_cents else subscription,
        amount_cents=told.amount_cents,
        currency=told.currency,
        start=told.period_start,
        end=told.period_end,
        due_at=told.due_at or told.created_at or now,
        external_id=told.external_id,
        url=told.url,
        now=now,
    )
    return await issue_invoice(conn, draft, now=now)


async def _observe(conn: Connection, tenant_id: UUID, locked: _Locked, seen: _Seen, now: datetime) -> None:
    """What Stripe says of the subscription by now: a renewal's period, or that it is late."""
    if seen.subscription is None:
        return
    if locked.order is not None:
        subscription = await store.subscriptions.find_of_order(conn, tenant_id, locked.order.id)
    elif locked.subscription is not None:
        subscription = await store.subscriptions.lock_subscription(conn, tenant_id, locked.subscription.id)
    else:
        subscription = None
    if subscription is not None:
        await observe_subscription(conn, subscription, seen.subscription, asked_at=seen.asked_at, now=now)
