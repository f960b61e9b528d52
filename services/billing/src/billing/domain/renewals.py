"""Renewals of cycles that we run ourselves: which period comes next, when it is due, and what being late does."""

import calendar
from datetime import datetime, timedelta
from typing import Final

import msgspec

from billing.domain.dunning import DunningPolicy
from billing.domain.periods import add_interval
from billing.domain.subscriptions import NEXT, Subscription, SubscriptionStatus

#: How long a period's invoice may be paid before it is late.
DUE_AFTER: Final = timedelta(days=3)
#: No provider keeps a PIX code longer (Stripe: 1,209,600 s).
_LONGEST_CODE: Final = timedelta(days=14) - timedelta(minutes=5)


def next_period(subscription: Subscription, now: datetime) -> tuple[datetime, datetime]:
    """The period after the one that runs, without a gap; the day of the month that it began on is kept."""
    start = subscription.current_period_end or now
    began = subscription.created_at.day
    is_month_end = start.day == calendar.monthrange(start.year, start.month)[1]
    anchor = began if is_month_end and began > start.day else start.day
    return start, add_interval(start, subscription.interval, anchor_day=anchor)


def code_expires_at(due_at: datetime, policy: DunningPolicy, now: datetime) -> datetime:
    """How long a period's PIX code can be paid: through all notices, as far as providers go."""
    return min(due_at + timedelta(days=policy.days[-1]), now + _LONGEST_CODE)


def looked_at(subscription: Subscription, again_at: datetime | None, now: datetime) -> Subscription:
    """The subscription, to be looked at again then."""
    return msgspec.structs.replace(subscription, renews_at=again_at, version=subscription.version + 1, updated_at=now)


def late(subscription: Subscription, now: datetime) -> Subscription:
    """The subscription whose period was not paid in time: dunning goes on from here, until it is paid."""
    if SubscriptionStatus.PAST_DUE not in NEXT[subscription.status]:
        return looked_at(subscription, None, now)
    return msgspec.structs.replace(
        subscription,
        status=SubscriptionStatus.PAST_DUE,
        past_due_since=now,
        dunning_step=0,
        next_dunning_at=now,
        renews_at=None,
        version=subscription.version + 1,
        updated_at=now,
    )
