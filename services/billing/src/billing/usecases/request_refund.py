"""Writes a refund down before anybody is asked for it: never more than the payment, however many ask at once."""

from datetime import datetime
from uuid import UUID

from billing import store
from billing.domain.customers import SoldBy
from billing.domain.identifiers import new_id
from billing.domain.refunds import (
    Refund,
    RefundStatus,
    last_counting,
    refundable_cents,
    refuse_refund,
    same_wish,
    wanted_cents,
)
from billing.usecases.note_order import note_order
from billing.usecases.record_audit import record_audit
from chassis.db import Connection
from contracts.audit import Doer
from contracts.errors import Forbidden


async def request_refund(
    conn: Connection,
    tenant_id: UUID,
    payment_id: UUID,
    *,
    amount_cents: int | None,
    reason: str | None,
    is_keyed: bool,
    may_refund_sales: bool,
    by: Doer,
    now: datetime,
) -> Refund:
    """The refund of `amount_cents`, or of all that is left. `refund_payment` brings it to its end.

    A request without a key of its own (`is_keyed`) that repeats one whose answer is not known yet is that one; so is
    one for all that is left of what went back already. `may_refund_sales`: whoever asks gives the platform's own money;
    a buying tenant may not give itself its payment back.

    Raises NotFound, Forbidden, Conflict for a payment without money or for more than is left of it.
    """
    payment = await store.payments.lock_payment(conn, tenant_id, payment_id)
    if payment.sold_by is SoldBy.PLATFORM and not may_refund_sales:
        raise Forbidden("What was paid to the platform only the platform refunds.", code="platform_sale")
    refuse_refund(payment)
    refunds = await store.refunds.list_refunds(conn, tenant_id, payment_id)
    known = None if is_keyed else same_wish(refunds, amount_cents)
    if known is None and amount_cents is None and refundable_cents(payment, refunds) == 0:
        known = last_counting(refunds)
    if known is not None:
        return known
    refund = Refund(
        id=new_id(now),
        tenant_id=tenant_id,
        payment_id=payment_id,
        amount_cents=wanted_cents(payment, refunds, amount_cents),
        reason=reason,
        status=RefundStatus.REQUESTED,
        external_id=None,
        requested_by=by.actor.id,
        created_at=now,
        updated_at=now,
    )
    await store.refunds.insert_refund(conn, tenant_id, refund)
    await note_order(conn, tenant_id, payment.order_id, "refund_requested", now=now, amount_cents=refund.amount_cents)
    await record_audit(
        conn,
        tenant_id,
        "payment.refund_requested",
        by=by,
        kind="payment",
        target_id=payment_id,
        now=now,
        refund=str(refund.id),
        amount_cents=refund.amount_cents,
        currency=payment.currency,
    )
    return refund
