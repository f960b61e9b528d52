"""What we ask of a payment provider and what it tells us, in our own words; each adapter translates.

Amounts are integer minor units. A `reference` is an id of ours that the provider keeps and gives back: how a stranger's
object is told from one of ours. States are what the provider says *now*: a webhook only says which object to look at.
"""

from datetime import date, datetime
from enum import StrEnum
from typing import Literal
from uuid import UUID

import msgspec

from contracts.errors import Conflict, Invalid, Unavailable


class Provider(StrEnum):
    """Who moves the money."""

    STRIPE = "stripe"
    ASAAS = "asaas"
    PAGBANK = "pagbank"


class Method(StrEnum):
    """How a payer pays; `any` lets them choose on the provider's page."""

    CARD = "card"
    PIX = "pix"
    BOLETO = "boleto"
    DEBIT_CARD = "debit_card"
    ANY = "any"


class Interval(StrEnum):
    """How often a price is due."""

    MONTH = "month"
    YEAR = "year"


class ProviderUnavailable(Unavailable):
    """The provider was not reached, or said that it did nothing (connect error, 429, 503): try again, same key."""

    default_code = "provider_unavailable"


class ProviderUnknown(Unavailable):
    """The request left and no usable answer came back (time-out, reset, 500): it may or may not have had its effect.

    Only the same call with the same key may follow, or a look-up by reference.
    """

    default_code = "provider_result_unknown"


class ProviderRefused(Invalid):
    """The provider understood and refuses: a wrong tax id, a charge that cannot be refunded. `detail` is its reason."""

    default_code = "provider_refused"


class ProviderMisconfigured(Conflict):
    """The provider does not accept our credentials, or the account may not do this: somebody has to mend that."""

    default_code = "provider_misconfigured"


class NotAtProvider(Exception):
    """The provider does not know the object that was asked for. Never shown to a caller as it is."""


class Payer(msgspec.Struct, frozen=True, kw_only=True):
    """Who pays. `tax_id` is a CPF or CNPJ in digits only; `phone` digits with area code.

    `email` is empty where only the provider's page will learn it (Stripe's).
    """

    email: str
    name: str | None = None
    tax_id: str | None = None
    phone: str | None = None
    external_id: str | None = None  # the provider's own id of this payer, once it has one


class CheckoutRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A page on which one plan can be paid. `reference` is the order's id.

    With `interval` it is a subscription, without it one payment. `price_external_id` is the provider's own price, where
    the plan was pushed to it; else the amount is sent inline. `trial_days` is 0 for none.
    """

    reference: UUID
    plan_slug: str
    title: str
    description: str
    amount_cents: int
    currency: str
    interval: Interval | None
    trial_days: int
    payer: Payer
    success_url: str
    cancel_url: str
    methods: tuple[Method, ...] = (Method.CARD,)
    price_external_id: str | None = None
    metadata: dict[str, str] = {}
    notification_url: str | None = None  # where the provider takes it per request (PagBank)


class Checkout(msgspec.Struct, frozen=True, kw_only=True):
    """A payment page. `external_id` is that of Stripe's session, Asaas' subscription or PagBank's checkout."""

    external_id: str
    url: str
    customer_external_id: str | None = None
    subscription_external_id: str | None = None
    expires_at: datetime | None = None


class ChargeRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One payment of `amount_cents` by `method`. `reference` is the payment's id.

    `discount`, `fine` and `interest` are passed on to a provider that has them (Asaas), as it defines them.
    """

    reference: UUID
    amount_cents: int
    currency: str
    method: Method
    payer: Payer
    description: str
    due_on: date
    expires_at: datetime | None = None  # a PIX code's end
    notification_url: str | None = None
    discount: dict[str, object] | None = None
    fine: dict[str, object] | None = None
    interest: dict[str, object] | None = None


class PixCode(msgspec.Struct, frozen=True, kw_only=True):
    """What a payer scans or pastes. `txid` is as in the code (`***` where the provider gives none)."""

    copy_paste: str
    txid: str
    expires_at: datetime | None


class ChargeCreated(msgspec.Struct, frozen=True, kw_only=True):
    """A charge that the provider has taken on; `raw` is its own answer, for those who speak its dialect (seed 002)."""

    external_id: str  # of the payment: PaymentIntent, payment, or PagBank's order
    status: "PaymentStatus"
    customer_external_id: str | None = None
    pix: PixCode | None = None
    url: str | None = None  # a page or slip where it can be paid
    raw: dict[str, object] = {}


class PaymentStatus(StrEnum):
    """Where a payment stands. The order is that of progress: a later state is never left for an earlier one."""

    PENDING = "pending"
    FAILED = "failed"  # may still be paid by another try
    CANCELLED = "cancelled"  # expired or withdrawn unpaid
    PAID = "paid"
    PARTIALLY_REFUNDED = "partially_refunded"
    REFUNDED = "refunded"
    DISPUTED = "disputed"
    CHARGED_BACK = "charged_back"


class PaymentState(msgspec.Struct, frozen=True, kw_only=True):
    """One payment as its provider has it now.

    `reference` is what we gave (a payment's or an order's id), None for one that was made elsewhere. `refunded_cents`
    is the sum of finished refunds; `refunds` are the single ones, where the provider lists them (PagBank does not).
    `end_to_end_id` is a PIX transfer's (32 characters).
    """

    external_id: str
    status: PaymentStatus
    amount_cents: int
    currency: str
    method: Method = Method.ANY
    refunded_cents: int = 0
    refunds: "tuple[RefundState, ...]" = ()
    reference: str | None = None
    paid_at: datetime | None = None
    due_on: date | None = None
    customer_external_id: str | None = None
    subscription_external_id: str | None = None
    invoice_external_id: str | None = None
    checkout_external_id: str | None = None
    end_to_end_id: str | None = None
    failure_reason: str | None = None
    url: str | None = None
    raw: dict[str, object] = {}


class CheckoutState(msgspec.Struct, frozen=True, kw_only=True):
    """A payment page as its provider has it now. Only `is_paid` fulfils: a completed page may still be unpaid."""

    external_id: str
    status: Literal["open", "complete", "expired"]
    payment_status: Literal["paid", "unpaid", "no_payment_required"]
    url: str | None = None  # while it is open
    amount_cents: int
    currency: str
    reference: str | None = None
    customer_external_id: str | None = None
    subscription_external_id: str | None = None
    payment_external_id: str | None = None
    invoice_external_id: str | None = None
    payer_email: str | None = None
    payer_name: str | None = None
    metadata: dict[str, str] = {}
    livemode: bool = False
    completed_at: datetime | None = None

    @property
    def is_paid(self) -> bool:
        """Whether what was ordered may be given."""
        return self.status == "complete" and self.payment_status in ("paid", "no_payment_required")


class SubscriptionState(msgspec.Struct, frozen=True, kw_only=True):
    """A subscription as its provider has it now. `status` is in our words; `past_due` covers unpaid ones too."""

    external_id: str
    status: Literal["incomplete", "trialing", "active", "past_due", "paused", "cancelled"]
    customer_external_id: str | None = None
    price_external_id: str | None = None
    amount_cents: int | None = None
    currency: str | None = None
    interval: Interval | None = None
    current_period_start: datetime | None = None
    current_period_end: datetime | None = None
    trial_end: datetime | None = None
    cancel_at_period_end: bool = False
    cancelled_at: datetime | None = None
    reference: str | None = None  # the order's id
    metadata: dict[str, str] = {}
    item_external_id: str | None = None  # Stripe: the item whose price is changed


class InvoiceState(msgspec.Struct, frozen=True, kw_only=True):
    """A provider's own invoice as it stands now (Stripe has them; Asaas and PagBank do not)."""

    external_id: str
    status: Literal["draft", "open", "paid", "void", "uncollectible"]
    amount_cents: int
    amount_paid_cents: int
    currency: str
    subscription_external_id: str | None = None
    customer_external_id: str | None = None
    payment_external_id: str | None = None
    reference: str | None = None
    billing_reason: str | None = None
    number: str | None = None
    url: str | None = None
    attempts: int = 0
    next_attempt_at: datetime | None = None
    period_start: datetime | None = None
    period_end: datetime | None = None
    due_at: datetime | None = None
    created_at: datetime | None = None
    paid_at: datetime | None = None


class RefundState(msgspec.Struct, frozen=True, kw_only=True):
    """A refund as its provider has it now."""

    external_id: str
    status: Literal["pending", "done", "failed"]
    amount_cents: int


#: The kinds of object that a notice can be about.
ObjectKind = Literal["checkout", "subscription", "invoice", "payment", "customer", "other"]


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """A verified webhook, read only as far as to know which object to look at.

    `event_id` is the provider's own, else a hash of the body: what makes a redelivery the same event. `type` is the
    provider's word. `parent_external_id` is the larger object the provider fetches it by (PagBank: the order).
    """

    event_id: str
    type: str
    kind: ObjectKind
    object_external_id: str | None = None
    parent_external_id: str | None = None
    reference: str | None = None
    occurred_at: datetime | None = None
    livemode: bool | None = None
    tenant_hint: UUID | None = None

    @property
    def is_nameless(self) -> bool:
        """Whether its provider gives events no ids, so that what it says is its name."""
        return self.event_id.startswith("sha256:")


class PlanPushed(msgspec.Struct, frozen=True, kw_only=True):
    """A plan's ids at the provider: its product, and its prices by our price id."""

    product_external_id: str
    price_external_ids: dict[UUID, str]


class SignatureRefused(Exception):
    """A webhook that its provider did not sign, or not for us, or not now. `args[0]` says which, without any secret."""
