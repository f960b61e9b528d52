"""Refunds: how much of a payment may still go back, and which refund is the one that was meant."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

import msgspec

from billing.domain.payments import Payment
from billing.domain.providers import PaymentStatus, RefundState
from contracts.errors import Conflict


class RefundStatus(StrEnum):
    """What came of it. `requested`: asked for, the answer not known; `pending`: the provider has taken it on."""

    REQUESTED = "requested"
    PENDING = "pending"
    DONE = "done"
    FAILED = "failed"


_COUNTING: Final = (RefundStatus.REQUESTED, RefundStatus.PENDING, RefundStatus.DONE)
#: A bank may return what was done; nothing comes of a refund that failed.
_ENDS: Final = {
    RefundStatus.PENDING: (RefundStatus.DONE, RefundStatus.FAILED),
    RefundStatus.DONE: (RefundStatus.FAILED,),
}
_REFUNDABLE: Final = (PaymentStatus.PAID, PaymentStatus.PARTIALLY_REFUNDED, PaymentStatus.REFUNDED)


class Refund(msgspec.Struct, frozen=True, kw_only=True):
    """One row of refunds. `overdue_at`: when somebody was told that nothing comes of it."""

    id: UUID
    tenant_id: UUID
    payment_id: UUID
    amount_cents: int
    reason: str | None
    status: RefundStatus
    external_id: str | None
    requested_by: str
    created_at: datetime
    updated_at: datetime
    overdue_at: datetime | None = None

    @property
    def key(self) -> str:
        """The idempotency key of its one call, by which the provider is asked about it as well."""
        return f"refund-{self.id}"


def refuse_refund(payment: Payment) -> None:
    """Nothing, for a payment whose money is there; also money that fits nothing, which is refunded most of all.

    Raises Conflict.
    """
    if payment.external_id is None or (payment.status not in _REFUNDABLE and payment.review_reason is None):
        raise Conflict(f"The payment is {payment.status}: there is nothing to refund.", code="not_refundable")


def refundable_cents(payment: Payment, refunds: Sequence[Refund]) -> int:
    """What may still go back: the whole, less what went (here or at the provider's own page) and what is on its way."""
    done = _sum(refunds, RefundStatus.DONE)
    under_way = _sum(refunds, RefundStatus.REQUESTED) + _sum(refunds, RefundStatus.PENDING)
    return max(0, payment.amount_cents - max(done, payment.refunded_cents) - under_way)


def same_wish(refunds: Sequence[Refund], amount_cents: int | None) -> Refund | None:
    """The refund whose answer is not known yet and that this one repeats: a double click, or a try after a failure."""
    waiting = [one for one in refunds if one.status is RefundStatus.REQUESTED]
    return next((one for one in waiting if amount_cents in (None, one.amount_cents)), None)


def wanted_cents(payment: Payment, refunds: Sequence[Refund], amount_cents: int | None) -> int:
    """What is to go back: `amount_cents`, or all that is left. Raises Conflict for more than that, or for nothing."""
    left = refundable_cents(payment, refunds)
    if left == 0:
        raise Conflict("The whole payment was refunded, or is being refunded.", code="already_refunded")
    if amount_cents is not None and amount_cents > left:
        raise Conflict(f"Only {left} minor units of it are left to refund.", code="refund_exceeds_payment")
    return left if amount_cents is None else amount_cents


def last_counting(refunds: Sequence[Refund]) -> Refund | None:
    """The latest refund that did not fail; `refunds` are oldest first."""
    return next((one for one in reversed(refunds) if one.status in _COUNTING), None)


def settled(
    refunds: Sequence[Refund], told: Sequence[RefundState], refunded_cents: int, *, is_returned: bool, now: datetime
) -> list[Refund]:
    """Those of them whose fate is known, or is another one, by what the provider tells: each refund or, where it lists
    none, the sum of the finished ones.

    By the sum, the oldest under way are done first; of money that is here again (`is_returned`) the latest failed. One
    whose answer is not known is brought to its end by whoever asks for it again.
    """
    by_id = {state.external_id: RefundStatus(state.status) for state in told}
    if by_id:
        ended = [(one, by_id[one.external_id]) for one in refunds if one.external_id in by_id]
    elif is_returned:
        ended = [(one, RefundStatus.FAILED) for one in _beyond(refunds, refunded_cents)]
    else:
        ended = [(one, RefundStatus.DONE) for one in _within(refunds, refunded_cents)]
    return [
        msgspec.structs.replace(one, status=status, updated_at=now)
        for one, status in ended
        if status in _ENDS.get(one.status, ())
    ]


def _within(refunds: Sequence[Refund], refunded_cents: int) -> Iterator[Refund]:
    total = _sum(refunds, RefundStatus.DONE)
    for refund in refunds:
        if refund.status is RefundStatus.PENDING and total + refund.amount_cents <= refunded_cents:
            total += refund.amount_cents
            yield refund


def _beyond(refunds: Sequence[Refund], refunded_cents: int) -> Iterator[Refund]:
    total = _sum(refunds, RefundStatus.DONE)
    for refund in reversed(refunds):
        if refund.status is RefundStatus.DONE and total > refunded_cents:
            total -= refund.amount_cents
            yield refund


def _sum(refunds: Sequence[Refund], status: RefundStatus) -> int:
    return sum(refund.amount_cents for refund in refunds if refund.status is status)
