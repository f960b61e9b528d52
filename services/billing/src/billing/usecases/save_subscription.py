"""Writes a subscription and tells every change that it went through: the one way in which one is ever changed."""

from datetime import datetime

from billing import store
from billing.domain.plan_changes import pays_for_change
from billing.domain.subscription_events import changes
from billing.domain.subscriptions import Subscription, began_new_period
from billing.usecases.note_order import note_order
from billing.usecases.turn_plan import turn_plan
from billing.usecases.withdraw_pending import withdraw_pending
from bus.outbox import Telling, tell_many
from chassis.db import Connection


async def save_subscription(
    conn: Connection, before: Subscription | None, after: Subscription, *, now: datetime
) -> Subscription:
    """`after`, stored, its provider's id entered in the directory; `before` is the locked row, None for a new one.

    A change of plan that waited for the next period comes with it.
    """
    if before is not None and began_new_period(before, after):
        after = await turn_plan(conn, after, now=now)
        if before.external_id is not None:  # with the period comes what was to be paid for within the one before
            await withdraw_pending(
                conn, before, which=lambda one: pays_for_change(before, one.plan_id, one.period_start), now=now
            )
    if before is None:
        await store.subscriptions.insert_subscription(conn, after.tenant_id, after)
    elif before == after:
        return after
    else:
        await store.subscriptions.update_subscription(conn, after.tenant_id, after)
    if after.external_id is not None and (before is None or before.external_id is None):
        await store.directory.insert_object(
            conn,
            after.tenant_id,
            provider=after.provider,
            account_id=after.account_id,
            kind="subscription",
            external_id=after.external_id,
            object_id=after.id,
        )
    events = changes(before, after, now)
    await tell_many(
        conn,
        [
            Telling(event=event, aggregate_id=after.id, tenant_id=after.tenant_id, version=after.version)
            for event in events
        ],
    )
    if before is None or before.status is not after.status:
        await note_order(conn, after.tenant_id, after.order_id, f"subscription_{after.status.value}", now=now)
    return after
