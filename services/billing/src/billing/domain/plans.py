"""Plans for sale and the versions of their prices."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from uuid import UUID

import msgspec

from billing.domain.providers import Interval
from contracts.billing import PlanFact, PriceFact


class PlanStatus(StrEnum):
    """Whether a plan can be bought."""

    ACTIVE = "active"
    ARCHIVED = "archived"


class PlanPrice(msgspec.Struct, frozen=True, kw_only=True):
    """One row of plan_prices. It never changes but for `retired_at`: a new price is a new row."""

    id: UUID
    tenant_id: UUID
    plan_id: UUID
    interval: Interval
    currency: str
    amount_cents: int
    price_external_id: str | None
    created_at: datetime
    retired_at: datetime | None


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """One row of plans."""

    id: UUID
    tenant_id: UUID
    slug: str
    name: str
    description: str
    features: list[str]
    limits: dict[str, int]
    trial_days: int
    status: PlanStatus
    product_external_id: str | None
    version: int
    created_at: datetime
    updated_at: datetime
    archived_at: datetime | None


def plan_fact(plan: Plan, price: PlanPrice) -> PlanFact:
    """The plan at this price, as events and orders carry it."""
    return PlanFact(
        plan_id=plan.id,
        plan_slug=plan.slug,
        plan_name=plan.name,
        price_id=price.id,
        interval=price.interval,
        amount_cents=price.amount_cents,
        currency=price.currency,
        limits=plan.limits,
    )


def price_facts(prices: Sequence[PlanPrice]) -> tuple[PriceFact, ...]:
    """The prices that are for sale."""
    return tuple(
        PriceFact(price_id=price.id, interval=price.interval, amount_cents=price.amount_cents, currency=price.currency)
        for price in prices
        if price.retired_at is None
    )
