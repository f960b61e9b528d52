"""Makes a plan a product of Stripe's, with its prices, so that checkouts and plan changes name them there."""

from datetime import datetime
from uuid import UUID

import msgspec

from billing import store
from billing.accounts import Accounts
from billing.domain.customers import PLATFORM_ACCOUNT
from billing.domain.plans import Offer, PlanStatus, for_sale
from billing.domain.providers import Interval, PlanPushed, Provider, ProviderMisconfigured
from billing.stripe_api import StripeApi
from billing.usecases.call_provider import call_provider
from billing.usecases.record_audit import record_audit
from chassis.clock import Clock
from chassis.db import Database, transaction
from contracts.audit import Doer
from contracts.errors import Conflict
from contracts.tenancy import PLATFORM_TENANT_ID


class _Price(msgspec.Struct, frozen=True):
    id: UUID
    amount_cents: int
    currency: str
    interval: Interval


class _Product(msgspec.Struct, frozen=True):
    plan_id: UUID
    name: str
    description: str
    prices: list[_Price]
    external_id: str | None


async def push_plan(db: Database, plan_id: UUID, *, accounts: Accounts, by: Doer, clock: Clock) -> Offer:
    """The plan with Stripe's ids of it and of what is for sale. Pushing again brings Stripe up to date.

    A plan that was not pushed sells as well, its amount sent along; nothing depends on this having worked.
    Raises NotFound, Conflict for an archived plan, and what call_provider raises.
    """
    api = await accounts.of_platform(Provider.STRIPE)
    if not isinstance(api, StripeApi):
        raise ProviderMisconfigured("the platform's account is not at Stripe")
    offer, key = await _read(db, plan_id)
    if offer.plan.status is PlanStatus.ARCHIVED:
        raise Conflict("The plan is archived: it is not sold any more.", code="plan_archived")
    stripe = api

    async def ask(product: _Product, key: str) -> PlanPushed:
        return await stripe.push_plan(
            product.plan_id,
            product.name,
            product.description,
            [(price.id, price.amount_cents, price.currency, price.interval) for price in product.prices],
            product_external_id=product.external_id,
            key=key,
        )

    pushed = await call_provider(
        db,
        PLATFORM_TENANT_ID,
        provider=Provider.STRIPE,
        account_id=PLATFORM_ACCOUNT,
        operation="push_plan",
        key=key,
        params=_product(offer),
        ask=ask,
        answer=PlanPushed,
        clock=clock,
    )
    return await _record(db, plan_id, pushed, by, clock())


async def _read(db: Database, plan_id: UUID) -> tuple[Offer, str]:
    """The plan, and the key of this push: the same until the plan changes or Stripe refuses."""
    async with transaction(db, PLATFORM_TENANT_ID) as conn:
        plan = await store.plans.get_plan(conn, PLATFORM_TENANT_ID, plan_id)
        prices = await store.plans.list_prices(conn, PLATFORM_TENANT_ID, [plan_id])
        stem = f"plan-{plan_id}-v{plan.version}"
        refused = await store.provider_calls.count_refused(conn, PLATFORM_TENANT_ID, Provider.STRIPE, stem)
    return Offer(plan=plan, prices=for_sale(prices)), f"{stem}-{refused}"


def _product(offer: Offer) -> _Product:
    return _Product(
        plan_id=offer.plan.id,
        name=offer.plan.name,
        description=offer.plan.description,
        prices=[_Price(price.id, price.amount_cents, price.currency, price.interval) for price in offer.prices],
        external_id=offer.plan.product_external_id,
    )


async def _record(db: Database, plan_id: UUID, pushed: PlanPushed, by: Doer, now: datetime) -> Offer:
    async with transaction(db, PLATFORM_TENANT_ID) as conn:
        plan = await store.plans.lock_plan(conn, PLATFORM_TENANT_ID, plan_id)
        plan = msgspec.structs.replace(plan, product_external_id=pushed.product_external_id)
        await store.plans.update_plan(conn, PLATFORM_TENANT_ID, plan)
        for price_id, external_id in pushed.price_external_ids.items():
            await store.plans.set_price_external_id(conn, PLATFORM_TENANT_ID, price_id, external_id)
        prices = await store.plans.list_prices(conn, PLATFORM_TENANT_ID, [plan_id])
        await record_audit(
            conn,
            PLATFORM_TENANT_ID,
            "plan.pushed",
            by=by,
            kind="plan",
            target_id=plan_id,
            now=now,
            product=pushed.product_external_id,
        )
    return Offer(plan=plan, prices=for_sale(prices))
