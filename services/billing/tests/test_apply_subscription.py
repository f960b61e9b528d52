"""Subscriptions as their providers have them: late, paused, ended, at another price; an ended one never comes back."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from billing import store
from billing.domain.orders import Order, OrderStatus
from billing.domain.provider_events import ProviderEventStatus
from billing.domain.providers import Interval, Provider, SubscriptionState
from billing.domain.subscriptions import Subscription, SubscriptionStatus
from billing.stripe_api import StripeApi
from billing.usecases.observe_subscription import observe_subscription
from chassis.db import Connection, Database, transaction
from chassis.secrets import SecretBox
from contracts.tenancy import PLATFORM_TENANT_ID

from .shop import Shop, a_shop

S = SubscriptionStatus
#: The prices that migration 0009 sells the next plan at.
PROFISSIONAL = "profissional"


@pytest_asyncio.fixture
async def shop(db: Database, box: SecretBox) -> AsyncIterator[Shop]:
    async with a_shop(db, box) as opened:
        yield opened


async def bought(shop: Shop, **fields: Any) -> tuple[Order, str]:
    order = await shop.sell(**fields)
    session = shop.stripe.pay(str(order.external_id))
    await shop.deliver(shop.happened("checkout.session.completed"))
    return order, session["subscription"]


async def subscription_of(shop: Shop, order: Order) -> Subscription:
    found = (await shop.rows(order)).subscription
    assert found is not None
    return found


async def test_a_subscription_told_of_first_waits_for_its_page(shop: Shop) -> None:
    order = await shop.sell()
    shop.stripe.pay(str(order.external_id), unpaid=True)
    event = await shop.deliver(shop.happened("customer.subscription.created"))
    assert (event.status, event.reason) == (ProviderEventStatus.IGNORED, "its order is not paid")
    assert (await shop.rows(order)).subscription is None


async def test_a_subscription_told_of_first_brings_its_paid_page(shop: Shop) -> None:
    order = await shop.sell()
    shop.stripe.pay(str(order.external_id))
    await shop.deliver(shop.happened("customer.subscription.created"))
    rows = await shop.rows(order)
    assert rows.order.status is OrderStatus.PAID
    assert rows.subscription is not None
    assert rows.subscription.status is S.ACTIVE


async def test_a_lost_page_is_looked_up_for_its_subscription(shop: Shop) -> None:
    order = await shop.sell(is_recorded=False)
    [session] = shop.stripe.world.all("checkout.session", client_reference_id=str(order.id))
    shop.stripe.pay(session["id"])
    await shop.deliver(shop.happened("customer.subscription.updated"))
    assert (await shop.rows(order)).order.status is OrderStatus.PAID


async def test_pause_resume_and_an_end_that_was_called_off(shop: Shop) -> None:
    order, subscription_id = await bought(shop)
    shop.stripe.pause(subscription_id)
    await shop.deliver(shop.happened("customer.subscription.paused"))
    assert (await subscription_of(shop, order)).status is S.PAUSED
    shop.stripe.pause(subscription_id, resume=True)
    await shop.deliver(shop.happened("customer.subscription.resumed"))
    assert (await subscription_of(shop, order)).status is S.ACTIVE
    shop.stripe.cancel_in_portal(subscription_id)
    await shop.deliver(shop.happened("customer.subscription.updated"))
    assert (await subscription_of(shop, order)).cancel_at_period_end
    shop.stripe.cancel_in_portal(subscription_id, resume=True)
    await shop.deliver(shop.happened("customer.subscription.updated"))
    assert not (await subscription_of(shop, order)).cancel_at_period_end
    told = await shop.told_types(order)
    assert [one for one in told if "subscription" in one] == [
        "subscription.activated", "subscription.changed", "subscription.changed", "subscription.created",
        "subscription.resumed", "subscription.suspended",
    ]  # fmt: skip


async def test_updated_after_deleted_never_revives(shop: Shop) -> None:
    order, subscription_id = await bought(shop)
    subscription = shop.stripe.cancel(subscription_id)
    await shop.deliver(shop.happened("customer.subscription.deleted"))
    ended = await subscription_of(shop, order)
    assert (ended.status, bool(ended.cancelled_at)) == (S.CANCELLED, True)
    subscription |= {"status": "active", "ended_at": None, "canceled_at": None}  # as a stale answer would have it
    for event_type in (
        "customer.subscription.updated",
        "customer.subscription.created",
        "customer.subscription.deleted",
    ):
        await shop.deliver(shop.stripe.world.emit(event_type, subscription))
    assert await subscription_of(shop, order) == ended
    assert (await shop.told_types(order)).count("subscription.cancelled") == 1


async def test_old_news_is_recognised_by_when_it_was_asked_for(shop: Shop) -> None:
    order, subscription_id = await bought(shop)
    api = await shop.accounts.of_platform(Provider.STRIPE)
    assert isinstance(api, StripeApi)
    old, asked_at = await api.get_subscription(subscription_id), shop.clock()
    shop.stripe.fail_renewal(subscription_id)
    await shop.deliver(shop.happened("customer.subscription.updated"))
    late = await subscription_of(shop, order)
    assert late.status is S.PAST_DUE
    async with transaction(shop.db, order.tenant_id) as conn:
        row = await store.subscriptions.lock_subscription(conn, order.tenant_id, late.id)
        await observe_subscription(conn, row, old, asked_at=asked_at, now=shop.clock())
    assert await subscription_of(shop, order) == late


async def push(conn: Connection, plan_slug: str, external_id: str) -> Any:
    """The plan's monthly price, pushed to Stripe under that id."""
    plan = await store.plans.find_plan_by_slug(conn, PLATFORM_TENANT_ID, plan_slug)
    assert plan is not None
    price = await store.plans.find_price_for_sale(conn, PLATFORM_TENANT_ID, plan.id, Interval.MONTH, "BRL")
    assert price is not None
    await store.plans.set_price_external_id(conn, PLATFORM_TENANT_ID, price.id, external_id)
    return plan, price


