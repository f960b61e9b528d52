"""What billing says: plans, orders, subscriptions, invoices, payments. Each fact stands for itself: nobody calls back.

`tenant_id` is the buying tenant where the platform sold (`sold_by` "platform"), the selling one where a tenant did.
Amounts are integer minor units of `currency`. No e-mail address is in an event but that of an order's buyer, by which
the tenants service makes the owner.
"""

from datetime import datetime
from typing import Final, Literal
from uuid import UUID

import msgspec

from contracts.audit import AuditRecord
from contracts.event import Event
from contracts.privacy import PrivacyErased, PrivacyExported

SoldBy = Literal["platform", "tenant"]

#: Seed 002's foreign exchange: topic, durable; routing key = event type, body {eventType, tenantId, entityType, ...}.
NEXUS_EXCHANGE: Final = "nexus.automation.events"


class PriceFact(msgspec.Struct, frozen=True, kw_only=True):
    """One price of a plan; `interval` is month or year."""

    price_id: UUID
    interval: str
    amount_cents: int
    currency: str


class PlanFact(msgspec.Struct, frozen=True, kw_only=True):
    """The plan and the version of its price that something was sold at."""

    plan_id: UUID
    plan_slug: str
    plan_name: str
    price_id: UUID
    interval: str
    amount_cents: int
    currency: str
    limits: dict[str, int] = {}


class BillingEvent(Event, frozen=True, kw_only=True):
    """What all of them carry."""

    tenant_id: UUID
    occurred_at: datetime


class PlanEvent(BillingEvent, frozen=True, kw_only=True):
    """A plan as it stands after the change; `prices` are those for sale."""

    plan_id: UUID
    slug: str
    name: str
    description: str
    features: tuple[str, ...]
    limits: dict[str, int]
    trial_days: int
    prices: tuple[PriceFact, ...]


class PlanCreated(PlanEvent, frozen=True, kw_only=True, tag="billing.plan.created.v1"):
    """A plan is for sale."""


class PlanUpdated(PlanEvent, frozen=True, kw_only=True, tag="billing.plan.updated.v1"):
    """A plan or what it is sold at has changed; running subscriptions keep what they had."""


class PlanArchived(PlanEvent, frozen=True, kw_only=True, tag="billing.plan.archived.v1"):
    """A plan is not sold any more; `deleted` when nobody ever bought it, so that it is gone."""

    deleted: bool


class OrderEvent(BillingEvent, frozen=True, kw_only=True):
    """A purchase. `external_id` is the provider's payment page (Stripe's session id), `claim_id` who asked about it."""

    sold_by: SoldBy
    order_id: UUID
    customer_id: UUID
    plan: PlanFact
    provider: str
    external_id: str | None
    buyer_email: str | None
    buyer_name: str | None
    is_new_tenant: bool
    claim_id: UUID | None = None


class OrderPlaced(OrderEvent, frozen=True, kw_only=True, tag="billing.order.placed.v1"):
    """Somebody set out to buy; nothing is paid."""

    source: str


class OrderPaid(OrderEvent, frozen=True, kw_only=True, tag="billing.order.paid.v1"):
    """It is paid, or its trial began: what was bought is to be given. A new tenant is made under `tenant_id`."""

    subscription_id: UUID | None
    invoice_id: UUID | None
    payment_id: UUID | None
    paid_cents: int


class OrderFailed(BillingEvent, frozen=True, kw_only=True, tag="billing.order.failed.v1"):
    """It was not paid: refused, expired or withdrawn, or the claim of its payment did not hold.

    A claim (`claim_id`) that is refused leaves an order of its own, whose id is the claim's, that was never placed and
    owes nothing: the claimed plan at its price. One that names no plan for sale leaves none, since there is nothing
    that it could be an order of: `order_id`, `customer_id` and `plan` are None together, and only then. `external_id`
    is the claimed session either way. Should the session be paid after all, another order tells so.
    """

    sold_by: SoldBy
    order_id: UUID | None
    customer_id: UUID | None
    plan: PlanFact | None
    provider: str
    external_id: str | None
    buyer_email: str | None
    buyer_name: str | None
    is_new_tenant: bool
    claim_id: UUID | None = None
    reason: str


class OrderRefunded(OrderEvent, frozen=True, kw_only=True, tag="billing.order.refunded.v1"):
    """The whole payment went back."""

    refunded_cents: int


class SubscriptionEvent(BillingEvent, frozen=True, kw_only=True):
    """A subscription as it stands after the change."""

    sold_by: SoldBy
    subscription_id: UUID
    customer_id: UUID
    order_id: UUID | None
    plan: PlanFact
    provider: str
    status: str
    previous_status: str | None
    current_period_start: datetime | None
    current_period_end: datetime | None
    trial_end: datetime | None
    cancel_at_period_end: bool


class SubscriptionCreated(SubscriptionEvent, frozen=True, kw_only=True, tag="billing.subscription.created.v1"):
    """It exists; `status` says whether it runs."""


class SubscriptionActivated(SubscriptionEvent, frozen=True, kw_only=True, tag="billing.subscription.activated.v1"):
    """It runs and is paid for, for the first time or after its trial."""


class SubscriptionChanged(SubscriptionEvent, frozen=True, kw_only=True, tag="billing.subscription.changed.v1"):
    """Another plan or price, or another intention to end it."""

    previous_plan: PlanFact
    previous_cancel_at_period_end: bool


class SubscriptionPastDue(SubscriptionEvent, frozen=True, kw_only=True, tag="billing.subscription.past_due.v1"):
    """A payment failed; it still runs, and retries and notices go on."""

    past_due_since: datetime


