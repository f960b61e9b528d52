"""What a refund does to the invoice that was paid, and to the order that it was for."""

from datetime import datetime

import msgspec

from billing import store
from billing.domain import orders
from billing.domain.invoices import Invoice, InvoiceStatus
from billing.domain.orders import Order, OrderStatus, may_become
from billing.domain.payments import Payment
from billing.domain.refunds import arrived
from billing.usecases.note_order import note_order
from bus.outbox import tell
from chassis.db import Connection


async def return_money(
    conn: Connection, invoice: Invoice, payment: Payment, *, order: Order | None, now: datetime
) -> Invoice:
    """The invoice with what went back of its payment; whole, it and its order are refunded. All rows are locked.

    Access is not ended here: whoever refunds says whether the subscription ends, too.
    """
    whole = payment.refunded_cents >= invoice.amount_cents
    changed = msgspec.structs.replace(
        invoice,
        refunded_cents=payment.refunded_cents,
        status=InvoiceStatus.REFUNDED if whole and invoice.status is InvoiceStatus.PAID else invoice.status,
        version=invoice.version + 1,
        updated_at=now,
    )
    await store.invoices.update_invoice(conn, invoice.tenant_id, changed)
    refunds = await store.refunds.list_refunds(conn, payment.tenant_id, payment.id)
    for refund in arrived(refunds, payment.refunded_cents, now):
        await store.refunds.update_refund(conn, payment.tenant_id, refund)
    await note_order(
        conn, invoice.tenant_id, invoice.order_id, "refunded", now=now, refunded_cents=payment.refunded_cents
    )
    if whole and order is not None and may_become(order, OrderStatus.REFUNDED):
        gone = msgspec.structs.replace(order, status=OrderStatus.REFUNDED, version=order.version + 1, updated_at=now)
        await store.orders.update_order(conn, gone.tenant_id, gone)
        event = orders.refunded(gone, now, payment.refunded_cents)
        await tell(conn, event, tenant_id=gone.tenant_id, aggregate_id=gone.id, version=gone.version)
    return changed
