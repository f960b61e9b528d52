"""Asaas' objects read into our own words: amounts in reais become centavos, its days and statuses ours."""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, Final, Literal, TypeVar

import msgspec

from billing.domain.providers import (
    Interval,
    Method,
    PaymentState,
    PaymentStatus,
    RefundState,
    SubscriptionState,
)
from contracts.errors import BadGateway

#: Asaas' days and times are São Paulo's, which has kept UTC-3 all year since 2019.
SAO_PAULO: Final = timezone(timedelta(hours=-3))

BILLING_TYPES: Final = {
    Method.CARD: "CREDIT_CARD",
    Method.DEBIT_CARD: "DEBIT_CARD",
    Method.PIX: "PIX",
    Method.BOLETO: "BOLETO",
    Method.ANY: "UNDEFINED",
}
CYCLES: Final = {Interval.MONTH: "MONTHLY", Interval.YEAR: "YEARLY"}

_METHODS: Final = {name: method for method, name in BILLING_TYPES.items()}
_INTERVALS: Final = {name: interval for interval, name in CYCLES.items()}

#: Asaas' list of statuses. An overdue payment may still be paid, which is what FAILED says here; a refund that is only
#: asked for or under way leaves the money with us; AWAITING_CHARGEBACK_REVERSAL is a dispute won, not yet paid back.
#: A status that Asaas adds later gives nothing away: it reads as pending.
_STATUSES: Final = {
    "PENDING": PaymentStatus.PENDING,
    "AUTHORIZED": PaymentStatus.PENDING,
    "AWAITING_RISK_ANALYSIS": PaymentStatus.PENDING,
    "OVERDUE": PaymentStatus.FAILED,
    "DUNNING_REQUESTED": PaymentStatus.FAILED,
    "CONFIRMED": PaymentStatus.PAID,
    "RECEIVED": PaymentStatus.PAID,
    "RECEIVED_IN_CASH": PaymentStatus.PAID,
    "DUNNING_RECEIVED": PaymentStatus.PAID,
    "REFUND_REQUESTED": PaymentStatus.PAID,
    "REFUND_IN_PROGRESS": PaymentStatus.PAID,
    "REFUNDED": PaymentStatus.REFUNDED,
    "CHARGEBACK_REQUESTED": PaymentStatus.DISPUTED,
    "CHARGEBACK_DISPUTE": PaymentStatus.DISPUTED,
    "AWAITING_CHARGEBACK_REVERSAL": PaymentStatus.DISPUTED,
}

_REFUND_STATUSES: Final[dict[str, Literal["done", "failed"]]] = {"DONE": "done", "CANCELLED": "failed"}
_KEY: Final = re.compile(r"\(([^()\s]+)\)$")

#: The statuses of a payment whose money the payer's bank holds, or may take.
DISPUTED: Final = tuple(name for name, status in _STATUSES.items() if status is PaymentStatus.DISPUTED)


class _Refund(msgspec.Struct, rename="camel", kw_only=True):
    """One entry of a payment's `refunds`; status PENDING, CANCELLED, DONE or AWAITING_*.

    What we asked for has our key at the end of its description: Asaas gives refunds no ids.
    """

    value: Decimal
    status: str = "PENDING"
    description: str | None = None
    date_created: str | None = None


class _Chargeback(msgspec.Struct, kw_only=True):
    status: str = "REQUESTED"  # or IN_DISPUTE, DISPUTE_LOST, REVERSED, DONE


class _Payment(msgspec.Struct, rename="camel", kw_only=True):
    id: str
    value: Decimal
    original_value: Decimal | None = None  # set when it was paid late, with fine and interest: `value` has them then
    status: str
    billing_type: str = "UNDEFINED"
    customer: str | None = None
    subscription: str | None = None  # left out, not null, where there is none
    external_reference: str | None = None
    due_date: str | None = None
    payment_date: str | None = None
    client_payment_date: str | None = None
    confirmed_date: str | None = None
    invoice_url: str | None = None
    bank_slip_url: str | None = None
    deleted: bool = False
    refunds: list[_Refund] | None = None
    chargeback: _Chargeback | None = None


class _Subscription(msgspec.Struct, rename="camel", kw_only=True):
    id: str
    status: str
    value: Decimal | None = None
    cycle: str | None = None
    customer: str | None = None
    external_reference: str | None = None
    deleted: bool = False


T = TypeVar("T")


def read(found: Any, kind: type[T]) -> T:
    """`found` as `kind`. Raises BadGateway when Asaas answered something else."""
    try:
        return msgspec.convert(found, kind, strict=False)
    except msgspec.ValidationError as error:
        raise BadGateway(f"Asaas answered an object that cannot be read: {error}") from None


