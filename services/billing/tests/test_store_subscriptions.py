"""SQL over subscriptions: whole rows there and back, each tenant's own, and what is due."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import msgspec
import pytest

from billing import store
from billing.domain.providers import Interval, Provider
from billing.domain.subscriptions import Subscription, SubscriptionStatus
from chassis.db import Database, platform_transaction, transaction
from contracts.errors import NotFound

from .records import NOW, a_subscription, an_order

S = SubscriptionStatus


async def made(db: Database, tenant: UUID, **fields: Any) -> Subscription:
    async with transaction(db, tenant) as conn:
        return await a_subscription(conn, tenant, **fields)


async def test_a_subscription_comes_back_as_it_was_written(db: Database, tenant: UUID) -> None:
    row = await made(db, tenant, external_id="sub_1")
    changed = msgspec.structs.replace(
        row,
        plan_id=uuid4(),
        plan_slug="max",
        plan_name="Max",
        price_id=uuid4(),
        interval=Interval.YEAR,
        amount_cents=1,
        currency="USD",
        limits={"agents": 9},
        status=S.PAST_DUE,
        item_external_id="si_1",
        current_period_start=NOW + timedelta(days=1, microseconds=1),
        current_period_end=NOW + timedelta(days=2),
        trial_end=NOW,
        cancel_at_period_end=True,
        cancel_reason="requested",
        next_price_id=uuid4(),
        next_plan_id=uuid4(),
        trial_notice_at=NOW,
        past_due_since=NOW,
        dunning_step=2,
        next_dunning_at=NOW,
        renews_at=NOW,
        observed_at=NOW,
        version=2,
        updated_at=NOW + timedelta(days=1),
    )
    async with transaction(db, tenant) as conn:
        await store.subscriptions.update_subscription(conn, tenant, changed)
        assert await store.subscriptions.get_subscription(conn, tenant, row.id) == changed
        assert await store.subscriptions.lock_subscription(conn, tenant, row.id) == changed
        assert row.order_id is not None
        assert await store.subscriptions.find_of_order(conn, tenant, row.order_id) == changed
        assert await store.subscriptions.find_of_order(conn, tenant, uuid4()) is None


async def test_a_subscription_is_its_tenants(db: Database, tenant: UUID) -> None:
    row, stranger = await made(db, tenant), uuid4()
    async with transaction(db, stranger) as conn:
        for whose in (tenant, stranger):
            assert await store.subscriptions.find_subscription(conn, whose, row.id) is None
            with pytest.raises(NotFound):
                await store.subscriptions.get_subscription(conn, whose, row.id)
            with pytest.raises(NotFound):
                await store.subscriptions.lock_subscription(conn, whose, row.id)
            assert await store.subscriptions.list_subscriptions(conn, whose, before=None, limit=9) == []
        await store.subscriptions.update_subscription(conn, tenant, msgspec.structs.replace(row, amount_cents=1))
    async with transaction(db, tenant) as conn:
        assert await store.subscriptions.get_subscription(conn, tenant, row.id) == row


async def test_what_a_subscription_cannot_be(db: Database, tenant: UUID) -> None:
    row = await made(db, tenant, external_id="sub_1")
    for fields in (
        {"status": S.CANCELLED},
        {"cancelled_at": NOW},
        {"status": S.PAST_DUE},
        {"status": S.SUSPENDED},
        {"next_price_id": uuid4()},
    ):
        with pytest.raises(asyncpg.CheckViolationError):
            async with transaction(db, tenant) as conn:
                await store.subscriptions.update_subscription(conn, tenant, msgspec.structs.replace(row, **fields))
    with pytest.raises(asyncpg.UniqueViolationError):
        await made(db, tenant, external_id="sub_1")
    async with transaction(db, tenant) as conn:
        other = await an_order(conn, tenant)
        await store.subscriptions.insert_subscription(
            conn, tenant, msgspec.structs.replace(row, id=uuid4(), order_id=other.id, external_id=None)
        )
    again = msgspec.structs.replace(row, id=uuid4(), external_id=None)
    with pytest.raises(asyncpg.UniqueViolationError):
        async with transaction(db, tenant) as conn:
            await store.subscriptions.insert_subscription(conn, tenant, again)


async def test_subscriptions_are_listed_newest_first(db: Database, tenant: UUID) -> None:
    rows = [await made(db, tenant, now=NOW + timedelta(seconds=n)) for n in range(3)]
    ended = await made(
        db, tenant, now=NOW + timedelta(seconds=9), status=S.CANCELLED, cancelled_at=NOW, sold_by="platform"
    )
    async with transaction(db, tenant) as conn:
        listed = await store.subscriptions.list_subscriptions(conn, tenant, before=None, limit=2)
        assert [row.id for row in listed] == [ended.id, rows[2].id]
        listed = await store.subscriptions.list_subscriptions(conn, tenant, before=listed[-1].id, limit=9)
        assert [row.id for row in listed] == [rows[1].id, rows[0].id]
        listed = await store.subscriptions.list_subscriptions(conn, tenant, before=None, limit=9, status="cancelled")
        assert listed == [ended]
        assert await store.subscriptions.list_live(conn, tenant) == rows


async def test_what_is_due_is_due_whoevers_it_is(db: Database, tenant: UUID) -> None:
    other = uuid4()
    late = await made(db, tenant, status=S.PAST_DUE, past_due_since=NOW, next_dunning_at=NOW)
    await made(db, other, status=S.PAST_DUE, past_due_since=NOW, next_dunning_at=NOW + timedelta(days=1))
    due = await made(db, other, renews_at=NOW - timedelta(seconds=1))
    await made(db, tenant, renews_at=NOW - timedelta(days=1), status=S.CANCELLED, cancelled_at=NOW)
    trial = await made(db, tenant, status=S.TRIALING, trial_end=NOW + timedelta(days=2), external_id="sub_t")
    await made(db, tenant, status=S.TRIALING, trial_end=NOW, trial_notice_at=NOW, provider=Provider.ASAAS)
    async with platform_transaction(db) as conn:
        assert [row.id for row in await store.subscriptions.list_due_dunning(conn, NOW, 9)] == [late.id]
        assert [row.id for row in await store.subscriptions.list_due_renewals(conn, NOW, 9)] == [due.id]
        until = NOW + timedelta(days=3)
        assert [row.id for row in await store.subscriptions.list_ending_trials(conn, until, 9)] == [trial.id]
        assert await store.subscriptions.list_ending_trials(conn, NOW, 9) == []
        assert len(await store.subscriptions.list_due_renewals(conn, NOW + timedelta(days=99), 2)) == 2
