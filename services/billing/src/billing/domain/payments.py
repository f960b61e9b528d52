"""Payments: what came in, what went back, and which report of it is news."""

from datetime import date, datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from billing.domain.customers import SoldBy
from billing.domain.providers import Method, PaymentState, PaymentStatus, Provider

P = PaymentStatus
#: Money is there, or was: such a payment settles its invoice.
SETTLING: Final = frozenset({P.PAID, P.PARTIALLY_REFUNDED, P.REFUNDED, P.DISPUTED, P.CHARGED_BACK})
#: Progress only. A payment that expired or failed here may still have been paid there; a won dispute gives `paid` back.
NEXT: Final = {
    P.PENDING: {P.FAILED, P.CANCELLED, *SETTLING},
    P.FAILED: {P.CANCELLED, *SETTLING},
    P.CANCELLED: SETTLING,
    P.PAID: SETTLING - {P.PAID},
    P.PARTIALLY_REFUNDED: {P.REFUNDED, P.DISPUTED, P.CHARGED_BACK},
    P.DISPUTED: {P.PAID, P.PARTIALLY_REFUNDED, P.CHARGED_BACK, P.REFUNDED},
    P.REFUNDED: frozenset[PaymentStatus](),
    P.CHARGED_BACK: {P.PAID, P.PARTIALLY_REFUNDED},  # a provider may give it back after all
}
#: A refund that the payer's bank returns, or that was told too early, leaves the money with us again.
RETURNED: Final = {P.PARTIALLY_REFUNDED: {P.PAID}, P.REFUNDED: {P.PAID, P.PARTIALLY_REFUNDED}}


class Payment(msgspec.Struct, frozen=True, kw_only=True):
    """One row of payments; `raw` is the provider's own object."""

    id: UUID
    tenant_id: UUID
    sold_by: SoldBy
    invoice_id: UUID
    order_id: UUID | None
    customer_id: UUID
    provider: Provider
    account_id: UUID
    external_id: str | None
    method: Method
    status: PaymentStatus
    amount_cents: int
    refunded_cents: int
    currency: str
    description: str
    reference: str | None
    due_on: date | None
    paid_at: datetime | None
    failure_reason: str | None
    review_reason: str | None
    txid: str | None
    end_to_end_id: str | None
    pix_copy_paste: str | None
    pix_expires_at: datetime | None
    url: str | None
    raw: dict[str, Any] | None
    observed_at: datetime | None
    version: int
    created_at: datetime
    updated_at: datetime

    @property
    def is_settled(self) -> bool:
        """Whether its money is, or was, there."""
        return self.status in SETTLING


def observe(current: Payment, seen: PaymentState, *, asked_at: datetime, now: datetime) -> Payment:
    """`current` brought up to what the provider said when asked at `asked_at`; itself when that is old news.

    Amount and currency have been compared by whoever calls: a payment of another amount is not this one. That money
    which went back is here again is believed only of an answer that was asked for after its return was written down:
    of two questions that overlap, the later one may have been answered first.
    """
    if current.observed_at is not None and asked_at < current.observed_at:
        return current
    is_returned = asked_at >= current.updated_at and returns(current, seen)
    status = seen.status if is_returned or seen.status in NEXT[current.status] else current.status
    refunded_cents = seen.refunded_cents if is_returned else max(current.refunded_cents, seen.refunded_cents)
    changed = msgspec.structs.replace(
        current,
        status=status,
        external_id=current.external_id or seen.external_id,
        method=seen.method if current.method is Method.ANY else current.method,
        refunded_cents=min(current.amount_cents, refunded_cents),
        paid_at=current.paid_at or (seen.paid_at or now if status in SETTLING else None),
        failure_reason=seen.failure_reason or current.failure_reason,
        end_to_end_id=current.end_to_end_id or (seen.end_to_end_id if status in SETTLING else None),
        url=seen.url or current.url,
        raw=seen.raw or current.raw,
        observed_at=asked_at,
    )
    if msgspec.structs.replace(changed, observed_at=current.observed_at) == current:
        return changed
    return msgspec.structs.replace(changed, version=current.version + 1, updated_at=now)


def returns(current: Payment, seen: PaymentState) -> bool:
    """Whether by `seen` some of what went back is here again."""
    is_kept = seen.status is current.status is P.PARTIALLY_REFUNDED
    is_less = seen.refunded_cents < current.refunded_cents
    return is_less and (is_kept or seen.status in RETURNED.get(current.status, ()))


def mismatch(current: Payment, seen: PaymentState) -> str | None:
    """Why `seen` cannot be this payment's money, in words for whoever reviews it; None when it can."""
    if seen.currency != current.currency:
        return f"{seen.currency} came in where {current.currency} was asked for"
    if seen.amount_cents != current.amount_cents:
        return f"{seen.amount_cents} came in where {current.amount_cents} was asked for"
    return None
