"""Every order of a purchase's events, repeats among them, ends in the same rows, and nothing is told twice (F14).

Three ways in which deliveries can be out of order: all of them late, when Stripe's objects have long come to their
ends; late against each other, while the objects move on; and answers of Stripe's that are used late, after newer ones.
`SCALE=1` plays 2,000 permutations of each kind.
"""

import os
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from billing.domain.customers import PLATFORM_ACCOUNT
from billing.domain.invoices import InvoiceStatus
from billing.domain.orders import Order, OrderStatus
from billing.domain.payments import SETTLING
from billing.domain.provider_events import ProviderEventStatus
from billing.domain.providers import Provider
from billing.domain.subscriptions import SubscriptionStatus
from billing.usecases.apply_checkout import apply_checkout
from billing.usecases.apply_invoice import apply_invoice
from billing.usecases.apply_payment import apply_payment
from billing.usecases.apply_subscription import apply_subscription
from chassis.clock import Clock
from chassis.db import Database, transaction
from chassis.secrets import SecretBox

from .lives import LIVES, Life, RecordedStripe, Told, facts_of
from .records import an_invoice, an_order
from .shop import Rows, Shop, a_shop, enter

EXAMPLES = int(2000 * float(os.environ.get("SCALE") or 0.02))
MONEY = (
    "billing.order.paid.v1", "billing.order.refunded.v1", "billing.payment.received.v1", "billing.invoice.paid.v1",
    "billing.subscription.created.v1", "billing.subscription.cancelled.v1", "billing.invoice.issued.v1",
    "billing.invoice.voided.v1",
)  # fmt: skip

permuted = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


class Stage:
    """Where recorded lives are lived again, each time by another order of another tenant."""

    def __init__(self, shop: Shop, lives: list[Life]) -> None:
        self.shop = shop
        self.lives = lives
        self._started_at = shop.clock() - timedelta(days=1)
        self._in_order: dict[tuple[str, int], tuple[Any, list[dict[str, Any]]]] = {}

    async def order_of(self, life: Life) -> tuple[Order, RecordedStripe]:
        tenant, now = uuid4(), self._started_at
        async with transaction(self.shop.db, tenant) as conn:
            order = await an_order(conn, tenant, now=now, trial_days=life.trial_days)
            stripe = RecordedStripe(life, order)
            page = next(external_id for kind, external_id in life.snapshots[0] if kind == "checkout")
            await enter(conn, order, "reference", str(order.id))
            await enter(conn, order, "checkout", stripe.rename(page))
            await conn.execute("UPDATE orders SET external_id = $1 WHERE id = $2", stripe.rename(page), order.id)
            if not life.trial_days:
                await an_invoice(conn, tenant, order=order, now=now)
        return order, stripe

    async def live(
        self, life: Life, deliveries: Sequence[int], moment_of: Callable[[int, Told], int], *, is_slow: bool = False
    ) -> tuple[Any, list[dict[str, Any]]]:
        """The ends of the life whose events are delivered in that order: its rows, and what was told.

        `moment_of` the deliveries so far and the event says which moment Stripe is asked at. `is_slow`: the answer is
        used as one that was asked for at that moment, long before.
        """
        order, stripe = await self.order_of(life)
        latest = 0
        for number in deliveries:
            told = life.events[number]
            stripe.moment = latest = moment_of(latest, told)
            await self.deliver(stripe, told, self.clock(stripe.moment) if is_slow else self.shop.clock)
        return ends_of(await self.shop.rows(order), stripe), await self.shop.told(order)

    def clock(self, moment: int) -> Clock:
        at = self._started_at + timedelta(minutes=moment + 1)
        return lambda: at

    async def deliver(self, stripe: RecordedStripe, told: Told, clock: Clock) -> ProviderEventStatus:
        notice, db = stripe.notice(told), self.shop.db
        external_id = str(notice.object_external_id)
        match notice.kind:
            case "checkout":
                outcome = await apply_checkout(db, stripe, PLATFORM_ACCOUNT, external_id, clock=clock)
            case "invoice":
                outcome = await apply_invoice(db, stripe, PLATFORM_ACCOUNT, external_id, clock=clock)
            case "subscription":
                outcome = await apply_subscription(db, stripe, PLATFORM_ACCOUNT, external_id, clock=clock)
            case _:
                outcome = await apply_payment(db, stripe, Provider.STRIPE, PLATFORM_ACCOUNT, external_id, clock=clock)
        return outcome.status

    async def in_order(self, life: Life, name: str, moment_of: Callable[[int, Told], int]) -> tuple[Any, list[Any]]:
        """The same for the order in which the events happened."""
        key = (name, self.lives.index(life))
        if key not in self._in_order:
            self._in_order[key] = await self.live(life, range(len(life.events)), moment_of)
        return self._in_order[key]


