"""Says that a trial ends soon: to whoever has it, and to the world."""

from datetime import datetime, timedelta

import msgspec

from billing import store
from billing.domain.customers import SoldBy
from billing.domain.money_text import money_text
from billing.domain.subscription_events import trial_ending
from billing.domain.subscriptions import Subscription, SubscriptionStatus
from billing.usecases.note_order import note_order
from billing.usecases.queue_mail import queue_mail
from billing.usecases.run_each import run_each
from billing.usecases.save_subscription import save_subscription
from bus.outbox import tell
from chassis.clock import Clock
from chassis.db import Connection, Database, platform_transaction, transaction

_BATCH = 200


async def announce_trial_ends(db: Database, *, notice_days: int, clock: Clock) -> dict[str, int]:
    """Counts of trials that end within `notice_days`; each end is told once, whoever runs this."""
    until = clock() + timedelta(days=notice_days)
    async with platform_transaction(db) as conn:
        ending = await store.subscriptions.list_ending_trials(conn, until, _BATCH)

    async def act(subscription: Subscription) -> bool:
        async with transaction(db, subscription.tenant_id) as conn:
            return await _announce(conn, subscription, until, clock())

    return await run_each("trial_ends", ending, act)


async def _announce(conn: Connection, glimpse: Subscription, until: datetime, now: datetime) -> bool:
    current = await store.subscriptions.lock_subscription(conn, glimpse.tenant_id, glimpse.id)
    is_due = (
        current.status is SubscriptionStatus.TRIALING
        and current.trial_notice_at is None
        and current.trial_end is not None
        and current.trial_end <= until
    )
    if not is_due or current.trial_end is None:
        return False
    noted = msgspec.structs.replace(current, trial_notice_at=now, version=current.version + 1, updated_at=now)
    await save_subscription(conn, current, noted, now=now)
    if current.trial_end <= now or current.cancel_at_period_end:
        return False  # it is over, or will cost nothing: there is nothing to warn of
    event = trial_ending(noted, now)
    await tell(conn, event, tenant_id=noted.tenant_id, aggregate_id=noted.id, version=noted.version)
    customer = await store.customers.get_customer(conn, noted.tenant_id, noted.customer_id)
    await queue_mail(
        conn,
        "trial_ending",
        customer.email,
        {
            "name": customer.name or "",
            "plan": noted.plan_name,
            "amount": money_text(noted.amount_cents, noted.currency),
            "ends_on": f"{current.trial_end:%d/%m/%Y}",
        },
        name=customer.name,
        tenant_id=None if noted.sold_by is SoldBy.PLATFORM else noted.tenant_id,
        about=noted.id,
        key=f"billing-trial-ending-{noted.id}",
    )
    await note_order(conn, noted.tenant_id, noted.order_id, "trial_end_announced", now=now)
    return True
