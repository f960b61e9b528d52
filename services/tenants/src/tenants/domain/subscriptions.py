"""What a tenant's subscriptions, as billing tells them, let it have: its limits, and until when its people get in."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import msgspec

from contracts.billing import OrderPaid, SubscriptionCancelled, SubscriptionEvent
from tenants.domain.companies import Tenant, TenantStatus

#: billing's words for a subscription whose plan may be used.
_RUNNING: Final = frozenset({"trialing", "active", "past_due"})
_STOPPED: Final = frozenset({"suspended", "paused", "cancelled"})
#: Ends by which nothing more was paid for, or the money went back: the period that was told is not theirs.
_UNPAID_ENDS: Final = frozenset({"delinquent", "refunded", "disputed"})
#: Why a tenant is suspended when nobody suspended it by hand. Only this one is lifted by a payment.
UNPAID: Final = "unpaid"


class TenantSubscription(msgspec.Struct, frozen=True, kw_only=True):
    """One row of tenant_subscriptions: the newest that billing told of it. `version` is billing's; 0: of the order."""

    tenant_id: UUID
    subscription_id: UUID
    version: int
    status: str
    plan_slug: str
    limits: dict[str, int]
    paid_until: datetime | None
    told_at: datetime


def of_event(event: SubscriptionEvent, version: int) -> TenantSubscription:
    """The subscription as the event shows it: each of them carries all of it. One that never ran ends as `void`."""
    reason = event.reason if isinstance(event, SubscriptionCancelled) else None
    never_ran = event.status == "cancelled" and event.previous_status == "incomplete"
    return TenantSubscription(
        tenant_id=event.tenant_id,
        subscription_id=event.subscription_id,
        version=version,
        status="void" if never_ran else event.status,
        plan_slug=event.plan.plan_slug,
        limits=event.plan.limits,
        paid_until=event.current_period_end if event.status == "cancelled" and reason not in _UNPAID_ENDS else None,
        told_at=event.occurred_at,
    )


def says_enough(event: SubscriptionEvent) -> bool:
    """Whether the event says how the subscription stands: of an end only its own event says why."""
    return event.status != "cancelled" or isinstance(event, SubscriptionCancelled)


def of_order(event: OrderPaid) -> TenantSubscription:
    """What was bought, until the first event of the subscription itself: any of those counts more."""
    return TenantSubscription(
        tenant_id=event.tenant_id,
        subscription_id=event.subscription_id or event.order_id,
        version=0,
        status="active",
        plan_slug=event.plan.plan_slug,
        limits=event.plan.limits,
        paid_until=None,
        told_at=event.occurred_at,
    )


def with_subscriptions(tenant: Tenant, rows: Sequence[TenantSubscription], grace: timedelta) -> Tenant:
    """The tenant as its subscriptions make it, in whatever order their events came; itself where that changes nothing.

    While one runs there is no end to access, and what the plans of all running ones allow is allowed: of a limit that
    several name the highest, and what one of them does not name is not limited. The newest bought names the plan. When
    none runs any more, access ends a grace after the last paid day, with the limits of the newest. A tenant without any
    (nobody sold it one) is left alone, as is one whose subscriptions never ran.
    """
    known = sorted(rows, key=lambda row: row.subscription_id)
    running = [row for row in known if row.status in _RUNNING]
    stopped = [row for row in known if row.status in _STOPPED]
    if not (running or stopped):
        return tenant
    counting = running or stopped[-1:]
    named = set.intersection(*(set(row.limits) for row in counting))
    is_lifted = bool(running) and tenant.status is TenantStatus.SUSPENDED and tenant.status_reason == UNPAID
    return msgspec.structs.replace(
        tenant,
        limits={name: max(row.limits[name] for row in counting) for name in sorted(named)},
        plan_slug=counting[-1].plan_slug,
        access_until=None if running else max(_paid_until(row) for row in stopped) + grace,
        status=TenantStatus.ACTIVE if is_lifted else tenant.status,
        status_reason=None if is_lifted else tenant.status_reason,
    )


def _paid_until(row: TenantSubscription) -> datetime:
    return max(row.paid_until or row.told_at, row.told_at)
