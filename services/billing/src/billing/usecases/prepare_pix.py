"""Writes down what a PIX code is wanted for, so that a provider can be asked once this has committed."""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec

from billing import store
from billing.domain.buyers import Buyer
from billing.domain.charging import ChargeOptions
from billing.domain.customers import PLATFORM_ACCOUNT, Customer, SoldBy
from billing.domain.identifiers import new_id
from billing.domain.invoices import Invoice
from billing.domain.payments import Payment
from billing.domain.pix_requests import PixRequest, is_open_code, pix_charge, refuse_unpayable
from billing.domain.provider_accounts import ProviderAccount, active_account
from billing.domain.providers import Provider
from billing.domain.selling import PIX_ORDER, SellingTerms, Wanted, need_pix_provider
from billing.usecases.complete_customer import complete_customer
from billing.usecases.create_charge import create_charge
from billing.usecases.open_payer import open_payer
from billing.usecases.place_order import place_order
from billing.usecases.plan_charge import plan_charge
from chassis.db import Connection
from chassis.secrets import SecretBox
from contracts.errors import Conflict, FieldError, Invalid

#: How long an order waits beyond its code, so that a payment of the last minute finds it.
_GRACE: Final = timedelta(hours=1)
_REAL: Final = "BRL"


async def prepare_pix(
    conn: Connection,
    buyer: Buyer,
    request: PixRequest,
    *,
    platform: Collection[Provider],
    box: SecretBox,
    terms: SellingTerms,
    options: ChargeOptions,
    now: datetime,
) -> Payment:
    """The pending payment; `create_pix` then asks for its code. `platform` are the providers with our own account.

    A plan is ordered, to be renewed by an invoice each period; an invoice gets a payment unless one is open, so that it
    has one code at a time; an amount is charged by the tenant's own account. Of several providers Asaas comes first,
    then PagBank, then Stripe; Asaas and PagBank ask for the payer's tax id.

    Raises Invalid, Conflict, NotFound and ProviderMisconfigured (no account to charge by).
    """
    if request.plan is not None:
        return await _for_plan(conn, buyer, request, request.plan, platform, box, terms, options, now)
    if request.invoice_id is not None:
        return await _for_invoice(conn, buyer, request, request.invoice_id, platform, box, options, now)
    return await _for_amount(conn, buyer, request, box, options, now)


async def _for_plan(
    conn: Connection,
    buyer: Buyer,
    request: PixRequest,
    wanted: Wanted,
    platform: Collection[Provider],
    box: SecretBox,
    terms: SellingTerms,
    options: ChargeOptions,
    now: datetime,
) -> Payment:
    known = await store.customers.find_platform_customer(conn, buyer.tenant_id, buyer.email) if buyer.email else None
    has_tax_id = buyer.tax_id is not None or (known is not None and known.tax_id is not None)
    provider = need_pix_provider(platform, request.provider, has_tax_id=has_tax_id)
    placed = await place_order(
        conn,
        buyer,
        wanted,
        provider=provider,
        has_trial=False,
        source="pix",
        expires_at=max(request.expires_at + _GRACE, now + timedelta(hours=terms.order_expires_h)),
        box=box,
        terms=terms,
        now=now,
    )
    assert placed.invoice is not None
    return await _plan(conn, placed.invoice, placed.customer, request, box, options, now)


