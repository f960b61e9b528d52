"""Renews the cycles that we run ourselves, and asks for what their next periods cost."""

from typing import Final

from billing import store
from billing.accounts import Accounts
from billing.domain.charging import ChargeOptions
from billing.domain.dunning import DunningPolicy
from billing.domain.subscriptions import Subscription
from billing.usecases.renew_subscription import renew_subscription
from billing.usecases.request_charge import request_charge
from billing.usecases.run_each import run_each
from chassis.clock import Clock
from chassis.db import Database, platform_transaction, transaction
from chassis.secrets import SecretBox

_BATCH: Final = 100


async def renew_subscriptions(
    db: Database,
    accounts: Accounts,
    *,
    box: SecretBox,
    options: ChargeOptions,
    policy: DunningPolicy,
    clock: Clock,
) -> dict[str, int]:
    """Counts of subscriptions whose time had come.

    A charge whose provider does not answer is counted as failed and stays written down: `close_open_calls` asks again.
    """
    async with platform_transaction(db) as conn:
        due = await store.subscriptions.list_due_renewals(conn, clock(), _BATCH)

    async def act(subscription: Subscription) -> bool:
        async with transaction(db, subscription.tenant_id) as conn:
            was_due, payment_id = await renew_subscription(
                conn,
                subscription.tenant_id,
                subscription.id,
                box=box,
                options=options,
                policy=policy,
                now=clock(),
            )
        if payment_id is not None:
            await request_charge(
                db,
                accounts,
                subscription.tenant_id,
                payment_id,
                box=box,
                nexus_events=options.nexus_events,
                clock=clock,
            )
        return was_due

    return await run_each("renewals", due, act)
