"""Stored webhooks through the broker: dealt with once however often they come, later when their provider is away."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest_asyncio

from billing.domain.orders import Order, OrderStatus
from bus.outbox import republish, tell
from chassis.db import Database, platform_transaction
from chassis.secrets import SecretBox
from contracts.billing import ProviderEventReceived
from testkit.fake_http import Fault
from testkit.fake_stripe import Object
from testkit.service import RunningService, until

from .deliveries import ENVIRONMENT, STRIPE_KEY, STRIPE_SECRET
from .shop import Shop, a_shop

Start = Callable[..., Awaitable[RunningService]]


@pytest_asyncio.fixture
async def shop(db: Database, box: SecretBox) -> AsyncIterator[Shop]:
    async with a_shop(db, box, api_key=STRIPE_KEY, webhook_secret=STRIPE_SECRET) as opened:
        yield opened


async def running(start: Start, shop: Shop) -> RunningService:
    """Billing, all of it, with the shop's Stripe; the shop sells from its database."""
    billing = await start(**ENVIRONMENT | {"STRIPE_API_BASE": shop.stripe.url})
    shop.db = billing.db
    return billing


async def post(billing: RunningService, shop: Shop, event: Object) -> None:
    body, headers = shop.stripe.sender.request(event)
    answer = await billing.call("POST", "/stripe/webhook", None, kind="webhook", content=body, headers=headers)
    assert answer.status_code == 200, answer.text


async def row_of(billing: RunningService, event: Object) -> Any:
    return await billing.db.platform.fetchrow("SELECT * FROM provider_events WHERE event_id = $1", event["id"])


async def becomes(billing: RunningService, event: Object, status: str, *, timeout_s: float = 20) -> Any:
    async def reached() -> Any:
        row = await row_of(billing, event)
        return row if row is not None and row["status"] == status else None

    return await until(reached, timeout_s=timeout_s)


async def bought(shop: Shop) -> tuple[Order, Object]:
    order = await shop.sell()
    shop.stripe.pay(str(order.external_id))
    return order, shop.happened("checkout.session.completed")


async def test_a_webhook_becomes_a_paid_order_once(start: Start, shop: Shop) -> None:
    billing = await running(start, shop)
    order, completed = await bought(shop)
    await post(billing, shop, completed)
    row = await becomes(billing, completed, "processed")
    assert (row["tenant_id"], row["attempts"], bool(row["processed_at"])) == (order.tenant_id, 1, True)
    rows = await shop.rows(order)
    assert rows.order.status is OrderStatus.PAID
    told = await shop.told_types(order)
    async with billing.db.relay.acquire() as conn:
        assert await republish(conn, since=row["received_at"]) > 0  # as after a broker that lost its data

    async def published() -> bool:
        waiting = (
            "SELECT count(*) FROM outbox WHERE published_at IS NULL AND type = 'billing.provider_event.received.v1'"
        )
        return not await billing.db.relay.fetchval(waiting)

    await until(published)
    await post(billing, shop, completed)
    later = shop.stripe.world.emit("customer.subscription.updated", next(shop.stripe.world.all("subscription")))
    await post(billing, shop, later)
    await becomes(billing, later, "processed")
    assert (await row_of(billing, completed))["attempts"] == 1
    assert await shop.rows(order) == rows
    assert await shop.told_types(order) == told


async def test_a_provider_that_is_away_is_asked_again(start: Start, shop: Shop) -> None:
    billing = await running(start, shop)
    order, completed = await bought(shop)
    shop.stripe.server.faulty = lambda request: request.path.endswith(str(order.external_id))
    shop.stripe.server.faults = [Fault.REFUSE_429]
    await post(billing, shop, completed)

    async def waits() -> Any:
        row = await row_of(billing, completed)
        return row if row["attempts"] == 1 else None

    row = await until(waits)
    assert (row["status"], "come back later" in row["reason"]) == ("received", True)
    row = await becomes(billing, completed, "processed", timeout_s=40)
    assert (row["attempts"], row["reason"]) == (2, None)
    assert (await shop.rows(order)).order.status is OrderStatus.PAID


async def test_what_somebody_has_to_mend_is_a_dead_letter_and_can_be_replayed(start: Start, shop: Shop) -> None:
    billing = await running(start, shop)
    order, completed = await bought(shop)
    shop.stripe.front.api_key = "sk_test_rolled_without_telling_us"
    await post(billing, shop, completed)
    row = await becomes(billing, completed, "failed")
    assert row["reason"].startswith("ProviderMisconfigured")
    assert STRIPE_KEY not in row["reason"]

    async def is_dead() -> Any:
        return await billing.db.platform.fetchval(
            "SELECT count(*) FROM dead_letters WHERE queue LIKE '%provider_events'"
        )

    assert await until(is_dead) == 1
    shop.stripe.front.api_key = STRIPE_KEY
    answer = await billing.call("POST", f"/billing/events/{row['id']}/replay", None, kind="platform_admin")
    assert answer.status_code == 202
    await becomes(billing, completed, "processed")
    assert (await shop.rows(order)).order.status is OrderStatus.PAID


async def test_what_was_dealt_with_may_be_replayed_without_harm(start: Start, shop: Shop) -> None:
    billing = await running(start, shop)
    order, completed = await bought(shop)
    await post(billing, shop, completed)
    row = await becomes(billing, completed, "processed")
    rows, told = await shop.rows(order), await shop.told_types(order)
    await billing.call("POST", f"/billing/events/{row['id']}/replay", None, kind="platform_admin")

    async def again() -> bool:
        return bool((await row_of(billing, completed))["attempts"] == 2)

    await until(again)
    assert (await becomes(billing, completed, "processed"))["deliveries"] == 1
    assert await shop.rows(order) == rows
    assert await shop.told_types(order) == told


async def test_an_event_that_is_not_there_is_a_dead_letter(start: Start, shop: Shop) -> None:
    billing = await running(start, shop)
    nowhere = UUID(int=7)
    async with platform_transaction(billing.db) as conn:
        event = ProviderEventReceived(provider_event_id=nowhere, provider="stripe")
        await tell(conn, event, tenant_id=None, aggregate_id=nowhere)

    async def reason() -> Any:
        return await billing.db.platform.fetchval("SELECT reason FROM dead_letters")

    assert "no such provider event" in await until(reason)
