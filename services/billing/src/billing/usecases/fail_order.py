"""Ends an order that nobody will pay: it failed or was cancelled, and what it owed is not owed any more."""

from datetime import datetime

import msgspec

from billing import store
from billing.domain import invoices, orders
from billing.domain.invoices import InvoiceStatus
from billing.domain.orders import Order, OrderStatus, may_become
from billing.usecases.note_order import note_order
from bus.outbox import Telling, tell_many
from chassis.db import Connection


async def fail_order(conn: Connection, order: Order, status: OrderStatus, reason: str, *, now: datetime) -> Order:
    """The order, locked before, in that state with its invoice void; itself where it has ended already.

    Money that comes after all still counts: see `receive_payment`.
    """
    if not may_become(order, status):
        return order
    ended = msgspec.structs.replace(
        order, status=status, failure_reason=reason, ended_at=now, version=order.version + 1, updated_at=now
    )
    await store.orders.update_order(conn, order.tenant_id, ended)
    event = orders.failed(ended, now, reason)
    told = [Telling(event=event, aggregate_id=order.id, tenant_id=order.tenant_id, version=ended.version)]
    invoice = await store.invoices.find_of_order(conn, order.tenant_id, order.id)
    if invoice is not None and invoice.status is InvoiceStatus.PENDING:
        void = msgspec.structs.replace(
            invoice, status=InvoiceStatus.VOID, voided_at=now, version=invoice.version + 1, updated_at=now
        )
        await store.invoices.update_invoice(conn, order.tenant_id, void)
        told.append(
            Telling(
                event=invoices.voided(void, now),
                aggregate_id=void.id,
                tenant_id=order.tenant_id,
                version=void.version,
            )
        )
    await tell_many(conn, told)
    await note_order(conn, order.tenant_id, order.id, status.value, now=now, reason=reason)
    return ended
