"""Finds what somebody wants to buy: the plan and the price that it is sold at now."""

from uuid import UUID

from billing import store
from billing.domain.plans import Plan, PlanPrice, PlanStatus
from billing.domain.providers import Interval
from chassis.db import Connection
from contracts.errors import FieldError, Invalid
from contracts.tenancy import PLATFORM_TENANT_ID


async def choose_plan(conn: Connection, name: str, *, interval: Interval, currency: str) -> tuple[Plan, PlanPrice]:
    """The platform's plan under that slug or id, and its price; it cannot be deleted until the transaction ends.

    An order written in this transaction therefore has a plan that stays: `archive_plan` waits for it, then sees it.
    Raises Invalid for a plan that is not for sale, or not for that interval and currency: never a price of zero.
    """
    plan = await _find(conn, name)
    if plan is not None:
        await store.plans.hold_plan(conn, plan.id)
        plan = await store.plans.find_plan(conn, PLATFORM_TENANT_ID, plan.id)  # as it stands now that it is held
    if plan is None or plan.status is not PlanStatus.ACTIVE:
        raise Invalid("No such plan is for sale.", code="unknown_plan", errors=(FieldError("plan", "not for sale"),))
    price = await store.plans.find_price_for_sale(conn, PLATFORM_TENANT_ID, plan.id, interval, currency)
    if price is None:
        raise Invalid(
            f"The plan has no price per {interval.value} in {currency}.",
            code="unknown_price",
            errors=(FieldError("interval", "not for sale"),),
        )
    return plan, price


async def _find(conn: Connection, name: str) -> Plan | None:
    try:
        plan_id = UUID(name)
    except ValueError:
        return await store.plans.find_plan_by_slug(conn, PLATFORM_TENANT_ID, name)
    return await store.plans.find_plan(conn, PLATFORM_TENANT_ID, plan_id)
