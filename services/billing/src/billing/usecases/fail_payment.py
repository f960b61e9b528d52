"""Notes that a try to pay failed: on the invoice, on an order that was waiting for it, and to the world."""

from datetime import datetime

import msgspec

from billing import store
from billing.domain import invoices, orders
from billing.domain.invoices import Invoice, InvoiceStatus
from billing.domain.orders import Order, OrderStatus, may_become
from billing.usecases.note_order import note_order
from bus.outbox import Telling, tell_many
from chassis.db import Connection


async def fail_payment(
    conn: Connection,
    invoice: Invoice,
    *,
    order: Order | None,
    reason: str | None,
    next_attempt_at: datetime | None = None,
    attempts: int | None = None,
    now: datetime,
) -> Invoice:
    """The invoice with one more failed try, or with as many as the provider counts; both rows are locked.

    An invoice that is not owed any more stays as it is; so does one of which the provider counts no more than we do.
    """
    tries = invoice.attempts + 1 if attempts is None else attempts
    if invoice.status is not InvoiceStatus.PENDING or tries <= invoice.attempts:
        return invoice
    failed = msgspec.structs.replace(
        invoice,
        attempts=tries,
        last_failure=reason,
        next_attempt_at=next_attempt_at,
        version=invoice.version + 1,
        updated_at=now,
    )
    await store.invoices.update_invoice(conn, invoice.tenant_id, failed)
    event = invoices.payment_failed(failed, now)
    told = [Telling(event=event, aggregate_id=failed.id, tenant_id=failed.tenant_id, version=failed.version)]
    if order is not None and may_become(order, OrderStatus.FAILED):
        why = reason or "the payment failed"
        lost = msgspec.structs.replace(
            order,
            status=OrderStatus.FAILED,
            failure_reason=why,
            ended_at=now,
            version=order.version + 1,
            updated_at=now,
        )
        await store.orders.update_order(conn, order.tenant_id, lost)
        gone = orders.failed(lost, now, why)
        told.append(Telling(event=gone, aggregate_id=order.id, tenant_id=order.tenant_id, version=lost.version))
    await tell_many(conn, told)
    await note_order(conn, invoice.tenant_id, invoice.order_id, "payment_failed", now=now, reason=reason)
    return failed
