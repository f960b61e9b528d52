"""Writes what became of refunds that were asked for: done, or failed, at once or long after they were done."""

from datetime import datetime

from billing import store
from billing.domain.doers import BILLING
from billing.domain.payments import Payment
from billing.domain.providers import PaymentState
from billing.domain.refunds import Refund, RefundStatus, settled
from billing.usecases.note_order import note_order
from billing.usecases.record_audit import record_audit
from chassis.db import Connection


async def settle_refunds(
    conn: Connection, before: Payment, after: Payment, seen: PaymentState, *, now: datetime
) -> list[Refund]:
    """The refunds that failed, as they stood; their money may go back again. `before` is locked; `seen` led to `after`.

    A failure is in the order's timeline and in the audit log: whoever gave the money back believes that it is gone.
    """
    refunds = await store.refunds.list_refunds(conn, before.tenant_id, before.id)
    known = {refund.id: refund for refund in refunds}
    is_returned = after.refunded_cents < before.refunded_cents
    failed = []
    for refund in settled(refunds, seen.refunds, after.refunded_cents, is_returned=is_returned, now=now):
        await store.refunds.update_refund(conn, before.tenant_id, refund)
        if refund.status is RefundStatus.FAILED:
            failed.append(known[refund.id])
            await _record(conn, before, refund, now)
    return failed


async def _record(conn: Connection, payment: Payment, refund: Refund, now: datetime) -> None:
    await note_order(
        conn, payment.tenant_id, payment.order_id, "refund_failed", now=now, amount_cents=refund.amount_cents
    )
    await record_audit(
        conn,
        payment.tenant_id,
        "payment.refund_failed",
        by=BILLING,
        kind="payment",
        target_id=payment.id,
        now=now,
        refund=str(refund.id),
        amount_cents=refund.amount_cents,
        currency=payment.currency,
    )
