"""Dunning: whoever did not pay is written to on set days; on the last one access ends until it is made good."""

from datetime import datetime, timedelta

import msgspec

from billing.domain.subscriptions import Subscription, SubscriptionStatus


class DunningPolicy(msgspec.Struct, frozen=True):
    """`days` after the first failure on which a notice goes out; on the last one access ends, too."""

    days: tuple[int, ...] = (0, 3, 7)


class DunningStep(msgspec.Struct, frozen=True):
    """What is to be done now: the `number`-th notice (from 1), and whether access ends with it."""

    number: int
    suspends: bool


def due_step(subscription: Subscription, policy: DunningPolicy, now: datetime) -> DunningStep | None:
    """The next step of a late subscription, if its day has come. None for one that is not late, or has had them all."""
    since = subscription.past_due_since
    if subscription.status is not SubscriptionStatus.PAST_DUE or since is None:
        return None
    if subscription.dunning_step >= len(policy.days):
        return None
    if now < since + timedelta(days=policy.days[subscription.dunning_step]):
        return None
    number = subscription.dunning_step + 1
    return DunningStep(number, suspends=number == len(policy.days))


def after_step(subscription: Subscription, step: DunningStep, policy: DunningPolicy, now: datetime) -> Subscription:
    """The subscription once that step was taken."""
    since = subscription.past_due_since
    if since is None:
        return subscription
    is_last = step.number >= len(policy.days)
    return msgspec.structs.replace(
        subscription,
        status=SubscriptionStatus.SUSPENDED if step.suspends else subscription.status,
        dunning_step=step.number,
        next_dunning_at=None if is_last else since + timedelta(days=policy.days[step.number]),
        version=subscription.version + 1,
        updated_at=now,
    )


def set_right(subscription: Subscription, policy: DunningPolicy) -> Subscription:
    """One for which nothing is due although its time had come: the policy has changed, or it is not late any more."""
    since = subscription.past_due_since
    is_late = subscription.status is SubscriptionStatus.PAST_DUE and since is not None
    due = None
    if is_late and since is not None and subscription.dunning_step < len(policy.days):
        due = since + timedelta(days=policy.days[subscription.dunning_step])
    return msgspec.structs.replace(subscription, next_dunning_at=due)
