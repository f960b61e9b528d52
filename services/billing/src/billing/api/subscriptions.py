"""Subscriptions over HTTP: what a tenant has, its end, and another plan."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter

from billing import store
from billing.accounts import Accounts
from billing.api.access import is_platform_admin
from billing.api.pages import Cursor, Limit, Page, page_of, start_of
from billing.domain.customers import SoldBy
from billing.domain.plan_changes import Proration, When
from billing.domain.providers import Interval, Provider
from billing.domain.subscriptions import Subscription, SubscriptionStatus
from billing.usecases.cancel_subscription import cancel_subscription
from billing.usecases.change_plan import PlanWish, change_plan
from billing.usecases.resume_subscription import resume_subscription
from chassis.body_guard import StrictRequest
from chassis.clock import Clock
from chassis.db import Database, transaction
from chassis.doers import doer_of
from chassis.identity import Identity, requires, tenant_of
from contracts.errors import FieldError, Invalid

PlanName = Annotated[str, msgspec.Meta(min_length=1, max_length=63, description="Its slug or id.")]


class SubscriptionView(msgspec.Struct, frozen=True, kw_only=True):
    """A running right to a plan, at the price that it was bought at. `next_*`: the change that waits for its time."""

    id: UUID
    tenant_id: UUID
    sold_by: SoldBy
    customer_id: UUID
    order_id: UUID | None
    plan_id: UUID
    plan_slug: str
    plan_name: str
    price_id: UUID
    interval: Interval
    amount_cents: int
    currency: str
    limits: dict[str, int]
    status: SubscriptionStatus
    provider: Provider
    external_id: str | None
    current_period_start: datetime | None
    current_period_end: datetime | None
    trial_end: datetime | None
    cancel_at_period_end: bool
    cancelled_at: datetime | None
    cancel_reason: str | None
    next_plan_id: UUID | None
    next_price_id: UUID | None
    past_due_since: datetime | None
    created_at: datetime
    updated_at: datetime


class ChangedSubscription(SubscriptionView, frozen=True, kw_only=True):
    """The same after a change of plan. `invoice_id`: what is to be paid before the plan begins."""

    invoice_id: UUID | None


class Cancellation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When it is to end: with the period that is paid for, or now."""

    at_period_end: bool = True


class SubscriptionPatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whether it ends with its period."""

    cancel_at_period_end: bool


class PlanChangeRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Another plan, by its slug or id. Without `when`, a dearer one begins now, a cheaper one with the next period.

    `proration`: how the rest of the period is settled; a dearer plan that begins now is paid at once (`invoice_now`),
    and only the platform's administrators may have it otherwise.
    """

    plan: PlanName | None = None
    plan_id: UUID | None = None
    interval: Interval | None = None
    when: When | None = None
    proration: Proration | None = None