def reais(amount_cents: int) -> msgspec.Raw:
    """Centavos as the decimal number of a request's body, without a float on the way."""
    if amount_cents < 0:
        raise ValueError("an amount cannot be negative")
    return msgspec.Raw(f"{amount_cents // 100}.{amount_cents % 100:02d}".encode())


def cents(value: Decimal) -> int:
    """Asaas' decimal reais as centavos. Raises BadGateway for a fraction of a centavo or an absurd amount."""
    if not abs(value) < Decimal(10) ** 12:
        raise BadGateway("Asaas answered an amount that no payment has.")
    scaled = value * 100
    if scaled != scaled.to_integral_value():
        raise BadGateway("Asaas answered a fraction of a centavo.")
    return int(scaled)


def day(text: str | None) -> date | None:
    """The day in Asaas' `2024-06-12` or `2024-06-12 16:45:03`; None for what is neither."""
    try:
        return date.fromisoformat((text or "")[:10])
    except ValueError:
        return None


def moment(text: str | None) -> datetime | None:
    """Asaas' local date or time in UTC; a bare day is its first instant in São Paulo. None for what is neither."""
    try:
        found = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return (found if found.tzinfo else found.replace(tzinfo=SAO_PAULO)).astimezone(UTC)


def payment_state(raw: Mapping[str, object]) -> PaymentState:
    """A payment object of Asaas in our words.

    The amount is what was asked for: a fine and interest that came on top are the seller's, and settle nothing more.
    `paid_at` is the first instant of the day on which it was paid: Asaas tells no time of day.
    Raises BadGateway when it cannot be read.
    """
    payment = read(raw, _Payment)
    amount_cents = cents(payment.value)
    if payment.original_value is not None and 0 < payment.original_value < payment.value:
        amount_cents = cents(payment.original_value)
    refunded_cents = min(amount_cents, sum(cents(one.value) for one in payment.refunds or () if one.status == "DONE"))
    status = _status(payment, amount_cents, refunded_cents)
    if status is PaymentStatus.REFUNDED:
        refunded_cents = amount_cents
    is_paid = status not in (PaymentStatus.PENDING, PaymentStatus.FAILED, PaymentStatus.CANCELLED)
    return PaymentState(
        external_id=payment.id,
        status=status,
        amount_cents=amount_cents,
        currency="BRL",
        method=_METHODS.get(payment.billing_type, Method.ANY),
        refunded_cents=refunded_cents,
        refunds=tuple(filter(None, (_refund_state(payment.id, one) for one in payment.refunds or ()))),
        reference=payment.external_reference or None,
        paid_at=moment(payment.client_payment_date or payment.confirmed_date or payment.payment_date)
        if is_paid
        else None,
        due_on=day(payment.due_date),
        customer_external_id=payment.customer,
        subscription_external_id=payment.subscription,
        failure_reason="overdue" if status is PaymentStatus.FAILED else None,
        url=payment.invoice_url or payment.bank_slip_url,
        raw=dict(raw),
    )


def _refund_state(payment_id: str, refund: _Refund) -> RefundState | None:
    """A refund that we asked for in our words; None for one that somebody else did."""
    ours = _KEY.search(refund.description or "")
    if ours is None:
        return None
    return RefundState(
        external_id=f"{payment_id}/{ours[1]}",
        status=_REFUND_STATUSES.get(refund.status, "pending"),
        amount_cents=cents(refund.value),
    )


def _status(payment: _Payment, amount_cents: int, refunded_cents: int) -> PaymentStatus:
    status = _STATUSES.get(payment.status, PaymentStatus.PENDING)
    if payment.chargeback is not None and payment.chargeback.status in ("DISPUTE_LOST", "DONE"):
        return PaymentStatus.CHARGED_BACK
    if status in (PaymentStatus.PENDING, PaymentStatus.FAILED):
        return PaymentStatus.CANCELLED if payment.deleted else status
    if status is PaymentStatus.PAID and refunded_cents:
        # Asaas leaves a partly refunded payment at RECEIVED.
        return PaymentStatus.REFUNDED if refunded_cents == amount_cents else PaymentStatus.PARTIALLY_REFUNDED
    return status


def subscription_state(raw: Mapping[str, object]) -> SubscriptionState:
    """A subscription object of Asaas in our words.

    Periods stay unset: `nextDueDate` runs ahead of the paid period, because Asaas makes payments up to 40 days early;
    the period is told by the payments' due days. Raises BadGateway when it cannot be read.
    """
    subscription = read(raw, _Subscription)
    is_active = subscription.status == "ACTIVE" and not subscription.deleted
    status: Literal["active", "cancelled"] = "active" if is_active else "cancelled"
    return SubscriptionState(
        external_id=subscription.id,
        status=status,
        customer_external_id=subscription.customer,
        amount_cents=None if subscription.value is None else cents(subscription.value),
        currency="BRL",
        interval=_INTERVALS.get(subscription.cycle or ""),
        reference=subscription.external_reference or None,
    )
