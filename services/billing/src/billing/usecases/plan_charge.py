"""Writes down a payment that a provider is to be asked for, so that whatever it answers, and whoever asks, finds it."""

from datetime import datetime

import msgspec

from billing import store
from billing.domain.charging import CHARGE, NewCharge, charge_key
from billing.domain.drafts import payment_of
from billing.domain.invoices import Invoice
from billing.domain.payments import Payment
from billing.domain.providers import ChargeRequest, Payer
from billing.usecases.plan_call import plan_call
from chassis.db import Connection


async def plan_charge(
    conn: Connection,
    invoice: Invoice,
    wanted: NewCharge,
    payer: Payer,
    *,
    notification_url: str | None,
    now: datetime,
) -> Payment:
    """The pending payment of the whole invoice; once this has committed, `request_charge` asks for it.

    Its id is in the directory before the provider hears it: a webhook that is quicker than the provider's own answer
    finds its payment.
    """
    payment = payment_of(
        invoice,
        method=wanted.method,
        description=wanted.description,
        reference=wanted.reference,
        due_on=wanted.due_on,
        now=now,
    )
    await store.payments.insert_payment(conn, invoice.tenant_id, payment)
    await store.directory.insert_object(
        conn,
        invoice.tenant_id,
        provider=invoice.provider.value,
        account_id=invoice.account_id,
        kind="reference",
        external_id=str(payment.id),
        object_id=payment.id,
    )
    request = ChargeRequest(
        reference=payment.id,
        amount_cents=payment.amount_cents,
        currency=payment.currency,
        method=payment.method,
        # The tax id does not stand among the parameters, which are stored as they are: it is sealed elsewhere.
        payer=msgspec.structs.replace(payer, tax_id=None),
        description=wanted.description,
        due_on=wanted.due_on,
        expires_at=wanted.expires_at,
        notification_url=notification_url,
        discount=wanted.discount,
        fine=wanted.fine,
        interest=wanted.interest,
    )
    await plan_call(
        conn,
        invoice.tenant_id,
        provider=invoice.provider.value,
        account_id=invoice.account_id,
        operation=CHARGE,
        key=charge_key(payment.id),
        params=request,
        now=now,
    )
    return payment
