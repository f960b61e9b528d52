"""Writes down a change of plan as its terms have it: it is there now, waits for the next period, or for its payment."""

from datetime import datetime

import msgspec

from billing import store
from billing.domain import invoices
from billing.domain.drafts import period_invoice
from billing.domain.invoices import Invoice
from billing.domain.periods import add_interval
from billing.domain.plan_changes import PlanChangeTerms, Proration, When, due_now, pays_for_change
from billing.domain.providers import Interval, Provider
from billing.domain.subscriptions import Subscription, with_plan
from billing.usecases.issue_invoice import issue_invoice
from billing.usecases.save_subscription import save_subscription
from billing.usecases.withdraw_pending import withdraw_pending
from bus.outbox import tell
from chassis.db import Connection
from contracts.billing import PlanFact


async def move_to_plan(
    conn: Connection,
    before: Subscription,
    current: Subscription,
    target: PlanFact,
    terms: PlanChangeTerms,
    *,
    now: datetime,
) -> tuple[Subscription, Invoice | None]:
    """The subscription, and the invoice whose payment brings the plan, where one is to be paid first.

    `before` is the locked row, `current` what is newly known of it. Stripe has taken the difference itself; at Asaas
    what is still owed costs the new price. An invoice of an earlier change that was not paid is void; the same change
    asked for twice has one invoice. The plan that it has calls off a change that waits.
    """
    if current.external_id is not None and current.provider is Provider.ASAAS:
        await _reprice(conn, current, target, now)
    waiting = msgspec.structs.replace(
        current,
        next_plan_id=None if target.price_id == current.price_id else target.plan_id,
        next_price_id=None if target.price_id == current.price_id else target.price_id,
        version=before.version + 1,
        updated_at=now,
    )
    is_stripes = current.provider is Provider.STRIPE and current.external_id is not None
    cost = 0 if is_stripes or terms.proration is not Proration.INVOICE_NOW else due_now(current, target, now)
    if cost:
        open_invoice = await _open_invoice(conn, waiting, target, cost)
        if open_invoice is not None and before.next_price_id == target.price_id:
            return await save_subscription(conn, before, current, now=now), open_invoice
    await withdraw_pending(conn, before, which=lambda invoice: _is_of_change(before, invoice), now=now)
    if terms.when is When.PERIOD_END:
        return await save_subscription(conn, before, waiting, now=now), None
    if not cost:
        return await save_subscription(conn, before, with_plan(current, target, now), now=now), None
    saved = await save_subscription(conn, before, waiting, now=now)
    return saved, await issue_invoice(conn, _draft(saved, target, cost, now), now=now)


async def _reprice(conn: Connection, subscription: Subscription, target: PlanFact, now: datetime) -> None:
    """Asaas has changed what is due of the coming periods: our invoices and payments of them follow it."""
    for invoice in await store.invoices.lock_pending(conn, subscription.tenant_id, subscription.id):
        if invoice.external_id is None or invoice.amount_cents == target.amount_cents:
            continue
        changed = await store.invoices.reprice_invoice(
            conn, invoice.tenant_id, invoice.id, amount_cents=target.amount_cents, now=now
        )
        await store.payments.reprice_unpaid(
            conn, invoice.tenant_id, invoice.id, amount_cents=target.amount_cents, now=now
        )
        event = invoices.issued(changed, now)
        await tell(conn, event, tenant_id=changed.tenant_id, aggregate_id=changed.id, version=changed.version)


def _is_of_change(subscription: Subscription, invoice: Invoice) -> bool:
    return pays_for_change(subscription, invoice.plan_id, invoice.period_start)


async def _open_invoice(conn: Connection, subscription: Subscription, target: PlanFact, cost: int) -> Invoice | None:
    for invoice in await store.invoices.lock_pending(conn, subscription.tenant_id, subscription.id):
        if _is_of_change(subscription, invoice) and invoice.plan_id == target.plan_id and invoice.amount_cents == cost:
            return invoice
    return None


def _draft(subscription: Subscription, target: PlanFact, cost: int, now: datetime) -> Invoice:
    begins_anew = target.interval != subscription.interval
    draft = period_invoice(
        subscription,
        amount_cents=cost,
        currency=target.currency,
        start=now,
        end=add_interval(now, Interval(target.interval)) if begins_anew else subscription.current_period_end,
        due_at=now,
        now=now,
    )
    return msgspec.structs.replace(
        draft,
        plan_id=target.plan_id,
        plan_slug=target.plan_slug,
        interval=target.interval,
        description=f"{subscription.plan_name} > {target.plan_name}",
    )
