"""Puts a plan up for sale."""

from collections.abc import Sequence
from datetime import datetime

from billing import store
from billing.domain import plan_events
from billing.domain.plans import Offer, Plan, PriceTag, for_sale, refuse_slug, repriced
from billing.usecases.record_audit import record_audit
from bus.outbox import tell
from chassis.db import Connection
from contracts.audit import Doer
from contracts.tenancy import PLATFORM_TENANT_ID


async def create_plan(conn: Connection, plan: Plan, tags: Sequence[PriceTag], *, by: Doer, now: datetime) -> Offer:
    """The plan with its prices, told as billing.plan.created. For a transaction of the platform's own tenant.

    Raises Invalid for a slug or prices that cannot be, Conflict (the chassis' word for the violated index) for a slug
    that is for sale already.
    """
    refuse_slug(plan.slug)
    _, prices = repriced(plan, (), tags, now)
    await store.plans.insert_plan(conn, PLATFORM_TENANT_ID, plan)
    for price in prices:
        await store.plans.insert_price(conn, PLATFORM_TENANT_ID, price)
    offer = Offer(plan=plan, prices=for_sale(prices))
    await tell(
        conn,
        plan_events.created(offer, now),
        tenant_id=PLATFORM_TENANT_ID,
        aggregate_id=plan.id,
        version=plan.version,
    )
    await record_audit(
        conn, PLATFORM_TENANT_ID, "plan.created", by=by, kind="plan", target_id=plan.id, now=now, slug=plan.slug
    )
    return offer
