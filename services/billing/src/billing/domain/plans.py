"""Plans for sale and the versions of their prices."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from billing.domain.identifiers import new_id
from billing.domain.providers import Interval
from contracts.billing import PlanFact, PriceFact
from contracts.errors import Conflict, FieldError, Invalid


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


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """A plan and the prices that it is sold at."""

    plan: Plan
    prices: tuple[PlanPrice, ...]


class PriceTag(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a plan is to cost: each interval and currency has one."""

    interval: Interval
    currency: str
    amount_cents: int


class PlanChange(msgspec.Struct, frozen=True, kw_only=True):
    """What a plan is to say from now on; what is unset stays. `prices` are all that shall be for sale."""

    slug: str | UnsetType = UNSET
    name: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    features: list[str] | UnsetType = UNSET
    limits: dict[str, int] | UnsetType = UNSET
    trial_days: int | UnsetType = UNSET
    prices: Sequence[PriceTag] | UnsetType = UNSET


def for_sale(prices: Iterable[PlanPrice]) -> tuple[PlanPrice, ...]:
    """Those that are not retired, by currency, the month before the year."""
    on_sale = [price for price in prices if price.retired_at is None]
    return tuple(sorted(on_sale, key=lambda price: (price.currency, price.interval)))


def changed_plan(plan: Plan, change: PlanChange, now: datetime) -> Plan:
    """The plan as `change` wants it, without its prices; itself where that is nothing new.

    Raises Conflict for one that is archived, Invalid for a slug that reads as an id.
    """
    if plan.status is PlanStatus.ARCHIVED:
        raise Conflict("The plan is archived: it is kept as it was sold.", code="plan_archived")
    if change.slug is not UNSET:
        refuse_slug(change.slug)
    wanted: dict[str, Any] = {
        name: value
        for name, value in msgspec.structs.asdict(change).items()
        if name != "prices" and value is not UNSET and value != getattr(plan, name)
    }
    return msgspec.structs.replace(plan, **wanted, updated_at=now) if wanted else plan


def refuse_slug(slug: str) -> None:
    """Nothing, for a slug by which a plan can be found. Raises Invalid for one that reads as an id."""
    try:
        UUID(slug)
    except ValueError:
        return
    raise Invalid("The slug is refused.", errors=(FieldError("$.slug", "reads as an id"),))


def repriced(
    plan: Plan, current: Sequence[PlanPrice], tags: Sequence[PriceTag], now: datetime
) -> tuple[list[PlanPrice], list[PlanPrice]]:
    """Which prices for sale are to be retired, and which new ones take their place; one that stays is in neither.

    Raises Invalid for two prices of one interval and currency.
    """
    wanted = {(tag.interval, tag.currency): tag for tag in tags}
    if len(wanted) < len(tags):
        raise Invalid(
            "The prices are refused.", errors=(FieldError("$.prices", "two are of the same interval and currency"),)
        )
    on_sale = {(price.interval, price.currency): price for price in for_sale(current)}
    gone = [
        price for key, price in on_sale.items() if key not in wanted or wanted[key].amount_cents != price.amount_cents
    ]
    fresh = [
        PlanPrice(
            id=new_id(now),
            tenant_id=plan.tenant_id,
            plan_id=plan.id,
            interval=tag.interval,
            currency=tag.currency,
            amount_cents=tag.amount_cents,
            price_external_id=None,
            created_at=now,
            retired_at=None,
        )
        for key, tag in wanted.items()
        if key not in on_sale or on_sale[key].amount_cents != tag.amount_cents
    ]
    return gone, fresh


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
        for price in for_sale(prices)
    )
