"""Writes to a payer with the PIX code that they are to pay."""

from billing import store
from billing.domain.customers import SoldBy
from billing.domain.invoices import Invoice
from billing.domain.money_text import money_text
from billing.domain.payments import Payment
from billing.usecases.queue_mail import queue_mail
from chassis.db import Connection


async def send_pix_code(conn: Connection, payment: Payment, invoice: Invoice) -> bool:
    """Whether there was an address to write to. One mail for each payment, whoever asks for it how often."""
    customer = await store.customers.get_customer(conn, payment.tenant_id, payment.customer_id)
    return await queue_mail(
        conn,
        "pix_code",
        customer.email,
        {
            "name": customer.name or "",
            "description": payment.description,
            "amount": money_text(payment.amount_cents, payment.currency),
            "copy_paste": payment.pix_copy_paste,
            "due_on": f"{payment.due_on or invoice.due_at:%d/%m/%Y}",
        },
        name=customer.name,
        tenant_id=None if payment.sold_by is SoldBy.PLATFORM else payment.tenant_id,
        about=payment.id,
        key=f"billing-pix-{payment.id}",
    )
