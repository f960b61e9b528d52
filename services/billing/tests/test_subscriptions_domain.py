"""Subscriptions, pure: what is news, what never comes back, what a change of plan costs, when notices are due."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.domain import subscription_events
from billing.domain.customers import PLATFORM_ACCOUNT, SoldBy
from billing.domain.dunning import DunningPolicy, after_step, due_step
from billing.domain.plan_changes import (
    PlanChangeTerms,
    Proration,
    When,
    change_terms,
    due_now,
    is_upgrade,
    pays_for_change,
    refuse_change,
)
from billing.domain.providers import Interval, Provider, SubscriptionState
from billing.domain.subscriptions import NEXT, Subscription, began_new_period, observe, renewed, with_plan
from billing.domain.subscriptions import SubscriptionStatus as S
from contracts.billing import (
    PlanFact,
    SubscriptionActivated,
    SubscriptionCancelled,
    SubscriptionChanged,
    SubscriptionCreated,
    SubscriptionPastDue,
    SubscriptionResumed,
    SubscriptionSuspended,
)
from contracts.errors import Conflict, Forbidden, Invalid
from contracts.event import event_type

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
END = NOW + timedelta(days=30)
SEEN_STATUSES = ["incomplete", "trialing", "active", "past_due", "paused", "cancelled"]


def a_subscription(**fields: Any) -> Subscription:
    late = fields.get("status") in (S.PAST_DUE, S.SUSPENDED)
    row = Subscription(
        id=UUID(int=1),
        tenant_id=UUID(int=2),
        sold_by=SoldBy.PLATFORM,
        customer_id=UUID(int=3),
        order_id=None,
        plan_id=UUID(int=4),
        plan_slug="pro",
        plan_name="Pro",
        price_id=UUID(int=5),
        interval=Interval.MONTH,
        amount_cents=10000,
        currency="BRL",
        limits={},
        status=S.ACTIVE,
        provider=Provider.STRIPE,
        account_id=PLATFORM_ACCOUNT,
        external_id="sub_1",
        item_external_id="si_1",
        current_period_start=NOW,
        current_period_end=END,
        trial_end=None,
        cancel_at_period_end=False,
        cancelled_at=NOW if fields.get("status") is S.CANCELLED else None,
        cancel_reason=None,
        next_price_id=None,
        next_plan_id=None,
        trial_notice_at=None,
        past_due_since=NOW if late else None,
        dunning_step=0,
        next_dunning_at=NOW if fields.get("status") is S.PAST_DUE else None,
        renews_at=None,
        observed_at=None,
        version=1,
        created_at=NOW,
        updated_at=NOW,
    )
    return msgspec.structs.replace(row, **fields)


def seen(status: str, **fields: Any) -> SubscriptionState:
    return msgspec.convert({"external_id": "sub_1", "status": status} | fields, SubscriptionState)


def plan(amount_cents: int, interval: str = "month", number: int = 9) -> PlanFact:
    return PlanFact(
        plan_id=UUID(int=number),
        plan_slug="max",
        plan_name="Max",
        price_id=UUID(int=number + 1),
        interval=interval,
        amount_cents=amount_cents,
        currency="BRL",
        limits={"agents": 9},
    )


moments = st.integers(0, 10_000).map(lambda seconds: NOW + timedelta(seconds=seconds))
states = st.builds(
    lambda status, flag, start: seen(
        status, cancel_at_period_end=flag, current_period_start=start, current_period_end=start + timedelta(days=30)
    ),
    st.sampled_from(SEEN_STATUSES),
    st.booleans(),
    moments,
)
subscriptions = st.builds(
    lambda status, provider: a_subscription(status=status, provider=provider),
    st.sampled_from(list(S)),
    st.sampled_from([Provider.STRIPE, Provider.ASAAS]),
)


@given(subscriptions, states, moments, moments)
def test_the_same_news_twice_is_news_once(row: Subscription, state: SubscriptionState, asked: Any, now: Any) -> None:
    once = observe(row, state, asked_at=asked, now=now)
    later = now + timedelta(hours=1)
    assert observe(once, state, asked_at=asked, now=later) == once
    assert once.version in (row.version, row.version + 1)
    assert once.status is row.status or once.status in NEXT[row.status]


@given(subscriptions, states, states, moments, moments)
def test_old_news_is_no_news(
    row: Subscription, newer: SubscriptionState, older: SubscriptionState, one: Any, two: Any
) -> None:
    early, late = sorted((one, two))
    if early == late:
        late += timedelta(seconds=1)
    current = observe(row, newer, asked_at=late, now=late)
    assert observe(current, older, asked_at=early, now=late) == current


@given(states, moments, moments)
def test_a_cancelled_subscription_never_comes_back(state: SubscriptionState, asked: Any, now: Any) -> None:
    for provider in Provider:
        ended = a_subscription(status=S.CANCELLED, provider=provider)
        assert observe(ended, state, asked_at=asked, now=now) is ended
        assert renewed(ended, start=NOW, end=now, now=now) is ended


@given(
    st.sampled_from([status for status in S if status not in (S.CANCELLED, S.SUSPENDED)]),
    st.lists(states, min_size=1, max_size=6),
    st.randoms(use_true_random=False),
)
def test_whatever_the_order_of_arrival_the_end_is_the_same(
    status: S, history: list[SubscriptionState], random: Any
) -> None:
    """Each event makes us ask; the answers, applied in any order, end as the last one given."""
    ended = next((n for n, state in enumerate(history) if state.status == "cancelled"), None)
    history = history if ended is None else history[: ended + 1]  # nothing follows the end at the provider either
    asked = [(NOW + timedelta(minutes=n), state) for n, state in enumerate(history)]
    shuffled = list(asked)
    random.shuffle(shuffled)

    def after(order: list[tuple[datetime, SubscriptionState]]) -> Subscription:
        row = a_subscription(status=status)
        for at, state in order:
            row = observe(row, state, asked_at=at, now=at)
        return row

    in_order, mixed = after(asked), after(shuffled)
    skipped = history[-1].status == "incomplete"  # nobody goes back there; where one stood before is kept instead
    if not skipped:
        assert mixed.status is in_order.status
        assert mixed.cancel_at_period_end == in_order.cancel_at_period_end
        assert mixed.current_period_start == in_order.current_period_start
        assert (mixed.past_due_since is None) == (in_order.past_due_since is None)


def test_a_suspension_is_ours_to_lift() -> None:
    suspended = a_subscription(status=S.SUSPENDED)
    late = observe(suspended, seen("past_due"), asked_at=NOW, now=NOW)
    assert (late.status, late.next_dunning_at) == (S.SUSPENDED, None)
    back = observe(late, seen("active"), asked_at=NOW, now=NOW)
    assert (back.status, back.past_due_since, back.dunning_step) == (S.ACTIVE, None, 0)


@pytest.mark.parametrize(
    ("known", "fields", "reason"),
    [(None, {}, "provider"), ("requested", {}, "requested"), (None, {"status": S.PAST_DUE}, "delinquent")],
)
def test_why_it_ended(known: str | None, fields: dict[str, Any], reason: str) -> None:
    row = a_subscription(cancel_reason=known, cancel_at_period_end=True, **fields)
    ended = observe(row, seen("cancelled", cancel_at_period_end=True), asked_at=NOW, now=NOW)
    assert (ended.cancel_reason, ended.cancelled_at, ended.cancel_at_period_end) == (reason, NOW, False)


def test_asaas_tells_only_whether_it_goes_on() -> None:
    late = a_subscription(status=S.PAST_DUE, provider=Provider.ASAAS)
    assert observe(late, seen("active"), asked_at=NOW, now=NOW).status is S.PAST_DUE, "its payments say when it is paid"
    fresh = a_subscription(status=S.INCOMPLETE, provider=Provider.ASAAS)
    assert observe(fresh, seen("active"), asked_at=NOW, now=NOW).status is S.ACTIVE
    trial = msgspec.structs.replace(fresh, trial_end=END)
    assert observe(trial, seen("active"), asked_at=NOW, now=NOW).status is S.TRIALING
    assert observe(trial, seen("active"), asked_at=NOW, now=NOW).trial_end == END
    leaving = a_subscription(provider=Provider.ASAAS, cancel_at_period_end=True)
    stopped = observe(leaving, seen("cancelled"), asked_at=NOW, now=NOW)
    assert (stopped.status, stopped.cancel_at_period_end) == (S.ACTIVE, True), "what was paid for goes on"
    over = observe(leaving, seen("cancelled"), asked_at=END, now=END)
    assert (over.status, over.cancelled_at) == (S.CANCELLED, END)


# What is told


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (None, S.ACTIVE, [SubscriptionCreated, SubscriptionActivated]),
        (None, S.TRIALING, [SubscriptionCreated]),
        (S.INCOMPLETE, S.ACTIVE, [SubscriptionActivated]),
        (S.TRIALING, S.ACTIVE, [SubscriptionActivated]),
        (S.ACTIVE, S.PAST_DUE, [SubscriptionPastDue]),
        (S.PAST_DUE, S.SUSPENDED, [SubscriptionSuspended]),
        (S.SUSPENDED, S.ACTIVE, [SubscriptionResumed]),
        (S.PAUSED, S.TRIALING, [SubscriptionResumed]),
        (S.ACTIVE, S.CANCELLED, [SubscriptionCancelled]),
        (S.ACTIVE, S.ACTIVE, []),
    ],
)
def test_what_is_told_of_a_change(before: S | None, after: S, told: list[type]) -> None:
    old = None if before is None else a_subscription(status=before)
    events = subscription_events.changes(old, a_subscription(status=after), NOW)
    assert [type(event) for event in events] == told


def test_another_plan_or_intention_is_told_with_what_it_was() -> None:
    row = a_subscription()
    [moved] = subscription_events.changes(row, with_plan(row, plan(20000), NOW), NOW)
    assert isinstance(moved, SubscriptionChanged)
    assert (moved.previous_plan.amount_cents, moved.plan.amount_cents) == (10000, 20000)
    leaving = msgspec.structs.replace(row, cancel_at_period_end=True)
    [told] = subscription_events.changes(row, leaving, NOW)
    assert isinstance(told, SubscriptionChanged)
    assert (told.previous_cancel_at_period_end, told.cancel_at_period_end) == (False, True)
    ending = subscription_events.trial_ending(a_subscription(trial_end=END), NOW)
    assert (event_type(ending), ending.trial_end) == ("billing.subscription.trial_ending.v1", END)


# Our own cycle


def test_a_paid_period_runs_and_a_late_one_takes_nothing_back() -> None:
    row = a_subscription(external_id=None, status=S.PAST_DUE, dunning_step=2)
    paid = renewed(row, start=END, end=END + timedelta(days=31), now=END)
    assert (paid.status, paid.current_period_start, paid.renews_at) == (S.ACTIVE, END, END + timedelta(days=31))
    assert (paid.past_due_since, paid.dunning_step, paid.next_dunning_at) == (None, 0, None)
    assert began_new_period(row, paid)
    again = renewed(paid, start=NOW, end=END, now=END)
    assert (again.current_period_start, again.current_period_end) == (
        paid.current_period_start,
        paid.current_period_end,
    )
    assert not began_new_period(paid, again)
    unknown = a_subscription(current_period_start=None, current_period_end=None)
    assert not began_new_period(unknown, paid)
    assert renewed(unknown, start=NOW, end=END, now=NOW).current_period_end == END


# Changing plans


def test_what_is_an_upgrade() -> None:
    monthly, yearly = plan(10000), plan(100000, "year")
    assert is_upgrade(monthly, plan(10001))
    assert not is_upgrade(monthly, plan(10000))
    assert not is_upgrade(monthly, plan(9999))
    assert is_upgrade(monthly, yearly)
    assert not is_upgrade(yearly, monthly)


DEARER, CHEAPER = plan(20000), plan(5000)


@pytest.mark.parametrize(
    ("fields", "target", "when", "proration", "expected"),
    [
        ({}, DEARER, None, None, (When.NOW, Proration.INVOICE_NOW)),
        ({}, CHEAPER, None, None, (When.PERIOD_END, Proration.NONE)),
        ({}, DEARER, When.PERIOD_END, None, (When.PERIOD_END, Proration.NONE)),
        ({}, CHEAPER, When.NOW, None, (When.NOW, Proration.NEXT_INVOICE)),
        ({}, CHEAPER, When.NOW, Proration.INVOICE_NOW, (When.NOW, Proration.INVOICE_NOW)),
        ({"provider": Provider.ASAAS}, CHEAPER, When.NOW, None, (When.NOW, Proration.NONE)),
        ({"external_id": None}, CHEAPER, When.NOW, None, (When.NOW, Proration.NONE)),
        ({"external_id": None}, DEARER, None, None, (When.NOW, Proration.INVOICE_NOW)),
        ({"external_id": None}, plan(1, "year"), When.PERIOD_END, None, (When.PERIOD_END, Proration.NONE)),
        ({}, plan(100000, "year"), None, None, (When.NOW, Proration.INVOICE_NOW)),
        ({"status": S.TRIALING}, DEARER, None, None, (When.NOW, Proration.NONE)),
    ],
)
def test_how_a_change_is_carried_out(
    fields: dict[str, Any],
    target: PlanFact,
    when: When | None,
    proration: Proration | None,
    expected: tuple[When, Proration],
) -> None:
    terms = change_terms(a_subscription(**fields), target, when=when, proration=proration, may_give=False)
    assert terms == PlanChangeTerms(*expected)


@pytest.mark.parametrize(
    ("fields", "target", "when", "proration", "error", "code"),
    [
        ({}, DEARER, When.NOW, Proration.NONE, Forbidden, "unpaid_upgrade"),
        ({}, DEARER, When.NOW, Proration.NEXT_INVOICE, Forbidden, "unpaid_upgrade"),
        ({"external_id": None}, DEARER, When.NOW, Proration.NONE, Forbidden, "unpaid_upgrade"),
        ({"external_id": None}, DEARER, When.NOW, Proration.NEXT_INVOICE, Invalid, "invalid"),
        ({"external_id": None}, CHEAPER, When.NOW, Proration.INVOICE_NOW, Invalid, "invalid"),
        ({}, CHEAPER, When.PERIOD_END, Proration.INVOICE_NOW, Invalid, "invalid"),
        ({}, plan(100000, "year"), When.PERIOD_END, None, Conflict, "interval_begins_now"),
        ({"interval": Interval.YEAR}, plan(1000), None, None, Conflict, "interval_begins_now"),
        ({"provider": Provider.ASAAS}, plan(100000, "year"), When.NOW, None, Conflict, "same_interval"),
        ({"provider": Provider.ASAAS, "current_period_end": None}, DEARER, None, None, Conflict, "no_period"),
    ],
)
def test_what_cannot_be_changed_so(
    fields: dict[str, Any],
    target: PlanFact,
    when: When | None,
    proration: Proration | None,
    error: type[Conflict | Forbidden | Invalid],
    code: str,
) -> None:
    with pytest.raises(error) as refused:
        change_terms(a_subscription(**fields), target, when=when, proration=proration, may_give=False)
    assert refused.value.code == code


def test_the_platform_may_give_a_dearer_plan_away() -> None:
    terms = change_terms(a_subscription(), DEARER, when=When.NOW, proration=Proration.NONE, may_give=True)
    assert terms == PlanChangeTerms(When.NOW, Proration.NONE)


@pytest.mark.parametrize(
    ("fields", "at", "code"),
    [
        ({"status": S.PAST_DUE}, NOW, "not_running"),
        ({"status": S.CANCELLED}, NOW, "not_running"),
        ({"cancel_at_period_end": True}, NOW, "ends_with_period"),
        ({"external_id": None}, END, "period_unpaid"),
    ],
)
def test_when_no_plan_can_be_changed(fields: dict[str, Any], at: datetime, code: str) -> None:
    with pytest.raises(Conflict) as refused:
        refuse_change(a_subscription(**fields), at)
    assert refused.value.code == code
    refuse_change(a_subscription(), END)


OWN = a_subscription(external_id=None)
hours = st.integers(0, 30 * 24 - 1).map(lambda hours: NOW + timedelta(hours=hours))


@given(st.integers(1, 99_999_999), st.integers(1, 99_999_999), hours)
def test_a_change_costs_the_days_that_are_left(old: int, new: int, now: datetime) -> None:
    row = msgspec.structs.replace(OWN, amount_cents=old)
    cost = due_now(row, plan(new), now)
    assert 0 <= cost <= max(0, new - old) + 1, "never more than the difference, but for a rounded centavo"
    if new <= old:
        assert cost <= 1
    assert due_now(row, plan(new), now + timedelta(days=1)) <= cost + 1, "the later, the less"


def test_what_a_change_costs() -> None:
    assert due_now(OWN, DEARER, NOW) == 10000, "on the first day the whole difference"
    assert due_now(OWN, DEARER, NOW + timedelta(days=15)) == 5000, "half the days, half the difference"
    assert due_now(OWN, DEARER, NOW + timedelta(days=29, hours=23)) == 333, "a day that has begun is charged"
    assert due_now(OWN, DEARER, END) == 0
    assert due_now(OWN, plan(100000, "year"), NOW + timedelta(days=15)) == 95000, "a year, less half a month"
    assert due_now(a_subscription(current_period_start=None), DEARER, NOW) == 0


def test_which_invoice_brings_a_waiting_plan() -> None:
    waiting = a_subscription(next_plan_id=DEARER.plan_id, next_price_id=DEARER.price_id)
    inside = NOW + timedelta(days=3)
    assert pays_for_change(waiting, DEARER.plan_id, inside)
    assert not pays_for_change(waiting, DEARER.plan_id, END), "that one is the next period's"
    assert not pays_for_change(waiting, waiting.plan_id, inside)
    assert not pays_for_change(a_subscription(), DEARER.plan_id, inside)
    assert not pays_for_change(waiting, DEARER.plan_id, None)


# Dunning


def test_notices_go_out_on_their_days_and_the_last_ends_access() -> None:
    policy = DunningPolicy(days=(0, 3, 7))
    row = a_subscription(status=S.PAST_DUE)
    taken = []
    for hour in range(0, 24 * 10, 6):
        now = NOW + timedelta(hours=hour)
        if step := due_step(row, policy, now):
            row = after_step(row, step, policy, now)
            taken.append((hour // 24, step.number, step.suspends))
    assert taken == [(0, 1, False), (3, 2, False), (7, 3, True)]
    assert (row.status, row.next_dunning_at) == (S.SUSPENDED, None)


@given(st.lists(st.integers(0, 60), min_size=1, max_size=5, unique=True).map(sorted), st.integers(0, 90))
def test_dunning_never_skips_or_repeats_a_notice(days: list[int], day: int) -> None:
    policy = DunningPolicy(days=tuple(days))
    row = a_subscription(status=S.PAST_DUE)
    now = NOW + timedelta(days=day)
    numbers = []
    while step := due_step(row, policy, now):
        numbers.append(step.number)
        row = after_step(row, step, policy, now)
    assert numbers == list(range(1, len([one for one in days if one <= day]) + 1))
    assert (row.status is S.SUSPENDED) == (day >= days[-1])


def test_whoever_is_not_late_is_left_alone() -> None:
    policy = DunningPolicy()
    assert due_step(a_subscription(), policy, END) is None
    assert due_step(a_subscription(status=S.SUSPENDED), policy, END) is None
    late = a_subscription(status=S.PAST_DUE)
    assert due_step(msgspec.structs.replace(late, dunning_step=3), policy, END) is None
    step = due_step(late, policy, NOW)
    assert step is not None
    calm = a_subscription()
    assert after_step(calm, step, policy, NOW) is calm
