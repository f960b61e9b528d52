"""Ends orders that nobody paid in time, after asking their provider whether somebody did after all."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

import msgspec

from billing import store
from billing.accounts import Accounts, Api
from billing.asaas_api import AsaasApi
from billing.domain.orders import EXPIRED, Order, OrderStatus
from billing.domain.payments import SETTLING
from billing.domain.providers import (
    CheckoutState,
    Method,
    NotAtProvider,
    ProviderMisconfigured,
    ProviderRefused,
)
from billing.domain.providers import PaymentStatus as P
from billing.pagbank_api import PagBankApi
from billing.stripe_api import StripeApi
from billing.usecases.apply_checkout import apply_checkout
from billing.usecases.apply_payment import apply_payment
from billing.usecases.call_provider import call_provider
from billing.usecases.cancel_charge import cancel_charge
from billing.usecases.fail_order import fail_order
from billing.usecases.run_each import run_each
from chassis.clock import Clock
from chassis.db import Connection, Database, platform_transaction, transaction
from contracts.errors import Conflict, NotFound

_BATCH: Final = 100
_ASK_AGAIN_AFTER: Final = timedelta(minutes=10)
#: How long a page that was completed and is not paid is left to its payer's bank before it is looked at again.
_WAIT_FOR_BANK: Final = timedelta(hours=6)
_CARDS: Final = (Method.CARD, Method.DEBIT_CARD)


class _Page(msgspec.Struct, frozen=True):
    external_id: str


class _Withdrawn(msgspec.Struct, frozen=True):
    pass


async def expire_orders(db: Database, accounts: Accounts, *, clock: Clock) -> dict[str, int]:
    """Counts of orders past their time, and of those that are cancelled now; one that was paid after all is paid.

    What could still be paid at the provider is withdrawn there first. An order whose provider does not answer waits.
    """
    async with platform_transaction(db) as conn:
        expired = await store.orders.list_expired(conn, clock(), _BATCH)

    async def act(order: Order) -> bool:
        try:
            is_over = await _ask(db, accounts, order, clock)
        except Exception:
            await _postpone(db, order, _ASK_AGAIN_AFTER, clock())
            raise
        if not is_over:
            await _postpone(db, order, _WAIT_FOR_BANK, clock())
            return False
        async with transaction(db, order.tenant_id) as conn:
            return await _end(conn, order, clock())

    return await run_each("order_expiry", expired, act)


async def _ask(db: Database, accounts: Accounts, order: Order, clock: Clock) -> bool:
    """Whether it can end: nothing was paid, as far as its provider says now, and nothing can be any more."""
    try:
        async with transaction(db, order.tenant_id) as conn:
            api = await accounts.open(conn, order.tenant_id, order.account_id, order.provider)
    except ProviderMisconfigured:
        return True  # the account is gone: nobody is left to ask
    is_over = True
    if await _had_page(db, order):
        if isinstance(api, StripeApi):
            is_over = await _ask_stripe(db, api, order, clock)
        elif isinstance(api, AsaasApi):
            is_over = await _ask_asaas(db, api, order, clock)
        else:
            is_over = await _ask_pagbank(db, api, order, clock)
    if is_over:
        await _ask_payments(db, accounts, api, order, clock)
    return is_over


async def _had_page(db: Database, order: Order) -> bool:
    """Whether a page was ever asked for: an order by PIX has a charge only."""
    if order.external_id is not None:
        return True
    async with transaction(db, order.tenant_id) as conn:
        call = await store.provider_calls.find_call(conn, order.tenant_id, order.provider.value, f"checkout-{order.id}")
    return call is not None


async def _ask_stripe(db: Database, api: StripeApi, order: Order, clock: Clock) -> bool:
    """Whether nothing can be paid there any more: the page is expired, by us if need be."""
    page: CheckoutState | None = None
    if order.external_id is not None:
        page = await api.get_checkout(order.external_id)
    else:
        page = await api.find_checkout(order.id, order.placed_at)
    if page is None:
        return True
    if page.status == "open":
        # A refusal says that it was paid, or expired by itself, a moment ago: what follows sees which.
        with suppress(ProviderRefused):
            await _withdraw(
                db, order, page.external_id, lambda page_id, key: api.expire_checkout(page_id, key=key), clock
            )
    await apply_checkout(db, api, order.account_id, page.external_id, clock=clock)
    seen = await api.get_checkout(page.external_id)
    # A completed page whose bank has not decided yet is not over.
    return seen.status == "expired"


async def _ask_asaas(db: Database, api: AsaasApi, order: Order, clock: Clock) -> bool:
    """Whether nothing can be paid there any more: the subscription is ended, unless one of its payments was made."""
    external_id = order.external_id
    if external_id is None:
        found = await api.find_subscription(str(order.id))
        if found is None:
            return True
        external_id = found.external_id
    try:
        payments = await api.list_subscription_payments(external_id)
    except NotAtProvider:
        return True
    paid = [payment for payment in payments if payment.status in SETTLING]
    for payment in paid:
        await apply_payment(db, api, order.provider, order.account_id, payment.external_id, clock=clock)
    if paid:
        return False
    await _withdraw(db, order, external_id, lambda page_id, _: api.cancel_subscription(page_id), clock)
    return True


async def _ask_pagbank(db: Database, api: PagBankApi, order: Order, clock: Clock) -> bool:
    """Whether nothing can be paid there any more: the page is closed, by us if need be, and every try on it is known.

    A card that PagBank still looks into is waited for; a code or slip of the page is withdrawn with the payments.
    """
    if order.external_id is None:
        return True  # the page's answer was lost: nobody was shown it, and PagBank finds none by our reference
    try:
        page = await api.get_checkout(order.external_id)
        if page.status == "open":
            # A refusal says that it was paid, or ended by itself, a moment ago: what follows sees which.
            with suppress(ProviderRefused):
                await _withdraw(
                    db, order, page.external_id, lambda page_id, key: api.close_checkout(page_id, key=key), clock
                )
        tries = await api.list_checkout_payments(order.external_id)
    except NotAtProvider:
        return True
    for seen in tries:
        await apply_payment(db, api, order.provider, order.account_id, seen.external_id, clock=clock)
    return not any(seen.status in SETTLING or (seen.status is P.PENDING and seen.method in _CARDS) for seen in tries)


async def _withdraw(
    db: Database, order: Order, external_id: str, ask: Callable[[str, str], Awaitable[object]], clock: Clock
) -> None:
    """Has the provider take the order's page, or what stands for it, away: once, whoever asks how often."""

    async def withdraw(page: _Page, key: str) -> _Withdrawn:
        await ask(page.external_id, key)
        return _Withdrawn()

    await call_provider(
        db,
        order.tenant_id,
        provider=order.provider,
        account_id=order.account_id,
        operation="expire_checkout",
        key=f"expire-{order.id}",
        params=_Page(external_id),
        ask=withdraw,
        answer=_Withdrawn,
        clock=clock,
    )


