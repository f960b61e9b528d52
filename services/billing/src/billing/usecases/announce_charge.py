"""Says that a charge can be paid: to seed 002's consumers, and with its PIX code to whom a period was invoiced."""

from datetime import datetime

from billing import store
from billing.domain.nexus import type_of_new
from billing.domain.payments import Payment
from billing.usecases.publish_nexus_event import publish_nexus_event
from billing.usecases.send_pix_code import send_pix_code
from chassis.db import Connection


async def announce_charge(conn: Connection, payment: Payment, *, nexus_events: bool, now: datetime) -> None:
    """Both leave when the transaction commits; whoever asked for a single charge has its code, and gets no mail."""
    if nexus_events:
        await publish_nexus_event(conn, payment, type_of_new(payment), now=now)
    invoice = await store.invoices.get_invoice(conn, payment.tenant_id, payment.invoice_id)
    if invoice.subscription_id is not None and payment.pix_copy_paste is not None:
        await send_pix_code(conn, payment, invoice)
