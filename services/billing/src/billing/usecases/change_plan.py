"""Changes the plan of a running subscription, at its provider and here."""

from datetime import datetime
from uuid import UUID

import msgspec

from billing.accounts import Accounts
from billing.domain.invoices import Invoice
from billing.domain.plan_changes import (
    PlanChangeTerms,
    Proration,
    When,
    change_terms,
    refuse_change,
)
from billing.domain.plans import plan_fact
from billing.domain.providers import Interval, Provider, ProviderRefused
from billing.domain.subscriptions import Subscription, SubscriptionStatus, observe
from billing.usecases.ask_for_price import ask_for_price
from billing.usecases.ask_subscription import ask_subscription
from billing.usecases.choose_plan import choose_plan
from billing.usecases.hold_subscription import hold_subscription
from billing.usecases.move_to_plan import move_to_plan
from billing.usecases.record_audit import record_audit
from billing.usecases.save_subscription import save_subscription
from chassis.clock import Clock
from chassis.db import Connection, Database, transaction
from contracts.audit import Doer
from contracts.billing import PlanFact
from contracts.errors import Conflict


class PlanWish(msgspec.Struct, frozen=True, kw_only=True):
    """Which plan, by slug or id, and how; what is None is as the policy has it. `may_give`: see change_terms."""

    plan: str
    interval: Interval | None = None
    when: When | None = None
    proration: Proration | None = None
    may_give: bool = False


class PlanChanged(msgspec.Struct, frozen=True):
    """The subscription, and the invoice whose payment brings the plan, where one is to be paid first."""

    subscription: Subscription
    invoice: Invoice | None = None


async def change_plan(
    db: Database,
    tenant_id: UUID,
    subscription_id: UUID,
    wish: PlanWish,
    *,
    accounts: Accounts,
    by: Doer,
    clock: Clock,
) -> PlanChanged:
    """What came of it: the plan is there, waits for the next period, or for the payment of its invoice.

    The plan that it has, asked for again, calls off a change that waits. At Stripe the new price is asked for at once,
    and with it, for a plan that begins now, the difference: a refused card changes nothing. At Asaas only the coming
    payments change, and at no provider of ours a cycle of our own; there the difference is an invoice of ours.

    Raises NotFound, Invalid for a plan that is not for sale, Conflict or Forbidden where the policy has it, and what
    call_provider raises.
    """
    async with transaction(db, tenant_id) as conn:
        row = await hold_subscription(conn, tenant_id, subscription_id)
        refuse_change(row, clock())
        target, terms = await _decide(conn, row, wish)
        if target == row.plan and row.next_price_id is None:
            return PlanChanged(row)
        if row.external_id is None:
            return await _move(conn, row, row, target, terms, by, clock())
        if row.provider is Provider.STRIPE and terms.when is When.PERIOD_END:
            await _wait_for(conn, row, target, clock())
    external_id = row.external_id
    try:
        api = await ask_for_price(db, row, target, terms, accounts=accounts, clock=clock)
    except ProviderRefused:
        await _put_back(db, row, target, clock())
        raise
    asked_at, seen = await ask_subscription(api, external_id, clock=clock)
    async with transaction(db, tenant_id) as conn:
        before = await hold_subscription(conn, tenant_id, subscription_id)
        current = observe(before, seen, asked_at=asked_at, now=clock())
        if current.status is not SubscriptionStatus.CANCELLED:
            return await _move(conn, before, current, target, terms, by, clock())
        await save_subscription(conn, before, current, now=clock())
    raise Conflict("The subscription has ended meanwhile.", code="subscription_ended")


async def _decide(conn: Connection, row: Subscription, wish: PlanWish) -> tuple[PlanFact, PlanChangeTerms]:
    plan, price = await choose_plan(conn, wish.plan, interval=wish.interval or row.interval, currency=row.currency)
    target = plan_fact(plan, price)
    is_same = target.plan_id == row.plan_id and target.interval == row.interval
    if is_same and target.amount_cents >= row.amount_cents:
        return row.plan, PlanChangeTerms(When.PERIOD_END, Proration.NONE)  # at the price that it was bought at
    return target, change_terms(row, target, when=wish.when, proration=wish.proration, may_give=wish.may_give)


async def _wait_for(conn: Connection, row: Subscription, target: PlanFact, now: datetime) -> None:
    """Stripe shows the new price from now on: whoever sees it there finds that it waits here."""
    waits = target.price_id != row.price_id
    intended = msgspec.structs.replace(
        row,
        next_plan_id=target.plan_id if waits else None,
        next_price_id=target.price_id if waits else None,
        updated_at=now,
    )
    await save_subscription(conn, row, intended, now=now)


async def _put_back(db: Database, row: Subscription, target: PlanFact, now: datetime) -> None:
    async with transaction(db, row.tenant_id) as conn:
        before = await hold_subscription(conn, row.tenant_id, row.id)
        if before.next_price_id == target.price_id or target.price_id == row.price_id:
            after = msgspec.structs.replace(
                before, next_plan_id=row.next_plan_id, next_price_id=row.next_price_id, updated_at=now
            )
            await save_subscription(conn, before, after, now=now)


async def _move(
    conn: Connection,
    before: Subscription,
    current: Subscription,
    target: PlanFact,
    terms: PlanChangeTerms,
    by: Doer,
    now: datetime,
) -> PlanChanged:
    saved, invoice = await move_to_plan(conn, before, current, target, terms, now=now)
    await record_audit(
        conn,
        saved.tenant_id,
        "subscription.plan_changed",
        by=by,
        kind="subscription",
        target_id=saved.id,
        now=now,
        plan=target.plan_slug,
        interval=target.interval,
        when=terms.when.value,
        proration=terms.proration.value,
    )
    return PlanChanged(saved, invoice)
