"""Takes an unpaid invoice back, at its provider and here, so that nobody can pay it any more."""

from uuid import UUID

import msgspec

from billing import store
from billing.accounts import Accounts
from billing.domain.customers import SoldBy
from billing.domain.invoices import Invoice, InvoiceStatus
from billing.domain.orders import OrderStatus
from billing.domain.providers import NotAtProvider, PaymentStatus, Provider, ProviderRefused
from billing.stripe_api import StripeApi
from billing.usecases.call_provider import call_provider
from billing.usecases.cancel_charge import cancel_charge
from billing.usecases.record_audit import record_audit
from billing.usecases.withdraw_invoice import withdraw_invoice
from chassis.clock import Clock
from chassis.db import Connection, Database, transaction
from contracts.audit import Doer
from contracts.errors import Conflict, Forbidden


class _Request(msgspec.Struct, frozen=True):
    external_id: str


class _Done(msgspec.Struct, frozen=True):
    pass


async def void_invoice(
    db: Database,
    tenant_id: UUID,
    invoice_id: UUID,
    *,
    may_waive: bool,
    accounts: Accounts,
    by: Doer,
    clock: Clock,
) -> Invoice:
    """The invoice, not owed any more; one that is void stays so. Stripe's own and open charges of it are withdrawn too.

    `may_waive`: whoever asks may let go what the platform is owed; the buying tenant may not. Raises NotFound,
    Forbidden, Conflict for an invoice that is paid, whose order still has a page to pay on, or of which a charge cannot
    be withdrawn, and what call_provider raises.
    """
    async with transaction(db, tenant_id) as conn:
        invoice = await store.invoices.get_invoice(conn, tenant_id, invoice_id)
        if invoice.status is InvoiceStatus.VOID:
            return invoice
        await _refuse(conn, invoice, may_waive=may_waive)
        payments = await store.payments.list_payments(conn, tenant_id, before=None, limit=100, invoice_id=invoice_id)
    if invoice.provider is Provider.STRIPE and invoice.external_id is not None:
        await _void_at_stripe(db, invoice, accounts, clock)
    else:
        for payment in payments:
            if payment.status in (PaymentStatus.PENDING, PaymentStatus.FAILED):
                await cancel_charge(db, accounts, tenant_id, payment.id, reason="the invoice is void", clock=clock)
    async with transaction(db, tenant_id) as conn:
        if invoice.order_id is not None:
            await store.orders.lock_order(conn, tenant_id, invoice.order_id)
        if invoice.subscription_id is not None:
            await store.subscriptions.lock_subscription(conn, tenant_id, invoice.subscription_id)
        now = clock()
        void = await withdraw_invoice(conn, await store.invoices.lock_invoice(conn, tenant_id, invoice_id), now=now)
        if void.status is not InvoiceStatus.VOID:
            raise _paid()
        await record_audit(
            conn,
            tenant_id,
            "invoice.voided",
            by=by,
            kind="invoice",
            target_id=invoice_id,
            now=now,
            number=void.number,
        )
        return void


async def _refuse(conn: Connection, invoice: Invoice, *, may_waive: bool) -> None:
    if invoice.sold_by is SoldBy.PLATFORM and not may_waive:
        raise Forbidden("What the platform is owed only the platform lets go.", code="platform_sale")
    if invoice.status is not InvoiceStatus.PENDING:
        raise _paid()
    if invoice.order_id is not None:
        order = await store.orders.get_order(conn, invoice.tenant_id, invoice.order_id)
        if order.status is OrderStatus.PENDING:
            raise Conflict("Its order can still be paid: the invoice ends with it.", code="order_open")


def _paid() -> Conflict:
    return Conflict("The invoice is paid: what was paid can only be refunded.", code="invoice_paid")


async def _void_at_stripe(db: Database, invoice: Invoice, accounts: Accounts, clock: Clock) -> None:
    async with transaction(db, invoice.tenant_id) as conn:
        api = await accounts.open(conn, invoice.tenant_id, invoice.account_id, invoice.provider)
        stem = f"void-{invoice.id}-"
        refused = await store.provider_calls.count_refused(conn, invoice.tenant_id, invoice.provider, stem)
    assert isinstance(api, StripeApi)
    stripe = api

    async def ask(request: _Request, key: str) -> _Done:
        await stripe.void_invoice(request.external_id, key=key)
        return _Done()

    try:
        await call_provider(
            db,
            invoice.tenant_id,
            provider=invoice.provider,
            account_id=invoice.account_id,
            operation="void_invoice",
            key=f"{stem}{refused}",
            params=_Request(invoice.external_id or ""),
            ask=ask,
            answer=_Done,
            clock=clock,
        )
    except ProviderRefused:
        try:
            state = await stripe.get_invoice(invoice.external_id or "")
        except NotAtProvider:
            return
        if state.status == "paid":
            raise _paid() from None
        if state.status not in ("void", "uncollectible"):
            raise
