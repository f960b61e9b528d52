"""Plans over HTTP: anybody may read what is for sale; the platform's administrators decide what is."""

from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Response, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter
from msgspec import UNSET

from billing import store
from billing.accounts import Accounts
from billing.api.access import is_platform_admin, requires_platform_admin
from billing.api.pages import Cursor, Limit, Page, page_of, start_of
from billing.api.plan_shapes import NewPlan, PlanPatch, PlanView, plan_view, tags_of
from billing.domain.identifiers import new_id
from billing.domain.plans import Offer, Plan, PlanChange, PlanStatus, for_sale
from billing.usecases.archive_plan import archive_plan
from billing.usecases.create_plan import create_plan
from billing.usecases.push_plan import push_plan
from billing.usecases.update_plan import update_plan
from chassis.body_guard import StrictRequest
from chassis.clock import Clock
from chassis.db import Connection, Database, platform_transaction, transaction
from chassis.doers import doer_of
from chassis.idempotency import once
from chassis.identity import Identity
from contracts.errors import Forbidden, NotFound
from contracts.tenancy import PLATFORM_TENANT_ID


@get("/plans")
async def list_plans(
    db: NamedDependency[Database],
    identity: NamedDependency[Identity],
    archived: Annotated[bool, QueryParameter()] = False,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[PlanView]:
    """What is for sale; with `archived`, for administrators, also what no longer is."""
    if archived and not is_platform_admin(identity):
        raise Forbidden("Only the platform's administrators see archived plans.", code="platform_admin_only")
    async with transaction(db, PLATFORM_TENANT_ID) as conn:
        plans = await store.plans.list_plans(
            conn, PLATFORM_TENANT_ID, after=start_of(cursor), limit=limit + 1, archived=archived
        )
        offers = await _offers(conn, plans)
    return page_of(plans, [plan_view(offer) for offer in offers], limit)


@get("/plans/{plan:str}")
async def get_plan(db: NamedDependency[Database], plan: FromPath[str]) -> PlanView:
    """One plan, by its id or slug; an archived one by its id only."""
    async with transaction(db, PLATFORM_TENANT_ID) as conn:
        found = await _named(conn, plan)
        [offer] = await _offers(conn, [found])
    return plan_view(offer)


@post("/plans", guards=[requires_platform_admin()])
async def post_plan(
    data: JSONBody[NewPlan],
    request: StrictRequest,
    db: NamedDependency[Database],
    clock: NamedDependency[Clock],
) -> Response[PlanView]:
    """Puts a plan up for sale. An Idempotency-Key creates it once."""
    now = clock()
    plan = Plan(
        id=new_id(now),
        tenant_id=PLATFORM_TENANT_ID,
        slug=data.slug,
        name=data.name,
        description=data.description,
        features=data.features,
        limits=data.limits,
        trial_days=data.trial_days,
        status=PlanStatus.ACTIVE,
        product_external_id=None,
        version=1,
        created_at=now,
        updated_at=now,
        archived_at=None,
    )

    async def create(conn: Connection) -> PlanView:
        return plan_view(await create_plan(conn, plan, tags_of(data.prices), by=doer_of(request), now=now))

    return await once(request, db, data, create, tenant_id=PLATFORM_TENANT_ID)


@patch("/plans/{plan:str}", guards=[requires_platform_admin()])
async def patch_plan(
    data: JSONBody[PlanPatch],
    request: StrictRequest,
    db: NamedDependency[Database],
    clock: NamedDependency[Clock],
    plan: FromPath[str],
) -> PlanView:
    """Changes a plan. A new price retires the old one and touches no running subscription."""
    wanted: dict[str, Any] = msgspec.structs.asdict(data)
    if data.prices is not UNSET:
        wanted["prices"] = tags_of(data.prices)
    async with transaction(db, PLATFORM_TENANT_ID) as conn:
        found = await _named(conn, plan)
        return plan_view(await update_plan(conn, found.id, PlanChange(**wanted), by=doer_of(request), now=clock()))


@delete("/plans/{plan:str}", guards=[requires_platform_admin()])
async def delete_plan(
    request: StrictRequest,
    db: NamedDependency[Database],
    clock: NamedDependency[Clock],
    plan: FromPath[str],
) -> None:
    """Takes a plan off sale: archived when anybody ever bought it, else deleted."""
    async with platform_transaction(db) as conn:
        found = await _named(conn, plan)
        await archive_plan(conn, found.id, by=doer_of(request), now=clock())


@post("/plans/{plan:str}/push", guards=[requires_platform_admin()], status_code=200)
async def post_push(
    request: StrictRequest,
    db: NamedDependency[Database],
    clock: NamedDependency[Clock],
    accounts: NamedDependency[Accounts],
    plan: FromPath[str],
) -> PlanView:
    """Makes the plan a product at Stripe with its prices; again, brings Stripe up to date."""
    async with transaction(db, PLATFORM_TENANT_ID) as conn:
        found = await _named(conn, plan)
    return plan_view(await push_plan(db, found.id, accounts=accounts, by=doer_of(request), clock=clock))


async def _named(conn: Connection, name: str) -> Plan:
    try:
        plan_id = UUID(name)
    except ValueError:
        plan = await store.plans.find_plan_by_slug(conn, PLATFORM_TENANT_ID, name)
    else:
        plan = await store.plans.find_plan(conn, PLATFORM_TENANT_ID, plan_id) if str(plan_id) == name.lower() else None
    if plan is None:
        raise NotFound("no such plan")
    return plan


async def _offers(conn: Connection, plans: list[Plan]) -> list[Offer]:
    prices = await store.plans.list_prices(conn, PLATFORM_TENANT_ID, [plan.id for plan in plans])
    return [Offer(plan=plan, prices=for_sale(price for price in prices if price.plan_id == plan.id)) for plan in plans]


ROUTES = [list_plans, get_plan, post_plan, patch_plan, delete_plan, post_push]