def ends_of(rows: Rows, stripe: RecordedStripe) -> Any:
    """What the rows say in the end. Left out: times and counts of what was seen on the way there."""
    subscription = rows.subscription
    return (
        (rows.order.status, bool(rows.order.paid_at)),
        None
        if subscription is None
        else (
            subscription.status,
            subscription.external_id and subscription.external_id.split("x" + rows.order.id.hex)[0],
            subscription.plan_slug,
            subscription.amount_cents,
            subscription.trial_end,
            subscription.cancel_at_period_end,
            subscription.cancelled_at,
            bool(subscription.past_due_since),
            bool(subscription.next_dunning_at),
            (subscription.current_period_start, subscription.current_period_end) if subscription.external_id else None,
        ),
        sorted(
            (
                str(one.external_id).split("x" + rows.order.id.hex)[0],
                one.status,
                one.amount_cents,
                one.refunded_cents,
                one.order_id == rows.order.id,
                bool(one.subscription_id),
                (one.period_start, one.period_end) if one.external_id else None,
            )
            for one in rows.invoices
        ),
        sorted(
            (str(one.external_id).split("x" + rows.order.id.hex)[0], one.status, one.refunded_cents, one.review_reason)
            for one in rows.payments
            if one.status in SETTLING
        ),
    )


@pytest_asyncio.fixture
async def stage(db: Database, box: SecretBox) -> AsyncIterator[Stage]:
    async with a_shop(db, box) as shop:
        yield Stage(shop, [await life(shop) for life in LIVES])


def orders(data: st.DataObject, stage: Stage) -> tuple[Life, list[int]]:
    """A life and an order of its events, some of them repeated."""
    life = data.draw(st.sampled_from(stage.lives))
    numbers = list(range(len(life.events)))
    repeats = data.draw(st.lists(st.sampled_from(numbers), max_size=3))
    return life, data.draw(st.permutations(numbers + repeats))


def at_the_end(life: Life) -> Callable[[int, Told], int]:
    return lambda latest, told: len(life.snapshots) - 1


async def test_the_lives_are_what_they_are_called(stage: Stage) -> None:
    ends = {}
    for life, make in zip(stage.lives, LIVES, strict=True):
        assert len(life.events) <= 6
        order, stripe = await stage.order_of(life)
        for told in life.events:
            stripe.moment = told.moment
            await stage.deliver(stripe, told, stage.shop.clock)
        rows = await stage.shop.rows(order)
        ends[make.__name__] = (
            rows.order.status,
            rows.subscription.status if rows.subscription else None,
            [one.status for one in rows.invoices],
        )
    paid, void = InvoiceStatus.PAID, InvoiceStatus.VOID
    assert ends == {
        "late_then_ended": (OrderStatus.PAID, SubscriptionStatus.CANCELLED, [paid, paid]),
        "paid_later": (OrderStatus.PAID, SubscriptionStatus.ACTIVE, [paid]),
        "never_paid": (OrderStatus.FAILED, None, [void]),
        "a_trial": (OrderStatus.PAID, SubscriptionStatus.PAST_DUE, [paid, InvoiceStatus.PENDING]),
        "given_back": (OrderStatus.REFUNDED, SubscriptionStatus.CANCELLED, [InvoiceStatus.REFUNDED]),
        "owed_no_more": (OrderStatus.PAID, SubscriptionStatus.ACTIVE, [paid, void, paid]),
        "one_payment": (OrderStatus.PAID, SubscriptionStatus.ACTIVE, [paid]),
        "left_open": (OrderStatus.CANCELLED, None, [void]),
    }


@permuted
@given(data=st.data())
async def test_when_all_is_over_every_order_ends_alike(stage: Stage, data: st.DataObject) -> None:
    life, deliveries = orders(data, stage)
    moment_of = at_the_end(life)
    ends, told = await stage.live(life, deliveries, moment_of)
    expected_ends, expected_told = await stage.in_order(life, "over", moment_of)
    assert ends == expected_ends
    assert facts_of(told) == facts_of(expected_told)


@permuted
@given(data=st.data())
async def test_while_it_goes_on_every_order_ends_alike(stage: Stage, data: st.DataObject) -> None:
    life, deliveries = orders(data, stage)
    # An event is delivered after it happened, and what Stripe had moved on to stays so.
    ends, told = await stage.live(life, deliveries, lambda latest, event: max(latest, event.moment))
    compare(ends, told, await stage.in_order(life, "on", lambda latest, event: max(latest, event.moment)))


@permuted
@given(data=st.data())
async def test_answers_that_are_used_late_change_nothing(stage: Stage, data: st.DataObject) -> None:
    life, deliveries = orders(data, stage)
    ends, told = await stage.live(life, deliveries, lambda _, event: event.moment, is_slow=True)
    compare(ends, told, await stage.in_order(life, "on", lambda latest, event: max(latest, event.moment)))


def compare(ends: Any, told: list[dict[str, Any]], expected: tuple[Any, list[dict[str, Any]]]) -> None:
    """The same ends, the same money told; a state that nobody saw may go untold, none is told that was not there."""
    expected_ends, expected_told = expected
    assert ends == expected_ends
    types, expected_types = (Counter(str(one["type"]) for one in events) for events in (told, expected_told))
    assert {name: types[name] for name in MONEY} == {name: expected_types[name] for name in MONEY}
    assert given_back(told) == given_back(expected_told)
    assert set(types) <= set(expected_types)


def given_back(told: list[dict[str, Any]]) -> int:
    return sum(one["amount_refunded_cents"] for one in told if one["type"] == "billing.payment.refunded.v1")