def reprice(shop: Shop, subscription_id: str, price_id: str, amount: int) -> None:
    subscription = shop.stripe.world.get("subscription", subscription_id)
    subscription["items"]["data"][0]["price"] |= {"id": price_id, "unit_amount": amount}
    shop.stripe.world.emit("customer.subscription.updated", subscription)


async def test_a_price_changed_in_the_portal_is_the_plan_it_was_pushed_for(shop: Shop) -> None:
    order, subscription_id = await bought(shop)
    async with transaction(shop.db, PLATFORM_TENANT_ID) as conn:
        plan, price = await push(conn, PROFISSIONAL, "price_pro")
    reprice(shop, subscription_id, "price_pro", price.amount_cents)
    for _ in range(2):
        event = await shop.deliver(shop.happened("customer.subscription.updated"))
        assert event.status is ProviderEventStatus.PROCESSED
    after = await subscription_of(shop, order)
    assert (after.plan_slug, after.price_id, after.amount_cents) == (plan.slug, price.id, price.amount_cents)
    [changed] = [one for one in await shop.told(order) if one["type"] == "billing.subscription.changed.v1"]
    assert (changed["previous_plan"]["plan_slug"], changed["plan"]["plan_slug"]) == ("essencial", plan.slug)


async def test_an_unknown_price_is_for_a_person(shop: Shop) -> None:
    order, subscription_id = await bought(shop)
    before = await subscription_of(shop, order)
    reprice(shop, subscription_id, "price_of_nobody", 100)
    event = await shop.deliver(shop.happened("customer.subscription.updated"))
    assert event.status is ProviderEventStatus.REVIEW
    assert (await subscription_of(shop, order)).plan == before.plan
    assert "unknown_price" in await shop.timeline(order)


