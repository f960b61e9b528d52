"""Writes to whoever did not pay, on the days that the policy sets, and ends access with the last notice."""

from datetime import datetime

from billing import store
from billing.domain.customers import SoldBy
from billing.domain.dunning import DunningPolicy, DunningStep, after_step, due_step, set_right
from billing.domain.money_text import money_text
from billing.domain.subscriptions import Subscription
from billing.usecases.queue_mail import queue_mail
from billing.usecases.run_each import run_each
from billing.usecases.save_subscription import save_subscription
from chassis.clock import Clock
from chassis.db import Connection, Database, platform_transaction, transaction

_BATCH = 200


async def run_dunning(db: Database, policy: DunningPolicy, *, clock: Clock) -> dict[str, int]:
    """Counts of late subscriptions, of whatever cycle, whose next step is taken; each step once, whoever runs this."""
    async with platform_transaction(db) as conn:
        late = await store.subscriptions.list_due_dunning(conn, clock(), _BATCH)

    async def act(subscription: Subscription) -> bool:
        async with transaction(db, subscription.tenant_id) as conn:
            return await _take_step(conn, subscription, policy, clock())

    return await run_each("dunning", late, act)


async def _take_step(conn: Connection, glimpse: Subscription, policy: DunningPolicy, now: datetime) -> bool:
    current = await store.subscriptions.lock_subscription(conn, glimpse.tenant_id, glimpse.id)
    step = due_step(current, policy, now)
    if step is None:
        if current.next_dunning_at is not None and current.next_dunning_at <= now:
            await save_subscription(conn, current, set_right(current, policy), now=now)
        return False
    await save_subscription(conn, current, after_step(current, step, policy, now), now=now)
    await _write(conn, current, step, policy, now)
    return True


async def _write(
    conn: Connection, subscription: Subscription, step: DunningStep, policy: DunningPolicy, now: datetime
) -> None:
    customer = await store.customers.get_customer(conn, subscription.tenant_id, subscription.customer_id)
    owed = await store.invoices.list_invoices(
        conn, subscription.tenant_id, before=None, limit=1, status="pending", subscription_id=subscription.id
    )
    invoice = owed[0] if owed else None
    payment = await store.payments.find_latest_of_invoice(conn, subscription.tenant_id, invoice.id) if invoice else None
    is_payable = payment is not None and (payment.pix_expires_at is None or payment.pix_expires_at > now)
    since = subscription.past_due_since or now
    variables: dict[str, str | int] = {
        "name": customer.name or "",
        "plan": subscription.plan_name,
        "amount": money_text(
            invoice.amount_cents if invoice else subscription.amount_cents,
            invoice.currency if invoice else subscription.currency,
        ),
        "url": (invoice.url if invoice else None) or (payment.url if payment else None) or "",
        "copy_paste": payment.pix_copy_paste or "" if payment and is_payable else "",
    }
    if not step.suspends:
        variables |= {"is_suspended": False, "notices_left": len(policy.days) - step.number}
    await queue_mail(
        conn,
        "subscription_suspended" if step.suspends else "payment_failed",
        customer.email,
        variables,
        name=customer.name,
        tenant_id=None if subscription.sold_by is SoldBy.PLATFORM else subscription.tenant_id,
        about=subscription.id,
        key=f"billing-dunning-{subscription.id}-{since:%Y%m%d%H%M%S}-{step.number}",
    )
