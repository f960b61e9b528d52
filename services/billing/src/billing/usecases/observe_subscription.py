"""Brings a subscription up to what its provider says of it, its price included."""

from datetime import datetime

import msgspec

from billing import store
from billing.domain.customers import SoldBy
from billing.domain.plans import PlanPrice, plan_fact
from billing.domain.provider_events import Outcome, for_review, processed
from billing.domain.providers import SubscriptionState
from billing.domain.subscriptions import Subscription, SubscriptionStatus, began_new_period, observe, with_plan
from billing.usecases.note_order import note_order
from billing.usecases.save_subscription import save_subscription
from chassis.db import Connection
from contracts.tenancy import PLATFORM_TENANT_ID


async def observe_subscription(
    conn: Connection, before: Subscription, seen: SubscriptionState, *, asked_at: datetime, now: datetime
) -> Outcome:
    """Taken in, or for review: another subscription than the order's, or a price that is none of ours.

    A price that was changed at the provider (its portal) becomes the plan that it was pushed for. One that waits here
    for the next period is Stripe's from the moment it is asked for, and ours when that period begins. `before` is
    locked, its order before it. Old news changes nothing.
    """
    if before.external_id not in (None, seen.external_id):
        return for_review("the order has another subscription", before.tenant_id)
    after = observe(before, seen, asked_at=asked_at, now=now)
    outcome = processed(before.tenant_id)
    is_news = after.observed_at == asked_at and after.status is not SubscriptionStatus.CANCELLED
    if is_news and before.sold_by is SoldBy.PLATFORM:
        price = await _price_of(conn, before, seen)
        if price is None and not _is_charged(before, seen):
            await note_order(
                conn, before.tenant_id, before.order_id, "unknown_price", now=now, amount_cents=seen.amount_cents
            )
            outcome = for_review("the subscription was changed to a price that is none of ours", before.tenant_id)
        elif price is not None and price.id not in (before.price_id, before.next_price_id):
            plan = await store.plans.get_plan(conn, PLATFORM_TENANT_ID, price.plan_id)
            after = msgspec.structs.replace(with_plan(after, plan_fact(plan, price), now), version=before.version + 1)
        if began_new_period(before, after) and (price is None or price.id != before.next_price_id):
            # Stripe never heard of the change that waited: nothing dearer begins unpaid.
            after = msgspec.structs.replace(after, next_plan_id=None, next_price_id=None)
    await save_subscription(conn, before, after, now=now)
    return outcome


async def _price_of(conn: Connection, current: Subscription, seen: SubscriptionState) -> PlanPrice | None:
    """The price that was pushed under Stripe's id, or the one that waits for the next period; None for neither."""
    if seen.price_external_id is not None:
        pushed = await store.plans.find_price_by_external_id(conn, PLATFORM_TENANT_ID, seen.price_external_id)
        if pushed is not None:
            return pushed
    if current.next_price_id is None:
        return None
    waiting = await store.plans.find_price(conn, PLATFORM_TENANT_ID, current.next_price_id)
    return waiting if waiting is not None and _is_charged(waiting, seen) else None


def _is_charged(price: PlanPrice | Subscription, seen: SubscriptionState) -> bool:
    told = ((seen.amount_cents, price.amount_cents), (seen.currency, price.currency), (seen.interval, price.interval))
    return all(theirs in (None, ours) for theirs, ours in told)
