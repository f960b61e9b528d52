"""Refuses a claimed payment: billing.order.failed, with the claim's id, for an order that shows what was claimed."""

from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from billing import store
from billing.domain import orders
from billing.domain.claims import CLAIM, buyer_of, claimed_price
from billing.domain.drafts import platform_order
from billing.domain.orders import Order, OrderStatus
from billing.domain.plans import Plan, PlanPrice, PlanStatus
from billing.domain.providers import Provider
from billing.domain.selling import SellingTerms
from billing.usecases.ensure_customer import ensure_customer
from billing.usecases.note_order import note_order
from bus.inbox import first_time
from bus.outbox import tell
from chassis.db import Connection, Database, transaction
from chassis.secrets import SecretBox
from contracts.billing import OrderFailed
from contracts.tenancy import PLATFORM_TENANT_ID
from contracts.tenants import PaymentClaimed

_REFUSALS: Final = "billing.claims.refused"
_OVER: Final = (OrderStatus.FAILED, OrderStatus.CANCELLED)


async def refuse_claim(
    db: Database,
    claim: PaymentClaimed,
    reason: str,
    message_id: UUID,
    *,
    order: Order | None = None,
    box: SecretBox,
    terms: SellingTerms,
    now: datetime,
) -> None:
    """Told once for the message. `order` is the tenant's own one that the claim was about, where there is one.

    Where that bears the claim and is over, it is what failed. Else nothing of ours failed: the session may be
    somebody's, or be paid later. So the claim gets an order of its own that has ended before it was placed: it owes
    nothing, is no revenue, and is in no directory, so that the session stays free for the order that it may yet pay.
    It is filled from the claim alone, and thus tells nobody of another tenant. The same claim refused anew is the
    same order. A claim of no plan for sale leaves none.
    """
    async with transaction(db, claim.tenant_id) as conn:
        if not await first_time(conn, _REFUSALS, message_id):
            return
        if order is not None and order.claim_id == claim.claim_id and order.status in _OVER:
            failed: Order | None = order
        else:
            provider = Provider.STRIPE if order is None else order.provider
            failed = await _record(conn, claim, reason, provider, box, terms, now)
        event = _of_nothing(claim, reason, now) if failed is None else orders.failed(failed, now, reason)
        await tell(
            conn,
            event,
            tenant_id=claim.tenant_id,
            aggregate_id=claim.claim_id if failed is None else failed.id,
            version=None if failed is None else failed.version,
        )


async def _record(
    conn: Connection,
    claim: PaymentClaimed,
    reason: str,
    provider: Provider,
    box: SecretBox,
    terms: SellingTerms,
    now: datetime,
) -> Order | None:
    chosen = await _plan(conn, claim, terms)
    if chosen is None:
        return None
    known = await store.customers.find_latest_platform_customer(conn, claim.tenant_id)
    buyer = buyer_of(claim, known)
    customer = await ensure_customer(conn, buyer, box=box, now=now)
    before = await store.orders.find_order(conn, claim.tenant_id, claim.claim_id)
    if before is None:
        draft = platform_order(buyer, *chosen, customer, provider=provider, has_trial=False, source=CLAIM, now=now)
        order = msgspec.structs.replace(
            draft,
            id=claim.claim_id,
            claim_id=claim.claim_id,
            external_id=claim.session_id,
            status=OrderStatus.FAILED,
            failure_reason=reason,
            ended_at=now,
        )
        await store.orders.insert_order(conn, claim.tenant_id, order)
    else:
        order = msgspec.structs.replace(before, failure_reason=reason, version=before.version + 1, updated_at=now)
        await store.orders.update_order(conn, claim.tenant_id, order)
    said = {"claim": str(claim.claim_id), "plan": claim.plan_slug, "amount_cents": claim.amount_cents}
    await note_order(conn, claim.tenant_id, order.id, "claimed", now=now, **said)
    await note_order(conn, claim.tenant_id, order.id, "failed", now=now, reason=reason)
    return order


async def _plan(conn: Connection, claim: PaymentClaimed, terms: SellingTerms) -> tuple[Plan, PlanPrice] | None:
    plan = await store.plans.find_plan_by_slug(conn, PLATFORM_TENANT_ID, claim.plan_slug)
    if plan is not None:
        await store.plans.hold_plan(conn, plan.id)
        plan = await store.plans.find_plan(conn, PLATFORM_TENANT_ID, plan.id)  # as it stands now that it is held
    if plan is None or plan.status is not PlanStatus.ACTIVE:
        return None
    prices = await store.plans.list_prices(conn, PLATFORM_TENANT_ID, [plan.id])
    price = claimed_price(prices, amount_cents=claim.amount_cents, currency=terms.currency)
    return None if price is None else (plan, price)


def _of_nothing(claim: PaymentClaimed, reason: str, now: datetime) -> OrderFailed:
    return OrderFailed(
        tenant_id=claim.tenant_id,
        occurred_at=now,
        sold_by="platform",
        order_id=None,
        customer_id=None,
        plan=None,
        provider=Provider.STRIPE.value,
        external_id=claim.session_id,
        buyer_email=None,
        buyer_name=None,
        is_new_tenant=False,
        claim_id=claim.claim_id,
        reason=reason,
    )
