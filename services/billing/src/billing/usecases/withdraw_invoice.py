"""Takes back an invoice that nobody owes any more."""

from datetime import datetime

import msgspec

from billing import store
from billing.domain import invoices
from billing.domain.invoices import Invoice, InvoiceStatus
from billing.usecases.note_order import note_order
from bus.outbox import tell
from chassis.db import Connection


async def withdraw_invoice(conn: Connection, invoice: Invoice, *, now: datetime) -> Invoice:
    """The invoice, void; one that is not owed stays as it is. The row is locked; no provider is told."""
    if invoice.status is not InvoiceStatus.PENDING:
        return invoice
    void = msgspec.structs.replace(
        invoice,
        status=InvoiceStatus.VOID,
        voided_at=now,
        next_attempt_at=None,
        version=invoice.version + 1,
        updated_at=now,
    )
    await store.invoices.update_invoice(conn, void.tenant_id, void)
    event = invoices.voided(void, now)
    await tell(conn, event, tenant_id=void.tenant_id, aggregate_id=void.id, version=void.version)
    await note_order(conn, void.tenant_id, void.order_id, "invoice_voided", now=now, number=void.number)
    return void