@get("/subscriptions", guards=[requires("billing:read")])
async def list_subscriptions(
    db: NamedDependency[Database],
    identity: NamedDependency[Identity],
    status: Annotated[SubscriptionStatus | None, QueryParameter()] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[SubscriptionView]:
    """The tenant's subscriptions, newest first."""
    tenant_id = tenant_of(identity)
    async with transaction(db, tenant_id) as conn:
        rows = await store.subscriptions.list_subscriptions(
            conn, tenant_id, before=start_of(cursor), limit=limit + 1, status=status
        )
    return page_of(rows, [SubscriptionView(**_shown(row)) for row in rows], limit)


@get("/subscriptions/{subscription_id:uuid}", guards=[requires("billing:read")])
async def get_subscription(
    db: NamedDependency[Database], identity: NamedDependency[Identity], subscription_id: FromPath[UUID]
) -> SubscriptionView:
    """One subscription."""
    tenant_id = tenant_of(identity)
    async with transaction(db, tenant_id) as conn:
        return SubscriptionView(**_shown(await store.subscriptions.get_subscription(conn, tenant_id, subscription_id)))


@patch("/subscriptions/{subscription_id:uuid}", guards=[requires("billing:write")])
async def patch_subscription(
    data: JSONBody[SubscriptionPatch],
    request: StrictRequest,
    db: NamedDependency[Database],
    clock: NamedDependency[Clock],
    accounts: NamedDependency[Accounts],
    subscription_id: FromPath[UUID],
) -> SubscriptionView:
    """Lets it end with its period, or go on after all."""
    if data.cancel_at_period_end:
        return await _cancel(request, db, clock, accounts, subscription_id, at_period_end=True)
    return await _resume(request, db, clock, accounts, subscription_id)


@post("/subscriptions/{subscription_id:uuid}/cancel", guards=[requires("billing:write")], status_code=200)
async def post_cancel(
    data: JSONBody[Cancellation],
    request: StrictRequest,
    db: NamedDependency[Database],
    clock: NamedDependency[Clock],
    accounts: NamedDependency[Accounts],
    subscription_id: FromPath[UUID],
) -> SubscriptionView:
    """Ends it, with the period that is paid for or now. One that has ended stays as it is."""
    return await _cancel(request, db, clock, accounts, subscription_id, at_period_end=data.at_period_end)


@post("/subscriptions/{subscription_id:uuid}/resume", guards=[requires("billing:write")], status_code=200)
async def post_resume(
    request: StrictRequest,
    db: NamedDependency[Database],
    clock: NamedDependency[Clock],
    accounts: NamedDependency[Accounts],
    subscription_id: FromPath[UUID],
) -> SubscriptionView:
    """Calls off its end while it still runs."""
    return await _resume(request, db, clock, accounts, subscription_id)


@post("/subscriptions/{subscription_id:uuid}/change-plan", guards=[requires("billing:write")], status_code=200)
async def post_change_plan(
    data: JSONBody[PlanChangeRequest],
    request: StrictRequest,
    db: NamedDependency[Database],
    identity: NamedDependency[Identity],
    clock: NamedDependency[Clock],
    accounts: NamedDependency[Accounts],
    subscription_id: FromPath[UUID],
) -> ChangedSubscription:
    """Changes its plan. The plan that it has, asked for again, calls off a change that waits."""
    name = data.plan or (str(data.plan_id) if data.plan_id is not None else None)
    if name is None or (data.plan is not None and data.plan_id is not None):
        raise Invalid("The change is refused.", errors=(FieldError("$.plan", "name one plan, by plan or plan_id"),))
    wish = PlanWish(
        plan=name,
        interval=data.interval,
        when=data.when,
        proration=data.proration,
        may_give=is_platform_admin(identity),
    )
    changed = await change_plan(
        db, tenant_of(identity), subscription_id, wish, accounts=accounts, by=doer_of(request), clock=clock
    )
    invoice_id = changed.invoice.id if changed.invoice is not None else None
    return ChangedSubscription(**_shown(changed.subscription), invoice_id=invoice_id)


async def _cancel(
    request: StrictRequest,
    db: Database,
    clock: Clock,
    accounts: Accounts,
    subscription_id: UUID,
    *,
    at_period_end: bool,
) -> SubscriptionView:
    row = await cancel_subscription(
        db,
        tenant_of(request.user),
        subscription_id,
        at_period_end=at_period_end,
        reason="requested",
        accounts=accounts,
        by=doer_of(request),
        clock=clock,
    )
    return SubscriptionView(**_shown(row))


async def _resume(
    request: StrictRequest, db: Database, clock: Clock, accounts: Accounts, subscription_id: UUID
) -> SubscriptionView:
    row = await resume_subscription(
        db, tenant_of(request.user), subscription_id, accounts=accounts, by=doer_of(request), clock=clock
    )
    return SubscriptionView(**_shown(row))


def _shown(row: Subscription) -> dict[str, Any]:
    return {name: getattr(row, name) for name in SubscriptionView.__struct_fields__}


ROUTES = [
    list_subscriptions,
    get_subscription,
    patch_subscription,
    post_cancel,
    post_resume,
    post_change_plan,
]
