"""Writes to whoever paid that the money came in."""

from datetime import datetime

from billing import store
from billing.domain.customers import SoldBy
from billing.domain.invoices import Invoice
from billing.domain.money_text import money_text
from billing.domain.payments import Payment
from billing.usecases.note_order import note_order
from billing.usecases.queue_mail import queue_mail
from chassis.db import Connection


async def send_receipt(conn: Connection, invoice: Invoice, payment: Payment, *, now: datetime) -> None:
    """One receipt mail for the invoice, however often it is asked for."""
    customer = await store.customers.get_customer(conn, invoice.tenant_id, invoice.customer_id)
    sent = await queue_mail(
        conn,
        "payment_receipt",
        customer.email,
        {
            "name": customer.name or "",
            "number": invoice.number,
            "description": invoice.description,
            "amount": money_text(invoice.amount_cents, invoice.currency),
            "paid_on": f"{payment.paid_at or now:%d/%m/%Y}",
        },
        name=customer.name,
        tenant_id=None if invoice.sold_by is SoldBy.PLATFORM else invoice.tenant_id,
        about=invoice.id,
        key=f"billing-receipt-{invoice.id}",
    )
    if sent:
        await note_order(conn, invoice.tenant_id, invoice.order_id, "receipt_queued", now=now)
