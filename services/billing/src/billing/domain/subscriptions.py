"""Subscriptions: a running right to a plan. What a provider says of one becomes a decision here, and nowhere else."""

from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

import msgspec

from billing.domain.customers import SoldBy
from billing.domain.providers import Interval, Provider, SubscriptionState
from contracts.billing import PlanFact


class SubscriptionStatus(StrEnum):
    """Where a subscription stands; the README draws it."""

    INCOMPLETE = "incomplete"
    TRIALING = "trialing"
    ACTIVE = "active"
    PAST_DUE = "past_due"
    PAUSED = "paused"
    SUSPENDED = "suspended"
    CANCELLED = "cancelled"


S = SubscriptionStatus
#: Whoever has one of these may use the plan.
RUNNING: Final = frozenset({S.TRIALING, S.ACTIVE, S.PAST_DUE})
#: From everywhere but the end; nothing comes back from the end.
NEXT: Final = {
    S.INCOMPLETE: {S.TRIALING, S.ACTIVE, S.CANCELLED, S.PAST_DUE, S.PAUSED},
    S.TRIALING: {S.ACTIVE, S.PAST_DUE, S.PAUSED, S.SUSPENDED, S.CANCELLED},
    S.ACTIVE: {S.PAST_DUE, S.PAUSED, S.SUSPENDED, S.CANCELLED, S.TRIALING},
    S.PAST_DUE: {S.ACTIVE, S.TRIALING, S.PAUSED, S.SUSPENDED, S.CANCELLED},
    S.PAUSED: {S.ACTIVE, S.TRIALING, S.PAST_DUE, S.CANCELLED},
    S.SUSPENDED: {S.ACTIVE, S.CANCELLED},
    S.CANCELLED: set[SubscriptionStatus](),
}


#: These providers say whether a subscription is late, on trial or about to end; the others only whether it goes on.
_TELLING: Final = frozenset({Provider.STRIPE})


class Subscription(msgspec.Struct, frozen=True, kw_only=True):
    """One row of subscriptions."""

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
    account_id: UUID
    external_id: str | None
    item_external_id: str | None
    current_period_start: datetime | None
    current_period_end: datetime | None
    trial_end: datetime | None
    cancel_at_period_end: bool
    cancelled_at: datetime | None
    cancel_reason: str | None
    next_price_id: UUID | None
    next_plan_id: UUID | None
    trial_notice_at: datetime | None
    past_due_since: datetime | None
    dunning_step: int
    next_dunning_at: datetime | None
    renews_at: datetime | None
    observed_at: datetime | None
    version: int
    created_at: datetime
    updated_at: datetime

    @property
    def plan(self) -> PlanFact:
        """The plan and the price it runs at."""
        return PlanFact(
            plan_id=self.plan_id,
            plan_slug=self.plan_slug,
            plan_name=self.plan_name,
            price_id=self.price_id,
            interval=self.interval,
            amount_cents=self.amount_cents,
            currency=self.currency,
            limits=self.limits,
        )

    @property
    def is_running(self) -> bool:
        """Whether the plan may be used now."""
        return self.status in RUNNING


def observe(current: Subscription, seen: SubscriptionState, *, asked_at: datetime, now: datetime) -> Subscription:
    """`current` brought up to what the provider said when it was asked at `asked_at`; itself when that is old news.

    A cancelled subscription stays so: `updated` after `deleted` never revives. An answer to an earlier question than
    the last one that was used says nothing new. The plan is not touched here: a price is ours, and changes by our own
    doing. A suspension is ours as well: only a paid invoice or the provider's `active` lifts it.
    """
    if current.status is S.CANCELLED or (current.observed_at is not None and asked_at < current.observed_at):
        return current
    status = _status(current, seen, now)
    knows_all = current.provider in _TELLING
    is_late = status in (S.PAST_DUE, S.SUSPENDED)
    fields: dict[str, Any] = {
        "status": status,
        "external_id": seen.external_id,
        "item_external_id": seen.item_external_id or current.item_external_id,
        "current_period_start": seen.current_period_start or current.current_period_start,
        "current_period_end": seen.current_period_end or current.current_period_end,
        "trial_end": seen.trial_end if knows_all else seen.trial_end or current.trial_end,
        "cancel_at_period_end": (seen.cancel_at_period_end if knows_all else current.cancel_at_period_end)
        and status is not S.CANCELLED,
        "cancelled_at": (seen.cancelled_at or now) if status is S.CANCELLED else None,
        "cancel_reason": (
            (current.cancel_reason or ("delinquent" if current.past_due_since else "provider"))
            if status is S.CANCELLED
            else current.cancel_reason
        ),
        "past_due_since": (current.past_due_since or now) if is_late else None,
        "dunning_step": current.dunning_step if is_late else 0,
        "next_dunning_at": (current.next_dunning_at or now) if status is S.PAST_DUE else None,
        "observed_at": asked_at,
    }
    changed = msgspec.structs.replace(current, **fields)
    if msgspec.structs.replace(changed, observed_at=current.observed_at) == current:
        return changed
    return msgspec.structs.replace(changed, version=current.version + 1, updated_at=now)


def _status(current: Subscription, seen: SubscriptionState, now: datetime) -> SubscriptionStatus:
    """Where it stands after what was seen. Asaas knows only whether a subscription makes further payments."""
    status = S(seen.status)
    if current.provider not in _TELLING:
        end = current.current_period_end
        if status is S.CANCELLED and current.cancel_at_period_end and end is not None and now < end:
            return current.status  # it makes no more payments, as was asked; what was paid for goes on
        if status is S.ACTIVE and current.status is not S.INCOMPLETE:
            return current.status  # whether it is paid for is told by its payments
        if status is S.ACTIVE and current.trial_end is not None and now < current.trial_end:
            return S.TRIALING
    if current.status is S.SUSPENDED and status is S.PAST_DUE:
        return S.SUSPENDED
    return status if status in NEXT[current.status] else current.status


def renewed(current: Subscription, *, start: datetime, end: datetime, now: datetime) -> Subscription:
    """A cycle of our own, of which that period was paid: it runs, whatever was late before.

    A period that ends before the one that runs was paid late, and takes nothing back; an ended cycle stays ended.
    """
    if current.status is S.CANCELLED:
        return current
    runs_to = current.current_period_end
    is_news = runs_to is None or end >= runs_to
    return msgspec.structs.replace(
        current,
        status=S.ACTIVE,
        current_period_start=start if is_news else current.current_period_start,
        current_period_end=end if is_news else runs_to,
        renews_at=end if is_news else current.renews_at,
        past_due_since=None,
        dunning_step=0,
        next_dunning_at=None,
        version=current.version + 1,
        updated_at=now,
    )


def began_new_period(before: Subscription, after: Subscription) -> bool:
    """Whether a later period runs after the change than did before it."""
    earlier, later = before.current_period_start, after.current_period_start
    return earlier is not None and later is not None and later > earlier


def with_plan(current: Subscription, plan: PlanFact, now: datetime) -> Subscription:
    """The subscription at that plan and price, with no change of plan waiting any more."""
    return msgspec.structs.replace(
        current,
        plan_id=plan.plan_id,
        plan_slug=plan.plan_slug,
        plan_name=plan.plan_name,
        price_id=plan.price_id,
        interval=Interval(plan.interval),
        amount_cents=plan.amount_cents,
        currency=plan.currency,
        limits=plan.limits,
        next_plan_id=None,
        next_price_id=None,
        version=current.version + 1,
        updated_at=now,
    )
