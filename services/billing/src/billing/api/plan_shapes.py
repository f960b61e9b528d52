"""Plans as they are written and read over HTTP."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import UNSET, UnsetType

from billing.domain.plans import Offer, PlanStatus, PriceTag
from billing.domain.providers import Interval

Slug = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=120)]
Description = Annotated[str, msgspec.Meta(max_length=2000)]
Features = Annotated[list[Annotated[str, msgspec.Meta(min_length=1, max_length=200)]], msgspec.Meta(max_length=100)]
LimitName = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9_.:-]{0,62}$")]
Limits = Annotated[
    dict[LimitName, Annotated[int, msgspec.Meta(ge=0, le=2**53)]],
    msgspec.Meta(max_length=100, description="What the plan allows, by name; what is not named is not limited."),
]
TrialDays = Annotated[int, msgspec.Meta(ge=0, le=730)]
Currency = Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{3}$", description="ISO 4217.")]
#: Stripe takes eight digits.
Amount = Annotated[int, msgspec.Meta(ge=1, le=99_999_999, description="Minor units of the currency (centavos).")]


class PriceView(msgspec.Struct, frozen=True, kw_only=True):
    """A price that the plan is sold at. `external_id` is Stripe's, once the plan was pushed."""

    id: UUID
    interval: Interval
    currency: str
    amount_cents: int
    external_id: str | None


class PlanView(msgspec.Struct, frozen=True, kw_only=True):
    """A plan and what it costs. An archived one is not sold any more; who has it keeps it."""

    id: UUID
    slug: str
    name: str
    description: str
    features: list[str]
    limits: dict[str, int]
    trial_days: int
    status: PlanStatus
    prices: list[PriceView]
    created_at: datetime
    updated_at: datetime
    archived_at: datetime | None


class NewPrice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the plan costs per interval, in one currency."""

    interval: Interval
    currency: Currency = "BRL"
    amount_cents: Amount


Prices = Annotated[list[NewPrice], msgspec.Meta(max_length=50)]


class NewPlan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A plan to sell."""

    slug: Slug
    name: Name
    description: Description = ""
    features: Features = []
    limits: Limits = {}
    trial_days: TrialDays = 0
    prices: Prices = []


class PlanPatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What of the plan is to change; what is absent stays. `prices`, when given, are all that shall be for sale."""

    slug: Slug | UnsetType = UNSET
    name: Name | UnsetType = UNSET
    description: Description | UnsetType = UNSET
    features: Features | UnsetType = UNSET
    limits: Limits | UnsetType = UNSET
    trial_days: TrialDays | UnsetType = UNSET
    prices: Prices | UnsetType = UNSET


def tags_of(prices: list[NewPrice]) -> list[PriceTag]:
    """The prices as the domain takes them."""
    return [PriceTag(interval=one.interval, currency=one.currency, amount_cents=one.amount_cents) for one in prices]


def plan_view(offer: Offer) -> PlanView:
    """The plan as it is shown."""
    plan = offer.plan
    return PlanView(
        id=plan.id,
        slug=plan.slug,
        name=plan.name,
        description=plan.description,
        features=plan.features,
        limits=plan.limits,
        trial_days=plan.trial_days,
        status=plan.status,
        prices=[
            PriceView(
                id=price.id,
                interval=price.interval,
                currency=price.currency,
                amount_cents=price.amount_cents,
                external_id=price.price_external_id,
            )
            for price in offer.prices
        ],
        created_at=plan.created_at,
        updated_at=plan.updated_at,
        archived_at=plan.archived_at,
    )
