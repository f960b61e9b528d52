"""Opens the page on which an order is paid: one page for one order, however often asked for and whatever gets lost."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec

from billing import store
from billing.accounts import Accounts, Api
from billing.domain.buyers import Buyer
from billing.domain.customers import PLATFORM_ACCOUNT
from billing.domain.orders import Order, OrderStatus
from billing.domain.plans import Plan
from billing.domain.providers import (
    Checkout,
    CheckoutRequest,
    Method,
    Payer,
    Provider,
    ProviderRefused,
)
from billing.domain.return_urls import named_session
from billing.domain.selling import SellingTerms
from billing.usecases.ask_for_checkout import ask_for_checkout
from billing.usecases.call_provider import call_provider
from billing.usecases.fail_order import fail_order
from billing.usecases.note_order import note_order
from billing.usecases.open_payer import open_payer
from chassis.clock import Clock
from chassis.db import Connection, Database, transaction
from chassis.secrets import SecretBox
from contracts.errors import BadGateway
from contracts.tenancy import PLATFORM_TENANT_ID

#: Whoever chooses on the provider's page may choose all that it has; seed 002 asks Stripe and Asaas for a card.
_METHODS: Final = {
    Provider.STRIPE: (Method.CARD,),
    Provider.ASAAS: (Method.CARD,),
    Provider.PAGBANK: (Method.ANY,),
}
#: How far Stripe's clock may be behind ours.
_SKEW: Final = timedelta(minutes=10)


async def open_checkout(
    db: Database,
    accounts: Accounts,
    buyer: Buyer,
    order_id: UUID,
    *,
    success_url: str,
    cancel_url: str,
    box: SecretBox,
    terms: SellingTerms,
    clock: Clock,
) -> Order:
    """The order with the page's id and URL, opened now or before; then the URLs given are not looked at.

    No transaction is open while the provider is asked, under a key made of the order's id. A refusal ends the order.
    After ProviderUnavailable or ProviderUnknown whoever comes again goes on from there.
    Raises NotFound for an order that is not the buyer's, and what `call_provider` does.
    """
    async with transaction(db, buyer.tenant_id) as conn:
        order = await store.orders.get_order(conn, buyer.tenant_id, order_id)
        if order.checkout_url is not None:
            return order
        plan = await store.plans.get_plan(conn, PLATFORM_TENANT_ID, order.plan_id)
        price = await store.plans.find_price(conn, PLATFORM_TENANT_ID, order.price_id)
        payer = await _payer(conn, buyer, order, box)
    api = await accounts.of_platform(order.provider)
    is_stripe = order.provider is Provider.STRIPE
    request = _request(
        order,
        plan,
        # The tax id does not stand among the parameters, which are stored as they are: it is sealed elsewhere.
        payer=msgspec.structs.replace(payer, tax_id=None),
        success_url=success_url if is_stripe else named_session(success_url, str(order.id)),
        cancel_url=cancel_url if is_stripe else named_session(cancel_url, str(order.id)),
        price_external_id=price.price_external_id if price is not None and is_stripe else None,
        terms=terms,
    )
    try:
        made = await call_provider(
            db,
            order.tenant_id,
            provider=order.provider,
            account_id=order.account_id,
            operation="checkout",
            key=f"checkout-{order.id}",
            params=request,
            ask=_asking(api, payer.tax_id, since=order.placed_at - _SKEW),
            answer=Checkout,
            clock=clock,
        )
    except ProviderRefused as refusal:
        async with transaction(db, order.tenant_id) as conn:
            order = await store.orders.lock_order(conn, order.tenant_id, order.id)
            await fail_order(conn, order, OrderStatus.FAILED, refusal.detail, now=clock())
        raise
    async with transaction(db, order.tenant_id) as conn:
        return await _record(conn, buyer, order.id, made, now=clock())


async def _payer(conn: Connection, buyer: Buyer, order: Order, box: SecretBox) -> Payer:
    """Who pays: what they said of themselves, and what is known of them where they are signed in."""
    said = Payer(email=order.buyer_email or "", name=order.buyer_name, tax_id=buyer.tax_id)
    if not buyer.is_signed_in:
        # Nothing of whoever has that address: the page would show it.
        return said
    customer = await store.customers.get_customer(conn, buyer.tenant_id, order.customer_id)
    known = await open_payer(conn, customer, box=box, provider=order.provider, account_id=order.account_id)
    return msgspec.structs.replace(
        said,
        name=said.name or known.name,
        tax_id=said.tax_id or known.tax_id,
        phone=known.phone,
        external_id=known.external_id,
    )


def _request(
    order: Order,
    plan: Plan,
    *,
    payer: Payer,
    success_url: str,
    cancel_url: str,
    price_external_id: str | None,
    terms: SellingTerms,
) -> CheckoutRequest:
    return CheckoutRequest(
        reference=order.id,
        plan_slug=order.plan_slug,
        title=order.plan_name,
        description=plan.description,
        amount_cents=order.amount_cents,
        currency=order.currency,
        interval=order.interval,
        trial_days=order.trial_days,
        payer=payer,
        success_url=success_url,
        cancel_url=cancel_url,
        methods=_METHODS[order.provider],
        price_external_id=price_external_id,
        metadata={"tenantId": str(order.tenant_id)},  # seed 004 reads it
        notification_url=f"{terms.public_url.rstrip('/')}/payments/webhook/pagseguro",
    )


def _asking(api: Api, tax_id: str | None, *, since: datetime) -> Callable[[CheckoutRequest, str], Awaitable[Checkout]]:
    async def ask(request: CheckoutRequest, key: str) -> Checkout:
        whole = msgspec.structs.replace(request, payer=msgspec.structs.replace(request.payer, tax_id=tax_id))
        return await ask_for_checkout(api, whole, key, since=since)

    return ask


async def _record(conn: Connection, buyer: Buyer, order_id: UUID, made: Checkout, *, now: datetime) -> Order:
    order = await store.orders.lock_order(conn, buyer.tenant_id, order_id)
    if order.checkout_url is not None:  # whoever asked at the same time has recorded it
        return order
    mine = await store.directory.insert_object(
        conn,
        order.tenant_id,
        provider=order.provider,
        account_id=PLATFORM_ACCOUNT,
        kind="checkout",
        external_id=made.external_id,
        object_id=order.id,
    )
    if not mine:
        raise BadGateway("The provider answered with another order's page.")
    opened = msgspec.structs.replace(
        order, external_id=made.external_id, checkout_url=made.url, version=order.version + 1, updated_at=now
    )
    await store.orders.update_order(conn, order.tenant_id, opened)
    if made.customer_external_id is not None:
        await _note_customer(conn, buyer, order, made.customer_external_id, now)
    await note_order(conn, order.tenant_id, order.id, "page_opened", now=now, provider=order.provider.value)
    return opened


async def _note_customer(conn: Connection, buyer: Buyer, order: Order, external_id: str, now: datetime) -> None:
    known = await store.customers.find_external_id(
        conn, order.tenant_id, order.customer_id, order.provider, PLATFORM_ACCOUNT
    )
    if known is not None and not buyer.is_signed_in:
        return  # a stranger's record there does not take the place of the tenant's
    await store.directory.insert_object(
        conn,
        order.tenant_id,
        provider=order.provider,
        account_id=PLATFORM_ACCOUNT,
        kind="customer",
        external_id=external_id,
        object_id=order.customer_id,
    )
    await store.customers.upsert_external_id(
        conn, order.tenant_id, order.customer_id, order.provider, PLATFORM_ACCOUNT, external_id, now
    )