@pytest.mark.parametrize("is_pushed", [True, False])
async def test_a_change_that_waits_for_the_period_is_left_waiting(shop: Shop, is_pushed: bool) -> None:
    order, subscription_id = await bought(shop)
    before = await subscription_of(shop, order)
    async with transaction(shop.db, PLATFORM_TENANT_ID) as conn:
        plan, price = await push(conn, PROFISSIONAL, "price_pro" if is_pushed else "price_of_another_time")
    async with transaction(shop.db, order.tenant_id) as conn:
        waiting = msgspec.structs.replace(before, next_plan_id=plan.id, next_price_id=price.id)
        await store.subscriptions.update_subscription(conn, order.tenant_id, waiting)
    reprice(shop, subscription_id, "price_pro", price.amount_cents)
    event = await shop.deliver(shop.happened("customer.subscription.updated"))
    assert event.status is ProviderEventStatus.PROCESSED
    now = await subscription_of(shop, order)
    assert (now.plan, now.next_price_id) == (before.plan, price.id)
    shop.stripe.renew(subscription_id)
    await shop.deliver(shop.happened("invoice.paid"))
    await shop.deliver(shop.happened("customer.subscription.updated"))
    after = await subscription_of(shop, order)
    assert (after.plan_slug, after.next_price_id) == (plan.slug, None)
    assert (await shop.rows(order)).invoices[1].plan_slug == plan.slug


async def test_a_second_subscription_of_the_order_is_for_a_person(shop: Shop) -> None:
    order, subscription_id = await bought(shop)
    first = await subscription_of(shop, order)
    twin = shop.stripe.world.get("subscription", subscription_id) | {"id": "sub_twin"}
    shop.stripe.world.add("subscription", "sub", twin)
    event = await shop.deliver(shop.stripe.world.emit("customer.subscription.updated", twin))
    assert event.status is ProviderEventStatus.REVIEW
    shop.stripe.renew("sub_twin")
    event = await shop.deliver(shop.happened("invoice.paid"))
    assert event.status is ProviderEventStatus.REVIEW
    rows = await shop.rows(order)
    assert (rows.subscription, len(rows.invoices)) == (first, 1)
    async with transaction(shop.db, order.tenant_id) as conn:
        row = await store.subscriptions.lock_subscription(conn, order.tenant_id, first.id)
        seen = SubscriptionState(external_id="sub_twin", status="cancelled")
        outcome = await observe_subscription(conn, row, seen, asked_at=shop.clock(), now=shop.clock())
    assert outcome.status is ProviderEventStatus.REVIEW
    assert await subscription_of(shop, order) == first


async def test_strangers_subscriptions_are_left_alone(shop: Shop) -> None:
    _, subscription_id = await bought(shop)
    stranger = shop.stripe.world.get("subscription", subscription_id) | {"id": "sub_stranger", "metadata": {}}
    shop.stripe.world.add("subscription", "sub", stranger)
    event = await shop.deliver(shop.stripe.world.emit("customer.subscription.updated", stranger))
    assert (event.status, event.tenant_id) == (ProviderEventStatus.IGNORED, None)


async def test_the_end_of_one_at_asaas_counts_and_nothing_else(shop: Shop) -> None:
    order = await shop.sell(provider=Provider.ASAAS)
    subscription_id = str(order.external_id)
    [payment] = shop.asaas.payments_of(str(order.id))
    event = await shop.deliver_asaas_subscription("SUBSCRIPTION_CREATED", subscription_id)
    assert event.status is ProviderEventStatus.IGNORED
    shop.asaas.pay(payment["id"])
    await shop.deliver_asaas("PAYMENT_CONFIRMED", payment["id"])
    running = await subscription_of(shop, order)
    assert running.status is S.ACTIVE
    assert running.current_period_start is not None
    assert running.current_period_end is not None
    assert timedelta(days=27) < running.current_period_end - running.current_period_start < timedelta(days=32)
    event = await shop.deliver_asaas_subscription("SUBSCRIPTION_UPDATED", subscription_id)
    assert event.status is ProviderEventStatus.PROCESSED
    assert await subscription_of(shop, order) == running
    shop.asaas.delete_subscription(subscription_id)
    for _ in range(2):
        await shop.deliver_asaas_subscription("SUBSCRIPTION_DELETED", subscription_id)
    assert (await subscription_of(shop, order)).status is S.CANCELLED
    assert (await shop.told_types(order)).count("subscription.cancelled") == 1
