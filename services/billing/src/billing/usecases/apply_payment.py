"""Takes in what a provider says of a payment: a charge of ours, what a page of ours made, or a period's."""

from datetime import datetime
from uuid import UUID

from billing import store
from billing.accounts import Api
from billing.asaas_api import AsaasApi
from billing.domain.drafts import first_invoice
from billing.domain.payments import SETTLING, Payment
from billing.domain.provider_events import Outcome, for_review, ignored, processed
from billing.domain.providers import PaymentState, Provider
from billing.stripe_api import StripeApi
from billing.usecases.apply_asaas_payment import apply_asaas_payment
from billing.usecases.apply_invoice import apply_invoice
from billing.usecases.bring_order import bring_order
from billing.usecases.credit_invoice import credit_invoice
from billing.usecases.follow_asaas_payment import follow_asaas_payment
from billing.usecases.issue_invoice import issue_invoice
from billing.usecases.locate_object import Located, locate_object
from billing.usecases.receive_payment import receive_payment
from chassis.clock import Clock
from chassis.db import Connection, Database, transaction


async def apply_payment(
    db: Database, api: Api, provider: Provider, account_id: UUID, external_id: str, *, clock: Clock
) -> Outcome:
    """What came of the payment as it is now. Raises what the provider's adapter does."""
    asked_at = clock()
    seen = await api.get_payment(external_id)
    if isinstance(api, StripeApi) and seen.invoice_external_id is not None:
        # Tries and their failures are counted on the invoice, which brings its payment as well.
        return await apply_invoice(db, api, account_id, seen.invoice_external_id, clock=clock)
    names = [
        ("payment", seen.external_id),
        ("payment", external_id),
        ("reference", seen.reference),
        ("subscription", seen.subscription_external_id),
    ]
    found = await locate_object(db, provider, account_id, names)
    if found is not None and found.kind == "reference" and isinstance(api, StripeApi):
        await bring_order(db, api, account_id, found.tenant_id, found.object_id, clock=clock)
        found = await locate_object(db, provider, account_id, names)
    if found is None:
        return ignored("it is no payment of ours")
    if found.kind != "payment" and isinstance(api, AsaasApi) and seen.subscription_external_id is not None:
        async with transaction(db, found.tenant_id) as conn:
            order_id = await _order_of(conn, found)
        if order_id is not None:
            return await apply_asaas_payment(db, api, found.tenant_id, order_id, seen, asked_at=asked_at, clock=clock)
    async with transaction(db, found.tenant_id) as conn:
        if found.kind == "payment":
            return await _receive(conn, found.tenant_id, found.object_id, seen, asked_at, clock())
        payment = await store.payments.find_payment(conn, found.tenant_id, found.object_id)
        if payment is not None:
            return await _of_charge(conn, payment, seen, asked_at, clock())
        return await _of_order(conn, found, provider, seen, asked_at, clock())


async def _order_of(conn: Connection, found: Located) -> UUID | None:
    if found.kind == "subscription":
        return (await store.subscriptions.get_subscription(conn, found.tenant_id, found.object_id)).order_id
    order = await store.orders.find_order(conn, found.tenant_id, found.object_id)
    return order.id if order else None


async def _receive(
    conn: Connection, tenant_id: UUID, payment_id: UUID, seen: PaymentState, asked_at: datetime, now: datetime
) -> Outcome:
    after = await receive_payment(conn, tenant_id, payment_id, seen, asked_at=asked_at, now=now)
    await follow_asaas_payment(conn, tenant_id, payment_id, now=now)
    return processed(tenant_id) if after.review_reason is None else for_review(after.review_reason, tenant_id)


async def _of_charge(
    conn: Connection, payment: Payment, seen: PaymentState, asked_at: datetime, now: datetime
) -> Outcome:
    """A charge that bears our payment's id: that payment, or a second one that was made for it."""
    tenant_id = payment.tenant_id
    is_ours = payment.external_id in (None, seen.external_id) and await store.directory.insert_object(
        conn,
        tenant_id,
        provider=payment.provider,
        account_id=payment.account_id,
        kind="payment",
        external_id=seen.external_id,
        object_id=payment.id,
    )
    if is_ours:
        return await _receive(conn, tenant_id, payment.id, seen, asked_at, now)
    if payment.order_id is not None:
        await store.orders.lock_order(conn, tenant_id, payment.order_id)
    glimpse = await store.invoices.get_invoice(conn, tenant_id, payment.invoice_id)
    if glimpse.subscription_id is not None:
        await store.subscriptions.lock_subscription(conn, tenant_id, glimpse.subscription_id)
    invoice = await store.invoices.lock_invoice(conn, tenant_id, glimpse.id)
    return await credit_invoice(conn, invoice, seen, asked_at=asked_at, now=now)


async def _of_order(
    conn: Connection, found: Located, provider: Provider, seen: PaymentState, asked_at: datetime, now: datetime
) -> Outcome:
    """A payment that bears an order's id: of a page that sells one period, whose cycle is ours."""
    tenant_id = found.tenant_id
    if await store.orders.find_order(conn, tenant_id, found.object_id) is None:
        return ignored("it is the payment of no order", tenant_id)
    if provider is Provider.STRIPE and seen.status not in SETTLING:
        return processed(tenant_id)  # its page decides whether another try is made
    order = await store.orders.lock_order(conn, tenant_id, found.object_id)
    await store.subscriptions.find_of_order(conn, tenant_id, order.id)
    invoice = await store.invoices.find_of_order(conn, tenant_id, order.id)
    if invoice is None:
        if seen.status not in SETTLING:
            return ignored("its order owes nothing yet", tenant_id)
        invoice = await issue_invoice(conn, first_invoice(order, now=now), now=now)
    return await credit_invoice(conn, invoice, seen, asked_at=asked_at, now=now)
