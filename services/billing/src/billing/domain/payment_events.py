"""What is told about a payment, derived from how it stood and how it stands: no change goes untold, none twice."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from billing.domain.payments import Payment
from billing.domain.providers import Method, PaymentStatus
from billing.domain.refunds import Refund, RefundStatus
from contracts.billing import (
    PaymentDisputed,
    PaymentEvent,
    PaymentReceived,
    PaymentRefunded,
    PaymentRefundFailed,
    PixReceived,
)


def changes(
    before: Payment, after: Payment, failed: Sequence[Refund], subscription_id: UUID | None, now: datetime
) -> list[PaymentEvent]:
    """The events that lead from `before` to `after`, in that order; `failed` are refunds that failed, as they stood."""
    facts = _facts(after, subscription_id, now)
    paid_at = after.paid_at or now
    found: list[PaymentEvent] = []
    if after.is_settled and not before.is_settled:
        found.append(PaymentReceived(**facts, paid_at=paid_at))
        if after.method is Method.PIX:
            found.append(PixReceived(**facts, txid=after.txid, end_to_end_id=after.end_to_end_id, paid_at=paid_at))
    if (back := after.refunded_cents - before.refunded_cents) > 0:
        found.append(PaymentRefunded(**facts, amount_refunded_cents=back))
    for refund_id, restored in _restored(failed, max(0, -back)):
        found.append(PaymentRefundFailed(**facts, refund_id=refund_id, amount_restored_cents=restored))
    if outcome := _dispute(before.status, after.status):
        found.append(PaymentDisputed(**facts, outcome=outcome))
    return found


def _restored(failed: Sequence[Refund], amount_cents: int) -> Iterator[tuple[UUID | None, int]]:
    """How much of what came back is each refund's; the rest had been given back in the provider's own pages."""
    for refund in failed:
        part = min(amount_cents, refund.amount_cents) if refund.status is RefundStatus.DONE else 0
        amount_cents -= part
        yield refund.id, part
    if amount_cents:
        yield None, amount_cents


def _dispute(before: PaymentStatus, after: PaymentStatus) -> str | None:
    if before is after:
        return None
    if after is PaymentStatus.DISPUTED:
        return "open"
    if after is PaymentStatus.CHARGED_BACK:
        return "lost"
    if before in (PaymentStatus.DISPUTED, PaymentStatus.CHARGED_BACK) and after is not PaymentStatus.REFUNDED:
        return "won"
    return None


def _facts(payment: Payment, subscription_id: UUID | None, now: datetime) -> dict[str, Any]:
    return {
        "tenant_id": payment.tenant_id,
        "occurred_at": now,
        "sold_by": payment.sold_by.value,
        "payment_id": payment.id,
        "invoice_id": payment.invoice_id,
        "subscription_id": subscription_id,
        "order_id": payment.order_id,
        "customer_id": payment.customer_id,
        "provider": payment.provider.value,
        "external_id": payment.external_id,
        "method": payment.method.value,
        "amount_cents": payment.amount_cents,
        "refunded_cents": payment.refunded_cents,
        "currency": payment.currency,
    }
