"""What a refund, or its failure, does to the invoice that was paid, and to the order that it was for."""

from datetime import datetime

import msgspec

from billing import store
from billing.domain import orders
from billing.domain.invoices import Invoice, InvoiceStatus
from billing.domain.orders import Order, OrderStatus, may_become
from billing.domain.payments import Payment
from billing.usecases.note_order import note_order
from bus.outbox import tell
from chassis.db import Connection


async def return_money(
    conn: Connection, invoice: Invoice, payment: Payment, *, order: Order | None, now: datetime
) -> Invoice:
    """The invoice with what went back of its payment; whole, it and its order are refunded. All rows are locked.

    Of money that came back they are paid again, which the payment's event tells: the order was told of as paid once.
    Access is not ended here: whoever refunds says whether the subscription ends, too.
    """
    whole = payment.refunded_cents >= invoice.amount_cents
    is_returned = payment.refunded_cents < invoice.refunded_cents
    changed = msgspec.structs.replace(
        invoice,
        refunded_cents=payment.refunded_cents,
        status=_status(invoice, whole=whole),
        version=invoice.version + 1,
        updated_at=now,
    )
    await store.invoices.update_invoice(conn, invoice.tenant_id, changed)
    kind = "refund_returned" if is_returned else "refunded"
    await note_order(conn, invoice.tenant_id, invoice.order_id, kind, now=now, refunded_cents=payment.refunded_cents)
    if whole and order is not None and may_become(order, OrderStatus.REFUNDED):
        gone = msgspec.structs.replace(order, status=OrderStatus.REFUNDED, version=order.version + 1, updated_at=now)
        await store.orders.update_order(conn, gone.tenant_id, gone)
        event = orders.refunded(gone, now, payment.refunded_cents)
        await tell(conn, event, tenant_id=gone.tenant_id, aggregate_id=gone.id, version=gone.version)
    elif not whole and order is not None and order.status is OrderStatus.REFUNDED:
        kept = msgspec.structs.replace(order, status=OrderStatus.PAID, version=order.version + 1, updated_at=now)
        await store.orders.update_order(conn, kept.tenant_id, kept)
    return changed


def _status(invoice: Invoice, *, whole: bool) -> InvoiceStatus:
    if invoice.status not in (InvoiceStatus.PAID, InvoiceStatus.REFUNDED):
        return invoice.status
    return InvoiceStatus.REFUNDED if whole else InvoiceStatus.PAID
