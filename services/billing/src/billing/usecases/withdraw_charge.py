"""Ends a payment that its provider will not take: refused, or withdrawn before it was paid."""

from datetime import datetime
from uuid import UUID

import msgspec

from billing import store
from billing.domain.payments import Payment
from billing.domain.providers import PaymentStatus
from billing.usecases.withdraw_invoice import withdraw_invoice
from chassis.db import Connection

_OPEN = (PaymentStatus.PENDING, PaymentStatus.FAILED)


async def withdraw_charge(
    conn: Connection, tenant_id: UUID, payment_id: UUID, *, reason: str, now: datetime
) -> Payment:
    """The payment, cancelled unless money has come; an invoice that was made for it alone is void with it.

    A period's or an order's invoice stays owed: another payment may settle it. Raises NotFound.
    """
    glimpse = await store.payments.get_payment(conn, tenant_id, payment_id)
    invoice = await store.invoices.lock_invoice(conn, tenant_id, glimpse.invoice_id)
    payment = await store.payments.lock_payment(conn, tenant_id, payment_id)
    if payment.status in _OPEN:
        payment = msgspec.structs.replace(
            payment,
            status=PaymentStatus.CANCELLED,
            failure_reason=reason[:500],
            version=payment.version + 1,
            updated_at=now,
        )
        await store.payments.update_payment(conn, tenant_id, payment)
    is_its_own = invoice.order_id is None and invoice.subscription_id is None
    if payment.status is PaymentStatus.CANCELLED and is_its_own:
        await withdraw_invoice(conn, invoice, now=now)
    return payment
