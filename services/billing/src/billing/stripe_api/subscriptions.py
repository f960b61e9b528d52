"""Subscriptions and their invoices, as our states; both of Stripe's shapes."""

from typing import Final, Literal

import msgspec

from billing.domain.providers import Interval, InvoiceState, SubscriptionState
from billing.stripe_api.shapes import (
    Invoice,
    InvoiceLine,
    Price,
    Subscription,
    SubscriptionDetails,
    id_of,
    instant,
    reference_in,
)

#: What becomes of the difference when a price changes in the middle of a period.
Proration = Literal["create_prorations", "none", "always_invoice"]

_SUBSCRIPTION_STATUS: Final[
    dict[str, Literal["incomplete", "trialing", "active", "past_due", "paused", "cancelled"]]
] = {
    "incomplete": "incomplete",
    "incomplete_expired": "cancelled",
    "trialing": "trialing",
    "active": "active",
    "past_due": "past_due",
    "unpaid": "past_due",
    "paused": "paused",
    "canceled": "cancelled",
}


class InlinePrice(msgspec.Struct, frozen=True, kw_only=True):
    """A price of a plan that was not pushed: it is made at Stripe when a subscription changes to it."""

    amount_cents: int
    currency: str
    interval: Interval
    title: str


def read_subscription(found: Subscription) -> SubscriptionState:
    """The subscription as it is now. Ours have one item; of several, the first counts."""
    item = found.items.data[0] if found.items.data else None
    price = item.price if item else None
    period_end = found.current_period_end or (item.current_period_end if item else None)
    status = _SUBSCRIPTION_STATUS[found.status]
    amount_cents = price.unit_amount if price else None
    return SubscriptionState(
        external_id=found.id,
        status=status,
        customer_external_id=id_of(found.customer),
        price_external_id=price.id if price else None,
        amount_cents=amount_cents * item.quantity if item and amount_cents is not None else None,
        currency=price.currency.upper() if price else None,
        interval=_interval(price),
        current_period_start=instant(found.current_period_start or (item.current_period_start if item else None)),
        current_period_end=instant(period_end),
        trial_end=instant(found.trial_end),
        cancel_at_period_end=found.cancel_at_period_end or _ends_with(found.cancel_at, period_end),
        # canceled_at alone may be the day on which its end was only asked for.
        cancelled_at=instant(found.ended_at or found.canceled_at) if status == "cancelled" else None,
        reference=reference_in(found.metadata),
        metadata=found.metadata or {},
        item_external_id=item.id if item else None,
    )


def _ends_with(cancel_at: int | None, period_end: int | None) -> bool:
    # How a flexible subscription (all new ones since clover) says that it was cancelled in the portal: the flag stays
    # false. https://docs.stripe.com/billing/subscriptions/billing-mode/compare, stripe-node #2470
    return cancel_at is not None and (period_end is None or cancel_at <= period_end)


def _interval(price: Price | None) -> Interval | None:
    if price is None or price.recurring is None or price.recurring.interval_count != 1:
        return None
    return {"month": Interval.MONTH, "year": Interval.YEAR}.get(price.recurring.interval)


def read_invoice(found: Invoice) -> InvoiceState:
    """The invoice as it is now; its period is what its line pays for, where it has one."""
    details = _details(found)
    line = _line(found)
    return InvoiceState(
        external_id=found.id,
        status=found.status,
        amount_cents=found.amount_due,  # what is left of the total after the customer's credit; stays when paid
        amount_paid_cents=found.amount_paid,
        currency=found.currency.upper(),
        subscription_external_id=id_of(details.subscription),
        customer_external_id=id_of(found.customer),
        payment_external_id=_payment_id(found),
        reference=reference_in(details.metadata) or reference_in(found.metadata),
        billing_reason=found.billing_reason,
        number=found.number,
        url=found.hosted_invoice_url,
        attempts=found.attempt_count,
        next_attempt_at=instant(found.next_payment_attempt),
        # The invoice's own period is the one before: that in which its items came together.
        period_start=instant(line.period.start if line else found.period_start),
        period_end=instant(line.period.end if line else found.period_end),
        due_at=instant(found.due_date),
        created_at=instant(found.created),
        paid_at=instant(found.status_transitions.paid_at) if found.status_transitions else None,
    )


def _details(found: Invoice) -> SubscriptionDetails:
    if found.parent is not None and found.parent.subscription_details is not None:
        return found.parent.subscription_details
    older = found.subscription_details
    return SubscriptionDetails(subscription=found.subscription, metadata=older.metadata if older else None)


def _line(found: Invoice) -> InvoiceLine | None:
    """What the invoice is for: a subscription's own line, else the latest of a change's."""
    lines = found.lines.data if found.lines else []
    own = [line for line in lines if line.is_subscribed]
    return max(own or lines, key=lambda line: line.period.end, default=None)


def _payment_id(found: Invoice) -> str | None:
    if found.payments is None:
        return id_of(found.payment_intent)
    by_intent = [(pays, id_of(pays.payment.payment_intent)) for pays in found.payments.data]
    known = [(pays, payment_id) for pays, payment_id in by_intent if payment_id is not None]
    known.sort(key=lambda one: (one[0].status == "paid", one[0].is_default))
    return known[-1][1] if known else None
