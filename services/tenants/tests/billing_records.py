"""What billing tells, for tests of what comes of it."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from contracts.billing import (
    OrderFailed,
    OrderPaid,
    PlanFact,
    SubscriptionActivated,
    SubscriptionCancelled,
    SubscriptionChanged,
    SubscriptionEvent,
    SubscriptionPastDue,
    SubscriptionResumed,
    SubscriptionSuspended,
)

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
PERIOD_END = NOW + timedelta(days=30)


def plan(slug: str = "essencial", **limits: int) -> PlanFact:
    """A plan and its price."""
    return PlanFact(
        plan_id=UUID(int=1),
        plan_slug=slug,
        plan_name=slug.title(),
        price_id=UUID(int=2),
        interval="month",
        amount_cents=24_700,
        currency="BRL",
        limits=limits,
    )


def _order(tenant_id: UUID, fields: dict[str, Any]) -> dict[str, Any]:
    return {
        "tenant_id": tenant_id,
        "occurred_at": NOW,
        "sold_by": "platform",
        "order_id": uuid4(),
        "customer_id": uuid4(),
        "plan": plan(agents=3),
        "provider": "stripe",
        "external_id": "cs_1",
        "buyer_email": "Bia@Example.com",
        "buyer_name": "Bia Souza",
        "is_new_tenant": True,
        "claim_id": None,
    } | fields


def order_paid(tenant_id: UUID, **fields: Any) -> OrderPaid:
    """A paid order of a new tenant."""
    own = {"subscription_id": uuid4(), "invoice_id": None, "payment_id": None, "paid_cents": 24_700}
    return OrderPaid(**_order(tenant_id, own | fields))


def order_failed(tenant_id: UUID, **fields: Any) -> OrderFailed:
    """An order that was not paid."""
    return OrderFailed(**_order(tenant_id, {"reason": "expired"} | fields))


def claim_refused(tenant_id: UUID, claim_id: UUID, **fields: Any) -> OrderFailed:
    """A claim that does not hold, of no plan that is for sale: there is no order of it."""
    nothing = {"order_id": None, "customer_id": None, "plan": None, "claim_id": claim_id, "reason": "no such plan"}
    return order_failed(tenant_id, **nothing | fields)


_EXTRA: dict[type[SubscriptionEvent], dict[str, Any]] = {
    SubscriptionChanged: {"previous_plan": plan(), "previous_cancel_at_period_end": False},
    SubscriptionPastDue: {"past_due_since": NOW},
    SubscriptionSuspended: {"past_due_since": NOW},
    SubscriptionCancelled: {"reason": "requested"},
}
_STATUS: dict[type[SubscriptionEvent], str] = {
    SubscriptionPastDue: "past_due",
    SubscriptionSuspended: "suspended",
    SubscriptionCancelled: "cancelled",
}


def subscription(
    kind: type[SubscriptionEvent], tenant_id: UUID, subscription_id: UUID, **fields: Any
) -> SubscriptionEvent:
    """What is told of a subscription; its status is what the event is about."""
    facts: dict[str, Any] = {
        "tenant_id": tenant_id,
        "occurred_at": NOW,
        "sold_by": "platform",
        "subscription_id": subscription_id,
        "customer_id": UUID(int=3),
        "order_id": UUID(int=4),
        "plan": plan(agents=3),
        "provider": "stripe",
        "status": _STATUS.get(kind, "active"),
        "previous_status": "active",
        "current_period_start": NOW,
        "current_period_end": PERIOD_END,
        "trial_end": None,
        "cancel_at_period_end": False,
    }
    return kind(**facts | _EXTRA.get(kind, {}) | fields)


__all__ = [
    "NOW",
    "PERIOD_END",
    "SubscriptionActivated",
    "SubscriptionCancelled",
    "SubscriptionChanged",
    "SubscriptionPastDue",
    "SubscriptionResumed",
    "SubscriptionSuspended",
    "claim_refused",
    "order_failed",
    "order_paid",
    "plan",
    "subscription",
]
