"""Orders: what somebody set out to buy, from the page they pay on to money or its absence."""

from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

import msgspec

from billing.domain.customers import SoldBy
from billing.domain.providers import Interval, Provider
from contracts.billing import OrderFailed, OrderPaid, OrderPlaced, OrderRefunded, PlanFact


class OrderStatus(StrEnum):
    """Where an order stands; the README draws it."""

    PENDING = "pending"
    PAID = "paid"
    FAILED = "failed"
    CANCELLED = "cancelled"
    REFUNDED = "refunded"


#: Late money still counts: a page that expired here may have been paid there.
NEXT: Final = {
    OrderStatus.PENDING: {OrderStatus.PAID, OrderStatus.FAILED, OrderStatus.CANCELLED},
    OrderStatus.FAILED: {OrderStatus.PAID},
    OrderStatus.CANCELLED: {OrderStatus.PAID},
    OrderStatus.PAID: {OrderStatus.REFUNDED},
    OrderStatus.REFUNDED: set[OrderStatus](),
}


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """One row of orders: the plan as it was sold stands in it."""

    id: UUID
    tenant_id: UUID
    sold_by: SoldBy
    customer_id: UUID
    plan_id: UUID
    plan_slug: str
    plan_name: str
    price_id: UUID
    interval: Interval
    amount_cents: int
    currency: str
    trial_days: int
    limits: dict[str, int]
    status: OrderStatus
    provider: Provider
    account_id: UUID
    external_id: str | None
    checkout_url: str | None
    source: str
    buyer_email: str | None
    buyer_name: str | None
    is_new_tenant: bool
    claim_id: UUID | None
    failure_reason: str | None
    version: int
    placed_at: datetime
    paid_at: datetime | None
    ended_at: datetime | None
    expires_at: datetime | None
    updated_at: datetime

    @property
    def plan(self) -> PlanFact:
        """The plan and price that were sold."""
        return PlanFact(
            plan_id=self.plan_id,
            plan_slug=self.plan_slug,
            plan_name=self.plan_name,
            price_id=self.price_id,
            interval=self.interval,
            amount_cents=self.amount_cents,
            currency=self.currency,
            limits=self.limits,
        )


#: Why an order was cancelled that nobody had paid when its time was over.
EXPIRED: Final = "expired"


def has_run_out(order: Order) -> bool:
    """Whether nothing but its time ended the order: whoever pays it all the same is to have what they paid for."""
    return order.status is OrderStatus.CANCELLED and order.failure_reason == EXPIRED


def may_become(order: Order, status: OrderStatus) -> bool:
    """Whether the order may go to `status` from where it stands; staying is no move."""
    return status in NEXT[order.status]


def _facts(order: Order, now: datetime) -> dict[str, Any]:
    return {
        "tenant_id": order.tenant_id,
        "occurred_at": now,
        "sold_by": order.sold_by.value,
        "order_id": order.id,
        "customer_id": order.customer_id,
        "plan": order.plan,
        "provider": order.provider.value,
        "external_id": order.external_id,
        "buyer_email": order.buyer_email,
        "buyer_name": order.buyer_name,
        "is_new_tenant": order.is_new_tenant,
        "claim_id": order.claim_id,
    }


def placed(order: Order, now: datetime) -> OrderPlaced:
    """The event that says so."""
    return OrderPlaced(**_facts(order, now), source=order.source)


def paid(
    order: Order,
    now: datetime,
    *,
    subscription_id: UUID | None,
    invoice_id: UUID | None,
    payment_id: UUID | None,
    paid_cents: int,
) -> OrderPaid:
    """The event that says so."""
    return OrderPaid(
        **_facts(order, now),
        subscription_id=subscription_id,
        invoice_id=invoice_id,
        payment_id=payment_id,
        paid_cents=paid_cents,
    )


def failed(order: Order, now: datetime, reason: str) -> OrderFailed:
    """The event that says so."""
    return OrderFailed(**_facts(order, now), reason=reason)


def refunded(order: Order, now: datetime, refunded_cents: int) -> OrderRefunded:
    """The event that says so."""
    return OrderRefunded(**_facts(order, now), refunded_cents=refunded_cents)
