"""Makes a provider's payment one of ours: a row for the invoice that it is for."""

from datetime import datetime

from billing import store
from billing.domain.drafts import payment_of
from billing.domain.invoices import Invoice
from billing.domain.payments import Payment
from billing.domain.providers import PaymentState
from chassis.db import Connection


async def attach_payment(conn: Connection, invoice: Invoice, seen: PaymentState, *, now: datetime) -> Payment | None:
    """The payment under that external id, made now or before; None where it is somebody else's.

    Nothing of its state is taken over: `receive_payment` does that. The invoice is locked.
    """
    payment = payment_of(invoice, method=seen.method, external_id=seen.external_id, due_on=seen.due_on, now=now)
    found = await store.directory.find_object(
        conn,
        provider=invoice.provider,
        account_id=invoice.account_id,
        kind="payment",
        external_id=seen.external_id,
    )
    if found is not None:  # row-level security shows the tenant's own only
        return await store.payments.find_payment(conn, invoice.tenant_id, found.object_id)
    mine = await store.directory.insert_object(
        conn,
        invoice.tenant_id,
        provider=invoice.provider,
        account_id=invoice.account_id,
        kind="payment",
        external_id=seen.external_id,
        object_id=payment.id,
    )
    if not mine:
        return None
    await store.payments.insert_payment(conn, invoice.tenant_id, payment)
    return payment
