"""Reads the change of plan that waits for a subscription's next period."""

from datetime import datetime

from billing import store
from billing.domain.plans import plan_fact
from billing.domain.subscriptions import Subscription, with_plan
from chassis.db import Connection
from contracts.tenancy import PLATFORM_TENANT_ID


async def turn_plan(conn: Connection, subscription: Subscription, *, now: datetime) -> Subscription:
    """The subscription as its next period runs: at the plan that waits, or as it is. Nothing is stored.

    What a period's invoice is made of, and what `save_subscription` stores once the period has begun.
    """
    if subscription.next_plan_id is None or subscription.next_price_id is None:
        return subscription
    plan = await store.plans.find_plan(conn, PLATFORM_TENANT_ID, subscription.next_plan_id)
    price = await store.plans.find_price(conn, PLATFORM_TENANT_ID, subscription.next_price_id)
    if plan is None or price is None:  # `archive_plan` keeps a plan that somebody waits for
        return subscription
    return with_plan(subscription, plan_fact(plan, price), now)
