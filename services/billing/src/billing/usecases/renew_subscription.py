"""Takes a cycle that we run ourselves a step on: the next period's invoice, what being late does, or its end."""

from datetime import datetime
from uuid import UUID

from billing import store
from billing.domain.brazil_days import day_in_brazil
from billing.domain.charging import ChargeOptions, NewCharge
from billing.domain.drafts import period_invoice
from billing.domain.dunning import DunningPolicy
from billing.domain.providers import Method
from billing.domain.renewals import DUE_AFTER, code_expires_at, late, looked_at, next_period
from billing.domain.subscription_endings import ended
from billing.domain.subscriptions import Subscription, SubscriptionStatus
from billing.usecases.fail_payment import fail_payment
from billing.usecases.hold_subscription import hold_subscription
from billing.usecases.issue_invoice import issue_invoice
from billing.usecases.lapse_change import lapse_change
from billing.usecases.open_payer import open_payer
from billing.usecases.plan_charge import plan_charge
from billing.usecases.save_subscription import save_subscription
from billing.usecases.turn_plan import turn_plan
from billing.usecases.withdraw_pending import withdraw_pending
from chassis.db import Connection
from chassis.secrets import SecretBox


async def renew_subscription(
    conn: Connection,
    tenant_id: UUID,
    subscription_id: UUID,
    *,
    box: SecretBox,
    options: ChargeOptions,
    policy: DunningPolicy,
    now: datetime,
) -> tuple[bool, UUID | None]:
    """Whether its time had come, and the payment that is now to be asked for, if one is.

    Each period is invoiced once, whoever runs this. One whose provider runs the cycle is only ended here, where that
    was asked for and its provider cannot.
    """
    current = await hold_subscription(conn, tenant_id, subscription_id)
    if current.status is SubscriptionStatus.CANCELLED or current.renews_at is None or current.renews_at > now:
        return False, None
    if current.cancel_at_period_end:
        await _end(conn, current, now)
        return True, None
    if current.external_id is not None:
        await save_subscription(conn, current, looked_at(current, None, now), now=now)
        return True, None
    current = await lapse_change(conn, current, now=now)
    if await _has_open_invoice(conn, current, now):
        return True, None
    return True, await _invoice(conn, current, box=box, options=options, policy=policy, now=now)


async def _end(conn: Connection, current: Subscription, now: datetime) -> None:
    await save_subscription(conn, current, ended(current, current.cancel_reason or "requested", now), now=now)
    await withdraw_pending(conn, current, now=now)


async def _has_open_invoice(conn: Connection, current: Subscription, now: datetime) -> bool:
    """Whether the next period is invoiced already; unpaid past its due date it makes the subscription late."""
    owed = await store.invoices.lock_pending(conn, current.tenant_id, current.id)
    if not owed:
        return False
    invoice = owed[0]
    if invoice.due_at > now:
        await save_subscription(conn, current, looked_at(current, invoice.due_at, now), now=now)
        return True
    await fail_payment(conn, invoice, order=None, reason="overdue", now=now)
    await save_subscription(conn, current, late(current, now), now=now)
    return True


async def _invoice(
    conn: Connection,
    current: Subscription,
    *,
    box: SecretBox,
    options: ChargeOptions,
    policy: DunningPolicy,
    now: datetime,
) -> UUID:
    # The plan that waits is what the period costs; it is there once that is paid.
    priced = await turn_plan(conn, current, now=now)
    start, end = next_period(priced, now)
    due_at = max(start, now) + DUE_AFTER
    invoice = await issue_invoice(
        conn,
        period_invoice(
            priced,
            amount_cents=priced.amount_cents,
            currency=priced.currency,
            start=start,
            end=end,
            due_at=due_at,
            now=now,
        ),
        now=now,
    )
    customer = await store.customers.get_customer(conn, priced.tenant_id, priced.customer_id)
    payer = await open_payer(conn, customer, box=box, provider=priced.provider, account_id=priced.account_id)
    wanted = NewCharge(
        method=Method.PIX,
        amount_cents=invoice.amount_cents,
        currency=invoice.currency,
        due_on=day_in_brazil(due_at),
        description=invoice.description,
        expires_at=code_expires_at(due_at, policy, now),
    )
    payment = await plan_charge(
        conn, invoice, wanted, payer, notification_url=options.notification_url(priced.provider), now=now
    )
    await save_subscription(conn, current, looked_at(current, due_at, now), now=now)
    return payment.id
