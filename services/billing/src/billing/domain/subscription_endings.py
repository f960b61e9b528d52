"""Ending a subscription, now or with its period, and calling that off."""

from datetime import datetime

import msgspec

from billing.domain.providers import Provider
from billing.domain.subscriptions import RUNNING, Subscription, SubscriptionStatus
from contracts.errors import Conflict


def ends_so(current: Subscription, *, at_period_end: bool) -> bool:
    """Whether it has ended, or will as is asked."""
    return current.status is SubscriptionStatus.CANCELLED or (at_period_end and current.cancel_at_period_end)


def refuse_ending(current: Subscription, *, at_period_end: bool) -> None:
    """Nothing, for one that can end so. Raises Conflict where no period is known with which it could end."""
    if at_period_end and (current.status is SubscriptionStatus.INCOMPLETE or current.current_period_end is None):
        raise Conflict("It has no period that it could end with: cancel it now.", code="no_period")


def ending(current: Subscription, reason: str, now: datetime) -> Subscription:
    """It will end with the period that runs. Where no provider ends it then, we do, when `renews_at` has come."""
    is_ours = current.external_id is None or current.provider is not Provider.STRIPE
    return msgspec.structs.replace(
        current,
        cancel_at_period_end=True,
        cancel_reason=reason,
        renews_at=current.current_period_end if is_ours else None,
        version=current.version + 1,
        updated_at=now,
    )


def ended(current: Subscription, reason: str, now: datetime) -> Subscription:
    """It has ended, for good."""
    return msgspec.structs.replace(
        current,
        status=SubscriptionStatus.CANCELLED,
        cancelled_at=now,
        cancel_reason=reason,
        cancel_at_period_end=False,
        past_due_since=None,
        dunning_step=0,
        next_dunning_at=None,
        renews_at=None,
        next_plan_id=None,
        next_price_id=None,
        version=current.version + 1,
        updated_at=now,
    )


def refuse_resuming(current: Subscription) -> None:
    """Nothing, for one whose end can be called off, or that runs without one.

    Raises Conflict for one that has ended, that waits for money or is paused, and for one that its provider has ended.
    """
    if current.status is SubscriptionStatus.CANCELLED:
        raise Conflict("The subscription has ended: buy the plan again.", code="subscription_ended")
    if current.status not in RUNNING:
        raise Conflict(f"The subscription is {current.status}: that is not mended so.", code="not_running")
    if current.cancel_at_period_end and current.provider is Provider.ASAAS and current.external_id is not None:
        # Asaas has no end in the future: its subscription was ended at once, and only the paid time goes on here.
        raise Conflict("Asaas makes no more payments of it: buy the plan again.", code="subscription_ended")


def resumed(current: Subscription, now: datetime) -> Subscription:
    """It goes on after its period."""
    return msgspec.structs.replace(
        current, cancel_at_period_end=False, cancel_reason=None, version=current.version + 1, updated_at=now
    )
