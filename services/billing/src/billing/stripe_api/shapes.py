"""Stripe's objects, as far as they are read: both the shapes from before basil (2025-03-31) and those since.

Basil moved a subscription's period to its items, an invoice's subscription under `parent`, its payment into `payments`,
and took `invoice` off charges and payment intents. Fields of the older shape are marked.
"""

from datetime import UTC, datetime
from typing import Annotated, Generic, Literal, TypeVar

import msgspec

T = TypeVar("T")

#: Seconds since 1970, up to the year 9999.
Timestamp = Annotated[int, msgspec.Meta(ge=0, le=253_402_300_799)]


class Ref(msgspec.Struct):
    """An object that was expanded where its id alone would do."""

    id: str


#: A field that holds an id, or the whole object where that was asked for.
Expandable = str | Ref | None


def id_of(field: Expandable) -> str | None:
    """The id, expanded or not."""
    return field.id if isinstance(field, Ref) else field


def instant(seconds: int | None) -> datetime | None:
    """A timestamp as an aware moment."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def reference_in(metadata: dict[str, str] | None) -> str | None:
    """Our own id on a Stripe object: a payment's where there is one, else an order's."""
    return (metadata or {}).get("payment_id") or (metadata or {}).get("order_id")


class Listed(msgspec.Struct, Generic[T]):
    """One page of a list."""

    data: list[T]
    has_more: bool = False


class CustomerDetails(msgspec.Struct):
    """Who paid, as they wrote it on the page."""

    email: str | None = None
    name: str | None = None


class Session(msgspec.Struct):
    """A Checkout session."""

    id: str
    payment_status: Literal["paid", "unpaid", "no_payment_required"]
    status: Literal["open", "complete", "expired"] | None = None
    url: str | None = None
    amount_total: int | None = None
    currency: str | None = None
    client_reference_id: str | None = None
    customer: Expandable = None
    customer_email: str | None = None
    customer_details: CustomerDetails | None = None
    subscription: Expandable = None
    payment_intent: Expandable = None
    invoice: Expandable = None
    metadata: dict[str, str] | None = None
    livemode: bool = False
    expires_at: Timestamp | None = None


class Recurring(msgspec.Struct):
    """How often a price is due."""

    interval: str
    interval_count: int = 1


class Price(msgspec.Struct):
    """A price; its amount never changes once it is made."""

    id: str
    currency: str
    unit_amount: int | None = None
    recurring: Recurring | None = None
    lookup_key: str | None = None


class SubscriptionItem(msgspec.Struct):
    """What is subscribed to; since basil it has the period."""

    id: str
    price: Price
    quantity: int = 1
    current_period_start: Timestamp | None = None
    current_period_end: Timestamp | None = None


class Subscription(msgspec.Struct):
    """A subscription."""

    id: str
    status: Literal[
        "incomplete", "incomplete_expired", "trialing", "active", "past_due", "unpaid", "paused", "canceled"
    ]
    items: Listed[SubscriptionItem]
    customer: Expandable = None
    current_period_start: Timestamp | None = None  # before basil
    current_period_end: Timestamp | None = None  # before basil
    trial_end: Timestamp | None = None
    cancel_at_period_end: bool = False
    cancel_at: Timestamp | None = None
    canceled_at: Timestamp | None = None
    ended_at: Timestamp | None = None
    metadata: dict[str, str] | None = None


class Period(msgspec.Struct):
    """What a line pays for."""

    start: Timestamp
    end: Timestamp


class LineItemDetails(msgspec.Struct):
    """Where a line comes from, since basil."""

    proration: bool = False


class LineParent(msgspec.Struct):
    """Where a line comes from, since basil."""

    subscription_item_details: LineItemDetails | None = None


class InvoiceLine(msgspec.Struct):
    """A line of an invoice."""

    period: Period
    parent: LineParent | None = None
    type: str | None = None  # before basil
    proration: bool = False  # before basil

    @property
    def is_subscribed(self) -> bool:
        """Whether it is a subscription's own, and not part of a change."""
        if self.parent is not None:
            details = self.parent.subscription_item_details
            return details is not None and not details.proration
        return self.type == "subscription" and not self.proration


class SubscriptionDetails(msgspec.Struct):
    """The subscription that an invoice is of. `subscription` is here since basil."""

    subscription: Expandable = None
    metadata: dict[str, str] | None = None


class InvoiceParent(msgspec.Struct):
    """What an invoice is of, since basil."""

    subscription_details: SubscriptionDetails | None = None


class InvoicePaymentTarget(msgspec.Struct):
    """What pays an invoice."""

    type: str
    payment_intent: Expandable = None


class InvoicePayment(msgspec.Struct):
    """One way in which an invoice is or was paid, since basil."""

    payment: InvoicePaymentTarget
    status: str
    is_default: bool = False


class StatusTransitions(msgspec.Struct):
    """When an invoice became what it is."""

    paid_at: Timestamp | None = None


class Invoice(msgspec.Struct):
    """An invoice. A previewed one has no id and is never read here."""

    id: str
    status: Literal["draft", "open", "paid", "void", "uncollectible"]
    amount_due: int
    amount_paid: int
    currency: str
    period_start: Timestamp | None = None
    period_end: Timestamp | None = None
    customer: Expandable = None
    parent: InvoiceParent | None = None
    subscription: Expandable = None  # before basil
    subscription_details: SubscriptionDetails | None = None  # before basil
    payment_intent: Expandable = None  # before basil
    payments: Listed[InvoicePayment] | None = None
    lines: Listed[InvoiceLine] | None = None
    metadata: dict[str, str] | None = None
    billing_reason: str | None = None
    number: str | None = None
    hosted_invoice_url: str | None = None
    attempt_count: int = 0
    next_payment_attempt: Timestamp | None = None
    due_date: Timestamp | None = None
    created: Timestamp | None = None
    status_transitions: StatusTransitions | None = None