async def _for_invoice(
    conn: Connection,
    buyer: Buyer,
    request: PixRequest,
    invoice_id: UUID,
    platform: Collection[Provider],
    box: SecretBox,
    options: ChargeOptions,
    now: datetime,
) -> Payment:
    tenant_id = buyer.tenant_id
    glimpse = await store.invoices.get_invoice(conn, tenant_id, invoice_id)
    order = await store.orders.lock_order(conn, tenant_id, glimpse.order_id) if glimpse.order_id else None
    of = glimpse.subscription_id
    subscription = await store.subscriptions.lock_subscription(conn, tenant_id, of) if of else None
    invoice = await store.invoices.lock_invoice(conn, tenant_id, invoice_id)
    refuse_unpayable(invoice, order, subscription)
    asked = await store.payments.list_payments(conn, tenant_id, before=None, limit=100, invoice_id=invoice_id)
    for payment in asked:
        if is_open_code(payment, request.provider, now):
            return payment
    customer = await store.customers.get_customer(conn, tenant_id, invoice.customer_id)
    if request.payer is not None:
        customer = await complete_customer(conn, customer, request.payer, box=box, now=now)
    return await _plan(
        conn,
        await _at_account(conn, invoice, request.provider, customer.tax_id is not None, platform),
        customer,
        request,
        box,
        options,
        now,
    )


async def _at_account(
    conn: Connection, invoice: Invoice, named: Provider | None, has_tax_id: bool, platform: Collection[Provider]
) -> Invoice:
    """The invoice as it is to be charged: at the provider that it was made for, at another one only where named."""
    if invoice.sold_by is SoldBy.TENANT:
        account = await _own_account(conn, invoice.tenant_id, named or invoice.provider, has_tax_id=True)
        return msgspec.structs.replace(invoice, provider=account.provider, account_id=account.id)
    wanted = named or (invoice.provider if invoice.provider in platform else None)
    provider = need_pix_provider(platform, wanted, has_tax_id=has_tax_id)
    return msgspec.structs.replace(invoice, provider=provider, account_id=PLATFORM_ACCOUNT)


async def _for_amount(
    conn: Connection, buyer: Buyer, request: PixRequest, box: SecretBox, options: ChargeOptions, now: datetime
) -> Payment:
    payer = request.payer
    if request.amount_cents is None or payer is None:
        raise Invalid("Say who pays.", errors=(FieldError("$.payer", "is missing"),))
    account = await _own_account(conn, buyer.tenant_id, request.provider, has_tax_id=payer.tax_id is not None)
    customer = await store.customers.find_own_customer(conn, buyer.tenant_id, payer.email)
    if customer is None:
        customer = Customer(
            id=new_id(now),
            tenant_id=buyer.tenant_id,
            sold_by=SoldBy.TENANT,
            email=payer.email,
            name=payer.name,
            tax_id=None,
            phone=None,
            lead_id=None,
            is_provisional=False,
            created_at=now,
            updated_at=now,
            erased_at=None,
        )
        await store.customers.upsert_customer(conn, buyer.tenant_id, customer)
    customer = await complete_customer(conn, customer, payer, box=box, now=now)
    return await create_charge(
        conn,
        account,
        customer,
        pix_charge(request.amount_cents, request.description or "Pix", request.expires_at),
        box=box,
        notification_url=options.notification_url(account.provider),
        now=now,
    )


async def _plan(
    conn: Connection,
    invoice: Invoice,
    customer: Customer,
    request: PixRequest,
    box: SecretBox,
    options: ChargeOptions,
    now: datetime,
) -> Payment:
    if invoice.currency != _REAL:
        raise Invalid("PIX moves Brazilian reais only.", code="pix_needs_brl")
    return await plan_charge(
        conn,
        invoice,
        pix_charge(invoice.amount_cents, request.description or invoice.description, request.expires_at),
        await open_payer(conn, customer, box=box, provider=invoice.provider, account_id=invoice.account_id),
        notification_url=options.notification_url(invoice.provider),
        now=now,
    )


async def _own_account(
    conn: Connection, tenant_id: UUID, named: Provider | None, *, has_tax_id: bool
) -> ProviderAccount:
    accounts = await store.provider_accounts.list_accounts(conn, tenant_id)
    usable = {one: account for one in PIX_ORDER if (account := active_account(accounts, one)) is not None}
    if not usable:
        raise Conflict(
            "An amount is charged by an account of your own: configure one (POST /payment-gateway/config).",
            code="provider_account_needed",
        )
    return usable[need_pix_provider(usable, named, has_tax_id=has_tax_id)]
