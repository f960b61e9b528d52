"""Says that a charge can be paid: to seed 002's consumers, and with its PIX code to whom a period was invoiced."""

from datetime import datetime

from billing import store
from billing.domain.customers import SoldBy
from billing.domain.money_text import money_text
from billing.domain.nexus import type_of_new
from billing.domain.payments import Payment
from billing.usecases.publish_nexus_event import publish_nexus_event
from billing.usecases.queue_mail import queue_mail
from chassis.db import Connection


async def announce_charge(conn: Connection, payment: Payment, *, nexus_events: bool, now: datetime) -> None:
    """Both leave when the transaction commits; whoever asked for a single charge has its code, and gets no mail."""
    if nexus_events:
        await publish_nexus_event(conn, payment, type_of_new(payment), now=now)
    invoice = await store.invoices.get_invoice(conn, payment.tenant_id, payment.invoice_id)
    if invoice.subscription_id is None or payment.pix_copy_paste is None:
        return
    customer = await store.customers.get_customer(conn, payment.tenant_id, payment.customer_id)
    await queue_mail(
        conn,
        "pix_code",
        customer.email,
        {
            "name": customer.name or "",
            "description": invoice.description,
            "amount": money_text(payment.amount_cents, payment.currency),
            "copy_paste": payment.pix_copy_paste,
            "due_on": f"{invoice.due_at:%d/%m/%Y}",
        },
        name=customer.name,
        tenant_id=None if payment.sold_by is SoldBy.PLATFORM else payment.tenant_id,
        about=payment.id,
        key=f"billing-pix-{payment.id}",
    )
