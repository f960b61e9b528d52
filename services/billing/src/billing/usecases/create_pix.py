"""Asks for the PIX code of a payment that was prepared, and sends it to the payer."""

from datetime import datetime
from uuid import UUID

from billing import store
from billing.accounts import Accounts
from billing.domain.orders import OrderStatus
from billing.domain.payments import Payment
from billing.domain.providers import PaymentStatus, ProviderRefused
from billing.usecases.fail_order import fail_order
from billing.usecases.note_order import note_order
from billing.usecases.request_charge import request_charge
from billing.usecases.send_pix_code import send_pix_code
from bus.inbox import first_time
from chassis.clock import Clock
from chassis.db import Connection, Database, transaction
from chassis.secrets import SecretBox


async def create_pix(
    db: Database,
    accounts: Accounts,
    tenant_id: UUID,
    payment_id: UUID,
    *,
    box: SecretBox,
    nexus_events: bool,
    clock: Clock,
) -> Payment:
    """The payment with its code, from now or before; the payer is written to once.

    A refusal ends the order that it was for. Raises what `request_charge` does.
    """
    try:
        payment = await request_charge(
            db, accounts, tenant_id, payment_id, box=box, nexus_events=nexus_events, clock=clock
        )
    except ProviderRefused as refusal:
        async with transaction(db, tenant_id) as conn:
            glimpse = await store.payments.get_payment(conn, tenant_id, payment_id)
            if glimpse.order_id is not None:
                order = await store.orders.lock_order(conn, tenant_id, glimpse.order_id)
                await fail_order(conn, order, OrderStatus.FAILED, refusal.detail, now=clock())
        raise
    if payment.pix_copy_paste is not None and payment.status is PaymentStatus.PENDING:
        async with transaction(db, tenant_id) as conn:
            if await first_time(conn, "billing.pix", payment_id):
                await _send(conn, payment, clock())
    return payment


async def _send(conn: Connection, payment: Payment, now: datetime) -> None:
    invoice = await store.invoices.get_invoice(conn, payment.tenant_id, payment.invoice_id)
    await note_order(
        conn, payment.tenant_id, payment.order_id, "pix_code_made", now=now, provider=payment.provider.value
    )
    if invoice.subscription_id is not None:
        return  # a period's code was sent as soon as it was there
    if await send_pix_code(conn, payment, invoice):
        await note_order(conn, payment.tenant_id, payment.order_id, "pix_code_queued", now=now)
