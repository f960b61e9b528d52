"""What is told about a plan: the whole of it as it stands after the change."""

from datetime import datetime
from typing import Any

from billing.domain.plans import Offer, price_facts
from contracts.billing import PlanArchived, PlanCreated, PlanUpdated


def created(offer: Offer, now: datetime) -> PlanCreated:
    """The event that says so."""
    return PlanCreated(**_facts(offer, now))


def updated(offer: Offer, now: datetime) -> PlanUpdated:
    """The event that says so."""
    return PlanUpdated(**_facts(offer, now))


def archived(offer: Offer, now: datetime, *, deleted: bool) -> PlanArchived:
    """The event that says so; `deleted`: nobody ever bought it, and it is gone."""
    return PlanArchived(**_facts(offer, now), deleted=deleted)


def _facts(offer: Offer, now: datetime) -> dict[str, Any]:
    plan = offer.plan
    return {
        "tenant_id": plan.tenant_id,
        "occurred_at": now,
        "plan_id": plan.id,
        "slug": plan.slug,
        "name": plan.name,
        "description": plan.description,
        "features": tuple(plan.features),
        "limits": plan.limits,
        "trial_days": plan.trial_days,
        "prices": price_facts(offer.prices),
    }
