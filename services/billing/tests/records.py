"""Rows for billing's tests, as selling would have left them: a customer, an order, what it brought."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec

from billing import store
from billing.domain.customers import PLATFORM_ACCOUNT, Customer, SoldBy
from billing.domain.drafts import charge_invoice, first_invoice, payment_of, subscription_of
from billing.domain.identifiers import new_id
from billing.domain.invoices import Invoice, InvoiceStatus
from billing.domain.orders import Order, OrderStatus
from billing.domain.payments import Payment
from billing.domain.periods import add_interval
from billing.domain.providers import Interval, Method, PaymentStatus, Provider
from billing.domain.refunds import Refund, RefundStatus
from billing.domain.subscriptions import Subscription, SubscriptionStatus
from billing.usecases.issue_invoice import issue_invoice
from chassis.db import Connection

#: The prices that migration 0009 sells "essencial" at.
ESSENCIAL = UUID("00000000-0000-7000-8000-000000000101")
ESSENCIAL_MONTHLY = UUID("00000000-0000-7000-8000-000000000111")
NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)


async def a_customer(conn: Connection, tenant: UUID, **fields: Any) -> Customer:
    """A stored customer of the platform's."""
    now = fields.pop("now", NOW)
    customer_id = new_id(now)
    row = Customer(
        id=customer_id,
        tenant_id=tenant,
        sold_by=SoldBy.PLATFORM,
        email=f"{customer_id.hex}@example.com",
        name="Ana Souza",
        tax_id=None,
        phone=None,
        lead_id=None,
        is_provisional=False,
        created_at=now,
        updated_at=now,
        erased_at=None,
    )
    row = msgspec.structs.replace(row, **fields)
    await store.customers.upsert_customer(conn, tenant, row)
    return row


async def an_order(conn: Connection, tenant: UUID, **fields: Any) -> Order:
    """A stored order of "essencial" by the month, pending; its customer is made where none is given."""
    now = fields.pop("now", NOW)
    if "customer_id" not in fields:
        fields["customer_id"] = (await a_customer(conn, tenant, now=now)).id
    row = Order(
        id=new_id(now),
        tenant_id=tenant,
        sold_by=SoldBy.PLATFORM,
        customer_id=fields["customer_id"],
        plan_id=ESSENCIAL,
        plan_slug="essencial",
        plan_name="Essencial",
        price_id=ESSENCIAL_MONTHLY,
        interval=Interval.MONTH,
        amount_cents=24700,
        currency="BRL",
        trial_days=0,
        limits={},
        status=OrderStatus.PENDING,
        provider=Provider.STRIPE,
        account_id=PLATFORM_ACCOUNT,
        external_id=None,
        checkout_url=None,
        source="test",
        buyer_email="ana@example.com",
        buyer_name="Ana Souza",
        is_new_tenant=False,
        claim_id=None,
        failure_reason=None,
        version=1,
        placed_at=now,
        paid_at=None,
        ended_at=None,
        expires_at=now + timedelta(days=3),
        updated_at=now,
    )
    row = msgspec.structs.replace(row, **fields)
    await store.orders.insert_order(conn, tenant, row)
    return row


async def a_subscription(conn: Connection, tenant: UUID, **fields: Any) -> Subscription:
    """A stored subscription that runs its first month; entered in the directory where it has an external id."""
    now = fields.pop("now", NOW)
    order_fields = fields.pop("order", {})
    order = await an_order(conn, tenant, now=now, status=OrderStatus.PAID, paid_at=now, **order_fields)
    end = add_interval(now, order.interval)
    row = msgspec.structs.replace(
        subscription_of(order, now=now),
        status=SubscriptionStatus.ACTIVE,
        current_period_start=now,
        current_period_end=end,
        renews_at=end if fields.get("external_id") is None else None,
    )
    row = msgspec.structs.replace(row, **fields)
    await store.subscriptions.insert_subscription(conn, tenant, row)
    if row.external_id is not None:
        await store.directory.insert_object(
            conn,
            tenant,
            provider=row.provider,
            account_id=row.account_id,
            kind="subscription",
            external_id=row.external_id,
            object_id=row.id,
        )
    return row


async def an_invoice(conn: Connection, tenant: UUID, **fields: Any) -> Invoice:
    """A stored, issued invoice of a single charge, pending."""
    now = fields.pop("now", NOW)
    if order := fields.pop("order", None):
        draft = first_invoice(order, now=now)
    else:
        if "customer_id" not in fields:
            fields["customer_id"] = (await a_customer(conn, tenant, now=now)).id
        draft = charge_invoice(
            tenant_id=tenant,
            sold_by=SoldBy.PLATFORM,
            customer_id=fields["customer_id"],
            description="Essencial",
            amount_cents=24700,
            currency="BRL",
            provider=Provider.STRIPE,
            account_id=PLATFORM_ACCOUNT,
            due_at=now + timedelta(days=3),
            now=now,
        )
    return await issue_invoice(conn, msgspec.structs.replace(draft, **fields), now=now)


async def a_paid_invoice(conn: Connection, tenant: UUID, **fields: Any) -> Invoice:
    """The same, paid."""
    now = fields.get("now", NOW)
    return await an_invoice(conn, tenant, **{"status": InvoiceStatus.PAID, "paid_at": now} | fields)


async def a_payment(conn: Connection, tenant: UUID, invoice: Invoice, **fields: Any) -> Payment:
    """A stored payment of the whole invoice, paid by card, entered in the directory."""
    now = fields.pop("now", NOW)
    row = payment_of(invoice, method=Method.CARD, external_id=f"pi_{uuid4().hex}", now=now)
    row = msgspec.structs.replace(row, **{"status": PaymentStatus.PAID, "paid_at": now} | fields)
    await store.payments.insert_payment(conn, tenant, row)
    if row.external_id is not None:
        await store.directory.insert_object(
            conn,
            tenant,
            provider=row.provider,
            account_id=row.account_id,
            kind="payment",
            external_id=row.external_id,
            object_id=row.id,
        )
    return row


async def a_refund(conn: Connection, payment: Payment, **fields: Any) -> Refund:
    """A stored refund of the whole payment, asked for."""
    now = fields.pop("now", NOW)
    row = Refund(
        id=new_id(now),
        tenant_id=payment.tenant_id,
        payment_id=payment.id,
        amount_cents=payment.amount_cents,
        reason=None,
        status=RefundStatus.REQUESTED,
        external_id=None,
        requested_by="user-1",
        created_at=now,
        updated_at=now,
    )
    row = msgspec.structs.replace(row, **fields)
    await store.refunds.insert_refund(conn, payment.tenant_id, row)
    return row
