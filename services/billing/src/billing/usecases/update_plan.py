"""Changes what a plan says and costs. What runs already keeps the price it was bought at."""

from datetime import datetime
from uuid import UUID

import msgspec
from msgspec import UNSET

from billing import store
from billing.domain import plan_events
from billing.domain.plans import Offer, PlanChange, changed_plan, for_sale, repriced
from billing.usecases.record_audit import record_audit
from bus.outbox import tell
from chassis.db import Connection
from contracts.audit import Doer
from contracts.tenancy import PLATFORM_TENANT_ID


async def update_plan(conn: Connection, plan_id: UUID, change: PlanChange, *, by: Doer, now: datetime) -> Offer:
    """The plan with the prices that are for sale now, told as billing.plan.updated; nothing new tells nothing.

    A price that changes is retired and a new one takes its place. For a transaction of the platform's own tenant.
    Raises NotFound, Conflict for an archived plan or a slug that is taken, Invalid for a slug or prices that cannot be.
    """
    before = await store.plans.lock_plan(conn, PLATFORM_TENANT_ID, plan_id)
    after = changed_plan(before, change, now)
    is_repriced = False
    prices = for_sale(await store.plans.list_prices(conn, PLATFORM_TENANT_ID, [plan_id]))
    if change.prices is not UNSET:
        gone, fresh = repriced(before, prices, change.prices, now)
        for price in gone:
            await store.plans.mark_price_retired(conn, PLATFORM_TENANT_ID, price.id, now)
        for price in fresh:
            await store.plans.insert_price(conn, PLATFORM_TENANT_ID, price)
        prices = for_sale([*(price for price in prices if price not in gone), *fresh])
        is_repriced = bool(gone or fresh)
    if after is before and not is_repriced:
        return Offer(plan=before, prices=prices)
    after = msgspec.structs.replace(after, version=before.version + 1, updated_at=now)
    await store.plans.update_plan(conn, PLATFORM_TENANT_ID, after)
    offer = Offer(plan=after, prices=prices)
    await tell(
        conn,
        plan_events.updated(offer, now),
        tenant_id=PLATFORM_TENANT_ID,
        aggregate_id=plan_id,
        version=after.version,
    )
    await record_audit(
        conn, PLATFORM_TENANT_ID, "plan.updated", by=by, kind="plan", target_id=plan_id, now=now, slug=after.slug
    )
    return offer
