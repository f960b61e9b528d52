"""SQL over plans and prices: what everybody may read, what only the platform may write."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import msgspec
import pytest

from billing import store
from billing.domain.identifiers import new_id
from billing.domain.plans import Plan, PlanPrice, PlanStatus
from billing.domain.providers import Interval
from chassis.db import Database, platform_transaction, transaction
from contracts.errors import NotFound
from contracts.tenancy import PLATFORM_TENANT_ID

from .records import ESSENCIAL, ESSENCIAL_MONTHLY, NOW, a_subscription, an_order


def a_plan(**fields: Any) -> Plan:
    plan = Plan(
        id=new_id(NOW),
        tenant_id=PLATFORM_TENANT_ID,
        slug="pro",
        name="Pro",
        description="x",
        features=["a", "b"],
        limits={"agents": 5},
        trial_days=7,
        status=PlanStatus.ACTIVE,
        product_external_id=None,
        version=1,
        created_at=NOW,
        updated_at=NOW,
        archived_at=None,
    )
    return msgspec.structs.replace(plan, **fields)


def a_price(plan: Plan, **fields: Any) -> PlanPrice:
    price = PlanPrice(
        id=new_id(NOW),
        tenant_id=PLATFORM_TENANT_ID,
        plan_id=plan.id,
        interval=Interval.MONTH,
        currency="BRL",
        amount_cents=100,
        price_external_id=None,
        created_at=NOW,
        retired_at=None,
    )
    return msgspec.structs.replace(price, **fields)


async def test_a_plan_comes_back_as_it_was_written(db: Database, tenant: UUID) -> None:
    plan = a_plan()
    async with transaction(db, PLATFORM_TENANT_ID) as conn:
        await store.plans.insert_plan(conn, PLATFORM_TENANT_ID, plan)
        changed = msgspec.structs.replace(
            plan, slug="max", name="Max", features=[], limits={}, trial_days=0, product_external_id="prod", version=2
        )
        assert await store.plans.lock_plan(conn, PLATFORM_TENANT_ID, plan.id) == plan
        await store.plans.update_plan(conn, PLATFORM_TENANT_ID, changed)
    async with transaction(db, tenant) as conn:  # any tenant reads it
        assert await store.plans.get_plan(conn, PLATFORM_TENANT_ID, plan.id) == changed
        assert await store.plans.find_plan_by_slug(conn, PLATFORM_TENANT_ID, "max") == changed
        assert await store.plans.find_plan_by_slug(conn, PLATFORM_TENANT_ID, "pro") is None
        assert await store.plans.find_plan(conn, PLATFORM_TENANT_ID, uuid4()) is None
        with pytest.raises(NotFound):
            await store.plans.get_plan(conn, PLATFORM_TENANT_ID, uuid4())
        with pytest.raises(NotFound):
            await store.plans.lock_plan(conn, PLATFORM_TENANT_ID, plan.id)  # a tenant may read it, no more


async def test_a_tenant_changes_no_plan_of_the_platform(db: Database, tenant: UUID) -> None:
    plan = a_plan()
    async with transaction(db, tenant) as conn:
        found = await store.plans.get_plan(conn, PLATFORM_TENANT_ID, ESSENCIAL)
        await store.plans.update_plan(conn, PLATFORM_TENANT_ID, msgspec.structs.replace(found, name="Mine"))
        await store.plans.delete_plan(conn, PLATFORM_TENANT_ID, ESSENCIAL)
        await store.plans.mark_price_retired(conn, PLATFORM_TENANT_ID, ESSENCIAL_MONTHLY, NOW)
        await store.plans.set_price_external_id(conn, PLATFORM_TENANT_ID, ESSENCIAL_MONTHLY, "price_mine")
        assert await store.plans.get_plan(conn, PLATFORM_TENANT_ID, ESSENCIAL) == found
        price = await store.plans.find_price(conn, PLATFORM_TENANT_ID, ESSENCIAL_MONTHLY)
        assert price is not None
        assert (price.retired_at, price.price_external_id) == (None, None)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with transaction(db, tenant) as conn:
            await store.plans.insert_plan(conn, PLATFORM_TENANT_ID, plan)


async def test_plans_are_listed_in_their_order(db: Database) -> None:
    old = a_plan(slug="old", status=PlanStatus.ARCHIVED, archived_at=NOW)
    async with transaction(db, PLATFORM_TENANT_ID) as conn:
        await store.plans.insert_plan(conn, PLATFORM_TENANT_ID, old)
        first = await store.plans.list_plans(conn, PLATFORM_TENANT_ID, after=None, limit=2)
        assert [plan.slug for plan in first] == ["essencial", "profissional"]
        rest = await store.plans.list_plans(conn, PLATFORM_TENANT_ID, after=first[-1].id, limit=9)
        assert [plan.slug for plan in rest] == ["empresarial", "enterprise"]
        every = await store.plans.list_plans(conn, PLATFORM_TENANT_ID, after=None, limit=9, archived=True)
        assert old in every


async def test_one_price_is_for_sale_at_a_time(db: Database) -> None:
    plan = a_plan()
    price, other = a_price(plan), a_price(plan, amount_cents=200)
    async with transaction(db, PLATFORM_TENANT_ID) as conn:
        await store.plans.insert_plan(conn, PLATFORM_TENANT_ID, plan)
        await store.plans.insert_price(conn, PLATFORM_TENANT_ID, price)
    with pytest.raises(asyncpg.UniqueViolationError):
        async with transaction(db, PLATFORM_TENANT_ID) as conn:
            await store.plans.insert_price(conn, PLATFORM_TENANT_ID, other)
    with pytest.raises(asyncpg.CheckViolationError):
        async with transaction(db, PLATFORM_TENANT_ID) as conn:
            await store.plans.insert_price(conn, PLATFORM_TENANT_ID, a_price(plan, currency="USD", amount_cents=0))
    later = NOW + timedelta(days=1)
    async with transaction(db, PLATFORM_TENANT_ID) as conn:
        await store.plans.mark_price_retired(conn, PLATFORM_TENANT_ID, price.id, NOW)
        await store.plans.mark_price_retired(conn, PLATFORM_TENANT_ID, price.id, later)
        await store.plans.insert_price(conn, PLATFORM_TENANT_ID, other)
        await store.plans.set_price_external_id(conn, PLATFORM_TENANT_ID, other.id, "price_1")
        pushed = msgspec.structs.replace(other, price_external_id="price_1")
        retired = msgspec.structs.replace(price, retired_at=NOW)
        listed = await store.plans.list_prices(conn, PLATFORM_TENANT_ID, [plan.id])
        assert sorted(listed, key=lambda one: one.amount_cents) == [retired, pushed]
        assert await store.plans.list_prices(conn, PLATFORM_TENANT_ID, []) == []
        found = await store.plans.find_price_for_sale(conn, PLATFORM_TENANT_ID, plan.id, Interval.MONTH, "BRL")
        assert found == pushed
        assert await store.plans.find_price_by_external_id(conn, PLATFORM_TENANT_ID, "price_1") == pushed
        assert await store.plans.find_price(conn, PLATFORM_TENANT_ID, price.id) == retired
        for interval, currency in ((Interval.YEAR, "BRL"), (Interval.MONTH, "USD")):
            assert await store.plans.find_price_for_sale(conn, PLATFORM_TENANT_ID, plan.id, interval, currency) is None
        await store.plans.delete_plan(conn, PLATFORM_TENANT_ID, plan.id)
        assert await store.plans.list_prices(conn, PLATFORM_TENANT_ID, [plan.id]) == [], "gone with their plan"


async def test_a_plan_was_bought_by_an_order_a_subscription_or_a_wish(db: Database, tenant: UUID) -> None:
    plans = [a_plan(slug=f"p{n}") for n in range(4)]
    async with transaction(db, tenant) as conn:
        await an_order(conn, tenant, plan_id=plans[0].id)
        await a_subscription(conn, tenant, plan_id=plans[1].id, next_plan_id=plans[2].id, next_price_id=uuid4())
    async with platform_transaction(db) as conn:
        assert [await store.plans.was_bought(conn, plan.id) for plan in plans] == [True, True, True, False]


async def test_an_archived_plan_gives_its_slug_free(db: Database) -> None:
    async with transaction(db, PLATFORM_TENANT_ID) as conn:
        found = await store.plans.get_plan(conn, PLATFORM_TENANT_ID, ESSENCIAL)
        gone = msgspec.structs.replace(found, status=PlanStatus.ARCHIVED, archived_at=NOW)
        await store.plans.update_plan(conn, PLATFORM_TENANT_ID, gone)
        await store.plans.insert_plan(conn, PLATFORM_TENANT_ID, a_plan(slug="essencial"))
    with pytest.raises(asyncpg.UniqueViolationError):
        async with transaction(db, PLATFORM_TENANT_ID) as conn:
            await store.plans.insert_plan(conn, PLATFORM_TENANT_ID, a_plan(slug="essencial"))


async def test_who_sells_and_who_deletes_wait_for_each_other(db: Database, tenant: UUID) -> None:
    async def hold() -> None:
        async with transaction(db, tenant) as conn:
            await conn.execute("SET LOCAL lock_timeout = '100ms'")
            await store.plans.hold_plan(conn, ESSENCIAL)

    async def claim() -> None:
        async with platform_transaction(db) as conn:
            await conn.execute("SET LOCAL lock_timeout = '100ms'")
            await store.plans.claim_plan(conn, ESSENCIAL)

    async with transaction(db, tenant) as one, transaction(db, uuid4()) as two:
        await store.plans.hold_plan(one, ESSENCIAL)
        await store.plans.hold_plan(two, ESSENCIAL)  # two may sell at a time
        with pytest.raises(asyncpg.LockNotAvailableError):
            await claim()
    async with platform_transaction(db) as conn:
        await store.plans.claim_plan(conn, ESSENCIAL)
        with pytest.raises(asyncpg.LockNotAvailableError):
            await hold()
