"""Finds what somebody wants to buy by its price: our id of one, or the one it was pushed to Stripe under."""

from uuid import UUID

from billing import store
from billing.domain.plans import Plan, PlanPrice, PlanStatus
from chassis.db import Connection
from contracts.errors import FieldError, Invalid
from contracts.tenancy import PLATFORM_TENANT_ID


async def choose_price(conn: Connection, name: str) -> tuple[Plan, PlanPrice]:
    """The price and its plan, which cannot be deleted until the transaction ends (see `choose_plan`).

    Raises Invalid for one that is not for sale: unknown, retired, or of an archived plan.
    """
    price = await _find(conn, name)
    plan = None
    if price is not None:
        await store.plans.hold_plan(conn, price.plan_id)
        price = await store.plans.find_price(conn, PLATFORM_TENANT_ID, price.id)  # as it stands now that it is held
    if price is not None:
        plan = await store.plans.find_plan(conn, PLATFORM_TENANT_ID, price.plan_id)
    if price is None or price.retired_at is not None or plan is None or plan.status is not PlanStatus.ACTIVE:
        raise Invalid("No such price is for sale.", code="unknown_price", errors=(FieldError("price", "not for sale"),))
    return plan, price


async def _find(conn: Connection, name: str) -> PlanPrice | None:
    try:
        price_id = UUID(name)
    except ValueError:
        return await store.plans.find_price_by_external_id(conn, PLATFORM_TENANT_ID, name)
    return await store.plans.find_price(conn, PLATFORM_TENANT_ID, price_id)
