"""Asks a subscription's provider to charge another price from now on."""

from uuid import UUID

import msgspec

from billing import store
from billing.accounts import Accounts, Api
from billing.asaas_api import AsaasApi
from billing.domain.doers import BILLING
from billing.domain.plan_changes import PlanChangeTerms
from billing.domain.plan_changes import Proration as Settling
from billing.domain.providers import Interval, ProviderMisconfigured, SubscriptionState
from billing.domain.subscriptions import Subscription
from billing.stripe_api import InlinePrice, Proration, StripeApi
from billing.usecases.ask_subscription import ask_subscription
from billing.usecases.call_provider import call_provider
from billing.usecases.push_plan import push_plan
from chassis.clock import Clock
from chassis.db import Database, transaction
from contracts.billing import PlanFact
from contracts.tenancy import PLATFORM_TENANT_ID

_PRORATIONS: dict[Settling, Proration] = {
    Settling.INVOICE_NOW: "always_invoice",
    Settling.NEXT_INVOICE: "create_prorations",
    Settling.NONE: "none",
}


class _Request(msgspec.Struct, frozen=True, kw_only=True):
    external_id: str
    item_external_id: str
    price_external_id: str | None
    amount_cents: int
    currency: str
    interval: Interval
    title: str
    proration: Settling


async def ask_for_price(
    db: Database, row: Subscription, target: PlanFact, terms: PlanChangeTerms, *, accounts: Accounts, clock: Clock
) -> Api:
    """The account that was asked. A price that Stripe does not know is pushed first, with its plan.

    So a webhook that comes before the answer finds the plan by its price. Raises what call_provider raises.
    """
    async with transaction(db, row.tenant_id) as conn:
        api = await accounts.open(conn, row.tenant_id, row.account_id, row.provider)
        stem = f"price-{row.id}-v{row.version}-{target.price_id}-{terms.proration}-"
        refused = await store.provider_calls.count_refused(conn, row.tenant_id, row.provider, stem)
    item, price = row.item_external_id or "", None
    if isinstance(api, StripeApi):
        price = await _price_at_stripe(db, target, accounts, clock)
        item = item or await _item_of(api, row, clock)
    request = _Request(
        external_id=row.external_id or "",
        item_external_id=item,
        price_external_id=price,
        amount_cents=target.amount_cents,
        currency=target.currency,
        interval=Interval(target.interval),
        title=target.plan_name,
        proration=terms.proration,
    )
    await call_provider(
        db,
        row.tenant_id,
        provider=row.provider,
        account_id=row.account_id,
        operation="change_price",
        key=f"{stem}{refused}",
        params=request,
        ask=lambda request, key: _ask(api, request, key),
        answer=SubscriptionState,
        clock=clock,
    )
    return api


async def _ask(api: Api, request: _Request, key: str) -> SubscriptionState:
    if isinstance(api, AsaasApi):
        return await api.update_subscription_value(request.external_id, request.amount_cents, update_pending=True)
    if not isinstance(api, StripeApi):
        raise ProviderMisconfigured("This provider has no subscriptions.")
    inline = InlinePrice(
        amount_cents=request.amount_cents,
        currency=request.currency,
        interval=request.interval,
        title=request.title,
    )
    return await api.change_subscription_price(
        request.external_id,
        request.item_external_id,
        request.price_external_id or inline,
        proration=_PRORATIONS[request.proration],
        key=key,
    )


async def _price_at_stripe(db: Database, target: PlanFact, accounts: Accounts, clock: Clock) -> str | None:
    """Stripe's id of the price; None for a retired one that was never pushed: it is sent along."""
    if found := await _pushed(db, target.price_id):
        return found
    async with transaction(db, PLATFORM_TENANT_ID) as conn:
        price = await store.plans.find_price(conn, PLATFORM_TENANT_ID, target.price_id)
    if price is None or price.retired_at is not None:
        return None
    await push_plan(db, target.plan_id, accounts=accounts, by=BILLING, clock=clock)
    return await _pushed(db, target.price_id)


async def _pushed(db: Database, price_id: UUID) -> str | None:
    async with transaction(db, PLATFORM_TENANT_ID) as conn:
        price = await store.plans.find_price(conn, PLATFORM_TENANT_ID, price_id)
    return price.price_external_id if price is not None else None


async def _item_of(api: StripeApi, row: Subscription, clock: Clock) -> str:
    _, seen = await ask_subscription(api, row.external_id or "", clock=clock)
    return seen.item_external_id or ""
