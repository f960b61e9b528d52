"""Changing a running subscription's plan: when it happens by default, what is paid for it, and what is not possible.

More money for the same interval, or a longer interval, begins at once and is paid for at once; less, or a shorter one,
begins with the next period. Nobody gets days of a dearer plan that were not paid.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

import msgspec

from billing.domain.providers import Interval, Provider
from billing.domain.subscriptions import Subscription, SubscriptionStatus
from contracts.billing import PlanFact
from contracts.errors import Conflict, FieldError, Forbidden, Invalid
from contracts.money import Money


class When(StrEnum):
    """When another plan begins."""

    NOW = "now"
    PERIOD_END = "period_end"


class Proration(StrEnum):
    """What becomes of the difference for the rest of the period: an invoice now, the next invoice, or nothing."""

    INVOICE_NOW = "invoice_now"
    NEXT_INVOICE = "next_invoice"
    NONE = "none"


class PlanChangeTerms(msgspec.Struct, frozen=True):
    """How a change of plan is carried out."""

    when: When
    proration: Proration


_DAY: Final = timedelta(days=1)
_CHANGEABLE: Final = (SubscriptionStatus.TRIALING, SubscriptionStatus.ACTIVE)


def is_upgrade(current: PlanFact, target: PlanFact) -> bool:
    """Whether the target asks for more: a longer interval, or a higher price for the same one."""
    if current.interval != target.interval:
        return Interval(target.interval) is Interval.YEAR
    return target.amount_cents > current.amount_cents


def refuse_change(subscription: Subscription, now: datetime) -> None:
    """Nothing, for a subscription whose plan may be changed. Raises Conflict for one that has to be settled first."""
    if subscription.status not in _CHANGEABLE:
        raise Conflict(f"The subscription is {subscription.status}: its plan cannot be changed.", code="not_running")
    if subscription.cancel_at_period_end:
        raise Conflict("The subscription ends with its period: resume it first.", code="ends_with_period")
    end = subscription.current_period_end
    if subscription.external_id is None and end is not None and end <= now:
        raise Conflict("The next period has begun and is not paid yet.", code="period_unpaid")


def change_terms(
    subscription: Subscription,
    target: PlanFact,
    *,
    when: When | None,
    proration: Proration | None,
    may_give: bool,
) -> PlanChangeTerms:
    """How this change is carried out: as it was asked, else by the policy above.

    `may_give`: whoever asks may let a buyer have what is not paid for; buyers themselves may not. Raises Conflict for
    what the subscription's provider cannot do, Forbidden for a dearer plan without paying for it, Invalid for words
    that do not go together.
    """
    current = subscription.plan
    up = is_upgrade(current, target)
    changes_interval = current.interval != target.interval
    chosen = when or (When.NOW if up else When.PERIOD_END)
    if changes_interval and subscription.external_id is not None:
        _refuse_interval(subscription.provider, chosen)
    if chosen is When.PERIOD_END:
        if proration not in (None, Proration.NONE):
            raise _wrong("$.proration", "nothing is prorated when the period ends")
        return PlanChangeTerms(chosen, Proration.NONE)
    if subscription.status is SubscriptionStatus.TRIALING:
        return PlanChangeTerms(chosen, Proration.NONE)  # nothing was paid, so nothing is due yet
    settled = proration or _default_proration(subscription, up)
    if settled is Proration.NEXT_INVOICE and not _has_own_invoices(subscription):
        raise _wrong("$.proration", "only Stripe adds to a next invoice: invoice_now or none")
    if settled is Proration.INVOICE_NOW and not up and not _has_own_invoices(subscription):
        raise _wrong("$.proration", "nothing is due for a cheaper plan: none")
    if settled is Proration.INVOICE_NOW and not _has_own_invoices(subscription) and not _has_period(subscription):
        raise Conflict("Its first period has not begun: the difference cannot be told yet.", code="no_period")
    if up and settled is not Proration.INVOICE_NOW and not may_give:
        raise Forbidden("A dearer plan begins once its difference is paid.", code="unpaid_upgrade")
    return PlanChangeTerms(chosen, settled)


def due_now(subscription: Subscription, target: PlanFact, now: datetime) -> int:
    """Minor units that the change costs now, where we write the invoice: never less than nothing.

    The days left, the one under way among them, are taken from what was paid and charged at the new price; a new
    interval begins now and is paid whole. 0 without a known period.
    """
    start, end = subscription.current_period_start, subscription.current_period_end
    if start is None or end is None or end <= start or now >= end:
        return 0
    total = -((start - end) // _DAY)  # whole days, a started one counts
    left = min(total, -((now - end) // _DAY))
    unused = _share(subscription.amount_cents, subscription.currency, left, total)
    if target.interval != subscription.interval:
        return max(0, target.amount_cents - unused)
    return max(0, _share(target.amount_cents, target.currency, left, total) - unused)


def pays_for_change(subscription: Subscription, plan_id: UUID | None, period_start: datetime | None) -> bool:
    """Whether an invoice of that plan, from that moment on, is what a waiting change costs in the running period."""
    start, end = subscription.current_period_start, subscription.current_period_end
    if plan_id is None or plan_id != subscription.next_plan_id or period_start is None or start is None or end is None:
        return False
    return start < period_start < end


def _share(amount_cents: int, currency: str, left: int, total: int) -> int:
    return Money(amount_cents, currency).allocate((left, total - left))[0].amount_cents


def _has_own_invoices(subscription: Subscription) -> bool:
    return subscription.provider is Provider.STRIPE and subscription.external_id is not None


def _has_period(subscription: Subscription) -> bool:
    return subscription.current_period_start is not None and subscription.current_period_end is not None


def _default_proration(subscription: Subscription, up: bool) -> Proration:
    if up:
        return Proration.INVOICE_NOW
    return Proration.NEXT_INVOICE if _has_own_invoices(subscription) else Proration.NONE


def _refuse_interval(provider: Provider, when: When) -> None:
    if provider is not Provider.STRIPE:
        raise Conflict(
            "This provider cannot change the interval: cancel, and buy the other plan.", code="same_interval"
        )
    if when is When.PERIOD_END:
        raise Conflict("At Stripe another interval begins at once: ask for it now.", code="interval_begins_now")


def _wrong(field: str, message: str) -> Invalid:
    return Invalid("The change is refused.", errors=(FieldError(field, message),))
