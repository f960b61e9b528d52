"""Draws from an Asaas payment what Asaas' subscriptions do not tell: the paid period, and whether they are late."""

from datetime import datetime
from uuid import UUID

import msgspec

from billing import store
from billing.domain.providers import PaymentStatus, Provider
from billing.domain.subscriptions import RUNNING, Subscription, SubscriptionStatus
from billing.usecases.save_subscription import save_subscription
from billing.usecases.withdraw_invoice import withdraw_invoice
from chassis.db import Connection

S = SubscriptionStatus


async def follow_asaas_payment(conn: Connection, tenant_id: UUID, payment_id: UUID, *, now: datetime) -> None:
    """The subscription runs to the end of the last paid period, and is late while an invoice of it has failed.

    Derived from the invoices as they stand, so that the order in which payments are told of does not matter. Asaas'
    subscriptions only; order, subscription and invoice are locked.
    """
    payment = await store.payments.get_payment(conn, tenant_id, payment_id)
    invoice = await store.invoices.get_invoice(conn, tenant_id, payment.invoice_id)
    if invoice.subscription_id is None:
        return
    before = await store.subscriptions.lock_subscription(conn, tenant_id, invoice.subscription_id)
    if before.provider is not Provider.ASAAS or before.external_id is None or before.status is S.CANCELLED:
        return
    if payment.status is PaymentStatus.CANCELLED and invoice.order_id is None:
        invoice = await withdraw_invoice(conn, invoice, now=now)
    owed = await store.invoices.list_invoices(
        conn, tenant_id, before=None, limit=100, status="pending", subscription_id=before.id
    )
    after = _at_pace(before, is_late=any(one.attempts for one in owed), now=now)
    is_paid = payment.is_settled and payment.review_reason is None
    end = invoice.period_end
    if is_paid and end is not None and (after.current_period_end is None or end > after.current_period_end):
        after = msgspec.structs.replace(after, current_period_start=invoice.period_start, current_period_end=end)
    if after != before:
        after = msgspec.structs.replace(after, version=before.version + 1, updated_at=now)
    await save_subscription(conn, before, after, now=now)


def _at_pace(current: Subscription, *, is_late: bool, now: datetime) -> Subscription:
    if is_late and current.status in RUNNING:
        return msgspec.structs.replace(
            current,
            status=S.PAST_DUE,
            past_due_since=current.past_due_since or now,
            next_dunning_at=current.next_dunning_at or (now if current.past_due_since is None else None),
        )
    if not is_late and current.status in (S.PAST_DUE, S.SUSPENDED):
        return msgspec.structs.replace(
            current, status=S.ACTIVE, past_due_since=None, dunning_step=0, next_dunning_at=None
        )
    return current