class SubscriptionSuspended(SubscriptionEvent, frozen=True, kw_only=True, tag="billing.subscription.suspended.v1"):
    """Its payment has failed for too long: access ends until it is made good."""

    past_due_since: datetime


class SubscriptionCancelled(SubscriptionEvent, frozen=True, kw_only=True, tag="billing.subscription.cancelled.v1"):
    """It has ended for good. `reason`: requested, delinquent, refunded, disputed, tenant_closed or provider."""

    reason: str


class SubscriptionResumed(SubscriptionEvent, frozen=True, kw_only=True, tag="billing.subscription.resumed.v1"):
    """It runs again: a late payment arrived, a pause ended, or its end was called off."""


class SubscriptionTrialEnding(SubscriptionEvent, frozen=True, kw_only=True, tag="billing.subscription.trial_ending.v1"):
    """The trial ends soon, at `trial_end`."""


class InvoiceEvent(BillingEvent, frozen=True, kw_only=True):
    """An invoice as it stands after the change; `number` counts without gaps within the tenant."""

    sold_by: SoldBy
    invoice_id: UUID
    number: int
    customer_id: UUID
    subscription_id: UUID | None
    order_id: UUID | None
    plan_id: UUID | None
    plan_slug: str | None
    interval: str | None
    provider: str
    amount_cents: int
    refunded_cents: int
    currency: str
    period_start: datetime | None
    period_end: datetime | None
    due_at: datetime
    issued_at: datetime


class InvoiceIssued(InvoiceEvent, frozen=True, kw_only=True, tag="billing.invoice.issued.v1"):
    """It is owed."""


class InvoicePaid(InvoiceEvent, frozen=True, kw_only=True, tag="billing.invoice.paid.v1"):
    """It is settled, by `payment_id`."""

    payment_id: UUID
    paid_at: datetime


class InvoicePaymentFailed(InvoiceEvent, frozen=True, kw_only=True, tag="billing.invoice.payment_failed.v1"):
    """A try to pay it failed, the `attempts`-th."""

    attempts: int
    reason: str | None
    next_attempt_at: datetime | None


class InvoiceVoided(InvoiceEvent, frozen=True, kw_only=True, tag="billing.invoice.voided.v1"):
    """It is not owed any more and never was paid."""


class PaymentEvent(BillingEvent, frozen=True, kw_only=True):
    """A payment as it stands after the change; `external_id` is the provider's."""

    sold_by: SoldBy
    payment_id: UUID
    invoice_id: UUID
    subscription_id: UUID | None
    order_id: UUID | None
    customer_id: UUID
    provider: str
    external_id: str | None
    method: str
    amount_cents: int
    refunded_cents: int
    currency: str


class PaymentReceived(PaymentEvent, frozen=True, kw_only=True, tag="billing.payment.received.v1"):
    """Money came in."""

    paid_at: datetime


class PaymentRefunded(PaymentEvent, frozen=True, kw_only=True, tag="billing.payment.refunded.v1"):
    """Money went back: `amount_refunded_cents` now, `refunded_cents` altogether."""

    amount_refunded_cents: int


class PaymentRefundFailed(PaymentEvent, frozen=True, kw_only=True, tag="billing.payment.refund_failed.v1"):
    """A refund failed that its provider had taken on, or the payer's bank returned it: the money is the seller's.

    `amount_restored_cents` is how much of what `billing.payment.refunded` told is taken back by this, 0 where it had
    not been told yet; an order that was refunded by it is paid again. `refund_id` is None for one that was made in the
    provider's own pages.
    """

    refund_id: UUID | None
    amount_restored_cents: int


class PaymentDisputed(PaymentEvent, frozen=True, kw_only=True, tag="billing.payment.disputed.v1"):
    """The payer disputes it. `outcome`: open, won or lost."""

    outcome: str


class PixReceived(PaymentEvent, frozen=True, kw_only=True, tag="billing.pix.received.v1"):
    """A PIX transfer came in, whoever the provider is."""

    txid: str | None
    end_to_end_id: str | None
    paid_at: datetime


class DataErased(PrivacyErased, frozen=True, kw_only=True, tag="billing.privacy.erased.v1"):
    """Billing's part of an erasure is done."""


class DataExported(PrivacyExported, frozen=True, kw_only=True, tag="billing.privacy.exported.v1"):
    """Billing's part of an export."""


class AuditRecorded(AuditRecord, frozen=True, kw_only=True, tag="billing.audit.recorded.v1"):
    """Something worth a record was done in billing."""


class ProviderEventReceived(Event, frozen=True, kw_only=True, tag="billing.provider_event.received.v1"):
    """A verified webhook was stored; billing itself takes it from here."""

    provider_event_id: UUID
    provider: str


EVENTS: tuple[type[Event], ...] = (
    PlanCreated,
    PlanUpdated,
    PlanArchived,
    OrderPlaced,
    OrderPaid,
    OrderFailed,
    OrderRefunded,
    SubscriptionCreated,
    SubscriptionActivated,
    SubscriptionChanged,
    SubscriptionPastDue,
    SubscriptionSuspended,
    SubscriptionCancelled,
    SubscriptionResumed,
    SubscriptionTrialEnding,
    InvoiceIssued,
    InvoicePaid,
    InvoicePaymentFailed,
    InvoiceVoided,
    PaymentReceived,
    PaymentRefunded,
    PaymentRefundFailed,
    PaymentDisputed,
    PixReceived,
    DataErased,
    DataExported,
    AuditRecorded,
    ProviderEventReceived,
)
