"""Gives what was bought: the order is paid, and the subscription that it brings exists and runs."""

from datetime import datetime
from uuid import UUID

import msgspec

from billing import store
from billing.domain import orders
from billing.domain.drafts import subscription_of
from billing.domain.invoices import Invoice
from billing.domain.orders import Order, OrderStatus, may_become
from billing.domain.payments import Payment
from billing.domain.periods import add_interval
from billing.domain.providers import SubscriptionState
from billing.domain.subscriptions import Subscription, SubscriptionStatus, observe
from billing.usecases.note_order import note_order
from billing.usecases.save_subscription import save_subscription
from bus.outbox import tell
from chassis.db import Connection


async def fulfil_order(
    conn: Connection,
    order: Order,
    *,
    invoice: Invoice | None,
    payment: Payment | None,
    seen: SubscriptionState | None,
    asked_at: datetime,
    now: datetime,
) -> Subscription | None:
    """The order's subscription, made now or before; `order` is locked and was paid, or its trial began.

    `seen` is the provider's subscription; None where we run the cycle ourselves (PIX, PagBank). An order that is
    fulfilled already changes nothing but what the provider newly says. A refunded order brings nothing back.
    """
    subscription = await store.subscriptions.find_of_order(conn, order.tenant_id, order.id)
    if order.status is OrderStatus.REFUNDED:
        return subscription
    if subscription is None:
        draft = subscription_of(order, now=now)
        fresh = observe(draft, seen, asked_at=asked_at, now=now) if seen else _own_cycle(draft, order, payment, now)
        subscription = await save_subscription(conn, None, msgspec.structs.replace(fresh, version=1), now=now)
    elif seen is not None:
        subscription = await save_subscription(
            conn, subscription, observe(subscription, seen, asked_at=asked_at, now=now), now=now
        )
    if may_become(order, OrderStatus.PAID):
        await _mark_paid(
            conn, order, subscription, invoice_id=invoice.id if invoice else None, payment=payment, now=now
        )
    return subscription


async def _mark_paid(
    conn: Connection, order: Order, subscription: Subscription, *, invoice_id: UUID | None, payment: Payment | None,
    now: datetime,
) -> None:  # fmt: skip
    paid = msgspec.structs.replace(
        order, status=OrderStatus.PAID, paid_at=now, ended_at=now, version=order.version + 1, updated_at=now
    )
    await store.orders.update_order(conn, order.tenant_id, paid)
    event = orders.paid(
        paid,
        now,
        subscription_id=subscription.id,
        invoice_id=invoice_id,
        payment_id=payment.id if payment else None,
        paid_cents=payment.amount_cents if payment else 0,
    )
    await tell(conn, event, tenant_id=order.tenant_id, aggregate_id=order.id, version=paid.version)
    await note_order(conn, order.tenant_id, order.id, "paid", now=now, paid_cents=event.paid_cents)
    others = [row for row in await store.subscriptions.list_live(conn, order.tenant_id) if row.id != subscription.id]
    if others:
        # What ran before goes on: a purchase never takes away what somebody has. A person may want to know.
        await note_order(conn, order.tenant_id, order.id, "runs_beside_others", now=now, others=len(others))


def _own_cycle(draft: Subscription, order: Order, payment: Payment | None, now: datetime) -> Subscription:
    start = (payment.paid_at if payment else None) or now
    end = add_interval(start, order.interval)
    return msgspec.structs.replace(
        draft,
        status=SubscriptionStatus.ACTIVE,
        current_period_start=start,
        current_period_end=end,
        renews_at=end,
    )
