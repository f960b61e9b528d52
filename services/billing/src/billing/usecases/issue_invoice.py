"""Issues an invoice: gives it its number, and says so."""

from datetime import datetime

import msgspec

from billing import store
from billing.domain import invoices
from billing.domain.invoices import Invoice
from bus.outbox import tell
from chassis.db import Connection


async def issue_invoice(conn: Connection, draft: Invoice, *, now: datetime) -> Invoice:
    """The invoice of `draft`, whose `number` is given here: without gaps, in the order of commits, per tenant."""
    number = await store.invoices.next_number(conn, draft.tenant_id)
    invoice = msgspec.structs.replace(draft, number=number)
    await store.invoices.insert_invoice(conn, invoice.tenant_id, invoice)
    if invoice.external_id is not None:
        await store.directory.insert_object(
            conn,
            invoice.tenant_id,
            provider=invoice.provider,
            account_id=invoice.account_id,
            kind="invoice",
            external_id=invoice.external_id,
            object_id=invoice.id,
        )
    event = invoices.issued(invoice, now)
    await tell(conn, event, tenant_id=invoice.tenant_id, aggregate_id=invoice.id, version=invoice.version)
    return invoice