async def _ask_payments(db: Database, accounts: Accounts, api: Api, order: Order, clock: Clock) -> None:
    """What we know of as asked for or tried is looked at once more, and a charge that still waits is withdrawn."""
    async with transaction(db, order.tenant_id) as conn:
        invoice = await store.invoices.find_of_order(conn, order.tenant_id, order.id)
        known = (
            await store.payments.list_payments(conn, order.tenant_id, before=None, limit=100, invoice_id=invoice.id)
            if invoice
            else []
        )
    for payment in known:
        if payment.external_id is None or payment.is_settled:
            continue
        with suppress(NotAtProvider):
            await apply_payment(db, api, payment.provider, payment.account_id, payment.external_id, clock=clock)
        # Paid a moment ago, or a code that ends at its own time only: money that still comes is seen as ever.
        with suppress(Conflict, NotFound, ProviderRefused):
            await cancel_charge(db, accounts, order.tenant_id, payment.id, reason="expired", clock=clock)


async def _end(conn: Connection, glimpse: Order, now: datetime) -> bool:
    order = await store.orders.lock_order(conn, glimpse.tenant_id, glimpse.id)
    if order.status is OrderStatus.PENDING and order.expires_at is not None and order.expires_at <= now:
        order = await fail_order(conn, order, OrderStatus.CANCELLED, EXPIRED, now=now)
    return order.status is OrderStatus.CANCELLED


async def _postpone(db: Database, glimpse: Order, by: timedelta, now: datetime) -> None:
    """Lets others have their turn: what cannot end now is looked at later."""
    async with transaction(db, glimpse.tenant_id) as conn:
        order = await store.orders.lock_order(conn, glimpse.tenant_id, glimpse.id)
        if order.status is OrderStatus.PENDING:
            await store.orders.update_order(conn, order.tenant_id, msgspec.structs.replace(order, expires_at=now + by))
