"""What is told about a subscription, derived from how it stood and how it stands: no change goes untold, none twice."""

from datetime import datetime
from typing import Any

from billing.domain.subscriptions import Subscription
from billing.domain.subscriptions import SubscriptionStatus as S
from contracts.billing import (
    SubscriptionActivated,
    SubscriptionCancelled,
    SubscriptionChanged,
    SubscriptionCreated,
    SubscriptionEvent,
    SubscriptionPastDue,
    SubscriptionResumed,
    SubscriptionSuspended,
    SubscriptionTrialEnding,
)


def changes(before: Subscription | None, after: Subscription, now: datetime) -> list[SubscriptionEvent]:
    """The events that lead from `before` (None: it is new) to `after`, in that order."""
    facts = _facts(before, after, now)
    found: list[SubscriptionEvent] = []
    if before is None:
        found.append(SubscriptionCreated(**facts))
    elif before.plan != after.plan or before.cancel_at_period_end != after.cancel_at_period_end:
        found.append(
            SubscriptionChanged(
                **facts, previous_plan=before.plan, previous_cancel_at_period_end=before.cancel_at_period_end
            )
        )
    previous = before.status if before is not None else None
    if after.status is previous:
        return found
    if after.status is S.ACTIVE and previous in (None, S.INCOMPLETE, S.TRIALING):
        found.append(SubscriptionActivated(**facts))
    elif after.status in (S.ACTIVE, S.TRIALING) and previous in (S.PAST_DUE, S.SUSPENDED, S.PAUSED):
        found.append(SubscriptionResumed(**facts))
    elif after.status is S.PAST_DUE:
        found.append(SubscriptionPastDue(**facts, past_due_since=after.past_due_since or now))
    elif after.status in (S.SUSPENDED, S.PAUSED):
        found.append(SubscriptionSuspended(**facts, past_due_since=after.past_due_since or now))
    elif after.status is S.CANCELLED:
        found.append(SubscriptionCancelled(**facts, reason=after.cancel_reason or "provider"))
    return found


def trial_ending(subscription: Subscription, now: datetime) -> SubscriptionTrialEnding:
    """The event that says so."""
    return SubscriptionTrialEnding(**_facts(subscription, subscription, now))


def _facts(before: Subscription | None, after: Subscription, now: datetime) -> dict[str, Any]:
    return {
        "tenant_id": after.tenant_id,
        "occurred_at": now,
        "sold_by": after.sold_by.value,
        "subscription_id": after.id,
        "customer_id": after.customer_id,
        "order_id": after.order_id,
        "plan": after.plan,
        "provider": after.provider.value,
        "status": after.status.value,
        "previous_status": before.status.value if before is not None else None,
        "current_period_start": after.current_period_start,
        "current_period_end": after.current_period_end,
        "trial_end": after.trial_end,
        "cancel_at_period_end": after.cancel_at_period_end,
    }
