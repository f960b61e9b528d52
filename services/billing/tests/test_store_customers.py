"""SQL over customers: one of the platform's per address, each tenant's own, and what providers call them."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import msgspec
import pytest

from billing import store
from billing.domain.customers import PLATFORM_ACCOUNT, Customer, SoldBy
from chassis.db import Database, transaction
from contracts.errors import NotFound

from .records import NOW, a_customer


async def made(db: Database, tenant: UUID, **fields: Any) -> Customer:
    async with transaction(db, tenant) as conn:
        return await a_customer(conn, tenant, **fields)


async def test_a_customer_comes_back_as_it_was_written(db: Database, tenant: UUID) -> None:
    row = await made(db, tenant, tax_id=b"\x00sealed", phone="11999998888", lead_id="lead-1")
    async with transaction(db, tenant) as conn:
        assert await store.customers.get_customer(conn, tenant, row.id) == row
        changed = msgspec.structs.replace(row, name="Bia", updated_at=NOW + timedelta(days=1), is_provisional=True)
        await store.customers.upsert_customer(conn, tenant, changed)
        assert await store.customers.find_customer(conn, tenant, row.id) == changed
        assert await store.customers.list_customers_of_lead(conn, tenant, "lead-1") == [changed]
        assert await store.customers.list_customers_of_lead(conn, tenant, "lead-2") == []


async def test_a_customer_is_its_tenants(db: Database, tenant: UUID) -> None:
    row, stranger = await made(db, tenant, lead_id="lead-1"), uuid4()
    assert row.email is not None
    async with transaction(db, stranger) as conn:
        for whose in (tenant, stranger):
            assert await store.customers.find_customer(conn, whose, row.id) is None
            with pytest.raises(NotFound):
                await store.customers.get_customer(conn, whose, row.id)
            assert await store.customers.find_platform_customer(conn, whose, row.email) is None
            assert await store.customers.find_latest_platform_customer(conn, whose) is None
            assert await store.customers.find_own_customer(conn, whose, row.email) is None
            assert await store.customers.list_customers_of_lead(conn, whose, "lead-1") == []
            assert await store.customers.erase_customers(conn, whose, row.email, NOW) == []
        await store.customers.settle_provisional(conn, tenant, NOW)


async def test_an_address_is_one_buyer_and_any_number_of_own_customers(db: Database, tenant: UUID) -> None:
    row = await made(db, tenant, email="ana@example.com")
    twin = msgspec.structs.replace(row, id=uuid4())
    later = NOW + timedelta(days=1)
    async with transaction(db, tenant) as conn:
        assert not await store.customers.insert_platform_customer(conn, tenant, twin)
        other = msgspec.structs.replace(twin, email="bia@example.com", updated_at=later)
        assert await store.customers.insert_platform_customer(conn, tenant, other)
        assert await store.customers.find_platform_customer(conn, tenant, "ana@example.com") == row
        assert await store.customers.find_latest_platform_customer(conn, tenant) == other
        own = [await a_customer(conn, tenant, sold_by=SoldBy.TENANT, email="ana@example.com") for _ in range(2)]
        found = await store.customers.find_own_customer(conn, tenant, "ana@example.com")
        assert found == max(own, key=lambda one: one.id)
        assert await store.customers.find_own_customer(conn, tenant, "nobody@example.com") is None
    with pytest.raises(asyncpg.UniqueViolationError):
        await made(db, tenant, email="ana@example.com")


async def test_a_provisional_customer_is_settled_and_an_erased_one_blank(db: Database, tenant: UUID) -> None:
    row = await made(db, tenant, email="ana@example.com", tax_id=b"x", phone="1", is_provisional=True)
    own = await made(db, tenant, email="ana@example.com", sold_by=SoldBy.TENANT)
    other = await made(db, tenant)
    later = NOW + timedelta(days=1)
    async with transaction(db, tenant) as conn:
        await store.customers.settle_provisional(conn, tenant, later)
        settled = await store.customers.get_customer(conn, tenant, row.id)
        assert (settled.is_provisional, settled.updated_at) == (False, later)
        assert await store.customers.get_customer(conn, tenant, other.id) == other
        gone = await store.customers.erase_customers(conn, tenant, "ana@example.com", later)
        assert set(gone) == {row.id, own.id}
        erased = await store.customers.get_customer(conn, tenant, row.id)
        assert (erased.email, erased.name, erased.tax_id, erased.phone, erased.erased_at) == (
            None,
            None,
            None,
            None,
            later,
        )
    with pytest.raises(asyncpg.CheckViolationError):
        async with transaction(db, tenant) as conn:
            await store.customers.upsert_customer(conn, tenant, msgspec.structs.replace(erased, name="Ana"))


async def test_what_providers_call_a_customer(db: Database, tenant: UUID) -> None:
    row, other = await made(db, tenant), await made(db, tenant)
    account = uuid4()
    async with transaction(db, tenant) as conn:
        find, keep = store.customers.find_external_id, store.customers.upsert_external_id
        assert await find(conn, tenant, row.id, "stripe", PLATFORM_ACCOUNT) is None
        await keep(conn, tenant, row.id, "stripe", PLATFORM_ACCOUNT, "cus_1", NOW)
        await keep(conn, tenant, row.id, "stripe", account, "cus_2", NOW)
        await keep(conn, tenant, other.id, "stripe", PLATFORM_ACCOUNT, "cus_3", NOW + timedelta(days=1))
        assert await find(conn, tenant, row.id, "stripe", PLATFORM_ACCOUNT) == "cus_1"
        await keep(conn, tenant, row.id, "stripe", PLATFORM_ACCOUNT, "cus_4", NOW)
        assert await find(conn, tenant, row.id, "stripe", PLATFORM_ACCOUNT) == "cus_4"
        assert await find(conn, tenant, row.id, "asaas", PLATFORM_ACCOUNT) is None
        ids = await store.customers.list_external_ids(conn, tenant, "stripe", PLATFORM_ACCOUNT)
        assert ids == ["cus_3", "cus_4"]
    async with transaction(db, uuid4()) as conn:
        assert await find(conn, tenant, row.id, "stripe", PLATFORM_ACCOUNT) is None
        assert await store.customers.list_external_ids(conn, tenant, "stripe", PLATFORM_ACCOUNT) == []
